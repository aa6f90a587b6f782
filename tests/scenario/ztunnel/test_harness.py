# SPDX-License-Identifier: Apache-2.0
"""The harness shows that it works, and that its oracles can say no, before it judges anything. No node proxy runs here."""
import array
import hashlib
import json
import os
import pathlib
import socket
import subprocess
import sys
import threading

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from lib import app, client, cni, dnsd, dnsmsg, model, netns, pattern, peers, pki, topo, wait, wire, ztunnel
from lib.wiretypes import ADDRESS, AUTHORIZATION, authorization, ca, common, struct_to_dict, workload, xds

VECTORS = pathlib.Path(__file__).resolve().parents[2] / "vectors/scenario"
METHOD = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources"


def recorded(name):
    return (VECTORS / name).read_bytes()


# ---- topology

@pytest.mark.parametrize("host", [topo.pod4(4, 2), topo.pod6(4, 2), topo.pod4(3, 3), topo.EXT4, topo.EXT6])
def test_pods_reach_each_other_across_nodes(world, host):
    ns = {topo.pod4(3, 3): "p33", topo.EXT4: "ext", topo.EXT6: "ext"}.get(host, "p42")
    listener = netns.listen(world.ns(ns), host, 9900)
    with listener, netns.connect(world.ns("p43"), host, 9900) as sock:
        conn, peer = listener.accept()
        with conn:
            assert peer[0] in (topo.pod4(4, 3), topo.pod6(4, 3))
            sock.sendall(b"x")
            assert conn.recv(1) == b"x"


def test_a_host_that_is_added_later_leaves_the_router_its_address(world):
    def link(name):
        return json.loads(netns.run(["ip", "-n", world.ns("fab"), "-j", "link", "show", name]))[0]["address"]

    before = link("br0")
    late = world.topology.add_host("late", 220)
    try:
        netns.run(["ip", "-n", world.ns("fab"), "link", "set", "late", "address", "02:00:00:00:00:01"])
        assert link("late") < before == link("br0")
    finally:
        netns.delete(late)


def test_namespaces_use_a_loss_based_congestion_control(world):
    with netns.inside(world.ns("p11")), open("/proc/sys/net/ipv4/tcp_congestion_control", encoding="ascii") as f:
        assert f.read().strip() in ("cubic", "reno")


def test_a_crashed_runs_namespaces_are_removed_and_no_others():
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    left, foreign = f"lab{dead.pid}x1-n1", f"labour-{os.getpid()}"
    netns.add(left)
    netns.add(foreign)
    try:
        topo.remove_leftovers()
        assert left not in netns.names() and foreign in netns.names()
    finally:
        netns.delete(foreign)


@pytest.mark.parametrize("rules", ["contract", "tproxy"])
@pytest.mark.parametrize("v", [4, 6])
def test_a_captured_pod_without_a_proxy_speaks_to_nobody(world, rules, v):
    topology = world.topology
    name = f"cap{rules[0]}{v}"
    topology.add_pod(4, 9, name)
    own, there = (topo.pod4(4, 9), topo.pod4(4, 1)) if v == 4 else (topo.pod6(4, 9), topo.pod6(4, 1))
    try:
        with netns.listen(world.ns("p41"), there, 9901), netns.listen(world.ns(name), own, 9901):
            assert client.outcome(world.ns(name), there, 9901, 0.2) == "silent"
            assert client.outcome(world.ns("p41"), own, 9901, 0.2) == "silent"
            topology.capture(name, rules)
            assert client.outcome(world.ns(name), there, 9901) == "refused"
            assert client.outcome(world.ns("p41"), own, 9901) == "refused"
    finally:
        netns.delete(world.ns(name))


def test_a_pods_cable_goes_with_the_last_reference_to_its_namespace(world):
    ns = world.topology.add_pod(4, 8, "gone")
    fd = os.open(netns.path(ns), os.O_RDONLY)
    netns.delete(ns)
    wait.never("the cable of a held namespace goes", lambda: not world.topology.pod_port_exists(4, "gone"))
    os.close(fd)
    wait.until("the cable goes", lambda: not world.topology.pod_port_exists(4, "gone"), 10)


# ---- applications and load, without a mesh

@pytest.fixture(scope="module")
def plain(world):
    """An unmeshed client and server."""
    return world.ns("p42"), topo.EXT4


def test_the_application_behaves(world, plain):
    ns, host = plain
    assert client.greet(ns, host)["peer"][0] == topo.pod4(4, 2)
    client.echo(ns, host)
    assert client.upload(ns, host, 300_000) and client.download(ns, host, 300_000)
    with netns.connect(ns, host, app.RESET) as sock:
        sock.sendall(b"go\n")
        assert client.wait_cut(sock) == "reset"
    token = client.new_token()
    with netns.connect(ns, host, app.WATCH) as sock:
        sock.sendall(token.encode() + b"\n")
        assert client.read_line(sock) == "ok"
        sock.sendall(b"12345")
        client.abort(sock)
    assert client.remembered(world.ns("ext"), token)["end"] == "reset"
    with netns.connect(ns, host, app.GOODBYE) as sock:
        assert client.read_line(sock) == "bye" and sock.recv(1) == b""
        sock.sendall(b"tok\nafter the server's end")
    assert client.remembered(world.ns("ext"), "tok") == {
        "bytes": 22, "end": "eof", "sha256": hashlib.sha256(b"after the server's end").hexdigest()}


def test_the_pattern_tells_a_lost_block_from_a_swapped_one():
    blocks = list(pattern.blocks(3 * pattern.BLOCK))
    assert len(set(blocks)) == 3 and b"".join(blocks[:2]) != b"".join(blocks[1::-1])
    assert pattern.digest(10, key=1) != pattern.digest(10, key=2)


def test_the_load_counts_failures_and_successes(world, plain, tmp_path):
    ns, host = plain
    with client.Load(ns, str(tmp_path), "many", host, app.ECHO, 200, 20) as load:
        assert load.result()["ok"] == 200
    with client.Load(ns, str(tmp_path), "many", host, 9999, 20, 4) as load:
        assert load.result()["failed"] == 20
    with client.Load(ns, str(tmp_path), "rate", host, app.ECHO, 100) as load:
        load.wait("running")
        wait.until("a second of load", lambda w=wait.Stopwatch(): w.seconds > 1, 3)
        got = load.result()
    assert got["failed"] == 0 and 20 < got["per_second"] < 120
    with client.Load(ns, str(tmp_path), "hold", host, app.ECHO, 30) as load:
        load.wait("running")
        load.say("ping")
        load.wait('"ok": 30')


def test_the_stall_load_measures_streams_beside_ones_nobody_reads(plain, tmp_path):
    ns, host = plain
    with client.Load(ns, str(tmp_path), "stall", host, app.SOURCE, 8, 2, 2, 131072, 12 << 20) as load:
        load.wait("steady", 20)
        load.say("stall")
        load.wait("measured", 20)
        load.say("go on")
        got = load.result()
    assert got["right"] == 10 and got["during"] > 0.4 * got["before"] > 0.2 * 8 * 131072


# ---- name server

def test_the_name_server_answers_and_truncates(world):
    world.names.table[("a.example", dnsmsg.A)] = [(60, "192.0.2.1")]
    world.names.table[("big.example", dnsmsg.A)] = [(60, f"192.0.2.{i}") for i in range(100)]
    ask = lambda *a, **k: dnsd.ask(world.ns("p42"), topo.ROUTER4, *a, **k)  # noqa: E731
    assert ask("a.example", dnsmsg.A).values(dnsmsg.A) == ["192.0.2.1"]
    assert ask("none.example", dnsmsg.A).rcode == dnsmsg.NXDOMAIN
    assert ask("big.example", dnsmsg.A).flag("tc")
    assert len(ask("big.example", dnsmsg.A, tcp=True).answers) == 100


# ---- wiretap

@pytest.mark.parametrize("v", [4, 6])
def test_the_wiretap_sees_a_marker_in_the_clear_even_cut_in_two(world, tmp_path, v):
    host, marker = (topo.EXT4, b"marker of test 4 4") if v == 4 else (topo.EXT6, b"marker of test 6 6")
    with wire.node_tap(world.topology, 4, str(tmp_path)) as tap:
        assert tap.count(marker) == 0
        with netns.connect(world.ns("p42"), host, app.ECHO) as sock:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.sendall(b"...." + marker[:7])
            client.read_exactly(sock, 11)
            sock.sendall(marker[7:] + b"....")
            client.read_exactly(sock, 15)
        assert tap.count(marker) == 2  # there and back


def test_the_wiretap_sees_nothing_of_a_tunnel(world, tmp_path):
    authority, marker = pki.Authority(), b"marker inside TLS"
    with peers.TunnelServer(world.ns("p33"), authority.issue(model.spiffe("s"))), \
            wire.node_tap(world.topology, 4, str(tmp_path)) as tap:
        with peers.Tunnel(world.ns("p43"), topo.pod4(3, 3), authority.issue(model.spiffe("c"))) as tunnel:
            tunnel.echo("10.0.0.1:80", marker)
        assert tap.count(marker) == 0


# ---- tunnel peers

@pytest.fixture
def served(world):
    authority = pki.Authority()
    with peers.TunnelServer(world.ns("p33"), authority.issue(model.spiffe("server"))) as server:
        yield authority, server, lambda **k: peers.Tunnel(world.ns("p43"), topo.pod4(3, 3),
                                                          authority.issue(model.spiffe("client")), **k)


def test_tunnel_peers_speak_to_each_other(served):
    _, server, dial = served
    with dial() as tunnel:
        assert tunnel.peer == [model.spiffe("server")]
        for number in range(3):
            tunnel.echo(f"10.0.0.1:{number + 1}", bytes([number]) * 100_000)
        stream, _ = tunnel.connect("10.0.0.1:9")
        tunnel.reset(stream)
        tunnel.ping()
    (conn,) = server.connections
    assert conn.identities == [model.spiffe("client")]
    assert [r[":authority"] for r in conn.requests()] == ["10.0.0.1:1", "10.0.0.1:2", "10.0.0.1:3", "10.0.0.1:9"]


@pytest.mark.parametrize("wrong", ["root", "none", "expired"])
def test_tunnel_peers_refuse_a_wrong_certificate(world, served, wrong):
    authority, _, _ = served
    good = authority.issue(model.spiffe("client"))
    bad = {"root": lambda: pki.Authority().issue(model.spiffe("client")), "none": lambda: good,
           "expired": lambda: authority.issue(model.spiffe("client"), ttl=-60, age=3600)}[wrong]()
    bad.root_pem = good.root_pem
    with pytest.raises(peers.Refused):
        with peers.Tunnel(world.ns("p43"), topo.pod4(3, 3), bad, show_client_cert=wrong != "none") as tunnel:
            tunnel.connect("10.0.0.1:80")


def test_a_servers_goaway_reset_and_loss_are_seen(world):
    authority = pki.Authority()
    seen = []

    def handler(conn, stream):
        conn.respond(stream, 200)
        seen.append(stream)
        if len(seen) == 1:
            conn.reset(stream, peers.Code.INTERNAL_ERROR)
        elif len(seen) == 2:
            conn.say_goaway(stream)
        else:
            conn.drop(reset=True)
    with peers.TunnelServer(world.ns("p33"), authority.issue(model.spiffe("server")), handler):
        dial = lambda: peers.Tunnel(world.ns("p43"), topo.pod4(3, 3), authority.issue(model.spiffe("client")))  # noqa: E731
        with dial() as tunnel:
            stream, _ = tunnel.connect("10.0.0.1:80")
            assert tunnel.wait_end(stream) == peers.Code.INTERNAL_ERROR
        with dial() as tunnel:
            tunnel.connect("10.0.0.1:80")
            tunnel.until("GOAWAY", lambda: tunnel.goaway)
        with dial() as tunnel, pytest.raises(peers.Refused):
            stream, _ = tunnel.connect("10.0.0.1:80")
            tunnel.wait_end(stream)


# ---- control plane

class Discovery:
    """A plain gRPC client of the delta stream."""

    def __init__(self, world, cp):
        with netns.inside(world.ns("fab")):
            self.channel = grpc.secure_channel(
                f"{cp.address}:{cp.port}", grpc.ssl_channel_credentials(cp.authority.root_pem.encode()))
            grpc.channel_ready_future(self.channel).result(10)
        self.out, self.ready = [], threading.Condition()
        self.stream = self.channel.stream_stream(METHOD)(self._requests(), metadata=[("authorization", "Bearer t")])

    def _requests(self):
        sent = 0
        while True:
            with self.ready:
                self.ready.wait_for(lambda: len(self.out) > sent)
                item = self.out[sent]
            sent += 1
            if item is None:
                return
            yield item

    def say(self, **fields):
        with self.ready:
            self.out.append(xds.DeltaDiscoveryRequest(**fields).SerializeToString())
            self.ready.notify()

    def hear(self):
        return xds.DeltaDiscoveryResponse.FromString(next(self.stream))

    def close(self):
        with self.ready:
            self.out.append(None)
            self.ready.notify()
        self.channel.close()


@pytest.fixture
def discovery(world, solo_control_plane):
    cp = solo_control_plane
    cp.replace([model.pod(3, 1, "alpha-1", "alpha")], settle=False)
    d = Discovery(world, cp)
    yield cp, d
    d.close()


def test_the_control_plane_pushes_waits_for_answers_and_notices_a_refusal(discovery):
    cp, d = discovery
    since = cp.mark()
    for kind in (ADDRESS, AUTHORIZATION):
        d.say(type_url=kind)
        answer = d.hear()
        assert answer.type_url == kind and len(answer.resources) == (kind == ADDRESS)
        d.say(type_url=kind, response_nonce=answer.nonce)
    cp.settle()
    beta = model.pod(3, 2, "beta-1", "beta")
    cp.push(beta, settle=False)
    with pytest.raises(wait.Timeout):
        cp.settle(0.2)
    answer = d.hear()
    assert [r.name for r in answer.resources] == [beta.name]
    d.say(type_url=ADDRESS, response_nonce=answer.nonce, error_detail=common.Status(message="no"))
    cp.settle()
    assert [e["error"] for e in cp.events("request", since) if e["error"]] == ["no"]
    cp.push(remove=[beta], settle=False)
    assert list(d.hear().removed_resources) == [beta.name]


def test_the_control_plane_skips_what_a_returning_client_holds_and_tells_what_went(world, discovery):
    cp, d = discovery
    d.say(type_url=ADDRESS)
    (alpha,) = d.hear().resources
    d.close()
    again = Discovery(world, cp)
    again.say(type_url=ADDRESS, initial_resource_versions={alpha.name: alpha.version, "gone": "1"})
    answer = again.hear()
    assert not answer.resources and list(answer.removed_resources) == ["gone"]
    again.close()


def test_the_control_plane_survives_a_kill_with_its_root_and_resources(world, discovery):
    cp, d = discovery
    root = cp.authority.root_pem
    cp.restart()
    with pytest.raises(grpc.RpcError):
        d.hear()
    again = Discovery(world, cp)
    again.say(type_url=ADDRESS)
    assert len(again.hear().resources) == 1 and cp.authority.root_pem == root
    again.close()


def test_the_authority_issues_refuses_and_lies_as_told(discovery):
    cp, d = discovery
    key = ec.generate_private_key(ec.SECP256R1())
    csr = (x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
           .public_bytes(serialization.Encoding.PEM).decode())
    identity = model.spiffe("alpha")
    request = ca.CreateCertificateRequest(csr=csr, validity_duration=86400)
    request.metadata.fields["ImpersonatedIdentity"].string_value = identity
    call = d.channel.unary_unary("/istio.v1.auth.IstioCertificateService/CreateCertificate")

    def names():
        chain = ca.CreateCertificateResponse.FromString(call(request.SerializeToString(), timeout=5)).cert_chain
        if len(chain) < 2:
            return len(chain)
        assert chain[-1] == cp.authority.root_pem
        san = x509.load_pem_x509_certificate(chain[0].encode()).extensions.get_extension_for_class(
            x509.SubjectAlternativeName).value
        return san.get_values_for_type(x509.UniformResourceIdentifier)
    cp.ca_reset()
    assert names() == [identity]
    cp.ca(mode="wrong_identity")
    assert names() != [identity]
    cp.ca(mode="empty")
    assert names() == 0
    cp.ca(identity, mode="deny")
    with pytest.raises(grpc.RpcError) as refusal:
        names()
    assert refusal.value.code() == grpc.StatusCode.PERMISSION_DENIED
    cp.ca_reset()


# ---- node agent

def test_the_agents_packets_equal_recorded_ones():
    assert cni.add_message("uid-41", "pod41", "shop", "sa41") == recorded("zds-add.bin")
    assert cni.keep_message("uid-gone") == recorded("zds-keep.bin")
    assert cni.del_message("uid-42") == recorded("zds-del.bin")
    assert cni.SNAPSHOT_SENT == recorded("zds-snapshot.bin")
    assert cni.ack_error(cni.ACK) == ""
    assert cni.ack_error(recorded("zds-nack.bin")).startswith("failure to start proxy : Bind([::]:15008")
    assert cni.ack_error(cni.field(1, cni.field(1, b"x" * 300))) == "x" * 300


def test_the_agent_hands_out_namespaces_and_takes_answers(world, tmp_path):
    agent = cni.Agent(str(tmp_path / "zds.sock"))
    agent.pods["uid-1"] = (world.ns("p41"), "peer-1", "shop", "peer")
    agent.serve()
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as proxy:
            proxy.settimeout(5 * wait.SCALE)
            proxy.connect(agent.path)
            proxy.send(cni.HELLO)
            packet, control, _, _ = proxy.recvmsg(1024, socket.CMSG_SPACE(8))
            fds = array.array("i", control[0][2])
            assert packet == cni.add_message("uid-1", "peer-1", "shop", "peer") and len(fds) == 1
            assert os.fstat(fds[0]).st_ino == os.stat(netns.path(world.ns("p41"))).st_ino
            os.close(fds[0])
            proxy.send(cni.ACK)
            assert proxy.recv(1024) == cni.SNAPSHOT_SENT
            proxy.send(cni.field(1, cni.field(1, b"refused")))
            wait.until("the refusal is noted", lambda: agent.errors == ["refused"])
            wait.until("the session is live", agent.live_sessions)
            proxy.send(b"unasked")
            with pytest.raises(AssertionError):
                wait.until("noticed", agent.sessions[0].closed, 1)
                raise RuntimeError
    finally:
        agent.stop()


# ---- wire types and log formats against recordings

def test_wire_types_decode_recorded_octets():
    response = xds.DeltaDiscoveryResponse.FromString(recorded("xds-response-address.bin"))
    assert (response.type_url, response.nonce) == (ADDRESS, "s1n1")
    found = {r.name: workload.Address.FromString(r.resource.value) for r in response.resources}
    pod = found["Kubernetes//Pod/shop/pod31"].workload
    assert (pod.name, pod.namespace, pod.service_account, pod.node) == ("pod31", "shop", "sa31", "node3")
    web = found["shop/web.shop.svc.cluster.local"].service
    assert (web.name, web.ports[0].service_port, bytes(web.addresses[0].address)) == ("web", 80, b"\x0a\x60\x03\x0a")
    response = xds.DeltaDiscoveryResponse.FromString(recorded("xds-response-authorization.bin"))
    policy = authorization.Authorization.FromString(response.resources[0].resource.value)
    assert (policy.name, policy.namespace, policy.scope, list(policy.rules[0].clauses[0].matches[0].destination_ports)) == (
        "p1", "shop", 1, [9001, 9002])
    request = xds.DeltaDiscoveryRequest.FromString(recorded("xds-request-first.bin"))
    assert request.node.id.startswith("ztunnel~172.31.0.3~ztunnel-3.istio-system~")
    assert struct_to_dict(request.node.metadata)["NODE_NAME"] == "node3"
    request = xds.DeltaDiscoveryRequest.FromString(recorded("xds-request-nack.bin"))
    assert request.response_nonce and request.error_detail.message.startswith("two-a: ")
    request = ca.CreateCertificateRequest.FromString(recorded("ca-request.bin"))
    assert request.csr.startswith("-----BEGIN CERTIFICATE REQUEST-----") and request.validity_duration == 86400
    assert struct_to_dict(request.metadata)["ImpersonatedIdentity"].startswith("spiffe://cluster.local/ns/shop/sa/")


def test_resources_are_built_with_the_right_field_numbers():
    policy = model.policy("p", model.DENY, model.only(destination_ports=[9002]))
    assert policy.octets == bytes.fromhex("0a0170120473686f70180120012a080a0612044a02aa46")


def test_log_lines_are_taken_apart():
    line = ('2026-11-25T14:16:21.736862Z\tinfo\taccess\tconnection complete\tsrc.addr=10.244.1.11:47338 '
            'src.workload="pod11" bytes_sent=100 duration="3ms" error="a \\"quoted\\" text"')
    level, target, message, fields = ztunnel.parse_plain(line)
    assert (level, target, message) == ("info", "access", "connection complete")
    assert fields == {"src.addr": "10.244.1.11:47338", "src.workload": "pod11", "bytes_sent": "100", "duration": "3ms",
                      "error": 'a "quoted" text'}
    assert ztunnel.parse_plain("running with config:") is None
    assert ztunnel.parse_json(json.dumps({"level": "info", "scope": "access", "message": "m", "x": 1}))[3] == {"x": 1}


def test_metrics_are_taken_apart():
    text = '# HELP a b\na_total{x="1",y="q\\"q"} 5\nb 2\n# EOF\n'
    assert ztunnel.parse_metrics(text) == [("a_total", {"x": "1", "y": 'q\\"q'}, 5.0), ("b", {}, 2.0)]
