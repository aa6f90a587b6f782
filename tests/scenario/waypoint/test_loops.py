# SPDX-License-Identifier: Apache-2.0
"""Configuration that leads a waypoint to itself ends in one error that says so; nothing goes round."""
import pytest

from lib import l7, model, topo, waypoint
from lib.wait import until

GATE_SERVICE = {l7.host("gate"): {15008: 15008}}


def only_itself(protocol=model.HBONE):
    """The service's only endpoint is the waypoint's pod, which has, by its labels, itself for a waypoint."""
    return [model.pod(2, 1, "web-1", "web"), model.pod(2, 2, "web-2", "web"),
            model.pod(1, 2, "gate-1", "gate", protocol=protocol, waypoint=model.gateway(f"shop/{l7.host('gate')}"),
                      services={l7.host("web"): {80: 80, 81: 80, 82: 80}, **GATE_SERVICE})]


@pytest.mark.parametrize("protocol", (model.HBONE, model.NONE))
@pytest.mark.parametrize("port", (80, 81))
def test_a_request_to_itself_is_answered_at_once(lab, protocol, port):
    lab.use(*only_itself(protocol))
    with lab.h1(port=port) as http:
        before = lab.wp.metric("wp_connections")
        answer = http.get("/round")
    assert answer.status == 503 and b"a loop: gate-1 has the address of this waypoint itself" in answer.body
    line = lab.wp.wait_request("/round")
    assert ' 503 UF ' in line and "a loop:" in line, line
    assert [x for x in lab.wp.requests(lab.wp.since) if "/round" in x] == [line], "it came once"
    assert lab.wp.metric("wp_connections") <= before + 1


def test_a_connection_to_itself_is_refused_at_once(lab):
    lab.use(*only_itself())
    with lab.tunnel() as tunnel:
        assert tunnel.connect(f"{waypoint.WEB}:82")[1] == 503
    until("its line says so", lambda: "a loop: gate-1 has the address of this waypoint itself" in
          lab.wp.process.text(lab.wp.since))


def test_its_own_address_is_no_destination(lab):
    lab.use(*only_itself())
    with lab.tunnel() as tunnel:
        assert tunnel.connect(f"{topo.pod4(1, 2)}:80")[1] == 400


def test_a_rule_that_leads_to_the_waypoints_own_service(lab):
    lab.use(l7.route("web", "round", l7.prefix("/"), backends=[l7.backend("gate", port=15008)]))
    with lab.h1() as http:
        answer = http.get("/round")
        assert answer.status == 503 and b"a loop: gate-1 " in answer.body


def test_what_its_replicas_send_is_not_served(lab):
    """Whatever led it back; who only has their name is served like everybody."""
    with lab.h1(sa="gate") as http:
        assert http.get("/echo").status == 200
    lab.use(model.pod(1, 1, "gate-2", "gate", services=GATE_SERVICE))
    with lab.tunnel(sa="gate") as tunnel:
        for there in (f"{waypoint.WEB}:80", f"{waypoint.WEB}:82", f"{topo.pod4(2, 3)}:8080"):
            assert tunnel.connect(there)[1] == 508
    with lab.h1() as http:
        assert http.get("/echo").status == 200


def test_rules_that_lead_to_each_others_services(lab):
    """The waypoint goes to the backend's endpoints: that service's rules and waypoint are not asked."""
    lab.use(l7.route("web", "there", l7.prefix("/"), backends=[l7.backend("other")]),
            l7.route("other", "back", l7.prefix("/"), backends=[l7.backend("web")]))
    with lab.h1() as http:
        assert http.get("/echo?both").status == 200
    line = lab.wp.wait_request("/echo?both")
    assert f"{topo.pod4(2, 3)}:" in line, line
    assert [x for x in lab.wp.requests(lab.wp.since) if "/echo?both" in x] == [line]
