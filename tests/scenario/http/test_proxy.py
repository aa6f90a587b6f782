# SPDX-License-Identifier: Apache-2.0
"""Messages through a proxy made of our server and our client, with foreign programs at both ends."""
import base64
import hashlib
import http.client
import os
import re
import socket
import subprocess
import threading

import pytest

from conftest import Served, program
from lib.wait import SCALE
from recorder import Recorder


@pytest.fixture(scope="module")
def backend():
    r = Recorder()
    yield r
    assert not r.broken, r.broken
    r.close()


@pytest.fixture(scope="module")
def proxy(backend):
    s = Served([program("http", "http_proxy"), str(backend.port)])
    s.h1, s.h2 = s.ports
    yield s
    assert s.close() == 0, "the proxy ended with an error or a leak"


def connect(port):
    s = socket.create_connection(("127.0.0.1", port))
    s.settimeout(5 * SCALE)
    return s


def read_until(s, what):
    got = b""
    while what not in got:
        more = s.recv(65536)
        assert more, got
        got += more
    return got


def fields_of(request):
    return dict(request["fields"])


def test_fields_of_the_connection_stop_here(proxy, backend):
    c = http.client.HTTPConnection("127.0.0.1", proxy.h1)
    c.request("GET", "/hop/a", headers={
        "Connection": "x-mine, keep-alive", "X-Mine": "1", "Keep-Alive": "timeout=5", "Proxy-Connection": "keep-alive",
        "TE": "trailers, deflate", "Upgrade": "h2c", "HTTP2-Settings": "AAMAAABk", "X-Open": "2"})
    assert c.getresponse().read() == b"ok"
    request, = backend.take(b"hop")
    f = fields_of(request)
    assert f[b"x-open"] == b"2" and f[b"te"] == b"trailers" and f[b"connection"] == b"te"
    assert not set(f) & {b"x-mine", b"keep-alive", b"proxy-connection", b"upgrade", b"http2-settings"}


@pytest.mark.parametrize("name", ["host", "content-length", "transfer-encoding", "cookie", "authorization",
                                  "x-forwarded-for", "X-Forwarded-Client-Cert", "a, Host"])
def test_a_connection_field_that_names_what_others_rely_on_is_refused(proxy, backend, name):
    with connect(proxy.h1) as s:
        s.sendall(b"GET /nominate/a HTTP/1.1\r\nHost: a\r\nConnection: " + name.encode() + b"\r\n\r\n")
        assert read_until(s, b"\r\n\r\n").startswith(b"HTTP/1.1 400 ")
    assert not backend.take(b"nominate")


def test_bodies_and_trailers_pass(proxy, backend):
    with connect(proxy.h1) as s:
        s.sendall(b"POST /trail/a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                  b"3;x=y\r\nabc\r\n4\r\ndefg\r\n0\r\nX-Sum: 7\r\nHost: evil\r\nContent-Length: 1\r\n\r\n")
        read_until(s, b"ok")
    request, = backend.take(b"trail")
    assert request["body"] == b"abcdefg"
    assert request["trailers"] == [(b"x-sum", b"7")]


def test_a_length_is_written_plainly(proxy, backend):
    with connect(proxy.h1) as s:
        s.sendall(b"POST /zeros/a HTTP/1.1\r\nHost: a\r\nContent-Length: 0012\r\n\r\nabcdefghijkl")
        read_until(s, b"ok")
    request, = backend.take(b"zeros")
    assert fields_of(request)[b"content-length"] == b"12"


def test_an_absolute_target_decides_about_the_host(proxy, backend):
    with connect(proxy.h1) as s:
        s.sendall(b"GET http://right.example:81/abs/a HTTP/1.1\r\nHost: wrong.example\r\n\r\n")
        read_until(s, b"ok")
    request, = backend.take(b"abs")
    assert request["target"] == b"/abs/a"
    assert [v for n, v in request["fields"] if n == b"host"] == [b"right.example:81"]


def test_100_continue_is_the_backends_to_give(proxy, backend):
    said = []

    def serve(listener):
        s, _ = listener.accept()
        with s:
            head = read_until(s, b"\r\n\r\n")
            said.append(head)
            s.sendall(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n")
            s.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            said.append(s.recv(100))
            s.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        own = Served([program("http", "http_proxy"), str(listener.getsockname()[1])])
        t = threading.Thread(target=serve, args=(listener,))
        t.start()
        with connect(own.ports[0]) as s:
            s.sendall(b"PUT /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
            got = read_until(s, b"100 Continue\r\n\r\n")
            assert got.startswith(b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n")
            s.sendall(b"hello")
            assert b"200 OK" in read_until(s, b"done")
        t.join()
        assert own.close() == 0
    assert b"\r\nexpect: 100-continue\r\n" in said[0] and said[1] == b"hello"


def test_a_100_that_nobody_expects_is_dropped(proxy, backend):
    backend.answer = lambda request: (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n"
                                      b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    try:
        with connect(proxy.h1) as s:
            s.sendall(b"GET /unexpected/a HTTP/1.1\r\nHost: a\r\n\r\n")
            got = read_until(s, b"\r\n\r\nok")
    finally:
        del backend.answer
        backend.answer = lambda request: b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    assert b" 100 " not in got and got.startswith(b"HTTP/1.1 102 ")


BAD_RESPONSES = {
    "length and coding": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nabc",
    "folded": b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 0\r\n\r\n",
    "bare LF": b"HTTP/1.1 200 OK\nContent-Length: 0\n\n\r\n\r\n",
    "unasked upgrade": b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n"
                       b"Sec-WebSocket-Accept: x\r\n\r\n",
    "nonsense": b"220 mail.example ESMTP\r\n\r\n",
    "unknown coding": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
}


@pytest.mark.parametrize("name", BAD_RESPONSES)
def test_a_malformed_response_is_a_502(proxy, backend, name):
    backend.answer = lambda request: BAD_RESPONSES[name]
    try:
        c = http.client.HTTPConnection("127.0.0.1", proxy.h1)
        c.request("GET", "/bad/a")
        assert c.getresponse().status == 502
    finally:
        backend.answer = lambda request: b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def websocket_backend(listener):
    """One handshake, then every octet comes back with its bits turned over, until the client ends."""
    s, _ = listener.accept()
    with s:
        head = read_until(s, b"\r\n\r\n")
        key = re.search(rb"(?i)\r\nsec-websocket-key: *([^\r]+)", head)[1]
        accept = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
        s.sendall(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                  b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n")
        while data := s.recv(65536):
            s.sendall(bytes(b ^ 0xff for b in data))


@pytest.fixture
def websocket_proxy():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        own = Served([program("http", "http_proxy"), str(listener.getsockname()[1])])
        t = threading.Thread(target=websocket_backend, args=(listener,))
        t.start()
        yield own
        assert own.close() == 0
        t.join()


def test_a_websocket_passes_both_ways(websocket_proxy):
    with connect(websocket_proxy.ports[0]) as s:
        s.sendall(b"GET /chat HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n"
                  b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
        head = read_until(s, b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 ")
        assert b"sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in head
        assert b"connection: upgrade\r\nupgrade: websocket\r\n" in head
        sent = os.urandom(500000)
        t = threading.Thread(target=lambda: (s.sendall(sent), s.shutdown(socket.SHUT_WR)))
        t.start()
        got = b""
        while more := s.recv(65536):
            got += more
        t.join()
        assert got == bytes(b ^ 0xff for b in sent)


def test_a_websocket_over_http2_becomes_one_over_http1(websocket_proxy):
    """RFC 8441, by a peer made of frames: python-h2 4.1 does not know extended CONNECT as a client."""
    import hpack
    from hyperframe.frame import DataFrame, Frame, HeadersFrame, SettingsFrame, WindowUpdateFrame
    with connect(websocket_proxy.ports[1]) as s:
        enc, dec = hpack.Encoder(), hpack.Decoder()
        s.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + SettingsFrame(0).serialize())
        buf, settings, status, data, ended, asked = b"", {}, None, b"", False, False
        while not ended:
            more = s.recv(65536)
            assert more
            buf += more
            while len(buf) >= 9:
                f, n = Frame.parse_frame_header(memoryview(buf[:9]))
                if len(buf) < 9 + n:
                    break
                f.parse_body(memoryview(buf[9:9 + n]))
                buf = buf[9 + n:]
                if isinstance(f, SettingsFrame) and "ACK" not in f.flags:
                    settings.update(f.settings)
                    assert settings.get(8) == 1, "extended CONNECT is offered"
                    s.sendall(SettingsFrame(0, flags=["ACK"]).serialize())
                    h = HeadersFrame(1, flags=["END_HEADERS"])
                    h.data = enc.encode([(":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "http"),
                                         (":path", "/chat"), (":authority", "a"), ("sec-websocket-version", "13")])
                    s.sendall(h.serialize())
                elif isinstance(f, HeadersFrame):
                    status = dict(dec.decode(f.data))[":status"]
                    assert status == "200"
                    s.sendall(DataFrame(1, b"hello", flags=["END_STREAM"]).serialize())
                elif isinstance(f, DataFrame):
                    data += f.data
                    ended = "END_STREAM" in f.flags
                    s.sendall(WindowUpdateFrame(0, window_increment=len(f.data) or 1).serialize())
        assert status == "200" and data == bytes(b ^ 0xff for b in b"hello")


def test_curl_over_http2_gets_what_the_backend_says(proxy, backend):
    r = subprocess.run(["curl", "-sS", "--http2-prior-knowledge", "-d", "x" * 100000, "-H", "Cookie: a=1",
                        "-w", "%{http_version} %{http_code}", f"http://127.0.0.1:{proxy.h2}/curl/a"],
                       capture_output=True, text=True, timeout=20, check=True)
    assert r.stdout == "ok2 200"
    request, = backend.take(b"curl")
    assert request["body"] == b"x" * 100000
    assert fields_of(request)[b"host"] == f"127.0.0.1:{proxy.h2}".encode()


def test_a_huge_body_passes_in_little_memory(proxy, backend):
    size = 300 << 20
    with socket.create_server(("127.0.0.1", 0)) as listener:
        own = Served([program("http", "http_proxy"), str(listener.getsockname()[1])])

        def serve():
            s, _ = listener.accept()
            with s:
                read_until(s, b"\r\n\r\n")
                s.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
                block = b"z" * (1 << 20)
                for _ in range(size >> 20):
                    s.sendall(block)
        t = threading.Thread(target=serve)
        t.start()
        with connect(own.ports[0]) as s:
            s.sendall(b"GET /huge HTTP/1.1\r\nHost: a\r\n\r\n")
            got = len(read_until(s, b"\r\n\r\n").split(b"\r\n\r\n", 1)[1])
            while got < size:
                n = len(s.recv(1 << 20))
                assert n
                got += n
        t.join()
        peak = int(re.search(r"VmHWM:\s+(\d+)", open(f"/proc/{own.child.pid}/status").read())[1])
        assert own.close() == 0
    assert got == size
    assert peak < (300 << 10 if "asan" in program("", "") else 30 << 10), f"{peak} KiB"
