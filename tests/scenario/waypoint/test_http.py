# SPDX-License-Identifier: Apache-2.0
"""Requests through a waypoint, in every combination of HTTP/1.1 and HTTP/2 at both ends."""
import hashlib
import os
import threading
import uuid

import pytest
import wsproto
import wsproto.events

from lib import l7, model, topo, waypoint, webapp
from lib.tunnelled import H1, H2, open_websocket
from lib.wait import SCALE, until

# How the client speaks, and which port the server has: 80 speaks HTTP/1.1, 81 HTTP/2.
PAIRS = [(kind, port) for kind in ("h1", "h2") for port in (80, 81)]


@pytest.fixture(params=PAIRS, ids=lambda p: f"{p[0]} to {'h1' if p[1] == 80 else 'h2'}")
def pair(lab, request):
    """(lab, a function that opens a client)"""
    kind, port = request.param
    return lambda **who: getattr(lab, kind)(port=port, **who)


def test_a_request_and_its_answer(lab, pair):
    with pair() as http:
        r = http.get("/echo?a=1&b=", ("x-mine", "yes"))
        seen = r.json()
        assert r.status == 200 and r["x-app"] == "yes"
        assert seen["method"] == "GET" and seen["target"] == "/echo?a=1&b=" and seen["pod"].startswith("web-")
        assert ["x-mine", "yes"] in seen["headers"]
        again = http.get("/echo/2")
        assert again.status == 200 and again.json()["target"] == "/echo/2"


def test_headers_that_the_mesh_adds_and_takes(lab, pair):
    with pair() as http:
        r = http.get("/echo", ("x-forwarded-client-cert", "URI=spiffe://forged"), ("x-envoy-max-retries", "9"),
                     ("x-envoy-peer-metadata", "abc"), ("x-envoy-upstream-rq-timeout-ms", "1"))
    seen = {k: v for k, v in r.json()["headers"]}
    assert r["server"] == "ambit-waypoint" and int(r["x-envoy-upstream-service-time"]) >= 0 and "date" in r
    assert uuid.UUID(seen["x-request-id"]).version == 4
    assert seen["x-envoy-attempt-count"] == "1" and seen["x-forwarded-proto"] == "http"
    for name in ("x-forwarded-client-cert", "x-envoy-max-retries", "x-envoy-peer-metadata", "x-forwarded-for",
                 "x-envoy-upstream-rq-timeout-ms"):
        assert name not in seen


def test_a_request_id_is_kept(lab, pair):
    with pair() as http:
        seen = dict(http.get("/echo", ("x-request-id", "mine")).json()["headers"])
    assert seen["x-request-id"] == "mine"


def test_bodies_both_ways(lab, pair):
    body = os.urandom(300_000)
    with pair() as http:
        for sent in (b"x", body):
            r = http.request("POST", "/echo", body=sent)
            assert r.json()["body"] == len(sent) and r.json()["hash"] == hashlib.sha256(sent).hexdigest()
        r = http.get("/bytes/1000000")
        assert r.body == b"x" * 1_000_000
        assert http.get("/bytes/0").body == b""


def test_head_204_and_304_have_no_body(lab, pair):
    with pair() as http:
        if isinstance(http, H1):
            r = http.request("HEAD", "/bytes/100")
            assert r.status == 200 and r.body == b""
        for status in (204, 304):
            r = http.get(f"/status/{status}")
            assert r.status == status and r.body == b""
        assert http.get("/echo").status == 200


def test_trailers_of_requests(lab, pair):
    with pair() as http:
        r = http.request("POST", "/echo", [("te", "trailers")], body=b"abc", trailers=[("x-sum", "7")])
    assert ["trailer:x-sum", "7"] in r.json()["headers"] and r.json()["body"] == 3
    assert ["te", "trailers"] in r.json()["headers"]


@pytest.mark.parametrize("kind", ("h1", "h2"))
def test_trailers_of_responses(lab, kind):
    with getattr(lab, kind)() as http:
        r = http.get("/trailers", ("te", "trailers"))
        assert r.body == b"body" and ("x-sum", "42") in r.trailers


def test_early_hints_pass(lab, pair):
    with pair() as http:
        r = http.get("/hints")
        assert r.status == 200 and r.body == b"hinted" and r.interim[0] == (103, [("link", "</style.css>")])


def test_expect_continue_is_the_servers_to_answer(lab, pair):
    expectation = [("content-length", "5"), ("expect", "100-continue")]
    with pair() as http:
        if isinstance(http, H1):
            http.begin("POST", "/echo", expectation)
            assert http.response(body=None).interim[0][0] == 100
            http.data(b"hello")
            http.finish()
            seen = http.response().json()
        else:
            stream = http.begin("POST", "/echo", expectation, end=False)
            while not http.responses[stream].interim:
                http.pump()
            assert http.responses[stream].interim[0][0] == 100 and http.responses[stream].status is None
            http.data(stream, b"hello", end=True)
            seen = http.response(stream).json()
        assert seen["body"] == 5 and ["expect", "100-continue"] in seen["headers"]


def test_options_come_as_far_as_they_ask(lab, pair):
    """RFC 9110 7.6.2."""
    with pair() as http:
        assert ["max-forwards", "2"] in http.request("OPTIONS", "/echo", [("max-forwards", "3")]).json()["headers"]
        here = http.request("OPTIONS", "/echo", [("max-forwards", "0")])
        assert (here.status, here.body) == (200, b"") and "x-app" not in here
        assert ["max-forwards", "0"] in http.get("/echo", ("max-forwards", "0")).json()["headers"]
        assert ["max-forwards", "all"] in http.request("OPTIONS", "/echo", [("max-forwards", "all")]).json()["headers"]


def test_many_at_once_over_one_connection(lab):
    with lab.h2() as http:
        streams = [http.begin("GET", f"/delay/{50 + i}") for i in range(40)]
        assert all(http.response(s).body == b"late" for s in streams)
    with lab.h2(port=81) as http:
        streams = [http.begin("GET", f"/bytes/{i * 1000}") for i in range(60)]
        assert [len(http.response(s).body) for s in streams] == [i * 1000 for i in range(60)]


def test_grpc_ends_with_its_status(lab):
    with lab.h2(port=81) as http:
        r = http.request("POST", "/pkg.Service/Method", [("content-type", "application/grpc"), ("te", "trailers")],
                         body=b"\0\0\0\0\2hi")
        assert r.status == 200 and r.body == b"\0\0\0\0\2hi"
        assert dict(r.trailers)["grpc-status"] == "0"
    until("the request is counted as gRPC", lambda: lab.wp.metric(
        "istio_requests_total", request_protocol="grpc", grpc_response_status="0", destination_service=l7.host("web")) > 0)


# 85: the server's HTTP/2 does not offer it, its HTTP/1.1 does.
@pytest.mark.parametrize("port", (80, 81, 85))
@pytest.mark.parametrize("kind", ("h1", "h2"))
def test_a_websocket(lab, kind, port):
    with getattr(lab, kind)(port=port) as http:
        status, headers, echo = open_websocket(http)
        assert status == (101 if kind == "h1" else 200)
        assert port != 81 or headers["sec-websocket-protocol"] == "echo"
        frames = wsproto.frame_protocol.FrameProtocol(client=True, extensions=[])
        for text in (b"hello", b"x" * 100_000):
            octets = frames.send_data(text, fin=True)
            assert echo(octets) == octets  # the server echoes what it got, masked as it was


def test_several_websockets_share_a_connection(lab):
    with lab.h1(port=81) as one, lab.h1(port=81) as two:
        echoes = [open_websocket(http)[2] for http in (one, two)]
        assert [echo(b"abc") for echo in echoes] == [b"abc", b"abc"]


@pytest.mark.parametrize("kind", ("h1", "h2"))
def test_a_server_that_has_no_websocket_is_told_from_one_that_refuses(lab, kind):
    with getattr(lab, kind)(port=81) as http:
        assert open_websocket(http, "/ws/no")[0] == 403
        if kind == "h1":
            http.next()
        assert http.get("/echo").status == 200, "the connection goes on"
    with getattr(lab, kind)(port=84) as http:
        assert open_websocket(http, "/ws/none")[0] == 502
    assert " UPE upgrade_not_offered_by_upstream " in lab.wp.wait_request("/ws/none")


def test_an_unsaid_port_speaks_http_too(lab):
    with lab.h1(port=83) as http:
        assert http.get("/echo").status == 200
    with lab.h2(port=83) as http:
        assert http.get("/echo").status == 200


def test_an_owned_workload_gets_requests_by_its_own_address(lab):
    with lab.h1(vip=topo.pod4(2, 3), port=8080) as http:
        assert http.get("/echo").json()["pod"] == "other-1"


@pytest.mark.parametrize("kind", ("h1", "h2"))
def test_a_backend_that_is_not_served_here_is_spoken_to_as_its_port_says(lab, kind):
    far = {90: webapp.H2C, 91: webapp.H1}
    lab.use(model.service("far", ["10.96.9.60"], far), model.pod(2, 3, "other-1", "other", services={l7.host("far"): far}),
            l7.route("web", "h2c", l7.prefix("/echo/h2c"), backends=[l7.backend("far", 90, protocol=l7.w.HTTP2)]),
            l7.route("web", "h1", l7.prefix("/echo/h1"), rule=1, backends=[l7.backend("far", 91, protocol=l7.w.HTTP)]))
    with getattr(lab, kind)() as http:
        for path in ("/echo/h2c", "/echo/h1"):
            r = http.get(path)
            assert (r.status, r.json()["pod"]) == (200, "other-1")


def test_no_route_is_404_only_where_there_are_routes(lab):
    with lab.h1() as http:
        assert http.get("/anything").status == 200
    lab.use(l7.route("web", "some", l7.prefix("/some"), backends=[l7.backend("web")]))
    with lab.h1() as http:
        assert http.get("/some/thing").status == 200
        r = http.get("/other")
        assert r.status == 404 and r.body == b"" and r["server"] == "ambit-waypoint"
        r = http.request("POST", "/other", [("content-type", "application/grpc")])
        assert (r.status, r["grpc-status"]) == (200, "12")
    assert " NR route_not_found " in lab.wp.wait_request("/other")


def test_a_route_picks_by_path_header_and_weight(lab):
    lab.use(l7.route("web", "split", l7.prefix("/split"), backends=[l7.backend("web", weight=9), l7.backend("other", weight=1)]),
            l7.route("web", "header", l7.w.Match(headers=[l7.w.ValueMatch(name="x-to", value="other")]), rule=1,
                     backends=[l7.backend("other")]))
    with lab.h1() as http:
        pods = [http.get("/split").json()["pod"] for _ in range(200)]
        assert 3 <= pods.count("other-1") <= 45, pods.count("other-1")
        assert http.get("/x", ("x-to", "other")).json()["pod"] == "other-1"


def test_paths_are_judged_and_sent_in_one_form(lab):
    rule = l7.w.Rule(to=[l7.w.Operation(paths=["/secret*"])])
    lab.use(l7.policy("secret", "web", l7.DENY, [rule]))
    with lab.h1() as http:
        for target in ("/secret", "/a/../secret/x", "/./secret", "/%73ecret", "/b/%2e%2e/secret"):
            assert http.get(target).status == 403, target
        assert http.get("/a/./b/../c%7e").json()["target"] == "/a/c~"
        for target in ("/..", "/%00", "/%zz"):
            assert http.get(target).status == 400, target


def test_policy_by_identity_method_and_path(lab):
    allow = l7.w.Rule(**{"from": [l7.w.Source(principals=["cluster.local/ns/shop/sa/client"])],
                         "to": [l7.w.Operation(methods=["GET"], paths=["/open/*"])]})
    lab.use(l7.policy("open", "web", l7.ALLOW, [allow]))
    with lab.h1() as http:
        assert http.get("/open/1").status == 200
        r = http.get("/closed")
        assert (r.status, r.body) == (403, b"RBAC: access denied") and r["content-type"] == "text/plain"
        assert http.request("POST", "/open/1", body=b"x").status == 403
    with lab.h2(sa="other") as http:
        assert http.get("/open/1").status == 403
        r = http.request("POST", "/open/1", [("content-type", "application/grpc")], body=b"\0\0\0\0\0")
        assert (r.status, r["grpc-status"], r["grpc-message"]) == (200, "7", "RBAC: access denied")
    assert "rbac_access_denied_matched_policy[none]" in lab.wp.wait_request("/closed")


def test_header_changes_rewrite_and_redirect(lab):
    change = l7.w.HeaderChange(set=[l7.w.HeaderValue(name="X-Set", value="new")], add=[l7.w.HeaderValue(name="X-Add", value="2")],
                               remove=["x-gone"])
    lab.use(l7.route("web", "changes", l7.prefix("/changes"), backends=[l7.backend("web")], filters=[
                l7.w.Filter(request_headers=change), l7.w.Filter(response_headers=change)]),
            l7.route("web", "rewrite", l7.prefix("/old"), rule=1, backends=[l7.backend("web")], filters=[
                l7.w.Filter(rewrite=l7.w.Rewrite(hostname="new.example", path=l7.w.PathChange(kind=l7.w.PathChange.PREFIX, value="/new")))]),
            l7.route("web", "redirect", l7.prefix("/go"), rule=2, filters=[
                l7.w.Filter(redirect=l7.w.Redirect(scheme="https", hostname="else.example", status=301))]))
    with lab.h1() as http:
        r = http.get("/changes", ("x-set", "old"), ("x-add", "1"), ("x-gone", "1"))
        headers = r.json()["headers"]
        assert [v for k, v in headers if k == "x-set"] == ["new"]
        assert [v for k, v in headers if k == "x-add"] == ["1", "2"]
        assert not [v for k, v in headers if k == "x-gone"]
        assert r["x-set"] == "new" and r["x-add"] == "2"
        r = http.get("/old/a?q=1")
        headers = dict(r.json()["headers"])
        assert r.json()["target"] == "/new/a?q=1" and headers["host"] == "new.example"
        assert headers["x-envoy-original-path"] == "/old/a?q=1"
        r = http.get("/go/there?x=1")
        assert (r.status, r["location"]) == (301, "https://else.example/go/there?x=1")


def test_retries_until_it_works_and_the_last_status_otherwise(lab):
    lab.use(l7.route("web", "retry", backends=[l7.backend("web")], retry=l7.w.Retry(attempts=3, codes=[503], backoff_ms=5)))
    key = uuid.uuid4().hex
    with lab.h1() as http:
        r = http.request("POST", f"/flaky/1/{key}", body=b"again and again")
        seen = r.json()
        assert r.status == 200 and seen["body"] == 15
        assert int(dict(seen["headers"])["x-envoy-attempt-count"]) >= 2
        assert http.get("/status/503").status == 503
        assert http.get("/status/500").status == 500
    assert " 503 URX via_upstream " in lab.wp.wait_request("/status/503")


@pytest.mark.parametrize("kind, coding", (("h1", [("transfer-encoding", "chunked")]), ("h2", [])))
def test_trailers_behind_no_body_are_sent_with_each_try(lab, kind, coding):
    lab.use(l7.route("web", "retry", backends=[l7.backend("web")], retry=l7.w.Retry(attempts=3, codes=[503], backoff_ms=5)))
    with getattr(lab, kind)() as http:
        r = http.request("POST", f"/flaky/1/{uuid.uuid4().hex}", [("te", "trailers"), *coding], trailers=[("x-sum", "7")])
    assert r.status == 200 and r.json()["body"] == 0
    seen = r.json()["headers"]
    assert int(dict(seen)["x-envoy-attempt-count"]) >= 2 and ["trailer:x-sum", "7"] in seen


def test_a_dead_endpoint_is_passed_over(lab):
    lab.pods[waypoint.APP1].refuse = 503
    with lab.h1() as http:
        assert [http.get("/echo").status for _ in range(20)] == [200] * 20


def test_local_answers_when_nobody_can(lab):
    lab.refuse(503)
    lab.use(model.service("empty", ["10.96.9.20"], waypoint.PORTS), l7.binding("empty", waypoint.PROTOCOLS),
            l7.route("web", "bad", l7.prefix("/bad"), backends=[l7.backend("nowhere", invalid="not found")]),
            l7.route("web", "none", l7.prefix("/none"), rule=1),
            l7.route("web", "unknown", l7.prefix("/unknown"), rule=2, backends=[l7.backend("nowhere")]),
            l7.route("web", "rest", rule=3, backends=[l7.backend("web")]))
    with lab.h1(vip="10.96.9.20") as http:
        r = http.get("/x")
        assert (r.status, r.body) == (503, b"no healthy upstream")
    with lab.h1() as http:
        assert [http.get(f"/{p}").status for p in ("bad", "none", "unknown")] == [500, 500, 500]
        r = http.get("/refused")
        assert r.status == 503 and r.body.startswith(b"upstream connect error or disconnect/reset before headers. "
                                                     b"reset reason: connection failure")
    assert " UF " in lab.wp.wait_request("/refused")


def test_a_policy_of_the_destinations_node_is_503_and_not_tried_again(lab):
    lab.refuse(401)
    before = sum(len(p.asked) for p in lab.pods.values())
    with lab.h1() as http:
        assert http.get("/refused-by-l4").status == 503
    assert sum(len(p.asked) for p in lab.pods.values()) == before + 1
    line = lab.wp.wait_request("/refused-by-l4")
    assert ' 503 UF upstream_l4_policy_denied - "upstream L4 policy denied"' in line


@pytest.mark.parametrize("port", (80, 81))
def test_a_server_that_resets_is_503(lab, port):
    with lab.h1(port=port) as http:
        r = http.get("/reset")
        assert r.status == 503 and r.body.endswith(b"before headers. reset reason: remote reset")
        assert http.get("/echo").status == 200
    assert " 503 UR upstream_reset_before_response_started{remote_reset} " in lab.wp.wait_request("/reset")


def test_an_answer_that_is_none_is_502_and_the_connection_goes_on(lab, pair):
    with pair() as http:
        r = http.get("/garbage")
        assert r.status == 502 and r.body.endswith(b"reset reason: protocol error")
        assert http.get("/echo").status == 200
    assert " 502 UPE upstream_reset_before_response_started{protocol_error} " in lab.wp.wait_request("/garbage")


def test_a_response_that_is_cut_is_cut(lab):
    with lab.h1() as http:
        http.begin("GET", "/cut")
        http.finish()
        with pytest.raises(Exception):
            http.response()
    with lab.h2() as http:
        r = http.get("/cut")
        assert r.status in (200, None) and isinstance(r.end, int)  # the reset may overtake the head
        assert http.get("/echo").status == 200


def test_timeouts(lab):
    limit_ms = int(500 * SCALE)
    lab.use(l7.route("web", "slow", l7.prefix("/delay"), backends=[l7.backend("web")], request_timeout_ms=limit_ms),
            l7.route("web", "rest", rule=1, backends=[l7.backend("web")]))
    with lab.h1() as http:
        r = http.get("/delay/20000")
        assert (r.status, r.body) == (504, b"upstream request timeout")
        assert http.get("/delay/10").status == 200
    lab.use(l7.route("web", "slow", port=81, backends=[l7.backend("web", 81)], request_timeout_ms=limit_ms))
    with lab.h2(port=81) as http:
        r = http.request("POST", "/delay/20001", [("content-type", "application/grpc")], body=b"\0\0\0\0\0")
        assert (r.status, r["grpc-status"]) == (200, "14")
    assert " 504 UT response_timeout " in lab.wp.wait_request("/delay/20000")


def test_cors(lab):
    cors = l7.w.Cors(allow_origins=["https://shop.example"], allow_methods=["GET", "PUT"], allow_headers=["x-a"], max_age_s=60)
    lab.use(l7.route("web", "cors", backends=[l7.backend("web")], filters=[l7.w.Filter(cors=cors)]))
    with lab.h1() as http:
        r = http.request("OPTIONS", "/x", [("origin", "https://shop.example"), ("access-control-request-method", "PUT")])
        assert r.status in (200, 204) and r["access-control-allow-origin"] == "https://shop.example"
        assert "PUT" in r["access-control-allow-methods"] and r["access-control-max-age"] == "60"
        r = http.get("/x", ("origin", "https://shop.example"))
        assert r.status == 200 and r["access-control-allow-origin"] == "https://shop.example"
        assert "access-control-allow-origin" not in http.get("/x", ("origin", "https://evil.example"))


def seen(lab, path):
    total = 0
    for vip in (waypoint.WEB2,):
        with lab.h1(vip=vip) as http:
            total += http.get("/seen").json().get(path, 0)
    return total


def test_a_mirror_changes_nothing_for_the_client(lab):
    mirror = l7.w.Filter(mirror=l7.w.Mirror(backend=l7.backend("other")))
    lab.use(l7.route("web", "mirror", l7.prefix("/copied"), backends=[l7.backend("web")], filters=[mirror]))
    path = f"/copied/{uuid.uuid4().hex}"
    with lab.h1() as http:
        r = http.request("POST", path, body=b"twice")
        assert r.status == 200 and r.json()["pod"].startswith("web-") and r.json()["body"] == 5
    until("the copy arrives", lambda: seen(lab, path) == 1)
    lab.pods[waypoint.APP3].refuse = 503
    with lab.h2() as http:
        assert http.request("POST", path, body=b"twice").status == 200


def test_a_mirror_is_spoken_to_as_its_port_says(lab):
    mirror = l7.w.Filter(mirror=l7.w.Mirror(backend=l7.backend("other", port=81)))  # takes HTTP/2 only
    lab.use(l7.route("web", "mirror", l7.prefix("/copied"), backends=[l7.backend("web")], filters=[mirror]))
    path = f"/copied/{uuid.uuid4().hex}"
    with lab.h1() as http:
        assert http.request("POST", path, body=b"twice").status == 200
    until("the copy arrives", lambda: seen(lab, path) == 1)


def test_bodies_beyond_what_is_kept_are_neither_repeated_nor_mirrored(lab):
    mirror = l7.w.Filter(mirror=l7.w.Mirror(backend=l7.backend("other")))
    lab.use(l7.route("web", "retry", backends=[l7.backend("web")], filters=[mirror],
                     retry=l7.w.Retry(attempts=3, codes=[503], backoff_ms=5)))
    small, large = (f"/flaky/1/{uuid.uuid4().hex}" for _ in range(2))
    dropped = lab.wp.metric("wp_mirrors_dropped_total")
    with lab.h1() as http:
        assert http.request("POST", small, body=b"x" * 60_000).status == 200
        assert http.request("POST", large, body=b"x" * 70_000).status == 503
    until("the small one is copied", lambda: seen(lab, small) == 1)
    until("the large one is counted", lambda: lab.wp.metric("wp_mirrors_dropped_total") > dropped)
    assert seen(lab, large) == 0


def test_the_record_of_a_request(lab):
    with lab.h1() as http:
        http.request("POST", "/echo/recorded?q=1", [("user-agent", "me/1"), ("x-forwarded-for", "1.2.3.4")], body=b"12345")
    line = lab.wp.wait_request("/echo/recorded?q=1")
    assert '"POST /echo/recorded?q=1 HTTP/1.1" 200 - via_upstream - "-" 5 ' in line
    assert '"1.2.3.4" "me/1"' in line and '"web.shop"' in line
    assert f"{waypoint.WEB}:80 {topo.pod4(1, 1)}:" in line
    labels = {"reporter": "waypoint", "source_workload": "client-1-app", "response_code": "200",
              "destination_service": l7.host("web"), "source_principal": model.spiffe("client"),
              "destination_principal": model.spiffe("web"), "connection_security_policy": "mutual_tls",
              "request_protocol": "http", "response_flags": "-"}
    assert lab.wp.metric("istio_requests_total", **labels) > 0
    assert lab.wp.metric("istio_request_duration_milliseconds_count", **labels) > 0
    assert lab.wp.metric("istio_request_bytes_sum", **labels) > 5
    assert lab.wp.metric("ambit_loop_turn_seconds_count") > 0
    recent = [r for r in __import__("json").loads(lab.wp.http(15000, "/requests/recent").body)]
    flat = [x for r in recent for x in (r if isinstance(r, list) else [r])]
    assert any(x["path"] == "/echo/recorded?q=1" and x["source"] == "shop/client-1-app" for x in flat)


def test_large_bodies_stream(lab):
    """More than any buffer between them."""
    size = 8 << 20
    with lab.h1() as http:
        http.begin("POST", "/digest", [("content-length", str(size))])
        h, chunk = hashlib.sha256(), os.urandom(1 << 20)
        for _ in range(size >> 20):
            http.data(chunk)
            h.update(chunk)
        http.finish()
        assert http.response().body.decode() == f"{h.hexdigest()} {size}"
        r = http.get(f"/bytes/{size}")
        assert len(r.body) == size


def test_a_client_that_leaves_takes_its_request_along(lab):
    path = f"/delay/9000/{uuid.uuid4().hex}"
    with lab.h2() as http, lab.h1() as look:
        stream = http.begin("GET", path)
        until("one of the pods has it", lambda: path in look.get("/seen").json(), 20)
        http.conn.reset_stream(stream, 8)
        http.flush()
        assert http.get("/echo").status == 200
    assert " DC " in lab.wp.wait_request(path)


def test_load_from_many_clients(lab):
    errors = []

    def one(kind):
        try:
            with getattr(lab, kind)() as http:
                for i in range(50):
                    r = http.request("POST", "/echo", body=b"y" * i) if i % 2 else http.get("/echo")
                    assert r.status == 200
        except Exception as error:  # pylint: disable=broad-except
            errors.append(error)
    threads = [threading.Thread(target=one, args=(kind,)) for kind in ("h1", "h2") * 6]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not errors
