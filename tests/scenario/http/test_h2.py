# SPDX-License-Identifier: Apache-2.0
"""HTTP/2 against python-h2 in both roles, nghttp and curl."""
import json
import socket
import subprocess
import threading

import h2.config
import h2.connection
import h2.errors
import h2.events
import pytest

from conftest import program
from lib.wait import SCALE


class Peer:
    """A client of python-h2 over a blocking socket."""

    def __init__(self, sock):
        self.sock = sock
        self.sock.settimeout(10 * SCALE)
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        self.h2.initiate_connection()
        self.streams = {}
        self.ended = None
        self.send()

    def send(self):
        self.sock.sendall(self.h2.data_to_send())

    def request(self, method, path, body=None, more=()):
        stream = self.h2.get_next_available_stream_id()
        self.h2.send_headers(stream, [(":method", method), (":scheme", "https"), (":authority", "a"),
                                      (":path", path), *more], end_stream=body is None)
        self.streams[stream] = {"head": None, "body": b"", "trailers": None, "end": None}
        if body is not None:
            self.upload(stream, body)
        self.send()
        return stream

    def upload(self, stream, body):
        at = 0
        while at < len(body) and self.streams[stream]["end"] is None:
            room = min(self.h2.local_flow_control_window(stream), self.h2.max_outbound_frame_size, len(body) - at)
            if room == 0:
                self.turn()
                continue
            self.h2.send_data(stream, body[at:at + room])
            at += room
            self.send()
        if self.streams[stream]["end"] is None:
            self.h2.end_stream(stream)

    def turn(self):
        data = self.sock.recv(65536)
        if not data:
            self.ended = self.ended or "EOF"
            return
        for e in self.h2.receive_data(data):
            s = self.streams.get(getattr(e, "stream_id", None))
            if isinstance(e, h2.events.ResponseReceived):
                s["head"] = dict(e.headers)
            elif isinstance(e, h2.events.DataReceived):
                s["body"] += e.data
                if e.flow_controlled_length:
                    self.h2.acknowledge_received_data(e.flow_controlled_length, e.stream_id)
            elif isinstance(e, h2.events.TrailersReceived):
                s["trailers"] = dict(e.headers)
            elif isinstance(e, h2.events.StreamEnded):
                s["end"] = s["end"] or "ok"
            elif isinstance(e, h2.events.StreamReset):
                s["end"] = s["end"] or e.error_code
            elif isinstance(e, h2.events.ConnectionTerminated):
                self.ended = e.error_code
        self.send()

    def wait(self, *streams):
        while self.ended is None and any(self.streams[n]["end"] is None for n in streams):
            self.turn()
        return [self.streams[n] for n in streams]


@pytest.fixture(params=["clear", "tls"])
def peer(request, served, tls_context):
    sock = socket.create_connection(("127.0.0.1", served.h2 if request.param == "clear" else served.tls))
    if request.param == "tls":
        sock = tls_context("h2").wrap_socket(sock, server_hostname="localhost")
        assert sock.selected_alpn_protocol() == "h2"
    with sock:
        yield Peer(sock)


def test_requests_are_answered_side_by_side(peer):
    ids = [peer.request("GET", f"/echo?{i}") for i in range(20)]
    ids.append(peer.request("GET", "/stream"))
    *echoes, stream = peer.wait(*ids)
    for i, s in enumerate(echoes):
        assert s["head"][":status"] == "200"
        assert s["body"] == b"GET /echo?%d " % i
    assert stream["body"] == b"onetwothree"
    assert stream["trailers"] == {"x-sum": "11"}


def test_bulk_both_ways(peer):
    body = bytes(range(256)) * 3000
    up, down = peer.request("POST", "/echo", body), peer.request("GET", "/big")
    up, down = peer.wait(up, down)
    assert up["body"] == b"POST /echo " + body
    assert len(down["body"]) == 300000


def test_a_cut_answer_is_a_reset(peer):
    dropped, = peer.wait(peer.request("GET", "/drop"))
    assert dropped["end"] == h2.errors.ErrorCodes.INTERNAL_ERROR
    fine, = peer.wait(peer.request("GET", "/echo"))
    assert fine["end"] == "ok"


def test_an_early_answer_stops_an_upload_without_error(peer):
    early, = peer.wait(peer.request("POST", "/early", b"x" * 3000000))
    assert early["head"][":status"] == "200"
    assert early["end"] in ("ok", h2.errors.ErrorCodes.NO_ERROR)
    fine, = peer.wait(peer.request("GET", "/echo"))
    assert fine["end"] == "ok"


def test_who_ignores_the_offered_number_of_streams_loses_the_connection(peer):
    while not peer.h2.remote_settings.get(3):
        peer.turn()
    assert peer.h2.remote_settings[3] == 100
    for _ in range(130):
        peer.h2.remote_settings[3] = 1000  # python-h2 itself would refuse
        peer.h2.remote_settings.acknowledge()
        peer.request("GET", "/watch")
    while peer.ended is None:
        peer.turn()
    assert peer.ended == h2.errors.ErrorCodes.PROTOCOL_ERROR


def test_rapid_resets_end_the_connection(peer):
    try:
        for _ in range(2000):
            stream = peer.request("GET", "/watch")
            peer.h2.reset_stream(stream, h2.errors.ErrorCodes.CANCEL)
            peer.send()
        while peer.ended is None:
            peer.turn()
    except (BrokenPipeError, ConnectionResetError, OSError):
        pass
    try:
        while peer.ended is None:
            peer.turn()
    except OSError:
        return
    assert peer.ended in (h2.errors.ErrorCodes.ENHANCE_YOUR_CALM, "EOF")


def test_nghttp_and_curl_understand_it(served, root_pem):
    out = subprocess.run(["nghttp", "-v", f"http://127.0.0.1:{served.h2}/stream"], capture_output=True, text=True,
                         timeout=20, check=True).stdout
    assert "x-sum: 11" in out
    out = subprocess.run(["curl", "-sS", "--http2", "--cacert", root_pem, "-w", "%{http_version} %{http_code}",
                          "--resolve", f"localhost:{served.tls}:127.0.0.1", "-d", "hello",
                          f"https://localhost:{served.tls}/echo"],
                         capture_output=True, text=True, timeout=20, check=True).stdout
    assert out == "POST /echo hello2 200"


class ForeignServer:
    """python-h2 as server: answers by what the path asks for."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self):
        try:
            self.serve_one()
        except OSError:
            pass  # the client has gone

    def serve_one(self):
        sock, _ = self.listener.accept()
        with sock:
            c = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding="utf-8"))
            c.initiate_connection()
            sock.sendall(c.data_to_send())
            heads, bodies = {}, {}
            while data := sock.recv(65536):
                for e in c.receive_data(data):
                    if isinstance(e, h2.events.RequestReceived):
                        heads[e.stream_id], bodies[e.stream_id] = dict(e.headers), b""
                    elif isinstance(e, h2.events.DataReceived):
                        bodies[e.stream_id] += e.data
                        c.acknowledge_received_data(e.flow_controlled_length, e.stream_id)
                    elif isinstance(e, h2.events.StreamEnded):
                        self.answer(c, e.stream_id, heads[e.stream_id], bodies[e.stream_id])
                sock.sendall(c.data_to_send())

    @staticmethod
    def answer(c, stream, head, body):
        path = head[":path"]
        if path == "/reset":
            c.reset_stream(stream, h2.errors.ErrorCodes.REFUSED_STREAM)
        elif path == "/goaway":
            c.close_connection(last_stream_id=0)
        elif path == "/interim":
            c.send_headers(stream, [(":status", "103"), ("link", "x")])
            c.send_headers(stream, [(":status", "200")], end_stream=True)
        else:
            c.send_headers(stream, [(":status", "200"), ("content-type", "application/json")])
            c.send_data(stream, json.dumps({"head": head, "length": len(body)}).encode(), end_stream=True)


def fetch(*args):
    server = ForeignServer()
    done = subprocess.run([program("http", "http_driver"), "fetch", str(server.port), *args],
                          capture_output=True, text=True, timeout=30, check=False)
    head, _, body = done.stdout.partition("\n\n")
    return done.returncode, head.splitlines(), body


def test_our_client_speaks_to_a_foreign_server():
    code, head, body = fetch("PUT", "/a?b", "hello " * 20000)
    assert code == 0 and "status 200" in head and "content-type: application/json" in head
    seen = json.loads(body)
    assert seen["head"] == {":method": "PUT", ":scheme": "http", ":authority": "localhost", ":path": "/a?b"}
    assert seen["length"] == 6 * 20000


def test_our_client_skips_interim_answers():
    code, head, _ = fetch("GET", "/interim")
    assert code == 0 and "status 200" in head and "link: x" not in head


def test_our_client_reports_a_refusal_and_a_goodbye():
    assert fetch("GET", "/reset")[0] == 1
    assert fetch("GET", "/goaway")[0] == 1
