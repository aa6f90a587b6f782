# SPDX-License-Identifier: Apache-2.0
"""What a client application in a pod does, driven from the test, and the load process."""
import hashlib
import json
import os
import pathlib
import socket
import struct
import subprocess
import sys
import uuid

from lib import app, netns, pattern
from lib.proc import Process
from lib.wait import SCALE

LOAD = pathlib.Path(__file__).parent / "load.py"


def read_exactly(sock, count):
    octets = b""
    while len(octets) < count:
        piece = sock.recv(count - len(octets))
        if not piece:
            raise EOFError(f"end after {len(octets)} of {count} octets")
        octets += piece
    return octets


def read_all(sock):
    octets = b""
    while piece := sock.recv(262144):
        octets += piece
    return octets


def read_line(sock):
    line = b""
    while not line.endswith(b"\n"):
        piece = sock.recv(1)
        if not piece:
            raise EOFError(f"end after {line!r}")
        line += piece
    return line.decode().strip()


def greet(ns, host, port=app.GREET):
    """Connects and returns what the server said first."""
    with netns.connect(ns, host, port) as sock:
        return json.loads(read_line(sock))


def echo(ns, host, port=app.ECHO, payload=b"hello, mesh"):
    """One round trip and a clean end on both sides."""
    with netns.connect(ns, host, port) as sock:
        sock.sendall(payload)
        got = read_exactly(sock, len(payload))
        sock.shutdown(socket.SHUT_WR)
        assert got == payload and sock.recv(1) == b"", "the echo is right and then ends"


def open_echo(ns, host, port=app.ECHO, payload=b"open"):
    """An echo connection that has worked once and stays open."""
    sock = netns.connect(ns, host, port)
    still_echoes(sock, payload)
    return sock


def still_echoes(sock, payload=b"still here"):
    sock.sendall(payload)
    assert read_exactly(sock, len(payload)) == payload


def outcome(ns, host, port=app.ECHO, seconds=5.0 * SCALE, say=b"?"):
    """How a connection attempt ends: "served" (it is echoed), "reset", "closed", "refused" or "silent"."""
    try:
        with netns.connect(ns, host, port, seconds) as sock:
            sock.sendall(say)
            return "served" if sock.recv(1) == say[:1] else "closed"
    except ConnectionRefusedError:
        return "refused"
    except (ConnectionResetError, BrokenPipeError):
        return "reset"
    except (TimeoutError, socket.timeout):
        return "silent"


def is_cut(result):
    """The two ways in which a refused connection shows itself to an application."""
    return result in ("reset", "closed", "refused")


def wait_cut(sock, seconds=2.0):
    """How a live connection that must be cut ends: "reset" or "closed"."""
    sock.settimeout(seconds * SCALE)
    try:
        while sock.recv(65536):
            pass
        return "closed"
    except ConnectionResetError:
        return "reset"


def abort(sock):
    """Closes with a reset."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def upload(ns, host, total, port=app.DIGEST):
    """Sends the pattern; True when the other end got exactly that."""
    with netns.connect(ns, host, port, 30 * SCALE) as sock:
        for block in pattern.blocks(total):
            sock.sendall(block)
        sock.shutdown(socket.SHUT_WR)
        return read_all(sock).decode().split() == [pattern.digest(total), str(total)]


def download(ns, host, total, port=app.SOURCE):
    """Fetches the pattern; True when exactly that came."""
    with netns.connect(ns, host, port, 30 * SCALE) as sock:
        sock.sendall(f"{total} 0 0\n".encode())
        h, count = hashlib.sha256(), 0
        while octets := sock.recv(262144):
            h.update(octets)
            count += len(octets)
        return count == total and h.hexdigest() == pattern.digest(total)


def new_token():
    return uuid.uuid4().hex


def remembered(ns, token):
    """What the application in namespace `ns` remembers of a watched connection."""
    with netns.connect(ns, "127.0.0.1", app.REPORT, 12 * SCALE) as sock:
        sock.sendall(token.encode() + b"\n")
        return json.loads(read_all(sock))


class Load:
    """A running load.py in a namespace."""

    def __init__(self, ns, folder, mode, *arguments):
        self.process = Process(f"load-{mode}-{new_token()[:6]}", [sys.executable, str(LOAD), mode, *map(str, arguments)],
                               folder, ns=ns, env=dict(os.environ), stdin=subprocess.PIPE)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.alive:
            self.process.kill()

    def wait(self, text, seconds=15.0):
        self.process.wait_text(text, seconds)

    def say(self, line=""):
        self.process.child.stdin.write(line.encode() + b"\n")
        self.process.child.stdin.flush()

    def result(self, seconds=30.0):
        """Ends the load and returns what it printed last."""
        self.process.child.stdin.close()
        code = self.process.wait_exit(seconds)
        text = self.process.text()
        assert code == 0, text[-2000:]
        return json.loads(text.strip().splitlines()[-1])
