# SPDX-License-Identifier: Apache-2.0
"""What a client speaks inside of a tunnel, or over any socket: HTTP/1.1 by h11, HTTP/2 by python-h2. And the other end
of the waypoint's own tunnels: an HBONE server that hands each stream to a port of its pod."""
import base64
import hashlib
import os
import socket
import threading

import h11
import h2.config
import h2.connection
import h2.events
import h2.settings

from lib import netns, peers


class Pipe:
    """A tunnel's stream as a socket."""

    def __init__(self, tunnel, stream):
        self.tunnel, self.stream = tunnel, stream

    def sendall(self, octets):
        self.tunnel.send(self.stream, octets)

    def recv(self, count, seconds=10.0):
        state = self.tunnel.streams[self.stream]
        self.tunnel.until("data or the end", lambda: state.data or state.end is not None, seconds)
        if not state.data and state.end != "end":
            raise ConnectionResetError(f"stream reset with {state.end}")
        return self.tunnel.take(self.stream, count)

    def shutdown(self, _how=socket.SHUT_WR):
        self.tunnel.end(self.stream)

    def close(self):
        if self.tunnel.streams[self.stream].end is None and not self.tunnel.closed:
            self.tunnel.reset(self.stream)


class Response:
    """What came: interim ones are in `interim`."""

    def __init__(self):
        self.status, self.headers, self.body, self.trailers, self.interim, self.end = None, [], b"", [], [], None

    def __getitem__(self, name):
        """The values of a header, joined; KeyError when there is none."""
        found = [v for k, v in self.headers if k == name]
        if not found:
            raise KeyError(name)
        return ", ".join(found)

    def __contains__(self, name):
        return any(k == name for k, _ in self.headers)

    def json(self):
        import json  # pylint: disable=import-outside-toplevel
        return json.loads(self.body)


def _text(headers):
    return [(k.decode() if isinstance(k, bytes) else k, v.decode() if isinstance(v, bytes) else v) for k, v in headers]


class H1:
    """Requests one after the other."""

    def __init__(self, sock):
        self.sock, self.conn = sock, h11.Connection(h11.CLIENT)

    def begin(self, method, target, headers=(), host="web.shop"):
        names = {k.lower() for k, _ in headers}
        self.sock.sendall(self.conn.send(h11.Request(method=method, target=target, headers=[
            *([] if "host" in names else [("host", host)]), *headers])))

    def data(self, octets):
        self.sock.sendall(self.conn.send(h11.Data(data=octets)))

    def finish(self, trailers=()):
        out = self.conn.send(h11.EndOfMessage(headers=list(trailers)))
        if out:
            self.sock.sendall(out)

    def event(self):
        while True:
            event = self.conn.next_event()
            if event is not h11.NEED_DATA:
                return event
            self.conn.receive_data(self.sock.recv(262144))

    def response(self, body=True):
        r = Response()
        while True:
            event = self.event()
            if isinstance(event, h11.InformationalResponse):
                r.interim.append((event.status_code, _text(event.headers)))
                if event.status_code == 101:
                    return r
                if event.status_code == 100 and body is None:
                    return r
            elif isinstance(event, h11.Response):
                r.status, r.headers = event.status_code, _text(event.headers)
                if not body:
                    return r
            elif isinstance(event, h11.Data):
                r.body += event.data
            elif isinstance(event, h11.EndOfMessage):
                r.trailers, r.end = _text(event.headers), "end"
                return r
            else:
                raise ConnectionResetError(f"{event!r}")

    def rest(self, r):
        more = self.response()
        r.body, r.trailers, r.end = more.body, more.trailers, more.end
        return r

    def next(self):
        self.conn.start_next_cycle()

    def request(self, method, target, headers=(), body=b"", trailers=(), **more):
        if self.conn.our_state is h11.DONE:
            self.next()
        headers = list(headers)
        if body and not any(k.lower() in ("content-length", "transfer-encoding") for k, _ in headers):
            headers.append(("transfer-encoding", "chunked") if trailers else ("content-length", str(len(body))))
        self.begin(method, target, headers, **more)
        if body:
            self.data(body)
        self.finish(trailers)
        return self.response()

    def get(self, target, *headers, **more):
        return self.request("GET", target, headers, **more)


class H2:
    """Requests at once; `pump` takes in what comes."""

    def __init__(self, sock):
        self.sock = sock
        self.conn = h2.connection.H2Connection(h2.config.H2Configuration(
            header_encoding="utf-8", validate_outbound_headers=False, normalize_outbound_headers=False))
        self.conn.local_settings = h2.settings.Settings(client=True, initial_values={
            h2.settings.SettingCodes.ENABLE_PUSH: 0, h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 1 << 20})
        self.conn.initiate_connection()
        self.conn.increment_flow_control_window(16 << 20)
        self.responses, self.goaway, self.auto, self.unread = {}, None, True, b""
        self.flush()

    def flush(self):
        octets = self.conn.data_to_send()
        if octets:
            self.sock.sendall(octets)

    def begin(self, method, path, headers=(), end=True, authority="web.shop", extra=()):
        stream = self.conn.get_next_available_stream_id()
        self.responses[stream] = Response()
        self.conn.send_headers(stream, [(":method", method), (":scheme", "http"), (":authority", authority),
                                        (":path", path), *extra, *headers], end_stream=end)
        self.flush()
        return stream

    def data(self, stream, octets, end=False):
        view = memoryview(octets)
        while view:
            room = min(self.conn.local_flow_control_window(stream), self.conn.max_outbound_frame_size, len(view))
            if room <= 0:
                self.pump()
                continue
            self.conn.send_data(stream, bytes(view[:room]))
            view = view[room:]
            self.flush()
        if end:
            self.conn.end_stream(stream)
            self.flush()

    def pump(self):
        octets = self.sock.recv(262144)
        if not octets:
            raise ConnectionResetError("the connection ended")
        self.unread += octets
        while len(self.unread) >= 9 and len(self.unread) >= (size := 9 + int.from_bytes(self.unread[:3], "big")):
            frame, self.unread = self.unread[:size], self.unread[size:]
            for event in self.conn.receive_data(frame):
                self.event(event)
        self.flush()

    def event(self, event):
        r = self.responses.get(getattr(event, "stream_id", None))
        if isinstance(event, h2.events.InformationalResponseReceived):
            headers = dict(_text(event.headers))
            r.interim.append((int(headers.pop(":status")), list(headers.items())))
        elif isinstance(event, h2.events.ResponseReceived):
            headers = _text(event.headers)
            r.status, r.headers = int(headers[0][1]), headers[1:]
        elif isinstance(event, h2.events.DataReceived):
            r.body += event.data
            if self.auto:
                self.conn.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.TrailersReceived):
            r.trailers = _text(event.headers)
        elif isinstance(event, h2.events.StreamEnded):
            r.end = "end"
        elif isinstance(event, h2.events.StreamReset):
            r.end = int(event.error_code)
        elif isinstance(event, h2.events.ConnectionTerminated):
            self.goaway = int(event.error_code)
            # To python-h2 this is the end of the connection; to HTTP/2 it is the end of new streams.
            self.conn.state_machine.state = h2.connection.ConnectionState.CLIENT_OPEN

    def response(self, stream):
        while self.responses[stream].end is None:
            self.pump()
        return self.responses[stream]

    def head(self, stream):
        while self.responses[stream].status is None and self.responses[stream].end is None:
            self.pump()
        return self.responses[stream]

    def request(self, method, path, headers=(), body=b"", trailers=(), **more):
        stream = self.begin(method, path, headers, end=not body and not trailers, **more)
        if body:
            self.data(stream, body, end=not trailers)
        if trailers:
            self.conn.send_headers(stream, list(trailers), end_stream=True)
            self.flush()
        return self.response(stream)

    def get(self, path, *headers, **more):
        return self.request("GET", path, headers, **more)


def open_websocket(http, target="/ws"):
    """(the answer's status and headers, a function that sends octets and takes as many)"""
    more = [("sec-websocket-version", "13"), ("sec-websocket-protocol", "echo")]
    if isinstance(http, H2):
        while not http.conn.remote_settings.enable_connect_protocol:
            http.pump()
        stream = http.begin("CONNECT", target, more, end=False, extra=[(":protocol", "websocket")])
        r = http.head(stream)

        def echo(octets):
            before = len(r.body)
            http.data(stream, octets)
            while len(r.body) < before + len(octets):
                http.pump()
            return r.body[before:]
        return r.status, dict(r.headers), echo
    key = base64.b64encode(os.urandom(16)).decode()
    http.begin("GET", target, [("upgrade", "websocket"), ("connection", "upgrade"), ("sec-websocket-key", key), *more])
    http.finish()
    r = http.response()
    status, headers = r.interim[0] if r.interim else (r.status, r.headers)
    headers = dict(headers)
    if status == 101:
        proof = hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()
        assert headers["sec-websocket-accept"] == base64.b64encode(proof).decode()

    def echo_h1(octets):
        http.sock.sendall(octets)
        got = b""
        while len(got) < len(octets):
            got += http.sock.recv(65536)
        return got
    return status, headers, echo_h1


class PodServer(peers.TunnelServer):
    """What a node proxy does for its pod: each CONNECT becomes a connection to that port of namespace `ns`. `refuse` is a
    status to answer with instead, `delay` seconds to wait before."""

    def __init__(self, ns, credential):
        self.ns, self.refuse, self.asked = ns, None, []
        super().__init__(ns, credential, handler=self._join)

    def drop(self):
        """Ends every tunnel there is."""
        for conn in self.connections:
            if not conn.closed:
                conn.drop()
        self.connections.clear()

    def _join(self, conn, stream):
        headers = conn.streams[stream].headers
        self.asked.append(headers)
        if self.refuse:
            conn.respond(stream, self.refuse, end=True)
            return
        try:
            sock = netns.connect(self.ns, "127.0.0.1", int(headers[":authority"].rsplit(":", 1)[1]))
        except OSError:
            conn.respond(stream, 503, end=True)
            return
        sock.settimeout(None)
        conn.respond(stream, 200)
        threading.Thread(target=self._down, args=(conn, stream, sock), daemon=True).start()
        state = conn.streams[stream]
        try:
            while True:
                conn.until("data or the end", lambda: state.data or state.end is not None, 600)
                octets = conn.take(stream)
                if octets:
                    sock.sendall(octets)
                elif state.end == "end":
                    sock.shutdown(socket.SHUT_WR)
                    return
                elif state.end is not None:
                    sock.close()
                    return
        except peers.Refused:
            sock.close()
        except OSError:
            pass  # what the application said before it left is still on its way down

    @staticmethod
    def _down(conn, stream, sock):
        try:
            while octets := sock.recv(262144):
                conn.send(stream, octets, seconds=600)
            conn.end(stream)
        except OSError:
            try:
                conn.reset(stream)
            except Exception:  # pylint: disable=broad-except
                pass  # the tunnel went first
        except Exception:  # pylint: disable=broad-except
            sock.close()  # the stream went first
