# SPDX-License-Identifier: Apache-2.0
"""How endpoints are chosen and used, and what clients and servers may do to each other's connections."""
import os
import time
import uuid

import pytest

from lib import l7, model, peers, waypoint
from lib.wait import SCALE, Stopwatch, until


def pods(http, count, *headers):
    return [http.get("/echo", *headers).json()["pod"] for _ in range(count)]


def tries(http):
    return int(dict(http.get("/echo").json()["headers"])["x-envoy-attempt-count"])


def test_round_robin_takes_turns(lab):
    lab.use(l7.traffic("web", balance=l7.w.Traffic.ROUND_ROBIN))
    with lab.h1() as http:
        got = pods(http, 10)
        assert got.count("web-1") == 5


@pytest.mark.parametrize("balance", (0, 1, 2))
def test_every_way_of_choosing_uses_all(lab, balance):
    lab.use(l7.traffic("web", balance=balance))
    with lab.h1() as http:
        assert set(pods(http, 40)) == {"web-1", "web-2"}


@pytest.mark.parametrize("key, name", (("header", "X-User"), ("query", "x-user")))
def test_a_header_or_a_parameter_decides(lab, key, name):
    lab.use(l7.traffic("web", balance=l7.w.Traffic.CONSISTENT_HASH, hash=l7.w.HashKey(**{key: name})))

    def ask(http, user):
        r = http.get("/echo", ("x-user", user)) if key == "header" else http.get(f"/echo?a=b&x-user={user}")
        return r.json()["pod"]
    with lab.h1() as http:
        by_user = {user: {ask(http, user) for _ in range(5)} for user in map(str, range(20))}
    assert all(len(p) == 1 for p in by_user.values())
    assert len(set.union(*by_user.values())) == 2


def test_where_the_client_is_decides(lab):
    lab.use(l7.traffic("web", balance=l7.w.Traffic.CONSISTENT_HASH, hash=l7.w.HashKey(source_ip=True)))
    with lab.h1() as http, lab.h1() as other:
        assert len({*pods(http, 15), *pods(other, 15)}) == 1


def test_a_cookie_decides_and_is_made(lab):
    lab.use(l7.traffic("web", balance=l7.w.Traffic.CONSISTENT_HASH,
                       hash=l7.w.HashKey(cookie="stick", make_cookie=True, cookie_ttl_ms=60000, cookie_path="/")))
    with lab.h1() as http:
        r = http.get("/echo")
        name, _, value = r["set-cookie"].split(";")[0].partition("=")
        assert name == "stick" and "Max-Age=60" in r["set-cookie"] and "Path=/" in r["set-cookie"]
        first = r.json()["pod"]
        again = http.get("/echo", ("cookie", f"a=b; stick={value}"))
        assert "set-cookie" not in again
        assert {first, *pods(http, 8, ("cookie", f"stick={value}"))} == {first}


def test_a_cookie_is_made_where_a_rule_leads_to_the_service(lab):
    lab.use(l7.route("web", "away", backends=[l7.backend("other")]),
            l7.traffic("other", balance=l7.w.Traffic.CONSISTENT_HASH, hash=l7.w.HashKey(cookie="stick", make_cookie=True)))
    with lab.h1() as http:
        r = http.get("/echo")
        assert r.json()["pod"] == "other-1" and r["set-cookie"].startswith("stick=")


def test_an_endpoint_that_fails_again_and_again_is_taken_out(lab):
    lab.use(l7.traffic("web", balance=l7.w.Traffic.ROUND_ROBIN, outlier=l7.w.Outlier(
        consecutive_5xx=3, consecutive_gateway=3, interval_ms=1000, base_ejection_ms=60000, max_ejection_percent=100)))
    lab.refuse(503, waypoint.APP1)
    with lab.h1() as http:
        for _ in range(20):
            assert http.get("/echo").json()["pod"] == "web-2"
        asked = len(lab.pods[waypoint.APP1].asked)
        for _ in range(20):
            assert tries(http) == 1
        assert len(lab.pods[waypoint.APP1].asked) == asked
    until("it is counted", lambda: lab.wp.metric("wp_ejections_total") >= 1)


def test_an_ejection_is_seen_on_every_port_and_ends(lab):
    lab.use(l7.binding("web", {**waypoint.PROTOCOLS, 83: "HTTP"}),  # undeclared, one that is quiet at first passes as TCP
            l7.traffic("web", balance=l7.w.Traffic.ROUND_ROBIN, outlier=l7.w.Outlier(
                consecutive_5xx=3, consecutive_gateway=3, interval_ms=1000, base_ejection_ms=10000, max_ejection_percent=100)))
    lab.wp.discard()
    # Each engine has its own view; what port 83 speaks is found out, however late the first request comes.
    lab.wp.start(WAYPOINT_WORKER_THREADS="1", PROTOCOL_SNIFF_TIMEOUT="60s")
    lab.wp.wait_ready(20)
    with lab.h1() as http, lab.h1(port=83) as other:  # the same endpoints
        assert set(pods(http, 6)) == set(pods(other, 6)) == {"web-1", "web-2"}
        lab.refuse(503, waypoint.APP1)
        until("it is out", lambda: all(tries(http) == 1 for _ in range(4)))  # of two in turn, every other fails
        lab.pods[waypoint.APP1].refuse = None
        assert set(pods(other, 10)) == set(pods(http, 10)) == {"web-2"}
        until("it is back", lambda: "web-1" in pods(other, 2) and "web-1" in pods(http, 2), 30)
        assert set(pods(http, 6)) == {"web-1", "web-2"}
    until("it is counted", lambda: lab.wp.metric("wp_ejections_total") >= 1)
    lab.wp.discard()


def test_too_many_that_wait_are_refused(lab):
    lab.use(model.pod(2, 2, "web-2", "web"),  # not a member any more: one endpoint is left
            l7.traffic("web", limits=l7.w.Limits(connections=1, pending_requests=1)))
    lab.wp.discard()
    lab.wp.start(WAYPOINT_WORKER_THREADS="1")
    lab.wp.wait_ready(20)
    with lab.h1() as first, lab.h1() as second:
        first.begin("GET", "/events")
        first.finish()
        assert first.response(body=False).status == 200  # and goes on for as long as anybody listens
        second.begin("GET", "/echo")
        second.finish()
        until("the second waits", lambda: lab.wp.metric("wp_upstream_pending") == 1)
        for _ in range(4):
            with lab.h1() as other:
                r = other.get("/too-many")
            assert r.status == 503 and r["x-envoy-overloaded"] == "true" and b"overflow" in r.body
        first.sock.close()
        assert second.response().status == 200
    assert " UO " in lab.wp.wait_request("/too-many")
    until("it is counted", lambda: lab.wp.metric("wp_upstream_overflows_total") == 4)
    lab.wp.discard()


def test_only_so_many_are_tried_again_at_once(lab):
    lab.use(model.pod(2, 2, "web-2", "web"),  # not a member any more: one endpoint is left
            l7.route("web", "again", backends=[l7.backend("web")], backend_timeout_ms=3000,
                     retry=l7.w.Retry(attempts=1, codes=[503, 504], backoff_ms=1)),
            l7.traffic("web", limits=l7.w.Limits(retries=1)))
    before = lab.wp.metric("wp_request_retry_overflows_total")
    with lab.h2() as http, lab.h1() as look:  # one connection: one engine, whose limit it is
        for turn in ("a", "b"):  # the second time: the first has given its place back
            path = f"/delay/9000/{uuid.uuid4().hex}"
            first = http.begin("GET", path)
            until("its second try is under way", lambda p=path: look.get("/seen").json().get(p) == 2)
            assert http.response(http.begin("GET", f"/status/503?second={turn}")).status == 503
            assert http.response(first).status == 504
            assert " 503 UO via_upstream " in lab.wp.wait_request(f"second={turn}")
            assert " 504 UT " in lab.wp.wait_request(path)
    until("it is counted", lambda: lab.wp.metric("wp_request_retry_overflows_total") >= before + 2)


def test_connections_are_used_again(lab):
    with lab.h1() as http:
        pods(http, 10)
        before = sum(len(p.asked) for p in lab.pods.values())
        pods(http, 30)
        assert sum(len(p.asked) for p in lab.pods.values()) - before <= 1
    lab.use(l7.traffic("web", limits=l7.w.Limits(requests_per_connection=1)))
    with lab.h1() as http:
        before = sum(len(p.asked) for p in lab.pods.values())
        pods(http, 10)
        assert sum(len(p.asked) for p in lab.pods.values()) - before >= 8


def test_connections_that_are_idle_go(lab):
    """Of a service with one endpoint; they are looked for every other second."""
    lab.use(l7.traffic("other", limits=l7.w.Limits(idle_timeout_ms=100)))
    with lab.h1(vip=waypoint.WEB2) as http:
        pods(http, 2)
        before = len(lab.pods[waypoint.APP3].asked)
        until("a new one was needed", lambda: pods(http, 1) and len(lab.pods[waypoint.APP3].asked) > before, 30, every=3)


def test_each_try_has_its_time(lab):
    lab.use(l7.route("web", "slow", backends=[l7.backend("web")], backend_timeout_ms=int(150 * SCALE),
                     retry=l7.w.Retry(attempts=2, codes=[504], backoff_ms=1)))
    with lab.h1() as http:
        watch = Stopwatch()
        r = http.get("/delay/5000")
        assert r.status == 504 and 0.3 < watch.seconds < 3 * SCALE
        assert " 504 UT upstream_per_try_timeout " in lab.wp.wait_request("/delay/5000")
        assert http.get("/delay/1").status == 200


def test_connecting_to_nowhere_has_its_time(lab):
    nowhere = "10.244.2.99"
    lab.use(model.workload("web-1", [nowhere], "web", services={l7.host("web"): waypoint.PORTS}),
            model.pod(2, 2, "web-2", "web"),
            l7.traffic("web", limits=l7.w.Limits(connect_timeout_ms=300)))
    with lab.h1() as http:
        watch = Stopwatch()
        r = http.get("/nowhere")
        assert r.status == 503 and b"upstream connect error" in r.body and watch.seconds < 8 * SCALE
    assert " UF " in lab.wp.wait_request("/nowhere")


def test_a_slow_reader_holds_up_nobody_else(plain_build):
    lab = plain_build
    with lab.tunnel() as tunnel:
        stream, _ = tunnel.connect(f"{waypoint.WEB}:80")
        tunnel.send(stream, b"GET /bytes/200000000 HTTP/1.1\r\nhost: a\r\n\r\n")
        until("the response has begun", lambda: tunnel.pump() and tunnel.streams[stream].data)
        # python-h2 gives credit as data comes; from here on nothing is read at all
        with lab.h1() as http:
            watch = Stopwatch()
            assert len(pods(http, 20)) == 20 and watch.seconds < 10 * SCALE
        time.sleep(0.5)
        assert lab.wp.private_kib() < 64 << 10
        tunnel.reset(stream)
        assert tunnel.connect(f"{waypoint.WEB}:80")[1] == 200


def idle(lab):
    """Nobody waits for an endpoint and no request is under way."""
    return lab.wp.metric("wp_upstream_pending") == 0 and lab.wp.metric("wp_connections") == 0


def head_only(pipe, path):
    pipe.sendall(f"GET {path} HTTP/1.1\r\nhost: a\r\n\r\n".encode())


def half_a_head(pipe, _path):
    pipe.sendall(b"GET /x HTTP/1.1\r\nhost:")


def half_an_upload(pipe, path):
    pipe.sendall(f"POST {path} HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000\r\n\r\n".encode() + b"x" * 5000)


def in_the_response(pipe, _path):
    pipe.sendall(b"GET /bytes/50000000 HTTP/1.1\r\nhost: a\r\n\r\n")
    pipe.recv(1000)


MOMENTS = {"before anything": lambda pipe, path: None, "in the head": half_a_head, "waiting for the response": head_only,
           "in an upload": half_an_upload, "in the response": in_the_response}


@pytest.mark.parametrize("how", ("reset", "end", "drop"))
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_client_may_leave_at_any_moment(lab, moment, how):
    path = f"/delay/4000/{uuid.uuid4().hex}"
    with lab.h1() as http:
        pipe = http.sock
        MOMENTS[moment](pipe, path)
        if moment == "waiting for the response":
            with lab.h1() as look:
                until("one of the pods has it", lambda: path in look.get("/seen").json(), 20)
        else:
            time.sleep(0.1 * SCALE)
        if how == "reset":
            pipe.tunnel.reset(pipe.stream)
        elif how == "end":
            pipe.shutdown()
        else:
            pipe.tunnel.drop(reset=True)
        if how != "drop":
            until("nothing more happens here", lambda: pipe.tunnel.pump(0.1) or True)
    if moment == "waiting for the response" and how != "end":
        assert " DC " in lab.wp.wait_request(path, seconds=4)
    with lab.h1() as http:
        assert http.get("/echo").status == 200
    until("everything is let go", lambda: idle(lab), 15, every=0.2)


@pytest.mark.parametrize("moment", ("waiting for the response", "in an upload", "in the response"))
def test_a_destinations_node_may_go_at_any_moment(lab, moment):
    path = f"/delay/20000/{uuid.uuid4().hex}"
    with lab.h1() as http:
        pipe = http.sock
        MOMENTS[moment](pipe, path)

        def go():
            for pod in (waypoint.APP1, waypoint.APP2):
                lab.pods[pod].drop()
        time.sleep(0.2)
        go()
        if moment == "in the response":
            with pytest.raises((ConnectionError, peers.Refused)):
                while pipe.recv(1 << 20):
                    pass
        else:
            answer = pipe.tunnel.streams[pipe.stream]
            # The request may come to them only after they went: then they go once more.
            until("it is answered", lambda: go() or pipe.tunnel.pump(0.2) and b"\r\n\r\n" in answer.data)
            assert answer.data.startswith(b"HTTP/1.1 503 ")
    with lab.h1() as http:
        assert http.get("/echo").status == 200
    until("everything is let go", lambda: idle(lab), 15, every=0.2)


def test_an_early_answer_ends_the_upload(lab):
    with lab.h2() as http:
        stream = http.begin("POST", "/early", end=False)
        http.data(stream, os.urandom(20000))
        r = http.head(stream)
        assert r.status == 200
        r = http.response(stream)
        assert r.body == b"early"
        assert http.get("/echo").status == 200


def test_a_locality_is_preferred_while_it_is_healthy(lab):
    def pod(n, zone):
        w = model.pod(2, n, f"web-{n}", "web", services={l7.host("web"): waypoint.PORTS})
        a = model.wl.Address.FromString(w.octets)
        a.workload.locality.region, a.workload.locality.zone = "r", zone
        return model.Resource(w.type, w.name, a.SerializeToString())
    gate = model.pod(1, 2, "gate-1", "gate")
    a = model.wl.Address.FromString(gate.octets)
    a.workload.locality.region, a.workload.locality.zone = "r", "near"
    lab.use(pod(1, "near"), pod(2, "far"), model.Resource(gate.type, gate.name, a.SerializeToString()),
            l7.traffic("web", locality_failover=True))
    with lab.h1() as http:
        assert set(pods(http, 20)) == {"web-1"}
        lab.refuse(503, waypoint.APP1)
        assert set(pods(http, 10)) == {"web-2"}
