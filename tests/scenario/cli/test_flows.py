# SPDX-License-Identifier: Apache-2.0
"""`flows` and `routes`: what nodes and waypoints have seen and compiled, asked of fakes of both."""
import copy
import json

import pytest

from conftest import FakeProxy

CONNECTION = {"time": "2026-11-25T15:00:02.0Z", "reporter": "source", "mutual_tls": True, "flags": "-", "duration_us": 1500,
              "src.addr": "10.0.0.1:4", "dst.addr": "10.0.0.2:80", "src.pod": "web-1", "dst.pod": "cart-1",
              "source_namespace": "shop", "destination_namespace": "shop", "destination_service": "cart.shop",
              "to_server": 1200, "to_client": 40}
REQUEST = {"time": "2026-11-25T15:00:01.0Z", "status": 200, "duration_us": 2100, "bytes_received": 0, "bytes_sent": 5,
           "mutual_tls": True, "flags": "-", "method": "GET", "path": "/items", "authority": "cart", "source": "shop/web-1",
           "source_identity": "spiffe://cluster.local/ns/shop/sa/web", "destination": "shop/cart-1", "service": "cart.shop",
           "route": "shop.r.0", "details": "via_upstream", "upstream": "10.0.0.2:80"}
DENIED = {**REQUEST, "time": "2026-11-25T15:00:03.0Z", "status": 403, "method": "DELETE", "route": "",
          "details": "rbac_access_denied_matched_policy[ns[shop]-policy[p]-rule[0]]"}
SERVICE = {"service": "shop/cart.shop.svc.cluster.local", "served": True, "ports": [
    {"port": 80, "protocol": "HTTP", "rules": [
        {"rule": "shop.r.0", "kind": "HTTPRoute", "route": "r", "routeNamespace": "shop", "index": 0,
         "match": {"text": "/v2/..."}, "filters": [], "timeoutMs": 0, "retries": 0, "invalid": "",
         "backends": [{"service": "shop/v2.shop.svc.cluster.local", "port": 80, "weight": 1, "invalid": ""}]}]}],
    "authorization": [{"namespace": "shop", "name": "p", "action": "DENY", "rules": 1}], "authentication": []}


@pytest.fixture
def waypoint():
    fake = FakeProxy()
    fake.pages.update({"/requests/recent": [REQUEST, DENIED], "/access/recent": [], "/config_dump": {"bound": [SERVICE]}})
    yield fake
    fake.close()


def test_connections_and_requests_are_shown_together_in_order(ambit, node, waypoint):
    node("n1").proxy.pages["/access/recent"] = [CONNECTION]
    lines = ambit("flows", "--waypoint-admin", waypoint.at, code=0).out.splitlines()
    assert [(" L7 " in line, " L4 " in line) for line in lines] == [(True, False), (False, True), (True, False)]
    assert "shop/web-1 -> shop/cart-1 as cart.shop  GET /items 200 by shop.r.0, 2.1 ms" in lines[0]
    assert "shop/web-1 -> shop/cart-1 as cart.shop  outbound 1.2kB sent, 40B received, 1.5 ms" in lines[1]
    assert "DENIED" in lines[2] and "DELETE /items 403" in lines[2] and "policy[p]-rule[0]" in lines[2]


@pytest.mark.parametrize("words, methods", [
    (["--denied"], ["DELETE"]), (["--requests"], ["GET", "DELETE"]), (["--requests", "--last", "1"], ["DELETE"]),
    (["--connections"], [None]), (["-n", "elsewhere"], []), (["cart.shop", "--requests"], ["GET", "DELETE"]),
    (["nobody"], []), (["spiffe://cluster.local/ns/shop/sa/web"], ["GET", "DELETE"]),
])
def test_filters(ambit, node, waypoint, words, methods):
    node("n1").proxy.pages["/access/recent"] = [CONNECTION]
    out = ambit("flows", "--waypoint-admin", waypoint.at, "-o", "json", *words, code=0).out
    assert [json.loads(line).get("method") for line in out.splitlines()] == methods


def test_who_does_not_answer_is_said(ambit, node):
    node("n1").proxy.pages["/access/recent"] = [CONNECTION]
    result = ambit("flows", "--waypoint-admin", "127.0.0.1:1", code=3)
    assert "waypoint 127.0.0.1:1" in result.err and " L4 " in result.out
    ambit("flows", "--requests", "--connections", code=2)


def test_routes_are_those_that_the_waypoint_has_compiled(ambit, waypoint):
    out = ambit("routes", "shop/cart", "--waypoint-admin", waypoint.at, code=0).out
    assert out.startswith("OK: 1 match of 1 service, tried from the top\n")
    assert out.splitlines()[2].split() == ["PORT", "MATCH", "BACKENDS", "ROUTE", "TIMEOUT", "STATE", "FILTERS"]
    assert out.splitlines()[3].split() == ["80", "/v2/...", "v2:80", "shop/r", "-", "ok", "-"]
    assert out.endswith("policies:\n  DENY shop/p\n")
    items = ambit("routes", "-n", "shop", "--waypoint-admin", waypoint.at, "-o", "json", code=0).json["items"]
    assert items[0]["rule"] == "shop.r.0"
    assert ambit("routes", "-n", "other", "--waypoint-admin", waypoint.at, code=1).out == ""
    assert "its traffic is layer 4" in ambit("routes", "shop/web", "--waypoint-admin", waypoint.at, code=1).err


def test_rows_of_several_services_say_of_which(ambit, waypoint):
    other = copy.deepcopy(SERVICE)
    other["service"] = "shop/pay.shop.svc.cluster.local"
    other["authorization"] = []
    waypoint.pages["/config_dump"] = {"bound": [SERVICE, other]}
    out = ambit("routes", "-n", "shop", "--waypoint-admin", waypoint.at, code=0).out
    assert out.splitlines()[2].split()[:2] == ["SERVICE", "PORT"]
    assert {line.split()[0] for line in out.splitlines()[3:5]} == {SERVICE["service"], other["service"]}
    assert out.endswith("policies of shop/cart.shop.svc.cluster.local:\n  DENY shop/p\n")
    assert "SERVICE" not in ambit("routes", "shop/pay", "--waypoint-admin", waypoint.at, code=0).out


def test_what_is_only_a_backend_is_not_served(ambit, waypoint):
    backend = copy.deepcopy(SERVICE)
    backend["served"] = False
    waypoint.pages["/config_dump"] = {"bound": [backend]}
    ambit("routes", "shop/cart", "--waypoint-admin", waypoint.at, code=1)


def test_without_a_waypoint_nothing_can_be_told(ambit, node):
    node("n1")
    said = ambit("routes", "shop/cart", code=3).err
    assert "no replica of a waypoint that serves it runs here; and the control plane: no credentials for the API" in said and "fix: ambit routes SERVICE --kubeconfig" in said
    ambit("routes", "shop/cart", "--waypoint-admin", "127.0.0.1:1", code=3)
    assert "none runs on this one" in ambit("flows", "--requests", code=3).err
    ambit("flows", code=0)
    assert "is no address:port" in ambit("routes", "--waypoint-admin", "here", code=2).err
