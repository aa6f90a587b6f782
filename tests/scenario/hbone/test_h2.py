# SPDX-License-Identifier: Apache-2.0
"""python-h2 as the peer, in both roles: another implementation of HTTP/2, with a dynamic HPACK table."""
import hashlib
import select
import socket
import threading

import h2.config
import h2.connection
import h2.events
import h2.settings
import pytest

from lib.wait import SCALE
from test_client import AUTHORITY, app, end_of

CHUNK = 1 << 16


class Endpoint:
    """An h2 connection over a socket; give it bytes to send and it keeps to the windows."""

    def __init__(self, sock, client):
        self.sock = sock
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(
            client_side=client, header_encoding="utf-8",  # it knows no CONNECT without :path
            validate_inbound_headers=False, validate_outbound_headers=False))
        self.received = {}
        self.ended = set()
        self.resets = {}
        self.headers = {}
        self.pending = {}  # stream -> [bytes left, end]
        self.gone = None
        self.closed = False
        self.holding = set()  # streams whose credit is kept back

    def start(self, window=4 << 20, frame=1 << 20):
        self.h2.local_settings = h2.settings.Settings(client=self.h2.config.client_side, initial_values={
            h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: window, h2.settings.SettingCodes.MAX_FRAME_SIZE: frame})
        self.h2.initiate_connection()
        self.h2.increment_flow_control_window(15 << 20)
        self.pump_out()

    def send(self, stream, data, end=False):
        self.pending[stream] = [data, end]

    def pump_out(self):
        for stream, item in list(self.pending.items()):
            while item[0]:
                room = min(self.h2.local_flow_control_window(stream), self.h2.max_outbound_frame_size, len(item[0]))
                if room <= 0:
                    break
                self.h2.send_data(stream, item[0][:room])
                item[0] = item[0][room:]
            if not item[0]:
                if item[1]:
                    self.h2.end_stream(stream)
                del self.pending[stream]
        data = self.h2.data_to_send()
        if data:
            self.sock.sendall(data)

    def handle(self, event):
        if isinstance(event, (h2.events.RequestReceived, h2.events.ResponseReceived)):
            self.headers[event.stream_id] = dict(event.headers)
        elif isinstance(event, h2.events.DataReceived):
            self.received.setdefault(event.stream_id, []).append(event.data)
            if event.stream_id not in self.holding and event.flow_controlled_length:
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.StreamEnded):
            self.ended.add(event.stream_id)
        elif isinstance(event, h2.events.StreamReset):
            self.resets[event.stream_id] = event.error_code
        elif isinstance(event, h2.events.ConnectionTerminated):
            self.gone = event.error_code

    def turn(self, seconds=5 * SCALE):
        self.pump_out()
        if not select.select([self.sock], [], [], seconds)[0]:
            raise AssertionError("nothing came")
        data = self.sock.recv(CHUNK * 4)
        self.closed = not data
        for event in self.h2.receive_data(data) if data else []:
            self.handle(event)
        self.pump_out()

    def until(self, condition):
        while not condition():
            assert not self.closed, "the connection ended"
            self.turn()

    def data(self, stream):
        return b"".join(self.received.get(stream, []))


def h2_client(driver, **kwargs):
    e = Endpoint(socket.create_connection(("127.0.0.1", driver.port)), True)
    e.start(**kwargs)
    return e


def connect_headers(port, i):
    return [(":method", "CONNECT"), (":authority", f"10.0.0.1:{port}"), ("baggage", f"k8s.namespace.name=n{i % 5}"),
            ("forwarded", 'for="10.0.0.9:1"'), ("x-same", "always the same value, so that it is indexed")]


@pytest.mark.parametrize("kwargs", [{}, {"window": 65535, "frame": 16384}, {"window": 1000, "frame": 16384}])
def test_h2_client_gets_its_bytes_back(kwargs, driver):
    size = 4 << 20 if kwargs.get("window") != 1000 else 200000
    body = bytes(range(251)) * (size // 251)
    e = h2_client(driver("server"), **kwargs)
    for i in range(3):
        e.h2.send_headers(1 + 2 * i, connect_headers(9002, i))
        e.send(1 + 2 * i, body, end=True)
    e.until(lambda: e.ended == {1, 3, 5})
    assert [e.data(s) == body for s in (1, 3, 5)] == [True] * 3
    assert e.headers[1][":status"] == "200"


def test_h2_client_opens_a_thousand_streams_one_after_the_other(driver):
    e = h2_client(driver("server"))
    for i in range(1000):
        stream = 1 + 2 * i
        e.h2.send_headers(stream, connect_headers(9002, i))
        e.send(stream, b"%d" % i, end=True)
        e.until(lambda: stream in e.ended)
        assert e.data(stream) == b"%d" % i


def test_stalled_readers_do_not_stop_their_siblings(driver):
    d = driver("server")
    e = h2_client(d, window=1 << 20)
    body = b"z" * (3 << 20)
    streams = [1 + 2 * i for i in range(100)]
    e.holding = set(streams[:10])
    for s in streams:
        e.h2.send_headers(s, connect_headers(9002, s))
    held = {}

    def credit_connection():
        for s in e.holding:
            got = len(e.data(s))
            if got > held.get(s, 0):
                e.h2.increment_flow_control_window(got - held.get(s, 0))
                held[s] = got

    for s in streams[:10]:
        e.send(s, body, end=True)
    for s in streams[10:]:
        e.send(s, body[:300000], end=True)
    while not set(streams[10:]) <= e.ended:
        e.turn()
        credit_connection()
    assert all(len(e.data(s)) == 300000 for s in streams[10:])
    assert all(len(e.data(s)) <= 1 << 20 for s in streams[:10])
    assert d.rss_kb() < 100 << 10
    kept, e.holding = e.holding, set()
    for s in kept:
        e.h2.increment_flow_control_window(len(e.data(s)), s)
    e.until(lambda: set(streams) <= e.ended)
    assert all(e.data(s) == body for s in kept)


class H2Server(threading.Thread):
    """Echoes, on one listening socket."""

    def __init__(self, **kwargs):
        super().__init__(daemon=True)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.kwargs = kwargs
        self.tunnels = 0
        self.start()

    def run(self):
        while True:
            sock = self.listener.accept()[0]
            self.tunnels += 1
            threading.Thread(target=self.serve, args=(sock,), daemon=True).start()

    def serve(self, sock):
        e = Endpoint(sock, False)
        answered, sent = set(), {}
        e.start(**self.kwargs)
        while not e.closed:
            try:
                e.turn(60)
            except (AssertionError, OSError):
                return
            for s in set(e.headers) - answered:
                e.h2.send_headers(s, [(":status", "200"), ("baggage", "service.name=h2")])
                answered.add(s)
            for s in answered & set(e.received) | answered & e.ended:
                if s not in e.pending:
                    data = e.data(s)[sent.get(s, 0):]
                    sent[s] = sent.get(s, 0) + len(data)
                    e.send(s, data, end=s in e.ended)
                    e.ended.discard(s)
            e.pump_out()


@pytest.mark.parametrize("kwargs", [{}, {"window": 65535, "frame": 16384}])
def test_h2_server_echoes(kwargs, driver):
    server = H2Server(**kwargs)
    d = driver("client", server.port, AUTHORITY)
    body = bytes(range(251)) * 8000
    results = []

    def one():
        a = app(d)
        a.settimeout(60 * SCALE)
        threading.Thread(target=lambda: (a.sendall(body), a.shutdown(socket.SHUT_WR)), daemon=True).start()
        data, end = end_of(a)
        results.append((hashlib.sha256(data).digest() == hashlib.sha256(body).digest(), end))

    threads = [threading.Thread(target=one) for _ in range(5)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert results == [(True, "FIN")] * 5
    assert server.tunnels == 1
