# SPDX-License-Identifier: Apache-2.0
"""The proxy and its control plane: the conversation, its interruptions, and bad news in it."""
import pytest

from lib import app, client, dnsmsg, mesh as meshes, model, netns, peers, pki, topo, wait
from lib.wiretypes import ADDRESS, AUTHORIZATION, xds

PEER = model.pod(4, 1, "peer-1", "peer")


def first_requests(solo, since, stream):
    return [e for e in solo.cp.events("request", since) if e["stream"] == stream and not e["nonce"]]


def names_in_dump(solo):
    return {w["name"] for w in solo.zt.config_dump()["workloads"]}


def test_the_first_requests_are_as_the_contract_says(solo):
    since = solo.cp.mark()
    solo.start(XDS_HEADER_x_lab="one", ISTIO_META_LABEL="text", ISTIO_METAJSON_DEEP='{"a": ["b", 1]}')
    (stream,) = solo.cp.events("stream", since)
    first = first_requests(solo, since, stream["stream"])
    assert [e["type"] for e in first] == [ADDRESS, AUTHORIZATION]
    for e in first:
        assert not (e["subscribe"] or e["unsubscribe"] or e["initial"])
        assert e["node"] == "ztunnel~172.31.0.3~ztunnel-3.istio-system~istio-system.svc.cluster.local"
        assert e["node_metadata"] == {
            "NAME": "ztunnel-3", "NAMESPACE": "istio-system", "INSTANCE_IPS": "172.31.0.3", "NODE_NAME": "node3",
            "DNS_CAPTURE": "true", "LABEL": "text", "DEEP": {"a": ["b", 1.0]}}
    headers = dict(stream["metadata"])
    assert headers["authorization"] == "Bearer a-token" and headers["clusterid"] == "Kubernetes" and headers["x_lab"] == "one"
    solo.cp.settle()
    sent = {e["nonce"] for e in solo.cp.events("response", since)}
    answers = [e for e in solo.cp.events("request", since) if e["nonce"]]
    assert {e["nonce"] for e in answers} == sent
    assert all(e["node"] is None and not e["error"] and not e["subscribe"] for e in answers)


def test_what_comes_while_the_proxy_ends_is_let_go(solo):
    """The sanitizer looks for what is left."""
    solo.start()
    with solo.cp.changing([PEER], [model.pod(4, 1, "peer-1", "other")]):
        wait.until("changes arrive", lambda: solo.zt.metric("istio_xds_message_total") > 20)
        solo.zt.stop()


@pytest.mark.parametrize("status", [None, "UNAVAILABLE", "CANCELLED", "INTERNAL"])
def test_a_new_stream_tells_what_is_held(solo, status):
    policy = model.policy("held", model.DENY, model.only(namespaces=["nowhere"]))
    solo.cp.push(policy, settle=False)
    solo.start()
    since = solo.cp.mark()
    solo.cp.end_streams(status, "transport is closing")
    (stream,) = wait.until("a new stream", lambda: solo.cp.events("stream", since))
    first = wait.until("its requests", lambda: (lambda r: len(r) == 2 and r)(first_requests(solo, since, stream["stream"])))
    held = {e["type"]: e["initial"] for e in first}
    assert set(held[ADDRESS]) == {r.name for r in meshes.Solo.resources()} and all(held[ADDRESS].values())
    assert held[AUTHORIZATION] == {policy.name: ""}
    solo.cp.settle()
    assert all(not r["names"] for r in solo.cp.events("response", since, type=ADDRESS)), "nothing is sent twice"
    reason = {None: "Complete", "INTERNAL": "Error"}.get(status, "Reconnect")
    assert solo.zt.metric("istio_xds_connection_terminations_total", reason=reason) == 1


def test_a_rejected_resource_leaves_the_rest_in_force_and_is_asked_for_again(solo):
    solo.start()
    since = solo.cp.mark()
    bad = model.Resource(ADDRESS, "bad-1", b"\xff\xff\xff\xff")
    solo.cp.push(bad, model.workload("good-1", ["10.244.9.9"], "good"))
    (refusal,) = [e for e in solo.cp.events("request", since) if e["error"]]
    assert refusal["error"].startswith("bad-1: ") and refusal["code"] == 0 and refusal["type"] == ADDRESS
    assert names_in_dump(solo) == {"alpha-1", "beta-1", "peer-1", "good-1"}
    with peers.TunnelServer(solo.ns("p41"), solo.credential()):
        client.echo(solo.ns("p31"), solo.PEER4, 8080)
    since = solo.cp.mark()
    solo.cp.end_streams()
    first = wait.until("a new stream", lambda: solo.cp.events("request", since, type=ADDRESS))[0]
    assert "bad-1" not in first["initial"] and model.uid("good-1") in first["initial"]


def test_a_rejected_version_keeps_the_old_one(solo):
    solo.start()
    worse = model.workload("peer-1", [solo.PEER4, topo.pod6(4, 1)], "peer", protocol=9)
    since = solo.cp.mark()
    solo.cp.push(worse)
    assert any(e["error"].startswith(f"{PEER.name}: ") for e in solo.cp.events("request", since))
    with peers.TunnelServer(solo.ns("p41"), solo.credential()):
        client.echo(solo.ns("p31"), solo.PEER4, 8080)


def test_an_unknown_type_and_an_empty_response_are_acknowledged(solo):
    solo.start()
    since = solo.cp.mark()
    solo.cp.send_raw(xds.DeltaDiscoveryResponse(type_url="type.googleapis.com/foo.Bar", nonce="u-1").SerializeToString())
    solo.cp.send_raw(xds.DeltaDiscoveryResponse(type_url=ADDRESS, nonce="u-2").SerializeToString())
    wait.until("both are answered", lambda: len(solo.cp.events("request", since)) == 2)
    assert [(e["type"], e["nonce"], e["error"]) for e in solo.cp.events("request", since)] == [
        ("type.googleapis.com/foo.Bar", "u-1", ""), (ADDRESS, "u-2", "")]
    assert solo.zt.readiness()[0] == 200


def test_a_removed_workload_is_gone(solo):
    solo.start()
    with peers.TunnelServer(solo.ns("p41"), solo.credential()) as server:
        client.echo(solo.ns("p31"), solo.PEER4, 8080)
        solo.cp.push(remove=[PEER])
        assert "peer-1" not in names_in_dump(solo)
        assert client.outcome(solo.ns("p31"), solo.PEER4, 8080) != "served", "no tunnel leads there any more"
        assert len(server.requests()) == 1


def test_what_went_while_the_control_plane_was_away_is_gone_when_it_is_back(solo):
    solo.start()
    solo.cp.kill()
    solo.cp.replace([r for r in meshes.Solo.resources() if r.name != PEER.name])
    assert "peer-1" in names_in_dump(solo)
    solo.cp.start()
    wait.until("removed", lambda: names_in_dump(solo) == {"alpha-1", "beta-1"}, 10)


def start_and_say_addresses_only(solo):
    """On a new stream, on which the peer is not there any more; of policies nothing is said."""
    solo.start()
    with solo.cp.away(AUTHORIZATION):
        solo.cp.replace([r for r in meshes.Solo.resources() if r.name != PEER.name])
    wait.until("the addresses are answered", lambda: [
        e for e in solo.cp.events("request", type=ADDRESS) if e["nonce"]], 20)


def test_a_server_that_has_no_answer_of_one_type_holds_the_others_up_for_seconds_only(solo):
    start_and_say_addresses_only(solo)
    wait.until("they are in force", lambda: names_in_dump(solo) == {"alpha-1", "beta-1"}, 30)
    solo.cp.release()
    solo.zt.process.wait_text("no first answer")


def test_what_a_stream_brought_before_it_broke_is_in_force_though_the_next_one_says_nothing(solo):
    start_and_say_addresses_only(solo)
    with solo.cp.away(ADDRESS, AUTHORIZATION):
        pass
    wait.until("they are in force", lambda: names_in_dump(solo) == {"alpha-1", "beta-1"}, 60)
    solo.cp.release()


def test_a_killed_control_plane_disturbs_no_connection(mesh, tmp_path):
    with client.Load(mesh.ns("p11"), str(tmp_path), "rate", meshes.WEB4, 81, 50) as load, \
            client.open_echo(mesh.ns("p11"), topo.pod4(2, 1)) as old:
        load.wait("running")
        mesh.cp.kill()
        watch = wait.Stopwatch()
        wait.until("a second without control plane", lambda: watch.seconds > 1, 3, every=0.05)
        assert mesh[1].readiness()[0] == 200, "what is known stays in force"
        mesh.cp.start()
        wait.until("both proxies are back", lambda: len(mesh.cp.streams()) == 2, 10)
        client.still_echoes(old)
        got = load.result()
    assert got["failed"] == 0 and got["ok"] > 25, got
    mesh.cp.push(model.policy("after", model.DENY, []))
    assert client.is_cut(client.outcome(mesh.ns("p11"), topo.pod4(2, 1))), "it is listened to again"


def test_a_pod_the_control_plane_does_not_know_yet_is_waited_for(solo):
    alpha = model.pod(3, 1, "alpha-1", "alpha")
    solo.cp.push(remove=[alpha], settle=False)
    solo.start()
    with peers.TunnelServer(solo.ns("p41"), solo.credential()), netns.connect(solo.ns("p31"), solo.PEER4, 8080) as out, \
            netns.connect(solo.ns("p42"), solo.POD4, app.ECHO) as come:
        for sock in (out, come):
            sock.sendall(b"?")
            sock.settimeout(0.3)
            with pytest.raises(TimeoutError):
                sock.recv(1)
        solo.cp.push(alpha)
        for sock in (out, come):
            sock.settimeout(3 * wait.SCALE)
            assert sock.recv(1) == b"?"


def test_a_pod_that_stays_unknown_is_refused_after_five_seconds(solo):
    solo.cp.push(remove=[model.pod(3, 1, "alpha-1", "alpha")], settle=False)
    solo.start()
    since = solo.zt.mark()
    watch = wait.Stopwatch()
    with netns.connect(solo.ns("p31"), solo.PEER4, 8080) as out, netns.connect(solo.ns("p42"), solo.POD4, app.ECHO) as come:
        for sock in (out, come):
            assert client.wait_cut(sock, 10) in ("closed", "reset")
            assert 4.5 < watch.seconds < 5 + 1.5 * wait.SCALE
    for direction in ("outbound", "inbound"):
        ((level, message, _),) = solo.zt.wait_access(since, direction=direction)
        assert (level, message) == ("warn", "connection failed")


def test_the_control_plane_may_be_given_by_name_without_a_scheme(world, solo):
    world.names.table[("istiod.istio-system.svc", dnsmsg.A)] = [(60, topo.ROUTER4)]
    address = f"istiod.istio-system.svc:{solo.cp.port}"
    solo.start(XDS_ADDRESS=address, CA_ADDRESS=address)
    with peers.TunnelServer(solo.ns("p41"), solo.credential()):
        client.echo(solo.ns("p31"), solo.PEER4, 8080)


@pytest.mark.parametrize("wrong", ["root", "name"])
def test_a_control_plane_that_cannot_prove_itself_is_not_listened_to(world, solo, tmp_path, wrong):
    other = pki.Authority(str(tmp_path)).root_pem
    world.names.table[("elsewhere.example", dnsmsg.A)] = [(60, topo.ROUTER4)]
    since = solo.cp.mark()
    env = {"root": {"XDS_ROOT_CA": other}, "name": {"XDS_ADDRESS": f"https://elsewhere.example:{solo.cp.port}"}}[wrong]
    solo.start(ready=False, **env)
    wait.until("it has tried", lambda: solo.zt.metric("istio_xds_connection_terminations_total", reason="ConnectionError") >= 1)
    assert not solo.cp.events("stream", since) and solo.zt.readiness()[0] == 500


def test_the_token_is_read_again_for_every_stream(solo):
    solo.start()
    solo.zt.set_token("another-token")
    since = solo.cp.mark()
    solo.cp.end_streams()
    (stream,) = wait.until("a new stream", lambda: solo.cp.events("stream", since))
    assert dict(stream["metadata"])["authorization"] == "Bearer another-token"


def test_a_thousand_workloads_in_one_push_arrive_while_connections_are_made(solo):
    many = [model.workload(f"w-{i}", [f"10.200.{i // 250}.{i % 250 + 1}"], f"sa-{i}", node="elsewhere") for i in range(1000)]
    solo.start()
    with peers.TunnelServer(solo.ns("p41"), solo.credential()):
        solo.cp.push(*many, settle=False)
        client.echo(solo.ns("p31"), solo.PEER4, 8080)
    solo.cp.settle(10)
    assert len(solo.zt.config_dump()["workloads"]) == 1003
    solo.cp.push(remove=many)
    assert len(solo.zt.config_dump()["workloads"]) == 3
