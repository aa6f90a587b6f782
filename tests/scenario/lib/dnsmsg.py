# SPDX-License-Identifier: Apache-2.0
"""DNS messages: enough to ask, to answer and to take an answer apart."""
import ipaddress
import struct

A, NS, CNAME, SOA, MX, TXT, AAAA, OPT = 1, 2, 5, 6, 15, 16, 28, 41
NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED = range(6)


def encode_name(name):
    labels = [x for x in name.rstrip(".").split(".") if x]
    return b"".join(bytes([len(x)]) + x.encode() for x in labels) + b"\0"


def query(number, name, kind, edns_bytes=None):
    head = struct.pack(">HHHHHH", number, 0x0100, 1, 0, 0, 1 if edns_bytes else 0)
    tail = b"\0" + struct.pack(">HHIH", OPT, edns_bytes, 0, 0) if edns_bytes else b""
    return head + encode_name(name) + struct.pack(">HH", kind, 1) + tail


def rdata(kind, value):
    if kind in (A, AAAA):
        return ipaddress.ip_address(value).packed
    if kind == TXT:
        return bytes([len(value)]) + value.encode()
    if kind == MX:
        return struct.pack(">H", 10) + encode_name(value)
    return encode_name(value)


def answer(request, records, rcode=NOERROR, truncated=False):
    """A reply to `request` with records (kind, ttl, value), all owned by the question's name."""
    message = Message(request)
    flags = 0x8180 | rcode | (0x0200 if truncated else 0)
    head = struct.pack(">HHHHHH", message.number, flags, 1, len(records), 0, 0)
    body = b"".join(b"\xc0\x0c" + struct.pack(">HHIH", kind, 1, ttl, len(rdata(kind, value))) + rdata(kind, value)
                    for kind, ttl, value in records)
    return head + message.question_octets + body


class Message:
    """A parsed message: `answers` are (owner, kind, ttl, value)."""

    def __init__(self, octets):
        self.octets = octets
        self.number, self.flags, questions, answers, authority, additional = struct.unpack_from(">HHHHHH", octets)
        self.rcode = self.flags & 15
        at = 12
        self.name, self.kind = None, None
        for _ in range(questions):
            self.name, at = self._name(at)
            self.kind = struct.unpack_from(">H", octets, at)[0]
            at += 4
        self.question_octets = octets[12:at]
        self.answers, at = self._records(at, answers)
        self.authority, at = self._records(at, authority)
        self.additional, at = self._records(at, additional)

    def flag(self, name):
        return bool(self.flags & {"aa": 0x400, "tc": 0x200, "rd": 0x100, "ra": 0x80}[name])

    def values(self, kind):
        return sorted(value for _, k, _, value in self.answers if k == kind)

    def _records(self, at, count):
        out = []
        for _ in range(count):
            owner, at = self._name(at)
            kind, _, ttl, size = struct.unpack_from(">HHIH", self.octets, at)
            at += 10
            out.append((owner, kind, ttl, self._value(kind, at, size)))
            at += size
        return out, at

    def _value(self, kind, at, size):
        raw = self.octets[at:at + size]
        if kind in (A, AAAA):
            return str(ipaddress.ip_address(raw))
        if kind in (CNAME, NS):
            return self._name(at)[0]
        if kind == MX:
            return self._name(at + 2)[0]
        return raw

    def _name(self, at, depth=0):
        labels = []
        while self.octets[at]:
            size = self.octets[at]
            if size & 0xc0 == 0xc0:
                assert depth < 8, "name loops"
                rest, _ = self._name(((size & 0x3f) << 8) | self.octets[at + 1], depth + 1)
                return ".".join(labels + ([rest] if rest else [])), at + 2
            labels.append(self.octets[at + 1:at + 1 + size].decode(errors="replace"))
            at += 1 + size
        return ".".join(labels), at + 1
