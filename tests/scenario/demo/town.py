# SPDX-License-Identifier: Apache-2.0
"""The place: two nodes joined by a router, a host for the control plane, and the mesh's own programs on them."""
import ctypes
import json
import os
import shutil
import signal
import tempfile

from demo import inventory
from demo.cli import Ambit
from demo.control import BUILD, ENV, ControlPlane, proxy_manifest
from demo.report import check
from lib import netns, topo
from lib.proc import Process
from lib.wait import until
from lib.ztunnel import Ztunnel

NODES = (1, 2)
READY = "127.0.0.1:15041"
TEMPORARY, PREFIX = "/tmp", "ambit-demo-"
_PR_SET_CHILD_SUBREAPER = 36


def adopt_orphans():
    """Whatever is started below this process stays below it, also when its own parent ends."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def end_descendants():
    """Ends what is still below this process, by pid, and reaps it."""
    while found := inventory.descendants(os.getpid()):
        for entry in found:
            try:
                os.kill(int(entry.split()[0]), signal.SIGKILL)
            except ProcessLookupError:
                pass
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return


def take_away(folder):
    """A place's folder, with the namespaces that are mounted in it and whoever is in them."""
    for mount in inventory.mounts():
        namespace, path = mount.split(maxsplit=1)
        if path.startswith(folder + "/"):
            for pid in inventory.processes_in(namespace):
                os.kill(pid, signal.SIGKILL)
            netns.run(["umount", path])
    shutil.rmtree(folder)


def remove_leftovers():
    """What runs left behind that were killed. Their own namespaces are known by their owner's name, and gone."""
    topo.remove_leftovers()
    living = {name.rpartition("-")[0] for name in netns.names()}
    for entry in os.listdir(TEMPORARY):
        if entry.startswith(PREFIX + "lab") and entry[len(PREFIX):].partition("-")[0] not in living:
            take_away(os.path.join(TEMPORARY, entry))


class Agent:
    """A node's agent. It shares the host's mounts (`ip netns exec` would not), for it keeps namespaces as mounts."""

    def __init__(self, town, node):
        self.ns, self.name = town.topology.ns(f"n{node}"), f"node{node}"
        self.folder = os.path.join(town.run_dir, self.name)
        os.makedirs(self.folder)
        self._describe(os.path.join(town.run_dir, "nodes"))
        self.log_folder = town.folder
        self.zds = os.path.join(self.folder, "ztunnel.sock")
        self.token = os.path.join(self.folder, "ztunnel.token")
        self.argv = ["nsenter", f"--net={netns.path(self.ns)}", str(BUILD / "ambit-agent"), "--node", self.name,
                     "--kubeconfig", town.control.node_kubeconfig(self.name), "--run-dir", self.folder,
                     "--zds-path", self.zds, "--proxy-token", self.token, "--readiness", READY,
                     "--pod-cidr", f"10.244.{node}.0/24", "--pod-cidr", f"fd44:{node}::/64",
                     "--discovery", town.control.url, "--root-cert", town.control.root_file]
        self.process = None

    def _describe(self, folder):
        """Where `ambit` finds this node."""
        os.makedirs(folder, exist_ok=True)
        with open(os.path.join(folder, f"{self.name}.json"), "w", encoding="utf-8") as f:
            json.dump({"version": 1, "name": self.name, "netns": netns.path(self.ns),
                       "runtime": os.path.join(self.folder, "runtime.sock")}, f)

    def start(self):
        self.process = Process(f"agent-{self.name}", self.argv, self.log_folder, env=ENV)

    def wait_ready(self):
        host, port = READY.split(":")

        def probe():
            with netns.connect(self.ns, host, int(port), 2) as sock:
                sock.sendall(b"GET /healthz/ready HTTP/1.1\r\nHost: agent\r\nConnection: close\r\n\r\n")
                return b" 200 " in sock.recv(100)
        until(f"the agent of {self.name} is ready", probe, 10)


class Town:
    """Everything, until `down`."""

    def __init__(self):
        self.topology = topo.Topology({node: 0 for node in NODES})
        self.folder = tempfile.mkdtemp(prefix=f"{PREFIX}{self.topology.prefix}-", dir=TEMPORARY)
        os.chmod(self.folder, 0o755)  # the applications are not root
        self.run_dir = os.path.join(self.folder, "run")
        self.control, self.agents, self.proxies, self.ambit, self.stopping = None, {}, {}, None, False

    def up(self):
        self.topology.up()
        names = [f"node{node}" for node in NODES]
        self.control = ControlPlane(self.topology.add_host("cp", 100), topo.node4(100), self.folder, names)
        self.control.start()
        self.control.wait_ready()
        self.ambit = Ambit(BUILD / "ambit", self.control.ns, self.control.admin, self.run_dir)
        self._write_wrapper()
        self.ambit.apply(proxy_manifest(names))
        for node in NODES:
            self.agents[node] = Agent(self, node)
            self.agents[node].start()
        for node in NODES:
            until(f"node {node} has a token for its proxy", lambda n=node: os.path.exists(self.agents[n].token))
            self.proxies[node] = self._proxy(node)
            self.proxies[node].start()
        for node in NODES:
            self.agents[node].wait_ready()
            self.proxies[node].wait_ready()

    @property
    def wrapper(self):
        return os.path.join(self.folder, "ambit")

    def _write_wrapper(self):
        """`ambit` with everything it has to be told of this place."""
        asks_nodes = "status|run|ps|stop|conns|flows|logs|workloads|services|certs|routes|why|can"
        with open(self.wrapper, "w", encoding="utf-8") as f:
            f.write(f"#!/bin/sh\nexport KUBECONFIG={self.control.admin}\n"
                    f"case \"$1\" in {asks_nodes}) c=$1; shift; set -- \"$c\" --run-dir {self.run_dir} \"$@\" ;; esac\n"
                    f"exec {' '.join(self.ambit.argv())} \"$@\"\n")
        os.chmod(self.wrapper, 0o755)

    def _proxy(self, node):
        proxy = Ztunnel(self.topology, node, self.control, self.agents[node].zds, self.folder)
        proxy.env.update(POD_NAME=f"ztunnel-node{node}", ISTIO_META_DNS_CAPTURE="true")
        proxy.env["AUTH_TOKEN"] = self.agents[node].token
        return proxy

    def programs(self):
        """Those that have been started."""
        found = [self.control] + [p for n in NODES for p in (self.agents.get(n), self.proxies.get(n))]
        return [p.process for p in found if p and p.process]

    def restart_dead(self):
        """Starts again what was killed, and waits until all is ready. What ended by itself is a failure."""
        parts = [self.control, *self.agents.values(), *self.proxies.values()]
        for part in parts:
            if not part.process.alive:
                code = part.process.child.returncode
                check(code == -signal.SIGKILL, f"{part.process.name} has ended by itself, status {code}: "
                                               f"{part.process.text()[-3000:]}")
                part.start()
        for part in parts:
            part.wait_ready()

    def check_alive(self):
        """That no program of the mesh has ended that was not asked to."""
        for program in self.programs():
            check(self.stopping or program.alive, f"{program.name} has ended, status {program.child.returncode}:\n{program.text()[-3000:]}")

    def describe(self):
        """One line a program."""
        return [f"{p.name:<14} pid {p.pid}" for p in self.programs()]

    def stop_programs(self):
        self.stopping = True
        for proxy in self.proxies.values():
            proxy.stop()
        for program in [a.process for a in self.agents.values()] + [self.control.process]:
            code = program.stop()
            check(code == 0, f"{program.name} ended with {code}: {program.text()[-2000:]}")

    def down(self):
        """Takes everything away, however far it came."""
        for program in self.programs():
            program.kill()
        end_descendants()
        take_away(self.folder)
        self.topology.down()
