# SPDX-License-Identifier: Apache-2.0
"""Tunnels of clients: who may open one, what they may reach, and what is not HTTP."""
import contextlib

import pytest

from lib import l7, model, netns, peers, topo, waypoint, webapp
from lib.tunnelled import Pipe
from lib.wait import SCALE, Stopwatch, until


def hello(lab, authority, **who):
    with lab.tunnel(**who) as tunnel:
        stream, status = tunnel.connect(authority)
        if status != 200:
            return status
        return tunnel.receive(stream, 13)


def test_it_says_when_it_is_ready_and_answers_its_pages(lab):
    assert lab.wp.readiness()[0] == 200
    dump = lab.wp.config_dump()
    assert {b["service"] for b in dump["bound"]} == {f"shop/{l7.host(n)}" for n in ("web", "other", "real")}
    assert dump["certificates"][0]["identity"] == model.spiffe("gate")
    assert any(m.name == "istio_build" and m.labels["component"] == "proxy" for m in lab.wp.metrics())


def test_tunnels_and_handshakes_are_counted(lab):
    with lab.tunnel() as tunnel:
        tunnel.connect(f"{waypoint.WEB}:82")
        until("the tunnel is counted", lambda: lab.wp.metric("ambit_tunnels") >= 1)
    assert lab.wp.metric("ambit_tls_handshakes_total") >= 1
    assert {"ambit_accept_pauses_total", "ambit_tunnel_abuses_total"} <= {m.name for m in lab.wp.metrics()}


def test_server_first_is_not_delayed_on_a_port_that_says_tcp(lab):
    with lab.tunnel() as tunnel:
        watch = Stopwatch()
        stream, status = tunnel.connect(f"{waypoint.WEB}:82")
        assert status == 200 and tunnel.receive(stream, 11) == b"hello from " and watch.seconds < 2 * SCALE
        tunnel.send(stream, b"ping", end=True)
        until("the echo", lambda: tunnel.pump() or tunnel.streams[stream].data.endswith(b"ping"))
        assert tunnel.wait_end(stream) == "end"


def test_the_destination_sees_the_waypoints_identity_and_the_pods_port(lab):
    for pod in lab.pods.values():
        pod.asked.clear()
    hello(lab, f"{waypoint.WEB}:82")
    (asked,) = [h[":authority"] for pod in lab.pods.values() for h in pod.asked]
    assert asked in (f"{topo.pod4(2, 1)}:{webapp.HELLO}", f"{topo.pod4(2, 2)}:{webapp.HELLO}")
    identities = {i for pod in lab.pods.values() for c in pod.connections for i in c.identities}
    assert identities == {model.spiffe("gate")}


@pytest.mark.parametrize("authority, status", [
    (f"{waypoint.WEB}:9999", 404), ("10.96.9.13:80", 400), (f"{topo.pod4(2, 1)}:8080", 400),
    (f"{topo.pod4(1, 2)}:15000", 400), ("web.shop.svc.cluster.local:80", 400), ("10.1.2.3:80", 400), ("nonsense", 400)])
def test_what_is_not_served_is_refused(lab, authority, status):
    assert hello(lab, authority) == status


@pytest.mark.parametrize("address", ("127.0.0.1", "::1", "169.254.169.254", "fe80::1"))
def test_an_endpoint_never_leads_to_the_waypoint_itself_or_its_nodes_secrets(lab, address):
    """Whoever writes a pod's status chooses the address; the admin pages are on the loopback, for whoever is there."""
    ports = {80: 15000, 82: 15000}
    lab.use(model.service("odd", ["10.96.9.51"], ports), l7.binding("odd", {80: "HTTP", 82: "TCP"}),
            model.workload("odd-1", [address], "web", protocol=model.NONE, services={l7.host("odd"): ports}))
    with lab.h1(vip="10.96.9.51") as http:
        r = http.get("/config_dump")
        assert r.status == 503 and "may be dialled" in r.body.decode(), r.body[:200]
    assert hello(lab, "10.96.9.51:82") == 503


def test_only_connect_is_taken(lab):
    with lab.tunnel() as tunnel:
        stream = tunnel.request(f"{waypoint.WEB}:80", method="GET", headers=[(":scheme", "https"), (":path", "/")])
        tunnel.until("an answer", lambda: tunnel.streams[stream].headers or tunnel.streams[stream].end is not None)
        assert tunnel.streams[stream].status in (405, 400, None)


def test_an_owned_workload_is_reached_by_its_own_address(lab):
    with lab.tunnel() as tunnel:
        stream, status = tunnel.connect(f"{topo.pod4(2, 3)}:{webapp.HELLO}")
        assert status == 200 and tunnel.receive(stream, 11) == b"hello from "
    assert hello(lab, f"{topo.pod4(2, 3)}:15008") == 400


@pytest.mark.parametrize("guard, status", [
    (f"ambit_only_shop_gate_{webapp.HELLO}", 403), ("ambit_only_shop_gate_0", 403), ("ambit_only_shop_gate_1", 200),
    (f"mine_{webapp.HELLO}", 200)])
def test_a_port_that_policy_of_its_service_guards_is_not_reached_by_the_pods_address(lab, guard, status):
    there = f"{topo.pod4(2, 3)}:{webapp.HELLO}"
    lab.use(model.pod(2, 3, "other-1", "other", services={l7.host("other"): waypoint.PORTS}, policies=[f"shop/{guard}"],
                      waypoint=model.gateway(f"shop/{l7.host('gate')}")))
    assert hello(lab, there) == (status if status != 200 else b"hello from ot")


def test_tokens_that_are_to_be_verified_do_not_pass_as_something_else(lab):
    """A port that says nothing would let a client choose: it waits, and its request is no HTTP any more."""
    rule = l7.w.JwtRule(issuer="me", jwks='{"keys": []}')
    lab.use(l7.binding("web", {82: "UNKNOWN"}),
            l7.authentication("tokens", "web", [rule]))
    assert hello(lab, f"{waypoint.WEB}:82") != b"hello from we"
    lab.wp.wait_access(0, direction="waypoint", error=lambda e: e is not None and "name it tcp-" in e)
    lab.use(l7.binding("web", {82: "TCP"}))
    assert hello(lab, f"{waypoint.WEB}:82") == b"hello from we"


def test_a_client_without_a_certificate_of_the_mesh_gets_nowhere(lab):
    stranger = lab.cp.authority.issue("spiffe://elsewhere/ns/shop/sa/client")
    with pytest.raises(peers.Refused):
        hello(lab, f"{waypoint.WEB}:82", credential=stranger)


def test_an_undeclared_port_waits_a_moment_then_lets_the_server_speak(lab):
    lab.use(l7.binding("web", {82: "UNKNOWN"}))
    with lab.tunnel() as tunnel:
        watch = Stopwatch()
        stream, status = tunnel.connect(f"{waypoint.WEB}:82")
        assert status == 200 and tunnel.receive(stream, 11) == b"hello from "
        assert watch.seconds > 0.5


def test_tcp_policy_refuses_and_later_cuts(lab):
    rule = l7.w.Rule(**{"from": [l7.w.Source(principals=["cluster.local/ns/shop/sa/client"])]})
    lab.use(l7.policy("only-client", "web", l7.ALLOW, [rule]))
    assert hello(lab, f"{waypoint.WEB}:82", sa="other") == 401
    with lab.tunnel() as tunnel:
        stream, status = tunnel.connect(f"{waypoint.WEB}:82")
        assert status == 200 and tunnel.receive(stream, 11) == b"hello from "
        lab.use(l7.policy("nobody", "web", l7.DENY, [rule]))
        assert tunnel.wait_end(stream) not in ("end", None)
    lab.wp.wait_access(0, direction="waypoint", error=lambda e: e is not None and "policy" in e)


def test_an_http_rule_means_deny_for_tcp(lab):
    rule = l7.w.Rule(to=[l7.w.Operation(methods=["GET"])])
    lab.use(l7.policy("get", "web", l7.ALLOW, [rule]))
    assert hello(lab, f"{waypoint.WEB}:82") == 401


def test_tcp_goes_to_the_next_endpoint_when_one_refuses_and_503_when_all_do(lab):
    lab.pods[waypoint.APP1].refuse = 503
    for _ in range(4):
        assert hello(lab, f"{waypoint.WEB}:82") == b"hello from we"
    lab.pods[waypoint.APP2].refuse = 503
    assert hello(lab, f"{waypoint.WEB}:82") == 503


def test_tcp_connections_have_the_limits_of_their_service(lab):
    there = f"{waypoint.WEB2}:82"
    lab.use(l7.traffic("other", limits=l7.w.Limits(connections=1)))
    with lab.tunnel() as tunnel:  # one connection: one engine, whose limit it is
        first, status = tunnel.connect(there)
        assert status == 200 and tunnel.receive(first, 11) == b"hello from "
        assert tunnel.connect(there)[1] == 503
        lab.wp.wait_access(0, direction="waypoint", error=lambda e: e is not None and "maxConnections" in e)
        tunnel.reset(first)
        until("there is room again", lambda: tunnel.connect(there)[1] == 200)


def test_an_endpoint_that_refuses_tcp_again_and_again_is_taken_out(lab):
    lab.use(l7.traffic("web", balance=l7.w.Traffic.ROUND_ROBIN, outlier=l7.w.Outlier(
        consecutive_5xx=2, interval_ms=1000, base_ejection_ms=600000, max_ejection_percent=100)))
    lab.refuse(503, waypoint.APP1)
    with lab.tunnel() as tunnel:
        def connect(times):
            for _ in range(times):
                stream, status = tunnel.connect(f"{waypoint.WEB}:82")
                assert status == 200 and tunnel.receive(stream, 16) == b"hello from web-2"
                tunnel.reset(stream)
            return len(lab.pods[waypoint.APP1].asked)
        assert connect(12) == connect(12) > 0
    lab.wp.discard()  # what it has against that endpoint goes with it


def test_a_pod_that_is_somebody_else_is_not_believed(lab):
    lab.use(model.pod(2, 1, "web-1", "impostor", services={l7.host("web"): waypoint.PORTS}),
            model.pod(2, 2, "web-2", "impostor", services={l7.host("web"): waypoint.PORTS}))
    assert hello(lab, f"{waypoint.WEB}:82") == 503


def test_tcp_route_weights(lab):
    lab.use(l7.route("web", "split", port=82, kind=l7.w.Route.TCP_ROUTE,
                     backends=[l7.backend("web", 82, 0), l7.backend("other", 82, 1)]))
    with lab.tunnel() as tunnel:
        stream, _ = tunnel.connect(f"{waypoint.WEB}:82")
        assert tunnel.receive(stream, 18) == b"hello from other-1"
    lab.use(l7.route("web", "split", port=82, kind=l7.w.Route.TCP_ROUTE,
                     backends=[l7.backend("web", 82, 1), l7.backend("other", 82, 1), l7.backend("unbound", 82, 0)]))
    assert {hello(lab, f"{waypoint.WEB}:82") for _ in range(60)} == {b"hello from we", b"hello from ot"}


def test_bulk_tcp_both_ways(lab):
    payload = bytes(range(256)) * 4096 * 8
    with lab.tunnel() as tunnel:
        stream, _ = tunnel.connect(f"{waypoint.WEB}:82")
        tunnel.receive(stream, 17)
        tunnel.send(stream, payload, end=True)
        assert tunnel.wait_end(stream, 30) == "end"
        assert tunnel.take(stream)[-len(payload):] == payload


def test_plain_endpoints_get_plain_tcp(lab):
    lab.use(model.pod(2, 1, "web-1", "web", protocol=model.NONE, services={l7.host("web"): waypoint.PORTS}),
            model.pod(2, 2, "web-2", "web", protocol=model.NONE, services={l7.host("web"): waypoint.PORTS}))
    before = [len(p.asked) for p in lab.pods.values()]
    assert hello(lab, f"{waypoint.WEB}:82") == b"hello from we"
    assert [len(p.asked) for p in lab.pods.values()] == before


def test_without_a_control_plane_nothing_is_served(lab):
    lab.wp.discard()
    lab.wp.start(XDS_ADDRESS="")
    lab.wp.wait_ready(20)
    assert hello(lab, f"{waypoint.WEB}:82") == 400
    lab.wp.discard()


def test_silent_connections_of_many_addresses_do_not_keep_others_out(lab):
    with contextlib.ExitStack() as stack:
        addresses = stack.enter_context(lab.world.topology.many_addresses(1, 1))
        lab.world.topology.crowd(stack, "p11", addresses, topo.pod6(1, 2), b"",
                                 lambda: lab.wp.metric("ambit_tls_handshakes_displaced_total"))
        for _ in range(3):
            assert hello(lab, f"{waypoint.WEB}:82")
