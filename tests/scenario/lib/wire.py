# SPDX-License-Identifier: Apache-2.0
"""A wiretap: tcpdump on a link, and how often a marker crossed it in the clear.

The oracle is the whole of what each TCP stream and datagram carried, put in order, so that a marker that was cut
in two by a segment border still counts. Before the count is believed, a marker of the tap's own has to show up
that was sent in the clear over the same link: it says that the tap sees, and that it has seen all up to then.
"""
import collections
import os
import shutil
import socket
import struct
import subprocess
import uuid

from lib import netns, topo
from lib.proc import Process
from lib.wait import until

_GLOBAL, _PACKET = struct.Struct("<IHHiIII"), struct.Struct("<IIII")
_IPV4, _IPV6 = 0x0800, 0x86DD


class Tap:
    """Captures on `interface` of namespace `ns`; `between` are two namespaces whose traffic crosses it."""

    def __init__(self, ns, interface, between, folder):
        self.file = os.path.join(folder, f"tap-{uuid.uuid4().hex[:8]}.pcap")
        self.between = between
        self.process = Process("tcpdump", [shutil.which("tcpdump"), "-i", interface, "-U", "--immediate-mode", "-B", "32768", "-s", "0", "-w",
                                           self.file, "-Z", "root", "ip or ip6"], folder, ns=ns, stdin=subprocess.DEVNULL)
        self.process.wait_text("listening on")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        if os.path.exists(self.file):
            os.unlink(self.file)

    def _send_own(self):
        """One datagram in the clear over the tapped link; its marker."""
        marker = b"tap sees " + uuid.uuid4().hex.encode()
        source, (sink_ns, sink_ip) = self.between
        with netns.make_socket(sink_ns, netns.family_of(sink_ip), socket.SOCK_DGRAM) as sink, \
                netns.make_socket(source, netns.family_of(sink_ip), socket.SOCK_DGRAM) as sender:
            sink.bind((sink_ip, 0))
            sender.sendto(marker, sink.getsockname()[:2])
        return marker

    def count(self, marker):
        """How often `marker` has crossed the link in the clear up to now."""
        self._catch_up()
        return self._seen(marker)

    def contents(self):
        """What has crossed the link up to now: the octets of all its streams and datagrams, one after the other."""
        self._catch_up()
        with open(self.file, "rb") as f:
            return b"\0".join(streams(f.read()))

    def _catch_up(self):
        own = self._send_own()
        until("the tap sees its own marker", lambda: self._seen(own), 10, every=0.05)

    def _seen(self, marker):
        with open(self.file, "rb") as f:
            return sum(octets.count(marker) for octets in streams(f.read()))


def streams(pcap):
    """What each flow of a capture carried: TCP in order and without doubles, datagrams one by one."""
    flows, out = collections.defaultdict(dict), []
    for packet in _ip_packets(pcap):
        parsed = _transport(packet)
        if parsed is None:
            continue
        protocol, ends, segment = parsed
        if protocol == socket.IPPROTO_TCP:
            sequence, data = struct.unpack_from(">I", segment, 4)[0], segment[(segment[12] >> 4) * 4:]
            if data and len(flows[ends].get(sequence, b"")) < len(data):
                flows[ends][sequence] = data
        else:
            out.append(segment[8:])
    return out + [part for flow in flows.values() for part in _in_order(flow)]


def _in_order(segments):
    """Joins segments by sequence number; a gap starts a new part."""
    part, expected = b"", None
    pieces = []
    for sequence in sorted(segments):
        data = segments[sequence]
        if expected is not None and sequence <= expected:
            pieces.append(data[expected - sequence:])
        else:
            part = b"".join(pieces)
            if part:
                yield part
            pieces = [data]
        expected = max(expected or 0, sequence + len(data))
    yield b"".join(pieces)


def _ip_packets(pcap):
    link = _GLOBAL.unpack_from(pcap)[6]
    skip = {1: 12, 276: 0}[link]
    at = _GLOBAL.size
    while at + _PACKET.size <= len(pcap):
        size = _PACKET.unpack_from(pcap, at)[2]
        frame = pcap[at + _PACKET.size:at + _PACKET.size + size]
        at += _PACKET.size + size
        if len(frame) < size:
            return
        kind = struct.unpack_from(">H", frame, skip)[0]
        body = frame[14:] if link == 1 else frame[20:]
        if kind in (_IPV4, _IPV6) and len(body) >= 20:
            yield kind, body


def _transport(packet):
    kind, body = packet
    if kind == _IPV4:
        protocol, head, addresses = body[9], (body[0] & 15) * 4, body[12:20]
        payload = body[head:struct.unpack_from(">H", body, 2)[0]]
    else:
        protocol, addresses = body[6], body[8:40]
        payload = body[40:40 + struct.unpack_from(">H", body, 4)[0]]
    if protocol not in (socket.IPPROTO_TCP, socket.IPPROTO_UDP) or len(payload) < 8:
        return None
    return protocol, (addresses, payload[:4]), payload


def node_tap(topology, node, folder):
    """A tap on a node's cable to the router."""
    return Tap(topology.ns(f"n{node}"), "eth0", (topology.ns(f"n{node}"), (topology.ns("ext"), topo.EXT4)), folder)


def pod_tap(topology, node, pod, folder):
    """A tap on the cable between a pod and its node."""
    name = f"p{node}{pod}"
    return Tap(topology.ns(f"n{node}"), f"c{name}", (topology.ns(f"n{node}"), (topology.ns(name), topo.pod4(node, pod))),
               folder)
