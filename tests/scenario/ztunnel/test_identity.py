# SPDX-License-Identifier: Apache-2.0
"""The tunnel against foreign peers, both roles: who is taken for whom, and what a peer that misbehaves achieves."""
import collections
import concurrent.futures
import hashlib
import re
import socket
import ssl

import h2.settings
import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID

from lib import app, client, mesh as meshes, model, netns, peers, pki, wait

SPIFFE = model.spiffe
HERE = f"{SPIFFE('alpha')}"


def foreign_root(*sans, **options):
    """A certificate for these names by an authority of the right name that nobody trusts."""
    return lambda solo: _trusting(pki.Authority().issue(*sans, **options), solo)


def ours(*sans, **options):
    return lambda solo: solo.credential(*sans, **options)


def _trusting(credential, solo):
    credential.root_pem = solo.cp.authority.root_pem
    return credential


# ---- the proxy as server

GOOD = {
    "one SPIFFE name": ours(SPIFFE("peer")),
    "another namespace": ours(SPIFFE("x", "elsewhere")),
    "a DNS name beside it": ours("peer.example", SPIFFE("peer")),
    "no extended key usage": ours(SPIFFE("peer"), usages=()),
}
Bad = collections.namedtuple("Bad", "make alerts")
BAD = {
    "foreign trust domain": Bad(ours(SPIFFE("peer", td="other.local")), ("CERTIFICATE_UNKNOWN",)),
    "expired": Bad(ours(SPIFFE("peer"), ttl=-60, age=3600), ("CERTIFICATE_EXPIRED",)),
    "not valid yet": Bad(ours(SPIFFE("peer"), age=-600), ("CERTIFICATE",)),
    "another root of the same name": Bad(foreign_root(SPIFFE("peer")), ("DECRYPT_ERROR", "UNKNOWN_CA", "BAD_CERTIFICATE")),
    "two SPIFFE names": Bad(ours(SPIFFE("peer"), SPIFFE("alpha")), ("CERTIFICATE",)),
    "two trust domains": Bad(ours(SPIFFE("peer", td="other.local"), SPIFFE("peer")), ("CERTIFICATE",)),
    "no SPIFFE name": Bad(ours("peer.example"), ("CERTIFICATE_UNKNOWN",)),
    "no names at all": Bad(ours(), ("CERTIFICATE_UNKNOWN",)),
    "a SPIFFE name of another shape": Bad(ours("spiffe://cluster.local/peer"), ("CERTIFICATE_UNKNOWN",)),
    "for servers only": Bad(ours(SPIFFE("peer"), usages=(ExtendedKeyUsageOID.SERVER_AUTH,)), ("UNSUPPORTED_CERTIFICATE",)),
}


@pytest.mark.parametrize("what", GOOD)
def test_a_client_is_taken_for_the_name_in_its_certificate(solo, what):
    credential = GOOD[what](solo)
    solo.start()
    since = solo.zt.mark()
    with peers.Tunnel(solo.ns("p41"), solo.POD4, credential) as tunnel:
        assert tunnel.peer == [HERE]
        tunnel.echo(f"{solo.POD4}:{app.ECHO}")
    identity = SPIFFE("x", "elsewhere") if "namespace" in what else SPIFFE("peer")
    solo.zt.wait_access(since, direction="inbound", src_identity=identity, dst_identity=HERE)


@pytest.mark.parametrize("what", [*BAD, "no certificate"])
def test_a_client_is_refused_that_shows(solo, what):
    make, alerts = BAD.get(what, Bad(ours(SPIFFE("peer")), ("CERTIFICATE_REQUIRED",)))
    credential = make(solo)
    if what == "no names at all":
        credential = pki.Credential(credential.key, solo.cp.authority.sign(credential.key.public_key(), []),
                                    credential.root_pem)
    solo.start()
    since = solo.zt.mark()
    with pytest.raises(peers.Refused) as refusal:
        with peers.Tunnel(solo.ns("p41"), solo.POD4, credential, show_client_cert=what != "no certificate") as tunnel:
            tunnel.connect(f"{solo.POD4}:{app.ECHO}")
    if "ALERT" in str(refusal.value):
        assert any(a in str(refusal.value) for a in alerts)
    ((level, message, fields),) = solo.zt.wait_access(since, direction="inbound")
    assert (level, message) == ("warn", "connection failed") and fields["error"] and "src.identity" not in fields


def test_older_tls_and_plain_text_are_refused_and_tls_without_alpn_is_served(solo):
    solo.start()
    credential = solo.credential()
    with peers.Tunnel(solo.ns("p41"), solo.POD4, credential, alpn=()) as tunnel:
        tunnel.echo(f"{solo.POD4}:{app.ECHO}")
    with pytest.raises(peers.Refused):
        peers.Tunnel(solo.ns("p41"), solo.POD4, credential, alpn=("http/1.1",))
    context = credential.context(server=False)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with netns.connect(solo.ns("p41"), solo.POD4, 15008) as raw, pytest.raises(OSError):
        context.wrap_socket(raw)
    with netns.connect(solo.ns("p41"), solo.POD4, 15008) as raw:
        raw.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert client.wait_cut(raw) in ("closed", "reset")
    with peers.Tunnel(solo.ns("p41"), solo.POD4, credential) as tunnel:
        tunnel.echo(f"{solo.POD4}:{app.ECHO}")


REQUESTS = {
    "another pod's address": ({"authority": f"10.244.3.12:{app.ECHO}"}, 400),
    "loopback": ({"authority": f"127.0.0.1:{app.ECHO}"}, 400),
    "no port": ({"authority": "10.244.3.11"}, 400),
    "a port too big": ({"authority": "10.244.3.11:65536"}, 400),
    "GET": ({"authority": f"10.244.3.11:{app.ECHO}", "method": "GET", "headers": [(":scheme", "http"), (":path", "/")]}, 400),
    "an own port": ({"authority": "10.244.3.11:15006"}, 503),
    "a closed port": ({"authority": "10.244.3.11:9999"}, 503),
    "an unknown host": ({"authority": "nobody.example:80"}, 503),
    "a host without that port": ({"authority": "alpha.shop.svc.cluster.local:99"}, 503),
    "a host and its port": ({"authority": "alpha.shop.svc.cluster.local:80"}, 200),
    "a host and its named port": ({"authority": "alpha.shop.svc.cluster.local:81"}, 200),
}


@pytest.fixture(scope="module")
def requests_seen(world, solo_control_plane, tmp_path_factory):
    """The whole table asked on one tunnel: request -> status; and what a good request then got. The proxy is gone
    before the first test looks, for the next one is to have the node to itself."""
    solo_control_plane.ca_reset()
    services = {"alpha.shop.svc.cluster.local": {80: app.ECHO, 81: app.GREET}}
    solo_control_plane.replace([
        *meshes.Solo.resources()[1:], model.pod(3, 1, "alpha-1", "alpha", services=services),
        model.service("alpha", ["10.96.3.10"], {80: app.ECHO, 81: 0})], settle=False)
    solo = meshes.Solo(world.topology, str(tmp_path_factory.mktemp("requests")), solo_control_plane, None)
    seen = {}
    try:
        solo.start()
        with peers.Tunnel(solo.ns("p41"), solo.POD4, solo.credential()) as tunnel:
            for name, (request, _) in REQUESTS.items():
                seen[name] = tunnel.connect(**request)[1]
            stream, seen["served"] = tunnel.connect(f"{solo.POD4}:{app.ECHO}")
            seen["baggage"] = tunnel.streams[stream].headers.get("baggage")
    finally:
        solo.finish()
    return seen


@pytest.mark.parametrize("what", REQUESTS)
def test_a_request_is_answered_with_the_contracts_status(requests_seen, what):
    assert requests_seen[what] == REQUESTS[what][1]


def test_after_refusals_the_same_tunnel_serves_and_tells_who_it_is(requests_seen):
    assert requests_seen["served"] == 200
    assert requests_seen["baggage"] == ("k8s.cluster.name=Kubernetes,k8s.namespace.name=shop,"
                                        "k8s.deployment.name=alpha-1-app,service.name=alpha-1-app,service.version=v1")


@pytest.mark.parametrize("how", ["stream reset", "tunnel closed", "tunnel reset"])
def test_what_a_client_breaks_off_reaches_the_application_as_a_reset(solo, how):
    solo.start()
    token = client.new_token()
    with peers.Tunnel(solo.ns("p41"), solo.POD4, solo.credential()) as tunnel:
        stream, _ = tunnel.connect(f"{solo.POD4}:{app.WATCH}")
        tunnel.send(stream, token.encode() + b"\n12345")
        assert tunnel.receive(stream, 3) == b"ok\n"
        if how == "stream reset":
            tunnel.reset(stream)
        else:
            tunnel.drop(reset=how == "tunnel reset")
        got = client.remembered(solo.ns("p31"), token)
    assert got["end"] == "reset", got


def test_a_request_that_ends_at_once_is_a_half_close(solo):
    solo.start()
    with peers.Tunnel(solo.ns("p41"), solo.POD4, solo.credential()) as tunnel:
        stream, status = tunnel.connect(f"{solo.POD4}:{app.DIGEST}", end=True)
        assert status == 200
        assert tunnel.receive(stream, 100).endswith(b" 0\n") and tunnel.wait_end(stream) == "end"


BODY = bytes(range(251)) * 12800  # three of the largest frames and a little, less than a window


def send_in_largest_frames(link, stream):
    """As large as the proxy says it takes, cut by OpenSSL into records of 16 KiB."""
    link.until("room for more than a frame", lambda: link.h2.local_flow_control_window(stream) > len(BODY))
    assert link.h2.max_outbound_frame_size == 1 << 20
    link.send(stream, BODY, end=True)


def test_frames_of_a_mebibyte_from_a_client_arrive_whole(solo):
    solo.start()
    with peers.Tunnel(solo.ns("p41"), solo.POD4, solo.credential()) as tunnel:
        stream, status = tunnel.connect(f"{solo.POD4}:{app.DIGEST}")
        assert status == 200
        send_in_largest_frames(tunnel, stream)
        tunnel.wait_end(stream, 20)
        assert tunnel.take(stream).decode() == f"{hashlib.sha256(BODY).hexdigest()} {len(BODY)}\n"


# ---- the proxy as client

def test_frames_of_a_mebibyte_from_a_server_arrive_whole(solo):
    solo.start()

    def handler(conn, stream):
        conn.respond(stream, 200)
        send_in_largest_frames(conn, stream)
    with peers.TunnelServer(solo.ns("p41"), solo.credential(), handler) as server:
        with netns.connect(solo.ns("p31"), solo.PEER4, 8080) as sock:
            assert client.read_all(sock) == BODY
        assert not server.failures


def test_windows_and_frames_are_what_the_variables_say(solo):
    solo.start(HTTP2_STREAM_WINDOW_SIZE="100000", HTTP2_CONNECTION_WINDOW_SIZE="200000", HTTP2_FRAME_SIZE="20000")
    with peers.TunnelServer(solo.ns("p41"), solo.credential()) as server:
        with client.open_echo(solo.ns("p31"), solo.PEER4, 8080):
            as_client = server.connections[0].h2.remote_settings
    with peers.Tunnel(solo.ns("p41"), solo.POD4, solo.credential()) as tunnel:
        assert tunnel.connect(f"{solo.POD4}:{app.ECHO}")[1] == 200
        tunnel.until("the connection's window", lambda: tunnel.h2.outbound_flow_control_window == 200000)
        as_server = tunnel.h2.remote_settings
    for said in (as_client, as_server):
        assert (said.initial_window_size, said.max_frame_size) == (100000, 20000)


def test_the_request_carries_what_the_contract_says_and_nothing_else(solo):
    solo.start(serve=True)
    with peers.TunnelServer(solo.ns("p41"), solo.credential()) as server:
        with client.open_echo(solo.ns("p31"), solo.PEER4, 8080) as sock:
            here = sock.getsockname()
            (conn,) = server.connections
            (request,) = conn.requests()
    assert conn.identities == [HERE] and conn.peer[0].removeprefix("::ffff:") == solo.POD4
    assert sorted(request) == [":authority", ":method", "baggage", "forwarded", "traceparent"]
    assert request[":method"] == "CONNECT" and request[":authority"] == f"{solo.PEER4}:8080"
    assert request["forwarded"] == f'for="{here[0]}:{here[1]}"'
    assert request["baggage"].startswith("k8s.cluster.name=Kubernetes,k8s.namespace.name=shop,k8s.deployment.name=alpha-1-app")
    assert re.fullmatch("00-[0-9a-f]{32}-[0-9a-f]{16}-00", request["traceparent"])
    settings = conn.h2.remote_settings
    assert (settings.initial_window_size, settings.max_frame_size, settings.max_header_list_size,
            settings.enable_push) == (4 << 20, 1 << 20, 16384, 0)


@pytest.mark.parametrize("what", [*(w for w in BAD if w not in ("for servers only", "no names at all")),
                                  "another account's certificate", "for clients only"])
def test_a_server_is_refused_that_shows(solo, what):
    make = BAD[what].make if what in BAD else (
        ours(SPIFFE("mallory")) if "account" in what else ours(SPIFFE("peer"), usages=(ExtendedKeyUsageOID.CLIENT_AUTH,)))
    solo.start()
    since = solo.zt.mark()
    with peers.TunnelServer(solo.ns("p41"), make(solo)) as server:
        assert client.is_cut(client.outcome(solo.ns("p31"), solo.PEER4, 8080))
        assert not server.requests(), "nothing is asked of whom is not trusted"
    ((level, _, fields),) = solo.zt.wait_access(since, direction="outbound", dst_workload="peer-1")
    assert level == "error" and fields["error"]


def test_the_right_server_is_served_after_wrong_ones(solo):
    solo.start()
    with peers.TunnelServer(solo.ns("p41"), solo.credential(SPIFFE("mallory"))):
        assert client.is_cut(client.outcome(solo.ns("p31"), solo.PEER4, 8080))
    with peers.TunnelServer(solo.ns("p41"), solo.credential()):
        client.echo(solo.ns("p31"), solo.PEER4, 8080)


def test_a_service_may_name_further_identities(solo):
    solo.cp.push(model.service("shop", ["10.96.3.1"], {80: 8080}, subject_alt_names=[SPIFFE("stand-in")]),
                 model.pod(4, 1, "peer-1", "peer", services={"shop.shop.svc.cluster.local": {80: 8080}}), settle=False)
    solo.start()
    with peers.TunnelServer(solo.ns("p41"), solo.credential(SPIFFE("stand-in"))):
        client.echo(solo.ns("p31"), "10.96.3.1", 80)
        assert client.is_cut(client.outcome(solo.ns("p31"), solo.PEER4, 8080)), "named by the service, not by the pod"


def test_one_tunnel_serves_one_connection_after_the_other(solo):
    solo.start()
    with peers.TunnelServer(solo.ns("p41"), solo.credential()) as server:
        for _ in range(10):
            client.echo(solo.ns("p31"), solo.PEER4, 8080)
        assert server.accepted == 1 and len(server.requests()) == 10


def test_two_service_accounts_never_share_a_tunnel(solo):
    solo.start()
    with peers.TunnelServer(solo.ns("p41"), solo.credential()) as server:
        for name in ("p31", "p32", "p31", "p32"):
            client.echo(solo.ns(name), solo.PEER4, 8080)
        tunnels = {tuple(c.identities): c.requests() for c in server.connections}
    assert set(tunnels) == {(SPIFFE("alpha"),), (SPIFFE("beta"),)} and server.accepted == 2
    for (identity,), requests in tunnels.items():
        workload = identity.rsplit("/", 1)[1] + "-1-app"
        assert len(requests) == 2 and all(f"k8s.deployment.name={workload}" in r["baggage"] for r in requests)


def test_a_peer_that_allows_one_stream_still_serves_every_connection(solo):
    solo.start()
    one = {h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: 1}
    with peers.TunnelServer(solo.ns("p41"), solo.credential(), settings=one), \
            concurrent.futures.ThreadPoolExecutor(4) as pool:
        client.echo(solo.ns("p31"), solo.PEER4, 8080)  # from here on the limit is known
        jobs = [pool.submit(client.echo, solo.ns("p31"), solo.PEER4, 8080) for _ in range(8)]
        for job in jobs:
            job.result(20)


def test_after_a_goaway_the_old_stream_lives_and_new_ones_go_elsewhere(solo):
    solo.start()
    with peers.TunnelServer(solo.ns("p41"), solo.credential()) as server:
        with client.open_echo(solo.ns("p31"), solo.PEER4, 8080) as sock:
            server.connections[0].say_goaway(last=1)
            client.echo(solo.ns("p31"), solo.PEER4, 8080)
            client.still_echoes(sock)
        assert server.accepted == 2


def test_a_pinged_proxy_answers(solo):
    solo.start()
    with peers.TunnelServer(solo.ns("p41"), solo.credential()) as server:
        with client.open_echo(solo.ns("p31"), solo.PEER4, 8080):
            conn = server.connections[0]
            conn.ping()
            wait.until("the ping is answered", lambda: conn.pongs == 1)


@pytest.mark.parametrize("status", [401, 403, 503, 204])
def test_any_answer_but_200_closes_the_application(solo, status):
    solo.start()
    since = solo.zt.mark()
    with peers.TunnelServer(solo.ns("p41"), solo.credential(), peers.answering(status, end=True)):
        assert client.is_cut(client.outcome(solo.ns("p31"), solo.PEER4, 8080))
    ((_, _, fields),) = solo.zt.wait_access(since, direction="outbound")
    assert fields["error"].startswith(f"http status: {status}")


BREAKS = {
    "the stream is reset": lambda conn, stream: conn.reset(stream),
    "the tunnel is closed": lambda conn, stream: conn.drop(),
    "the tunnel is reset": lambda conn, stream: conn.drop(reset=True),
}


@pytest.mark.parametrize("how", BREAKS)
def test_what_a_server_breaks_off_reaches_the_application_as_a_reset(solo, how):
    solo.start()

    def handler(conn, stream):
        conn.respond(stream, 200)
        conn.send(stream, b"half of an answer")
        conn.until("more", lambda: conn.streams[stream].data)
        BREAKS[how](conn, stream)
    with peers.TunnelServer(solo.ns("p41"), solo.credential(), handler), \
            netns.connect(solo.ns("p31"), solo.PEER4, 8080) as sock:
        assert client.read_exactly(sock, 17) == b"half of an answer"
        sock.sendall(b"go on")
        assert client.wait_cut(sock) == "reset", "never as an end that looks right"


@pytest.mark.parametrize("how", ["refuses TCP", "speaks HTTP/1", "hangs up"])
def test_an_endpoint_that_is_no_tunnel_fails_at_once(solo, how):
    solo.start()
    since = solo.zt.mark()
    if how == "refuses TCP":
        result = client.outcome(solo.ns("p31"), solo.PEER4, 8080)
    else:
        with netns.listen(solo.ns("p41"), "::", 15008) as listener, \
                concurrent.futures.ThreadPoolExecutor(1) as pool:
            job = pool.submit(client.outcome, solo.ns("p31"), solo.PEER4, 8080)
            conn, _ = listener.accept()
            with conn:
                if how == "speaks HTTP/1":
                    conn.recv(4096)
                    conn.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                    conn.shutdown(socket.SHUT_WR)
            result = job.result(10)
    assert client.is_cut(result)
    ((level, _, _),) = solo.zt.wait_access(since, direction="outbound", dst_workload="peer-1")
    assert level == "error"


def test_silent_peers_are_given_up_in_both_roles(solo):
    """A server that never answers the handshake; clients that never begin it, or never ask for anything."""
    solo.start()

    def idle(sock):
        return client.wait_cut(sock, 25)
    with peers.TunnelServer(solo.ns("p41"), solo.credential(), greet=False), \
            netns.connect(solo.ns("p42"), solo.POD4, 15008) as silent, concurrent.futures.ThreadPoolExecutor(2) as pool:
        began = wait.Stopwatch()
        jobs = [pool.submit(client.outcome, solo.ns("p31"), solo.PEER4, 8080, 25), pool.submit(idle, silent)]
        assert client.is_cut(jobs[0].result()) and jobs[1].result() in ("closed", "reset")
        assert began.seconds < 20 * wait.SCALE
