# SPDX-License-Identifier: Apache-2.0
"""HTTP/2 requests and frames that must not pass, made frame by frame (RFC 9113), one row each."""
import socket

import hpack
import pytest
from hyperframe.frame import (ContinuationFrame, DataFrame, Frame, GoAwayFrame, HeadersFrame, PingFrame, PriorityFrame,
                              PushPromiseFrame, RstStreamFrame, SettingsFrame, WindowUpdateFrame)

from lib.wait import SCALE

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
PROTOCOL, FLOW, STREAM_CLOSED, FRAME_SIZE, COMPRESSION, CALM = 1, 3, 5, 6, 9, 11
GET = [(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", "/echo")]
POST = [(":method", "POST"), (":scheme", "http"), (":authority", "a"), (":path", "/echo")]


class Raw:
    """A peer that sends what it is told and notes what comes back, a stream at a time."""

    def __init__(self, port):
        self.sock = socket.create_connection(("127.0.0.1", port))
        self.sock.settimeout(3 * SCALE)
        self.enc, self.dec = hpack.Encoder(), hpack.Decoder()
        self.buf = b""
        self.status, self.body, self.reset, self.ended = {}, {}, {}, set()
        self.goaway, self.closed = None, False
        self.sock.sendall(PREFACE + SettingsFrame(0).serialize())

    def block(self, fields):
        """Literals without Huffman: hpack would tidy up what is to be wrong."""
        out = b""
        for name, value in fields:
            n = name if isinstance(name, bytes) else name.encode()
            v = value if isinstance(value, bytes) else value.encode()
            out += b"\x00" + number(len(n), 7) + n + number(len(v), 7) + v
        return out

    def send(self, *frames):
        try:
            for f in frames:
                self.sock.sendall(f if isinstance(f, bytes) else f.serialize())
        except OSError:
            self.closed = True

    def headers(self, stream, fields, end=True, flags=("END_HEADERS",)):
        f = HeadersFrame(stream, data=self.block(fields), flags=list(flags) + (["END_STREAM"] if end else []))
        return f.serialize()

    def turn(self):
        try:
            more = self.sock.recv(65536)
        except ConnectionResetError:
            more = b""
        if not more:
            self.closed = True
            return
        self.buf += more
        while len(self.buf) >= 9:
            f, n = Frame.parse_frame_header(memoryview(self.buf[:9]))
            if len(self.buf) < 9 + n:
                return
            f.parse_body(memoryview(self.buf[9:9 + n]))
            self.buf = self.buf[9 + n:]
            self.take(f)

    def take(self, f):
        if isinstance(f, HeadersFrame):
            self.status.setdefault(f.stream_id, []).append(dict(self.dec.decode(f.data)).get(":status"))
        elif isinstance(f, DataFrame):
            self.body[f.stream_id] = self.body.get(f.stream_id, b"") + f.data
        elif isinstance(f, RstStreamFrame):
            self.reset[f.stream_id] = f.error_code
        elif isinstance(f, GoAwayFrame):
            self.goaway = f.error_code
        elif isinstance(f, SettingsFrame) and "ACK" not in f.flags:
            self.send(SettingsFrame(0, flags=["ACK"]))
        if isinstance(f, (HeadersFrame, DataFrame)) and "END_STREAM" in f.flags:
            self.ended.add(f.stream_id)

    def wait(self, stream):
        while not self.closed and self.goaway is None and stream not in self.ended and stream not in self.reset:
            self.turn()
        if self.goaway:
            return f"goaway {self.goaway}"
        if stream in self.reset and stream not in self.ended:
            return f"reset {self.reset[stream]}"
        return self.status[stream][-1] if stream in self.status else "closed"


def number(n, bits):
    most = (1 << bits) - 1
    if n < most:
        return bytes([n])
    out, n = bytes([most]), n - most
    while n >= 128:
        out, n = out + bytes([n % 128 + 128]), n // 128
    return out + bytes([n])


@pytest.fixture
def raw(served):
    r = Raw(served.h2)
    with r.sock:
        yield r


BAD = f"reset {PROTOCOL}"


def swap(name, value):
    return [(n, value if n == name else v) for n, v in GET]


def without(name):
    return [(n, v) for n, v in GET if n != name]


# What stands in the head of a GET, and what comes of it.
HEADS = {
    "plain": (GET, "200"),
    "only host": (without(":authority") + [("host", "a")], "200"),
    "authority and the same host": (GET + [("host", "a")], "200"),
    "authority and another host": (GET + [("host", "b")], "400"),
    "authority and two hosts": (GET + [("host", "a"), ("host", "a")], ("400", BAD)),
    "neither authority nor host": (without(":authority"), ("400", BAD)),
    "authority with user information": (swap(":authority", "u@a"), ("400", BAD)),
    "authority with a path": (swap(":authority", "a/b"), ("400", BAD)),
    "authority with two ports": (swap(":authority", "a:1:2"), ("400", BAD)),
    "no method": (without(":method"), BAD),
    "no scheme": (without(":scheme"), BAD),
    "no path": (without(":path"), BAD),
    "empty path": (swap(":path", ""), ("400", BAD)),
    "relative path": (swap(":path", "echo"), ("400", BAD)),
    "path *": (swap(":path", "*"), ("400", BAD)),
    "path with a blank": (swap(":path", "/a b"), ("400", BAD)),
    "path with a fragment": (swap(":path", "/echo#x"), ("400", BAD)),
    "path with CRLF": (swap(":path", "/echo\r\nx: y"), ("400", BAD)),
    "path with NUL": (swap(":path", "/echo\0"), ("400", BAD)),
    "path beyond ASCII": (swap(":path", b"/\xc3\xa9"), ("400", BAD)),
    "absolute path": (swap(":path", "http://a/echo"), ("400", BAD)),
    "method with a blank": (swap(":method", "GET /x"), ("400", BAD)),
    "method with CRLF": (swap(":method", "GET\r\n"), ("400", BAD)),
    "empty method": (swap(":method", ""), ("400", BAD)),
    "method of 33 letters": (swap(":method", "X" * 33), "400"),
    "method that nobody knows": (swap(":method", "FOO"), "200"),
    "scheme ftp": (swap(":scheme", "ftp"), ("400", BAD)),
    "scheme with CRLF": (swap(":scheme", "http\r\n"), ("400", BAD)),
    "method twice": (GET + [(":method", "GET")], BAD),
    "path twice": ([(":path", "/none")] + GET, BAD),
    "pseudo field behind a field": ([("x", "y")] + GET, BAD),
    "unknown pseudo field": ([(":foo", "x")] + GET, BAD),
    "status in a request": ([(":status", "200")] + GET, BAD),
    "protocol where it was not offered": ([(":protocol", "websocket")] + swap(":method", "CONNECT"), ("405", "501", BAD)),
    "upper case in a name": (GET + [("X-A", "b")], BAD),
    "empty name": (GET + [("", "b")], BAD),
    "name with a blank": (GET + [("x y", "b")], BAD),
    "name with a colon": (GET + [("x:y", "b")], BAD),
    "name with CRLF": (GET + [("x\r\ny", "b")], BAD),
    "name with NUL": (GET + [("x\0", "b")], BAD),
    "name beyond ASCII": (GET + [(b"x\xc3\xa9", "b")], BAD),
    "value with CR": (GET + [("x", "a\rb")], BAD),
    "value with LF": (GET + [("x", "a\nb")], BAD),
    "value with NUL": (GET + [("x", "a\0b")], BAD),
    "value with a leading blank": (GET + [("x", " a")], BAD),
    "value with a trailing tab": (GET + [("x", "a\t")], BAD),
    "value beyond ASCII": (GET + [("x", b"\xc3\xa9")], "200"),
    "empty value": (GET + [("x", "")], "200"),
    "connection": (GET + [("connection", "close")], BAD),
    "proxy-connection": (GET + [("proxy-connection", "x")], BAD),
    "keep-alive": (GET + [("keep-alive", "5")], BAD),
    "transfer-encoding": (GET + [("transfer-encoding", "chunked")], BAD),
    "upgrade": (GET + [("upgrade", "h2c")], BAD),
    "te: trailers": (GET + [("te", "trailers")], "200"),
    "te: gzip": (GET + [("te", "gzip")], BAD),
    "a length and no body": (GET + [("content-length", "5")], BAD),
    "length 0": (GET + [("content-length", "0")], "200"),
    "two lengths": (GET + [("content-length", "0"), ("content-length", "0")], BAD),
    "a length that is none": (GET + [("content-length", "+0")], BAD),
    "CONNECT": ([(":method", "CONNECT"), (":authority", "a:1")], "405"),
    "CONNECT with a path": (swap(":method", "CONNECT"), BAD),
    "TRACE": (swap(":method", "TRACE"), "405"),
    "an expectation of tea": (GET + [("expect", "tea")], "417"),
    "101 fields": (GET + [("x", "y")] * 101, "431"),
    "100 fields": (GET + [("x", "y")] * 100, "200"),
    "a head that is too large": (GET + [("x", "y" * 3990)] * 4 + [("x", "y")] * 20, "431"),
}


@pytest.mark.parametrize("name", HEADS)
def test_a_head(raw, name):
    fields, want = HEADS[name]
    raw.send(raw.headers(1, fields))
    assert raw.wait(1) in (want if isinstance(want, tuple) else (want,))
    if raw.goaway is None and not raw.closed:  # a bad stream is not the end of the connection
        raw.send(raw.headers(3, GET))
        assert raw.wait(3) == "200"


def data(raw, total, said, trailers=()):
    frames = [raw.headers(1, POST + [("content-length", str(said))], end=False)]
    frames += [DataFrame(1, b"x" * total, flags=[] if trailers else ["END_STREAM"])]
    return frames + ([raw.headers(1, list(trailers))] if trailers else [])


# Frames by a function of the peer; the stream to look at; what comes of it.
FRAMES = {
    "a length that is kept": (lambda r: data(r, 5, 5), 1, "200"),
    "more data than the length": (lambda r: data(r, 6, 5), 1, BAD),
    "less data than the length": (lambda r: data(r, 4, 5), 1, BAD),
    "trailers": (lambda r: data(r, 5, 5, [("x-sum", "1")]), 1, "200"),
    "trailers with a pseudo field": (lambda r: data(r, 5, 5, [(":path", "/")]), 1, BAD),
    "trailers with an upper case name": (lambda r: data(r, 5, 5, [("X-Sum", "1")]), 1, BAD),
    "trailers that end nothing": (lambda r: data(r, 5, 5)[:1] + [r.headers(1, [("x", "y")], end=False)], 1,
                                  (BAD, f"goaway {PROTOCOL}")),
    "33 trailers": (lambda r: data(r, 5, 5, [("x", "y")] * 33), 1, f"reset {CALM}"),
    "large trailers": (lambda r: data(r, 5, 5, [("x", "y" * 9000)]), 1, f"reset {CALM}"),
    "data on an idle stream": (lambda r: [DataFrame(1, b"x")], 1, f"goaway {PROTOCOL}"),
    "data on stream 0": (lambda r: [b"\0\0\1\0\0\0\0\0\0x"], 1, f"goaway {PROTOCOL}"),
    "headers on stream 0": (lambda r: [b"\0\0\1\1\4\0\0\0\0x"], 1, f"goaway {PROTOCOL}"),
    "an even stream": (lambda r: [r.headers(2, GET)], 2, f"goaway {PROTOCOL}"),
    # It counts as closed (RFC 9113 5.1.1), and what is for a closed stream is ignored, within a budget.
    "a lower stream": (lambda r: [r.headers(5, POST, end=False), r.headers(3, GET), DataFrame(5, b"", flags=["END_STREAM"])],
                       5, "200"),
    "data behind the end": (lambda r: [r.headers(1, GET), DataFrame(1, b"x")], 1,
                            ("200", f"reset {STREAM_CLOSED}", f"goaway {STREAM_CLOSED}")),
    "a reset of an idle stream": (lambda r: [RstStreamFrame(1, error_code=8)], 1, f"goaway {PROTOCOL}"),
    "credit for an idle stream": (lambda r: [WindowUpdateFrame(1, window_increment=1)], 1, f"goaway {PROTOCOL}"),
    "credit of nothing": (lambda r: [b"\0\0\4\x08\0\0\0\0\0\0\0\0\0"], 1, f"goaway {PROTOCOL}"),
    "credit beyond 2^31": (lambda r: [WindowUpdateFrame(0, window_increment=0x7fffffff)], 1, f"goaway {FLOW}"),
    "SETTINGS on a stream": (lambda r: [b"\0\0\0\4\0\0\0\0\1"], 1, f"goaway {PROTOCOL}"),
    "SETTINGS of 5 octets": (lambda r: [b"\0\0\5\4\0\0\0\0\0\0\1\0\0\0"], 1, f"goaway {FRAME_SIZE}"),
    "SETTINGS ACK with a payload": (lambda r: [b"\0\0\6\4\1\0\0\0\0\0\1\0\0\0\0"], 1, f"goaway {FRAME_SIZE}"),
    "an initial window of 2^31": (lambda r: [b"\0\0\6\4\0\0\0\0\0\0\4\x80\0\0\0"], 1, f"goaway {FLOW}"),
    "push enabled with 2": (lambda r: [b"\0\0\6\4\0\0\0\0\0\0\2\0\0\0\2"], 1, f"goaway {PROTOCOL}"),
    "frames of 1 octet": (lambda r: [b"\0\0\6\4\0\0\0\0\0\0\5\0\0\0\1"], 1, f"goaway {PROTOCOL}"),
    "33 settings": (lambda r: [SettingsFrame(0).serialize()[:0] + b"\0\0\xc6\4\0\0\0\0\0" + b"\0\1\0\0\x10\0" * 33], 1,
                    (f"goaway {CALM}", f"goaway {PROTOCOL}")),
    "PING of 7 octets": (lambda r: [b"\0\0\7\6\0\0\0\0\0" + b"x" * 7], 1, f"goaway {FRAME_SIZE}"),
    "PING on a stream": (lambda r: [b"\0\0\x08\6\0\0\0\0\1" + b"x" * 8], 1, f"goaway {PROTOCOL}"),
    "a frame that is too long": (lambda r: [r.headers(1, POST, end=False), b"\0\x40\1\0\0\0\0\0\1" + b"x" * 16385], 1,
                                 f"goaway {FRAME_SIZE}"),
    "padding longer than the frame": (lambda r: [r.headers(1, POST, end=False), b"\0\0\2\0\x08\0\0\0\1\5x"], 1,
                                      f"goaway {PROTOCOL}"),
    "CONTINUATION of nothing": (lambda r: [ContinuationFrame(1, r.block(GET), flags=["END_HEADERS"])], 1,
                                f"goaway {PROTOCOL}"),
    "a frame inside a header block": (lambda r: [r.headers(1, GET, flags=()), PingFrame(0, b"x" * 8)], 1,
                                      f"goaway {PROTOCOL}"),
    "a broken header block": (lambda r: [b"\0\0\1\1\5\0\0\0\1\x80"], 1, f"goaway {COMPRESSION}"),
    "PUSH_PROMISE from a client": (lambda r: [PushPromiseFrame(1, 2, r.block(GET), flags=["END_HEADERS"])], 1,
                                   f"goaway {PROTOCOL}"),
    "PRIORITY of itself": (lambda r: [PriorityFrame(1, depends_on=1, stream_weight=1), r.headers(3, GET)], 3,
                           ("200", f"goaway {PROTOCOL}")),
    "a frame of an unknown type": (lambda r: [b"\0\0\1\x42\0\0\0\0\0x", r.headers(1, GET)], 1, "200"),
    "head in two frames": (lambda r: [HeadersFrame(1, r.block(GET)[:9], flags=["END_STREAM"]),
                                      ContinuationFrame(1, r.block(GET)[9:], flags=["END_HEADERS"])], 1, "200"),
    "head in eleven frames": (lambda r: [HeadersFrame(1, r.block(GET)[:9], flags=["END_STREAM"]),
                                         *[ContinuationFrame(1, b"") for _ in range(9)],
                                         ContinuationFrame(1, r.block(GET)[9:], flags=["END_HEADERS"])], 1,
                              (f"goaway {CALM}", f"goaway {PROTOCOL}", f"goaway 2", "closed")),
}


@pytest.mark.parametrize("name", FRAMES)
def test_frames(raw, name):
    make, stream, want = FRAMES[name]
    raw.send(*make(raw))
    assert raw.wait(stream) in (want if isinstance(want, tuple) else (want,))


def test_cookies_are_one_again_and_fields_of_the_connection_stop(served):
    from recorder import Recorder
    from conftest import Served, program
    backend = Recorder()
    proxy = Served([program("http", "http_proxy"), str(backend.port)])
    r = Raw(proxy.ports[1])
    with r.sock:
        r.send(r.headers(1, swap(":path", "/crumbs/a") + [("http2-settings", "AAMAAABk"), ("cookie", "a=1"), ("x", "y"), ("cookie", "b=2"), ("cookie", "c=3")]))
        assert r.wait(1) == "200"
    request, = backend.take(b"crumbs")
    assert [v for n, v in request["fields"] if n == b"cookie"] == [b"a=1; b=2; c=3"]
    assert [v for n, v in request["fields"] if n == b"host"] == [b"a"]
    assert b"http2-settings" not in dict(request["fields"])
    assert not backend.broken
    assert proxy.close() == 0
    backend.close()


def test_a_body_of_unknown_length_is_chunked_towards_http1(served):
    from recorder import Recorder
    from conftest import Served, program
    backend = Recorder()
    proxy = Served([program("http", "http_proxy"), str(backend.port)])
    r = Raw(proxy.ports[1])
    with r.sock:
        r.send(r.headers(1, [(n, "/chunks/a" if n == ":path" else v) for n, v in POST], end=False),
               DataFrame(1, b"abc"), DataFrame(1, b"def"), r.headers(1, [("x-sum", "6"), ("host", "evil")]))
        assert r.wait(1) == "200"
    request, = backend.take(b"chunks")
    assert request["body"] == b"abcdef" and request["trailers"] == [(b"x-sum", b"6")]
    assert proxy.close() == 0
    backend.close()
