# SPDX-License-Identifier: Apache-2.0
"""HTTP/1.1 against Python's http.client and raw sockets."""
import http.client
import select
import socket
import threading
import time

import pytest

from lib.wait import SCALE


def raw(port, data, patience=5.0, shut=False):
    """Everything the server says to these bytes until it closes or is silent."""
    with socket.create_connection(("127.0.0.1", port)) as s:
        s.settimeout(patience * SCALE)
        s.sendall(data)
        if shut:
            s.shutdown(socket.SHUT_WR)
        got = b""
        try:
            while True:
                more = s.recv(65536)
                if not more:
                    return got, "end"
                got += more
        except socket.timeout:
            return got, "open"
        except ConnectionResetError:
            return got, "reset"


def test_a_connection_is_kept_for_many_requests(served):
    c = http.client.HTTPConnection("127.0.0.1", served.h1)
    for i in range(200):
        c.request("POST", f"/echo?{i}", body=b"x" * i)
        r = c.getresponse()
        assert r.status == 200
        assert r.read() == b"POST /echo?%d " % i + b"x" * i
    c.close()


def test_a_chunked_upload_arrives_whole(served):
    c = http.client.HTTPConnection("127.0.0.1", served.h1)
    pieces = [bytes([65 + i % 26]) * (i * 37 % 5000 + 1) for i in range(150)]
    c.request("PUT", "/echo", body=iter(pieces), encode_chunked=True, headers={"Transfer-Encoding": "chunked"})
    r = c.getresponse()
    assert r.read() == b"PUT /echo " + b"".join(pieces)
    c.close()


def test_a_streamed_response_comes_in_chunks(served):
    c = http.client.HTTPConnection("127.0.0.1", served.h1)
    c.request("GET", "/stream")
    r = c.getresponse()
    assert r.getheader("transfer-encoding") == "chunked"
    assert r.read() == b"onetwothree"
    c.request("GET", "/echo")
    assert c.getresponse().read() == b"GET /echo "
    c.close()


def test_head_and_no_content_leave_the_connection_in_step(served):
    c = http.client.HTTPConnection("127.0.0.1", served.h1)
    for method, path, status in (("HEAD", "/big", 200), ("GET", "/none", 204), ("HEAD", "/nowhere", 404),
                                 ("GET", "/echo", 200)):
        c.request(method, path)
        r = c.getresponse()
        r.read()
        assert r.status == status
    c.close()


def test_a_date_is_sent_that_the_world_can_read(served):
    from email.utils import parsedate_to_datetime
    c = http.client.HTTPConnection("127.0.0.1", served.h1)
    c.request("GET", "/echo")
    r = c.getresponse()
    assert abs(parsedate_to_datetime(r.getheader("date")).timestamp() - time.time()) < 5
    c.close()


def test_a_watch_delivers_at_once(served):
    with socket.create_connection(("127.0.0.1", served.h1)) as s:
        s.settimeout(5 * SCALE)
        s.sendall(b"GET /watch HTTP/1.1\r\nHost: a\r\n\r\n")
        got = b""
        while b"line\n" not in got:
            got += s.recv(4096)


def test_a_slow_head_is_answered_with_408(served):
    start = time.monotonic()
    got, how = raw(served.h1, b"GET / HTTP/1.1\r\nHos")
    assert got.startswith(b"HTTP/1.1 408 ") and how == "end"
    assert time.monotonic() - start > 0.8


def test_a_reader_that_does_not_read_is_cut(served):
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        s.connect(("127.0.0.1", served.h1))
        # enough responses to fill every buffer between us
        s.sendall(b"GET /big HTTP/1.1\r\nHost: a\r\n\r\n" * 100)
        cut = select.poll()
        cut.register(s, 0)  # a reset is told unasked
        assert cut.poll(10000 * SCALE)
        s.settimeout(5 * SCALE)
        total = 0
        with pytest.raises(ConnectionResetError):
            while True:
                n = len(s.recv(1 << 20))
                if n == 0:
                    raise ConnectionResetError
                total += n
        assert total < 100 * 300000


def test_many_clients_at_once(served):
    failures = []

    def one(n):
        try:
            c = http.client.HTTPConnection("127.0.0.1", served.h1)
            for i in range(20):
                c.request("POST", f"/echo?{n}", body=b"y" * (n * i))
                assert c.getresponse().read() == b"POST /echo?%d " % n + b"y" * (n * i)
            c.close()
        except Exception as e:  # noqa: BLE001: told below
            failures.append(e)
    threads = [threading.Thread(target=one, args=(n,)) for n in range(20)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not failures


SMUGGLED = b"GET /none HTTP/1.1\r\nHost: a\r\n\r\n"
OK_BODY = b"0\r\n\r\n"
SMUGGLING = {
    "two lengths": (b"Content-Length: 5\r\nContent-Length: 0\r\n", b"hello"),
    "length and coding": (b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", OK_BODY),
    "coding and length": (b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", OK_BODY),
    "a list of lengths": (b"Content-Length: 5, 0\r\n", b"hello"),
    "a signed length": (b"Content-Length: +0\r\n", b""),
    "a hexadecimal length": (b"Content-Length: 0x0\r\n", b""),
    "a huge length": (b"Content-Length: 18446744073709551616\r\n", b""),
    "blank before the colon": (b"Transfer-Encoding : chunked\r\n", OK_BODY),
    "tab before the colon": (b"Transfer-Encoding\t: chunked\r\n", OK_BODY),
    "folded coding": (b"Transfer-Encoding:\r\n chunked\r\n", OK_BODY),
    "folded after another": (b"X: y\r\n Transfer-Encoding: chunked\r\n", OK_BODY),
    "unknown coding": (b"Transfer-Encoding: xchunked\r\n", OK_BODY),
    "coding twice": (b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", OK_BODY),
    "coding in a list": (b"Transfer-Encoding: identity, chunked\r\n", OK_BODY),
    "vertical tab": (b"Transfer-Encoding: \x0bchunked\r\n", OK_BODY),
    "bare LF in the head": (b"X: y\nTransfer-Encoding: chunked\r\n", OK_BODY),
    "bare CR in the head": (b"X: y\rTransfer-Encoding: chunked\r\n", OK_BODY),
    "zero byte": (b"X: \0\r\n", b""),
    "name with a blank": (b"X y: z\r\n", b""),
    "two hosts": (b"Host: b\r\n", b""),
    "chunk size with a sign": (b"Transfer-Encoding: chunked\r\n", b"+0\r\n\r\n"),
    "chunk size of 17 digits": (b"Transfer-Encoding: chunked\r\n", b"00000000000000000\r\n\r\n"),
    "chunk line ended by LF": (b"Transfer-Encoding: chunked\r\n", b"0\n\r\n"),
    "chunk extension with LF": (b"Transfer-Encoding: chunked\r\n", b"1;a\nx\r\n0\r\n\r\n"),
    "chunk longer than said": (b"Transfer-Encoding: chunked\r\n", b"1\r\nxy\r\n0\r\n\r\n"),
    "blank before a chunk size": (b"Transfer-Encoding: chunked\r\n", b" 0\r\n\r\n"),
    "blank behind a chunk size": (b"Transfer-Encoding: chunked\r\n", b"0 \r\n\r\n"),
    "bad trailer": (b"Transfer-Encoding: chunked\r\n", b"0\r\nX : y\r\n\r\n"),
}


@pytest.mark.parametrize("name", SMUGGLING)
def test_nothing_is_smuggled(served, name):
    """One bad request, then a second one that only a parser with another reading would see."""
    fields, body = SMUGGLING[name]
    got, how = raw(served.h1, b"POST /echo HTTP/1.1\r\nHost: a\r\n" + fields + b"\r\n" + body + SMUGGLED)
    assert got.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 501 ")), got[:200]
    assert b"204" not in got
    assert how == "end"


def test_the_table_of_smuggling_would_notice_a_lenient_server(served):
    """The same shape with nothing wrong in it: both requests are seen."""
    got, _ = raw(served.h1, b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + OK_BODY
                 + SMUGGLED, patience=1)
    assert got.startswith(b"HTTP/1.1 200 ") and b"HTTP/1.1 204 " in got


def test_upgrades_are_not_taken(served):
    got, _ = raw(served.h1, b"GET /echo HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\n"
                 b"Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n", patience=1)
    assert got.startswith(b"HTTP/1.1 200 ") and b"101" not in got.split(b"\r\n")[0]


def test_tls_carries_it_too(served, tls_context):
    for alpn in ((), ("http/1.1",)):
        c = http.client.HTTPSConnection("127.0.0.1", served.tls, context=tls_context(*alpn))
        c.request("GET", "/big")
        assert len(c.getresponse().read()) == 300000
        c.request("GET", "/echo")
        assert c.getresponse().read() == b"GET /echo "
        c.close()
