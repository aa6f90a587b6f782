# SPDX-License-Identifier: Apache-2.0
"""What judges the demonstration is shown what it must not let pass."""
import contextlib
import io
import os
import subprocess
import tempfile
import uuid

from demo import inventory
from demo.report import Report, check
from lib import netns


def nothing():
    return "fine"


def wrong():
    check(False, "not as it should be")


def test_a_step_that_fails_or_is_not_reached_is_no_success():
    for steps, good in (([nothing, nothing], True), ([nothing, wrong], False), ([nothing], False), ([wrong], False)):
        out = io.StringIO()
        report = Report(out)
        report.announce(2)
        for step in steps:
            assert report.step("a step", step) == (step is nothing)
        assert report.end() == good
        assert out.getvalue().rstrip().endswith(": OK" if good else ": NOT OK")
        assert ("not as it should be" in out.getvalue()) == (wrong in steps)


@contextlib.contextmanager
def left_behind(name):
    """One of everything that the inventory looks for; (kind, what its line holds) of each."""
    enter = ["nsenter", f"--net={netns.path(name)}"]
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(tempfile.NamedTemporaryFile(prefix=f"{name}-"))
        netns.add(f"{name}-2")
        stack.callback(netns.delete, f"{name}-2")
        child = subprocess.Popen(["sleep", "1000"])
        stack.callback(child.wait)
        stack.callback(child.kill)
        for argv in (["ip", "link", "add", "left0", "type", "veth", "peer", "name", "left1"],
                     ["ip", "link", "set", "left0", "up"], ["ip", "addr", "add", "192.0.2.9/24", "dev", "left0"],
                     ["ip", "-6", "addr", "add", "2001:db8::9/64", "dev", "left0", "nodad"],
                     ["ip", "route", "add", "blackhole", "198.51.100.0/24", "table", "99"],
                     ["ip", "-6", "route", "add", "blackhole", "2001:db8:9::/64", "table", "99"],
                     ["ip", "rule", "add", "pref", "999", "table", "99"], ["ip", "-6", "rule", "add", "pref", "998", "table", "99"],
                     ["nft", "add", "table", "inet", "left"]):
            netns.run(enter + argv)
        yield [("files", file.name), ("namespaces", f"{name}-2"), ("mounts", f"{name}-2"), ("processes", f"{child.pid} sleep"),
               ("links", "left0"), ("addresses", "192.0.2.9/24"), ("addresses", "2001:db8::9/64"),
               ("IPv4 routes", "198.51.100.0/24"), ("IPv6 routes", "2001:db8:9::/64"), ("IPv4 rules", "999:"),
               ("IPv6 rules", "998:"), ("packet filter", "table inet left")]


def test_whatever_is_left_behind_is_found(monkeypatch):
    monkeypatch.delenv("AMBIT_DEMO_OTHERS", raising=False)
    name = f"left-{uuid.uuid4().hex[:8]}"
    netns.add(name)
    try:
        with netns.inside(name):
            before = inventory.take()
        with left_behind(name) as planted:
            with netns.inside(name):
                with_it = inventory.take()
            found = inventory.differences(before, with_it)
            for kind, text in planted:
                assert [line for line in found if line.startswith(f"{kind}: left behind: ") and text in line], (kind, text, found)
            assert {kind for kind, _ in planted} == set(before), "each kind was shown one"
            missing = inventory.differences(with_it, before)
            assert all(any(line.startswith(f"{kind}: missing: ") for line in missing) for kind in before)
    finally:
        netns.delete(name)
    assert not [e for e in os.listdir("/tmp") if e.startswith(name)]
