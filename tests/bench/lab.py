# SPDX-License-Identifier: Apache-2.0
"""Where the figures are taken: two nodes over veth, and three contenders on one path each, all behind the same rules.

    p11 -> p21  ambit    a node proxy on either node, policy loaded, access log and metrics on
    p12 -> p22  plain    two copy hops (bench_hop)
    p13 -> p23  haproxy  TLS 1.3 with client certificates between two instances, 128 KiB buffers, one thread each
    p14 -> p21, p24...   a second client of the mesh, for tunnels beside those of p11
"""
import json
import os
import pathlib
import re
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "scenario"))
# pylint: disable=wrong-import-position
from lib import model, netns, pki, topo  # noqa: E402
from lib.cni import Agent  # noqa: E402
from lib.cp import ControlPlane  # noqa: E402
from lib.proc import Process  # noqa: E402
from lib.wait import until  # noqa: E402
from lib.ztunnel import PLAIN, Ztunnel  # noqa: E402

TOOLS = pathlib.Path(PLAIN).parent / "tests/bench"
LOAD, HOP = str(TOOLS / "bench_load"), str(TOOLS / "bench_hop")
PORT, TUNNEL_PORT, OUTBOUND_PORT = 8080, 15008, 15001
SPREAD_PODS, SPREAD_ROW = 8, 63  # pods 2.4 and up have so many further addresses each, for a tunnel each
SPREAD = SPREAD_PODS * SPREAD_ROW
POOL_IDLE_SECONDS = 10
ALLOWED = "/proc/sys/net/ipv4/tcp_allowed_congestion_control"


class Congestion:
    """Lets namespaces use cubic for the time of the run, where that is ours to say."""

    def __enter__(self):
        self.before = pathlib.Path(ALLOWED).read_text(encoding="ascii").strip()
        if "cubic" not in self.before.split():
            self._set(self.before + " cubic")
        return self

    def __exit__(self, *_):
        if "cubic" not in self.before.split():
            self._set(self.before)

    @staticmethod
    def _set(text):
        try:
            pathlib.Path(ALLOWED).write_text(text, encoding="ascii")
        except OSError:
            pass  # the table says which one was used


def cpu_seconds(pid):
    """All threads of a process, dead ones included, and what the kernel did on their time."""
    return time.clock_gettime(~pid << 3 | 2)


class Contender:
    """One way through: a client's namespace, the server's address, and the processes in between."""

    def __init__(self, topology, number, name):
        self.name, self.topology = name, topology
        self.client, self.server = f"p1{number}", f"p2{number}"
        self.host = topo.pod4(2, number)
        self.processes = []

    def cpu(self):
        return sum(cpu_seconds(p.pid) for p in self.processes)

    def memory(self):
        return [private_kib(p.pid) for p in self.processes]


def private_kib(pid):
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as f:
        return sum(int(n) for n in re.findall(r"^Private_\w+:\s+(\d+) kB", f.read(), re.M))


class Lab:
    """Everything that runs; `close` leaves nothing behind."""

    def __init__(self, folder):
        self.folder = folder
        self.topology = topo.Topology({1: 4, 2: 3 + SPREAD_PODS})
        self.ns = self.topology.ns
        self.started, self.agents, self.ztunnels = [], {}, {}
        self.cp = None
        self.ambit, self.plain, self.haproxy = (
            Contender(self.topology, i, name) for i, name in ((1, "ambit"), (2, "plain"), (3, "haproxy")))
        self.contenders = [self.ambit, self.plain, self.haproxy]

    # ---- making it

    def open(self):
        self.topology.up()
        for node, count in self.topology.pods.items():
            for pod in range(1, count + 1):
                netns.sysctl(self.ns(f"p{node}{pod}"), net__ipv4__ip_local_port_range="16000 60999")
        self._spread_addresses()
        for name in ("p11", "p12", "p13", "p14", "p21", "p22", "p23", *self._spread_names()):
            self.topology.capture(name)
        for name in ("p21", "p22", "p23", *self._spread_names()):
            self._spawn(f"server-{name}", [LOAD, "server", str(PORT)], self.ns(name)).wait_text("ready")
        self._start_plain()
        self._start_mesh()
        self._start_haproxy()

    def close(self):
        for process in self.started:
            process.kill()
        for ztunnel in self.ztunnels.values():
            if ztunnel.process:
                ztunnel.process.kill()
        for agent in self.agents.values():
            agent.stop()
        if self.cp:
            self.cp.kill()
        self.topology.down()

    def congestion(self):
        with netns.inside(self.ns("p11")):
            return pathlib.Path("/proc/sys/net/ipv4/tcp_congestion_control").read_text(encoding="ascii").strip()

    def _spawn(self, name, argv, ns):
        process = Process(name, argv, self.folder, ns=ns)
        self.started.append(process)
        return process

    @staticmethod
    def _spread_names():
        return [f"p2{4 + i}" for i in range(SPREAD_PODS)]

    def _spread_addresses(self):
        """10.245.<i>.1 and up belong to the i-th of those pods."""
        netns.batch(self.ns("fab"), [f"route add 10.245.0.0/16 via {topo.node4(2)}"])
        for i, name in enumerate(self._spread_names()):
            netns.batch(self.ns(name), [f"route add local 10.245.{i}.0/24 dev lo"])
            netns.batch(self.ns("n2"), [f"route add 10.245.{i}.0/24 via {topo.pod4(2, 4 + i)} dev c{name} onlink"])

    def _start_plain(self):
        near = self._spawn("hop-near", [HOP, str(OUTBOUND_PORT), str(TUNNEL_PORT)], self.ns(self.plain.client))
        far = self._spawn("hop-far", [HOP, str(TUNNEL_PORT), str(PORT), "local"], self.ns(self.plain.server))
        for process in (near, far):
            process.wait_text("ready")
        self.plain.processes = [near, far]

    # ---- the mesh

    def resources(self):
        """Two pods of clients, the servers, and policies that every connection is held against."""
        spread = [model.workload(f"spread-{i}", [topo.pod4(2, 4 + i)] + [f"10.245.{i}.{j + 1}" for j in range(SPREAD_ROW)],
                                 f"spread{i}", node="node2") for i in range(SPREAD_PODS)]
        rules = [model.only(principals=[f"cluster.local/ns/other/sa/s{i}"]) for i in range(8)]
        return [model.pod(1, 1, "client-1", "client"), model.pod(1, 4, "other-1", "other"),
                model.pod(2, 1, "server-1", "server"), *spread,
                model.service("server", ["10.96.0.10"], {80: PORT}),
                model.policy("let-in", model.ALLOW, *rules, model.only(namespaces=["shop"])),
                model.policy("keep-out", model.DENY, *rules, scope=model.NAMESPACE), model.strict()]

    def _start_mesh(self):
        self.cp = ControlPlane(self.ns("fab"), topo.ROUTER4, 15012, os.path.join(self.folder, "cp"))
        self.cp.push(*self.resources())
        self.cp.start()
        resolv = os.path.join(self.folder, "resolv.conf")
        with open(resolv, "w", encoding="ascii") as f:
            f.write(f"nameserver {topo.ROUTER4}\n")
        pods = {"p11": ("client-1", "client"), "p14": ("other-1", "other"), "p21": ("server-1", "server")}
        pods.update({name: (f"spread-{i}", f"spread{i}") for i, name in enumerate(self._spread_names())})
        for node in (1, 2):
            agent = self.agents[node] = Agent(os.path.join(self.folder, f"zds-{node}.sock"))
            agent.pods = {f"uid-{name}": (self.ns(name), pod, "shop", sa) for name, (pod, sa) in pods.items()
                          if name[1] == str(node)}
            agent.serve()
            self.ztunnels[node] = Ztunnel(self.topology, node, self.cp, agent.path, self.folder, resolv)
            self.ztunnels[node].binary = PLAIN
        self.start_ztunnels()

    def start_ztunnels(self, **env):
        """Fresh node proxies."""
        for ztunnel in self.ztunnels.values():
            if ztunnel.process:
                ztunnel.process.kill()
            ztunnel.start(POOL_UNUSED_RELEASE_TIMEOUT=f"{POOL_IDLE_SECONDS}s", **env)
        for ztunnel in self.ztunnels.values():
            ztunnel.wait_ready(20)
        self.ambit.processes = [z.process for z in self.ztunnels.values()]

    def wait_no_tunnels(self):
        """Until no tunnel to the spread addresses is left."""
        def none():
            return not any(row[1] == TUNNEL_PORT and row[4] == netns.ESTABLISHED
                           for name in self._spread_names() for row in netns.tcp_sockets(self.ns(name)))
        until("idle tunnels have ended", none, POOL_IDLE_SECONDS * 3, every=0.2)

    # ---- haproxy

    def _start_haproxy(self):
        near_files = self._credential("haproxy-near")
        far_files = self._credential("haproxy-far")
        # It cannot mark what it opens, so the rules are told by its port what is not to be redirected again.
        netns.run(["ip", "netns", "exec", self.ns(self.haproxy.client), "nft", "-f", "-"], """
            table inet exempt { chain output { type filter hook output priority mangle;
                tcp dport 15008 meta mark set 0x539; }; }""")
        near = self._haproxy("near", f"bind :{OUTBOUND_PORT}", f"{self.haproxy.host}:{TUNNEL_PORT} "
                             f"ssl no-ssl-reuse verify required ca-file {near_files[1]} crt {near_files[0]}")
        far = self._haproxy("far", f"bind :{TUNNEL_PORT} ssl verify required ca-file {far_files[1]} crt {far_files[0]}",
                            f"{self.haproxy.host}:{PORT}")
        self.haproxy.processes = [near, far]
        until("haproxy lets connections through", lambda: self.load(self.haproxy, "conn", 1, 1)["failed"] == 0, 10)

    def _credential(self, name):
        issued = self.cp.authority.issue(model.spiffe(name))
        path = os.path.join(self.folder, f"{name}.pem")
        with open(path, "w", encoding="ascii") as f:
            f.write(issued.chain_pem + pki.key_pem(issued.key).decode())
        return path, self.cp.root_file

    def _haproxy(self, side, bind, server):
        path = os.path.join(self.folder, f"haproxy-{side}.cfg")
        suites = "TLS_AES_256_GCM_SHA384"
        with open(path, "w", encoding="ascii") as f:
            f.write(f"""global
    nbthread 1
    maxconn 4000
    tune.bufsize 131072
    ssl-default-bind-ciphersuites {suites}
    ssl-default-server-ciphersuites {suites}
    ssl-default-bind-options ssl-min-ver TLSv1.3 no-tls-tickets
    ssl-default-server-options ssl-min-ver TLSv1.3 no-tls-tickets
defaults
    mode tcp
    timeout connect 5s
    timeout client 1m
    timeout server 1m
frontend in
    {bind}
    default_backend out
backend out
    server s {server}
""")
        ns = self.ns(self.haproxy.client if side == "near" else self.haproxy.server)
        return self._spawn(f"haproxy-{side}", ["haproxy", "-db", "-f", path], ns)

    def server_of(self, contender):
        return next(p for p in self.started if p.name == f"server-{contender.server}")

    # ---- load

    def load_argv(self, contender, mode, *arguments, client=None, host=None):
        return ["ip", "netns", "exec", self.ns(client or contender.client), LOAD, mode, host or contender.host, str(PORT),
                *map(str, arguments)]

    def load(self, contender, mode, *arguments, **where):
        """Runs a load to its end; what it printed."""
        done = subprocess.run(self.load_argv(contender, mode, *arguments, **where), capture_output=True, text=True,
                              timeout=120, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"{contender.name} {mode} {arguments}: {done.stderr.strip()}")
        return json.loads(done.stdout)

    def start_load(self, contender, mode, *arguments, **where):
        """One that lasts until its standard input is closed: see `end_load`."""
        return subprocess.Popen(self.load_argv(contender, mode, *arguments, **where), stdin=subprocess.PIPE,
                                stdout=subprocess.PIPE, text=True)

    @staticmethod
    def end_load(child):
        out, _ = child.communicate(timeout=60)
        if child.returncode != 0:
            raise RuntimeError("a load in the background failed")
        return json.loads(out)
