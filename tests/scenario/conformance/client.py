# SPDX-License-Identifier: Apache-2.0
"""The client of the conformance cases, inside a pod: a JSON request a line in, a JSON answer a line out.

    {"url": [host, port], "protocol": "h1" | "h2", "method": ..., "path": ..., "authority": ..., "headers": {...},
     "grpc": false, "times": 1}
    -> a list of {"status", "headers": [[name, value]], "body", "trailers": [[name, value]]} or {"error": ...}
"""
import base64
import http.client
import json
import os
import socket
import struct
import sys
from concurrent.futures import ThreadPoolExecutor

import h2.config
import h2.connection
import h2.events

TIMEOUT = 10
HOP = {"Connection": "x-hop, keep-alive", "X-Hop": "1", "Keep-Alive": "timeout=5", "Proxy-Connection": "keep-alive"}


def over_h1(ask):
    conn = http.client.HTTPConnection(*ask["url"], timeout=TIMEOUT)
    try:
        conn.putrequest(ask["method"], ask["path"], skip_host=True, skip_accept_encoding=True)
        conn.putheader("Host", ask["authority"])
        for name, value in {**ask["headers"], **HOP}.items():
            conn.putheader(name, value)
        conn.endheaders()
        answer = conn.getresponse()
        return {"status": answer.status, "headers": answer.getheaders(), "body": answer.read().decode("latin-1"), "trailers": []}
    finally:
        conn.close()


def over_h2(ask):
    conn = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="latin-1"))
    with socket.create_connection(tuple(ask["url"]), TIMEOUT) as sock:
        conn.initiate_connection()
        fields = [(n.lower(), v) for n, v in ask["headers"].items()]
        if ask["grpc"]:
            fields += [("content-type", "application/grpc"), ("te", "trailers")]
        conn.send_headers(1, [(":method", ask["method"]), (":scheme", "http"), (":authority", ask["authority"]),
                              (":path", ask["path"]), *fields], end_stream=not ask["grpc"])
        if ask["grpc"]:
            conn.send_data(1, b"\0" + struct.pack(">I", 0), end_stream=True)
        return read_h2(conn, sock)


def read_h2(conn, sock):
    found = {"status": 0, "headers": [], "body": "", "trailers": []}
    while True:
        sock.sendall(conn.data_to_send())
        octets = sock.recv(65536)
        if not octets:
            return {"error": "the connection ended"}
        for event in conn.receive_data(octets):
            if isinstance(event, h2.events.ResponseReceived):
                found["status"] = int(dict(event.headers)[":status"])
                found["headers"] = [(n, v) for n, v in event.headers if not n.startswith(":")]
            elif isinstance(event, h2.events.TrailersReceived):
                found["trailers"] = event.headers
            elif isinstance(event, h2.events.DataReceived):
                found["body"] += event.data.decode("latin-1")
                conn.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, h2.events.StreamReset):
                return {"error": f"reset {event.error_code}"}
            elif isinstance(event, h2.events.StreamEnded):
                return found


def frame(opcode, octets):
    """Masked with zeroes (RFC 6455 5.2)."""
    return bytes([0x80 | opcode, 0x80 | len(octets)]) + bytes(4) + octets


def exchange_frames(ask, send, source):
    """Texts and binary frames in turn; of each the one that came back, if it is of the same kind."""
    frames = []
    for i, octets in enumerate(f.encode() for f in ask["frames"]):
        opcode = 1 + i % 2
        send(frame(opcode, octets))
        head = source(2)
        frames.append(source(head[1]).decode() if head[0] == 0x80 | opcode else f"opcode {head[0]:#x}")
    return frames


class H2WebSocket:
    """One over HTTP/2 (RFC 8441). python-h2 knows it as a setting only."""

    def __init__(self, ask, sock):
        self.sock, self.data, self.status = sock, b"", 0
        self.conn = h2.connection.H2Connection(h2.config.H2Configuration(
            header_encoding="latin-1", validate_outbound_headers=False, normalize_outbound_headers=False))
        self.conn.initiate_connection()
        self.pump(lambda: self.conn.remote_settings.enable_connect_protocol)
        self.conn.send_headers(1, [(":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "http"),
                                   (":authority", ask["authority"]), (":path", ask["path"]), ("sec-websocket-version", "13")])
        self.pump(lambda: self.status)

    def pump(self, done):
        while not done():
            self.sock.sendall(self.conn.data_to_send())
            octets = self.sock.recv(65536)
            if not octets:
                raise OSError("the connection ended")
            for event in self.conn.receive_data(octets):
                if isinstance(event, h2.events.ResponseReceived):
                    self.status = int(dict(event.headers)[":status"])
                elif isinstance(event, h2.events.DataReceived):
                    self.data += event.data

    def send(self, octets):
        self.conn.send_data(1, octets)

    def read(self, count):
        self.pump(lambda: len(self.data) >= count)
        out, self.data = self.data[:count], self.data[count:]
        return out


def h2_websocket(ask):
    with socket.create_connection(tuple(ask["url"]), TIMEOUT) as sock:
        ws = H2WebSocket(ask, sock)
        frames = exchange_frames(ask, ws.send, ws.read) if ws.status == 200 else []
        return {"status": ws.status, "headers": [], "body": "", "trailers": [], "frames": frames}


def websocket(ask):
    """The answer's frames."""
    key = base64.b64encode(os.urandom(16)).decode()
    with socket.create_connection(tuple(ask["url"]), TIMEOUT) as sock:
        sock.sendall(f"GET {ask['path']} HTTP/1.1\r\nHost: {ask['authority']}\r\nUpgrade: websocket\r\n"
                     f"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode())
        source = sock.makefile("rb")
        status = int(source.readline().split()[1])
        while source.readline() not in (b"\r\n", b""):
            pass
        frames = exchange_frames(ask, sock.sendall, source.read) if status == 101 else []
        return {"status": status, "headers": [], "body": "", "trailers": [], "frames": frames}


def do(ask):
    try:
        if ask.get("frames"):
            return h2_websocket(ask) if ask["protocol"] == "h2" else websocket(ask)
        return over_h2(ask) if ask["protocol"] == "h2" else over_h1(ask)
    except (OSError, http.client.HTTPException, h2.exceptions.ProtocolError, IndexError) as error:
        return {"error": f"{type(error).__name__}: {error}"}


def main():
    print("running", flush=True)
    with ThreadPoolExecutor(10) as pool:
        for line in sys.stdin:
            ask = json.loads(line)
            print(json.dumps(list(pool.map(do, [ask] * ask["times"]))), flush=True)


if __name__ == "__main__":
    main()
