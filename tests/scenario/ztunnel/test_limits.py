# SPDX-License-Identifier: Apache-2.0
"""What must not grow, and what must not stand still. SCENARIO_STALL_SECONDS changes the stall (20)."""
import contextlib
import os
import select
import ssl
import time

import h2.exceptions
import pytest

from lib import app, client, netns, peers, topo, wait, ztunnel

STALL = int(os.environ.get("SCENARIO_STALL_SECONDS", "20"))
SERVER4 = topo.pod4(2, 1)
WINDOW_KIB = 4096


@pytest.fixture(scope="module", autouse=True)
def shipped(running_mesh):
    """Measured are the programs as they are shipped."""
    running_mesh.heal()
    running_mesh.use(ztunnel.PLAIN)
    yield
    running_mesh.use(ztunnel.CHECKED)


def run(mesh, folder, count, lanes=40):
    with client.Load(mesh.ns("p11"), str(folder), "many", SERVER4, app.ECHO, count, lanes) as load:
        got = load.result(90)
    assert got["failed"] == 0 and got["ok"] == count, got


def quiet(mesh):
    """No connection is left in either proxy."""
    return all(not s["connections"][way] for node in (1, 2)
               for s in mesh[node].config_dump()["workloadState"].values() for way in ("inbound", "outbound"))


def settled(mesh, node):
    """A node's descriptors once nothing opens or closes any more: a surplus tunnel takes a moment to say goodbye."""
    seen = []

    def steady():
        seen.append((time.monotonic(), mesh.descriptors(node)))
        while seen[0][1] != seen[-1][1]:
            seen.pop(0)
        return seen[-1][0] - seen[0][0] >= 1.5

    wait.until(f"node {node} opens and closes nothing", steady, 20, 0.05)
    return seen[-1][1]


def test_ten_thousand_connections_leave_nothing_behind(mesh, tmp_path):
    run(mesh, tmp_path, 2000)
    wait.until("all have ended", lambda: quiet(mesh))
    before = {n: (settled(mesh, n), mesh[n].private_kib()) for n in (1, 2)}
    run(mesh, tmp_path, 10_000)
    wait.until("all have ended", lambda: quiet(mesh))
    for node, (fds, kib) in before.items():
        assert settled(mesh, node) == fds, f"descriptors of node {node}"
        wait.until(f"memory of node {node} is as before", lambda n=node, k=kib: mesh[n].private_kib() <= k + 256, 20)


def test_ten_streams_that_nobody_reads_do_not_slow_ninety_others(mesh, tmp_path):
    with client.Load(mesh.ns("p11"), str(tmp_path), "stall", SERVER4, app.SOURCE, 90, 10, STALL, 65536, 24 << 20) as load:
        load.wait("steady", 30)
        before = {n: mesh[n].private_kib() for n in (1, 2)}
        load.say("now the stalled ones")
        load.wait("measured", 30 + STALL)
        grown = {n: mesh[n].private_kib() - before[n] for n in (1, 2)}
        tunnels = [t for t in mesh.tunnels("p21") if t[0] == topo.pod4(1, 1)]
        load.say("go on")
        got = load.result(90)
    assert got["right"] == got["streams"] == 100, got
    assert got["during"] >= 0.8 * got["before"] and got["worst"] >= 0.5, got
    assert len(tunnels) <= 2
    for node in (1, 2):
        assert grown[node] <= 10 * WINDOW_KIB + 8192, f"node {node}: {grown}"


def test_an_upload_that_nobody_takes_is_held_back(mesh, tmp_path):
    run(mesh, tmp_path, 50)
    before = {n: mesh[n].private_kib() for n in (1, 2)}
    with netns.connect(mesh.ns("p11"), SERVER4, app.MUTE) as sock:
        sock.settimeout(1)
        taken = 0
        with pytest.raises(TimeoutError):
            while taken < 256 << 20:
                taken += sock.send(b"x" * 65536)
        for node in (1, 2):
            assert mesh[node].private_kib() - before[node] <= 2 * WINDOW_KIB + 2048
        client.echo(mesh.ns("p11"), SERVER4)


def test_what_one_peer_sends_and_nobody_takes_is_bounded_by_the_pods_budget(solo):
    """200 streams of 10 tunnels, each sending as much of 4 MiB as its window lets it, to a server that never accepts."""
    solo.zt.binary = ztunnel.PLAIN
    solo.start()
    client.echo(solo.ns("p42"), topo.pod4(3, 2))
    before, piece = solo.zt.private_kib(), b"x" * (4 << 20)
    with contextlib.ExitStack() as stack:
        stack.enter_context(netns.listen(solo.ns("p32"), "::", 9990, 1024))
        for _ in range(10):
            tunnel = stack.enter_context(peers.Tunnel(solo.ns("p41"), topo.pod4(3, 2), solo.credential()))
            streams = [tunnel.connect(f"{topo.pod4(3, 2)}:9990") for _ in range(20)]
            assert {status for _, status in streams} == {200}
            for stream, _ in streams:
                with contextlib.suppress(h2.exceptions.ProtocolError):  # who hoards is reset
                    room = tunnel.h2.local_flow_control_window(stream)
                    if tunnel.streams[stream].end is None:
                        tunnel.send(stream, piece[:room])
            tunnel.pump(0)
            assert not tunnel.closed
        assert solo.zt.private_kib() - before <= (64 + 16) << 10
        client.echo(solo.ns("p42"), topo.pod4(3, 1))
        client.echo(solo.ns("p42"), topo.pod4(3, 2))


def fill_door(stack, solo):
    """Connections of p41 to p32's port for tunnels that say nothing, until one more is refused; how many there are."""
    count, refused = 0, select.poll()
    with contextlib.suppress(ConnectionResetError):
        while not refused.poll(0):
            refused.register(stack.enter_context(netns.connect(solo.ns("p41"), topo.pod4(3, 2), 15008)), select.POLLIN)
            count += 1
    return count


def test_who_fills_a_pods_door_does_not_keep_it_from_dialling(solo):
    solo.start()
    with contextlib.ExitStack() as stack:
        assert fill_door(stack, solo) >= 256
        client.echo(solo.ns("p32"), solo.POD4)


def test_who_fills_a_pods_door_does_not_keep_others_out(solo):
    solo.start()
    with contextlib.ExitStack() as stack:
        made_way = []
        for _ in range(20):  # more than once only where filling takes as long as the deadline of the first ones
            assert made_way or fill_door(stack, solo) > 0
            with peers.Tunnel(solo.ns("p42"), topo.pod4(3, 2), solo.credential()) as tunnel:
                assert tunnel.connect(f"{topo.pod4(3, 2)}:{app.ECHO}")[1] == 200
            made_way = solo.zt.access(direction="inbound", error=lambda e: e and "made way for another address" in e)
        assert made_way and all(fields["src.addr"].startswith(topo.pod4(4, 1)) for _, _, fields in made_way)
        client.echo(solo.ns("p31"), topo.pod4(3, 2))
    wait.until("the metrics count them", lambda: solo.zt.metric("ambit_tls_handshakes_displaced_total") > 0)


def client_hello():
    """A real one, whose sender says no more."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    out = ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), out).do_handshake()
    return out.read()


@pytest.mark.parametrize("says", [b"", client_hello()], ids=["nothing", "hello"])
def test_one_handshake_of_each_of_many_addresses_does_not_keep_others_out(solo, says):
    solo.start()

    def displaced():
        return solo.zt.metric("ambit_tls_handshakes_displaced_total") > 0

    with contextlib.ExitStack() as stack:
        addresses = stack.enter_context(solo.topology.many_addresses(4, 1))
        solo.topology.crowd(stack, "p41", addresses, topo.pod6(3, 2), says, displaced)
        for _ in range(3):
            with peers.Tunnel(solo.ns("p42"), topo.pod4(3, 2), solo.credential()) as tunnel:
                assert tunnel.connect(f"{topo.pod4(3, 2)}:{app.ECHO}")[1] == 200
