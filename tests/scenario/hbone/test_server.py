# SPDX-License-Identifier: Apache-2.0
"""The server against clients that do not behave, or only in their own way."""
import struct
import time

import pytest

import rawh2
from lib.wait import SCALE
from rawh2 import PREFACE, Peer, connect, frame, headers, reset, settings, window

HELLO = PREFACE + frame("SETTINGS")
BIG = settings(window=1 << 30, frame=1 << 20) + window(0, 1 << 30)


def client(driver, *first):
    peer = Peer.dial(driver.port)
    peer.send(HELLO + b"".join(first))
    return peer


def ended_with(peer, code, debug=b"", last=None):
    peer.wait(lambda p: p.ended)
    assert peer.ended == "FIN"
    found = peer.of("GOAWAY")
    assert [f.code for f in found] == [code]
    assert found[0].payload[8:] == debug
    assert last is None or struct.unpack(">I", found[0].payload[:4])[0] == last


def test_server_speaks_first_and_says_what_was_recorded(shared_driver):
    peer = Peer.dial(shared_driver("server").port)
    peer.auto_ack = False
    peer.wait(lambda p: p.frames)
    peer.quiet(0.1)
    assert [f.payload.hex() for f in peer.frames] == ["0003000000c8000400400000000500100000000600010000"]
    peer.send(PREFACE + frame("SETTINGS"))
    peer.wait(lambda p: len(p.frames) >= 3)
    assert [(f.kind, f.ack) for f in peer.frames[1:3]] == [("SETTINGS", True), ("WINDOW_UPDATE", False)]
    assert peer.frames[2].payload.hex() == "00ff0001"


def test_stream_201_is_refused_and_the_others_live(shared_driver):
    peer = client(shared_driver("server", "app=9002"), *[connect(1 + 2 * i) for i in range(300)])
    peer.wait(lambda p: len(p.of("RST_STREAM")) == 100 and len(p.of("HEADERS")) == 200)
    assert {f.code for f in peer.of("RST_STREAM")} == {"REFUSED_STREAM"}
    assert peer.of("RST_STREAM")[0].stream == 401
    assert peer.is_alive()


def test_1500_streams_in_one_write(shared_driver):
    peer = client(shared_driver("server", "app=9002"), *[connect(1 + 2 * i) for i in range(1500)])
    peer.wait(lambda p: len(p.of("RST_STREAM")) == 1300 and len(p.of("HEADERS")) == 200)
    assert peer.is_alive()


def test_1100_malformed_requests_are_each_refused(shared_driver):
    bad = [connect(1 + 2 * i, extra=((":scheme", "https"),)) for i in range(1100)]
    peer = client(shared_driver("server", "app=9002"), *bad)
    peer.wait(lambda p: len(p.of("RST_STREAM")) == 1100)
    assert peer.is_alive()


def test_20_requests_reset_before_they_were_seen_are_no_offence(shared_driver):
    burst = [connect(1 + 2 * i) + reset(1 + 2 * i, "CANCEL") for i in range(20)]
    peer = client(shared_driver("server", "app=9002"), *burst)
    assert peer.is_alive()


def test_extended_connect_means_nothing_of_a_client(shared_driver):
    peer = client(shared_driver("server", "app=9002"), settings(connect=1), settings(connect=0), connect(1))
    peer.wait(lambda p: p.of("HEADERS", 1))
    assert peer.is_alive()


@pytest.mark.parametrize("count", [21, 30, 100, 1000])
def test_21_requests_reset_before_they_were_seen_end_the_tunnel(count, shared_driver):
    burst = [connect(1 + 2 * i) + reset(1 + 2 * i, "CANCEL") for i in range(count)]
    peer = client(shared_driver("server", "app=9002"), *burst)
    ended_with(peer, "ENHANCE_YOUR_CALM", b"too_many_resets", last=41)


def test_paced_resets_are_never_punished(shared_driver):
    peer = client(shared_driver("server", "app=9002"))
    for i in range(0, 1000, 10):
        peer.send(b"".join(connect(1 + 2 * k) + reset(1 + 2 * k, "CANCEL") for k in range(i, i + 10)))
        assert peer.is_alive()


@pytest.mark.parametrize("flood, answers", [
    (frame("PING", 0, 0, b"12345678"), lambda p: len(p.of("PING"))),
    (frame("SETTINGS"), lambda p: len([f for f in p.of("SETTINGS") if f.ack])),
    (frame("DATA", 0, 1), None),
    (frame("PRIORITY", 0, 3, b"\0\0\0\1\x10"), None),
    (frame(0x0b, 0, 0, b"?"), None),
])
def test_10000_useless_frames_are_borne(flood, answers, shared_driver):
    peer = client(shared_driver("server", "app=9007"), connect(1))
    peer.send(flood * 10000)
    assert peer.is_alive(20)
    if answers:
        peer.wait(lambda p: answers(p) >= 10000)


@pytest.mark.parametrize("flood, debug", [
    (frame("PING", 0, 0, b"12345678"), b"too_many_pings"),
    (frame("SETTINGS"), b"too_many_settings"),
    (frame("DATA", 0, 1), b"too_many_empty_frames"),
    (window(1, 1), b"too_many_window_updates"),
    (frame("PRIORITY", 0, 3, b"\0\0\0\1\x10"), b"too_many_useless_frames"),
])
def test_endless_useless_frames_end_the_tunnel(flood, debug, driver):
    peer = client(driver("server", "app=9007"), connect(1))
    for _ in range(1000):
        if peer.ended:
            break
        peer.send(flood * 1000)
        peer.quiet(0.005)  # so that what it answers is not lost in what we still send
    ended_with(peer, "ENHANCE_YOUR_CALM", debug)


def test_a_peer_that_asks_and_does_not_listen_costs_little(driver):
    d = driver("server", "app=9007", "stall_ms=1500")
    before = d.rss_kb()
    peer = client(d, connect(1))
    peer.sock.setblocking(False)
    stop = time.monotonic() + 6 * SCALE
    said = 0
    while time.monotonic() < stop:  # never reads
        try:
            said += peer.sock.send(frame("PING", 0, 0, b"12345678") * 100)
        except BlockingIOError:
            time.sleep(0.02)
        except (ConnectionResetError, BrokenPipeError):
            break
    else:
        pytest.fail("the tunnel was never given up")
    assert d.rss_kb() - before < 4096
    assert d.line().startswith("tunnel ")


def test_continuation_frames_have_a_number(shared_driver):
    peer = client(shared_driver("server"), headers(1, [(":method", "CONNECT")], end_headers=False))
    peer.send(frame("CONTINUATION", 0, 1, rawh2.block([("a", "b" * 100)])) * 3000)
    ended_with(peer, "ENHANCE_YOUR_CALM", b"too_many_continuations", last=0)


def many_fields(count):
    return [("x-filler-%d" % i, "v" * 988) for i in range(count)]


def test_headers_of_60_kib_are_taken(shared_driver):
    peer = client(shared_driver("server", "app=9002"), connect(1, extra=many_fields(60)))
    peer.wait(lambda p: p.status(1))
    assert peer.status(1) == "200"


@pytest.mark.parametrize("size", [16384, 1 << 20])
def test_longer_headers_are_431(size, shared_driver):
    fields = [(":method", "CONNECT"), (":authority", "10.244.2.11:9002"), *many_fields(70)]
    raw = rawh2.block(fields)
    parts = [raw[i:i + size] for i in range(0, len(raw), size)]
    peer = client(shared_driver("server", "app=9002"))
    for i, part in enumerate(parts):
        last = 4 if i == len(parts) - 1 else 0
        peer.send(frame("CONTINUATION" if i else "HEADERS", last, 1, part))
    peer.wait(lambda p: p.reset_code(1))
    assert (peer.status(1), peer.reset_code(1)) == ("431", "PROTOCOL_ERROR")
    assert peer.of("HEADERS", 1)[0].end
    assert peer.is_alive()


def test_a_header_block_that_unpacks_without_end_ends_the_tunnel(shared_driver):
    entry = b"\x40" + rawh2.block([("x", "v" * 4000)])[1:]  # kept in the table, then named again and again
    block = rawh2.block([(":method", "CONNECT"), (":authority", "10.244.2.11:9002")]) + entry + b"\xbe" * 50000
    peer = client(shared_driver("server", "app=9002"), frame("HEADERS", 4, 1, block))
    ended_with(peer, "ENHANCE_YOUR_CALM", b"header_block_too_large")


def test_200_small_headers_are_taken(shared_driver):
    peer = client(shared_driver("server", "app=9002"), connect(1, extra=[("x-%d" % i, "y") for i in range(200)]))
    peer.wait(lambda p: p.status(1))
    assert peer.status(1) == "200"


def test_a_frame_may_have_a_mebibyte(shared_driver):
    peer = client(shared_driver("server", "app=9002"), BIG, connect(1))
    peer.is_alive()
    body = bytes(range(256)) * 4096
    peer.send(frame("DATA", 1, 1, body))
    peer.wait(lambda p: any(f.end for f in p.of("DATA", 1)))
    assert peer.data(1) == body


@pytest.mark.parametrize("limits, most", [((), 1 << 20), (("frame_bytes=20000",), 20000)])
def test_a_byte_more_than_was_announced_is_too_much(limits, most, shared_driver):
    peer = client(shared_driver("server", "app=9007", *limits), BIG, connect(1))
    peer.is_alive()
    assert struct.pack(">HI", 5, most) in peer.of("SETTINGS")[0].payload
    peer.send(frame("DATA", 0, 1, b"x" * most))
    assert peer.is_alive()
    peer.send(frame("DATA", 0, 1, b"x" * (most + 1)))
    ended_with(peer, "FRAME_SIZE_ERROR", last=1)


def test_more_than_the_stream_window_resets_the_stream_only(shared_driver):
    peer = client(shared_driver("server", "app=9007"), connect(1))
    peer.is_alive()
    for _ in range(65):
        peer.send(frame("DATA", 0, 1, b"x" * 65536))
    peer.wait(lambda p: p.reset_code(1))
    assert peer.reset_code(1) == "FLOW_CONTROL_ERROR"
    peer.send(connect(3))
    peer.wait(lambda p: p.status(3))
    assert peer.is_alive()


def test_before_our_settings_are_acknowledged_the_stream_window_is_64_kib(shared_driver):
    peer = Peer.dial(shared_driver("server", "app=9007").port)
    peer.auto_ack = False
    peer.send(PREFACE + frame("SETTINGS") + connect(1))
    peer.send(frame("DATA", 0, 1, b"x" * 16384) * 4)
    peer.wait(lambda p: p.reset_code(1))
    assert peer.reset_code(1) == "FLOW_CONTROL_ERROR"
    assert peer.is_alive()


def test_more_than_the_connection_window_ends_the_tunnel(driver):
    d = driver("server", "app=9007", "conn_window_bytes=100000")
    peer = client(d, connect(1), connect(3))
    peer.is_alive()
    peer.send(frame("DATA", 0, 1, b"x" * 100001))
    ended_with(peer, "FLOW_CONTROL_ERROR")


def test_a_stalled_reader_gets_no_credit_and_stops_nobody(shared_driver):
    d = shared_driver("server")
    peer = client(d, connect(1, "h:9007"), connect(3, "h:9003"))
    peer.is_alive()
    for _ in range(64):
        peer.send(frame("DATA", 0, 1, b"x" * 65536))
    assert peer.is_alive()
    for _ in range(20):
        before = len(peer.of("WINDOW_UPDATE", 3))
        for _ in range(32):
            peer.send(frame("DATA", 0, 3, b"y" * 65536))
        peer.wait(lambda p: len(p.of("WINDOW_UPDATE", 3)) > before)
    assert not peer.of("WINDOW_UPDATE", 1)
    credit = sum(struct.unpack(">I", f.payload)[0] for f in peer.of("WINDOW_UPDATE", 0))
    assert credit > 40 << 20  # the connection's credit returns on receipt


def test_the_credit_of_padding_returns_though_nobody_reads(shared_driver):
    peer = client(shared_driver("server", "app=9007"), connect(1))
    peer.is_alive()
    peer.send(frame("DATA", 8, 1, b"\xff" + bytes(255)) * 4096)  # a quarter of the window, and not a byte of payload
    peer.wait(lambda p: p.of("WINDOW_UPDATE", 1))
    assert struct.unpack(">I", peer.of("WINDOW_UPDATE", 1)[0].payload)[0] == 1 << 20


def test_data_follows_the_window_of_the_stream(shared_driver):
    peer = Peer.dial(shared_driver("server", "app=9002").port)
    peer.send(PREFACE + settings(window=0) + connect(1))
    peer.is_alive()
    peer.send(frame("DATA", 0, 1, bytes(range(250)) * 4))
    peer.quiet(0.1)
    assert peer.data(1) == b""
    peer.send(window(1, 300))
    peer.wait(lambda p: len(p.data(1)) >= 300)
    peer.quiet(0.1)
    assert len(peer.data(1)) == 300
    peer.send(settings(window=65535))
    peer.wait(lambda p: len(p.data(1)) == 1000)
    assert peer.data(1) == bytes(range(250)) * 4


def test_a_window_may_become_negative(shared_driver):
    peer = Peer.dial(shared_driver("server", "app=9002").port)
    peer.send(PREFACE + settings(window=1000) + connect(1))
    peer.is_alive()
    peer.send(frame("DATA", 0, 1, b"z" * 3000))
    peer.wait(lambda p: len(p.data(1)) == 1000)
    peer.send(settings(window=100) + window(1, 899))
    peer.quiet(0.1)
    assert len(peer.data(1)) == 1000
    peer.send(window(1, 2))
    peer.wait(lambda p: len(p.data(1)) >= 1001)
    peer.quiet(0.1)
    assert len(peer.data(1)) == 1001


def test_ping_is_sent_and_its_absence_ends_the_tunnel(driver):
    d = driver("server", "app=9007", "ping_ms=300", "pong_ms=600")
    start = time.monotonic()
    peer = client(d, connect(1))
    peer.wait(lambda p: p.ended)
    took = time.monotonic() - start
    assert [f.payload for f in peer.of("PING")] == [rawh2.KEEPALIVE]
    assert 0.85 < took < 2 * SCALE
    ended_with(peer, "NO_ERROR", last=1)


def test_ping_that_is_answered_keeps_the_tunnel(driver):
    peer = client(driver("server", "app=9007", "ping_ms=100", f"pong_ms={int(500 * SCALE)}"), connect(1))
    for i in range(int(8 * SCALE)):  # longer than an answer may take
        peer.wait(lambda p: len(p.of("PING")) > i)
        peer.send(frame("PING", 1, 0, rawh2.KEEPALIVE))
    assert not peer.ended


def test_no_preface_and_no_request_have_deadlines(driver):
    d = driver("server", "preface_ms=200", "first_request_ms=400")
    silent, idle = Peer.dial(d.port), client(d)
    silent.auto_ack = False
    ended_with(silent, "NO_ERROR")
    ended_with(idle, "NO_ERROR")


def test_a_tunnel_that_had_a_request_may_be_idle(driver):
    peer = client(driver("server", "app=9002", f"first_request_ms={int(200 * SCALE)}"), connect(1, end=True))
    peer.quiet(0.6 * SCALE)
    assert peer.is_alive()


@pytest.mark.parametrize("answers", [True, False])
def test_drain_is_said_twice_with_a_ping_between(answers, driver):
    d = driver("server", "app=9002", f"drain_ms={int(500 * SCALE)}")
    peer = client(d, connect(1))
    peer.wait(lambda p: p.status(1))
    d.drain()
    peer.wait(lambda p: p.of("PING"))
    assert [f.payload.hex() for f in peer.of("GOAWAY")] == ["7fffffff00000000"]
    assert peer.of("PING")[0].payload == rawh2.DRAIN
    peer.send(connect(3))  # was under way
    peer.wait(lambda p: p.status(3))
    if answers:
        peer.send(frame("PING", 1, 0, rawh2.DRAIN))
    peer.wait(lambda p: len(p.of("GOAWAY")) == 2)
    assert peer.of("GOAWAY")[1].payload.hex() == "0000000300000000"
    peer.send(connect(5))  # too late: no answer
    peer.send(frame("DATA", 1, 1, b"still here") + frame("DATA", 1, 3, b"and here"))
    peer.wait(lambda p: p.ended)
    assert (peer.data(1), peer.data(3)) == (b"still here", b"and here")
    assert not [f for f in peer.frames if f.stream == 5]
    assert d.line().startswith("app ok")


@pytest.mark.parametrize("late", [
    reset(5, "CANCEL"), frame("DATA", 0, 5, b"late"), window(5, 1 << 20), headers(5, [("x", "y")], end=True)])
def test_what_follows_a_request_that_came_too_late_disturbs_nobody(late, driver):
    d = driver("server", "app=9002", f"drain_ms={int(500 * SCALE)}")
    peer = client(d, connect(1))
    peer.wait(lambda p: p.status(1))
    d.drain()
    peer.wait(lambda p: p.of("PING"))
    peer.send(frame("PING", 1, 0, rawh2.DRAIN))
    peer.wait(lambda p: len(p.of("GOAWAY")) == 2)
    peer.send(connect(5) + late)  # crossed with the second GOAWAY
    assert peer.is_alive()
    peer.send(frame("DATA", 1, 1, b"still here"))
    peer.wait(lambda p: p.ended)
    assert peer.data(1) == b"still here"
    assert not [f for f in peer.frames if f.stream == 5]


def test_drain_of_an_idle_tunnel_ends_it(driver):
    d = driver("server")
    peer = client(d)
    peer.is_alive()
    d.drain()
    peer.wait(lambda p: p.of("PING"))
    peer.send(frame("PING", 1, 0, rawh2.DRAIN))
    peer.wait(lambda p: p.ended)
    assert [f.payload.hex() for f in peer.of("GOAWAY")] == ["7fffffff00000000", "0000000000000000"]


def test_the_end_of_the_tunnel_is_no_clean_end_of_its_streams(driver):
    d = driver("server")
    peer = client(d, connect(1, "h:9003"))
    peer.send(frame("DATA", 0, 1, b"half of it"))
    peer.is_alive()
    peer.close()
    assert d.line().startswith("app ERR_TRUNCATED")


@pytest.mark.parametrize("code", ["NO_ERROR", "CANCEL", "STREAM_CLOSED", "REFUSED_STREAM", 99])
def test_a_reset_is_no_clean_end(code, driver):
    d = driver("server")
    peer = client(d, connect(1, "h:9003"))
    peer.send(frame("DATA", 0, 1, b"half of it"))
    peer.is_alive()
    peer.send(reset(1, code))
    assert d.line().startswith("app ERR_H2_RESET")
    assert peer.is_alive()


def test_memory_that_runs_short_shrinks_windows_and_then_resets_hoarders(driver):
    d = driver("server", "budget=1000000")
    peer = client(d, connect(1, "h:9007"), connect(3, "h:9003"))
    peer.is_alive()
    peer.send(frame("DATA", 0, 1, b"x" * 600000))
    peer.is_alive()
    peer.send(connect(5, "h:9007"))
    peer.wait(lambda p: len([f for f in p.of("SETTINGS") if not f.ack]) == 2)
    smaller = struct.unpack(">HI", [f for f in peer.of("SETTINGS") if not f.ack][1].payload)
    assert smaller[0] == 4 and 65535 <= smaller[1] < 4 << 20
    # The second frame comes when memory is short; of the first all may have come before, in a piece with what made it so.
    peer.send(frame("DATA", 0, 5, b"x" * 500000) + frame("DATA", 0, 5, b"x"))
    peer.wait(lambda p: p.reset_code(5))
    assert peer.reset_code(5) == "ENHANCE_YOUR_CALM"
    peer.send(frame("DATA", 1, 3, b"fine"))
    assert peer.is_alive()
    assert d.line().startswith("app ok")
