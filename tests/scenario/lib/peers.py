# SPDX-License-Identifier: Apache-2.0
"""Foreign tunnel peers, both roles: HTTP/2 by python-h2 over Python's TLS, so that the node proxy meets something
that shares no code with it, and something that can misbehave at will."""
import select
import socket
import ssl
import threading
import time

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings
import hyperframe.frame

from lib import netns, pki, wait

PORT = 15008
WINDOW = 4 << 20
Code = h2.errors.ErrorCodes


def ready(sock, seconds, what=select.POLLIN):
    """Whether it can be read (written) within the time. A descriptor may have any number: select() stops at 1024."""
    poller = select.poll()
    poller.register(sock, what)
    return bool(poller.poll(seconds * 1000))


class Refused(Exception):
    """The other end gave up the connection; the text is its TLS alert, or how TCP ended."""


class StreamState:
    """What has come in on one stream. `end` is None, "end", or the code of a reset."""

    def __init__(self):
        self.headers, self.data, self.end = None, b"", None

    @property
    def status(self):
        return int(self.headers[":status"]) if self.headers else None


def _connection(client, settings):
    config = h2.config.H2Configuration(client_side=client, header_encoding="utf-8", validate_outbound_headers=False,
                                       validate_inbound_headers=False, normalize_inbound_headers=False)
    conn = h2.connection.H2Connection(config)
    conn.local_settings = h2.settings.Settings(client=client, initial_values={
        h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: WINDOW, h2.settings.SettingCodes.MAX_FRAME_SIZE: 1 << 20,
        h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: 200, **settings})
    conn.max_inbound_frame_size = conn.local_settings.max_frame_size
    return conn


class Link:
    """HTTP/2 over one TLS connection, either role. Not for two threads at once: hold `lock`."""

    def __init__(self, tls, client, settings):
        self.tls, self.lock = tls, threading.RLock()
        self.streams, self.goaway, self.pongs, self.closed = {}, None, 0, None
        self.new_requests, self._unread, self._preface = [], b"", 0 if client else 24
        tls.setblocking(False)
        self.h2 = _connection(client, settings)
        self.h2.initiate_connection()
        self.h2.increment_flow_control_window((16 << 20) - 65535)
        self.flush()

    def flush(self):
        self._write(self.h2.data_to_send())

    def _write(self, octets):
        end = time.monotonic() + 10 * wait.SCALE
        while octets and not self.closed:
            try:
                octets = octets[self.tls.send(octets):]
            except (ssl.SSLWantWriteError, ssl.SSLWantReadError):
                if time.monotonic() > end:
                    raise TimeoutError("the peer does not take what is sent") from None
                ready(self.tls, 0.05, select.POLLOUT)
            except OSError as error:
                self._close(error)

    def _close(self, error):
        """Notes why; an alert that waits to be read says more than a write that failed."""
        if self.closed is None:
            self.closed = type(error).__name__
            try:
                while self.tls.recv(65536):
                    pass
            except OSError as reason:
                error = reason
            self.closed = getattr(error, "reason", None) or self.closed

    def pump(self, seconds=0.05):
        """Takes in what comes within the time, at least one read; returns whether anything came."""
        if self.closed:
            return False
        if not self.tls.pending() and not ready(self.tls, seconds):
            return False
        with self.lock:
            return self._take()

    def _take(self):
        try:
            octets = self.tls.recv(1 << 20)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return False
        except OSError as error:
            self._close(error)
            return True
        if not octets:
            self.closed = "eof"
            return True
        self._unread += octets
        try:
            while frame := self._next_frame():
                for event in self.h2.receive_data(frame):
                    self._event(event)
        except h2.exceptions.ProtocolError as error:
            self.closed = f"protocol error of the peer: {error!r}"
        self.flush()
        return True

    def _next_frame(self):
        """One whole frame, or the preface, of what has come in. python-h2 gets them one by one, see GOAWAY."""
        size = self._preface or 9 + int.from_bytes(self._unread[:3], "big")
        if len(self._unread) < max(size, 9):
            return b""
        frame, self._unread, self._preface = self._unread[:size], self._unread[size:], 0
        return frame

    def _event(self, event):
        if isinstance(event, (h2.events.ResponseReceived, h2.events.RequestReceived)):
            state = self.streams.setdefault(event.stream_id, StreamState())
            state.headers = dict(event.headers)
            if isinstance(event, h2.events.RequestReceived):
                self.new_requests.append(event.stream_id)
        elif isinstance(event, h2.events.DataReceived):
            self.streams[event.stream_id].data += event.data
            if event.flow_controlled_length:
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.StreamEnded):
            self.streams[event.stream_id].end = "end"
        elif isinstance(event, h2.events.StreamReset):
            self.streams.setdefault(event.stream_id, StreamState()).end = int(event.error_code)
        elif isinstance(event, h2.events.ConnectionTerminated):
            self.goaway = (int(event.error_code), event.last_stream_id)
            # To python-h2 this is the end of the connection; to HTTP/2 it is the end of new streams.
            state = h2.connection.ConnectionState
            self.h2.state_machine.state = state.CLIENT_OPEN if self.h2.config.client_side else state.SERVER_OPEN
        elif isinstance(event, h2.events.PingAckReceived):
            self.pongs += 1

    def until(self, what, probe, seconds=5.0):
        """Pumps until `probe` is true; `Refused` if the connection goes first."""
        end = time.monotonic() + seconds * wait.SCALE
        while not (value := probe()):
            if self.closed:
                raise Refused(self.closed)
            assert time.monotonic() < end, f"not within {seconds} s: {what}"
            self.pump()
        return value

    def send(self, stream, octets, end=False, seconds=10.0):
        """Sends as the windows allow; `end` adds END_STREAM."""
        view = memoryview(octets)
        while view:
            with self.lock:  # other streams send within the same window of the tunnel
                room = min(self.h2.local_flow_control_window(stream), self.h2.max_outbound_frame_size, len(view))
                if room > 0:
                    self.h2.send_data(stream, bytes(view[:room]))
                    self.flush()
                    view = view[room:]
                    continue
            self.until("window", lambda: self.h2.local_flow_control_window(stream) > 0, seconds)
        if end:
            self.end(stream)

    def take(self, stream, count=None):
        """What has come in on a stream, or the first `count` octets of it."""
        with self.lock:
            state = self.streams[stream]
            octets, state.data = state.data[:count], b"" if count is None else state.data[count:]
            return octets

    def end(self, stream):
        with self.lock:
            self.h2.end_stream(stream)
            self.flush()

    def reset(self, stream, code=Code.CANCEL):
        with self.lock:
            self.h2.reset_stream(stream, code)
            self.flush()

    def say_goaway(self, last=0):
        """The frame alone: python-h2 would take it for the end of everything, streams that are open included."""
        with self.lock:
            self.flush()
            self._write(hyperframe.frame.GoAwayFrame(0, last_stream_id=last).serialize())

    def ping(self, octets=b"8 octets"):
        with self.lock:
            self.h2.ping(octets)
            self.flush()

    def drop(self, reset=False):
        """Ends TCP without a word in HTTP/2 or TLS."""
        with self.lock:
            if reset:
                self.tls.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            self.closed = "dropped here"
            self.tls.close()


class Tunnel(Link):
    """The client role: one tunnel to `host`:15008 from namespace `ns`."""

    def __init__(self, ns, host, credential, port=PORT, settings=None, **context):
        ctx = credential.context(server=False, **context)
        raw = netns.connect(ns, host, port)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.local_port = raw.getsockname()[1]
        try:
            tls = ctx.wrap_socket(raw)
        except OSError as error:
            raise Refused(getattr(error, "reason", None) or repr(error)) from None
        self.peer = pki.peer_uris(tls)
        super().__init__(tls, True, {h2.settings.SettingCodes.ENABLE_PUSH: 0, **(settings or {})})

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.tls.close()

    def request(self, authority, method="CONNECT", headers=(), end=False):
        """Sends the request and returns its stream without waiting."""
        with self.lock:
            stream = self.h2.get_next_available_stream_id()
            self.streams[stream] = StreamState()
            self.h2.send_headers(stream, [(":method", method), (":authority", authority), *headers], end_stream=end)
            self.flush()
        return stream

    def connect(self, authority, seconds=8.0, **request):
        """(stream, status) of a CONNECT; a reset before the answer gives the status None."""
        stream = self.request(authority, **request)
        state = self.streams[stream]
        self.until("an answer to CONNECT", lambda: state.headers or state.end is not None, seconds)
        return stream, state.status

    def receive(self, stream, count, seconds=5.0):
        state = self.streams[stream]
        self.until(f"{count} octets", lambda: len(state.data) >= count or state.end is not None, seconds)
        return self.take(stream, count)

    def wait_end(self, stream, seconds=5.0):
        """ "end", or the code of the reset."""
        return self.until("the end of the stream",
                          lambda: self.streams[stream].end is not None and [self.streams[stream].end], seconds)[0]

    def echo(self, authority, payload=b"through the tunnel"):
        """One connection that echoes and ends cleanly; asserts all of it."""
        stream, status = self.connect(authority)
        assert status == 200, status
        self.send(stream, payload, end=True)
        assert self.receive(stream, len(payload)) == payload
        assert self.wait_end(stream) == "end"


class ServedConnection(Link):
    """One tunnel that a TunnelServer has accepted. `identities` are the names in the client's certificate."""

    def __init__(self, tls, settings, peer):
        self.peer, self.identities = peer, pki.peer_uris(tls)
        super().__init__(tls, False, settings)

    def requests(self):
        return [s.headers for _, s in sorted(self.streams.items()) if s.headers]

    def respond(self, stream, status, headers=(), end=False):
        with self.lock:
            self.h2.send_headers(stream, [(":status", str(status)), *headers], end_stream=end)
            self.flush()


def echoing(conn, stream):
    """The ordinary server: accepts, echoes, ends when the client ends."""
    conn.respond(stream, 200)
    state = conn.streams[stream]
    while True:
        conn.until("data or the end", lambda: state.data or state.end is not None, 60)
        octets = conn.take(stream)
        if not octets and state.end is not None:
            break
        conn.send(stream, octets)
    if state.end == "end":
        conn.end(stream)


def answering(status, **more):
    """A server that gives every request the same answer and nothing else."""
    return lambda conn, stream: conn.respond(stream, status, **more)


def onward(ns, host, credential, authority):
    """A waypoint: opens a tunnel of its own for each request and passes on what echoes there."""
    def handler(conn, stream):
        with Tunnel(ns, host, credential) as tunnel:
            there, status = tunnel.connect(authority)
            conn.respond(stream, status)
            state = conn.streams[stream]
            while status == 200:
                conn.until("data or the end", lambda: state.data or state.end is not None, 60)
                octets = conn.take(stream)
                if not octets:
                    tunnel.end(there)
                    tunnel.wait_end(there)
                    conn.end(stream)
                    break
                tunnel.send(there, octets)
                conn.send(stream, tunnel.receive(there, len(octets)))
    return handler


def piping(ns, host, port=PORT):
    """A network gateway: passes the octets of each request on to one address, whatever they are."""
    def handler(conn, stream):
        with netns.connect(ns, host, port) as raw:
            conn.respond(stream, 200)
            state = conn.streams[stream]
            while state.end is None:
                if octets := conn.take(stream):
                    raw.sendall(octets)
                if ready(raw, 0.005):
                    back = raw.recv(65536)
                    if not back:
                        conn.end(stream)
                        break
                    conn.send(stream, back)
    return handler


class TunnelServer:
    """The server role on port 15008 of a namespace. Each request of a tunnel is handed to `handler(conn, stream)`
    in a thread of the tunnel; every stream of it in turn, unless `parallel`."""

    def __init__(self, ns, credential, handler=echoing, settings=None, greet=True, **context):
        self.context, self.handler, self.settings = credential.context(server=True, **context), handler, settings or {}
        self.connections, self.failures, self.accepted, self.greet = [], [], 0, greet
        self.listener = netns.listen(ns, "::", PORT)
        self._open = True
        self._held = []
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self._open = False
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listener.close()
        for conn in self.connections:
            if not conn.closed:
                conn.drop()
        for raw in self._held:
            raw.close()

    def _serve(self):
        while self._open:
            try:
                raw, peer = self.listener.accept()
            except OSError:
                return
            self.accepted += 1
            threading.Thread(target=self._one, args=(raw, peer), daemon=True).start()

    def _one(self, raw, peer):
        if not self.greet:  # takes the connection and says nothing
            self._held.append(raw)
            return
        raw.settimeout(10 * wait.SCALE)
        try:
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            tls = self.context.wrap_socket(raw, server_side=True)
            conn = ServedConnection(tls, self.settings, peer)
        except OSError as error:
            self.failures.append(getattr(error, "reason", None) or repr(error))
            return
        self.connections.append(conn)
        while self._open and not conn.closed:
            try:
                conn.pump(0.05)
            except (OSError, ValueError):
                return
            while conn.new_requests:
                stream = conn.new_requests.pop(0)
                threading.Thread(target=self._handle, args=(conn, stream), daemon=True).start()

    def _handle(self, conn, stream):
        try:
            self.handler(_Quiet(conn), stream)
        except (Refused, OSError, AssertionError, h2.exceptions.H2Error, ValueError):
            pass

    def requests(self):
        return [r for c in self.connections for r in c.requests()]


class _Quiet:
    """A connection as a handler sees it: the connection's own thread pumps, so that waiting is only watching."""

    def __init__(self, conn):
        self._conn = conn

    def __getattr__(self, name):
        return getattr(self._conn, name)

    def until(self, what, probe, seconds=5.0):
        end = time.monotonic() + seconds * wait.SCALE
        while not (value := probe()):
            if self._conn.closed:
                raise Refused(self._conn.closed)
            assert time.monotonic() < end, f"not within {seconds} s: {what}"
            time.sleep(0.002)
        return value

    def send(self, stream, octets, end=False, seconds=10.0):
        Link.send(self, stream, octets, end, seconds)
