# SPDX-License-Identifier: Apache-2.0
"""Discovery toward clients that behave as node proxies. Where a recorded stream exists it is named; where we answer
otherwise the test says why."""
import contextlib
import json
import pathlib

import pytest

from lib.wait import until
from lib.wiretypes import ADDRESS, AUTHORIZATION, common
from plane import Ads, Quick, node_of, pod, policy, service

RECORDED = pathlib.Path(__file__).resolve().parents[2] / "vectors" / "control" / "xds"


def uid(ns, name):
    return f"Kubernetes//Pod/{ns}/{name}"


def host(ns, name):
    return f"{ns}/{name}.{ns}.svc.cluster.local"


@pytest.fixture
def ads(channel, proxy_token):
    """Opens streams; closed with the test."""
    opened = []

    def new(**options):
        stream = Ads(channel, options.pop("token", proxy_token), **options)
        opened.append(stream)
        return stream
    yield new
    for stream in opened:
        stream.close()


def only(names, ns):
    return [n for n in names if f"/{ns}/" in n or n.startswith(f"{ns}/")]


def test_a_wildcard_stream_hears_of_each_change_once(ads, api, ns):
    """01-wildcard-ack, 02-wildcard-star"""
    api.create(pod("p1", ns, "10.1.0.1"))
    stream = ads().first(subscribe=["*"])
    until("the pod is there", lambda: uid(ns, "p1") in stream.state[ADDRESS])
    stream.send(AUTHORIZATION)
    until("policies were answered, though there may be none", lambda: stream.next().type == AUTHORIZATION)
    stream.silent()
    p3 = pod("p3", ns, "10.1.0.3")
    api.create(p3)
    answer = stream.next()
    assert (answer.names, answer.removed) == ([uid(ns, "p3")], [])
    api.create(policy("c", ns))
    answer = stream.next()
    assert (answer.type, answer.names) == (AUTHORIZATION, [f"{ns}/c"])
    assert answer.versions == {f"{ns}/c": ""}, "policies have no version, so that all are sent again"
    api.patch(policy("c", ns), {"spec": {"action": "DENY"}})
    assert stream.next().message(f"{ns}/c").action == 1
    api.delete(policy("c", ns))
    api.delete(p3)
    removed = {a.type: a.removed for a in (stream.next(), stream.next())}
    assert removed == {ADDRESS: [uid(ns, "p3")], AUTHORIZATION: [f"{ns}/c"]}


def test_a_changed_service_is_sent_with_its_workloads(ads, api, ns):
    """01-wildcard-ack: a proxy has dropped the endpoints that were not healthy"""
    api.create(pod("p1", ns, "10.1.0.1", labels={"app": "a"}))
    api.create(pod("p2", ns, "10.1.0.2", labels={"app": "b"}))
    s1 = service("s1", ns, selector={"app": "a"})
    api.create(s1)
    stream = ads().first()
    until("the service is there", lambda: host(ns, "s1") in stream.state[ADDRESS])
    until("nothing more comes", lambda: stream.silent() is None)
    api.patch(s1, {"spec": {"publishNotReadyAddresses": True}})
    assert stream.next().names == sorted([uid(ns, "p1"), host(ns, "s1")])
    api.patch(s1, {"metadata": {"annotations": {"x": "y"}}})
    stream.silent()


def test_addresses_go_before_policies_of_the_same_push(ads, api, ns):
    """15-order, whatever was asked for first. Changes too far apart are two pushes, the policy's first: not every time."""
    stream = ads().first(AUTHORIZATION)
    stream.next()
    stream.send(ADDRESS)
    stream.next()
    quick = Quick(api)

    def order(n):
        quick.create(policy(f"p{n}", ns, selector={"matchLabels": {"app": "w"}}))
        quick.create(pod(f"w{n}", ns, f"10.1.0.{n + 9}"))
        return [stream.next().type, stream.next().type]
    assert any(order(n) == [ADDRESS, AUTHORIZATION] for n in range(20))


def test_a_policy_that_becomes_its_namespaces_is_there_before_pods_cease_to_name_it(ads, api, ns):
    """And the other way round they name it before it is theirs alone: at no moment is nobody protected."""
    api.create(pod("w", ns, "10.1.0.9"))
    api.create(policy("p", ns, selector={"matchLabels": {"app": "w"}}))
    stream = ads().first()
    named = lambda: list(stream.message(ADDRESS, uid(ns, "w")).workload.authorization_policies)  # noqa: E731
    until("the pod names it", lambda: uid(ns, "w") in stream.state[ADDRESS] and named() == [f"{ns}/p"])
    stream.send(AUTHORIZATION)
    until("the policy is there", lambda: f"{ns}/p" in stream.state[AUTHORIZATION])
    stream.drain()
    api.patch(policy("p", ns), {"spec": {"selector": None}})
    answers = [stream.next(), stream.next()]
    assert [(a.type, a.names) for a in answers] == [(AUTHORIZATION, [f"{ns}/p"]), (ADDRESS, [uid(ns, "w")])]
    assert stream.message(AUTHORIZATION, f"{ns}/p").scope == 1 and named() == []
    stream.silent()
    api.patch(policy("p", ns), {"spec": {"selector": {"matchLabels": {"app": "w"}}}})
    answers = [stream.next(), stream.next()]
    assert [(a.type, a.names) for a in answers] == [(ADDRESS, [uid(ns, "w")]), (AUTHORIZATION, [f"{ns}/p"])]
    assert stream.message(AUTHORIZATION, f"{ns}/p").scope == 2 and named() == [f"{ns}/p"]
    stream.silent()


def test_a_refusal_is_counted_and_changes_nothing(ads, api, ns, plane):
    """03-nack: no re-send; the next push comes as usual"""
    stream = ads(ack=False).first()
    answer = stream.next()
    before = plane.metrics()
    stream.send(ADDRESS, response_nonce=answer.nonce, error_detail=common.Status(message="do not like it"))
    stream.silent()
    until("it is counted", lambda: plane.metrics()['pilot_total_xds_rejects_total{type="Address"}'] >
          before['pilot_total_xds_rejects_total{type="Address"}'])
    until("what was sent and the handshake are counted", lambda: plane.metrics()["ambit_xds_sent_bytes_total"] > 0 and
          plane.metrics()["ambit_tls_handshakes_total"] > 0)
    assert plane.metrics()['ambit_jobs_total{pool="handshakes"}'] > 0
    assert plane.metrics().keys() >= {"ambit_xds_streams_refused_total", "ambit_accept_pauses_total"}
    api.create(pod("p", ns, "10.1.0.1"))
    assert stream.next().names == [uid(ns, "p")]
    api.create(pod("q", ns, "10.1.0.2"))
    assert stream.next().names == [uid(ns, "q")], "an unacknowledged response does not hold up the next"
    stream.send(ADDRESS, response_nonce="of another life")
    stream.send(ADDRESS, response_nonce=answer.nonce)
    stream.silent()


def test_names_on_a_wildcard_stream_send_everything_again(ads, api, ns):
    """06-named-on-wildcard"""
    api.create(pod("p1", ns, "10.1.0.1"))
    stream = ads().first()
    until("the pod is there", lambda: uid(ns, "p1") in stream.state[ADDRESS])
    until("nothing more comes", lambda: stream.silent() is None)
    all_names = sorted(stream.state[ADDRESS])
    stream.send(ADDRESS, subscribe=[uid(ns, "p1")])
    assert stream.next().names == all_names
    stream.send(ADDRESS)
    stream.silent()
    stream.send(ADDRESS, unsubscribe=["*"])
    assert stream.next().names == all_names
    api.create(pod("p3", ns, "10.1.0.3"))
    assert stream.next().names == [uid(ns, "p3")], "it stays a wildcard stream"


def test_who_comes_back_is_told_only_what_changed(ads, api, ns):
    """07 to 09, 11, 12: whatever nonce comes with it"""
    for n in (1, 2, 3):
        api.create(pod(f"p{n}", ns, f"10.1.0.{n}"))
    first = ads().first()
    until("all are there", lambda: len(only(first.held(), ns)) == 3)
    held = first.held()
    first.close()
    again = ads().first(initial=held, response_nonce="of another life")
    answer = again.next()
    assert (answer.names, answer.removed) == ([], [])
    again.close()
    api.delete(pod("p1", ns, ""))
    api.patch(pod("p2", ns, ""), {"metadata": {"labels": {"app": "changed"}}})
    api.create(pod("p4", ns, "10.1.0.4"))

    def told():
        stream = ads().first(initial={**held, uid(ns, "never"): "1", host(ns, "never"): ""})
        answer = stream.next()
        stream.close()
        return only(answer.names, ns) == [uid(ns, "p2"), uid(ns, "p4")] and \
            only(answer.removed, ns) == [uid(ns, "never"), uid(ns, "p1"), host(ns, "never")]
    until("changed and new ones, and names of what is gone", told)
    stale = ads().first(initial={uid(ns, "p3"): "stale"}).next()
    assert uid(ns, "p3") in stale.names


def test_policies_are_sent_in_full_to_who_comes_back(ads, api, ns):
    """08, 21-authorization-initial-unknown"""
    api.create(policy("a", ns))
    api.create(policy("b", ns))

    def told():
        stream = ads().first(AUTHORIZATION, initial={f"{ns}/gone": "", f"{ns}/a": "1"})
        answer = stream.next()
        stream.close()
        return only(answer.names, ns) == [f"{ns}/a", f"{ns}/b"] and answer.removed == [f"{ns}/gone"]
    until("both, whatever version was held, and the one that is gone", told)


def test_policies_cannot_be_asked_for_by_name(ads, api, ns):
    """20-authorization-by-name: all are sent and pushed"""
    api.create(policy("a", ns))
    b = policy("b", ns)
    api.create(b)

    def ready():
        stream = ads().first(AUTHORIZATION, subscribe=[f"{ns}/a", f"{ns}/nope"])
        answer = stream.next()
        if only(answer.names, ns) != [f"{ns}/a", f"{ns}/b"]:
            stream.close()
            return None
        assert answer.removed == [f"{ns}/nope"]
        return stream
    stream = until("all are sent", ready)
    api.patch(b, {"spec": {"action": "DENY"}})
    assert stream.next().names == [f"{ns}/b"]


def test_on_demand_starts_empty_and_follows_names_and_addresses(ads, api, ns):
    """04-on-demand, 05-on-demand-names-first, 10-reconnect-on-demand"""
    api.create(pod("p1", ns, "10.1.7.1", labels={"app": "a"}))
    api.create(pod("p2", ns, "10.1.7.2", labels={"app": "b"}))
    s1 = service("s1", ns, "10.96.0.7", {"app": "a"})
    api.create(s1)
    probe = ads().first()
    until("all are there", lambda: len(only(probe.held(), ns)) == 3)
    stream = ads().first(subscribe=["*"], unsubscribe=["*"])
    assert stream.next().names == []
    stream.send(ADDRESS, subscribe=["/10.1.7.1", "/10.1.7.250"])
    answer = stream.next()
    assert (answer.names, answer.removed) == ([uid(ns, "p1")], ["/10.1.7.250"])
    assert list(answer.resources[uid(ns, "p1")].aliases) == ["/10.1.7.1"]
    stream.send(ADDRESS, subscribe=["/10.1.7.1"])
    stream.silent()
    stream.send(ADDRESS, subscribe=["/10.96.0.7"])
    answer = stream.next()
    assert answer.names == [host(ns, "s1")], "its workload was sent before"
    assert list(answer.resources[host(ns, "s1")].aliases) == ["/10.96.0.7"]
    api.patch(pod("p2", ns, ""), {"metadata": {"labels": {"app": "c"}}})
    stream.silent()
    api.patch(pod("p1", ns, ""), {"metadata": {"annotations": {"ambient.istio.io/redirection": None}}})
    assert stream.next().names == [uid(ns, "p1")]
    api.delete(pod("p1", ns, ""))
    assert stream.next().removed == [uid(ns, "p1")]


def test_on_demand_brings_the_clients_own_node_unasked(ads, api, ns):
    """04-on-demand"""
    stream = ads().first(subscribe=["*"], unsubscribe=["*"], node=node_of(NODE_NAME="node-own"))
    assert stream.next().names == []
    own = pod("own", ns, "10.1.8.1", node="node-own")
    api.create(own)
    api.create(pod("other", ns, "10.1.8.2", node="node-other"))
    assert stream.next().names == [uid(ns, "own")]
    api.delete(own)
    assert stream.next().removed == [uid(ns, "own")]


def test_on_demand_hears_of_an_address_that_nobody_had(ads, api, ns):
    """18-on-demand-alias-later says nothing there, for ever: traffic to that address would stay unknown"""
    stream = ads().first(subscribe=["/10.1.9.50", "/10.96.0.50", uid(ns, "later")])
    assert len(stream.next().removed) == 3
    api.create(pod("by-ip", ns, "10.1.9.50"))
    assert stream.next().names == [uid(ns, "by-ip")]
    api.create(service("vip", ns, "10.96.0.50", {"app": "none"}))
    assert stream.next().names == [host(ns, "vip")]
    api.create(pod("later", ns, "10.1.9.51"))
    assert stream.next().names == [uid(ns, "later")]


def test_on_demand_hears_of_new_members_of_a_named_service(ads, api, ns):
    """04-on-demand sends them only with the service's next change: a proxy would not balance over them"""
    api.create(service("s", ns, "10.96.0.10", {"app": "a"}))
    probe = ads().first()
    until("it is there", lambda: host(ns, "s") in probe.held())
    stream = ads().first(subscribe=[host(ns, "s")])
    assert stream.next().names == [host(ns, "s")]
    api.create(pod("new", ns, "10.1.10.1", labels={"app": "a"}))
    assert stream.next().names == [uid(ns, "new")]


def test_unsubscribing_removes_nothing_that_is_still_wanted(ads, api, ns):
    """17-on-demand-unsubscribe says so of every other name: a proxy that believed it would lose them"""
    api.create(pod("p1", ns, "10.1.11.1"))
    api.create(pod("p2", ns, "10.1.11.2"))
    probe = ads().first()
    until("both are there", lambda: len(only(probe.held(), ns)) == 2)
    stream = ads().first(subscribe=[uid(ns, "p1"), uid(ns, "p2")])
    assert stream.next().names == [uid(ns, "p1"), uid(ns, "p2")]
    stream.send(ADDRESS, unsubscribe=[uid(ns, "p2")])
    answer = stream.next()
    assert (answer.names, answer.removed) == ([], [])
    api.patch(pod("p2", ns, ""), {"metadata": {"labels": {"app": "x"}}})
    stream.silent()
    api.patch(pod("p1", ns, ""), {"metadata": {"labels": {"app": "x"}}})
    assert stream.next().names == [uid(ns, "p1")]


def test_unknown_types_are_answered_once_and_empty(ads):
    """16-type-tls-unknown"""
    stream = ads(ack=True).first("type.googleapis.com/example.Unknown")
    answer = stream.next()
    assert (answer.type, answer.names, answer.removed) == ("type.googleapis.com/example.Unknown", [], [])
    stream.silent()
    stream.send(ADDRESS)
    assert stream.next().type == ADDRESS


def test_a_burst_is_one_push(ads, api, ns):
    """timing: 100 ms after the last change. On a slow machine there may be more between two: not every time."""
    stream = ads().first()
    stream.next()
    quick = Quick(api)

    def pushes(turn):
        names = {host(ns, f"s{turn}-{n}") for n in range(4)}
        for n in range(4):
            quick.create(service(f"s{turn}-{n}", ns))
        came = []
        while names:
            came.append(stream.next())
            names -= set(came[-1].names)
        return len(came)
    assert any(pushes(turn) == 1 for turn in range(20))


AUTH = {
    "14-auth-none": {"token": None}, "14-auth-garbage": {"token": "garbage"},
    "14-auth-bad-clusterid": {"cluster": "elsewhere"}, "14-auth-no-clusterid": {"cluster": None},
    "14-auth-wrong-audience": {"audience": "another"}, "14-auth-ok": {}, "14-auth-unbound": {},
    "14-auth-namespace-mismatch": {"NAMESPACE": "other"},
    "14-auth-service-account-mismatch": {"SERVICE_ACCOUNT": "other"}, "14-auth-other-account": {"account": "default"},
    "14-auth-id-domain-mismatch": {"id": "ztunnel~10.9.9.9~zt-1.other~other.svc.cluster.local"},
    "14-auth-no-node": {"id": None}, "14-auth-node-empty": {"id": ""},
    "14-auth-node-three-parts": {"id": "ztunnel~10.9.9.9~a.b"},
    "14-auth-node-bad-type": {"id": "foo~10.9.9.9~a.b~b.svc.cluster.local"},
    "14-auth-node-bad-ip": {"id": "ztunnel~x~a.b~b.svc.cluster.local"},
    "14-auth-node-no-ip": {"id": "ztunnel~~a.b~b.svc.cluster.local"},
    "14-auth-node-sidecar": {"id": "sidecar~10.9.9.9~a.istio-system~istio-system.svc.cluster.local"},
    "14-auth-node-waypoint": {"id": "waypoint~10.9.9.9~a.istio-system~istio-system.svc.cluster.local"},
}


@pytest.mark.parametrize("name", sorted(AUTH))
def test_who_may_open_a_stream_is_as_recorded(ads, api, proxy_token, name):
    how = dict(AUTH[name])
    token = how.pop("token", proxy_token)
    if "audience" in how:
        token = api.token_for("istio-system", "ztunnel", audience=how.pop("audience"))
    if "account" in how:
        token = api.token_for("istio-system", how.pop("account"))
    stream = ads(token=token, cluster=how.pop("cluster", "Kubernetes"))
    has_id = "id" in how
    node_id = how.pop("id", None)
    node = node_of(node_id, **how) if node_id is not None else node_of(**how)
    if has_id and node_id is None:
        stream.send(ADDRESS)
    else:
        stream.first(node=node)
    with open(RECORDED / f"{name}.jsonl", encoding="utf-8") as f:
        ends = [e for e in map(json.loads, f) if e.get("dir") == "stream-end"]
    if ends:
        assert stream.status() == (ends[0]["code"], ends[0]["message"])
    else:
        assert stream.next().type == ADDRESS


def test_a_client_that_does_not_read_holds_up_nobody(ads, api, ns, plane, channel, proxy_token):
    """What it misses is not queued: when it reads again it hears each thing once, as it is then."""
    stuck = Ads(channel, proxy_token, ack=False, paused=True).first()
    lively = ads().first()
    for n in range(40):
        body = pod(f"p{n}", ns, f"10.1.20.{n + 1}")
        body["metadata"]["labels"]["service.istio.io/workload-name"] = "w" * 63
        api.create(body)
    until("others are told", lambda: len(only(lively.held(), ns)) == 40)
    for turn in range(6):
        for n in range(40):
            api.patch(pod(f"p{n}", ns, ""), {"metadata": {"labels": {"turn": str(turn), "app": f"a{turn}"}}})
        until("others are told", lambda: all(b"a%d" % turn in lively.state[ADDRESS][uid(ns, f"p{n}")].resource.value
                                             for n in range(40)), 10)
    assert plane.metrics()["ambit_xds_buffered_bytes"] < 4 << 20
    stuck.resume()
    until("it has caught up", lambda: all(b"a5" in stuck.state[ADDRESS][uid(ns, f"p{n}")].resource.value
                                          for n in range(40)), 10)
    stuck.close()


def test_one_namespace_does_not_take_the_streams_of_all(plane, api, ns, proxy_token):
    """Any workload of the mesh may listen; node proxies have to get in all the same."""
    token = api.token_for(ns, "default")
    node = node_of(f"sidecar~10.9.9.9~a.{ns}~{ns}.svc.cluster.local", NAMESPACE=ns)
    with contextlib.ExitStack() as stack:
        channels = [stack.enter_context(plane.channel()) for _ in range(4)]
        streams = [Ads(channels[n // 80], token).first(node=node) for n in range(256)]
        for s in streams:
            s.next(30)
        assert Ads(channels[3], token).first(node=node).status(30)[0] == "RESOURCE_EXHAUSTED"
        proxy = Ads(channels[3], proxy_token).first()
        proxy.next(30)
        for s in (*streams, proxy):
            s.close()
