# SPDX-License-Identifier: Apache-2.0
"""HTTP/2 by hand: frames as they are, for peers that do not behave."""
import select
import socket
import struct
import time

import hpack

from lib.wait import SCALE

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
TYPES = ["DATA", "HEADERS", "PRIORITY", "RST_STREAM", "SETTINGS", "PUSH_PROMISE", "PING", "GOAWAY",
         "WINDOW_UPDATE", "CONTINUATION"]
CODES = ["NO_ERROR", "PROTOCOL_ERROR", "INTERNAL_ERROR", "FLOW_CONTROL_ERROR", "SETTINGS_TIMEOUT",
         "STREAM_CLOSED", "FRAME_SIZE_ERROR", "REFUSED_STREAM", "CANCEL", "COMPRESSION_ERROR",
         "CONNECT_ERROR", "ENHANCE_YOUR_CALM", "INADEQUATE_SECURITY", "HTTP_1_1_REQUIRED"]
KEEPALIVE = bytes.fromhex("3b7cdb7a0b8716b4")
DRAIN = bytes.fromhex("0b7ba2f08b9bfe54")


def frame(kind, flags=0, stream=0, payload=b""):
    number = TYPES.index(kind) if isinstance(kind, str) else kind
    return struct.pack(">I", len(payload))[1:] + bytes([number, flags]) + struct.pack(">I", stream) + payload


def settings(**values):
    ids = {"table": 1, "push": 2, "streams": 3, "window": 4, "frame": 5, "headers": 6, "connect": 8}
    return frame("SETTINGS", 0, 0, b"".join(struct.pack(">HI", ids[k], v) for k, v in values.items()))


def window(stream, increment):
    return frame("WINDOW_UPDATE", 0, stream, struct.pack(">I", increment))


def reset(stream, code):
    return frame("RST_STREAM", 0, stream, struct.pack(">I", CODES.index(code) if isinstance(code, str) else code))


def goaway(last, code="NO_ERROR"):
    return frame("GOAWAY", 0, 0, struct.pack(">II", last, CODES.index(code)))


def block(fields):
    """Literals, never indexed by name or value: any text may stand in them."""
    out = b""
    for name, value in fields:
        out += b"\x00" + _text(name) + _text(value)
    return out


def _text(value):
    raw = value.encode("latin-1") if isinstance(value, str) else value
    if len(raw) < 127:
        return bytes([len(raw)]) + raw
    rest, out = len(raw) - 127, b"\x7f"
    while rest >= 128:
        out += bytes([rest % 128 + 128])
        rest //= 128
    return out + bytes([rest]) + raw


def headers(stream, fields, end=False, end_headers=True):
    return frame("HEADERS", (1 if end else 0) | (4 if end_headers else 0), stream, block(fields))


def connect(stream, authority="10.244.2.11:9002", end=False, extra=()):
    return headers(stream, [(":method", "CONNECT"), (":authority", authority), *extra], end)


class Frame:
    def __init__(self, kind, flags, stream, payload):
        self.kind, self.flags, self.stream, self.payload = kind, flags, stream, payload
        self.end = kind in ("DATA", "HEADERS") and bool(flags & 1)
        self.ack = kind in ("SETTINGS", "PING") and bool(flags & 1)
        self.code = None
        self.fields = None
        if kind in ("RST_STREAM", "GOAWAY"):
            number = struct.unpack(">I", payload[0:4] if kind == "RST_STREAM" else payload[4:8])[0]
            self.code = CODES[number] if number < len(CODES) else number

    def __repr__(self):
        return f"{self.kind}:{self.stream}{'+END' if self.end else ''} {self.code or self.payload[:20]}"


class Peer:
    """One end of a connection, with everything it has seen."""

    def __init__(self, sock):
        self.sock = sock
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""
        self.frames = []
        self.ended = None  # "FIN" or "RST"
        self.expect_preface = False
        self.decoder = hpack.Decoder()
        self.auto_ack = True

    @classmethod
    def dial(cls, port):
        return cls(socket.create_connection(("127.0.0.1", port)))

    def send(self, data):
        try:
            self.sock.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            pass  # how it ended shows on reading

    def _parse(self):
        if self.expect_preface and len(self.buffer) >= 24:
            assert self.buffer[:24] == PREFACE
            self.buffer, self.expect_preface = self.buffer[24:], False
        while len(self.buffer) >= 9 and not self.expect_preface:
            length = int.from_bytes(self.buffer[:3], "big")
            if len(self.buffer) < 9 + length:
                return
            kind = TYPES[self.buffer[3]]
            f = Frame(kind, self.buffer[4], int.from_bytes(self.buffer[5:9], "big"), self.buffer[9:9 + length])
            self.buffer = self.buffer[9 + length:]
            if kind == "HEADERS":
                f.fields = self.decoder.decode(f.payload)
            if kind == "SETTINGS" and not f.ack and self.auto_ack:
                self.send(frame("SETTINGS", 1))
            self.frames.append(f)

    def read(self, seconds):
        """Reads once, for at most so long. False when nothing came."""
        if self.ended or not select.select([self.sock], [], [], seconds)[0]:
            return False
        try:
            data = self.sock.recv(1 << 20)
        except ConnectionResetError:
            self.ended = "RST"
            return True
        if not data:
            self.ended = "FIN"
        self.buffer += data
        self._parse()
        return True

    def wait(self, condition, seconds=10):
        """Reads until condition(self) holds, or the connection ends."""
        stop = time.monotonic() + seconds * SCALE
        while not condition(self):
            left = stop - time.monotonic()
            if self.ended:
                return condition(self)
            assert left > 0, f"nothing came of it: {self.frames}"
            self.read(left)
        return True

    def quiet(self, seconds=0.05):
        while self.read(seconds):
            pass

    def of(self, kind, stream=None):
        return [f for f in self.frames if f.kind == kind and stream in (None, f.stream)]

    def status(self, stream):
        for f in self.of("HEADERS", stream):
            found = dict(f.fields).get(":status")
            if found and not found.startswith("1"):
                return found
        return None

    def data(self, stream):
        return b"".join(f.payload for f in self.of("DATA", stream))

    def reset_code(self, stream):
        found = self.of("RST_STREAM", stream)
        return found[0].code if found else None

    def is_alive(self, seconds=5):
        """Answers a PING?"""
        opaque = struct.pack(">Q", int(time.monotonic() * 1e6))
        self.send(frame("PING", 0, 0, opaque))
        def answered(p):
            return any(f.ack and f.payload == opaque for f in p.of("PING"))
        return self.wait(answered, seconds)

    def close(self):
        self.sock.close()


class Listener:
    """Where a driver in the client's role connects to."""

    def __init__(self):
        self.sock = socket.create_server(("127.0.0.1", 0))
        self.port = self.sock.getsockname()[1]

    def accept(self, seconds=5):
        self.sock.settimeout(seconds * SCALE)
        peer = Peer(self.sock.accept()[0])
        peer.expect_preface = True
        return peer

    def close(self):
        self.sock.close()
