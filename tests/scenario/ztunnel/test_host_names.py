# SPDX-License-Identifier: Apache-2.0
"""Workloads that the control plane knows by host name only: the node proxy looks the name up when it is needed."""
import pytest

from lib import app, client, mesh as meshes, model, topo, wait
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
    ((_, _, fields),) = mesh[1].wait_access(since, direction="outbound", dst_workload="named-1")
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
