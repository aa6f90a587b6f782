# SPDX-License-Identifier: Apache-2.0
"""Connections of pods through two node proxies: who reaches whom, how bytes and ends travel, what is seen of it."""
import concurrent.futures
import socket
import uuid

import pytest

from lib import app, client, mesh as meshes, model, netns, peers, topo, wait, wire

CLIENT4, CLIENT6 = topo.pod4(1, 1), topo.pod6(1, 1)
SERVER4, SERVER6 = topo.pod4(2, 1), topo.pod6(2, 1)
BOTH = pytest.mark.parametrize("v", [4, 6])


def server(v):
    return SERVER4 if v == 4 else SERVER6


def bracketed(ip):
    return f"[{ip}]" if ":" in ip else ip


# ---- who reaches whom

@BOTH
def test_a_pod_reaches_a_pod_and_both_nodes_log_both_identities(mesh, v):
    since = {n: mesh[n].mark() for n in (1, 2)}
    client.echo(mesh.ns("p11"), server(v), payload=b"x" * 100)
    common = {"dst_addr": f"{bracketed(server(v))}:15008", "dst_hbone_addr": f"{bracketed(server(v))}:{app.ECHO}",
              "src_identity": model.spiffe("client"), "dst_identity": model.spiffe("web"), "src_workload": "client-1",
              "dst_workload": "web-1", "src_namespace": "shop", "dst_namespace": "shop", "src_cluster": "Kubernetes",
              "dst_cluster": "Kubernetes", "error": None, "bytes_sent": "100", "bytes_recv": "100"}
    for node, direction in ((1, "outbound"), (2, "inbound")):
        level, message, fields = mesh[node].only_access(since[node], direction=direction, **common)
        assert (level, message) == ("info", "connection complete")
        assert fields["src.addr"].startswith(f"{bracketed(CLIENT4 if v == 4 else CLIENT6)}:")
        assert fields["duration"].endswith("ms")


@BOTH
def test_the_server_sees_the_clients_own_address(mesh, v):
    hello = client.greet(mesh.ns("p11"), server(v))
    assert hello["peer"][0] == (CLIENT4 if v == 4 else CLIENT6)
    assert hello["local"] == [server(v), app.GREET]


@BOTH
def test_a_pod_reaches_a_service(mesh, v):
    since = mesh[1].mark()
    hello = client.greet(mesh.ns("p11"), meshes.WEB4 if v == 4 else meshes.WEB6, 80)
    assert hello["local"] == [server(v), app.GREET] and hello["peer"][0] == (CLIENT4 if v == 4 else CLIENT6)
    mesh[1].wait_access(since, dst_service="web.shop.svc.cluster.local", dst_workload="web-1", direction="outbound",
                        dst_hbone_addr=f"{bracketed(server(v))}:{app.GREET}")


def test_a_named_target_port_is_taken_from_the_endpoint(mesh):
    client.echo(mesh.ns("p11"), meshes.WEB4, 82)


@BOTH
def test_an_unknown_destination_is_reached_in_the_clear(mesh, v):
    since = mesh[1].mark()
    hello = client.greet(mesh.ns("p11"), topo.EXT4 if v == 4 else topo.EXT6)
    assert hello["peer"][0] == (CLIENT4 if v == 4 else CLIENT6)
    _, _, fields = mesh[1].only_access(
        since, direction="outbound", dst_addr=f"{bracketed(topo.EXT4 if v == 4 else topo.EXT6)}:{app.GREET}")
    assert "src.identity" not in fields and "dst.hbone_addr" not in fields and "dst.workload" not in fields


def test_a_pod_outside_the_mesh_is_reached_in_the_clear(mesh):
    since = mesh[1].mark()
    assert client.greet(mesh.ns("p11"), topo.pod4(2, 2))["peer"][0] == CLIENT4
    _, _, fields = mesh[1].only_access(since, dst_addr=f"{topo.pod4(2, 2)}:{app.GREET}", dst_workload="plain-1")
    assert "dst.identity" not in fields and "src.identity" not in fields


@BOTH
def test_a_pod_outside_the_mesh_reaches_one_inside_and_keeps_its_address(mesh, v):
    since = mesh[2].mark()
    hello = client.greet(mesh.ns("p22"), server(v))
    assert hello["peer"][0] == (topo.pod4(2, 2) if v == 4 else topo.pod6(2, 2))
    _, _, fields = mesh[2].only_access(since, direction="inbound", dst_addr=f"{bracketed(server(v))}:{app.GREET}")
    assert "src.identity" not in fields and fields["src.workload"] == "plain-1"


@BOTH
@pytest.mark.parametrize("there", ["in", "out"])
def test_the_other_set_of_capture_rules_works_alike(mesh, v, there):
    pods = {4: topo.pod4, 6: topo.pod6}[v]
    if there == "in":
        assert client.greet(mesh.ns("p11"), pods(2, 3))["peer"][0] == pods(1, 1)
        assert client.greet(mesh.ns("p22"), pods(2, 3))["peer"][0] == pods(2, 2)
    else:
        since = mesh[2].mark()
        assert client.greet(mesh.ns("p23"), pods(1, 4))["peer"][0] == pods(2, 3)
        mesh[2].wait_access(since, direction="outbound", src_identity=model.spiffe("cart"))


@BOTH
def test_pods_of_one_node_speak_mutual_tls_too(mesh, v, tmp_path):
    marker = b"same node " + uuid.uuid4().hex.encode()
    there = topo.pod4(1, 4) if v == 4 else topo.pod6(1, 4)
    with wire.pod_tap(mesh.topology, 1, 1, str(tmp_path)) as tap:
        client.echo(mesh.ns("p11"), there, payload=marker)
        assert tap.count(marker) == 0


def test_a_pod_reaches_itself_through_its_own_service(mesh):
    client.echo(mesh.ns("p21"), meshes.WEB4, 81)
    client.echo(mesh.ns("p21"), SERVER4)


# ---- the wire

@BOTH
def test_nothing_of_a_mesh_connection_crosses_the_wire_in_the_clear(mesh, v, tmp_path):
    secret, public = (b"marker " + uuid.uuid4().hex.encode() for _ in range(2))
    with wire.node_tap(mesh.topology, 1, str(tmp_path)) as tap:
        client.echo(mesh.ns("p11"), server(v), payload=secret)
        client.echo(mesh.ns("p11"), topo.EXT4 if v == 4 else topo.EXT6, payload=public)
        assert tap.count(public) == 2, "the deliberate violation: the tap sees clear text, there and back"
        assert tap.count(secret) == 0


# ---- how bytes and ends travel

def test_a_server_that_speaks_first_is_heard(mesh):
    with netns.connect(mesh.ns("p11"), SERVER4, app.GREET) as sock:
        assert client.read_line(sock).startswith('{"peer"')
        client.still_echoes(sock)


@pytest.mark.parametrize("host", [SERVER4, SERVER6, topo.EXT4], ids=["tunnel4", "tunnel6", "clear"])
def test_the_client_may_end_its_side_first(mesh, host):
    assert client.upload(mesh.ns("p11"), host, 200_000)


@pytest.mark.parametrize("host,at", [(SERVER4, "p21"), (topo.EXT4, "ext")], ids=["tunnel", "clear"])
def test_the_server_may_end_its_side_first(mesh, host, at):
    token = client.new_token()
    with netns.connect(mesh.ns("p11"), host, app.GOODBYE) as sock:
        assert client.read_line(sock) == "bye" and sock.recv(1) == b"", "the server's end arrives"
        sock.sendall(token.encode() + b"\n" + b"y" * 50_000)
        sock.shutdown(socket.SHUT_WR)
        assert client.remembered(mesh.ns(at), token) | {"sha256": ""} == {"bytes": 50_000, "end": "eof", "sha256": ""}


@pytest.mark.parametrize("host,at", [(SERVER4, "p21"), (topo.EXT4, "ext")], ids=["tunnel", "clear"])
def test_a_reset_of_the_client_reaches_the_server_as_a_reset(mesh, host, at):
    token = client.new_token()
    sock = netns.connect(mesh.ns("p11"), host, app.WATCH)
    sock.sendall(token.encode() + b"\n")
    assert client.read_line(sock) == "ok"
    client.abort(sock)
    assert client.remembered(mesh.ns(at), token)["end"] == "reset"


@pytest.mark.parametrize("host", [SERVER4, topo.EXT4], ids=["tunnel", "clear"])
def test_a_reset_of_the_server_reaches_the_client_as_a_reset(mesh, host):
    with netns.connect(mesh.ns("p11"), host, app.RESET) as sock:
        sock.sendall(b"go\n")
        assert client.wait_cut(sock) == "reset"


@BOTH
@pytest.mark.parametrize("way", ["up", "down"])
def test_ten_megabytes_arrive_unchanged(mesh, v, way):
    move = client.upload if way == "up" else client.download
    assert move(mesh.ns("p11"), server(v), 10_000_000)


def test_both_directions_at_once_arrive_unchanged(mesh):
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        jobs = [pool.submit(move, mesh.ns("p11"), SERVER4, 3_000_000)
                for _ in range(4) for move in (client.upload, client.download)]
        assert all(job.result(60) for job in jobs)


# ---- tunnels

def test_fifty_parallel_connections_share_one_tunnel(mesh, tmp_path):
    mesh.ztunnels[1].stop()  # no tunnel is left from before
    mesh.ztunnels[1].start()
    mesh[1].wait_ready()
    with client.Load(mesh.ns("p11"), str(tmp_path), "hold", SERVER4, app.ECHO, 50) as load:
        load.wait("running")
        load.say("all of them")
        load.wait('{"ok": 50, "failed": 0}')
        assert len([t for t in mesh.tunnels("p21") if t[0] == CLIENT4]) == 1
        assert len(mesh[1].config_dump()["workloadState"]["uid-p11"]["connections"]["outbound"]) == 50


def test_five_hundred_parallel_connections_are_all_served(mesh, tmp_path):
    with client.Load(mesh.ns("p11"), str(tmp_path), "hold", SERVER4, app.ECHO, 500) as load:
        load.wait("running", 30)
        load.say("all of them")
        load.wait('{"ok": 500, "failed": 0}', 20)
        ours = [t for t in mesh.tunnels("p21") if t[0] == CLIENT4]
        assert 5 <= len(ours) <= 16, "about a hundred streams a tunnel"


# ---- failures

@pytest.mark.parametrize("pod", [1, 3], ids=["contract", "other-rules"])
def test_a_port_where_nothing_listens_fails_at_once_and_is_logged_on_both_sides(mesh, pod):
    server = topo.pod4(2, pod)
    since = {n: mesh[n].mark() for n in (1, 2)}
    watch = wait.Stopwatch()
    assert client.is_cut(client.outcome(mesh.ns("p11"), server, 9999))
    assert watch.seconds < 2 * wait.SCALE
    (source,) = mesh[1].wait_access(since[1], dst_hbone_addr=f"{server}:9999")
    (target,) = mesh[2].wait_access(since[2], dst_hbone_addr=f"{server}:9999")
    assert source[0] == target[0] == "error"
    assert source[2]["error"] == "http status: 503 Service Unavailable"
    assert "Connection refused" in target[2]["error"]
    wait.until("the failure is counted", lambda: mesh[1].metric(
        "istio_tcp_connections_failed_total", response_flags="CONNECT", destination_workload=f"{'web' if pod == 1 else 'cart'}-1-app") >= 1)


def test_a_service_without_endpoints_fails_early(mesh):
    since, opened = mesh[1].mark(), mesh[1].metric("istio_tcp_connections_opened_total")
    assert client.is_cut(client.outcome(mesh.ns("p11"), meshes.EMPTY4, 80))
    level, message, fields = mesh[1].only_access(since, dst_addr=f"{meshes.EMPTY4}:80")
    assert (level, message, fields["direction"]) == ("warn", "connection failed", "outbound")
    assert fields["error"] == f"no healthy upstream: {meshes.EMPTY4}:80" and "src.workload" not in fields
    assert mesh[1].metric("istio_tcp_connections_opened_total") == opened


@pytest.mark.parametrize("port", [15001, 15006, 15008])
@pytest.mark.parametrize("host", ["own", "other"])
def test_the_proxys_own_ports_cannot_be_used_as_destinations(mesh, host, port):
    there = CLIENT4 if host == "own" else SERVER4
    assert client.is_cut(client.outcome(mesh.ns("p11"), there, port, 3, say=b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"))
    assert mesh[1].alive and mesh[2].alive


@pytest.mark.parametrize("port", [15001, 15006])
def test_the_capture_ports_lead_nowhere_on_loopback(mesh, port):
    assert client.is_cut(client.outcome(mesh.ns("p11"), "127.0.0.1", port, 3))


# ---- load balancing

def test_a_service_spreads_over_its_endpoints(mesh):
    got = {client.greet(mesh.ns("p11"), meshes.PAIR4, 80)["local"][0] for _ in range(40)}
    assert got == {topo.pod4(1, 4), topo.pod4(2, 1)}


def test_an_unhealthy_endpoint_gets_no_connections(mesh):
    services = {f"pair.shop.{meshes.DOMAIN}": meshes.WEB_PORTS}
    mesh.cp.push(model.pod(1, 4, "web-2", "web", services=services, status=1))
    assert {client.greet(mesh.ns("p11"), meshes.PAIR4, 80)["local"][0] for _ in range(20)} == {SERVER4}


def test_a_removed_endpoint_gets_no_connections_and_a_new_service_is_known_at_once(mesh):
    services = {f"fresh.shop.{meshes.DOMAIN}": {70: app.ECHO}}
    mesh.cp.push(model.service("fresh", ["10.96.0.70"], {70: app.ECHO}), model.pod(1, 4, "web-2", "web", services=services))
    client.echo(mesh.ns("p11"), "10.96.0.70", 70)
    mesh.cp.push(model.pod(1, 4, "web-2", "web"))
    assert client.is_cut(client.outcome(mesh.ns("p11"), "10.96.0.70", 70))


def test_a_service_may_own_a_range_of_addresses(mesh):
    services = {f"range.shop.{meshes.DOMAIN}": {81: app.ECHO}}
    mesh.cp.push(model.service("range", ["10.97.0.0/24"], {81: app.ECHO}), model.pod(2, 3, "cart-1", "cart", services=services))
    since = mesh[1].mark()
    client.echo(mesh.ns("p11"), "10.97.0.77", 81)
    mesh[1].wait_access(since, dst_service=f"range.shop.{meshes.DOMAIN}", dst_workload="cart-1")


def test_a_service_may_leave_the_destination_as_it_was(mesh):
    passthrough = model.wl.LoadBalancing(mode=3)
    mesh.cp.push(model.service("outside", [topo.EXT4], {app.ECHO: app.ECHO}, load_balancing=passthrough))
    since = mesh[1].mark()
    client.echo(mesh.ns("p11"), topo.EXT4)
    _, _, fields = mesh[1].only_access(since, dst_addr=f"{topo.EXT4}:{app.ECHO}")
    assert "dst.hbone_addr" not in fields


# ---- what operators see

LABELS = {"source_workload": "client-1-app", "source_workload_namespace": "shop", "destination_workload": "web-1-app",
          "destination_workload_namespace": "shop", "source_principal": model.spiffe("client"),
          "destination_principal": model.spiffe("web"), "destination_service": "web.shop.svc.cluster.local",
          "destination_service_name": "web", "destination_service_namespace": "shop", "request_protocol": "tcp",
          "response_flags": "-", "connection_security_policy": "mutual_tls", "source_canonical_service": "client-1-app",
          "source_canonical_revision": "v1", "source_cluster": "Kubernetes", "destination_cluster": "Kubernetes"}


@pytest.mark.parametrize("node,reporter", [(1, "source"), (2, "destination")])
def test_connection_metrics_count_openings_ends_and_bytes(mesh, node, reporter):
    names = [f"istio_tcp_{what}_total" for what in ("connections_opened", "connections_closed", "received_bytes", "sent_bytes")]
    read = lambda: [mesh[node].metric(n, reporter=reporter, **LABELS) for n in names]  # noqa: E731
    before = read()
    sock = client.open_echo(mesh.ns("p11"), meshes.WEB4, 81, b"z" * 700)
    wait.until("an open connection is counted live", lambda: [b - a for a, b in zip(before, read())] == [1, 0, 700, 700])
    sock.close()
    wait.until("its end is counted", lambda: [b - a for a, b in zip(before, read())] == [1, 1, 700, 700])


def test_plain_connections_are_counted_without_identities(mesh):
    labels = {"reporter": "destination", "connection_security_policy": "unknown", "source_principal": "unknown",
              "source_workload": "plain-1-app", "destination_workload": "web-1-app"}
    before = mesh[2].metric("istio_tcp_connections_opened_total", **labels)
    client.echo(mesh.ns("p22"), SERVER4)
    wait.until("counted", lambda: mesh[2].metric("istio_tcp_connections_opened_total", **labels) == before + 1)


def test_the_metrics_page_is_what_scrapers_expect(mesh):
    plain = mesh[1].http(15020, "/metrics")
    assert plain.status == 200 and plain.headers["content-type"].startswith("text/plain") and plain.body.endswith("# EOF\n")
    strict = mesh[1].http(15020, "/stats/prometheus", headers={"Accept": "application/openmetrics-text"})
    assert strict.headers["content-type"] == "application/openmetrics-text;charset=utf-8;version=1.0.0"
    assert mesh[1].http(15020, "/other").status == 404
    assert mesh[1].metric("istio_build", component="ztunnel") == 1
    assert mesh[1].metric("workload_manager_active_proxy_count") == 4
    assert mesh[1].metric("istio_xds_message_total", url="type.googleapis.com/istio.workload.Address") >= 1
    assert mesh[1].metric("ambit_loop_turn_seconds_count") > 0


@pytest.mark.parametrize("node", [1, 2])
def test_handshakes_and_tunnels_are_counted(mesh, node):
    with client.open_echo(mesh.ns("p11"), meshes.WEB4, 81):
        wait.until("the tunnel is counted", lambda: mesh[node].metric("ambit_tunnels") >= 1 and mesh[node].metric("ambit_tunnel_streams") >= 1)
    assert mesh[node].metric("ambit_tls_handshakes_total") >= 1
    wait.until("its job is counted", lambda: mesh[node].metric("ambit_jobs_total", pool="handshakes") >= 1)
    names = {m.name for m in mesh[node].metrics()}
    assert names >= {"ambit_accept_pauses_total", "ambit_datagrams_lost_total", "ambit_dns_upstream_tries_total",
                     "ambit_tls_handshake_failures_total", "ambit_tunnel_protocol_errors_total"}


def test_a_forwarded_host_that_is_none_is_not_kept(solo):
    solo.start()
    for host, kept in [("h" * 1024, "h" * 1024), ("h" * 60000, None)]:
        with peers.Tunnel(solo.ns("p41"), solo.POD4, solo.credential()) as tunnel:
            assert tunnel.connect(f"{solo.POD4}:{app.ECHO}", headers=[("forwarded", f"for=10.0.0.1;host={host}")])[1] == 200
            (come,) = solo.zt.config_dump()["workloadState"]["uid-p31"]["connections"]["inbound"]
            assert come["originalDst"] == kept
        wait.until("it is gone", lambda: not solo.zt.config_dump()["workloadState"]["uid-p31"]["connections"]["inbound"])


def test_the_config_dump_shows_the_world_and_the_connections_in_it(mesh):
    mesh.cp.push(model.policy("dumped", model.DENY, model.only(principals=["cluster.local/ns/x/sa/y"])))
    with client.open_echo(mesh.ns("p11"), meshes.WEB4, 81):
        def alone():  # connections of earlier tests have ended
            dumps = [mesh[n].config_dump() for n in (1, 2)]
            ours = [dump["workloadState"][uid]["connections"][way]
                    for dump, uid, way in zip(dumps, ("uid-p11", "uid-p21"), ("outbound", "inbound"))]
            return dumps if [len(x) for x in ours] == [1, 1] else None
        here, there = wait.until("the connection is in both", alone)
    web = next(w for w in here["workloads"] if w["name"] == "web-1")
    assert web["workloadIps"] == [SERVER4, SERVER6] and web["protocol"] == "HBONE" and web["status"] == "Healthy"
    service = next(s for s in here["services"] if s["name"] == "web")
    assert service["vips"] == [f"/{meshes.WEB4}", f"/{meshes.WEB6}"] and service["ports"]["81"] == app.ECHO
    assert list(service["endpoints"]) == [model.uid("web-1")]
    (policy,) = [p for p in here["policies"] if p["name"] == "dumped"]
    assert (policy["action"], policy["scope"], policy["rules"]) == (
        "Deny", "Namespace", [[[{"principals": [{"Exact": "cluster.local/ns/x/sa/y"}]}]]])
    (out,) = here["workloadState"]["uid-p11"]["connections"]["outbound"]
    assert out["originalDst"] == f"{meshes.WEB4}:81" and out["actualDst"] == f"{SERVER4}:15008" and out["protocol"] == "HBONE"
    (come,) = there["workloadState"]["uid-p21"]["connections"]["inbound"]
    assert come["src"].startswith(CLIENT4) and come["protocol"] == "HBONE"
    assert (come["originalDst"], come["actualDst"]) == ("web.shop.svc.cluster.local", f"{SERVER4}:{app.ECHO}")
    certificates = {c["identity"]: c for c in here["certificates"]}
    assert certificates[model.spiffe("client")]["state"] == "Available" and certificates[model.spiffe("client")]["rootCerts"]
    assert model.spiffe("db", "prod") not in certificates, "only identities of this node"
    assert here["config"]["packetMark"] == 1337 and here["version"]["version"]


def test_the_admin_port_is_on_loopback_only(mesh):
    with pytest.raises(ConnectionRefusedError):
        mesh[1].http(15000, "/config_dump", host=topo.node4(1))
    assert mesh[1].http(15020, "/metrics", host=topo.node4(1)).status == 200
    assert mesh[1].http(15021, "/healthz/ready", host=topo.node4(1)).status == 200
