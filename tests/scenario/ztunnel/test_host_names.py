# SPDX-License-Identifier: Apache-2.0
"""Workloads that the control plane knows by host name only: the node proxy looks the name up when it is needed."""
import pathlib
import socket

import pytest

from lib import app, client, mesh as meshes, model, netns, topo, wait
from lib.dnsmsg import A, AAAA, SERVFAIL

VIP, HOST, SERVICE = "10.96.0.77", "db.outside.example", f"named.shop.{meshes.DOMAIN}"
CLIENT4 = topo.pod4(1, 1)


@pytest.fixture
def names(mesh, world):
    """A fresh host name for each test, because answers are kept."""
    names.count = getattr(names, "count", 0) + 1
    host = f"n{names.count}.{HOST}"

    def push(answers, protocol=model.NONE, sa="db"):
        world.names.table.update({(host, kind): value for kind, value in answers.items()})
        mesh.cp.push(model.service("named", [VIP], meshes.PORTS),
                     model.workload("named-1", [], sa, protocol=protocol, hostname=host, services={SERVICE: meshes.WEB_PORTS}))
        return host
    return push


def test_it_is_reached_at_the_address_of_its_name(mesh, names):
    names({A: [(60, topo.EXT4)]})
    since = mesh[1].mark()
    assert client.greet(mesh.ns("p11"), VIP, 80)["peer"][0] == CLIENT4
    mesh[1].wait_access(since, direction="outbound", dst_addr=f"{topo.EXT4}:{app.GREET}", dst_workload="named-1", dst_service=SERVICE)


def test_an_address_of_the_other_family_will_do(mesh, names):
    names({AAAA: [(60, topo.EXT6)]})
    since = mesh[1].mark()
    client.greet(mesh.ns("p11"), VIP, 80)
    mesh[1].wait_access(since, direction="outbound", dst_addr=f"[{topo.EXT6}]:{app.GREET}")


def test_it_is_reached_through_a_tunnel_that_names_the_address(mesh, names):
    names({A: [(60, topo.pod4(2, 1))]}, protocol=model.HBONE, sa="web")
    since = mesh[1].mark()
    client.echo(mesh.ns("p11"), VIP, 81)
    mesh[1].wait_access(since, direction="outbound", dst_hbone_addr=f"{topo.pod4(2, 1)}:{app.ECHO}", dst_identity=model.spiffe("web"))


def test_whoever_answers_there_must_be_the_workload(mesh, names):
    names({A: [(60, topo.pod4(2, 1))]}, protocol=model.HBONE, sa="db")
    since = mesh[1].mark()
    client.outcome(mesh.ns("p11"), VIP, 81)
    _, _, fields = mesh[1].only_access(since, direction="outbound", dst_workload="named-1")
    assert fields["error"].endswith(f"expected {model.spiffe('db')}")


@pytest.mark.parametrize("answers,said", [({}, "not found"), ({A: SERVFAIL, AAAA: SERVFAIL}, "look up")])
def test_a_name_without_an_address_refuses_the_connection_and_says_why(mesh, names, answers, said):
    host = names(answers)
    since = mesh[1].mark()
    client.outcome(mesh.ns("p11"), VIP, 80)
    line = wait.until("the refusal is logged", lambda: [x for x in mesh[1].process.text(since).splitlines() if host in x], 20)[0]
    assert said in line, line


def test_an_answer_is_kept_and_lookups_are_counted(mesh, names, world):
    host = names({A: [(60, topo.EXT4)]})
    labels = {"source_workload": "client-1-app", "hostname": host}
    for _ in range(3):
        client.greet(mesh.ns("p11"), VIP, 80)
    assert len([k for k, _ in world.names.queries(host) if k == A]) == 1
    wait.until("counted", lambda: mesh[1].metric("istio_on_demand_dns_total", **labels) == 3)


def test_the_clients_family_is_preferred(mesh, names):
    names({A: [(60, topo.EXT4)], AAAA: [(60, topo.EXT6)]})
    since = mesh[1].mark()
    for _ in range(4):
        client.greet(mesh.ns("p11"), VIP, 80)
    mesh[1].wait_access(since, 4, direction="outbound", dst_addr=f"{topo.EXT4}:{app.GREET}")


def test_a_name_that_moves_is_followed_when_its_time_is_over(mesh, names, world):
    host = names({A: [(1, topo.EXT4)]})
    since = mesh[1].mark()
    client.greet(mesh.ns("p11"), VIP, 80)
    world.names.table[host, A] = [(1, topo.pod4(2, 2))]

    def moved():
        client.greet(mesh.ns("p11"), VIP, 80)
        return mesh[1].access(since, dst_addr=f"{topo.pod4(2, 2)}:{app.GREET}")
    wait.until("the new address is used", moved, 8)


def test_a_name_cannot_lead_to_the_proxys_own_ports(mesh, names):
    host = names({A: [(60, "127.0.0.1"), (60, "0.0.0.0"), (60, "224.0.0.1")]}, protocol=model.HBONE, sa="client")
    since = mesh[1].mark()
    assert client.is_cut(client.outcome(mesh.ns("p11"), VIP, 81))
    mesh[1].wait_access(since, direction="outbound", error=f"host name has no address that may be dialled: {host}")


# ---- name servers that say nothing

@pytest.fixture
def silent(solo, world, tmp_path):
    """A proxy whose name server takes queries and gives no answers: (the proxy's mesh, that server)."""
    pathlib.Path(tmp_path / "resolv.conf").write_text(f"nameserver {topo.EXT4}\n", encoding="ascii")
    solo.cp.push(model.service("named", [VIP], meshes.PORTS),
                 model.workload("named-1", [], "db", protocol=model.NONE, hostname="quiet.example",
                                services={SERVICE: meshes.WEB_PORTS}), settle=False)
    with netns.make_socket(world.ns("ext"), socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind((topo.EXT4, 53))
        server.settimeout(5 * wait.SCALE)
        solo.start()
        yield solo, server


def test_a_silent_name_server_is_given_up(silent):
    solo, server = silent
    since, watch = solo.zt.mark(), wait.Stopwatch()
    assert client.is_cut(client.outcome(solo.ns("p31"), VIP, 81, 15))
    assert server.recv(512) and watch.seconds < 4 + 2 * wait.SCALE
    solo.zt.wait_access(since, direction="outbound", error="look up quiet.example: deadline passed")


@pytest.mark.parametrize("end", ["the pod goes", "the proxy ends"])
def test_a_connection_that_waits_for_a_name_is_no_hindrance(silent, end):
    solo, server = silent
    with netns.connect(solo.ns("p31"), VIP, 81) as sock:
        assert server.recv(512), "it is asked"
        if end == "the pod goes":
            solo.agent.remove("uid-p31")
            assert client.wait_cut(sock)
        else:
            solo.zt.process.stop(8)
