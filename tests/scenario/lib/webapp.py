# SPDX-License-Identifier: Apache-2.0
"""A web application of a pod that knows nothing of the mesh: HTTP/1.1 by h11 on port 8080, HTTP/2 with prior
knowledge by python-h2 on port 8081, a line echo that speaks first on port 8082; on port 8083 HTTP/2 without
WebSocket, on port 8084 that or HTTP/1.1 by the first bytes. What it does is said by the path:

    /echo...            200 with what it got, as JSON; the body's length and hash
    /status/N           that status
    /flaky/N/KEY        503 for the first N requests with KEY, then 200
    /delay/MS           200 after so long
    /bytes/N            a body of N bytes
    /events...          an event, and ten a second until the client has gone (HTTP/1.1)
    /stream/N           a body of N bytes that is never in memory (HTTP/1.1)
    /digest             reads a body of any size, answers its hash and size
    /trailers           a chunked body and trailers
    /hints              103, then 200
    /early              200 at once, the body of the request unread
    /cut                half of a body, then the connection goes
    /reset              no answer: the connection is reset
    /garbage            an answer that is none
    /ws                 a WebSocket that echoes; /ws/no is refused with 403 (HTTP/2)
    /seen               how many requests there were, by path
"""
import hashlib
import json
import socket
import struct
import sys
import threading
import time
import urllib.parse

import h11
import h2.config
import h2.connection
import h2.events
import hyperframe.frame

H1, H2C, HELLO, H2C_BARE, BOTH = 8080, 8081, 8082, 8083, 8084
_flaky, _seen, _lock = {}, {}, threading.Lock()
NAME = sys.argv[1] if len(sys.argv) > 1 else "?"


def note(path):
    with _lock:
        _seen[path] = _seen.get(path, 0) + 1


def answer(method, target, headers, body):
    """(status, headers, body) of what needs no trick."""
    path = urllib.parse.urlsplit(target).path
    parts = path.strip("/").split("/")
    if parts[0] == "status":
        return int(parts[1]), [], b"" if parts[1] in ("204", "304") else b"status as asked"
    if parts[0] == "flaky":
        with _lock:
            count = _flaky[parts[2]] = _flaky.get(parts[2], 0) + 1
        return (503, [], b"not yet") if count <= int(parts[1]) else (200, [], json.dumps({"try": count, "pod": NAME, "body": len(body), "headers": headers}).encode())
    if parts[0] == "delay":
        time.sleep(int(parts[1]) / 1000)
        return 200, [], b"late"
    if parts[0] == "bytes":
        return 200, [("content-type", "application/octet-stream")], b"x" * int(parts[1])
    if parts[0] == "seen":
        return 200, [], json.dumps(_seen).encode()
    return 200, [("content-type", "application/json"), ("server", "app"), ("x-app", "yes")], json.dumps({
        "pod": NAME, "method": method, "target": target, "headers": headers, "body": len(body),
        "hash": hashlib.sha256(body).hexdigest()}).encode()


class H1Connection:
    """One HTTP/1.1 connection, request after request."""

    def __init__(self, sock):
        self.sock, self.conn = sock, h11.Connection(h11.SERVER)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def event(self):
        while True:
            event = self.conn.next_event()
            if event is not h11.NEED_DATA:
                return event
            if self.conn.they_are_waiting_for_100_continue:
                self.send(h11.InformationalResponse(status_code=100, headers=[]))
            self.conn.receive_data(self.sock.recv(262144))

    def send(self, event):
        data = self.conn.send(event)
        if data:
            self.sock.sendall(data)

    def whole(self, status, headers, body):
        headers = list(headers) + ([("content-length", str(len(body)))] if status >= 200 and status != 204 else [])
        self.send(h11.Response(status_code=status, headers=headers))
        if body:
            self.send(h11.Data(data=body))
        self.send(h11.EndOfMessage())

    def run(self):
        while True:
            request = self.event()
            if not isinstance(request, h11.Request):
                return
            target = request.target.decode()
            note(target.split("?")[0])
            if not self.serve(request, target):
                return
            if self.conn.our_state is h11.MUST_CLOSE or self.conn.their_state is not h11.DONE:
                return
            self.conn.start_next_cycle()

    def serve(self, request, target):
        if target.startswith("/early"):
            self.whole(200, [], b"early")
            self.sock.shutdown(socket.SHUT_WR)  # what is unread resets a socket that is closed, and may overtake the answer
            while self.sock.recv(262144):
                pass
            return False
        if target.startswith("/ws"):
            return self.websocket(request)
        if target.startswith("/digest"):
            return self.digest()
        body = b""
        while isinstance(event := self.event(), h11.Data):
            body += event.data
        headers = [[k.decode(), v.decode()] for k, v in request.headers]
        if not isinstance(event, h11.EndOfMessage):
            return False
        headers += [["trailer:" + k.decode(), v.decode()] for k, v in event.headers]
        trick = getattr(self, "do_" + target.strip("/").split("/")[0].split("?")[0], None)
        if trick:
            return trick(request)
        method = request.method.decode()
        status, more, out = answer(method, target, headers, body)
        if method == "HEAD":
            self.send(h11.Response(status_code=status, headers=list(more) + [("content-length", str(len(out)))]))
            self.send(h11.EndOfMessage())
        else:
            self.whole(status, more, out)
        return True

    def digest(self):
        h, n = hashlib.sha256(), 0
        while isinstance(event := self.event(), h11.Data):
            h.update(event.data)
            n += len(event.data)
        self.whole(200, [], f"{h.hexdigest()} {n}".encode())
        return True

    def do_trailers(self, _):
        self.send(h11.Response(status_code=200, headers=[("transfer-encoding", "chunked"), ("trailer", "x-sum")]))
        self.send(h11.Data(data=b"body"))
        self.send(h11.EndOfMessage(headers=[("x-sum", "42"), ("grpc-status", "0")]))
        return True

    def do_hints(self, _):
        self.send(h11.InformationalResponse(status_code=103, headers=[("link", "</style.css>")]))
        self.whole(200, [], b"hinted")
        return True

    def do_stream(self, request):
        left, piece = int(request.target.decode().rsplit("/", 1)[1]), b"s" * (1 << 20)
        self.send(h11.Response(status_code=200, headers=[("content-length", str(left))]))
        while left > 0:
            self.send(h11.Data(data=piece[:left]))
            left -= min(left, len(piece))
        self.send(h11.EndOfMessage())
        return True

    def do_events(self, _):
        self.send(h11.Response(status_code=200, headers=[("content-type", "text/event-stream"), ("transfer-encoding", "chunked")]))
        self.sock.settimeout(0.1)
        for n in range(3600):
            self.send(h11.Data(data=f"data: {n}\n\n".encode()))
            try:
                if self.sock.recv(1) == b"":
                    break
            except TimeoutError:
                pass
        return False

    def do_cut(self, _):
        self.send(h11.Response(status_code=200, headers=[("content-length", "1000")]))
        self.send(h11.Data(data=b"x" * 500))
        return False

    def do_garbage(self, _):
        self.sock.sendall(b"220 ready\r\n\r\n")
        return False

    def do_reset(self, _):
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return False

    def websocket(self, request):
        key = dict(request.headers)[b"sec-websocket-key"].decode()
        digest = hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()
        import base64  # pylint: disable=import-outside-toplevel
        while not isinstance(self.event(), (h11.EndOfMessage, h11.Data)) and self.conn.their_state is not h11.MIGHT_SWITCH_PROTOCOL:
            pass
        self.send(h11.InformationalResponse(status_code=101, headers=[
            ("upgrade", "websocket"), ("connection", "upgrade"), ("sec-websocket-accept", base64.b64encode(digest).decode())]))
        rest = self.conn.trailing_data[0]
        if rest:
            self.sock.sendall(rest)
        while octets := self.sock.recv(65536):
            self.sock.sendall(octets)
        return False


class H2Connection:
    """One HTTP/2 connection; streams are answered when they are whole, each in a thread. WebSocket by extended CONNECT
    (RFC 8441), said late, so that who does not wait for it is found out."""
    websockets = True

    def __init__(self, sock):
        self.sock, self.lock = sock, threading.RLock()
        self.conn = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding="utf-8"))
        self.streams, self.sockets = {}, set()
        self.window = threading.Condition(self.lock)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def flush(self):
        with self.lock:
            data = self.conn.data_to_send()
            if data:
                self.sock.sendall(data)

    def run(self):
        if self.websockets:
            time.sleep(0.02)
            self.conn.local_settings = h2.settings.Settings(client=False, initial_values={
                h2.settings.SettingCodes.ENABLE_CONNECT_PROTOCOL: 1})
        with self.lock:
            self.conn.initiate_connection()
        self.flush()
        while octets := self.sock.recv(262144):
            with self.lock:
                for event in self.conn.receive_data(octets):
                    self.event(event)
                self.window.notify_all()
            self.flush()

    def event(self, event):
        if isinstance(event, h2.events.RequestReceived):
            self.streams[event.stream_id] = [event.headers, b"", []]
            if "expect" in dict(event.headers):
                self.conn.send_headers(event.stream_id, [(":status", "100")])
            if dict(event.headers).get(":protocol") == "websocket":
                self.open_websocket(event.stream_id, dict(event.headers))
        elif isinstance(event, h2.events.DataReceived):
            if event.stream_id in self.sockets:
                self.conn.send_data(event.stream_id, event.data)
            elif event.stream_id in self.streams:
                self.streams[event.stream_id][1] += event.data
            self.conn.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.TrailersReceived):
            self.streams[event.stream_id][2] = event.headers
        elif isinstance(event, h2.events.StreamEnded) and event.stream_id in self.sockets:
            self.conn.end_stream(event.stream_id)
        elif isinstance(event, h2.events.StreamEnded) and event.stream_id in self.streams:
            threading.Thread(target=self.serve, args=(event.stream_id,), daemon=True).start()

    def open_websocket(self, stream, head):
        """Anything but what RFC 8441 says is an error of the stream."""
        note(head[":path"])
        del self.streams[stream]
        if head[":method"] != "CONNECT" or "sec-websocket-key" in head or head.get("sec-websocket-version") != "13":
            self.conn.reset_stream(stream, 1)
        elif head[":path"] == "/ws/no":
            self.conn.send_headers(stream, [(":status", "403"), ("content-length", "2")])
            self.conn.send_data(stream, b"no", end_stream=True)
        else:
            self.sockets.add(stream)
            self.conn.send_headers(stream, [(":status", "200"), ("sec-websocket-protocol", "echo")])

    def serve(self, stream):
        headers, body, trailers = self.streams.pop(stream)
        pseudo = dict(headers)
        target = pseudo[":path"]
        note(target.split("?")[0])
        plain = [[k, v] for k, v in headers if not k.startswith(":")] + [["trailer:" + k, v] for k, v in trailers]
        grpc = dict(plain).get("content-type", "").startswith("application/grpc")
        if target.startswith("/reset"):
            with self.lock:
                self.conn.reset_stream(stream, 2)
            self.flush()
            return
        if target.startswith("/garbage"):
            with self.lock:
                head = hyperframe.frame.HeadersFrame(stream, flags=["END_HEADERS", "END_STREAM"])
                head.data = self.conn.encoder.encode([(":status", "2")])
                self.sock.sendall(head.serialize())
            return
        if target.startswith("/hints"):
            with self.lock:
                self.conn.send_headers(stream, [(":status", "103"), ("link", "</style.css>")])
            self.send(stream, 200, [], b"hinted", None)
            return
        status, more, out = answer(pseudo[":method"], target, plain, body)
        if pseudo[":method"] == "HEAD":
            more, out = [*more, ("content-length", str(len(out)))], b""
        if grpc:
            more, out = [("content-type", "application/grpc")], body
        self.send(stream, status, more, out, [("grpc-status", "0"), ("grpc-message", "fine")] if grpc else None)

    def send(self, stream, status, headers, body, trailers):
        with self.lock:
            self.conn.send_headers(stream, [(":status", str(status)), *headers], end_stream=not body and not trailers)
        self.flush()
        while body:
            with self.lock:
                room = min(self.conn.local_flow_control_window(stream), self.conn.max_outbound_frame_size, len(body))
                if room <= 0:
                    self.window.wait(0.05)
                    continue
                self.conn.send_data(stream, body[:room], end_stream=room == len(body) and not trailers)
                body = body[room:]
            self.flush()
        if trailers:
            with self.lock:
                self.conn.send_headers(stream, trailers, end_stream=True)
            self.flush()


class BareH2Connection(H2Connection):
    websockets = False


def either(sock):
    """HTTP/2 without WebSocket, or HTTP/1.1."""
    return (BareH2Connection if sock.recv(3, socket.MSG_PEEK) == b"PRI" else H1Connection)(sock)


class Hello:
    """Speaks first, then echoes."""

    def __init__(self, sock):
        self.sock = sock

    def run(self):
        self.sock.sendall(f"hello from {NAME}\n".encode())
        while octets := self.sock.recv(65536):
            self.sock.sendall(octets)


def one(kind, sock):
    try:
        kind(sock).run()
    except (OSError, h11.ProtocolError, h2.exceptions.ProtocolError, KeyError):
        pass
    finally:
        sock.close()


def listen(port):
    listener = socket.socket(socket.AF_INET6)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("::", port))
    listener.listen(512)
    return listener


def serve(listener, kind):
    while True:
        sock, _ = listener.accept()
        threading.Thread(target=one, args=(kind, sock), daemon=True).start()


def main():
    for port, kind in ((H1, H1Connection), (H2C, H2Connection), (HELLO, Hello), (H2C_BARE, BareH2Connection), (BOTH, either)):
        threading.Thread(target=serve, args=(listen(port), kind), daemon=True).start()
    print("serving", flush=True)
    while True:
        time.sleep(3600)


if __name__ == "__main__":
    main()
