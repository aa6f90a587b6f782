# SPDX-License-Identifier: Apache-2.0
"""Names as a pod asks for them: its queries are captured on their way to any name server."""
import pytest

from lib import dnsd, dnsmsg, mesh as meshes, model, topo, wait
from lib.dnsmsg import A, AAAA, CNAME, MX, TXT

PODS4, PODS6 = [topo.pod4(1, 4), topo.pod4(2, 1)], [topo.pod6(1, 4), topo.pod6(2, 1)]


@pytest.fixture(scope="module", autouse=True)
def upstream(world):
    world.names.table.update({
        ("out.example", A): [(77, "192.0.2.7")], ("out.example", AAAA): [(77, "2001:db8::7")],
        ("out.example", TXT): [(77, "text")], ("out.example", MX): [(77, "mail.example")],
        ("large.example", A): [(77, f"192.0.2.{i}") for i in range(100)],
        ("broken.example", A): dnsmsg.SERVFAIL, ("refused.example", A): dnsmsg.REFUSED})
    return world.names


@pytest.fixture
def ask(mesh):
    return lambda name, kind=A, pod="p11", server=topo.ROUTER4, **how: dnsd.ask(mesh.ns(pod), server, name, kind, **how)


LOCAL = {
    "a full name": ("web.shop.svc.cluster.local", A, [meshes.WEB4]),
    "a full name, IPv6": ("web.shop.svc.cluster.local", AAAA, [meshes.WEB6]),
    "upper case": ("WEB.Shop.SVC.cluster.LOCAL", A, [meshes.WEB4]),
    "a short name": ("web", A, [meshes.WEB4]),
    "name and namespace": ("web.shop", A, [meshes.WEB4]),
    "name, namespace and svc": ("web.shop.svc", A, [meshes.WEB4]),
    "another namespace": ("db.prod", A, [meshes.DB4]),
    "a headless service": ("headless.shop.svc.cluster.local", A, PODS4),
    "a headless service, IPv6": ("headless.shop.svc.cluster.local", AAAA, PODS6),
    "no address of the family": ("v4only.shop.svc.cluster.local", AAAA, []),
    "a wildcard": ("any.thing.wild.example", A, ["10.96.0.15"]),
}


@pytest.mark.parametrize("what", LOCAL)
def test_the_mesh_answers(ask, upstream, what):
    name, kind, addresses = LOCAL[what]
    before = len(upstream.asked)
    got = ask(name, kind)
    assert (got.rcode, got.values(kind)) == (dnsmsg.NOERROR, addresses)
    assert got.flag("aa") and got.flag("rd") and got.name == name
    assert all(ttl == 30 and owner == name.lower() for owner, _, ttl, _ in got.answers)
    assert name not in [asked for asked, _, _ in upstream.asked[before:]], "nobody else is asked"


@pytest.mark.parametrize("name,relative", [
    ("web.shop.svc.cluster.local.shop.svc.cluster.local", "web.shop.svc.cluster.local"),
    ("web.shop.shop.svc.cluster.local", "web.shop"), ("web.shop.svc.cluster.local.cluster.local", "web.shop.svc.cluster.local")])
def test_a_search_domain_in_the_way_is_seen_through(ask, name, relative):
    got = ask(name)
    assert [(o, k, v) for o, k, _, v in got.answers] == [(name, CNAME, relative), (relative, A, meshes.WEB4)]


def test_a_short_name_of_another_namespace_does_not_exist(ask):
    got = ask("db")
    assert got.rcode == dnsmsg.NXDOMAIN and not got.answers and not got.flag("aa")
    assert ask("db", pod="p13").values(A) == [meshes.DB4], "for a pod of that namespace it does"


FORWARDED = {
    "an address": ("out.example", A, ["192.0.2.7"]),
    "an IPv6 address": ("out.example", AAAA, ["2001:db8::7"]),
    "another type": ("out.example", MX, ["mail.example"]),
}


@pytest.mark.parametrize("tcp", [False, True], ids=["udp", "tcp"])
@pytest.mark.parametrize("what", FORWARDED)
def test_the_rest_is_forwarded_unchanged(ask, what, tcp):
    name, kind, values = FORWARDED[what]
    got = ask(name, kind, tcp=tcp)
    assert (got.rcode, got.values(kind)) == (dnsmsg.NOERROR, values)
    assert not got.flag("aa") and got.flag("ra") and all(ttl <= 77 for _, _, ttl, _ in got.answers)


@pytest.mark.parametrize("name,kind,rcode", [
    ("missing.example", A, dnsmsg.NXDOMAIN), ("missing.example", AAAA, dnsmsg.NXDOMAIN), ("out.example", dnsmsg.NS, dnsmsg.NOERROR),
    ("broken.example", A, dnsmsg.SERVFAIL), ("refused.example", A, dnsmsg.REFUSED)])
def test_an_upstream_refusal_is_passed_on(ask, name, kind, rcode):
    got = ask(name, kind)
    assert (got.rcode, got.answers) == (rcode, []) and not got.flag("ra")


def test_names_of_single_pods_are_not_made_up(ask, upstream):
    assert ask("web-1.headless.shop.svc.cluster.local").rcode == dnsmsg.NXDOMAIN
    assert upstream.queries("web-1.headless.shop.svc.cluster.local")


def test_a_name_server_without_an_answer_over_udp_is_asked_over_tcp(ask, upstream):
    got = ask("large.example")
    assert len(got.answers) == 100 and not got.flag("tc")
    assert {proto for _, proto in upstream.queries("large.example")} == {"udp", "tcp"}


def test_an_answer_is_cut_to_what_the_client_takes_and_whole_over_tcp(mesh, ask):
    vips = [f"10.99.0.{i}" for i in range(1, 61)]
    mesh.cp.push(model.service("many", vips, {80: 80}))
    name = "many.shop.svc.cluster.local"
    small = ask(name, edns_bytes=512)
    assert small.flag("tc") and len(small.octets) <= 512
    assert small.additional[0][1] == dnsmsg.OPT
    for whole in (ask(name), ask(name, edns_bytes=1232), ask(name, tcp=True)):
        assert len(whole.answers) == 60 and not whole.flag("tc")


@pytest.mark.parametrize("pod,server", [("p11", topo.ROUTER6), ("p23", topo.ROUTER4), ("p23", topo.ROUTER6),
                                        ("p11", "192.0.2.53")])
@pytest.mark.parametrize("tcp", [False, True], ids=["udp", "tcp"])
def test_queries_are_captured_whatever_server_they_are_for(ask, pod, server, tcp):
    assert ask("web.shop.svc.cluster.local", pod=pod, server=server, tcp=tcp).values(A) == [meshes.WEB4]


def test_a_pod_outside_the_mesh_asks_for_itself(ask):
    assert ask("web.shop.svc.cluster.local", pod="p22").rcode == dnsmsg.NXDOMAIN


def test_queries_are_counted(mesh, ask):
    labels = {"source_canonical_service": "client-1-app", "request_query_type": "a", "request_protocol": "udp"}
    names = ("istio_dns_requests_total", "istio_dns_upstream_requests_total")
    before = [mesh[1].metric(n, **labels) for n in names]
    ask("web")
    ask("nowhere.example")
    wait.until("counted", lambda: [mesh[1].metric(n, **labels) - b for n, b in zip(names, before)] == [2, 1])


def test_a_new_service_is_known_when_it_is_pushed(mesh, ask):
    assert ask("young.shop.svc.cluster.local").rcode == dnsmsg.NXDOMAIN
    mesh.cp.push(model.service("young", ["10.96.0.90"], {80: 80}))
    assert ask("young").values(A) == ["10.96.0.90"]


# ---- what upstream said before

@pytest.fixture
def moving(upstream):
    """A name whose address the test changes: (name, set it, how often it was asked for)."""
    name = "moving.example"

    def move(address, ttl=60):
        upstream.table[name, A] = [(ttl, address)]
    yield name, move, lambda: len(upstream.queries(name))
    upstream.table.pop((name, A), None)


@pytest.mark.parametrize("pod", ["p11", "p23"], ids=["one set of rules", "the other"])
def test_an_answer_serves_the_pod_that_asked_while_it_lasts(mesh, ask, moving, pod):
    name, move, asked = moving
    ttl = int(1 + wait.SCALE)
    move("192.0.2.10", ttl)
    before, node = asked(), mesh[int(pod[1])]
    cached = node.metric("ambit_dns_cached_total", request_query_type="a")
    first = ask(name, pod=pod)
    move("192.0.2.11", ttl)
    for how in ({}, {"tcp": True}, {"edns_bytes": 1232}):
        got = ask(name, pod=pod, **how)
        assert got.values(A) == first.values(A) == ["192.0.2.10"] and got.answers[0][2] <= ttl
    assert asked() == before + 1 and ask(name.upper(), pod=pod).answers[0][0] == name.upper()
    wait.until("counted", lambda: node.metric("ambit_dns_cached_total", request_query_type="a") == cached + 4)
    wait.until("the new address", lambda: ask(name, pod=pod).values(A) == ["192.0.2.11"], 5)


def test_what_one_pod_was_told_is_not_told_to_another(ask, moving):
    name, move, asked = moving
    before = asked()
    for pod, address in (("p12", "192.0.2.21"), ("p13", "192.0.2.23"), ("p14", "192.0.2.24")):
        move(address)
        assert ask(name, pod=pod).values(A) == [address]
    assert asked() == before + 3
    assert ask(name, pod="p12").values(A) == ["192.0.2.21"] and asked() == before + 3


def test_a_refusal_is_asked_for_again(ask, upstream):
    assert ask("unborn.example").rcode == dnsmsg.NXDOMAIN
    upstream.table["unborn.example", A] = [(60, "192.0.2.30")]
    try:
        assert ask("unborn.example").values(A) == ["192.0.2.30"]
    finally:
        del upstream.table["unborn.example", A]


def test_a_service_of_the_mesh_comes_before_what_upstream_said(mesh, ask, upstream):
    name = "claimed.example"
    upstream.table[name, A] = [(60, "192.0.2.40")]
    claim = model.service("claimed", ["10.96.0.91"], {80: 80}, hostname=name)
    try:
        assert ask(name).values(A) == ["192.0.2.40"]
        mesh.cp.push(claim)
        assert ask(name).values(A) == ["10.96.0.91"]
    finally:
        del upstream.table[name, A]
