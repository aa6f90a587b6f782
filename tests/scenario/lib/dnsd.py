# SPDX-License-Identifier: Apache-2.0
"""The name server that a node proxy forwards to: a table of answers, a record of what was asked."""
import socket
import struct
import threading

from lib import dnsmsg, netns
from lib.wait import SCALE

UDP_LIMIT = 512


class NameServer:
    """Serves (name, kind) -> list of (ttl, value), or an rcode, on port 53 of an address, UDP and TCP."""

    def __init__(self, ns, address):
        self.table, self.asked = {}, []
        self._udp = netns.make_socket(ns, netns.family_of(address), socket.SOCK_DGRAM)
        self._udp.bind((address, 53))
        self._tcp = netns.listen(ns, address, 53)
        self._threads = [threading.Thread(target=target, daemon=True) for target in (self._serve_udp, self._serve_tcp)]
        for thread in self._threads:
            thread.start()

    def close(self):
        for sock in (self._udp, self._tcp):
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            sock.close()

    def queries(self, name):
        return [(kind, proto) for n, kind, proto in self.asked if n == name]

    def _reply(self, request, proto):
        message = dnsmsg.Message(request)
        self.asked.append((message.name, message.kind, proto))
        known = self.table.get((message.name.lower(), message.kind))
        if known is None:
            exists = any(n == message.name.lower() for n, _ in self.table)
            return dnsmsg.answer(request, [], dnsmsg.NOERROR if exists else dnsmsg.NXDOMAIN)
        if isinstance(known, int):
            return dnsmsg.answer(request, [], known)
        full = dnsmsg.answer(request, [(message.kind, ttl, value) for ttl, value in known])
        if proto == "udp" and len(full) > UDP_LIMIT:
            return dnsmsg.answer(request, [], truncated=True)
        return full

    def _serve_udp(self):
        while True:
            try:
                request, peer = self._udp.recvfrom(4096)
            except OSError:
                return
            if not request:
                return
            self._udp.sendto(self._reply(request, "udp"), peer)

    def _serve_tcp(self):
        while True:
            try:
                conn, _ = self._tcp.accept()
            except OSError:
                return
            threading.Thread(target=self._serve_tcp_client, args=(conn,), daemon=True).start()

    def _serve_tcp_client(self, conn):
        with conn, conn.makefile("rb") as stream:
            conn.settimeout(10)
            try:
                while head := stream.read(2):
                    reply = self._reply(stream.read(struct.unpack(">H", head)[0]), "tcp")
                    conn.sendall(struct.pack(">H", len(reply)) + reply)
            except OSError:
                return


def ask(ns, server, name, kind, edns_bytes=None, tcp=False, seconds=3.0 * SCALE):
    """Asks `server`:53 from a namespace; the answer as a Message."""
    request = dnsmsg.query(0x1d0f, name, kind, edns_bytes)
    if tcp:
        with netns.connect(ns, server, 53, seconds) as sock, sock.makefile("rb") as stream:
            sock.sendall(struct.pack(">H", len(request)) + request)
            return dnsmsg.Message(stream.read(struct.unpack(">H", stream.read(2))[0]))
    with netns.make_socket(ns, netns.family_of(server), socket.SOCK_DGRAM) as sock:
        sock.settimeout(seconds)
        sock.connect((server, 53))
        sock.send(request)
        return dnsmsg.Message(sock.recv(65535))
