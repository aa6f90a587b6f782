# SPDX-License-Identifier: Apache-2.0
"""Connections that go through a waypoint: where they are led, and what tells the waypoint their destination.

The waypoint is a foreign peer on p41; the destinations are `beta` (p32) and services with a waypoint of their own.
"""
import pytest

from lib import client, model, peers, topo

WAYPOINT = model.spiffe("peer")
BETA4, BETA6, VIP = topo.pod4(3, 2), topo.pod6(3, 2), "10.96.3.20"
HOST = "shop/waypoint.shop.svc.cluster.local"


def beta(**fields):
    return model.pod(3, 2, "beta-1", "beta", **fields)


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
    ((level, message, _),) = solo.zt.wait_access(since, direction="outbound")
    assert (level, message) == ("warn", "connection failed")


def test_a_waypoints_request_is_taken_for_the_pods_service(solo):
    """Inbound: an authority that names a service is fine when its waypoint is the pod that was asked."""
    solo.cp.push(model.service("front", [VIP], {80: 7000}, waypoint=model.gateway("10.96.3.31", 15008)),
                 model.service("alpha", ["10.96.3.31"], {15008: 15008}),
                 model.pod(3, 1, "alpha-1", "alpha", services={"alpha.shop.svc.cluster.local": {15008: 15008}}), settle=False)
    solo.start()
    with peers.Tunnel(solo.ns("p41"), solo.POD4, solo.credential()) as tunnel:
        assert tunnel.connect(f"{VIP}:9002")[1] == 200
        assert tunnel.connect("10.96.3.77:9002")[1] == 400
