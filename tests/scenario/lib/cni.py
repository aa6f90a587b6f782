# SPDX-License-Identifier: Apache-2.0
"""The node agent's side of ZDS: hands pods' namespaces to the node proxy (contract 7). Messages are put
together here octet by octet, so that they owe nothing to the proto files of the program under test."""
import array
import os
import select
import socket
import threading

from lib import netns, wait

REPLY_SECONDS = 5.0


def varint(n):
    out = b""
    while n > 127:
        out += bytes([n & 127 | 128])
        n >>= 7
    return out + bytes([n])


def field(number, octets):
    """A length-delimited field."""
    return varint(number << 3 | 2) + varint(len(octets)) + octets


def add_message(uid, name=None, ns="shop", sa=None):
    info = field(2, field(1, name.encode()) + field(2, ns.encode()) + field(3, sa.encode())) if name else b""
    return field(1, field(1, uid.encode()) + info)


def keep_message(uid):
    return field(5, field(1, uid.encode()))


def del_message(uid):
    return field(2, field(2, uid.encode()))


SNAPSHOT_SENT = field(3, b"")
HELLO = b"\x08\x01"
ACK = b"\x0a\x00"


def ack_error(reply):
    """The error text of a reply, "" for success."""
    assert reply[:1] == b"\x0a", reply
    inner, at = reply[2:], 0
    if reply[1] & 128:
        inner = reply[3:]
    if not inner:
        return ""
    assert inner[0] == 0x0a, reply
    size, at, shift = 0, 1, 0
    while True:
        size |= (inner[at] & 127) << shift
        shift += 7
        at += 1
        if not inner[at - 1] & 128:
            break
    return inner[at:at + size].decode()


class Session:
    """One connected node proxy. `hello` is its first packet."""

    def __init__(self, sock):
        self.sock, self.lock = sock, threading.Lock()
        sock.settimeout(REPLY_SECONDS * wait.SCALE)
        self.hello = sock.recv(1024)

    def request(self, octets, fds=()):
        """Sends one packet and takes the one reply; b"" when the proxy closed instead."""
        with self.lock:
            control = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
            self.sock.sendmsg([octets], control)
            return self.sock.recv(1024)

    def add(self, uid, ns_name, name, ns, sa):
        fd = os.open(netns.path(ns_name), os.O_RDONLY | os.O_CLOEXEC)
        try:
            return ack_error(self.request(add_message(uid, name, ns, sa), [fd]))
        finally:
            os.close(fd)

    def snapshot_sent(self):
        return ack_error(self.request(SNAPSHOT_SENT))

    def closed(self):
        """Whether the proxy has closed; anything it says unasked is an error."""
        if not select.select([self.sock], [], [], 0)[0]:
            return False
        try:
            octets = self.sock.recv(1024)
        except ConnectionResetError:
            return True
        assert octets == b"", f"the proxy spoke unasked: {octets!r}"
        return True

    def close(self):
        self.sock.close()


class Agent:
    """Listens at `path`. With `serve()` it answers every proxy with a snapshot of `pods` on its own; without, the
    test takes sessions with `accept()` and talks to them itself.

    `pods` maps uid to (namespace of the host, pod name, namespace, service account); a uid in `kept` is announced
    with Keep instead of Add.
    """

    def __init__(self, path):
        self.path, self.pods, self.kept, self.sessions = path, {}, set(), []
        self.errors = []
        self._listener, self._lock = None, threading.Lock()

    def listen(self):
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
        if os.path.exists(self.path):
            os.unlink(self.path)
        self._listener.bind(self.path)
        self._listener.listen(8)

    def accept(self, seconds=10.0):
        self._listener.settimeout(seconds * wait.SCALE)
        sock, _ = self._listener.accept()
        session = Session(sock)
        self.sessions.append(session)
        return session

    def serve(self):
        self.listen()
        self._listener.settimeout(None)
        threading.Thread(target=self._serve, args=(self._listener,), daemon=True).start()

    def _serve(self, listener):
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            with self._lock:
                try:
                    session = Session(sock)
                    self._snapshot(session)
                    self.sessions.append(session)
                except OSError as error:
                    self.errors.append(f"session lost in its snapshot: {error!r}")

    def _snapshot(self, session):
        if session.hello != HELLO:
            self.errors.append(f"hello: {session.hello!r}")
        for uid, (ns_name, name, ns, sa) in list(self.pods.items()):  # the test may add one
            if uid in self.kept:
                error = ack_error(session.request(keep_message(uid)))
            else:
                error = session.add(uid, ns_name, name, ns, sa)
            if error:
                self.errors.append(f"{uid}: {error}")
        if error := session.snapshot_sent():
            self.errors.append(error)

    def live_sessions(self):
        with self._lock:
            self.sessions = [s for s in self.sessions if not s.closed()]
            return list(self.sessions)

    def add(self, uid, ns_name, name, ns, sa):
        """A new pod: to the newest proxy only. Its error text, "" when it acked."""
        self.pods[uid] = (ns_name, name, ns, sa)
        sessions = self.live_sessions()
        return sessions[-1].add(uid, ns_name, name, ns, sa) if sessions else ""

    def remove(self, uid):
        """The pod is gone: to every proxy."""
        self.pods.pop(uid, None)
        return [ack_error(s.request(del_message(uid))) for s in self.live_sessions()]

    def stop(self):
        """As a crash would: the sockets close, the path stays."""
        if self._listener:
            try:
                self._listener.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            self._listener.close()
            self._listener = None
        with self._lock:
            for session in self.sessions:
                session.close()
            self.sessions = []
