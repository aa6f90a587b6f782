# SPDX-License-Identifier: Apache-2.0
"""The waypoint as the mesh uses it: a client's node proxy before it and an application's behind it, mutual TLS on both
sides. Beside it what the same process does in the clear, for a client on loopback. Only the waypoint's CPU time is
counted."""
import re
import statistics
import subprocess
import sys
import time

from lab import private_kib
from lib import l7, model, topo, waypoint
from lib.cp import ControlPlane
from lib.proc import Process
from lib.wait import until
from lib.waypoint import APP3, GATE, REAL, REAL_APP, REAL_CLIENT

import proxies

PLAIN_VIP, PLAIN_PORT = "10.96.9.50", 18080
LOADS = {"h1": ["--h1", "-c", "50"], "h2": ["-c", "8", "-m", "16"]}
APP_PORTS = {"h1": 80, "h2": 81}
IDLE = 1000


def resources():
    """Service `real` is reached through node proxies, `bare` is not."""
    ports = {80: 80, 81: 80}
    gate = model.gateway(f"shop/{l7.host('gate')}")
    protocols = {port: "HTTP" for port in ports}
    return [model.pod(1, 2, "gate-1", "gate", services={l7.host("gate"): {15008: 15008}}),
            model.pod(1, 3, "user-1", "user"), model.pod(2, 4, "real-1", "real", services={l7.host("real"): ports}),
            model.pod(2, 3, "other-1", "other", services={l7.host("bare"): ports}, protocol=model.NONE),
            model.service("real", [REAL], ports, waypoint=gate), model.service("bare", [PLAIN_VIP], ports),
            model.service("gate", ["10.96.9.30"], {15008: 15008}),
            l7.binding("real", protocols), l7.binding("bare", protocols)]


class Mesh:
    """The world of the waypoint's scenarios without its tests' applications: nginx answers."""

    def __init__(self, folder, octets):
        self.folder, self.octets, self.started = folder, octets, []
        self.world = waypoint.World(folder)
        self.ns = self.world.ns
        self.cp, self.lab = None, None

    def open(self):
        self.world.topology.up()
        self.cp = ControlPlane(self.ns("fab"), topo.ROUTER4, 15012, f"{self.folder}/cp")
        self.cp.ca(name=model.spiffe("gate"))
        self.cp.push(*resources())
        self.cp.start()
        for app in (APP3, REAL_APP):
            argv = proxies.backend(self.folder, 80, self.octets)
            self.started.append(Process(f"nginx-{app}", argv, self.folder, ns=self.ns(app)))
        self.lab = waypoint.Lab(self.world, self.cp, self.folder)
        self.lab.wp.binary = waypoint.PLAIN
        doors = ",".join(f"127.0.0.1:{PLAIN_PORT + i}={PLAIN_VIP}:{80 + i}" for i in range(2))
        self.lab.wp.start(WAYPOINT_WORKER_THREADS="1", PLAIN_LISTENERS=doors)
        self.lab.wp.wait_ready(20)
        self.lab.start_node_proxies()
        for kind in ("hbone", "plain"):
            until(f"{kind} requests are answered", lambda k=kind: self.load(k, "h1", 0, ["-n", "50"]) == 50, 20)

    def close(self):
        if self.lab:
            self.lab.stop()
        for process in self.started:
            process.kill()
        if self.cp:
            self.cp.kill()
        self.world.topology.down()

    @property
    def pid(self):
        return self.lab.wp.process.pid

    def cpu(self):
        return time.clock_gettime(~self.pid << 3 | 2)

    def url(self, kind, protocol):
        if kind == "hbone":
            return f"http://{REAL}:{APP_PORTS[protocol]}/item"
        return f"http://127.0.0.1:{PLAIN_PORT + (protocol == 'h2')}/item"

    def load(self, kind, protocol, seconds, more=()):
        """How many requests were answered well."""
        ns = self.ns(REAL_CLIENT if kind == "hbone" else GATE)
        length = more or ["-D", str(seconds)]
        done = subprocess.run(["ip", "netns", "exec", ns, "h2load", *LOADS[protocol], "-t", "1", *length,
                               self.url(kind, protocol)], capture_output=True, text=True, check=True)
        said = re.search(r"(\d+) succeeded, (\d+) failed, (\d+) errored", done.stdout)
        if said and int(said[2]) + int(said[3]) and not more:
            raise SystemExit(f"bench: {kind}, {protocol}: {done.stdout}")
        return int(said[1]) if said else 0

    def per_cpu_second(self, kind, protocol, seconds):
        before, served = self.cpu(), self.served(kind)
        good = self.load(kind, protocol, seconds)
        spent = self.cpu() - before
        time.sleep(0.1)
        if self.served(kind) - served < good:
            raise SystemExit(f"bench: {kind}, {protocol}: {good} answers, and the waypoint knows of {self.served(kind) - served}")
        return good / spent

    def served(self, kind):
        """By the waypoint's own metrics; who asked and who answered says which way a request went."""
        policy = "mutual_tls" if kind == "hbone" else "unknown"
        name = "real" if kind == "hbone" else "bare"
        return self.lab.wp.metric("istio_requests_total", connection_security_policy=policy, destination_service_name=name)

    def idle_bytes(self):
        """Private memory an open client connection through a tunnel costs, its endpoint's included: of the second
        thousand, for the first ones use what starting has left."""
        holders = []
        try:
            seen = []
            for _ in range(2):
                holders.append(self._hold())
                time.sleep(3)
                seen.append(private_kib(self.pid))
            return (seen[1] - seen[0]) * 1024 / IDLE
        finally:
            for holder in holders:
                holder.stdin.close()
                holder.wait(20)

    def _hold(self):
        argv = ["ip", "netns", "exec", self.ns(REAL_CLIENT), sys.executable, "-c", HOLD, REAL, str(IDLE)]
        holder = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        if holder.stdout.readline() != b"open\n":
            raise SystemExit("bench: connections through the mesh were not answered")
        return holder


HOLD = """
import socket, sys
held = []
for _ in range(int(sys.argv[2])):
    s = socket.create_connection((sys.argv[1], 80), 5)
    s.sendall(b"GET /item HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n")
    assert s.recv(65536).startswith(b"HTTP/1.1 200")
    held.append(s)
print("open", flush=True)
sys.stdin.read()
"""


def measure(folder, octets, rounds, seconds):
    """{figure: value}; ratios are medians of rounds."""
    mesh, found = Mesh(folder, octets), {}
    try:
        mesh.open()
        time.sleep(1)
        found["private KiB, few connections"] = private_kib(mesh.pid)
        found["private bytes per idle connection over HBONE"] = mesh.idle_bytes()
        for protocol in LOADS:
            pairs = [(mesh.per_cpu_second("hbone", protocol, seconds), mesh.per_cpu_second("plain", protocol, seconds))
                     for _ in range(rounds)]
            found[f"requests per CPU second, {protocol}, HBONE on both sides"] = statistics.median(p[0] for p in pairs)
            found[f"the same in the clear, {protocol}"] = statistics.median(p[1] for p in pairs)
            found[f"HBONE : clear, {protocol} (target 0.5)"] = statistics.median(a / b for a, b in pairs)
        found["private KiB after the load"] = private_kib(mesh.pid)
    finally:
        mesh.close()
    return found
