# SPDX-License-Identifier: Apache-2.0
"""Endpoints that the control plane knows by host name only: the waypoint asks for the name when it connects."""
import os

import pytest

from lib import dnsd, l7, model, topo, waypoint
from lib.dnsmsg import A, AAAA

VIP, SERVICE = "10.96.9.50", l7.host("named")


@pytest.fixture(scope="module", name="server")
def name_server(world):
    server = dnsd.NameServer(world.ns("fab"), topo.ROUTER4)
    yield server
    server.close()


@pytest.fixture(name="named")
def make_named(lab, server):
    """A function that has the endpoint's name mean these addresses; it returns the name, another for each test."""
    lab.wp.resolv = os.path.join(lab.folder, "waypoint-resolv.conf")
    with open(lab.wp.resolv, "w", encoding="ascii") as f:
        f.write(f"nameserver {topo.ROUTER4}\n")
    lab.wp.discard()
    lab.wp.start(WAYPOINT_WORKER_THREADS="1")
    lab.wp.wait_ready(20)
    make_named.count = getattr(make_named, "count", 0) + 1
    name = f"n{make_named.count}.outside.example"

    def use(answers, protocol=model.HBONE):
        server.table.update({(name, kind): [(60, value)] for kind, value in answers.items()})
        lab.use(model.service("named", [VIP], waypoint.PORTS), l7.binding("named", waypoint.PROTOCOLS),
                model.workload("named-1", [], "web", protocol=protocol, hostname=name, services={SERVICE: waypoint.PORTS}))
        return name
    yield use
    lab.wp.discard()
    lab.wp.resolv = None


@pytest.mark.parametrize("protocol", (model.HBONE, model.NONE), ids=("through a tunnel", "in the clear"))
def test_requests_reach_it_at_the_address_of_its_name(lab, named, server, protocol):
    name = named({A: topo.pod4(2, 1)}, protocol)
    for _ in range(2):
        with lab.h1(vip=VIP) as http:
            assert http.get("/echo").json()["pod"] == "web-1"
    with lab.h2(vip=VIP, port=81) as http:
        assert http.get("/echo").json()["pod"] == "web-1"
    assert f"{name}:808" in lab.wp.wait_request("/echo")
    assert len([kind for kind, _ in server.queries(name) if kind == A]) == 1


def test_tcp_reaches_it_too(lab, named):
    named({A: topo.pod4(2, 1)})
    with lab.tunnel() as tunnel:
        stream, status = tunnel.connect(f"{VIP}:82")
        assert status == 200
        tunnel.until("the greeting", lambda: tunnel.streams[stream].data)
        assert bytes(tunnel.streams[stream].data) == b"hello from web-1\n"


@pytest.mark.parametrize("answers,said", (({}, "not found"), ({A: "127.0.0.1", AAAA: "::1"}, "may be dialled")))
def test_a_name_that_leads_nowhere_is_503(lab, named, answers, said):
    named(answers)
    with lab.h1(vip=VIP) as http:
        r = http.get("/nowhere")
        assert r.status == 503 and said in r.body.decode(), r.body
    assert " UF " in lab.wp.wait_request("/nowhere")
    with lab.tunnel() as tunnel:
        assert tunnel.connect(f"{VIP}:82")[1] == 503
