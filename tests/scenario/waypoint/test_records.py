# SPDX-License-Identifier: Apache-2.0
"""What the log and the metrics say of requests, beyond the ordinary ones."""
import contextlib

import h2.exceptions
import h2.settings
import pytest

from lib import l7, model, tunnelled, waypoint
from lib.wait import until


@pytest.mark.parametrize("octets, status, flags, first, details", [
    (b"GET /bare HTTP/1.1\nHost: x\n\n", 400, "DPE", "GET /bare HTTP/1.1", "http1.codec_error"),
    (b"GET /two HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400, "DPE", "GET /two HTTP/1.1", "http1.codec_error"),
    (b"GET /old HTTP/1.0\r\nHost: a\r\n\r\n", 426, "-", "GET /old HTTP/1.0", "low_version"),
    (b"GET /new HTTP/3.0\r\n", 505, "DPE", "GET /new HTTP/1.1", "http1.codec_error"),
    (b"GET /many HTTP/1.1\r\nHost: a\r\n" + b"x: y\r\n" * 120 + b"\r\n", 431, "-", "GET /many HTTP/1.1",
     "request_headers_too_large"),
], ids=["bare LF", "two hosts", "HTTP/1.0", "HTTP/3.0", "many fields"])
def test_a_refused_head_has_its_line_and_counts(lab, octets, status, flags, first, details):
    labels = {"reporter": "waypoint", "response_code": str(status), "response_flags": flags,
              "source_principal": model.spiffe("client"), "destination_service": l7.host("web")}
    before = lab.wp.metric("istio_requests_total", **labels)
    with lab.h1() as http:
        http.sock.sendall(octets)
        assert http.sock.recv(64, 5).startswith(f"HTTP/1.1 {status} ".encode())
    line = lab.wp.wait_request(first.split()[1])
    assert f'"{first}" {status} {flags} {details} ' in line
    assert lab.wp.metric("istio_requests_total", **labels) == before + 1


def test_messages_of_grpc_are_counted_while_they_pass(lab):
    def count(which):
        return lab.wp.metric(f"istio_{which}_messages_total", reporter="waypoint", request_protocol="grpc",
                             destination_service=l7.host("web"), source_principal=model.spiffe("client"))

    asked, told = count("request"), count("response")
    message = b"\0\0\0\x03\x84" + b"x" * 900
    with lab.h2(port=81) as http:
        stream = http.begin("POST", "/pkg.Service/Long", [("content-type", "application/grpc"), ("te", "trailers")], end=False)
        for cut in (3, 5, 700):  # in the prefix, behind it, in the message
            http.data(stream, message[:cut])
            http.data(stream, message[cut:])
        until("messages of a stream that goes on are counted", lambda: count("request") == asked + 3, 8)
        assert count("response") == told
        http.data(stream, b"\0\0\0\0\0", end=True)
        assert http.response(stream).body == message * 3 + b"\0\0\0\0\0"
    until("all are counted", lambda: (count("request"), count("response")) == (asked + 4, told + 4))


def to_path(path):
    return l7.w.Rule(to=[l7.w.Operation(paths=[path])])


def test_what_audit_and_dry_run_policies_say(lab):
    """They act on nothing; line and metrics say what they would have."""
    lab.use(l7.policy("watch", "web", l7.w.Authorization.AUDIT, [to_path("/echo/audit*")]),
            l7.policy("planned", "web", l7.DENY, [to_path("/none"), to_path("/echo/deny*")], dry_run=True),
            l7.policy("allowed", "web", l7.ALLOW, [to_path("/echo/*")], dry_run=True))
    with lab.h1() as http:
        for path in ("/echo/audit", "/echo/deny", "/bytes/1"):
            assert http.get(path).status == 200
    assert lab.wp.wait_request("/echo/audit").endswith(
        " audit_policy=shop/watch[0] dry_run_result=allowed dry_run_policy=shop/allowed[0]")
    assert lab.wp.wait_request("/echo/deny").endswith(" dry_run_result=denied dry_run_policy=shop/planned[1]")
    assert lab.wp.wait_request("/bytes/1").endswith(" dry_run_result=denied dry_run_policy=none")
    assert lab.wp.metric("wp_authz_audit_total", policy_name="watch", policy_namespace="shop",
                         destination_service=l7.host("web")) == 1
    for result, name in (("allowed", "allowed"), ("denied", "planned"), ("denied", "none")):
        assert lab.wp.metric("wp_authz_dry_run_total", result=result, policy_name=name) == 1


def test_tcp_says_so_too(lab):
    lab.use(l7.policy("tcp-watch", "web", l7.w.Authorization.AUDIT, [l7.w.Rule(**{"from": [l7.w.Source(namespaces=["shop"])]})]),
            l7.policy("tcp-planned", "web", l7.DENY, [l7.w.Rule(to=[l7.w.Operation(ports=["82"])])], dry_run=True))
    mark = lab.wp.mark()
    with lab.tunnel() as tunnel:
        stream, status = tunnel.connect(f"{waypoint.WEB}:82")
        assert status == 200
        tunnel.reset(stream)
    _, _, fields = lab.wp.only_access(mark, dst_service=l7.host("web"))
    assert fields["audit_policy"] == "shop/tcp-watch[0]"
    assert fields["dry_run_result"] == "denied" and fields["dry_run_policy"] == "shop/tcp-planned[0]"
    assert lab.wp.metric("wp_authz_audit_total", policy_name="tcp-watch") == 1


@pytest.fixture
def short_of_memory(lab):
    """4 MiB more than it has when idle, which differs from machine to machine; of a plain build: sanitizers have a memory
    of their own. Windows that need not be made smaller as memory fills, so that it does."""
    lab.wp.discard()
    lab.wp.binary = waypoint.PLAIN
    options = {"WAYPOINT_WORKER_THREADS": "1", "HTTP2_STREAM_WINDOW_SIZE": "65535"}
    lab.wp.start(**options)
    lab.wp.wait_ready(20)
    idle = lab.wp.anonymous_kib() << 10
    lab.wp.discard()
    lab.wp.start(WAYPOINT_MEMORY_LIMIT=str((idle + (4 << 20)) * 100 // 90), **options)  # refuses from 90 % on
    lab.wp.wait_ready(20)
    yield lab
    lab.wp.discard()
    lab.wp.binary = waypoint.CHECKED


def test_new_requests_are_refused_while_memory_is_short(short_of_memory):
    """Responses that nobody reads fill it; they go on all the same, and then there is room again."""
    lab, size, held = short_of_memory, 400_000, []
    with lab.h2() as slow, lab.h1() as other:
        assert other.get("/status/201?first").status == 201
        slow.conn.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 1000})
        slow.flush()
        slow.auto = False
        while slow.head(stream := slow.begin("GET", f"/bytes/{size}")).status == 200:
            held.append(stream)
            assert len(held) < 99
        assert slow.responses[stream].status == 503 and len(held) > 5
        refused = until("others are refused, too", lambda: (r := other.get("/status/201")).status == 503 and r)
        assert refused.body == b"envoy overloaded"
        assert " 503 OM overload " in until("it is in the log", lambda: [
            x for x in lab.wp.requests(lab.wp.since) if "/status/201 " in x and " 503 " in x])[-1]
        slow.auto = True
        slow.conn.increment_flow_control_window(len(held) * size)
        for stream in held:  # one after the other: who hoards while memory is over its limit is reset
            if slow.responses[stream].end is None:  # one whose first octets came only now had credit for them, and so on
                slow.conn.increment_flow_control_window(size, stream)
                slow.flush()
            assert slow.response(stream).end == "end" and slow.responses[stream].body == b"x" * size
            other.sock.tunnel.pump(0)  # answers pings
        until("there is room again", lambda: other.get("/status/201").status == 201, 20)
    until("refusals are counted", lambda: lab.wp.metric("wp_overload_refusals_total") > 0)


def test_heads_that_do_not_get_on_are_let_go_while_memory_is_short(short_of_memory):
    """They fill it. None is waited for then, and there is room for others again."""
    lab, tunnels, pipes, answered = short_of_memory, [], [], []
    with lab.h1() as other, contextlib.ExitStack() as stack:
        assert other.get("/status/201").status == 201
        while not answered:
            if len(pipes) % 80 == 0:
                tunnels.append(stack.enter_context(lab.tunnel()))
            stream, status = tunnels[-1].connect(f"{waypoint.WEB}:80")
            assert status == 200 and len(pipes) < 800
            pipes.append(tunnelled.Pipe(tunnels[-1], stream))
            with contextlib.suppress(h2.exceptions.StreamClosedError):  # it is let go already
                pipes[-1].sendall(b"GET /half HTTP/1.1\r\nHost: a\r\nx: " + b"y" * 50_000)
            for tunnel in tunnels:  # answers may have come in any of them
                tunnel.pump(0)
            answered = [p for p in pipes if p.tunnel.streams[p.stream].data]
        assert answered[0].recv(1000).startswith(b"HTTP/1.1 503 ")
        until("there is room again", lambda: other.get("/status/201").status == 201, 20)
    assert " 503 OM overload " in lab.wp.wait_request("/half")
    until("they are counted", lambda: lab.wp.metric("wp_overload_refusals_total") > 0)
