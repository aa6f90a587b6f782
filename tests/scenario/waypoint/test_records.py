# SPDX-License-Identifier: Apache-2.0
"""What the log and the metrics say of requests, beyond the ordinary ones."""
import pytest

from lib import l7, model
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
