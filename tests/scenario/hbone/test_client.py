# SPDX-License-Identifier: Apache-2.0
"""The client's side: a pool of tunnels against servers that are recorded, foreign or hostile."""
import socket
import struct
import time

import pytest

import rawh2
from lib.wait import SCALE, until
from rawh2 import Listener, block, frame, goaway, reset, settings, window

AUTHORITY = "10.244.2.103:9002"


@pytest.fixture
def gateway():
    listener = Listener()
    yield listener
    listener.close()


def app(driver):
    s = socket.create_connection(("127.0.0.1", driver.port))
    s.settimeout(5 * SCALE)
    return s


def answer(stream, status="200", end=False, extra=()):
    return frame("HEADERS", 4 | (1 if end else 0), stream, block([(":status", status), *extra]))


def server(gateway, *first):
    peer = gateway.accept()
    peer.send(settings(streams=100) if not first else b"".join(first))
    return peer


def open_one(driver, gateway, *first):
    """A client of ours, an application on it, and its first stream, unanswered."""
    d = driver("client", gateway.port, AUTHORITY)
    a = app(d)
    peer = server(gateway, *first)
    peer.wait(lambda p: p.of("HEADERS", 1))
    return d, a, peer


def end_of(a):
    """What the application saw until the end, and which end."""
    data = b""
    try:
        while True:
            got = a.recv(65536)
            if not got:
                return data, "FIN"
            data += got
    except ConnectionResetError:
        return data, "RST"


def kinds(peer):
    return [(f.kind, f.stream, f.code or (f.end and "END") or None) for f in peer.frames
            if not f.kind == "SETTINGS" and not (f.kind == "WINDOW_UPDATE" and f.stream == 0)]


def test_first_flight_is_what_was_recorded(driver, gateway):
    d = driver("client", gateway.port, AUTHORITY)
    a = app(d)
    peer = gateway.accept()
    peer.auto_ack = False
    peer.wait(lambda p: p.of("HEADERS"))
    peer.quiet(0.2)
    assert [f.kind for f in peer.frames] == ["SETTINGS", "WINDOW_UPDATE", "HEADERS"]
    assert peer.frames[0].payload.hex() == "000200000000000400400000000500100000000600004000"
    assert peer.frames[1].payload.hex() == "00ff0001"
    assert peer.frames[2].fields == [(":method", "CONNECT"), (":authority", AUTHORITY),
                                     ("baggage", "k8s.namespace.name=shop"),
                                     ("forwarded", 'for="10.0.0.1:1234"')]
    assert peer.frames[2].flags == 4
    a.close()


@pytest.mark.parametrize("status, extra, text", [
    ("401", True, "http status: 401 Unauthorized"), ("503", True, "http status: 503 Service Unavailable"),
    ("404", False, "http status: 404 Not Found"), ("204", True, "http status: 204 No Content"),
    ("302", True, "http status: 302 Found"), ("500", True, "http status: 500 Internal Server Error")])
def test_any_status_but_200_is_a_failure(status, extra, text, driver, gateway):
    d, a, peer = open_one(driver, gateway)
    peer.send(answer(1, status, end=extra))
    if not extra:
        peer.send(frame("DATA", 1, 1, b"a body"))
    assert end_of(a) == (b"", "RST")
    assert d.line() == f"relay ERR_HTTP_STATUS sent=0 received=0 {text}"
    peer.wait(lambda p: p.of("RST_STREAM"))
    peer.quiet(0.1)
    assert kinds(peer)[1:] == [("RST_STREAM", 1, "CANCEL")]
    second = app(d)
    peer.wait(lambda p: p.of("HEADERS", 3))  # the tunnel is kept
    second.close()


def test_interim_answers_are_skipped(driver, gateway):
    _, a, peer = open_one(driver, gateway)
    peer.send(answer(1, "100") + answer(1, "103") + answer(1) + frame("DATA", 1, 1, b"hi"))
    a.shutdown(socket.SHUT_WR)
    assert end_of(a) == (b"hi", "FIN")


def test_200_with_the_end_is_a_clean_end(driver, gateway):
    _, a, peer = open_one(driver, gateway)
    peer.send(answer(1, end=True))
    a.sendall(b"some words")
    assert a.recv(10) == b""
    a.shutdown(socket.SHUT_WR)
    peer.wait(lambda p: p.of("DATA", 1) and p.of("DATA", 1)[-1].end)
    assert peer.data(1) == b"some words"


def test_trailers_are_a_clean_end(driver, gateway):
    d, a, peer = open_one(driver, gateway)
    peer.send(answer(1) + frame("DATA", 0, 1, b"hi") + frame("HEADERS", 5, 1, block([("x-end", "1")])))
    a.shutdown(socket.SHUT_WR)
    assert end_of(a) == (b"hi", "FIN")
    assert d.line() == "relay ok sent=0 received=2"


def test_nothing_is_sent_before_the_answer(driver, gateway):
    _, a, peer = open_one(driver, gateway)
    a.sendall(b"eager")
    peer.quiet(0.2)
    assert not peer.of("DATA")
    peer.send(answer(1))
    peer.wait(lambda p: p.data(1) == b"eager")


@pytest.mark.parametrize("code", ["NO_ERROR", "PROTOCOL_ERROR", "INTERNAL_ERROR", "CANCEL", "STREAM_CLOSED",
                                  "ENHANCE_YOUR_CALM", "HTTP_1_1_REQUIRED", 99])
def test_a_reset_instead_of_an_answer_is_a_failure(code, driver, gateway):
    d, a, peer = open_one(driver, gateway)
    peer.send(reset(1, code))
    assert end_of(a) == (b"", "RST")
    assert d.line().startswith("relay ERR_H2_RESET")
    peer.quiet(0.1)
    assert kinds(peer) == [("HEADERS", 1, None)]


@pytest.mark.parametrize("code", ["NO_ERROR", "PROTOCOL_ERROR", "REFUSED_STREAM", "CANCEL", "CONNECT_ERROR"])
def test_a_reset_in_the_middle_is_never_a_clean_end(code, driver, gateway):
    d, a, peer = open_one(driver, gateway)
    peer.send(answer(1) + frame("DATA", 0, 1, b"hi"))
    assert a.recv(10) == b"hi"
    peer.send(reset(1, code))
    assert end_of(a) == (b"", "RST")
    assert d.line().startswith("relay ERR_H2_RESET")


def test_a_reset_after_the_end_leaves_the_end_clean(driver, gateway):
    _, a, peer = open_one(driver, gateway)
    peer.send(answer(1) + frame("DATA", 1, 1, b"all of it") + reset(1, "NO_ERROR"))
    assert a.recv(20) == b"all of it"
    assert a.recv(20) == b""


def test_a_tunnel_that_ends_in_the_middle_is_never_a_clean_end(driver, gateway):
    d, a, peer = open_one(driver, gateway)
    peer.send(answer(1) + frame("DATA", 0, 1, b"part"))
    assert a.recv(10) == b"part"
    peer.close()
    assert end_of(a) == (b"", "RST")
    # a peer that closes before it has read all of ours resets TCP
    assert d.line().startswith(("relay ERR_TRUNCATED", "relay ECONNRESET"))


def test_a_refused_stream_goes_to_another_tunnel(driver, gateway):
    _, a, peer = open_one(driver, gateway)
    peer.send(reset(1, "REFUSED_STREAM"))
    second = server(gateway)
    second.wait(lambda p: p.of("HEADERS", 1))
    second.send(answer(1) + frame("DATA", 1, 1, b"second try"))
    assert a.recv(20) == b"second try"


def test_a_stream_above_the_last_of_goaway_goes_to_another_tunnel(driver, gateway):
    _, a, peer = open_one(driver, gateway)
    peer.send(goaway(0))
    second = server(gateway)
    second.wait(lambda p: p.of("HEADERS", 1))
    second.send(answer(1) + frame("DATA", 1, 1, b"second try"))
    assert a.recv(20) == b"second try"
    peer.wait(lambda p: p.ended)
    assert [f.code for f in peer.of("GOAWAY")] == ["NO_ERROR"]


def test_a_stream_that_nobody_wants_fails_after_three_tunnels(driver, gateway):
    d, a, peer = open_one(driver, gateway)
    peer.send(goaway(0))
    for _ in range(2):
        peer = server(gateway)
        peer.wait(lambda p: p.of("HEADERS", 1))
        peer.send(goaway(0))
    assert end_of(a) == (b"", "RST")
    assert d.line().startswith("relay ERR_H2_GOAWAY")


@pytest.mark.parametrize("code", ["NO_ERROR", "ENHANCE_YOUR_CALM"])
def test_goaway_lets_streams_end_and_new_ones_go_elsewhere(code, driver, gateway):
    d, a, peer = open_one(driver, gateway)
    peer.send(answer(1) + frame("DATA", 0, 1, b"hi") + goaway(1, code))
    assert a.recv(10) == b"hi"
    second = app(d)
    other = server(gateway)
    other.wait(lambda p: p.of("HEADERS", 1))
    peer.send(frame("DATA", 1, 1, b"end"))
    a.shutdown(socket.SHUT_WR)
    assert end_of(a) == (b"end", "FIN")
    peer.wait(lambda p: p.ended)
    assert kinds(peer)[-2:] == [("DATA", 1, "END"), ("GOAWAY", 0, "NO_ERROR")]
    second.close()


def test_streams_of_one_destination_share_a_tunnel(driver, gateway):
    d, first, peer = open_one(driver, gateway)
    others = [app(d) for _ in range(9)]
    peer.wait(lambda p: len(p.of("HEADERS")) == 10)
    peer.send(b"".join(answer(1 + 2 * i) + frame("DATA", 1, 1 + 2 * i, b"%d" % i) for i in range(10)))
    got = sorted(a.recv(5) for a in [first, *others])
    assert got == [b"%d" % i for i in range(10)]


def test_a_known_limit_opens_a_second_tunnel_and_a_full_one_comes_back(driver, gateway):
    d, a, peer = open_one(driver, gateway, settings(streams=1))
    peer.send(answer(1))
    peer.is_alive()
    second = app(d)
    other = server(gateway, settings(streams=1))
    other.wait(lambda p: p.of("HEADERS", 1))
    peer.send(frame("DATA", 1, 1))
    a.close()
    peer.wait(lambda p: p.of("DATA", 1) and p.of("DATA", 1)[-1].end)
    third = app(d)
    peer.wait(lambda p: p.of("HEADERS", 3))  # has room again
    second.close()
    third.close()


def test_dials_beyond_an_unknown_limit_are_refused_and_find_their_place(driver, gateway):
    d = driver("client", gateway.port, AUTHORITY)
    apps = [app(d) for _ in range(4)]
    peers = []
    for _ in range(4):
        peer = server(gateway, settings(streams=1))
        peers.append(peer)
        peer.wait(lambda p: p.of("HEADERS"))
        peer.is_alive()  # has read our settings, and opens no more streams here
        peer.send(b"".join(reset(f.stream, "REFUSED_STREAM") for f in peer.of("HEADERS")[1:]))
        peer.send(answer(1) + frame("DATA", 0, 1, b"ok"))
    assert [a.recv(5) for a in apps] == [b"ok"] * 4


def test_pool_cap_is_kept(driver, gateway):
    d = driver("client", gateway.port, AUTHORITY, "pool_streams=3")
    apps = [app(d) for _ in range(7)]
    peers = [server(gateway) for _ in range(3)]
    until("all are asked for", lambda: [p.quiet(0.02) for p in peers] and sum(len(p.of("HEADERS")) for p in peers) == 7)
    assert sorted(len(p.of("HEADERS")) for p in peers) == [1, 3, 3]
    for a in apps:
        a.close()


def test_no_settings_and_settings_without_acknowledgement_are_borne(driver, gateway):
    _, a, peer = open_one(driver, gateway, answer(1), frame("DATA", 1, 1, b"hi"))
    peer.auto_ack = False
    assert a.recv(5) == b"hi"
    a.sendall(b"x" * 1000)
    peer.wait(lambda p: len(p.data(1)) == 1000)


@pytest.mark.parametrize("values", [{"table": 0}, {"push": 1}, {"headers": 100}, {"table": 65536}, {"connect": 0},
                                    {"connect": 1}])
def test_odd_settings_are_borne(values, driver, gateway):
    d, _, peer = open_one(driver, gateway, settings(**values))
    peer.send(answer(1))
    peer.is_alive()
    a = app(d)
    peer.wait(lambda p: p.of("HEADERS", 3))  # decodes with the table that was asked for
    if values.get("table") == 0:
        assert peer.of("HEADERS", 3)[0].payload[0] == 0x20  # says that there is no table
    a.close()


def test_data_follows_window_and_settings(driver, gateway):
    _, a, peer = open_one(driver, gateway, settings(window=10))
    peer.send(answer(1))
    peer.is_alive()
    a.sendall(b"q" * 500)
    peer.wait(lambda p: len(p.data(1)) == 10)
    peer.send(window(1, 7))
    peer.wait(lambda p: len(p.data(1)) == 17)
    peer.send(settings(window=1000))
    peer.wait(lambda p: len(p.data(1)) == 500)


def test_frames_and_windows_of_a_default_peer(driver, gateway):
    _, a, peer = open_one(driver, gateway, settings())
    peer.send(answer(1))
    peer.is_alive()
    a.setblocking(False)
    try:
        while a.send(b"w" * 65536):
            pass
    except BlockingIOError:
        pass
    peer.wait(lambda p: len(p.data(1)) == 65535)
    peer.quiet(0.1)
    assert len(peer.data(1)) == 65535
    assert max(len(f.payload) for f in peer.of("DATA")) <= 16384


@pytest.mark.parametrize("bad, code", [
    (lambda: settings(frame=100), "PROTOCOL_ERROR"),
    (lambda: settings(connect=1) + settings(connect=0), "PROTOCOL_ERROR"),
    (lambda: frame("DATA", 0, 1, b"early"), "PROTOCOL_ERROR"),
    (lambda: frame("PUSH_PROMISE", 4, 1, b"\0\0\0\2\x82"), "PROTOCOL_ERROR"),
    (lambda: answer(2), "PROTOCOL_ERROR"),
    (lambda: answer(5), "PROTOCOL_ERROR"),
    (lambda: frame("HEADERS", 4, 1, b"\xff\x49"), "PROTOCOL_ERROR"),
    (lambda: window(1, 0), "PROTOCOL_ERROR"),
    (lambda: window(0, 0x7fffffff), "FLOW_CONTROL_ERROR"),
    (lambda: b"HTTP/1.1 400 Bad Request\r\n\r\n", "FRAME_SIZE_ERROR"),
    (lambda: frame("HEADERS", 0, 1, b"\x88") + frame("CONTINUATION", 0, 1, b"\0\1a\1b") * 3000,
     "ENHANCE_YOUR_CALM"),
    (lambda: goaway(1) + goaway(3), "PROTOCOL_ERROR"),
])
def test_a_server_that_breaks_the_protocol_loses_the_tunnel(bad, code, driver, gateway):
    d, a, peer = open_one(driver, gateway)
    peer.send(bad())
    assert end_of(a) == (b"", "RST")
    peer.wait(lambda p: p.ended)
    assert [f.code for f in peer.of("GOAWAY")] == [code]
    assert d.line().startswith("relay ERR_H2_")


@pytest.mark.parametrize("bad", [
    lambda: answer(1, "2000"), lambda: answer(1, "abc"), lambda: answer(1, extra=[(":status", "200")]),
    lambda: answer(1, extra=[("connection", "close")]), lambda: answer(1, "100", end=True),
    lambda: frame("HEADERS", 4, 1, block([("x", "y")])),
    lambda: answer(1, extra=[("x%d" % i, "v" * 1000) for i in range(20)]),
])
def test_a_malformed_answer_costs_only_its_stream(bad, driver, gateway):
    d, a, peer = open_one(driver, gateway)
    peer.send(bad())
    assert end_of(a) == (b"", "RST")
    assert peer.is_alive()
    assert peer.reset_code(1) == "PROTOCOL_ERROR"
    assert d.line().startswith("relay ERR_")


def test_a_mebibyte_in_one_frame(driver, gateway):
    _, a, peer = open_one(driver, gateway)
    body = bytes(range(256)) * 4096
    peer.is_alive()
    peer.send(answer(1) + frame("DATA", 1, 1, body))
    a.shutdown(socket.SHUT_WR)
    assert end_of(a) == (body, "FIN")


def test_a_byte_more_than_a_mebibyte(driver, gateway):
    _, a, peer = open_one(driver, gateway)
    peer.is_alive()
    peer.send(answer(1) + frame("DATA", 1, 1, b"x" * ((1 << 20) + 1)))
    assert end_of(a)[1] == "RST"
    peer.wait(lambda p: p.ended)
    assert [f.code for f in peer.of("GOAWAY")] == ["FRAME_SIZE_ERROR"]


def test_an_application_that_does_not_read_bounds_what_is_held(driver, gateway):
    d, held, peer = open_one(driver, gateway)
    peer.is_alive()
    peer.send(answer(1))
    before = d.rss_kb()
    for _ in range(64 + 63):
        peer.send(frame("DATA", 0, 1, b"x" * 65536))
        peer.quiet(0)
        if peer.reset_code(1):
            break
    peer.wait(lambda p: p.reset_code(1))
    assert peer.reset_code(1) == "FLOW_CONTROL_ERROR"
    assert d.rss_kb() - before < 6 << 10
    assert peer.is_alive()
    held.close()


def test_an_application_that_leaves_is_a_cancel(driver, gateway):
    _, a, peer = open_one(driver, gateway)
    peer.send(answer(1))
    a.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.is_alive()
    a.close()
    peer.wait(lambda p: p.reset_code(1))
    assert peer.reset_code(1) == "CANCEL"
    peer.send(frame("DATA", 0, 1, b"late") * 10)
    assert peer.is_alive()
    assert len(peer.of("RST_STREAM")) == 1


def test_ping_and_its_absence(driver, gateway):
    d = driver("client", gateway.port, AUTHORITY, "ping_ms=300", "pong_ms=600")
    start = time.monotonic()
    a = app(d)
    peer = server(gateway)
    peer.wait(lambda p: p.ended)
    assert 0.85 < time.monotonic() - start < 2 * SCALE
    assert [f.payload for f in peer.of("PING")] == [rawh2.KEEPALIVE]
    assert not peer.of("GOAWAY")
    assert end_of(a) == (b"", "RST")
    assert d.line().startswith("relay ERR_DEADLINE")


def test_an_answer_has_a_deadline(driver, gateway):
    d = driver("client", gateway.port, AUTHORITY, "response_ms=300")
    a = app(d)
    peer = server(gateway)
    assert end_of(a) == (b"", "RST")
    peer.wait(lambda p: p.reset_code(1))
    assert peer.reset_code(1) == "CANCEL"
    assert d.line().startswith("relay ERR_DEADLINE")
    assert peer.is_alive()


def test_an_idle_tunnel_is_released(driver, gateway):
    d = driver("client", gateway.port, AUTHORITY, "idle_ms=200")
    a = app(d)
    peer = server(gateway)
    peer.wait(lambda p: p.of("HEADERS", 1))
    peer.send(answer(1, end=True))
    a.close()
    peer.wait(lambda p: p.ended)
    assert peer.ended == "FIN"


def test_drain_keeps_streams_and_what_comes_finds_another_tunnel(driver, gateway):
    d, a, peer = open_one(driver, gateway)
    peer.send(answer(1))
    peer.is_alive()
    d.drain()
    assert d.line() == "draining"
    second = app(d)
    other = server(gateway)
    other.wait(lambda p: p.of("HEADERS", 1))
    other.send(answer(1))
    other.send(frame("DATA", 1, 1, b"hello"))
    second.shutdown(socket.SHUT_WR)
    assert end_of(second) == (b"hello", "FIN")
    assert not peer.of("HEADERS", 3)
    a.sendall(b"still")
    peer.wait(lambda p: p.data(1) == b"still")
    peer.send(frame("DATA", 1, 1, b"bye"))
    a.shutdown(socket.SHUT_WR)
    assert end_of(a) == (b"bye", "FIN")
    peer.wait(lambda p: p.ended)


def test_a_gateway_that_is_not_there(driver, gateway):
    d = driver("client", gateway.port, AUTHORITY)
    gateway.close()
    a = app(d)
    assert end_of(a) == (b"", "RST")
    assert d.line().startswith("relay ECONNREFUSED")
