# SPDX-License-Identifier: Apache-2.0
"""The proxy and the node agent: pods handed over, taken away, kept; what bad messages cause."""
import array
import contextlib
import os
import random
import socket

import pytest

from lib import app, client, cni, model, netns, peers, topo, wait

INFO = ("alpha-1", "shop", "alpha")
ADD = cni.add_message("uid-x", "alpha-1", "shop", "alpha")
LISTENERS = {15001, 15006, 15008, 15053}


def listening(ns):
    return {row[1] for row in netns.tcp_sockets(ns) if row[4] == netns.LISTEN} & LISTENERS


def greeted(solo, pods=("p31",)):
    """A session in which the snapshot has been given."""
    session = solo.agent.accept()
    assert session.hello == cni.HELLO
    for name in pods:
        assert session.add(f"uid-{name}", solo.ns(name), *solo.agent.pods[f"uid-{name}"][1:]) == ""
    assert session.snapshot_sent() == ""
    return session


def states(solo):
    return {uid: s["state"] for uid, s in solo.zt.config_dump()["workloadState"].items()}


def test_hello_comes_first_and_listeners_stand_when_the_pod_is_acknowledged(solo):
    solo.start(serve=False, ready=False)
    session = solo.agent.accept()
    assert session.hello == cni.HELLO and not listening(solo.ns("p31"))
    assert session.add("uid-p31", solo.ns("p31"), *INFO) == ""
    assert listening(solo.ns("p31")) == LISTENERS
    assert solo.zt.readiness() == (500, "not ready, pending: workload proxy manager\n")
    assert session.request(cni.SNAPSHOT_SENT) == cni.ACK
    solo.zt.wait_ready(2)
    assert states(solo) == {"uid-p31": "Up"} and not session.closed()


def test_listeners_carry_the_mark_so_that_rules_let_the_proxy_pass(solo):
    """Through the rules of p31: were any socket unmarked, the connection would come back to the proxy."""
    solo.start()
    assert client.greet(solo.ns("p41"), solo.POD4)["peer"][0] == solo.PEER4
    assert client.greet(solo.ns("p31"), topo.EXT4)["peer"][0] == solo.POD4


READ_ERRORS = {
    "an add without a namespace": (ADD, 0, "failure to read message : No control message"),
    "an add with two namespaces": (ADD, 2, "failure to read message : Expected 1 FD, got 2"),
    "octets that are no message": (b"\xff\xff\xff\xff", 0, "failure to read message : failed to decode"),
    "a message without payload": (b"\x4a\x00", 0, "failure to read message : no payload"),
    "a packet too long": (cni.add_message("u" * 1050, *INFO), 1, "failure to read message : received truncated message"),
    "a delete with a namespace": (cni.del_message("uid-p31"), 1, "failure to read message : Unexpected control message"),
}


@pytest.mark.parametrize("what", READ_ERRORS)
def test_the_session_ends_and_a_new_one_begins_after(solo, what):
    octets, count, text = READ_ERRORS[what]
    solo.start(serve=False, ready=False)
    session = greeted(solo)
    fds = [os.open(netns.path(solo.ns("p31")), os.O_RDONLY) for _ in range(count)]
    try:
        assert cni.ack_error(session.request(octets, fds)).startswith(text)
    finally:
        for fd in fds:
            os.close(fd)
    wait.until("the session is closed", session.closed)
    again = solo.agent.accept(2)
    assert solo.zt.readiness()[0] == 500 and states(solo) == {"uid-p31": "Up"}, "running pods go on"
    assert again.hello == cni.HELLO and ack(again, cni.keep_message("uid-p31")) == "" and again.snapshot_sent() == ""
    solo.zt.wait_ready(2)
    assert listening(solo.ns("p31")) == LISTENERS


def ack(session, octets):
    return cni.ack_error(session.request(octets))


PROTOCOL_ERRORS = {
    "an add without information": (cni.add_message("uid-y"), 1, "workload_info is required but not present"),
    "a keep after the snapshot": (cni.keep_message("uid-p31"), 0, "pod keep received after snapshot"),
    "a second snapshot": (cni.SNAPSHOT_SENT, 0, "pod snapshot received already"),
}


@pytest.mark.parametrize("what", PROTOCOL_ERRORS)
def test_the_process_gives_up_after(solo, what):
    octets, count, text = PROTOCOL_ERRORS[what]
    solo.start(serve=False, ready=False)
    session = greeted(solo)
    fds = [os.open(netns.path(solo.ns("p31")), os.O_RDONLY) for _ in range(count)]
    reply = session.request(octets, fds)
    for fd in fds:
        os.close(fd)
    assert cni.ack_error(reply) == f'failure to process message : ProtocolError("{text}")'
    assert solo.zt.process.wait_exit() == 1


def test_what_is_odd_but_harmless_is_acknowledged(solo):
    solo.start(serve=False, ready=False)
    session = greeted(solo)
    assert ack(session, cni.del_message("uid-never-seen")) == ""
    assert session.add("uid-p31", solo.ns("p31"), *INFO) == "", "the same pod again"
    assert session.add("", solo.ns("p32"), "beta-1", "shop", "beta") == "", "an empty uid"
    assert states(solo) == {"uid-p31": "Up", "": "Up"}


def test_a_pod_whose_port_is_taken_is_refused_kept_pending_and_started_later(solo):
    ns = solo.topology.add_pod(3, 6, "busy")
    solo.start(serve=False, ready=False)
    session = greeted(solo)
    try:
        with netns.listen(ns, "::", 15008):
            error = session.add("uid-busy", ns, *INFO)
            assert error.startswith("failure to start proxy : ") and "15008" in error
            assert states(solo) == {"uid-p31": "Up", "uid-busy": "Pending"}
            assert solo.zt.metric("workload_manager_pending_proxy_count") == 1 and not session.closed()
        wait.until("it comes up by itself", lambda: states(solo)["uid-busy"] == "Up", 8)
        assert listening(ns) == LISTENERS
    finally:
        netns.delete(ns)


@pytest.mark.parametrize("busy", [False, True], ids=["idle", "with a connection"])
def test_a_deleted_pod_is_let_go(solo, busy):
    """The kernel takes its time with a namespace that nobody refers to; with one that somebody does it waits for ever."""
    ns = solo.topology.add_pod(3, 5, "gone")
    solo.cp.push(model.pod(3, 5, "gamma-1", "gamma"), settle=False)
    solo.start()
    assert solo.agent.add("uid-gone", ns, "gamma-1", "shop", "gamma") == ""
    started = solo.zt.metric("workload_manager_proxies_stopped_total")
    sock, come = None, None
    if busy:
        solo.topology.capture("gone")
        sock = netns.connect(ns, topo.EXT4, app.ECHO)
        client.still_echoes(sock)
        listener = netns.listen(ns, "::", 9990)
        come = netns.connect(solo.ns("p42"), topo.pod4(3, 5), 9990)
        conn, _ = listener.accept()
        conn.sendall(b"x")
        assert come.recv(1) == b"x"
        conn.close()
        listener.close()
        sock.close()
    assert solo.agent.remove("uid-gone") == [""]
    assert not listening(ns)
    netns.delete(ns)
    wait.until("its namespace is gone", lambda: not solo.topology.pod_port_exists(3, "gone"), 10)
    wait.until("counted", lambda: solo.zt.metric("workload_manager_proxies_stopped_total") == started + 1)
    if come:
        come.close()


def test_a_deleted_pods_connections_are_dropped_at_once(solo):
    solo.start()
    with peers.TunnelServer(solo.ns("p41"), solo.credential()), client.open_echo(solo.ns("p31"), solo.PEER4, 8080) as out, \
            client.open_echo(solo.ns("p42"), solo.POD4) as come, client.open_echo(solo.ns("p32"), solo.PEER4, 8080) as other:
        assert solo.agent.remove("uid-p31") == [""]
        for sock in (out, come):
            assert client.wait_cut(sock, 1 * wait.SCALE) in ("closed", "reset")
        client.still_echoes(other)


def test_one_uid_with_another_namespace_replaces_the_first(solo):
    ns = solo.topology.add_pod(3, 7, "newer")
    try:
        solo.start(serve=False, ready=False)
        session = greeted(solo)
        assert session.add("uid-p31", ns, *INFO) == ""
        wait.until("the new one listens", lambda: listening(ns) == LISTENERS)
        wait.until("the old one does not", lambda: not listening(solo.ns("p31")))
        assert states(solo) == {"uid-p31": "Up"}
    finally:
        netns.delete(ns)


def served_as(solo, ns, host):
    """Who answers at a pod's door, once no port of it is shared by two."""
    wait.until("one listener a port", lambda: len([r for r in netns.tcp_sockets(ns) if r[4:] == (netns.LISTEN,) and r[1] == 15008]) == 1)
    names = set()
    for _ in range(8):
        with peers.Tunnel(solo.ns("p41"), host, solo.credential()) as tunnel:
            names.update(tunnel.peer)
    return names


@pytest.mark.parametrize("uid", ["uid-p31", "uid-next"], ids=["the same pod under another account", "another pod"])
def test_a_namespace_is_one_pods(solo, uid):
    """Its ports may be shared by two, each with an identity of its own: the last that the agent names has it."""
    solo.start(serve=False, ready=False)
    session = greeted(solo)
    solo.zt.wait_ready()
    assert served_as(solo, solo.ns("p31"), solo.POD4) == {model.spiffe("alpha")}
    assert session.add(uid, solo.ns("p31"), "beta-1", "shop", "beta") == ""
    assert states(solo) == {uid: "Up"}
    assert served_as(solo, solo.ns("p31"), solo.POD4) == {model.spiffe("beta")}


NO_NAMESPACES = {"a file": "/dev/null", "a mount namespace": "/proc/self/ns/mnt", "the proxy's own": None}


@pytest.mark.parametrize("what", NO_NAMESPACES)
def test_what_is_no_pods_namespace_is_refused(solo, what):
    solo.start(serve=False, ready=False)
    session = greeted(solo)
    fd = os.open(NO_NAMESPACES[what] or netns.path(solo.ns("n3")), os.O_RDONLY)
    try:
        assert cni.ack_error(session.request(cni.add_message("uid-y", *INFO), [fd])).startswith("failure to start proxy : the ")
    finally:
        os.close(fd)
    assert states(solo) == {"uid-p31": "Up"} and listening(solo.ns("n3")) <= {15008}, "its own door, no more"
    assert session.add("uid-p32", solo.ns("p32"), "beta-1", "shop", "beta") == ""


def test_while_the_agent_is_away_connections_go_on_and_readiness_tells(solo):
    solo.start()
    with peers.TunnelServer(solo.ns("p41"), solo.credential()), client.open_echo(solo.ns("p31"), solo.PEER4, 8080) as sock:
        solo.agent.stop()
        wait.until("readiness tells", lambda: solo.zt.readiness() == (500, "not ready, pending: workload proxy manager\n"))
        client.still_echoes(sock)
        client.echo(solo.ns("p31"), solo.PEER4, 8080)
        solo.agent.kept = {"uid-p31", "uid-p32"}
        solo.agent.serve()
        solo.zt.wait_ready(5)
        client.still_echoes(sock)
        client.echo(solo.ns("p31"), solo.PEER4, 8080)
    assert not solo.agent.errors


def test_a_returning_agent_that_does_not_name_a_pod_ends_it(solo):
    solo.start()
    solo.agent.stop()
    del solo.agent.pods["uid-p32"]
    solo.agent.serve()
    wait.until("the pod is gone", lambda: states(solo) == {"uid-p31": "Up"})
    wait.until("its listeners too", lambda: not listening(solo.ns("p32")))
    assert listening(solo.ns("p31")) == LISTENERS and solo.zt.readiness()[0] == 200


def test_an_agent_that_comes_late_is_found(solo):
    solo.zt.start()
    wait.until("all else is done", lambda: solo.zt.readiness() == (500, "not ready, pending: workload proxy manager\n"), 10)
    solo.agent.serve()
    solo.zt.wait_ready(5)


def test_the_proxy_never_speaks_unasked(solo):
    solo.start(serve=False, ready=False)
    session = greeted(solo)
    solo.zt.wait_ready()
    wait.never("unasked words or an end", session.closed, 0.5)


def test_the_agents_socket_may_be_recreated(solo):
    solo.start()
    solo.agent.stop()
    os.unlink(solo.agent.path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as stale:
        stale.bind(solo.agent.path)
    wait.until("readiness tells", lambda: solo.zt.readiness()[0] == 500)
    solo.agent.serve()
    solo.zt.wait_ready(5)


def test_agents_that_end_in_the_middle_of_anything_leave_what_the_last_one_says(solo):
    """Forty agents, each with words in any order whose answers it may not await: pods that come, go, move, are another's."""
    choice = random.Random(1)
    spaces = [solo.ns(name) for name in ("p31", "p32", "p41", "p42")]

    def word():
        uid = f"uid-{choice.randrange(4)}"
        kind = choice.choice(("add", "add", "add", "del", "keep", "sent"))
        if kind == "add":
            return cni.add_message(uid, *choice.choice((INFO, ("beta-1", "shop", "beta")))), choice.choice(spaces)
        return {"del": cni.del_message(uid), "keep": cni.keep_message(uid), "sent": cni.SNAPSHOT_SENT}[kind], None

    def say(session, octets, space):
        fds = [os.open(netns.path(space), os.O_RDONLY)] if space else []
        try:
            session.sock.sendmsg([octets], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else [])
        finally:
            for fd in fds:
                os.close(fd)

    solo.start(serve=False, ready=False)
    for _ in range(40):
        session, sent = solo.agent.accept(30), False
        with contextlib.suppress(OSError):  # the proxy may have had enough first
            for _ in range(choice.randrange(12)):
                octets, space = word()
                if sent and octets[:1] in (cni.SNAPSHOT_SENT[:1], cni.keep_message("")[:1]):
                    continue  # after the snapshot these end the process, as they should
                sent = sent or octets == cni.SNAPSHOT_SENT
                say(session, octets, space)
                if choice.random() < 0.5:
                    session.sock.recv(1024)
        session.close()
    last = solo.agent.accept(30)
    assert last.add("uid-last", spaces[1], *INFO) == "" and last.snapshot_sent() == ""
    assert states(solo) == {"uid-last": "Up"}
    wait.until("all others are let go", lambda: not any(listening(ns) for ns in spaces if ns != spaces[1]))
    assert listening(spaces[1]) == LISTENERS and solo.zt.process.alive
