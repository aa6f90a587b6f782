# SPDX-License-Identifier: Apache-2.0
"""What is under way when policies change: WebSocket, gRPC and server-sent events, with foreign clients. Who would not be
let in now is cut and told why, all others go on."""
import subprocess
import sys
import time

import h11
import pytest
import wsproto
import wsproto.events

from lib import grpcecho, l7, model, netns, tunnelled, waypoint
from lib.proc import Process
from lib.tokens import rule, token
from lib.tunnelled import open_websocket
from lib.wait import until
from lib.wiretypes import ADDRESS, BINDING, POLICY, ROUTE, TRAFFIC

CUT = "connection_closed_due_to_policy_change"
GRPC_PORT = 8090


def to_path(*paths):
    return l7.w.Rule(to=[l7.w.Operation(paths=paths)])


def claims(**wanted):
    return l7.w.Rule(when=[l7.w.Condition(key=f"request.auth.claims[{k}]", values=[v]) for k, v in wanted.items()])


def denial(name):
    return f"rbac_access_denied_matched_policy[ns[shop]-policy[{name}]-rule[0]]"


class Events:
    """A stream of events that a client of HTTP/1.1 takes."""

    def __init__(self, http, path, *headers):
        self.http = http
        http.begin("GET", path, headers)
        http.finish()
        self.status = http.response(body=False).status

    def next(self):
        event = self.http.event()
        if not isinstance(event, h11.Data):
            raise ConnectionResetError(repr(event))
        return bytes(event.data)

    def go_on(self):
        """There are more than could have been on their way."""
        return all(self.next() for _ in range(5))

    def wait_cut(self):
        with pytest.raises((ConnectionError, h11.RemoteProtocolError)):
            while True:
                self.next()


class WebSocket:
    """A client by wsproto, from a pod behind our own node proxy."""

    def __init__(self, sock, path):
        self.sock, self.ws = sock, wsproto.WSConnection(wsproto.ConnectionType.CLIENT)
        self.sock.sendall(self.ws.send(wsproto.events.Request(host="real", target=path)))
        assert isinstance(self.event(), wsproto.events.AcceptConnection)

    def event(self):
        while True:
            for event in self.ws.events():
                return event
            octets = self.sock.recv(65536)
            if not octets:
                raise ConnectionResetError("the connection ended")
            self.ws.receive_data(octets)

    def echo(self, text):
        """The application gives back what it gets, masked as it was."""
        octets, got = self.ws.send(wsproto.events.Message(text)), b""
        self.sock.sendall(octets)
        while len(got) < len(octets):
            got += self.sock.recv(65536)
        assert got == octets


def test_a_websocket_is_cut_at_both_ends(mesh):
    with netns.connect(mesh.ns(waypoint.REAL_CLIENT), waypoint.REAL, 80) as one, \
            netns.connect(mesh.ns(waypoint.REAL_CLIENT), waypoint.REAL, 80) as two:
        cut, other = WebSocket(one, "/ws/cut"), WebSocket(two, "/ws/other")
        cut.echo(b"hello")
        mesh.use(l7.policy("chats", "real", l7.DENY, [to_path("/ws/cut")]))
        with pytest.raises(ConnectionError):
            cut.event()
        other.echo(b"hello")
    line = mesh.wp.wait_request("/ws/cut")
    assert f" 101 DENY {denial('chats')} {CUT} " in line, line
    until("it is counted", lambda: mesh.wp.metric("wp_policy_cuts_total") >= 1)
    until("it is counted by its flag", lambda: mesh.wp.metric(
        "istio_requests_total", response_flags="DENY", response_code="101", source_principal=model.spiffe("user")) >= 1)


@pytest.mark.parametrize("port", (80, 81))
def test_a_websocket_over_http2_is_reset_alone(lab, port):
    with lab.h2(port=port) as http:
        echoes = [open_websocket(http, path)[2] for path in ("/ws/cut", "/ws/other")]
        assert [echo(b"abc") for echo in echoes] == [b"abc", b"abc"]
        cut, other = sorted(http.responses)
        lab.use(l7.policy("chats", "web", l7.DENY, [to_path("/ws/cut")]))
        assert http.response(cut).end == 8  # CANCEL
        assert echoes[1](b"def") == b"def" and http.responses[other].end is None
        assert http.get("/echo").status == 200


def test_server_sent_events_to_curl(mesh, tmp_path):
    def start(path):
        return Process(f"curl-{path}", ["curl", "-sSN", f"http://{waypoint.REAL}/events/{path}"], str(tmp_path),
                       ns=mesh.ns(waypoint.REAL_CLIENT))
    mesh.use(l7.policy("get", "real", l7.ALLOW, [to_path("/events/cut"), to_path("/events/*")]))
    cut, other = start("cut"), start("other")
    try:
        for process in (cut, other):
            process.wait_text("data: 3")
        mesh.use(l7.policy("get", "real", l7.ALLOW, [to_path("/events/o*")]))
        assert cut.wait_exit() in (18, 52, 56)  # not all of it came, or the connection was reset
        last = other.text().count("data: ")
        until("the other goes on", lambda: other.text().count("data: ") > last + 5)
        assert other.alive
    finally:
        cut.kill()
        other.kill()
    line = mesh.wp.wait_request("/events/cut")
    assert f" 200 DENY rbac_access_denied_matched_policy[none] {CUT} " in line, line


class Call:
    """A stream of gRPC by grpcio, from a pod behind our own node proxy."""

    def __init__(self, lab, folder, method):
        self.process = Process(f"grpc-{method}", [sys.executable, grpcecho.__file__, "call", f"{waypoint.REAL}:86", method],
                               folder, ns=lab.ns(waypoint.REAL_CLIENT), stdin=subprocess.PIPE)

    def echo(self, word):
        self.process.child.stdin.write(f"{word}\n".encode())
        self.process.child.stdin.flush()
        self.process.wait_text(f"{word}\n")

    def end(self):
        self.process.child.stdin.close()
        self.process.kill()


def test_a_grpc_stream_ends_with_permission_denied(mesh, tmp_path):
    ports = {**waypoint.PORTS, 86: GRPC_PORT}
    service = [model.pod(2, 4, "real-1", "real", services={l7.host("real"): ports}),
               model.service("real", [waypoint.REAL], ports, waypoint=model.gateway(f"shop/{l7.host('gate')}")),
               l7.binding("real", {**waypoint.PROTOCOLS, 86: "GRPC"})]
    server = Process("grpc-server", [sys.executable, grpcecho.__file__, "serve", str(GRPC_PORT)], str(tmp_path),
                     ns=mesh.ns(waypoint.REAL_APP))
    calls = []
    try:
        server.wait_text("serving", 20)
        mesh.use(*service)
        calls = [Call(mesh, str(tmp_path), method) for method in ("Cut", "Other")]
        for call in calls:
            call.echo("before")
        mesh.use(*service, l7.policy("calls", "real", l7.DENY, [to_path("/echo/Cut")]))
        calls[0].process.wait_text("status PERMISSION_DENIED RBAC: access denied")
        server.wait_text("Cut is over")
        calls[1].echo("after")
        assert "Other is over" not in server.text() and "status" not in calls[1].process.text()
    finally:
        for call in calls:
            call.end()
        server.kill()
    line = mesh.wp.wait_request("/echo/Cut")
    assert f" 200 DENY {denial('calls')} {CUT} " in line, line
    until("it is counted", lambda: mesh.wp.metric(
        "istio_requests_total", response_flags="DENY", grpc_response_status="7", request_protocol="grpc") >= 1)


def test_policies_that_do_not_act_or_go_and_routes_cut_nobody(lab):
    allow = l7.policy("in", "web", l7.ALLOW, [to_path("/events/*"), to_path("/echo")])
    lab.use(allow)
    with lab.h1() as http:
        events = Events(http, "/events/all")
        assert events.status == 200
        for more in ([allow, l7.policy("watch", "web", l7.w.Authorization.AUDIT, [to_path("/events/*")])],
                     [allow, l7.policy("planned", "web", l7.DENY, [to_path("/events/*")], dry_run=True)],
                     [allow, l7.policy("other", "web", l7.DENY, [to_path("/other")])],
                     [l7.route("web", "elsewhere", l7.prefix("/elsewhere"), backends=[l7.backend("other")])], []):
            lab.use(*more)
            assert events.go_on()
        lab.use(l7.policy("in", "web", l7.ALLOW, [to_path("/echo")]))
        events.wait_cut()


def test_policy_outlasts_what_it_protects_when_discovery_begins_anew(lab):
    """Binding and policy went while nobody was there to say so: the policy's removal is heard first."""
    lab.use(l7.policy("secret", "web", l7.DENY, [to_path("/secret")]))
    with lab.tunnel() as tunnel:
        stream, _ = tunnel.connect(f"{waypoint.WEB}:80")
        http = tunnelled.H1(tunnelled.Pipe(tunnel, stream))
        assert (http.get("/echo").status, http.get("/secret").status) == (200, 403)
        with lab.cp.away(BINDING):
            lab.cp.replace([r for r in waypoint.baseline() if r != l7.binding("web", waypoint.PROTOCOLS)])
        for kind in (ADDRESS, POLICY, TRAFFIC, ROUTE):
            until(f"{kind} is answered", lambda kind=kind: [
                e for e in lab.cp.events("request", type=kind) if e["nonce"]], 20)
        assert (http.get("/echo").status, http.get("/secret").status) == (200, 403)
        lab.cp.release()
        lab.cp.settle()
        until("it is not served any more", lambda: tunnel.connect(f"{waypoint.WEB}:80")[1] == 400)


def test_by_who_the_client_is(lab):
    with lab.h1(sa="client") as one, lab.h1(sa="other") as two:
        cut, other = Events(one, "/events/mine"), Events(two, "/events/theirs")
        lab.use(l7.policy("who", "web", l7.DENY, [l7.w.Rule(**{"from": [
            l7.w.Source(principals=["cluster.local/ns/shop/sa/client"])]})]))
        cut.wait_cut()
        assert other.go_on()
    assert denial("who") in lab.wp.wait_request("/events/mine")


def test_a_request_without_a_response_gets_the_refusal(lab):
    with lab.h1() as http, lab.h1() as look:
        http.begin("GET", "/delay/20017")
        http.finish()
        until("one of the pods has it", lambda: "/delay/20017" in look.get("/seen").json(), 20)
        lab.use(l7.policy("slow", "web", l7.DENY, [to_path("/delay/*")]))
        answer = http.response()
        assert (answer.status, answer.body) == (403, b"RBAC: access denied")
    assert denial("slow") in lab.wp.wait_request("/delay/20017")


def test_a_token_stays_verified_and_its_claims_are_judged_again(lab):
    tokens = l7.authentication("tokens", "web", [rule("ES256", 0)])
    lab.use(tokens, l7.policy("group", "web", l7.ALLOW, [claims(group="a"), claims(group="b")]))
    with lab.h1() as one, lab.h1() as two, lab.h1() as now:
        short = token("ES256", 0, group="a", exp=int(time.time()) - 52)  # clocks may differ by a minute
        mine = Events(one, "/events/a", ("authorization", f"Bearer {short}"))
        other = Events(two, "/events/b", ("authorization", f"Bearer {token('ES256', 0, group='b')}"))
        assert (mine.status, other.status) == (200, 200)
        until("it has expired", lambda: now.get("/echo", ("authorization", f"Bearer {short}")).status == 401, 20)
        # Expired, and then of a key that nobody believes any more: neither counts.
        lab.use(l7.authentication("tokens", "web", [rule("ES256", 1)]),
                l7.policy("group", "web", l7.ALLOW, [claims(group="b"), claims(group="a")]))
        assert mine.go_on() and other.go_on()
        lab.use(tokens, l7.policy("group", "web", l7.ALLOW, [claims(group="b")]))
        mine.wait_cut()
        assert other.go_on()


def test_a_token_that_nobody_had_asked_for(lab):
    with lab.h1() as good, lab.h1() as bad, lab.h1() as none:
        good = Events(good, "/events/good", ("authorization", f"Bearer {token('ES256', 0)}"))
        bad = Events(bad, "/events/bad", ("authorization", f"Bearer {token('ES256', 1)}"))
        none = Events(none, "/events/none")
        lab.use(l7.authentication("tokens", "web", [rule("ES256", 0)]))
        bad.wait_cut()
        assert good.go_on() and none.go_on()
        lab.use(l7.authentication("tokens", "web", [rule("ES256", 0)]),
                l7.policy("known", "web", l7.ALLOW, [l7.w.Rule(**{"from": [l7.w.Source(request_principals=["*"])]})]))
        none.wait_cut()
        assert good.go_on()
    assert " 200 DENY jwt_authn_access_denied{" in lab.wp.wait_request("/events/bad")
