# SPDX-License-Identifier: Apache-2.0
"""The application of a pod: one process, one behaviour a port. It knows nothing of the mesh.

    GREET    speaks first, {"peer": [ip, port], "local": [ip, port]}, then echoes
    ECHO     sends back what it gets; ends its side when the client ends its own
    DIGEST   reads to the end, answers "<sha256> <bytes>"
    SOURCE   reads "<bytes> <key> <bytes a second>", sends that much of the pattern (0: as fast as it goes)
    GOODBYE  says "bye" and ends its side at once; then like WATCH
    RESET    reads a line, sends "half", resets the connection
    WATCH    reads a line, a token, answers "ok"; remembers how many bytes followed and how they ended
    MUTE     neither reads nor writes
    REPORT   on loopback only: reads a token, tells what WATCH or GOODBYE remembers of it once it ended
"""
import hashlib
import json
import pathlib
import signal
import socket
import struct
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from lib import pattern, wait  # noqa: E402 pylint: disable=wrong-import-position

GREET, ECHO, DIGEST, SOURCE, GOODBYE, RESET, WATCH, MUTE, REPORT = range(9001, 9010)

_remembered = {}
_ended = threading.Condition()


def plain(address):
    """ip and port, without the mapping of IPv4 into IPv6."""
    return [address[0].removeprefix("::ffff:"), address[1]]


def greet(conn):
    hello = {"peer": plain(conn.getpeername()), "local": plain(conn.getsockname())}
    conn.sendall(json.dumps(hello).encode() + b"\n")
    echo(conn)


def echo(conn):
    while octets := conn.recv(65536):
        conn.sendall(octets)
    conn.shutdown(socket.SHUT_WR)


def read_line(conn):
    line = b""
    while not line.endswith(b"\n"):
        octet = conn.recv(1)
        if not octet:
            break
        line += octet
    return line.decode().strip()


def digest(conn):
    h, count = hashlib.sha256(), 0
    while octets := conn.recv(262144):
        h.update(octets)
        count += len(octets)
    conn.sendall(f"{h.hexdigest()} {count}\n".encode())


def source(conn):
    total, key, rate = (int(x) for x in read_line(conn).split())
    piece = max(1024, rate // 10)
    due = time.monotonic()
    for block in pattern.blocks(total, key):
        if not rate:
            conn.sendall(block)
            continue
        for at in range(0, len(block), piece):
            part = block[at:at + piece]
            conn.sendall(part)
            due += len(part) / rate
            time.sleep(max(0.0, due - time.monotonic()))
    conn.shutdown(socket.SHUT_WR)
    while conn.recv(65536):
        pass


def watch(conn):
    token = read_line(conn)
    conn.sendall(b"ok\n")
    remember(conn, token)


def goodbye(conn):
    conn.sendall(b"bye\n")
    conn.shutdown(socket.SHUT_WR)
    remember(conn, read_line(conn))


def remember(conn, token):
    h, count, end = hashlib.sha256(), 0, "eof"
    try:
        while octets := conn.recv(65536):
            h.update(octets)
            count += len(octets)
    except ConnectionResetError:
        end = "reset"
    with _ended:
        _remembered[token] = {"bytes": count, "sha256": h.hexdigest(), "end": end}
        _ended.notify_all()


def report(conn):
    token = read_line(conn)
    with _ended:
        _ended.wait_for(lambda: token in _remembered, 10 * wait.SCALE)
        conn.sendall(json.dumps(_remembered.get(token)).encode())


def reset(conn):
    read_line(conn)
    conn.sendall(b"half")
    conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def mute(conn):
    del conn
    threading.Event().wait(120)


def serve(listener, behave):
    while True:
        conn, _ = listener.accept()
        conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=one, args=(conn, behave), daemon=True).start()


def one(conn, behave):
    with conn:
        try:
            behave(conn)
        except (OSError, ValueError):
            pass


def main():
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.stack_size(262144)
    ports = {GREET: greet, ECHO: echo, DIGEST: digest, SOURCE: source, GOODBYE: goodbye, RESET: reset, WATCH: watch,
             MUTE: mute, REPORT: report}
    for port, behave in ports.items():
        listener = socket.socket(socket.AF_INET if port == REPORT else socket.AF_INET6)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1" if port == REPORT else "::", port))
        listener.listen(1024)
        threading.Thread(target=serve, args=(listener, behave), daemon=True).start()
    print("serving", flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main()
