# SPDX-License-Identifier: Apache-2.0
"""`why` and `can` against fake proxies and waypoints: what is asked, and what becomes of the answers."""
import copy
import urllib.parse

import pytest

from conftest import FakeProxy

L4 = {"from": {"namespace": "shop", "name": "web", "identity": "spiffe://cluster.local/ns/shop/sa/web", "mesh": True,
               "address": "10.0.0.1", "node": "n1"},
      "to": {"kind": "service", "namespace": "shop", "name": "cart", "hostname": "cart.shop.svc.cluster.local", "port": 80,
             "waypoint": ""},
      "route": {"kind": "hbone", "reason": ""},
      "endpoints": [{"namespace": "shop", "name": "cart-1", "address": "10.0.1.1", "port": 8080, "healthy": True,
                     "outcome": "allow", "policy": "shop/allow-web", "reason": "an ALLOW policy matches", "checked": []}],
      "verdict": "allow", "text": ""}
L7 = {"verdict": "deny", "status": 403, "text": "403, denied by shop/no-delete rule 0",
      "policy": {"outcome": "deny", "policy": "shop/no-delete", "rule": 0, "reason": "DENY policy shop/no-delete matches"},
      "route": {"kind": "HTTPRoute", "route": "shop/r", "rule": 0, "backends": [{"name": "shop/cart", "port": 80, "weight": 1}]}}


def behind_waypoint():
    answer = copy.deepcopy(L4)
    answer["to"]["waypoint"] = "shop/way.shop.svc.cluster.local"
    answer["route"] = {"kind": "waypoint", "next": "shop/way-1"}
    return answer


def query_of(path):
    return urllib.parse.parse_qs(path.partition("?")[2], strict_parsing=True)


def test_the_question_reaches_the_node_proxy_as_it_was_put(ambit, node):
    n = node()
    n.proxy.pages["/why"] = L4
    assert ambit("why", "web", "cart.shop:80", "-n", "shop", code=0).out.startswith("ALLOWED: shop/web reaches shop/cart:80")
    assert query_of(n.proxy.asked[-1]) == {"from": ["web"], "to": ["cart.shop"], "port": ["80"], "ns": ["shop"]}
    ambit("can", "shop/web", "[fd00::1]:8080", code=0)
    assert query_of(n.proxy.asked[-1]) == {"from": ["shop/web"], "to": ["fd00::1"], "port": ["8080"]}
    ambit("can", "spiffe://td/ns/a/sa/b", "10.96.0.1", code=0)
    assert query_of(n.proxy.asked[-1]) == {"from": ["spiffe://td/ns/a/sa/b"], "to": ["10.96.0.1"]}


@pytest.mark.parametrize("words, said", [
    (["shop/cart:http"], "shop/cart:http: http is no port"),
    (["shop/cart:"], "shop/cart::  is no port"),
    (["shop/cart:70000"], "shop/cart:70000: 70000 is no port"),
    (["shop/cart", "--path", "items"], "--path: items does not begin with /"),
    (["shop/cart", "-H", "x-user"], "--header: x-user is not NAME:VALUE"),
    (["shop/cart", "-H", ": jane"], "--header: : jane is not NAME:VALUE"),
])
def test_a_question_that_makes_no_sense_is_not_put(ambit, node, words, said):
    n = node()
    n.proxy.pages["/why"] = L4
    assert f"{said}\n  fix: ambit help why\n" in ambit("why", "shop/web", *words, code=2).err
    assert not n.proxy.asked


def test_can_is_one_line_and_why_has_evidence_and_one_command(ambit, node):
    denied = copy.deepcopy(L4)
    denied["verdict"], denied["text"] = "deny", "explicitly denied by: shop/no-web"
    denied["endpoints"][0].update(outcome="deny", policy="shop/no-web", reason="explicitly denied by: shop/no-web",
                                  checked=[{"policy": "shop/no-web", "action": "DENY", "matches": True}])
    node().proxy.pages["/why"] = denied
    line = "DENIED at layer 4: shop/web does not reach shop/cart:80: explicitly denied by: shop/no-web\n"
    assert ambit("can", "shop/web", "shop/cart", code=1).out == line
    out = ambit("why", "shop/web", "shop/cart", code=1).out
    assert out.startswith(line) and "checked   DENY shop/no-web matches" in out
    assert out.endswith("  fix: ambit get authorizationpolicy no-web -n shop -o yaml\n")
    result = ambit("why", "shop/web", "shop/cart", "-o", "json", code=1).json
    assert (result["verdict"], result["by"], result["layer7"]) == ("DENIED", "shop/no-web", None)


def test_behind_a_waypoint_that_is_asked_about_the_request(ambit, node):
    n = node()
    n.proxy.pages["/why"] = behind_waypoint()
    waypoint = FakeProxy()
    waypoint.pages["/why"] = L7
    try:
        out = ambit("why", "shop/web", "shop/cart", "--waypoint-admin", waypoint.at, "--method", "DELETE", "--path", "/a?b=c d",
                    "-H", "x-one: 1", "-H", "x-two:2", "--host", "cart", code=1).out
    finally:
        waypoint.close()
    assert query_of(waypoint.asked[-1]) == {
        "to": ["shop/cart.shop.svc.cluster.local"], "port": ["80"], "identity": ["spiffe://cluster.local/ns/shop/sa/web"],
        "source_ip": ["10.0.0.1"], "method": ["DELETE"], "path": ["/a?b=c d"], "host": ["cart"], "header": ["x-one: 1", "x-two:2"]}
    assert out.startswith("DENIED at layer 7: shop/web is refused by the waypoint of shop/cart:80: 403, denied by shop/no-delete rule 0\n")
    assert "fix: ambit get authorizationpolicy no-delete -n shop -o yaml" in out


TOKEN = "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJpIn0.c2ln"


def test_a_token_comes_from_a_file_or_standard_input_and_never_from_the_command_line(ambit, node, tmp_path):
    n, waypoint, file = node(), FakeProxy(), tmp_path / "token"
    n.proxy.pages["/why"] = behind_waypoint()
    waypoint.pages["/why"] = {**L7, "text": "401: Jwt is expired: exp is 1", "token": {
        "outcome": "refused", "policy": "shop/jwt", "message": "Jwt is expired", "detail": "exp is 1, now is 2"}}
    question = ["shop/web", "shop/cart", "--waypoint-admin", waypoint.at]
    try:
        file.write_text(f"\n {TOKEN}\n", encoding="ascii")
        out = ambit("why", *question, "--token", file, code=1).out
        assert query_of(waypoint.asked[-1])["header"] == [f"authorization: Bearer {TOKEN}"]
        assert "token     refused, by RequestAuthentication shop/jwt: Jwt is expired: exp is 1, now is 2" in out
        assert out.endswith("fix: ambit get requestauthentication jwt -n shop -o yaml\n")
        assert "401: Jwt is expired" in ambit("can", *question, "--token", "-", text=TOKEN, code=1).out
        assert query_of(waypoint.asked[-1])["header"] == [f"authorization: Bearer {TOKEN}"]
        file.write_text(f"Authorization: Bearer {TOKEN}\r\n\nx-one: 1\n", encoding="ascii")
        ambit("can", *question, "-H", f"@{file}", "-H", "x-two: 2", code=1)
        assert query_of(waypoint.asked[-1])["header"] == [f"Authorization: Bearer {TOKEN}", "x-one: 1", "x-two: 2"]
        asked = len(waypoint.asked)
        for words in (["--token", TOKEN], ["-H", f"Authorization: Bearer {TOKEN}"], ["-H", f"AUTHORIZATION : {TOKEN}"]):
            result = ambit("why", *question, *words, code=2)
            assert "command lines" in result.err and TOKEN not in result.err + result.out
    finally:
        waypoint.close()
    for text, said in (("", "empty"), ("a b", "one word"), ("x" * 8193, "at most 8192")):
        file.write_text(text, encoding="ascii")
        assert said in ambit("why", *question, "--token", file, code=2).err
    assert "absent" in ambit("why", *question, "--token", tmp_path / "absent", code=2).err
    assert len(waypoint.asked) == asked


def test_a_waypoint_that_cannot_be_asked_leaves_the_answer_open(ambit, node):
    n = node()
    n.proxy.pages["/why"] = behind_waypoint()
    out = ambit("why", "shop/web", "shop/cart", code=3).out
    assert out.startswith("CANNOT TELL") and "none of its replicas runs on this machine" in out
    assert "fix: ambit waypoint status -n shop" in out
    assert n.agent.wait_for("ps")
    assert "CANNOT TELL" in ambit("can", "shop/web", "shop/cart", "--waypoint-admin", "127.0.0.1:1", code=3).out


def test_of_a_clusters_api_server_the_way_through_a_tunnel_is_told(ambit, api):
    config = ["--kubeconfig", str(api / "admin.kubeconfig")]
    for words, tunnel in ((["routes", "shop/cart"], "--waypoint-admin 127.0.0.1:15000"),
                          (["why", "shop/web", "shop/cart:80"], "--node-admin 127.0.0.1:15000")):
        said = ambit(*words, *config, code=3).err
        assert "not that of a stand-alone control plane" in said and "fix: kubectl port-forward" in said and tunnel in said


def test_another_node_is_asked_when_one_does_not_answer(ambit, node):
    first, second = node("n1"), node("n2")
    first.proxy.pages["/why"] = None
    second.proxy.pages["/why"] = L4
    ambit("can", "shop/web", "shop/cart", code=0)


@pytest.mark.parametrize("status, page, said", [
    (404, {"error": "no workload shop/nobody is known"}, "no workload shop/nobody is known"),
    (400, {"error": "say which port is meant"}, "say which port is meant"),
])
def test_what_is_not_known_cannot_be_told(ambit, node, status, page, said):
    n = node()
    n.proxy.pages["/why"], n.proxy.status["/why"] = page, status
    assert said in ambit("why", "shop/nobody", "shop/cart", code=3).err


def test_a_proxy_without_such_a_page_and_no_proxy_at_all(ambit, node):
    assert "does not answer such questions" in ambit("why", "a", "b", "--node-admin", node().proxy.at, code=3).err
    ambit("why", "a", "b", "--node-admin", "127.0.0.1:1", code=3)
    assert "needs FROM TO" in ambit("why", "a", code=2).err
