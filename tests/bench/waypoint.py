#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The second half of `make bench`: a waypoint as a proxy of HTTP beside HAProxy, nginx and Envoy. One worker each, the
same backend, access logs and metrics on. Requests per second of the proxy's own CPU time; medians of interleaved rounds.
Then the same waypoint inside of a mesh (hbone.py).

    BENCH=quick      fewer and shorter rounds
    BENCH_ONLY=a,b   only these contenders
"""
import contextlib
import json
import os
import pathlib
import random
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent))
# pylint: disable=wrong-import-position
import hbone  # noqa: E402
import proxies  # noqa: E402
from lab import cpu_seconds, private_kib  # noqa: E402

QUICK = os.environ.get("BENCH") == "quick"
ROUNDS, SECONDS = (2, 1) if QUICK else (3, 3)
OCTETS, IDLE, RATE = 1024, 1000, 2000
BACKEND_PORT = 18000
LOADS = {"h1": ["--h1", "-c", "50"], "h2": ["-c", "8", "-m", "16"]}


def descendants(pid):
    """The process and those below it."""
    children = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    return [pid] + [d for c in children for d in descendants(int(c))]


class Proxy:
    """One contender with one number of routes."""

    def __init__(self, name, port, argv, folder):
        self.name, self.port = name, port
        with open(f"{folder}/{name}-{port}.out", "wb") as out:
            self.child = subprocess.Popen(argv, stdout=out, stderr=out, cwd=folder)
        self._wait()

    def _wait(self):
        for _ in range(200):
            try:
                socket.create_connection((proxies.BACKEND_HOST, self.port), 1).close()
                return
            except OSError:
                time.sleep(0.05)
        raise SystemExit(f"bench: {self.name} does not listen on {self.port}")

    def pids(self):
        return descendants(self.child.pid)

    def cpu(self):
        return sum(cpu_seconds(p) for p in self.pids())

    def kib(self):
        return sum(private_kib(p) for p in self.pids())

    def stop(self):
        self.child.terminate()
        try:
            self.child.wait(10)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()


def urls(folder, port, routes):
    """A file of addresses: one of each route, in no order."""
    path = pathlib.Path(folder) / f"urls-{port}"
    paths = [f"{p}item" for p in proxies.prefixes(routes)] or ["/item"]
    random.shuffle(paths)
    path.write_text("".join(f"http://{proxies.BACKEND_HOST}:{port}{p}\n" for p in paths[:200]), encoding="ascii")
    return str(path)


def run_load(folder, proxy, protocol, routes, more=(), seconds=SECONDS):
    port = proxy.port + (protocol == "h2")
    done = subprocess.run(["h2load", *LOADS[protocol], "-t", "1", "-D", str(seconds), "-i", urls(folder, port, routes), *more],
                          capture_output=True, text=True, check=True)
    said = re.search(r"requests: \d+ total, \d+ started, \d+ done, (\d+) succeeded, (\d+) failed, (\d+) errored", done.stdout)
    good, bad = int(said[1]), int(said[2]) + int(said[3])
    if not good or bad:
        raise SystemExit(f"bench: {proxy.name}, {protocol}: {good} good requests, {bad} bad")
    return good


def per_cpu_second(folder, proxy, protocol, routes):
    before = proxy.cpu()
    good = run_load(folder, proxy, protocol, routes)
    return good / (proxy.cpu() - before)


def latencies(folder, proxy, protocol):
    """p50 and p99 in microseconds at a fixed rate."""
    log = pathlib.Path(folder) / "h2load.log"
    clients = int(LOADS[protocol][LOADS[protocol].index("-c") + 1])
    log.unlink(missing_ok=True)
    run_load(folder, proxy, protocol, 1, ["--rps", str(RATE // clients), "--log-file", str(log)])
    us = sorted(int(line.split()[2]) for line in log.read_text(encoding="ascii").splitlines())
    return us[len(us) // 2], us[len(us) * 99 // 100]


def idle_bytes(proxy):
    """Private memory a connection that has asked once and keeps open."""
    before, held = proxy.kib(), []
    for _ in range(IDLE):
        sock = socket.create_connection((proxies.BACKEND_HOST, proxy.port), 5)
        sock.sendall(b"GET /item HTTP/1.1\r\nHost: a\r\n\r\n")
        sock.recv(65536)
        held.append(sock)
    time.sleep(3)
    after = proxy.kib()
    for sock in held:
        sock.close()
    return (after - before) * 1024 / IDLE


def contenders():
    """{name: its maker}"""
    makers = {"haproxy": proxies.haproxy, "nginx": proxies.nginx, "ambit": proxies.ambit}
    if proxies.envoy_program():
        makers["envoy"] = proxies.envoy
    only = os.environ.get("BENCH_ONLY")
    return {n: m for n, m in makers.items() if not only or n in only.split(",")}


@contextlib.contextmanager
def started(folder, name, maker, routes):
    proxy = Proxy(name, 18100, maker(folder, 18100, BACKEND_PORT, routes), folder)
    try:
        run_load(folder, proxy, "h1", routes, seconds=1)  # what is made once
        yield proxy
    finally:
        proxy.stop()


def one_round(folder, name, maker, note):
    for routes in (1, 1000):
        with started(folder, name, maker, routes) as proxy:
            for protocol in LOADS:
                note(f"requests per CPU second, {protocol}, {routes} route{'s' if routes > 1 else ''}",
                     per_cpu_second(folder, proxy, protocol, routes))
                if routes == 1:
                    p50, p99 = latencies(folder, proxy, protocol)
                    note(f"p50 us at {RATE}/s, {protocol}", p50)
                    note(f"p99 us at {RATE}/s, {protocol}", p99)


def memory(folder, name, maker, note):
    proxy = Proxy(name, 18100, maker(folder, 18100, BACKEND_PORT, 1), folder)
    try:
        time.sleep(1)
        note("private KiB, idle", proxy.kib())
        note("private bytes per idle connection", idle_bytes(proxy))
    finally:
        proxy.stop()


def measure(folder, makers):
    """{figure: {contender: values}}"""
    found = {}

    def noter(name):
        return lambda figure, value: found.setdefault(figure, {}).setdefault(name, []).append(value)
    for number in range(ROUNDS):
        for name in random.sample(list(makers), len(makers)):
            one_round(folder, name, makers[name], noter(name))
        print(f"round {number + 1} of {ROUNDS}", file=sys.stderr, flush=True)
    for name, maker in makers.items():
        memory(folder, name, maker, noter(name))
    return found


def ratio(values, other):
    """The median of the rounds' own, so that what the machine does from minute to minute cancels out."""
    pairs = list(zip(values.get("ambit", ()), values.get(other, ())))
    return f"{statistics.median(a / b for a, b in pairs if b):.2f}" if any(b for _, b in pairs) else "-"


def show(found):
    names = sorted(next(iter(found.values())))
    print("| figure | " + " | ".join(names) + " | ambit : haproxy | ambit : envoy |")
    print("|---" * (len(names) + 3) + "|")
    for figure, values in found.items():
        middle = {n: statistics.median(v) for n, v in values.items()}
        ratios = [ratio(values, other) for other in ("haproxy", "envoy")]
        print(f"| {figure} | " + " | ".join(f"{middle[n]:.0f}" for n in names) + " | " + " | ".join(ratios) + " |")


def alone():
    """Runs the first half in a network namespace of its own: ports are nobody else's, and the program measured has fixed
    ones."""
    environment = dict(os.environ, ENVOY=proxies.envoy_program() or "", BENCH_ALONE="yes")
    subprocess.run(["unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$0" "$@"', sys.executable, *sys.argv],
                   env=environment, check=True)


def beside_others():
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        backend = Proxy("backend", BACKEND_PORT, proxies.backend(folder, BACKEND_PORT, OCTETS), folder)
        try:
            found = measure(folder, contenders())
        finally:
            backend.stop()
            proxies.stop_control_planes()
    show(found)
    keep(found)


def keep(found):
    path = proxies.TOOLS / "bench-waypoint.json"
    before = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    path.write_text(json.dumps({**before, **found}, indent=1), encoding="utf-8")
    print(f"written to {os.path.relpath(path)}")


def inside_the_mesh():
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        found = hbone.measure(folder, OCTETS, ROUNDS, SECONDS)
    print("| inside the mesh | |\n|---|---|")
    for figure, value in found.items():
        print(f"| {figure} | {value:.2f} |" if value < 100 else f"| {figure} | {value:.0f} |")
    keep(found)


def main():
    if "BENCH_ALONE" in os.environ:
        beside_others()
        return
    alone()
    inside_the_mesh()


if __name__ == "__main__":
    main()
