# SPDX-License-Identifier: Apache-2.0
"""Ambiguous requests, to haproxy, to nginx and to a proxy of ours, each before the same recording backend.
What we forward is what each of the others forwards, if it does at all; and what we write is read by both of
them as the same requests. So no request that they and we frame differently is forwarded by us."""
import itertools
import os
import shutil
import socket
import subprocess

import pytest

from conftest import Served, program
from lib.ports import free_port
from lib.wait import until
from recorder import Recorder

FOLLOWER = b"GET /%(tag)s/second HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


class Case:
    def __init__(self, name, raw):
        self.name, self.raw = name, raw


def post(fields, body, line=b"POST /%(tag)s/first HTTP/1.1\r\nHost: a\r\n"):
    return line + fields + b"\r\n" + body + FOLLOWER


def mutations():
    """Requests of two parts: what could be one request or two, and a plain one behind it."""
    odd = [b" ", b"\t", b"\x0b", b"\x0c", b"\0", b"\r", b"\n", b"\x7f", b"\x80", b"\xa0", b"\xff", b"\x01", b"\x1f",
           b",", b";", b'"', b"'", b":", b"_", b"(", b"\\"]
    chunked, whole = b"0\r\n\r\n", b"5\r\nhello\r\n0\r\n\r\n"
    for c in odd:
        n = c.hex()
        yield f"TE: {n} before value", post(b"Transfer-Encoding:" + c + b"chunked\r\n", chunked)
        yield f"TE: {n} after value", post(b"Transfer-Encoding: chunked" + c + b"\r\n", chunked)
        yield f"TE: {n} before colon", post(b"Transfer-Encoding" + c + b": chunked\r\n", chunked)
        yield f"TE: {n} before name", post(c + b"Transfer-Encoding: chunked\r\n", chunked)
        yield f"TE: {n} inside name", post(b"Transfer" + c + b"Encoding: chunked\r\n", chunked)
        yield f"TE: {n} inside value", post(b"Transfer-Encoding: chu" + c + b"nked\r\n", chunked)
        yield f"CL: {n} before value", post(b"Content-Length:" + c + b"5\r\n", b"hello")
        yield f"CL: {n} after value", post(b"Content-Length: 5" + c + b"\r\n", b"hello")
        yield f"CL: {n} before colon", post(b"Content-Length" + c + b": 5\r\n", b"hello")
        yield f"CL: {n} inside value", post(b"Content-Length: 1" + c + b"0\r\n", b"0123456789")
        yield f"CL and TE with {n}", post(b"Content-Length: 5\r\nTransfer-Encoding:" + c + b"chunked\r\n", chunked)
        yield f"chunk size, {n} before", post(b"Transfer-Encoding: chunked\r\n", c + whole)
        yield f"chunk size, {n} after", post(b"Transfer-Encoding: chunked\r\n", b"5" + c + whole[1:])
        yield f"chunk data, {n} after", post(b"Transfer-Encoding: chunked\r\n", b"5\r\nhello" + c + b"\r\n0\r\n\r\n")
        yield f"extension of {n}", post(b"Transfer-Encoding: chunked\r\n", b"5;" + c + whole[1:])
        yield f"last chunk, {n} after", post(b"Transfer-Encoding: chunked\r\n", b"0" + c + b"\r\n\r\n")
        yield f"trailer, {n} in name", post(b"Transfer-Encoding: chunked\r\n", b"0\r\nx" + c + b"y: z\r\n\r\n")
        yield f"version, {n} after", post(b"Content-Length: 5\r\n", b"hello",
                                          b"POST /%(tag)s/first HTTP/1.1" + c + b"\r\nHost: a\r\n")
        yield f"target, {n} after", post(b"Content-Length: 5\r\n", b"hello",
                                         b"POST /%(tag)s/first" + c + b" HTTP/1.1\r\nHost: a\r\n")
        yield f"method, {n} after", post(b"Content-Length: 5\r\n", b"hello",
                                         b"POST" + c + b" /%(tag)s/first HTTP/1.1\r\nHost: a\r\n")
        yield f"host, {n} inside", post(b"Content-Length: 5\r\n", b"hello",
                                        b"POST /%(tag)s/first HTTP/1.1\r\nHost: a" + c + b"b\r\n")
        yield f"other field, {n} in name", post(b"X" + c + b"Y: z\r\nContent-Length: 5\r\n", b"hello")
        yield f"other field, {n} in value", post(b"X: y" + c + b"z\r\nContent-Length: 5\r\n", b"hello")
    codings = [b"chunked", b"Chunked", b"CHUNKED", b"identity", b"gzip, chunked", b"chunked, gzip", b"chunked, chunked",
               b"chunked,", b",chunked", b"chunked;q=1", b'"chunked"', b"x-chunked", b"chunke", b"chunkedd", b"", b"0"]
    for a in codings:
        yield f"coding {a}", post(b"Transfer-Encoding: " + a + b"\r\n", chunked)
        yield f"coding {a} and a length", post(b"Transfer-Encoding: " + a + b"\r\nContent-Length: 5\r\n", chunked)
        yield f"a length and coding {a}", post(b"Content-Length: 5\r\nTransfer-Encoding: " + a + b"\r\n", chunked)
    for a, b in itertools.product(codings[:6], repeat=2):
        yield f"codings {a} and {b}", post(b"Transfer-Encoding: " + a + b"\r\nTransfer-Encoding: " + b + b"\r\n", chunked)
    lengths = [b"5", b"05", b"+5", b"-5", b"5.0", b"5e0", b"0x5", b"5,5", b"5, 5", b"5,6", b"5;", b"", b" 5", b"5 5",
               b"18446744073709551621", b"4294967301", b"9223372036854775808", b"\xd9\xa5", b"000000000000000000000005"]
    for a in lengths:
        yield f"length {a}", post(b"Content-Length: " + a + b"\r\n", b"hello")
        yield f"lengths {a} and 0", post(b"Content-Length: " + a + b"\r\nContent-Length: 0\r\n", b"hello")
        yield f"lengths 5 and {a}", post(b"Content-Length: 5\r\nContent-Length: " + a + b"\r\n", b"hello")
    sizes = [b"5", b"05", b"0000000000000005", b"00000000000000005", b"0x5", b"+5", b"-0", b"5;x", b"5;x=y", b'5;x="y"',
             b'5;x="\r\n0\r\n\r\n', b"5\r", b"5;\n", b"5\n", b"100000005", b"10000000000000005", b"ffffffffffffffff", b"g"]
    for a in sizes:
        yield f"chunk size {a}", post(b"Transfer-Encoding: chunked\r\n", a + b"\r\nhello\r\n0\r\n\r\n")
        yield f"chunk size {a}, LF", post(b"Transfer-Encoding: chunked\r\n", a + b"\nhello\r\n0\r\n\r\n")
    ends = [b"\r\n", b"\n", b"\r", b"\n\r", b"\r\r\n", b"\n\n", b""]
    for a in ends:
        n = a.hex()
        yield f"line end {n}", post(b"X: y" + a + b"Content-Length: 5\r\n", b"hello")
        yield f"line end {n} of the request line", post(b"Content-Length: 5\r\n", b"hello",
                                                        b"POST /%(tag)s/first HTTP/1.1" + a + b"Host: a\r\n")
        yield f"head end {n}", (b"POST /%(tag)s/first HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n" + a + b"hello"
                                + FOLLOWER)
        yield f"end {n} of a chunk", post(b"Transfer-Encoding: chunked\r\n", b"5\r\nhello" + a + b"0\r\n\r\n")
        yield f"end {n} of the last chunk", post(b"Transfer-Encoding: chunked\r\n", b"0" + a + b"\r\n")
        yield f"end {n} of the trailers", post(b"Transfer-Encoding: chunked\r\n", b"0\r\nX: y" + a + b"\r\n")
    for fold in (b"\r\n ", b"\r\n\t", b"\n "):
        yield f"folded coding {fold}", post(b"Transfer-Encoding:" + fold + b"chunked\r\n", chunked)
        yield f"folded length {fold}", post(b"Content-Length:" + fold + b"5\r\n", b"hello")
        yield f"hidden coding {fold}", post(b"X: y" + fold + b"Transfer-Encoding: chunked\r\n", chunked)
    for method in (b"GET", b"HEAD", b"DELETE", b"OPTIONS", b"TRACE", b"CONNECT", b"get", b"FOO"):
        yield f"{method} with a length", post(b"Content-Length: 5\r\n", b"hello", method
                                              + b" /%(tag)s/first HTTP/1.1\r\nHost: a\r\n")
        yield f"{method} with chunks", post(b"Transfer-Encoding: chunked\r\n", whole, method
                                            + b" /%(tag)s/first HTTP/1.1\r\nHost: a\r\n")
    for version in (b"HTTP/1.0", b"HTTP/0.9", b"HTTP/1.2", b"HTTP/2.0", b"HTTP/1.01", b"HTTP/11", b"http/1.1", b"HTTP/1."):
        line = b"POST /%(tag)s/first " + version + b"\r\nHost: a\r\n"
        yield f"{version} with a length", post(b"Content-Length: 5\r\n", b"hello", line)
        yield f"{version} with chunks", post(b"Transfer-Encoding: chunked\r\n", chunked, line)
        yield f"{version} with both", post(b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", chunked, line)
    for target in (b"//a/%(tag)s/first", b"http://b/%(tag)s/first", b"/%(tag)s/first#x", b"*", b"http://u@b/%(tag)s/first"):
        yield f"target {target}", post(b"Content-Length: 5\r\n", b"hello", b"POST " + target
                                       + b" HTTP/1.1\r\nHost: a\r\n")
    for host in (b"", b"Host:\r\n", b"Host: a\r\nHost: b\r\n", b"Host: a\r\nHost: a\r\n", b"Host: a b\r\n", b"Host: a/b\r\n",
                 b"Host: a:b\r\n", b"Host: u@a\r\n", b"Host: [::1\r\n"):
        yield f"hosts {host}", post(b"Content-Length: 5\r\n", b"hello", b"POST /%(tag)s/first HTTP/1.1\r\n" + host)
    for name in (b"Content_Length", b"Transfer_Encoding", b"Content-Length\xc2\xa0", b"Content--Length"):
        yield f"look-alike {name}", post(name + b": 5\r\nContent-Length: 0\r\n", b"")
    for connection in (b"close", b"Content-Length", b"Transfer-Encoding", b"Host", b"upgrade", b"close, X"):
        yield f"connection {connection}", post(b"Connection: " + connection + b"\r\nContent-Length: 5\r\n", b"hello")
    for upgrade in (b"h2c", b"websocket", b"TLS/1.0", b"websocket, h2c"):
        yield f"upgrade {upgrade}", post(b"Connection: Upgrade\r\nUpgrade: " + upgrade + b"\r\nContent-Length: 5\r\n",
                                         b"hello")
    yield "expectation of something", post(b"Expect: tea\r\nContent-Length: 5\r\n", b"hello")
    yield "empty lines first", b"\r\n\r\n\r\n" + post(b"Content-Length: 5\r\n", b"hello")
    yield "plain length", post(b"Content-Length: 5\r\n", b"hello")
    yield "plain chunks", post(b"Transfer-Encoding: chunked\r\n", whole)


CASES = [Case(name, raw) for name, raw in mutations()]


def wait_for(port):
    until(f"somebody listens on {port}", lambda: socket.create_connection(("127.0.0.1", port)).close() is None, 20)


def start_haproxy(folder, backend):
    port = free_port()
    conf = folder / f"haproxy-{port}.cfg"
    conf.write_text(f"""global
  maxconn 200
defaults
  mode http
  timeout client 2s
  timeout server 2s
  timeout connect 2s
  timeout http-request 2s
  http-reuse never
frontend f
  bind 127.0.0.1:{port}
  default_backend b
backend b
  server s 127.0.0.1:{backend}
""")
    child = subprocess.Popen([shutil.which("haproxy"), "-db", "-f", str(conf)], stdout=subprocess.DEVNULL,
                             stderr=subprocess.DEVNULL)
    wait_for(port)
    return child, port


def start_nginx(folder, backend):
    port = free_port()
    home = folder / f"nginx-{port}"
    home.mkdir()
    conf = home / "nginx.conf"
    conf.write_text(f"""daemon off; master_process off; pid {home}/pid; error_log {home}/error.log;
{'user root;' if os.getuid() == 0 else ''}
events {{ worker_connections 200; }}
http {{ access_log off; client_body_temp_path {home}/b; proxy_temp_path {home}/p; fastcgi_temp_path {home}/f;
 uwsgi_temp_path {home}/u; scgi_temp_path {home}/s; client_header_timeout 2s; client_body_timeout 2s;
 server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://127.0.0.1:{backend}; proxy_http_version 1.1;
  proxy_set_header Connection ""; proxy_read_timeout 2s; }} }} }}
""")
    child = subprocess.Popen([shutil.which("nginx"), "-c", str(conf), "-p", str(home)], stdout=subprocess.DEVNULL,
                             stderr=subprocess.DEVNULL)
    wait_for(port)
    return child, port


class Chain:
    """Ports by the way a request takes; behind each, the same backend."""

    def __init__(self, folder):
        self.backend = Recorder()
        self.children, self.ours = [], []
        self.haproxy = self.foreign(start_haproxy, folder)
        self.nginx = self.foreign(start_nginx, folder)
        self.direct = self.own(self.backend.port)
        self.through_haproxy = self.own(self.haproxy)
        self.through_nginx = self.own(self.nginx)

    def foreign(self, start, folder):
        child, port = start(folder, self.backend.port)
        self.children.append(child)
        return port

    def own(self, port):
        s = Served([program("http", "http_proxy"), str(port)])
        self.ours.append(s)
        return s.ports[0]

    def close(self):
        for child in self.children:
            child.terminate()
            child.wait(timeout=10)
        codes = [s.close() for s in self.ours]
        self.backend.close()
        return codes


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    c = Chain(tmp_path_factory.mktemp("differential"))
    yield c
    assert c.close() == [0, 0, 0]


def say(port, raw):
    """Until the other side ends, or is silent for as long as no answer takes."""
    got = b""
    with socket.create_connection(("127.0.0.1", port)) as s:
        s.settimeout(5)  # few are silent that long
        try:
            s.sendall(raw)
            while more := s.recv(65536):
                got += more
        except (socket.timeout, OSError):
            pass
    return got


def views(chain, cases):
    """What the backend sees of each case, by way: (method, path, body) in order of arrival."""
    from concurrent.futures import ThreadPoolExecutor
    ways = {"direct": chain.direct, "haproxy": chain.haproxy, "nginx": chain.nginx,
            "through_haproxy": chain.through_haproxy, "through_nginx": chain.through_nginx}

    def one(job):
        number, way = job
        tag = f"{way[-9:].replace('_', '')}{number}".encode()
        said = say(ways[way], cases[number].raw.replace(b"%(tag)s", tag))
        return job, tag, said
    out = [{} for _ in cases]
    with ThreadPoolExecutor(16) as pool:
        done = list(pool.map(one, itertools.product(range(len(cases)), ways)))
    chain.backend.wait_quiet()
    for (number, way), tag, said in done:
        seen = [(r["method"], r["target"].split(tag, 1)[-1], r["body"]) for r in chain.backend.take(tag)]
        out[number][way] = seen
        out[number][way + " said"] = said
    return out


@pytest.fixture(scope="module")
def seen(chain):
    return views(chain, CASES)


def responses():
    """Responses that could be read in two ways, by name. Each ends with its connection."""
    def ok(fields, body, line=b"HTTP/1.1 200 OK\r\n", end=b"\r\n"):
        return line + b"x-then: close\r\n" + fields + end + body
    two = ok(b"Content-Length: 3\r\n", b"two")
    for c in (b" ", b"\t", b"\x0b", b"\0", b"\r", b"\n", b"\x7f", b"\x80", b",", b";", b'"', b"_", b"\x01"):
        n = c.hex()
        yield f"TE: {n} before value", ok(b"Transfer-Encoding:" + c + b"chunked\r\n", b"3\r\none\r\n0\r\n\r\n")
        yield f"TE: {n} after value", ok(b"Transfer-Encoding: chunked" + c + b"\r\n", b"3\r\none\r\n0\r\n\r\n")
        yield f"TE: {n} before colon", ok(b"Transfer-Encoding" + c + b": chunked\r\n", b"3\r\none\r\n0\r\n\r\n")
        yield f"CL: {n} before value", ok(b"Content-Length:" + c + b"3\r\n", b"one" + two)
        yield f"CL: {n} after value", ok(b"Content-Length: 3" + c + b"\r\n", b"one" + two)
        yield f"CL: {n} before colon", ok(b"Content-Length" + c + b": 3\r\n", b"one" + two)
        yield f"CL: {n} inside value", ok(b"Content-Length: 1" + c + b"0\r\n", b"0123456789" + two)
        yield f"chunk size, {n} after", ok(b"Transfer-Encoding: chunked\r\n", b"3" + c + b"\r\none\r\n0\r\n\r\n")
        yield f"chunk data, {n} after", ok(b"Transfer-Encoding: chunked\r\n", b"3\r\none" + c + b"\r\n0\r\n\r\n")
        yield f"status, {n} after", ok(b"Content-Length: 3\r\n", b"one", b"HTTP/1.1 200" + c + b"OK\r\n")
        yield f"reason, {n} in it", ok(b"Content-Length: 3\r\n", b"one", b"HTTP/1.1 200 O" + c + b"K\r\n")
        yield f"field, {n} in value", ok(b"X: y" + c + b"z\r\nContent-Length: 3\r\n", b"one")
    for a in (b"+3", b"-3", b"0x3", b"3, 3", b"3,4", b"", b"03", b"18446744073709551619", b"4294967299"):
        yield f"length {a}", ok(b"Content-Length: " + a + b"\r\n", b"one" + two)
        yield f"lengths 3 and {a}", ok(b"Content-Length: 3\r\nContent-Length: " + a + b"\r\n", b"one" + two)
    for a in (b"identity", b"gzip", b"chunked, chunked", b"chunked, identity", b"identity, chunked", b"x"):
        yield f"coding {a}", ok(b"Transfer-Encoding: " + a + b"\r\n", b"3\r\none\r\n0\r\n\r\n")
    yield "length and coding", ok(b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n", b"3\r\none\r\n0\r\n\r\n")
    yield "coding and length", ok(b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n", b"3\r\none\r\n0\r\n\r\n")
    for line in (b"HTTP/1.0 200 OK\r\n", b"HTTP/1.2 200 OK\r\n", b"HTTP/2.0 200 OK\r\n", b"HTTP/1.1 2000 OK\r\n",
                 b"HTTP/1.1 20 OK\r\n", b"HTTP/1.1 200\r\n", b"HTTP/1.1  200 OK\r\n", b"HTTP/1.1 200 OK\n"):
        yield f"status line {line}", ok(b"Content-Length: 3\r\n", b"one" + two, line)
        yield f"status line {line} with chunks", ok(b"Transfer-Encoding: chunked\r\n", b"3\r\none\r\n0\r\n\r\n", line)
    for code in (b"204", b"304", b"205"):
        yield f"a body behind {code}", ok(b"Content-Length: 3\r\n", b"one", b"HTTP/1.1 " + code + b" X\r\n")
    yield "folded", ok(b"X: y\r\n Content-Length: 9\r\nContent-Length: 3\r\n", b"one" + two)
    yield "until the end", ok(b"", b"one")
    yield "cut short", ok(b"Content-Length: 9\r\n", b"one")
    yield "cut short in a chunk", ok(b"Transfer-Encoding: chunked\r\n", b"9\r\none")
    yield "interim first", b"HTTP/1.1 100 Continue\r\n\r\n" + ok(b"Content-Length: 3\r\n", b"one")
    yield "plain", ok(b"Content-Length: 3\r\n", b"one")


# nginx reads a length with a tab beside it as no length; to RFC 9110 5.6.3 and haproxy a tab is white space.
NGINX_ALONE = {"CL: 09 before value", "CL: 09 after value"}


def fetched(port, path):
    """Status and body as Python reads what the proxy wrote; None for the body: it was cut."""
    import http.client
    c = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        c.request("GET", path)
        r = c.getresponse()
        try:
            return r.status, r.read()
        except (http.client.IncompleteRead, OSError, ValueError, OverflowError):
            return r.status, None
    except (http.client.HTTPException, OSError):
        return 0, None
    finally:
        c.close()


def test_a_response_is_forwarded_as_others_do_or_is_an_error(chain):
    from concurrent.futures import ThreadPoolExecutor
    rows = list(responses())
    chain.backend.answer = lambda request: rows[int(request["target"].split(b"/")[2])][1]
    try:
        with ThreadPoolExecutor(8) as pool:
            views = {way: list(pool.map(lambda i: fetched(port, f"/r/{i}"), range(len(rows))))
                     for way, port in (("ours", chain.direct), ("haproxy", chain.haproxy), ("nginx", chain.nginx))}
    finally:
        chain.backend.answer = lambda request: b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    chain.backend.take(b"r")
    wrong, taken = [], 0
    for i, (name, _) in enumerate(rows):
        status, body = views["ours"][i]
        if status in (0, 502) or body is None:
            continue
        taken += 1
        for other in ("haproxy", "nginx") if name not in NGINX_ALONE else ("haproxy",):
            if views[other][i][0] not in (0, 502, 504) and views[other][i][1] is not None and views[other][i] != (status, body):
                wrong.append(f"{name}: we {status} {body}, {other} {views[other][i]}")
    assert not wrong, "\n".join(wrong)
    assert views["ours"][-1] == (200, b"one") and 10 < taken < len(rows) / 2
    assert any(h != n for h, n in zip(views["haproxy"], views["nginx"]))


def test_what_we_forward_others_forward_alike_or_not_at_all(seen):
    wrong = []
    for case, view in zip(CASES, seen):
        for other in ("haproxy", "nginx"):
            ours, theirs = view["direct"], view[other]
            # One of two requests forwarded, and the connection closed: a shorter list is no other framing.
            n = min(len(ours), len(theirs))
            if ours[:n] != theirs[:n]:
                wrong.append(f"{case.name}: we {ours}, {other} {theirs}")
    assert not wrong, "\n".join(wrong)


def test_what_we_write_is_read_alike_by_others(seen):
    wrong = []
    for case, view in zip(CASES, seen):
        for other in ("through_haproxy", "through_nginx"):
            # They may refuse one of what we forward; they must not see something else in it.
            rest = iter(view["direct"])
            if not all(request in rest for request in view[other]):
                wrong.append(f"{case.name}: {view['direct']} is {view[other]} behind {other}")
    assert not wrong, "\n".join(wrong)


def test_we_forward_nothing_that_both_others_refuse(seen):
    """Not a matter of framing, but of who is the strictest."""
    lenient = [case.name for case, view in zip(CASES, seen)
               if view["direct"] and not view["haproxy"] and not view["nginx"]]
    assert not lenient, lenient


def test_refusal_ends_the_connection(seen):
    for case, view in zip(CASES, seen):
        first = view["direct said"].split(b"\r\n")[0]
        if not view["direct"] and first:
            assert first.split(b" ")[1] in (b"400", b"405", b"408", b"417", b"426", b"501", b"505", b"502"), case.name
            assert view["direct said"].count(b"HTTP/1.1 ") == 1, case.name


def test_the_comparison_would_notice(chain, seen):
    """Both plain requests arrive on every way, and the others do differ from each other somewhere."""
    plain = [case for case in CASES if case.name in ("plain length", "plain chunks")]
    for case, view in zip(plain, views(chain, plain)):  # once more, by themselves: nobody's two seconds are over
        for way in ("direct", "haproxy", "nginx", "through_haproxy", "through_nginx"):
            assert [r[1] for r in view[way]] == [b"/first", b"/second"], (case.name, way, view)
    assert any(v["haproxy"] != v["nginx"] for v in seen)
    assert len(CASES) > 600
