# SPDX-License-Identifier: Apache-2.0
"""Workloads of one node and one user: each keeps its identity to itself."""
import json
import os
import subprocess
import sys

from lib.wait import until

NAMESPACE = "apiVersion: v1\nkind: Namespace\nmetadata: {name: lodge}\n"
# What a process can do to one of its own user: its child, then the one that its argument names by command line.
PROBE = """
import ctypes, json, os, signal, sys

def find(mark):
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as f:
                if f.read().startswith(b"sleep\\0" + mark.encode()):
                    return int(pid)
        except OSError:
            pass
    return 0

def may(act):
    try:
        act()
        return True
    except PermissionError:
        return False

def powers(pid):
    return {"memory": may(lambda: os.close(os.open(f"/proc/{pid}/mem", os.O_RDWR))),
            "environment": may(lambda: open(f"/proc/{pid}/environ", "rb").close()),
            "signals": may(lambda: os.kill(pid, 0))}

child = os.fork()
if child == 0:
    signal.pause()
abi = ctypes.CDLL(None).syscall(444, None, ctypes.c_size_t(0), 1)
print(json.dumps({"uid": os.getuid(), "abi": abi, "child": powers(child), "other": powers(find(sys.argv[1]))}))
os.kill(child, signal.SIGKILL)
os.wait()
"""
ALL = {"memory": True, "environment": True, "signals": True}


def test_a_workload_has_no_hold_on_another_of_its_user(place):
    place.ambit.apply(NAMESPACE)
    run = ("run", "--run-dir", f"{place.run_dir}/node1", "-n", "lodge")
    mark = str(10 ** 7 + os.getpid())  # another run beside this one has a victim, too
    status, _, err = place.ambit.ask(*run, "-d", "--name", "victim", "--", "sleep", mark)
    assert status == 0, err
    argv = [sys.executable, "-c", PROBE, mark]
    outside = json.loads(until("the victim runs", lambda: probe_outside(argv), 10))
    assert outside["uid"] == 65534 and outside["other"] == ALL  # without a domain there is nothing to hold it back
    status, out, err = place.ambit.ask(*run, "--name", "thief", "--", *argv)
    assert status == 0, err
    seen = json.loads(out)
    assert seen["uid"] == 65534 and seen["child"] == ALL
    assert seen["other"] == {"memory": False, "environment": False, "signals": seen["abi"] < 6}
    status, _, err = place.ambit.ask("stop", "--run-dir", f"{place.run_dir}/node1", "-n", "lodge", "victim")
    assert status == 0, err


def probe_outside(argv):
    done = subprocess.run(argv, user=65534, group=65534, extra_groups=[], cwd="/", capture_output=True, text=True, timeout=20, check=False)
    return done.stdout if done.returncode == 0 and json.loads(done.stdout)["other"]["signals"] else None
