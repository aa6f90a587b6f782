# SPDX-License-Identifier: Apache-2.0
"""Programs of the mesh that are killed, and labels that flip, under load: no connection fails, none is cut.

AMBIT_FLIPS is how often the label comes and goes (default 50).
"""
import os
import time

from demo.small import NAMESPACE, deny
from lib.wait import SCALE, Stopwatch, until

FLIPS = int(os.environ.get("AMBIT_FLIPS", "50"))
PER_SECOND, HELD, MANY = 50, 20, 800


def unharmed(load, held):
    """Stops the load: none of its connections failed, and those that were held still work."""
    for h in held:
        answer = h.ping()
        assert answer == {"ok": HELD, "failed": 0}, answer
    report = load.report()
    assert report["failed"] == 0 and report["ok"] > 5, report


def test_a_killed_control_plane_harms_no_connection_and_forgets_nothing(mesh):
    load, held = mesh.rate(PER_SECOND), mesh.hold(HELD)
    mesh.ambit.apply(deny("other"))
    until("the policy is in force", lambda: not mesh.connects("other"))
    mesh.town.control.process.kill()
    time.sleep(0.5)
    assert not mesh.connects("other")
    mesh.town.restart_dead()
    assert mesh.ambit.get("authorizationpolicy", NAMESPACE, "deny")["spec"]["action"] == "DENY"
    assert not mesh.connects("other")
    mesh.ambit.delete("authorizationpolicy", NAMESPACE, "deny")
    until("what happens after its return is heard", lambda: mesh.connects("other"), 10)
    unharmed(load, [held])


def test_a_killed_agent_harms_no_connection_and_comes_back_to_its_pods(mesh):
    load, held = mesh.rate(PER_SECOND), mesh.hold(HELD)
    pids = {w["name"]: w["pid"] for w in mesh.ambit.workloads()}
    for node in (1, 2):
        mesh.town.agents[node].process.kill()
    time.sleep(0.5)
    late = mesh.hold(HELD)
    mesh.town.restart_dead()
    mesh.wait_all("in")
    assert {w["name"]: w["pid"] for w in mesh.ambit.workloads()} == pids
    unharmed(load, [held, late])


def test_a_label_that_goes_while_no_agent_runs_is_seen_when_it_is_back(mesh):
    load, held = mesh.rate(PER_SECOND), mesh.hold(HELD)
    for node in (1, 2):
        mesh.town.agents[node].process.kill()
    mesh.leave()
    mesh.town.restart_dead()
    until("the pods leave", lambda: mesh.states() <= {"out", "leaving"}, 10)
    unharmed(load, [held])
    held.close()
    mesh.wait_all("out", 15)


def test_a_killed_node_proxy_is_ready_again_within_a_second_and_nothing_is_in_the_clear_meanwhile(mesh):
    with mesh.tap(2) as wire:
        proxy = mesh.town.proxies[2]
        assert mesh.connects("client", b"marker-before")
        proxy.process.kill()
        assert not mesh.connects("client", b"marker-meanwhile")
        watch = Stopwatch()
        proxy.start()
        proxy.wait_ready()
        assert watch.seconds < 1.0 * SCALE or proxy.sanitized, watch.seconds
        until("connections work again", lambda: mesh.connects("client", b"marker-after"), 5)
        assert [wire.count(m) for m in (b"marker-before", b"marker-meanwhile", b"marker-after")] == [0, 0, 0]


def test_a_label_that_changes_while_the_control_plane_comes_back_is_seen(mesh):
    """What happened between the agents' last look and their next one is told at once, not with the next change."""
    for _ in range(3):
        mesh.leave()
        mesh.town.control.process.kill()
        mesh.town.restart_dead()
        mesh.join()


def test_new_connections_do_not_meet_those_that_stay_as_they_were(mesh):
    """Proxied ones come from addresses whose owners have connections of their own: their ports must not be the same."""
    tunnelled = mesh.hold(MANY)
    mesh.leave()
    until("the pods leave", lambda: mesh.states() <= {"out", "leaving"})
    plain = mesh.hold(MANY)
    mesh.join()
    again = mesh.hold(MANY)
    for held in (tunnelled, plain, again):
        assert held.ping() == {"ok": MANY, "failed": 0}


def test_label_flips_under_load_cut_no_connection(mesh):
    load, held = mesh.rate(PER_SECOND), [mesh.hold(HELD)]
    for flip in range(FLIPS):
        mesh.leave()
        until("the pods leave", lambda: mesh.states() <= {"out", "leaving"}, 10)
        if flip < 3:
            held.append(mesh.hold(HELD))
        mesh.join()
        if flip < 3:
            held.append(mesh.hold(HELD))
    unharmed(load, held)


def test_tunnels_are_what_the_load_went_through(mesh):
    before = mesh.town.proxies[2].mark()
    load = mesh.rate(PER_SECOND)
    mesh.town.proxies[2].wait_access(before, 10, direction="inbound", dst_hbone_addr=lambda v: v is not None)
    assert load.report()["failed"] == 0
