# SPDX-License-Identifier: Apache-2.0
"""Connections that go through a waypoint: where they are led, and what tells the waypoint their destination.

The waypoint is a foreign peer on p41; the destinations are `beta` (p32) and services with a waypoint of their own.
"""
import pytest

from lib import app, client, dnsmsg, model, peers, topo

WAYPOINT = model.spiffe("peer")
BETA4, BETA6, VIP = topo.pod4(3, 2), topo.pod6(3, 2), "10.96.3.20"
HOST = "shop/waypoint.shop.svc.cluster.local"


def beta(**fields):
    return model.pod(3, 2, "beta-1", "beta", **fields)


def early_refusal(solo, since):
    """The reason of a connection that is refused before it goes anywhere."""
    ((level, message, fields),) = solo.zt.wait_access(since, direction="outbound")
    assert (level, message) == ("warn", "connection failed")
    return fields["error"]


def by_name():
    """The waypoint's own service; it serves the tunnel protocol's port 15008 as its service port 15018."""
    ports = {15018: 15008}
    return [model.service("waypoint", ["10.96.3.30"], ports),
            model.pod(4, 1, "peer-1", "peer", services={HOST.split("/")[1]: ports})]


REFERENCES = {"an address": (lambda: [], model.gateway(topo.pod4(4, 1))),
              "a service's address": (by_name, model.gateway("10.96.3.30", 15018)),
              "a host name": (by_name, model.gateway(HOST, 15018))}


@pytest.mark.parametrize("how", REFERENCES)
def test_a_pods_waypoint_is_given_by(solo, how):
    resources, gateway = REFERENCES[how]
    solo.cp.push(*resources(), beta(waypoint=gateway), settle=False)
    solo.start()
    since = solo.zt.mark()
    with peers.TunnelServer(solo.ns("p41"), solo.credential()) as waypoint:
        client.echo(solo.ns("p31"), BETA4, 7000)
        (request,) = waypoint.requests()
        assert request[":authority"] == f"{BETA4}:7000"
        assert waypoint.connections[0].identities == [model.spiffe("alpha")]
    solo.zt.wait_access(since, direction="outbound", dst_addr=f"{solo.PEER4}:15008", dst_hbone_addr=f"{BETA4}:7000",
                        dst_identity=WAYPOINT, dst_workload="peer-1")


def test_an_ipv6_destination_stays_one_behind_an_ipv4_waypoint(solo):
    solo.cp.push(beta(waypoint=model.gateway(solo.PEER4)), settle=False)
    solo.start()
    with peers.TunnelServer(solo.ns("p41"), solo.credential()) as waypoint:
        client.echo(solo.ns("p31"), BETA6, 7000)
        assert [r[":authority"] for r in waypoint.requests()] == [f"[{BETA6}]:7000"]


def service_with_waypoint():
    return [model.service("front", [VIP], {80: 7000}, waypoint=model.gateway(topo.pod4(4, 1))),
            beta(services={"front.shop.svc.cluster.local": {80: 7000}})]


def test_a_services_waypoint_is_told_the_services_address(solo):
    solo.cp.push(*service_with_waypoint(), settle=False)
    solo.start()
    since = solo.zt.mark()
    with peers.TunnelServer(solo.ns("p41"), solo.credential()) as waypoint:
        client.echo(solo.ns("p31"), VIP, 80)
        (request,) = waypoint.requests()
    assert request[":authority"] == f"{VIP}:80" and request["forwarded"].endswith(";host=front.shop.svc.cluster.local")
    solo.zt.wait_access(since, direction="outbound", dst_service="front.shop.svc.cluster.local", dst_workload="peer-1")


def test_a_services_waypoint_is_not_used_for_its_pods_own_address(solo):
    solo.cp.push(*service_with_waypoint(), settle=False)
    solo.start()
    with peers.TunnelServer(solo.ns("p41"), solo.credential()) as waypoint:
        client.outcome(solo.ns("p31"), BETA4, 7000)
        assert not waypoint.requests()


def test_the_waypoint_itself_reaches_the_pod_directly(solo):
    solo.cp.push(beta(waypoint=model.gateway(solo.POD4)), settle=False)  # alpha is beta's waypoint
    solo.start()
    since = solo.zt.mark()
    client.echo(solo.ns("p31"), BETA4)
    solo.zt.wait_access(since, direction="outbound", dst_addr=f"{BETA4}:15008", dst_workload="beta-1")


def test_a_waypoint_with_another_identity_is_refused(solo):
    solo.cp.push(beta(waypoint=model.gateway(solo.PEER4)), settle=False)
    solo.start()
    with peers.TunnelServer(solo.ns("p41"), solo.credential(model.spiffe("beta"))) as waypoint:
        assert client.is_cut(client.outcome(solo.ns("p31"), BETA4, 7000)) and not waypoint.requests()


@pytest.mark.parametrize("gateway", [model.gateway("10.96.3.99"), model.gateway("shop/nobody.shop.svc.cluster.local")],
                         ids=["address", "name"])
def test_a_waypoint_that_does_not_exist_fails_early_and_is_not_gone_around(solo, gateway):
    solo.cp.push(beta(waypoint=gateway), settle=False)
    solo.start()
    since = solo.zt.mark()
    assert client.is_cut(client.outcome(solo.ns("p31"), BETA4))
    assert early_refusal(solo, since) == f"unknown waypoint: of {model.uid('beta-1')}"


def test_a_waypoints_request_is_taken_for_the_pods_service(solo):
    """Inbound: an authority that names a service is fine when its waypoint is the pod that was asked."""
    solo.cp.push(model.service("front", [VIP], {80: 7000}, waypoint=model.gateway("10.96.3.31", 15008)),
                 model.service("alpha", ["10.96.3.31"], {15008: 15008}),
                 model.pod(3, 1, "alpha-1", "alpha", services={"alpha.shop.svc.cluster.local": {15008: 15008}}), settle=False)
    solo.start()
    with peers.Tunnel(solo.ns("p41"), solo.POD4, solo.credential()) as tunnel:
        assert tunnel.connect(f"{VIP}:9002")[1] == 200
        assert tunnel.connect("10.96.3.77:9002")[1] == 400


def test_a_waypoint_may_be_a_workload_that_is_known_by_name_only(solo, world):
    world.names.table["waypoint.byname.example", dnsmsg.A] = [(60, solo.PEER4)]
    solo.cp.push(model.workload("waypoint-1", [], "peer", hostname="waypoint.byname.example"),
                 beta(waypoint=model.gateway("shop/waypoint.byname.example")), settle=False)
    solo.start()
    since = solo.zt.mark()
    with peers.TunnelServer(solo.ns("p41"), solo.credential()) as waypoint:
        client.echo(solo.ns("p31"), BETA4, 7000)
        assert [r[":authority"] for r in waypoint.requests()] == [f"{BETA4}:7000"]
    solo.zt.wait_access(since, direction="outbound", dst_addr=f"{solo.PEER4}:15008", dst_workload="waypoint-1",
                        dst_hbone_addr=f"{BETA4}:7000")


def test_a_waypoint_may_answer_with_its_services_identity(solo):
    ports = {15018: 15008}
    solo.cp.push(model.service("waypoint", ["10.96.3.30"], ports, subject_alt_names=[model.spiffe("gate")]),
                 model.pod(4, 1, "peer-1", "peer", services={HOST.split("/")[1]: ports}),
                 beta(waypoint=model.gateway(HOST, 15018)), settle=False)
    solo.start()
    with peers.TunnelServer(solo.ns("p41"), solo.credential(model.spiffe("gate"))) as waypoint:
        client.echo(solo.ns("p31"), BETA4)
        assert [r[":authority"] for r in waypoint.requests()] == [f"{BETA4}:{app.ECHO}"]


# ---- a waypoint that does not do its work is not gone around

BROKEN = {"does not listen": (None, "connect to"), "answers 503": (peers.answering(503), "http status: 503"),
          "refuses by policy": (peers.answering(401), "http status: 401")}


@pytest.mark.parametrize("addressed", ["pod", "service"])
@pytest.mark.parametrize("how", BROKEN)
def test_a_broken_waypoint_breaks_the_connection(solo, how, addressed):
    handler, error = BROKEN[how]
    ports = {app.ECHO: app.ECHO}
    solo.cp.push(model.service("front", [VIP], ports, waypoint=model.gateway(solo.PEER4)),
                 beta(waypoint=model.gateway(solo.PEER4), services={"front.shop.svc.cluster.local": ports}), settle=False)
    solo.start()
    since = solo.zt.mark()
    waypoint = peers.TunnelServer(solo.ns("p41"), solo.credential(), handler) if handler else None
    try:
        assert client.is_cut(client.outcome(solo.ns("p31"), BETA4 if addressed == "pod" else VIP))
    finally:
        if waypoint:
            waypoint.close()
    ((level, _, fields),) = solo.zt.wait_access(since, direction="outbound", dst_addr=f"{solo.PEER4}:15008")
    assert level == "error" and error in fields["error"]
    assert not solo.zt.access(since, direction="inbound"), "the pod never heard of it"


def test_a_waypoint_that_falls_ill_is_missed_and_is_used_again_when_it_is_well(solo):
    ports = {15008: 15008}

    def waypoint_pod(**fields):
        return model.pod(4, 1, "peer-1", "peer", services={HOST.split("/")[1]: ports}, **fields)
    solo.cp.push(model.service("waypoint", [], ports), waypoint_pod(), beta(waypoint=model.gateway(HOST)), settle=False)
    solo.start()
    with peers.TunnelServer(solo.ns("p41"), solo.credential()) as waypoint:
        served = solo.zt.mark()
        client.echo(solo.ns("p31"), BETA4)
        solo.zt.wait_access(served, direction="outbound")
        solo.cp.push(waypoint_pod(status=1))
        since = solo.zt.mark()
        assert client.is_cut(client.outcome(solo.ns("p31"), BETA4))
        assert early_refusal(solo, since) == f"no healthy waypoint upstream: of {model.uid('beta-1')}"
        solo.cp.push(waypoint_pod())
        client.echo(solo.ns("p31"), BETA4)
        assert len(waypoint.requests()) == 2


# ---- several waypoints by weight

def test_connections_spread_over_waypoints_by_weight(solo):
    def front(**weights):
        return model.service("front", [VIP], {80: 7000}, weighted_waypoints=model.weighted(**weights))
    solo.cp.push(model.pod(4, 2, "peer-2", "peer"), front(p41=1, p42=0), settle=False)
    solo.start()
    with peers.TunnelServer(solo.ns("p41"), solo.credential()) as old, \
            peers.TunnelServer(solo.ns("p42"), solo.credential()) as new:
        def counts(connections):
            before = len(old.requests()), len(new.requests())
            for _ in range(connections):
                client.echo(solo.ns("p31"), VIP, 80)
            return len(old.requests()) - before[0], len(new.requests()) - before[1]
        assert counts(8) == (8, 0)
        solo.cp.push(front(p41=3, p42=1))
        got = counts(160)
        assert sum(got) == 160 and 0 < got[1] < got[0]
        solo.cp.push(front(p41=0, p42=1))
        assert counts(8) == (0, 8)


def test_a_weighted_waypoint_that_does_not_exist_is_not_replaced_by_another(solo):
    solo.cp.push(model.service("front", [VIP], {80: 7000}, waypoint=model.gateway(solo.PEER4),
                               weighted_waypoints=model.weighted(p43=1)), settle=False)
    solo.start()
    since = solo.zt.mark()
    with peers.TunnelServer(solo.ns("p41"), solo.credential()) as waypoint:
        assert client.is_cut(client.outcome(solo.ns("p31"), VIP, 80)) and not waypoint.requests()
    assert early_refusal(solo, since) == "unknown waypoint: of shop/front.shop.svc.cluster.local"


# ---- the waypoint's own side

def test_a_waypoint_that_dials_its_services_address_does_not_come_back_to_itself(solo):
    ports = {80: app.ECHO}
    solo.cp.push(model.service("front", [VIP], ports, waypoint=model.gateway(solo.POD4)),
                 beta(services={"front.shop.svc.cluster.local": ports}), settle=False)  # alpha is the waypoint
    solo.start()
    since = solo.zt.mark()
    client.echo(solo.ns("p31"), VIP, 80)
    solo.zt.wait_access(since, direction="outbound", dst_addr=f"{BETA4}:15008", dst_workload="beta-1")


def test_a_waypoint_behind_an_application_tunnel_is_told_where_the_connection_was_meant_to_go(solo):
    """alpha takes tunnels for the service `front`; its application, which echoes, gets a PROXY header first."""
    tunnel = model.wl.ApplicationTunnel(protocol=1, port=app.ECHO)
    solo.cp.push(model.service("front", [VIP], {80: 7000}, waypoint=model.gateway("10.96.3.31", 15088)),
                 model.service("alpha", ["10.96.3.31"], {}),
                 model.pod(3, 1, "alpha-1", "alpha", application_tunnel=tunnel,
                           services={"alpha.shop.svc.cluster.local": {}}), settle=False)
    solo.start()
    with peers.Tunnel(solo.ns("p41"), solo.POD4, solo.credential()) as peer:
        stream, status = peer.connect(f"{VIP}:80")
        assert status == 200
        peer.send(stream, b"hello", end=True)
        assert peer.wait_end(stream) == "end"
        header = peer.take(stream)
    addresses = model.packed(solo.PEER4) + model.packed(VIP)
    name = WAYPOINT.encode()
    assert header.startswith(b"\r\n\r\n\0\r\nQUIT\n\x21\x11") and header[16:24] == addresses
    assert header[26:28] == (80).to_bytes(2, "big")
    assert header[28:] == b"\xd0" + len(name).to_bytes(2, "big") + name + b"hello"


def only_waypoint():
    """What a control plane may give the pods behind a waypoint: nobody else gets in."""
    return model.policy("only-waypoint", model.ALLOW, model.only(principals=[WAYPOINT.removeprefix("spiffe://")]),
                        scope=model.SELECTOR)


@pytest.mark.parametrize("bound", [False, True], ids=["without the policy", "with it"])
def test_a_pod_bound_to_its_waypoint_takes_nothing_past_it(solo, bound):
    ports = {80: app.ECHO}
    solo.cp.push(only_waypoint(), model.service("front", [VIP], ports, waypoint=model.gateway(solo.PEER4)),
                 beta(services={"front.shop.svc.cluster.local": ports}, policies=["shop/only-waypoint"] if bound else []),
                 settle=False)
    solo.start()
    forward = peers.onward(solo.ns("p41"), BETA4, solo.credential(), f"{BETA4}:{app.ECHO}")
    with peers.TunnelServer(solo.ns("p41"), solo.credential(), forward) as waypoint:
        client.echo(solo.ns("p31"), VIP, 80)
        assert len(waypoint.requests()) == 1
    got = {"a pod's own tunnel": client.outcome(solo.ns("p31"), BETA4),
           "in the clear": client.outcome(solo.ns("ext"), BETA4),
           "in the clear, IPv6": client.outcome(solo.ns("ext"), BETA6)}
    with peers.Tunnel(solo.ns("p41"), BETA4, solo.credential(model.spiffe("other"))) as tunnel:
        assert tunnel.connect(f"{BETA4}:{app.ECHO}")[1] == (401 if bound else 200)
    with peers.Tunnel(solo.ns("p42"), BETA4, solo.credential()) as tunnel:
        assert tunnel.connect(f"{BETA4}:{app.ECHO}")[1] == 200, "it is the identity that counts, not the address"
    reached = {way for way, how in got.items() if how == "served"}
    assert reached == (set() if bound else set(got)) and (not bound or all(map(client.is_cut, got.values())))


def test_a_pod_that_is_bound_while_a_direct_connection_lives_cuts_it(solo):
    ports = {80: app.ECHO}
    solo.cp.push(model.service("front", [VIP], ports, waypoint=model.gateway(solo.PEER4)),
                 beta(services={"front.shop.svc.cluster.local": ports}), settle=False)
    solo.start()
    forward = peers.onward(solo.ns("p41"), BETA4, solo.credential(), f"{BETA4}:{app.ECHO}")
    with peers.TunnelServer(solo.ns("p41"), solo.credential(), forward), \
            client.open_echo(solo.ns("p31"), BETA4) as direct, client.open_echo(solo.ns("p31"), VIP, 80) as proper:
        since = solo.zt.mark()
        solo.cp.push(only_waypoint(), beta(services={"front.shop.svc.cluster.local": ports}, policies=["shop/only-waypoint"]))
        client.wait_cut(direct)
        client.still_echoes(proper)
        solo.zt.wait_access(since, direction="inbound", error="connection closed due to policy change")


# ---- another network, through its gateway

FAR_HOST, GATE_HOST = "far.shop.svc.cluster.local", "gate.shop.svc.cluster.local"
GATES = {"an address": model.gateway(topo.pod4(4, 1), network="net2"), "a host name": model.gateway(f"shop/{GATE_HOST}", 15443)}


def far(*sans, gateway=GATES["an address"]):
    """A service whose only endpoint is on net2, behind the gateway on p41; p42 stands for the endpoint."""
    fields = {"network_gateway": gateway} if gateway else {}
    return [model.service("gate", [], {15443: 15008}),
            model.workload("gate-1", [topo.pod4(4, 1)], "peer", network="net2", services={GATE_HOST: {15443: 15008}}),
            model.workload("far-1", ["10.99.0.1"], "far", network="net2", services={FAR_HOST: {80: 7000}}, **fields),
            model.service("far", [VIP], {80: 7000}, subject_alt_names=list(sans))]


@pytest.mark.parametrize("how", GATES)
def test_a_service_of_another_network_is_reached_through_its_gateway_given_by(solo, how):
    solo.cp.push(*far(model.spiffe("far"), gateway=GATES[how]), settle=False)
    solo.start()
    since = solo.zt.mark()
    gate = peers.piping(solo.ns("p41"), topo.pod4(4, 2))
    with peers.TunnelServer(solo.ns("p41"), solo.credential(), gate) as outer, \
            peers.TunnelServer(solo.ns("p42"), solo.credential(model.spiffe("far"))) as inner:
        client.echo(solo.ns("p31"), VIP, 80)
        assert [r[":authority"] for r in outer.requests() + inner.requests()] == [f"{FAR_HOST}:80"] * 2
        assert "x-forwarded-network" in inner.requests()[0] and "x-forwarded-network" not in outer.requests()[0]
        assert outer.connections[0].identities == inner.connections[0].identities == [model.spiffe("alpha")]
    solo.zt.wait_access(since, direction="outbound", dst_addr=f"{solo.PEER4}:15008", dst_hbone_addr=f"{FAR_HOST}:80")


@pytest.mark.parametrize("sans", [[], [model.spiffe("other")]], ids=["nobody is named", "somebody else is named"])
def test_the_far_end_must_be_named_by_the_service(solo, sans):
    solo.cp.push(*far(*sans), settle=False)
    solo.start()
    gate = peers.piping(solo.ns("p41"), topo.pod4(4, 2))
    with peers.TunnelServer(solo.ns("p41"), solo.credential(), gate), \
            peers.TunnelServer(solo.ns("p42"), solo.credential(model.spiffe("far"))) as inner:
        assert client.is_cut(client.outcome(solo.ns("p31"), VIP, 80)) and not inner.requests()


def test_another_network_without_a_gateway_is_not_reached(solo):
    solo.cp.push(*far(model.spiffe("far"), gateway=None), settle=False)
    solo.start()
    since = solo.zt.mark()
    assert client.is_cut(client.outcome(solo.ns("p31"), VIP, 80))
    assert early_refusal(solo, since) == ("no network gateway to the other network: "
                                          f"{model.uid('far-1')} is on network 'net2'")


def test_a_pods_waypoint_on_another_network_is_not_dialled_here(solo):
    """Whatever has that address here is somebody else."""
    solo.cp.push(*far(model.spiffe("far")), beta(waypoint=model.gateway("shop/gate.example")),
                 model.workload("gate-2", [solo.PEER4], "peer", network="net2", hostname="gate.example"), settle=False)
    solo.start()
    since = solo.zt.mark()
    with peers.TunnelServer(solo.ns("p41"), solo.credential()) as gate:
        assert client.is_cut(client.outcome(solo.ns("p31"), BETA4)) and not gate.requests()
    assert early_refusal(solo, since) == (f"only service traffic may cross networks: waypoint {model.uid('gate-2')} "
                                          "is on network 'net2'")
