# SPDX-License-Identifier: Apache-2.0
"""What is measured, one function a figure: (lab, contender, sizes) -> {name of a value: number}."""
import collections
import json
import math
import os
import pathlib
import subprocess
import threading
import time

from lab import SPREAD, SPREAD_ROW, TOOLS, model, private_kib

KIB = 1024


class Sizes:
    """How much of everything: the full run stays under ten minutes, the quick one under two."""

    def __init__(self, quick):
        self.rounds = 3 if quick else 5
        self.bulk_bytes = 500_000_000 if quick else 2_000_000_000
        self.round_trips_100 = 20_000 if quick else 80_000
        self.round_trips_1 = 2_000 if quick else 8_000
        self.conns = 1_000 if quick else 5_000
        self.handshakes = 150 if quick else 500  # of haproxy, where each connection is one
        self.handshake_rounds = 1 if quick else 4
        self.crowd_seconds = 1.0 if quick else 3.0
        self.idle = 1_000 if quick else 4_000
        self.workloads = 20_000 if quick else 100_000
        self.resyncs = 1 if quick else 5
        self.rules = 100 if quick else 1000


class Cpu:
    """CPU seconds of both processes of a contender over a block."""

    def __init__(self, contender):
        self.contender, self.seconds = contender, 0.0

    def __enter__(self):
        self.seconds = -self.contender.cpu()
        return self

    def __exit__(self, *_):
        self.seconds += self.contender.cpu()


def capture_rules(sizes):
    """What a pod's rules take to be written: node/rules.h, in a namespace of its own."""
    done = subprocess.run([str(TOOLS / "bench_rules"), str(sizes.rules)], capture_output=True, text=True, timeout=120, check=True)
    return json.loads(done.stdout)


def bulk(lab, contender, sizes, conns, piece):
    with Cpu(contender) as cpu:
        said = lab.load(contender, "bulk", conns, piece, sizes.bulk_bytes)
    return {"cpu_s_per_gb": cpu.seconds * 1e9 / sizes.bulk_bytes, "gbit_per_s": sizes.bulk_bytes * 8e-9 / said["seconds"]}


def one_stream(lab, contender, sizes):
    return bulk(lab, contender, sizes, 1, 128 * KIB)


def fifty_streams(lab, contender, sizes):
    return bulk(lab, contender, sizes, 50, 16 * KIB)


def round_trips(lab, contender, conns, count):
    with Cpu(contender) as cpu:
        said = lab.load(contender, "rr", conns, KIB, count, 0)
    return {"cpu_us": cpu.seconds * 1e6 / said["count"], "per_s": said["count"] / said["seconds"],
            "p50_us": said["p50_us"], "p99_us": said["p99_us"]}


def round_trips_100(lab, contender, sizes):
    return round_trips(lab, contender, 100, sizes.round_trips_100)


def round_trips_1(lab, contender, sizes):
    return round_trips(lab, contender, 1, sizes.round_trips_1)


def checked(said):
    if said["failed"]:
        raise RuntimeError(f"{said['failed']} connections failed")
    return said


def pooled_connections(lab, contender, sizes):
    count = sizes.handshakes if contender is lab.haproxy else sizes.conns
    lab.load(contender, "conn", 1, 1)  # the tunnel is there
    with Cpu(contender) as cpu:
        said = checked(lab.load(contender, "conn", count, 32))
    return {"cpu_us": cpu.seconds * 1e6 / count, "per_s": count / said["seconds"], "p99_us": said["p99_us"]}


def handshake_load(lab, contender, sizes):
    """(count, arguments of `load`) of connections that each need a handshake of their own."""
    if contender is lab.ambit:
        lab.wait_no_tunnels()
        return SPREAD, ("conn", SPREAD, 32, SPREAD_ROW), {"client": "p14", "host": "10.245.0.1"}
    return sizes.handshakes, ("conn", sizes.handshakes, 32), {}


def new_tunnels(lab, contender, sizes):
    count, arguments, where = handshake_load(lab, contender, sizes)
    with Cpu(contender) as cpu:
        said = checked(lab.load(contender, *arguments, **where))
    return {"cpu_us": cpu.seconds * 1e6 / count, "per_s": count / said["seconds"], "p99_us": said["p99_us"]}


def others_latency(lab, contender, seconds, meanwhile=None):
    """p99 of ten paced connections for a while, or for as long as `meanwhile` takes."""
    child = lab.start_load(contender, "rr", 10, KIB, 0, 1000)
    time.sleep(0.3)
    if meanwhile:
        meanwhile()
    else:
        time.sleep(seconds)
    return lab.end_load(child)


def crowd(lab, contender, sizes):
    """Ten connections that exist already, without and with handshakes beside them."""
    _, arguments, where = handshake_load(lab, contender, sizes)
    alone = others_latency(lab, contender, sizes.crowd_seconds)
    beside = others_latency(lab, contender, 0, lambda: checked(lab.load(contender, *arguments, **where)))
    return {"alone_p50_us": alone["p50_us"], "alone_p99_us": alone["p99_us"], "p50_us": beside["p50_us"],
            "p99_us": beside["p99_us"], "times": beside["p99_us"] / alone["p99_us"]}


# ---- memory

def settle():
    time.sleep(0.5)


def rest(seconds):
    """Idle means idle: keys go after a second or two, buffers after ten, spare memory after ten more."""
    time.sleep(seconds)


def warm(lab, contender):
    """What all connections share is there."""
    lab.load(contender, "bulk", 1, 128 * KIB, 20_000_000)
    lab.load(contender, "conn", 50, 8)
    settle()


def idle_connections(lab, contender, sizes):
    """Private bytes by which both processes grow for an idle connection. The first half uses up what lay free before."""
    count = (sizes.idle // 4 if contender is lab.haproxy else sizes.idle) // 2
    warm(lab, contender)
    children, memory = [], []
    for _ in range(2):
        children.append(lab.start_load(contender, "idle", count, 32))
        checked(json.loads(children[-1].stdout.readline()))
        rest(3)
        memory.append(contender.memory())
    before, after = memory
    for child in children:
        child.communicate(timeout=60)
    return {"bytes": (sum(after) - sum(before)) * 1024 / count}


def idle_tunnels(lab):
    """Private bytes a side for a tunnel that carries nothing."""
    warm(lab, lab.ambit)
    before = lab.ambit.memory()
    checked(lab.load(lab.ambit, "conn", SPREAD, 32, SPREAD_ROW, client="p14", host="10.245.0.1"))
    rest(3)
    after = lab.ambit.memory()
    return {"near_bytes": (after[0] - before[0]) * 1024 / SPREAD, "far_bytes": (after[1] - before[1]) * 1024 / SPREAD}


def many_workloads(count, revision):
    """Workloads that no node here runs."""
    return [model.workload(f"far-{i}", [f"10.{128 + (i >> 16)}.{i >> 8 & 255}.{i & 255}"], f"sa-{i % 500}", f"ns-{i % 50}",
                           node=f"far-node-{i % 200}", canonical_revision=revision) for i in range(count)]


class Peak:
    """The highest private memory of each process while it lasts."""

    def __init__(self, processes):
        self.processes, self.kib, self._stop = processes, [0] * len(processes), threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def _watch(self):
        while not self._stop.wait(0.05):
            self.kib = [max(k, private_kib(p.pid)) for k, p in zip(self.kib, self.processes)]

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join()


class InFront:
    """Nobody takes the processor from the data path while it lasts: not the control loops, not what else runs here. What is
    late then is late by the data path's own doing."""

    def __init__(self, lab, child):
        pids = [child.pid, lab.server_of(lab.ambit).pid]
        loops = [t for p in lab.ambit.processes for t in pathlib.Path(f"/proc/{p.pid}/task").iterdir()
                 if (t / "comm").read_text(encoding="ascii").startswith("ztunnel-")]
        self.tids = pids + [int(t.name) for t in loops]

    def __enter__(self):
        for tid in self.tids:
            os.sched_setscheduler(tid, os.SCHED_FIFO, os.sched_param(1))

    def __exit__(self, *_):
        for tid in self.tids:
            try:
                os.sched_setscheduler(tid, os.SCHED_OTHER, os.sched_param(0))
            except ProcessLookupError:
                pass  # the load has ended


class Turns:
    """Turns of the data loops of both node proxies over a block: how many, and how many of them were long."""

    def __init__(self, lab):
        self.lab, self.buckets = lab, collections.Counter()

    def _add(self, sign):
        for ztunnel in self.lab.ztunnels.values():
            for m in ztunnel.metrics():
                if m.name == "ambit_loop_turn_seconds_bucket":
                    self.buckets[float(m.labels["le"])] += sign * m.value

    def __enter__(self):
        self._add(-1)
        return self

    def __exit__(self, *_):
        self._add(1)

    def said(self):
        count = self.buckets[math.inf]
        return {"turns": count, "over_1_ms": count - self.buckets[0.001]}


def small_round_trips(lab, meanwhile):
    """One connection through the data path, in front of all else, while something goes on."""
    child = lab.start_load(lab.ambit, "rr", 1, 64, 0, 1000)
    time.sleep(0.3)
    with InFront(lab, child), Turns(lab) as turns:
        meanwhile()
        said = lab.end_load(child)
    return {"max_us": said["max_us"], "p999_us": said["p999_us"], "round_trips": said["count"], **turns.said()}


def stall(lab, sizes, seconds):
    """What a full resync does to the data path, and the same time without one."""
    alone, during = [], []
    for number in range(sizes.resyncs):
        everything = many_workloads(sizes.workloads, f"r{number}")

        def resync():
            lab.cp.push(*everything, settle=False)
            lab.cp.settle(120)
        alone.append(small_round_trips(lab, lambda: time.sleep(seconds)))
        during.append(small_round_trips(lab, resync))
    return {"alone": alone, "during": during}


def big_mesh(lab, sizes):
    """All workloads arrive; then all change at once, while paced connections go on."""
    os.sched_setscheduler(lab.cp.process.pid, os.SCHED_IDLE, os.sched_param(0))  # it has a machine of its own elsewhere
    before = lab.ambit.memory()
    first = many_workloads(sizes.workloads, "v1")
    with Peak(lab.ambit.processes) as peak:
        lab.cp.push(*first, settle=False)
        lab.cp.settle(120)
        settle()
    held = lab.ambit.memory()
    alone = {c.name: others_latency(lab, c, sizes.crowd_seconds) for c in (lab.ambit, lab.plain)}
    second = many_workloads(sizes.workloads, "v2")
    children = {c.name: lab.start_load(c, "rr", 2, KIB, 0, 500) for c in (lab.ambit, lab.plain)}
    began = time.monotonic()
    with Cpu(lab.ambit) as cpu:
        lab.cp.push(*second, settle=False)
        lab.cp.settle(120)
    seconds = time.monotonic() - began
    during = {name: lab.end_load(child) for name, child in children.items()}
    return {"before_kib": before, "peak_kib": peak.kib, "held_kib": held, "cpu_s": cpu.seconds,
            "alone": alone, "during": during, "stall": stall(lab, sizes, seconds)}
