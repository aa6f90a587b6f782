# SPDX-License-Identifier: Apache-2.0
"""The process: its settings, certificates, the control plane going and coming, new configuration under load, the end."""
import json
import signal
import subprocess
import threading
import time
import uuid

import pytest

from lib import l7, model, peers, topo, waypoint
from lib.wait import SCALE, Stopwatch, until


@pytest.mark.parametrize("env, words", [
    ({"GATEWAY": None}, ("GATEWAY",)), ({"NAMESPACE": ""}, ("NAMESPACE",)), ({"ACCESS_LOG": "maybe"}, ("ACCESS_LOG", "true or false")),
    ({"WAYPOINT_WORKER_THREADS": "many"}, ("WAYPOINT_WORKER_THREADS",)), ({"PLAIN_LISTENERS": "x"}, ("PLAIN_LISTENERS",)),
    ({"PATH_NORMALIZATION": "SOME"}, ("PATH_NORMALIZATION",)), ({"PROTOCOL_SNIFF_TIMEOUT": "soon"}, ("PROTOCOL_SNIFF_TIMEOUT",))])
def test_settings_that_cannot_be_are_named(lab, env, words):
    given = {k: v for k, v in {**lab.wp.env, **env}.items() if v is not None}
    done = subprocess.run([lab.wp.binary], env=given, capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 1 and all(word in done.stderr for word in words), done.stderr


def test_version_and_help(lab):
    for word in ("version", "help"):
        done = subprocess.run([lab.wp.binary, word], capture_output=True, text=True, timeout=20, check=False)
        assert done.returncode == 0 and "ambit-waypoint" in done.stdout


def test_it_asks_for_its_own_resources_and_its_own_certificate(lab):
    requests = lab.cp.events("request")
    first = [r for r in requests if r["node"]]
    assert first[0]["node"].startswith("waypoint~10.244.1.12~gate-1.shop~shop.svc.")
    assert {"GATEWAY": "gate", "NAMESPACE": "shop"}.items() <= first[0]["node_metadata"].items()
    types = {r["type"].rsplit(".", 1)[1] for r in first}
    assert types == {"Address", "Binding", "Route", "Policy", "Traffic"}
    assert all(e["identity"] == "" for e in lab.cp.events("ca"))


def test_a_bad_resource_is_refused_alone_and_what_was_good_stays(lab):
    lab.use(l7.route("web", "good", l7.prefix("/good"), backends=[l7.backend("web")]))
    mark = lab.cp.mark()
    bad = l7.w.Match(path=l7.w.PathMatch(kind=l7.w.PathMatch.REGEX, value="("))
    lab.use(l7.route("web", "good", bad, backends=[l7.backend("web")]),
            l7.route("web", "fine", l7.prefix("/fine"), rule=0, backends=[l7.backend("web")]))
    nacks = [e for e in lab.cp.events("request", since=mark) if e["error"]]
    assert len(nacks) == 1 and "HTTPRoute/shop/good/0" in nacks[0]["error"] and "path" in nacks[0]["error"]
    with lab.h1() as http:
        assert [http.get(p).status for p in ("/good", "/fine", "/else")] == [200, 200, 404]
    assert lab.wp.metric("wp_config_rejected_total") >= 1
    assert "path" in lab.wp.config_dump()["controlPlane"]["refusal"]


def test_the_control_plane_may_go_and_come(lab):
    lab.use(l7.route("web", "kept", l7.prefix("/kept"), backends=[l7.backend("web")]))
    with lab.h1() as http:
        lab.cp.kill()
        assert http.get("/kept").status == 200 and http.get("/else").status == 404
        lab.cp.restart()
        until("the waypoint is back", lab.cp.streams, 20)
        lab.cp.push(l7.route("web", "new", l7.prefix("/else"), rule=0, backends=[l7.backend("web")]), settle=False)
        until("the new rule is there", lambda: http.get("/else").status == 200, 20)
        assert http.get("/kept").status == 200


def test_what_was_removed_while_the_control_plane_was_away_is_gone(lab):
    lab.use(l7.route("web", "kept", l7.prefix("/kept"), backends=[l7.backend("web")]),
            l7.route("web", "gone", l7.prefix("/gone"), backends=[l7.backend("web")]))
    with lab.h1() as http:
        assert http.get("/gone").status == 200
        lab.cp.kill()
        for key in [k for k in lab.cp.resources if "/gone/" in k[1]]:
            del lab.cp.resources[key]
        lab.cp.start()
        until("the rule is gone", lambda: http.get("/gone").status == 404, 20)
        assert http.get("/kept").status == 200


def test_kept_connections_end_when_their_service_goes_another_way(lab):
    """Idle ones at once, busy ones with their response; others stay. Who comes late is served as long as it is ours."""
    gate = model.gateway(f"shop/{l7.host('gate')}")
    elsewhere = model.service("web", [waypoint.WEB], waypoint.PORTS)
    lab.use(model.service("web", [waypoint.WEB], waypoint.PORTS, waypoint=gate))
    with lab.h1() as idle, lab.h1() as busy, lab.h2() as second, lab.h1(vip=waypoint.WEB2) as other:
        for http in (idle, busy, second, other):
            assert http.get("/echo").status == 200
        busy.next()
        path = f"/echo/{uuid.uuid4().hex}"
        busy.begin("POST", path, [("content-length", "4")])
        until("one of the pods has it", lambda: path in second.get("/seen").json())
        lab.cp.push(elsewhere)
        assert idle.sock.recv(1) == b""
        with pytest.raises((ConnectionError, EOFError)):
            while True:
                second.pump()
        assert second.goaway == 0
        busy.data(b"done")
        busy.finish()
        answer = busy.response()
        assert answer.status == 200 and answer["connection"] == "close"
        assert other.get("/echo").status == 200
    with lab.h1() as late:
        assert late.get("/echo").status == 200
        lab.cp.push(remove=[l7.binding("web", waypoint.PROTOCOLS)])
        assert late.sock.recv(1) == b""


def test_certificates_are_renewed_and_new_tunnels_use_them(lab):
    lab.wp.discard()
    lab.cp.ca(name=model.spiffe("gate"), ttl=24, age=0)
    lab.wp.start()
    lab.wp.wait_ready(20)

    def serial():
        with lab.tunnel() as tunnel:
            return tunnel.tls.getpeercert()["serialNumber"]
    with lab.h1() as http:
        first = serial()
        until("another certificate", lambda: serial() != first, 40, every=0.5)
        assert http.get("/echo").status == 200
    lab.wp.discard()


def test_without_a_certificate_it_is_not_ready(lab):
    lab.wp.discard()
    lab.cp.ca(name=model.spiffe("gate"), mode="deny")
    lab.wp.start()
    until("it says why", lambda: lab.wp.readiness()[0] == 500, 10)
    time.sleep(0.5)
    assert lab.wp.readiness()[0] == 500
    lab.cp.ca(name=model.spiffe("gate"))
    lab.wp.wait_ready(20)
    with lab.h1() as http:
        assert http.get("/echo").status == 200


def test_what_comes_while_it_ends_is_let_go(lab):
    """The sanitizer looks for what is left."""
    before = lab.wp.metric("istio_xds_message_total")
    with lab.cp.changing(*([l7.traffic("web", balance=b)] for b in (0, 1))):
        until("changes arrive", lambda: lab.wp.metric("istio_xds_message_total") > before + 20)
        lab.wp.stop()


def test_term_drains_and_ends_in_order(lab):
    lab.wp.discard()
    lab.wp.start(TERMINATION_DRAIN_DURATION="20s")
    lab.wp.wait_ready(20)
    with lab.h2() as http, lab.h1() as other, lab.h1() as look:
        one, two = (f"/delay/4000/{uuid.uuid4().hex}" for _ in range(2))
        other.begin("GET", one)
        other.finish()
        stream = http.begin("GET", two)
        for path in (one, two):
            until("one of the pods has it", lambda path=path: path in look.get("/seen").json(), 20)
        watch = Stopwatch()
        lab.wp.process.signal(signal.SIGTERM)
        until("it is not ready any more", lambda: lab.wp.readiness()[0] != 200, 5)
        assert http.response(stream).status == 200 and other.response().status == 200
        assert http.goaway in (0, None)
        http.sock.tunnel.pump()
    assert lab.wp.process.wait_exit(20) == 0 and watch.seconds < 15 * SCALE
    lab.wp.check_log()


@pytest.mark.parametrize("kind", ("h1", "h2"))
def test_who_is_connected_when_the_service_goes_elsewhere_still_gets_an_answer(lab, kind):
    """The binding stays for those who have not heard."""
    with getattr(lab, kind)() as silent:
        lab.use(model.service("web", [waypoint.WEB], waypoint.PORTS, waypoint=model.gateway(f"shop/{l7.host('elsewhere')}")))
        time.sleep(0.5)  # by then every worker has looked whose service went; in any case the request is answered
        assert silent.get("/echo/x").status == 200


def test_what_does_not_end_is_cut_at_the_deadline(lab):
    lab.wp.discard()
    lab.wp.start(TERMINATION_DRAIN_DURATION="2s")
    lab.wp.wait_ready(20)
    with lab.tunnel() as tunnel, lab.h1() as http:
        stream, _ = tunnel.connect(f"{waypoint.WEB}:82")
        http.begin("GET", "/delay/30000")
        http.finish()
        watch = Stopwatch()
        lab.wp.process.signal(signal.SIGTERM)
        assert lab.wp.process.wait_exit(20) == 0 and 1.5 < watch.seconds < 8 * SCALE
        with pytest.raises((peers.Refused, AssertionError)):
            tunnel.wait_end(stream, 2)
            assert tunnel.streams[stream].end == "end"
    lab.wp.check_log()


def test_new_configuration_every_moment_fails_no_request(lab):
    stop, errors, served = threading.Event(), [], [0]

    def load(kind):
        try:
            with getattr(lab, kind)() as http:
                while not stop.is_set():
                    r = http.get("/echo/x")
                    served[0] += 1
                    if r.status != 200:
                        errors.append((r.status, r.body))
        except Exception as error:  # pylint: disable=broad-except
            errors.append(repr(error))
    threads = [threading.Thread(target=load, args=(k,)) for k in ("h1", "h2", "h1", "h2")]
    for t in threads:
        t.start()
    for i in range(40):
        rules = [l7.route("web", f"r{k}", l7.prefix(f"/echo/{k}"), backends=[l7.backend("other")]) for k in range(i % 7)]
        lab.use(*rules, l7.route("web", "all", backends=[l7.backend("web", weight=1 + i), l7.backend("other")], rule=1),
                l7.policy("p", "web", l7.ALLOW, [l7.w.Rule(to=[l7.w.Operation(methods=["GET"], paths=["/echo*", f"/{i}"])])]),
                l7.traffic("web", balance=i % 4))
    stop.set()
    for t in threads:
        t.join()
    assert not errors and served[0] > 20


def test_idle_memory(plain_build):
    with plain_build.h1() as http:
        assert http.get("/echo").status == 200
    assert plain_build.wp.private_kib() <= 8 << 10


def test_pages(lab):
    with lab.tunnel() as tunnel:
        stream, _ = tunnel.connect(f"{waypoint.WEB}:82")
        tunnel.receive(stream, 5)
        flat = json.loads(lab.wp.http(15000, "/access/open").body)
        flat = [x for r in flat for x in (r if isinstance(r, list) else [r])]
        assert any(x["reporter"] == "waypoint" and x["dst.addr"].endswith(":8082") for x in flat)
    lab.use(l7.route("web", "shown", l7.exact("/a"), backends=[l7.backend("web")]))
    (web,) = [b for b in lab.wp.config_dump()["bound"] if b["service"] == f"shop/{l7.host('web')}"]
    (port,) = [p for p in web["ports"] if p["port"] == 80]
    assert port["rules"][0]["route"] == "shown" and port["rules"][0]["match"]["path"] == {"exact": "/a"}
    why = json.loads(lab.wp.http(15000, f"/why?to=shop/{l7.host('web')}&port=80&path=/b").body)
    assert (why["verdict"], why["status"]) == ("deny", 404)
    assert lab.wp.http(15020, "/stats/prometheus", host=topo.pod4(1, 2)).status == 200
    assert lab.wp.http(15021, "/healthz/ready", host=topo.pod4(1, 2)).status == 200


def test_the_record_as_json(lab):
    lab.wp.discard()
    lab.wp.start(LOG_FORMAT="json")
    lab.wp.wait_ready(20)
    with lab.h1() as http:
        assert http.get('/quote"d?x=1', ("user-agent", 'a "b"')).status == 200
    line = until("a line", lambda: [x for x in lab.wp.process.text().splitlines() if '"user_agent"' in x])[-1]
    record = json.loads(line)
    assert record["path"] == '/quote"d?x=1' and record["user_agent"] == 'a "b"' and record["response_code"] == 200
    assert list(record) == [
        "start_time", "method", "path", "protocol", "response_code", "response_flags", "response_code_details",
        "connection_termination_details", "upstream_transport_failure_reason", "bytes_received", "bytes_sent", "duration",
        "upstream_service_time", "x_forwarded_for", "user_agent", "request_id", "authority", "upstream_host", "upstream_cluster",
        "upstream_local_address", "downstream_local_address", "downstream_remote_address", "requested_server_name", "route_name"]
    lab.wp.discard()
