# SPDX-License-Identifier: Apache-2.0
"""The control plane process: delta discovery and certificates over TLS, steered through a Unix socket.

    cp_server.py FOLDER ADDRESS:PORT

FOLDER keeps the root and `state.json` (resources and CA behaviour to start with); `control.sock` in it takes
one JSON object a line and answers with one. cp.ControlPlane is the other end.
"""
import base64
import hashlib
import json
import os
import pathlib
import queue
import socket
import sys
import threading
import time
from concurrent import futures

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
# pylint: disable=wrong-import-position
import grpc  # noqa: E402
from cryptography import x509  # noqa: E402

from lib import pki  # noqa: E402
from lib.wiretypes import ADDRESS, TYPES, ca, struct_to_dict, xds  # noqa: E402


def version_of(kind, octets):
    """Policies carry no version, so that they are always sent again (contract 5.8)."""
    return "" if kind != ADDRESS else hashlib.sha256(octets).hexdigest()[:12]


class Events:
    """What happened, for tests to read: dicts with a kind and a time."""

    def __init__(self):
        self._lock, self._list = threading.Lock(), []

    def add(self, kind, **fields):
        with self._lock:
            self._list.append({"kind": kind, "t": time.time(), **fields})

    def since(self, index):
        with self._lock:
            return self._list[index:]


class World:
    """The resources; a change wakes every stream."""

    def __init__(self):
        self.changed = threading.Condition()
        self.resources = {kind: {} for kind in TYPES}
        self.streams, self.held = [], []

    def update(self, put, remove):
        with self.changed:
            for kind, name, octets in put:
                self.resources[kind][name] = base64.b64decode(octets)
            for kind, name in remove:
                self.resources[kind].pop(name, None)
            for stream in self.streams:
                stream.inbox.put(("push", None))

    def settled(self):
        return all(stream.settled() for stream in self.streams)


class Subscription:
    """One type on one stream. `known` is what the client holds: name -> octets, or a version it claimed."""

    def __init__(self, wildcard):
        self.wildcard, self.names, self.known = wildcard, set(), {}
        self.sent, self.answered = 0, 0


class Stream:
    """One discovery stream. Everything that happens to it goes through its inbox, in order."""

    count = 0

    def __init__(self, world, events):
        Stream.count += 1
        self.number, self.world, self.events = Stream.count, world, events
        self.inbox, self.subs, self.nonces, self.open = queue.Queue(), {}, 0, True
        self.waiting = []  # first requests of types that are held

    def settled(self):
        with self.world.changed:
            if len(self.subs) < 2 or not self.inbox.empty():
                return not self.open
            return all(s.sent == s.answered and not self._difference(kind) for kind, s in self.subs.items())

    def run(self, requests, context):
        self.events.add("stream", stream=self.number, metadata=[
            [k, v if isinstance(v, str) else v.hex()] for k, v in context.invocation_metadata()])
        threading.Thread(target=self._read, args=(requests,), daemon=True).start()
        try:
            while True:
                what, value = self.inbox.get()
                if what == "end":
                    if value is not None:
                        context.abort(getattr(grpc.StatusCode, value[0]), value[1])
                    return
                if what == "request":
                    yield from self._request(value)
                elif what == "raw":
                    yield value
                elif what == "release":
                    for r in self.waiting:
                        yield from self._subscribe(r)
                    self.waiting = []
                else:
                    for kind in list(self.subs):
                        yield from self._push(kind)
        finally:
            self.open = False
            with self.world.changed:
                self.world.streams.remove(self)
            self.events.add("stream_end", stream=self.number)

    def _read(self, requests):
        try:
            for octets in requests:
                self.inbox.put(("request", octets))
        except Exception:  # pylint: disable=broad-except
            pass  # grpc has no narrower name for 'the client went away'
        self.inbox.put(("end", None))

    def _request(self, octets):
        r = xds.DeltaDiscoveryRequest.FromString(octets)
        self.events.add("request", stream=self.number, type=r.type_url, nonce=r.response_nonce,
                        error=r.error_detail.message, code=r.error_detail.code,
                        initial=dict(r.initial_resource_versions), subscribe=list(r.resource_names_subscribe),
                        unsubscribe=list(r.resource_names_unsubscribe), hex=octets.hex(),
                        node=r.node.id if r.HasField("node") else None, node_metadata=struct_to_dict(r.node.metadata))
        if r.type_url not in self.world.resources:
            return
        if r.type_url in self.world.held and r.type_url not in self.subs:
            self.waiting.append(r)
            return
        if r.type_url not in self.subs:
            yield from self._subscribe(r)
            return
        sub = self.subs[r.type_url]
        if r.response_nonce:
            sub.answered = int(r.response_nonce.rsplit("-", 1)[1])
        if r.resource_names_subscribe:
            yield from self._demand(r.type_url, sub, r.resource_names_subscribe)

    def _subscribe(self, r):
        asked = set(r.resource_names_subscribe)
        wildcard = not r.resource_names_unsubscribe and asked <= {"*"}
        sub = self.subs[r.type_url] = Subscription(wildcard)
        sub.names = asked - {"*"}
        sub.known = dict(r.initial_resource_versions)
        yield from self._push(r.type_url, even_if_empty=True)

    def _demand(self, kind, sub, names):
        with self.world.changed:
            have = self.world.resources[kind]
            found = {n: have[n] for n in names if n in have}
        sub.names |= set(names)
        sub.known.update(found)
        yield self._response(kind, sub, found, [n for n in names if n not in found])

    def _difference(self, kind):
        """(changed, removed) of a type for this client; None when there is nothing to say."""
        sub = self.subs[kind]
        current = {n: o for n, o in self.world.resources[kind].items() if sub.wildcard or n in sub.names}
        changed = {n: o for n, o in current.items() if not self._holds(kind, sub.known.get(n), o)}
        removed = [n for n in sub.known if n not in current]
        return (changed, removed) if changed or removed else None

    @staticmethod
    def _holds(kind, known, octets):
        if isinstance(known, str):
            return known != "" and known == version_of(kind, octets)
        return known == octets

    def _push(self, kind, even_if_empty=False):
        with self.world.changed:
            difference = self._difference(kind) or (({}, []) if even_if_empty else None)
            if difference is None:
                return
            changed, removed = difference
            sub = self.subs[kind]
            for name in removed:
                sub.known.pop(name)
            sub.known.update(changed)
            for name, octets in self.world.resources[kind].items():
                if isinstance(sub.known.get(name), str):
                    sub.known[name] = octets  # claimed at this version already
        yield self._response(kind, sub, changed, removed)

    def _response(self, kind, sub, changed, removed):
        self.nonces += 1
        sub.sent = self.nonces
        response = xds.DeltaDiscoveryResponse(type_url=kind, nonce=f"s{self.number}-{self.nonces}",
                                              removed_resources=removed)
        for name, octets in changed.items():
            item = response.resources.add(name=name, version=version_of(kind, octets))
            item.resource.type_url = kind
            item.resource.value = octets
        self.events.add("response", stream=self.number, type=kind, nonce=response.nonce, names=sorted(changed),
                        removed=sorted(removed))
        return response.SerializeToString()


class Certificates:
    """CreateCertificate. `behaviour` is by identity, "*" for the others; keys see `answer`."""

    def __init__(self, authority, events):
        self.authority, self.events, self.behaviour = authority, events, {}

    def create(self, octets, context):
        request = ca.CreateCertificateRequest.FromString(octets)
        metadata = struct_to_dict(request.metadata)
        identity = metadata.get("ImpersonatedIdentity", "")
        how = {**self.behaviour.get("*", {}), **self.behaviour.get(identity, {})}
        self.events.add("ca", identity=identity, csr=request.csr, ttl=request.validity_duration, how=how,
                        metadata=metadata, headers=[[k, str(v)] for k, v in context.invocation_metadata()])
        return self.answer(request, identity, how, context)

    def answer(self, request, identity, how, context):
        """`mode`: ok, deny, unavailable, silent, wrong_identity, empty, no_root; `delay`, `ttl`, `age` in seconds;
        `name`: whose certificate it is, where the request names nobody."""
        mode = how.get("mode", "ok")
        gone = threading.Event()
        context.add_callback(gone.set)
        if mode == "silent":
            gone.wait(60)
        if how.get("delay"):
            gone.wait(how["delay"])
        if mode == "deny":
            context.abort(grpc.StatusCode.PERMISSION_DENIED, "not on this node")
        if mode == "unavailable":
            context.abort(grpc.StatusCode.UNAVAILABLE, "try later")
        csr = x509.load_pem_x509_csr(request.csr.encode())
        name = "spiffe://cluster.local/ns/shop/sa/somebody-else" if mode == "wrong_identity" else identity or how.get("name", "")
        leaf = self.authority.sign(csr.public_key(), [name], ttl=how.get("ttl", 3600), age=how.get("age", 60))
        chain = {"empty": [], "no_root": [leaf]}.get(mode, [leaf, self.authority.root_pem])
        return ca.CreateCertificateResponse(cert_chain=chain).SerializeToString()


class Methods(grpc.GenericRpcHandler):
    """Routes the two methods."""

    def __init__(self, world, certificates, events):
        self.world, self.certificates, self.events = world, certificates, events

    def service(self, handler_call_details):
        name = handler_call_details.method
        if name == "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources":
            return grpc.stream_stream_rpc_method_handler(self._discover)
        if name == "/istio.v1.auth.IstioCertificateService/CreateCertificate":
            return grpc.unary_unary_rpc_method_handler(self.certificates.create)
        self.events.add("unknown_method", method=name)
        return None

    def _discover(self, requests, context):
        stream = Stream(self.world, self.events)
        with self.world.changed:
            self.world.streams.append(stream)
        yield from stream.run(requests, context)


class Control:
    """Commands of the test: {"do": name, ...} -> {"ok": value} or {"error": text}."""

    def __init__(self, world, certificates, events):
        self.world, self.certificates, self.events = world, certificates, events

    def serve(self, path):
        listener = socket.socket(socket.AF_UNIX)
        if os.path.exists(path):
            os.unlink(path)
        listener.bind(path)
        listener.listen(4)
        while True:
            conn, _ = listener.accept()
            threading.Thread(target=self._client, args=(conn,), daemon=True).start()

    def _client(self, conn):
        with conn, conn.makefile("rw", encoding="utf-8") as stream:
            for line in stream:
                command = json.loads(line)
                try:
                    reply = {"ok": getattr(self, "do_" + command.pop("do"))(**command)}
                except Exception as error:  # pylint: disable=broad-except
                    reply = {"error": repr(error)}
                stream.write(json.dumps(reply) + "\n")
                stream.flush()

    def do_update(self, put=(), remove=()):
        self.world.update(put, remove)

    def do_settled(self):
        return self.world.settled()

    def do_streams(self):
        return [s.number for s in self.world.streams]

    def do_ca(self, behaviour):
        self.certificates.behaviour = behaviour

    def do_events(self, since=0):
        return self.events.since(since)

    def do_end_streams(self, status=None, text=""):
        for stream in list(self.world.streams):
            stream.inbox.put(("end", [status, text] if status else None))

    def do_release(self):
        self.world.held = []
        for stream in list(self.world.streams):
            stream.inbox.put(("release", None))

    def do_raw(self, octets):
        for stream in list(self.world.streams):
            stream.inbox.put(("raw", base64.b64decode(octets)))


def main():
    folder, listen = sys.argv[1:3]
    authority, events, world = pki.Authority(folder), Events(), World()
    certificates = Certificates(authority, events)
    with open(os.path.join(folder, "state.json"), encoding="utf-8") as f:
        state = json.load(f)
    world.update(state["put"], [])
    certificates.behaviour, world.held = state["ca"], state["held"]
    server = grpc.server(futures.ThreadPoolExecutor(64), options=[
        ("grpc.max_send_message_length", 1 << 28), ("grpc.max_receive_message_length", 1 << 28),
        ("grpc.http2.min_recv_ping_interval_without_data_ms", 15000)])
    server.add_generic_rpc_handlers((Methods(world, certificates, events),))
    shown = authority.issue(listen.rsplit(":", 1)[0], "istiod.istio-system.svc", ttl=86400)
    server.add_secure_port(listen, grpc.ssl_server_credentials([(pki.key_pem(shown.key), shown.chain_pem.encode())]))
    server.start()
    print("serving", flush=True)
    Control(world, certificates, events).serve(os.path.join(folder, "control.sock"))


if __name__ == "__main__":
    main()
