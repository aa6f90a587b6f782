# SPDX-License-Identifier: Apache-2.0
"""Start, readiness, drain, death and succession of the node proxy."""
import json
import os
import pathlib
import signal
import subprocess
import uuid

import pytest

from lib import app, client, mesh as meshes, model, netns, peers, topo, wait, wire, ztunnel

MANAGER = "not ready, pending: workload proxy manager\n"


@pytest.fixture
def fast_mesh(mesh):
    """The mesh with programs as they are shipped, where time is what matters."""
    mesh.use(ztunnel.PLAIN)
    yield mesh
    mesh.use(ztunnel.CHECKED)


# ---- start

def run_to_end(solo, *arguments, **env):
    solo.zt.start(arguments, **env)
    code = solo.zt.process.wait_exit(10)
    return code, solo.zt.process.text()


def test_version_and_help_print_and_leave(solo):
    code, text = run_to_end(solo, "version")
    assert code == 0 and "ersion" in text
    code, text = run_to_end(solo, "help")
    assert code == 0 and text.strip()
    code, text = run_to_end(solo, "dance")
    assert code == 1 and "dance" in text


@pytest.mark.parametrize("name,value", [
    ("ENABLE_PROXY", "maybe"), ("KEEPALIVE_TIME", "soon"), ("PROXY_MODE", "sideways"), ("POOL_MAX_STREAMS_PER_CONNECTION", "70000"),
    ("CONNECTION_TERMINATION_DEADLINE", "x"), ("ISTIO_META_DNS_PROXY_ADDR", "nowhere"), ("ZTUNNEL_WORKER_THREADS", "200%")])
def test_a_variable_that_makes_no_sense_stops_the_start_and_is_named(solo, name, value):
    code, text = run_to_end(solo, "proxy", "ztunnel", **{name: value})
    assert code not in (0, None) and name in text


def test_an_own_port_that_is_taken_stops_the_start(solo):
    with netns.listen(solo.ns("n3"), "::", 15021):
        code, text = run_to_end(solo, "proxy", "ztunnel")
    assert code not in (0, None) and "15021" in text


def test_asked_to_end_while_it_cannot_start_it_still_says_why(solo):
    def ask_to_end():  # what is pending and blocked outlives exec
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
        os.kill(os.getpid(), signal.SIGTERM)

    done = subprocess.run(["ip", "netns", "exec", solo.ns("n3"), solo.zt.binary, "proxy", "ztunnel"], text=True, timeout=30,
                          env={**solo.zt.env, "CA_ADDRESS": "http://plain.example:1"}, preexec_fn=ask_to_end,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert done.returncode == 1 and "http://plain.example:1" in done.stdout.split("cannot start")[1]


# ---- readiness

def test_readiness_goes_through_its_stages(solo):
    solo.cp.kill()
    solo.agent.listen()
    solo.zt.start()
    wait.until("it answers", lambda: solo.zt.readiness() == (500, "not ready, pending: state manager, workload proxy manager\n"), 10)
    solo.cp.start()
    wait.until("the state has come", lambda: solo.zt.readiness() == (500, MANAGER), 20)
    session = solo.agent.accept(20)
    assert solo.zt.readiness() == (500, MANAGER)
    assert session.snapshot_sent() == ""
    solo.zt.wait_ready(2)
    assert solo.zt.readiness() == (200, "ready\n")
    answer = lambda path, method="GET": solo.zt.http(15021, path, method).status  # noqa: E731
    assert [answer("/healthz/ready", "POST"), answer("/healthz/ready", "HEAD"), answer("/healthz/ready?x"),
            answer("/"), answer("/healthz/ready/")] == [405, 405, 200, 404, 404]


# ---- the proxy itself as a member of the mesh

@pytest.mark.parametrize("cpus", [1, 2])
def test_handshakes_leave_a_processor_to_the_loops(solo, cpus):
    before = os.sched_getaffinity(0)
    assert len(before) >= cpus
    os.sched_setaffinity(0, sorted(before)[:cpus])
    try:
        solo.zt.start()
    finally:
        os.sched_setaffinity(0, before)
    wait.until("it answers", lambda: solo.zt.readiness()[0] == 500, 20)
    names = [(task / "comm").read_text().strip() for task in pathlib.Path(f"/proc/{solo.zt.process.pid}/task").iterdir()]
    assert names.count("jobs") == 2  # one for handshakes, one for look-ups that may block


def test_a_mesh_client_reads_the_proxys_metrics_through_a_tunnel(solo):
    own = topo.node4(3)
    solo.cp.push(model.workload("ztunnel-3", [own], "ztunnel", "istio-system", node="node3"), settle=False)
    solo.start()
    with peers.Tunnel(solo.ns("p41"), own, solo.credential()) as tunnel:
        assert tunnel.peer == [model.spiffe("ztunnel", "istio-system")]
        stream, status = tunnel.connect(f"{own}:15020")
        assert status == 200
        tunnel.send(stream, b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", end=True)
        tunnel.wait_end(stream)
        assert b"istio_build{" in tunnel.take(stream)


# ---- logs

def test_logs_in_json_say_the_same(solo):
    solo.start(LOG_FORMAT="json")
    since = solo.zt.mark()
    client.echo(solo.ns("p31"), topo.EXT4)
    found = wait.until("logged", lambda: solo.zt.access(since, ztunnel.parse_json, dst_addr=f"{topo.EXT4}:{app.ECHO}"))
    ((level, message, fields),) = found
    assert (level, message) == ("info", "connection complete")
    assert fields["src.workload"] == "alpha-1" and str(fields["bytes_sent"]) == "11"
    for line in solo.zt.process.text().splitlines():
        assert {"level", "time", "scope"} <= set(json.loads(line)), line


def test_the_log_level_can_be_changed_while_it_runs(solo):
    solo.start()
    post = lambda query: solo.zt.http(15000, f"/logging{query}", "POST")  # noqa: E731
    assert solo.zt.http(15000, "/logging").status == 405
    assert post("").body.startswith("current log level is ")
    assert "debug" in post("?level=access=debug").body
    since = solo.zt.mark()
    with client.open_echo(solo.ns("p31"), topo.EXT4):
        wait.until("its opening is logged now", lambda: [e for e in solo.zt.access(since) if e[1] == "connection opened"])
    assert "debug" not in post("?reset").body
    assert post("?level=loudly").status == 400


# ---- the end

def test_a_proxy_with_nothing_to_do_ends_at_once(solo):
    solo.start()
    watch = wait.Stopwatch()
    solo.zt.stop(5)
    assert watch.seconds < 1 * wait.SCALE


def test_quitquitquit_is_a_graceful_end(solo):
    solo.start()
    assert solo.zt.http(15000, "/quitquitquit").status == 405
    answer = solo.zt.http(15000, "/quitquitquit", "POST")
    assert (answer.status, answer.body) == (200, "shutdown now\n")
    assert solo.zt.process.wait_exit(5) == 0


def refuses(ns, host, port):
    result = client.outcome(ns, host, port)
    assert result == "refused", result
    return True


@pytest.mark.parametrize("way", ["outbound", "inbound", "clear"])
def test_an_open_connection_is_served_to_its_end_and_nothing_new_is(solo, way):
    solo.start()
    with peers.TunnelServer(solo.ns("p41"), solo.credential()):
        ns, host, port = {"outbound": ("p31", solo.PEER4, 8080), "inbound": ("p42", solo.POD4, app.ECHO),
                          "clear": ("p31", topo.EXT4, app.ECHO)}[way]
        with client.open_echo(solo.ns(ns), host, port) as sock:
            solo.zt.process.signal(signal.SIGTERM)
            wait.until("its listeners are closed", lambda: refuses(solo.ns(ns), host, port), 2)
            client.still_echoes(sock)
            assert solo.zt.alive
        assert solo.zt.process.wait_exit(2) == 0


@pytest.mark.parametrize("env", [{"CONNECTION_TERMINATION_DEADLINE": "2s"}, {"TERMINATION_GRACE_PERIOD_SECONDS": "3"}])
def test_the_deadline_ends_what_does_not_end(solo, env):
    solo.start(**env)
    with client.open_echo(solo.ns("p31"), topo.EXT4) as sock, client.open_echo(solo.ns("p42"), solo.POD4) as come:
        watch = wait.Stopwatch()
        solo.zt.process.signal(signal.SIGTERM)
        assert solo.zt.process.wait_exit(5) == 0
        assert 1.8 < watch.seconds < 2 + 1 * wait.SCALE
        for s in (sock, come):
            assert client.wait_cut(s) in ("closed", "reset")
    assert len([e for e in solo.zt.access() if e[0] == "error" and "drain" in e[2].get("error", "")]) == 2


def test_tunnels_are_told_to_go_and_their_streams_end_in_peace(solo):
    solo.start()
    with peers.Tunnel(solo.ns("p41"), solo.POD4, solo.credential()) as tunnel:
        stream, status = tunnel.connect(f"{solo.POD4}:{app.ECHO}")
        assert status == 200
        solo.zt.process.signal(signal.SIGTERM)
        tunnel.until("GOAWAY", lambda: tunnel.goaway, 2)
        assert tunnel.goaway[0] == 0
        tunnel.send(stream, b"still here")
        assert tunnel.receive(stream, 10) == b"still here"
        tunnel.end(stream)
        assert tunnel.wait_end(stream) == "end"
        assert solo.zt.process.wait_exit(2) == 0


def test_asked_twice_it_ends_at_once_and_in_order(solo):
    solo.start(CONNECTION_TERMINATION_DEADLINE="300s")
    with client.open_echo(solo.ns("p31"), topo.EXT4) as sock, peers.Tunnel(solo.ns("p41"), solo.POD4, solo.credential()) as tunnel:
        assert tunnel.connect(f"{solo.POD4}:{app.ECHO}")[1] == 200
        solo.zt.process.signal(signal.SIGTERM)
        tunnel.until("GOAWAY", lambda: tunnel.goaway, 2)
        solo.zt.process.signal(signal.SIGTERM)
        assert solo.zt.process.wait_exit(10) == 0
        assert client.wait_cut(sock) in ("closed", "reset")


# ---- succession

def test_a_successor_takes_over_without_one_failed_connection(fast_mesh, tmp_path):
    mesh = fast_mesh
    with client.Load(mesh.ns("p11"), str(tmp_path), "rate", topo.pod4(2, 1), app.ECHO, 200) as load:
        load.wait("running")
        for node in (1, 2):
            old, new = mesh.ztunnels[node], mesh.next_generation(node)
            new.start()
            new.wait_ready()
            try:
                watch = wait.Stopwatch()
                wait.until("both serve for a moment", lambda w=watch: w.seconds > 0.5, 2, every=0.05)
                old.stop()
                watch = wait.Stopwatch()
                wait.until("the new one serves alone", lambda w=watch: w.seconds > 0.5, 2, every=0.05)
                old.start()
                old.wait_ready()
                new.stop()  # and the other way round
            finally:
                new.discard()
        got = load.result()
    assert got["failed"] == 0, got
    assert got["per_second"] > 50, "the load was real"


@pytest.mark.parametrize("node", [1, 2])
def test_a_killed_proxy_is_ready_again_in_a_second_and_nothing_goes_out_in_the_clear(fast_mesh, tmp_path, node):
    mesh, marker = fast_mesh, b"secret " + uuid.uuid4().hex.encode()
    with wire.node_tap(mesh.topology, 1, str(tmp_path)) as tap:
        mesh[node].process.kill()
        watch = wait.Stopwatch()
        refused = [attempt(mesh, marker) for _ in range(5)]
        mesh[node].start()
        while mesh[node].readiness()[0] != 200:
            refused.append(attempt(mesh, marker))
            assert watch.seconds < 1 * wait.SCALE, f"not ready: {mesh[node].readiness()}"
        wait.until("connections are served again", lambda: attempt(mesh, marker) == "served", 2)
        assert tap.count(marker) == 0
        assert all(client.is_cut(r) for r in refused[:5]), refused


def attempt(mesh, marker):
    """One connection that would say the marker."""
    try:
        with netns.connect(mesh.ns("p11"), topo.pod4(2, 1), app.ECHO, 2) as sock:
            sock.sendall(marker)
            return "served" if client.read_exactly(sock, len(marker)) == marker else "wrong"
    except ConnectionRefusedError:
        return "refused"
    except EOFError:
        return "closed"
    except OSError:
        return "reset"


def test_the_peer_of_a_killed_proxy_resets_its_applications(fast_mesh):
    mesh = fast_mesh
    with client.open_echo(mesh.ns("p11"), topo.pod4(2, 1)) as sock:
        mesh[2].process.kill()
        assert client.wait_cut(sock) == "reset"
    mesh[2].start()
    mesh[2].wait_ready()
    wait.until("served again", lambda: client.outcome(mesh.ns("p11"), meshes.WEB4, 81) == "served")
