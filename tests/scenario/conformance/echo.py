# SPDX-License-Identifier: Apache-2.0
"""The backend of the conformance cases: says what it was asked.

    3000  HTTP/1.1    3001  HTTP/2 with prior knowledge, gRPC too

    echo.py POD LOGFILE

Any path is answered with a JSON object of the request. ?delay=1s waits first, /status/NNN answers with that status,
/retry/...?uuid=U&succeedAfter=N[&responseCode=C][&delayRetry=D] fails N times (without C by a reset), /ws echoes
WebSocket frames. A header X-Echo-Set-Header ("name:value,name:value") is what the response shall carry. Each
request's target is a line of LOGFILE.
"""
import base64
import hashlib
import http.server
import json
import re
import socket
import struct
import sys
import threading
import time
import urllib.parse

import h2.config
import h2.connection
import h2.events

POD, LOG = sys.argv[1], sys.argv[2]
WEBSOCKET_KEY = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 4.2.2
_failed, _lock = {}, threading.Lock()


class Reset(Exception):
    """The connection is to be reset."""


def log(target):
    with _lock, open(LOG, "a", encoding="latin-1") as f:
        f.write(target + "\n")


def seconds(text):
    number, unit = re.fullmatch(r"(\d+)(ms|s)", text).groups()
    return int(number) / (1000 if unit == "ms" else 1)


def fail_for_a_while(query):
    """The status of a /retry path; 200 once it has failed often enough."""
    with _lock:
        count = _failed[query["uuid"]] = _failed.get(query["uuid"], 0) + 1
        if count > int(query["succeedAfter"]):
            return 200
        time.sleep(seconds(query.get("delayRetry", "0s")))
    if "responseCode" not in query:
        raise Reset
    return int(query["responseCode"])


def status_of(target):
    path, _, rest = target.partition("?")
    query = dict(urllib.parse.parse_qsl(rest))
    if "delay" in query:
        time.sleep(seconds(query["delay"]))
    if "succeedAfter" in query:
        return fail_for_a_while(query)
    return int(path.rpartition("/")[2]) if path.startswith("/status/") else 200


def answer(method, target, host, protocol, headers):
    """(status, header list, body)"""
    log(target)
    fields = {}
    for name, value in headers:
        fields.setdefault(name.lower(), []).append(value)
    body = json.dumps({"pod": POD, "path": target, "host": host, "method": method, "protocol": protocol, "headers": fields})
    extra = []
    for wish in ",".join(fields.get("x-echo-set-header", [])).split(","):
        name, colon, value = wish.partition(":")
        if colon:
            extra.append((name.strip(), value.strip()))
    return status_of(target), extra, body.encode() + b"\n"


class Handler(http.server.BaseHTTPRequestHandler):
    """HTTP/1.1."""
    protocol_version = "HTTP/1.1"

    def handle_any(self):
        self.rfile.read(int(self.headers.get("content-length", 0)))
        if self.headers.get("transfer-encoding"):
            self.read_chunks()
        if self.path.startswith("/ws") and "websocket" in self.headers.get("upgrade", "").lower():
            self.websocket()
            return
        try:
            status, extra, body = answer(self.command, self.path, self.headers.get("host"), self.request_version,
                                         self.headers.items())
        except Reset:
            self.close_connection = True
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
            return
        self.send_response(status)
        for name, value in [*extra, ("content-type", "application/json"), ("content-length", str(len(body))),
                            ("connection", "x-back"), ("x-back", "1"), ("keep-alive", "timeout=5")]:
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def read_chunks(self):
        while size := int(self.rfile.readline(), 16):
            self.rfile.read(size + 2)
        while self.rfile.readline() not in (b"\r\n", b""):
            pass

    def websocket(self):
        """Echoes frames until the client closes."""
        key = hashlib.sha1(self.headers["sec-websocket-key"].encode() + WEBSOCKET_KEY).digest()
        self.wfile.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                         b"Sec-WebSocket-Accept: " + base64.b64encode(key) + b"\r\n\r\n")
        self.close_connection = True
        while head := self.rfile.read(2):
            mask, octets = self.rfile.read(4), b""
            octets = bytes(o ^ mask[i % 4] for i, o in enumerate(self.rfile.read(head[1] & 127)))
            self.wfile.write(bytes([head[0], len(octets)]) + octets)
            if head[0] & 15 == 8:
                return

    def log_message(self, *_):
        pass


for name in ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"):
    setattr(Handler, f"do_{name}", Handler.handle_any)


class H2:
    """One HTTP/2 connection; a thread a request."""

    def __init__(self, sock):
        self.sock, self.lock = sock, threading.Lock()
        self.conn = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding="utf-8"))

    def flush(self):
        self.sock.sendall(self.conn.data_to_send())

    def serve(self):
        with self.lock:
            self.conn.initiate_connection()
            self.flush()
        heads = {}
        while octets := self.sock.recv(65536):
            with self.lock:
                events = self.conn.receive_data(octets)
                for event in events:
                    if isinstance(event, h2.events.RequestReceived):
                        heads[event.stream_id] = event.headers
                    elif isinstance(event, h2.events.DataReceived):
                        self.conn.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                self.flush()
            for event in events:
                if isinstance(event, h2.events.StreamEnded):
                    threading.Thread(target=self.respond, args=(event.stream_id, heads.pop(event.stream_id)), daemon=True).start()

    def respond(self, stream, head):
        pseudo = {n: v for n, v in head if n.startswith(":")}
        fields = [(n, v) for n, v in head if not n.startswith(":")]
        try:
            status, extra, body = answer(pseudo[":method"], pseudo[":path"], pseudo[":authority"], "HTTP/2.0", fields)
        except Reset:
            with self.lock:
                self.conn.reset_stream(stream)
                self.flush()
            return
        grpc = any(n == "content-type" and v.startswith("application/grpc") for n, v in fields)
        try:
            with self.lock:
                self.send(stream, status, extra, body, grpc)
        except (h2.exceptions.StreamClosedError, OSError):
            pass  # the other side has given up

    def send(self, stream, status, extra, body, grpc):
        kind = "application/grpc" if grpc else "application/json"
        if grpc:
            body = b"\0" + struct.pack(">I", len(body)) + body
        self.conn.send_headers(stream, [(":status", str(status)), ("content-type", kind), *((n.lower(), v) for n, v in extra)])
        self.conn.send_data(stream, body, end_stream=not grpc)
        if grpc:
            self.conn.send_headers(stream, [("grpc-status", "0")], end_stream=True)
        self.flush()


def serve_h2(sock):
    try:
        H2(sock).serve()
    except (OSError, h2.exceptions.ProtocolError):
        pass
    finally:
        sock.close()


def listen(port):
    sock = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=512)
    return sock


def accept_h2():
    sock = listen(3001)
    while True:
        threading.Thread(target=serve_h2, args=(sock.accept()[0],), daemon=True).start()


class Server(http.server.ThreadingHTTPServer):
    """Over both families."""
    address_family = socket.AF_INET6
    request_queue_size = 512

    def handle_error(self, request, client_address):
        pass


if __name__ == "__main__":
    threading.Thread(target=accept_h2, daemon=True).start()
    server = Server(("::", 3000), Handler)
    print("serving", flush=True)
    server.serve_forever()
