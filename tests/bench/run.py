#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""`make bench`: a table on standard output and bench.json beside the programs that were measured.

    BENCH=quick   fewer and shorter rounds: to see that it works, not to quote from
    BENCH_ONLY=a,b   only figures whose names begin so

Every figure is taken in rounds; in each round every contender is measured once, in shuffled order. Shown are medians
and the range. Ratios are of the same round, so that what the machine does from minute to minute cancels out.
"""
import datetime
import json
import os
import pathlib
import platform
import random
import re
import statistics
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent))
# pylint: disable=wrong-import-position
import figures  # noqa: E402
from lab import Congestion, Lab, TOOLS  # noqa: E402

ALL, TLS = ("ambit", "plain", "haproxy"), ("ambit", "haproxy")


class Figure:
    """One measurement in rounds, and the rows of the table that come of it: (value, title, target for ambit : plain)."""

    def __init__(self, name, take, rows, contenders=ALL, rounds=None):
        self.name, self.take, self.rows, self.contenders, self.rounds = name, take, rows, contenders, rounds
        self.values = {c: [] for c in contenders}

    def run(self, lab, sizes):
        names = list(self.contenders)
        random.shuffle(names)
        for name in names:
            self.values[name].append(self.take(lab, getattr(lab, name), sizes))

    def series(self, contender, value):
        return [v[value] for v in self.values.get(contender, ())]

    def ratios(self, value, other="plain"):
        return [a / b for a, b in zip(self.series("ambit", value), self.series(other, value))]


def bulk_target():
    """AES-GCM is what a bulk stream costs more than a plain one, and AVX-512 halves it."""
    return 1.3 if " avx512f " in pathlib.Path("/proc/cpuinfo").read_text() else 1.6


def wanted_figures(sizes):
    few = sizes.handshake_rounds
    return [
        Figure("bulk-1", figures.one_stream, [("cpu_s_per_gb", "CPU s per GB, one stream", bulk_target()),
                                              ("gbit_per_s", "Gbit/s, one stream", None)]),
        Figure("bulk-50", figures.fifty_streams, [("cpu_s_per_gb", "CPU s per GB, 50 streams x 16 KiB writes", 1.4),
                                                  ("gbit_per_s", "Gbit/s, 50 streams", None)]),
        Figure("rr-100", figures.round_trips_100, [("cpu_us", "CPU us per 1 KiB round trip, 100 connections", 0.95),
                                                   ("per_s", "round trips/s, 100 connections", None),
                                                   ("p99_us", "p99 us, 100 connections", None)]),
        Figure("rr-1", figures.round_trips_1, [("cpu_us", "CPU us per 1 KiB round trip, 1 connection", None),
                                               ("p50_us", "p50 us, 1 connection", None),
                                               ("p99_us", "p99 us, 1 connection", None)]),
        Figure("conn", figures.pooled_connections, [("cpu_us", "CPU us per new connection (pooled tunnel)", 1.0),
                                                    ("per_s", "new connections/s, 32 at a time", None)]),
        Figure("tunnel", figures.new_tunnels, [("cpu_us", "CPU us per new tunnel, both sides", None),
                                               ("per_s", "new tunnels/s, 32 at a time", None)], TLS, few),
        Figure("crowd", figures.crowd, [("alone_p99_us", "p99 us of 10 paced connections, alone", None),
                                        ("p99_us", "p99 us of the same while 500 handshakes run", None),
                                        ("times", "the second as a multiple of the first", 2.0)], TLS, few),
        Figure("idle", figures.idle_connections, [("bytes", "user bytes per idle connection, both sides", None)], rounds=1),
    ]


def short(n):
    return f"{n:.0f}" if abs(n) >= 100 else f"{n:.1f}" if abs(n) >= 10 else f"{n:.2f}"


def spread(values):
    if not values:
        return "-"
    middle = short(statistics.median(values))
    return middle if len(values) == 1 else f"{middle} [{short(min(values))}-{short(max(values))}]"


def facts(lab):
    cpuinfo = pathlib.Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
    flags = set(re.search(r"^flags\s*: (.*)$", cpuinfo, re.M)[1].split()) if "flags" in cpuinfo else set()
    return {"date": datetime.date.today().isoformat(), "kernel": platform.release(), "cores": os.cpu_count(),
            "cpu": (re.search(r"^model name\s*: (.*)$", cpuinfo, re.M) or ["", "unknown"])[1],
            "aes": [f for f in ("aes", "vaes", "avx512f") if f in flags], "congestion_control": lab.congestion()}


def memory_rows(memory):
    rows = []
    if "idle_kib" in memory:
        rows.append(("private KiB of a node proxy, idle", max(memory["idle_kib"]), 3072))
    if "tunnels" in memory:
        rows.append(("user bytes per idle tunnel, near side", memory["tunnels"]["near_bytes"], 6144))
        rows.append(("user bytes per idle tunnel, far side", memory["tunnels"]["far_bytes"], 6144))
    if "after_load_kib" in memory:
        rows.append(("private KiB, 22 s after the load", max(memory["after_load_kib"]), 8192))
    if "rules" in memory:
        said = memory["rules"]
        rows.append(("ms to write a pod's capture rules, p50 / p99", [said["p50_ms"], said["p99_ms"]], 1))
    if "big" in memory:
        big = memory["big"]
        rows.append((f"private KiB with {big['workloads']} workloads, peak", max(big["peak_kib"]), 65536))
        rows.append(("the same, afterwards", max(big["held_kib"]), None))
        for name in ("ambit", "plain"):
            for when in ("alone", "during"):
                said = big[when][name]
                rows.append((f"us of paced round trips, {name}, {'a full resync running' if when == 'during' else 'alone'}: "
                             f"p50 / p99 / p99.9 / max", [said["p50_us"], said["p99_us"], said["p999_us"], said["max_us"]],
                             None))
        for when, words in (("alone", "alone"), ("during", "a full resync running")):
            said = big["stall"][when]
            rows.append((f"us, longest round trip, in front of all else, {words}: least / median / most",
                         [f([s["max_us"] for s in said]) for f in (min, statistics.median, max)], None))
            rows.append((f"turns over 1 ms of 100,000 of data loops in front of all else, {words}",
                         1e5 * sum(s["over_1_ms"] for s in said) / sum(s["turns"] for s in said), None))
    return rows


def table(done, memory):
    rows = [["figure", *ALL, "ambit : plain", "target"]]
    for figure in done:
        for value, title, target in figure.rows:
            cells = [spread(figure.series(c, value)) for c in ALL]
            against = spread(figure.ratios(value)) if "plain" in figure.contenders else "-"
            rows.append([title, *cells, against, f"<= {target}" if target else ""])
    for title, value, target in memory_rows(memory):
        text = " / ".join(map(short, value)) if isinstance(value, list) else short(value)
        rows.append([title, text, "", "", "", f"<= {target}" if target else ""])
    return rows


def show(rows):
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for number, row in enumerate(rows):
        print("| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |")
        if number == 0:
            print("|" + "|".join("-" * (width + 2) for width in widths) + "|")


def measure(lab, sizes, only):
    """(figures, memory); a word on standard error for every round."""
    def picked(name):
        return not only or any(name.startswith(o) for o in only)
    done, memory = [f for f in wanted_figures(sizes) if picked(f.name)], {}
    for contender in lab.contenders:
        lab.load(contender, "conn", 20, 4)
    if picked("memory"):
        lab.start_ztunnels()  # what was used and freed before would hide what is measured
        time.sleep(1)
        memory["idle_kib"] = lab.ambit.memory()
        memory["tunnels"] = figures.idle_tunnels(lab)
    for number in range(sizes.rounds):
        for figure in done:
            if number < (figure.rounds or sizes.rounds):
                began = time.monotonic()
                figure.run(lab, sizes)
                print(f"round {number + 1} of {figure.rounds or sizes.rounds}: {figure.name} "
                      f"({time.monotonic() - began:.1f} s)", file=sys.stderr, flush=True)
    if picked("memory"):
        figures.rest(22)
        memory["after_load_kib"] = lab.ambit.memory()
    if picked("rules"):
        memory["rules"] = figures.capture_rules(sizes)
    if picked("big"):
        memory["big"] = {"workloads": sizes.workloads, **figures.big_mesh(lab, sizes)}
    return done, memory


def main():
    sizes = figures.Sizes(os.environ.get("BENCH") == "quick")
    only = [n for n in os.environ.get("BENCH_ONLY", "").split(",") if n]
    began = time.monotonic()
    with Congestion(), tempfile.TemporaryDirectory(prefix="bench-") as folder:
        lab = Lab(folder)
        try:
            lab.open()
            about = facts(lab)
            done, memory = measure(lab, sizes, only)
        finally:
            lab.close()
    about["seconds"] = round(time.monotonic() - began)
    show(table(done, memory))
    print(", ".join(f"{key} {' '.join(value) if isinstance(value, list) else value}" for key, value in about.items()))
    if about["congestion_control"] != "cubic":
        print("note: this host keeps namespaces from using cubic; figures are not those of docs/performance.md")
    path = TOOLS.parents[1] / "bench.json"
    path.write_text(json.dumps({"facts": about, "figures": {f.name: f.values for f in done}, "memory": memory}, indent=1),
                    encoding="utf-8")
    print(f"written to {os.path.relpath(path)}")


if __name__ == "__main__":
    main()
