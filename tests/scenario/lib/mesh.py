# SPDX-License-Identifier: Apache-2.0
"""The mesh of the scenarios: nodes 1 and 2 with a node proxy each, and what is there for every test.

    p11 client  p12 other  p13 client in namespace prod  p14 web   (node 1)
    p21 web     p22 not in the mesh   p23 cart, captured by the other rule set   p24 db   (node 2)

Node 3 is for scenarios that need a proxy to themselves (see `Solo`); node 4 has no proxy: foreign peers stand there.
"""
import os
import sys

from lib import app, dnsd, model, netns, topo
from lib.cni import Agent
from lib.cp import ControlPlane
from lib.proc import Process
from lib.ztunnel import Ztunnel

PODS = {1: 4, 2: 4, 3: 3, 4: 3}
APP = os.path.join(os.path.dirname(__file__), "app.py")
WEB4, WEB6, PAIR4, EMPTY4, DB4, V4ONLY4 = "10.96.0.10", "fd96::10", "10.96.0.11", "10.96.0.12", "10.96.0.22", "10.96.0.14"
PORTS = {80: app.GREET, 81: app.ECHO, 82: 0, app.DIGEST: app.DIGEST}
WEB_PORTS = {80: app.GREET, 81: app.ECHO, 82: app.ECHO, app.DIGEST: app.DIGEST}
DOMAIN = "svc.cluster.local"


def baseline():
    """The resources every test of the mesh starts from."""
    web, pair, headless = f"web.shop.{DOMAIN}", f"pair.shop.{DOMAIN}", f"headless.shop.{DOMAIN}"
    serving = {pair: WEB_PORTS, headless: WEB_PORTS}
    return [
        model.pod(1, 1, "client-1", "client"), model.pod(1, 2, "other-1", "other"),
        model.pod(1, 3, "client-2", "client", ns="prod"), model.pod(1, 4, "web-2", "web", services=serving),
        model.pod(2, 1, "web-1", "web", services={web: WEB_PORTS, **serving, f"v4only.shop.{DOMAIN}": WEB_PORTS}),
        model.pod(2, 2, "plain-1", "plain", protocol=model.NONE), model.pod(2, 3, "cart-1", "cart"),
        model.pod(2, 4, "db-1", "db", ns="prod", services={f"db.prod.{DOMAIN}": WEB_PORTS}),
        model.service("web", [WEB4, WEB6], PORTS), model.service("pair", [PAIR4], PORTS),
        model.service("empty", [EMPTY4], PORTS), model.service("headless", [], PORTS),
        model.service("db", [DB4], PORTS, ns="prod"), model.service("v4only", [V4ONLY4], PORTS, ip_families=1),
        model.service("wild", ["10.96.0.15"], PORTS, hostname="*.wild.example")]


class Applications:
    """One application process a pod; started together."""

    def __init__(self, topology, folder):
        self.topology, self.folder, self.processes = topology, folder, {}

    def start(self, *names):
        for name in names:
            self.processes[name] = Process(f"app-{name}", [sys.executable, APP], self.folder, ns=self.topology.ns(name))
        for name in names:
            self.processes[name].wait_text("serving", 20)

    def stop(self):
        for process in self.processes.values():
            process.kill()


class Mesh:
    """Nodes 1 and 2. Everything a test changes is put right by `heal` before the next one."""

    CAPTURED = {"p11": ("client-1", "shop", "client"), "p12": ("other-1", "shop", "other"),
                "p13": ("client-2", "prod", "client"), "p14": ("web-2", "shop", "web"), "p21": ("web-1", "shop", "web"),
                "p23": ("cart-1", "shop", "cart"), "p24": ("db-1", "prod", "db")}

    def __init__(self, topology, folder):
        self.topology, self.folder = topology, folder
        self.ns = topology.ns
        self.cp = ControlPlane(self.ns("fab"), topo.ROUTER4, 15012, os.path.join(folder, "cp"))
        self.resolv = os.path.join(folder, "resolv.conf")
        with open(self.resolv, "w", encoding="ascii") as f:
            f.write(f"nameserver {topo.ROUTER4}\nsearch lab.example\n")
        self.agents, self.ztunnels = {}, {}
        for node in (1, 2):
            uds = os.path.join(folder, f"zds-{node}.sock")
            self.agents[node] = Agent(uds)
            self.ztunnels[node] = Ztunnel(topology, node, self.cp, uds, folder, self.resolv)

    def start(self):
        self.cp.push(*baseline())
        self.cp.start()
        for name, (pod, ns, sa) in self.CAPTURED.items():
            self.topology.capture(name, "tproxy" if name == "p23" else "contract")
            self.agents[int(name[1])].pods[f"uid-{name}"] = (self.ns(name), pod, ns, sa)
        for agent in self.agents.values():
            agent.serve()
        for ztunnel in self.ztunnels.values():
            ztunnel.start()
        for ztunnel in self.ztunnels.values():
            ztunnel.wait_ready(20)

    def stop(self):
        for ztunnel in self.ztunnels.values():
            ztunnel.discard()
        for agent in self.agents.values():
            agent.stop()
        self.cp.kill()

    def heal(self):
        """The state every test starts from."""
        if not self.cp.process.alive:
            self.cp.restart()
        for ztunnel in self.ztunnels.values():
            if not ztunnel.alive:
                ztunnel.start()
        for ztunnel in self.ztunnels.values():
            ztunnel.wait_ready(20)
        self.cp.replace(baseline())

    def use(self, binary):
        """Runs both nodes with another build."""
        for ztunnel in self.ztunnels.values():
            if ztunnel.binary != binary:
                ztunnel.discard()
                ztunnel.binary = binary
                ztunnel.start()
        for ztunnel in self.ztunnels.values():
            ztunnel.wait_ready(20)

    def __getitem__(self, node):
        return self.ztunnels[node]

    def next_generation(self, node):
        """Another proxy for a node, in a namespace of its own as its pod would be; not started."""
        zt = Ztunnel(self.topology, node, self.cp, self.agents[node].path, self.folder, self.resolv, f"ztunnel-{node}b")
        zt.ns = self.topology.ns(f"gen{node}")
        if zt.ns not in netns.names():
            self.topology.add_host(f"gen{node}", 210 + node)
        zt.binary = self.ztunnels[node].binary
        return zt

    def tunnels(self, name, port=15008):
        """Live tunnels into a pod: the peers' (address, port)."""
        return sorted((row[2], row[3]) for row in netns.tcp_sockets(self.ns(name))
                      if row[1] == port and row[4] == netns.ESTABLISHED)

    def descriptors(self, node):
        """Those of a node's proxy that are not the socket of a tunnel in use or in the pool."""
        tunnels = [row for name in self.CAPTURED if int(name[1]) == node for row in netns.tcp_sockets(self.ns(name))
                   if 15008 in (row[1], row[3]) and row[4] == netns.ESTABLISHED]
        return self.ztunnels[node].open_fds() - len(tunnels)


class Solo:
    """Node 3 with a proxy, an agent and a control plane of its own, for one test. p31 is `alpha`, p32 `beta`, both
    captured; on node 4, without a proxy, p41 stands as the workload `peer` that speaks the tunnel protocol."""

    PEER4 = topo.pod4(4, 1)
    POD4, POD6 = topo.pod4(3, 1), topo.pod6(3, 1)

    def __init__(self, topology, folder, cp, resolv):
        self.topology, self.ns, self.cp = topology, topology.ns, cp
        self.agent = Agent(os.path.join(folder, "zds-3.sock"))
        self.zt = Ztunnel(topology, 3, cp, self.agent.path, folder, resolv)
        self.agent.pods = {"uid-p31": (self.ns("p31"), "alpha-1", "shop", "alpha"),
                           "uid-p32": (self.ns("p32"), "beta-1", "shop", "beta")}

    @staticmethod
    def resources():
        return [model.pod(3, 1, "alpha-1", "alpha"), model.pod(3, 2, "beta-1", "beta"), model.pod(4, 1, "peer-1", "peer")]

    def start(self, serve=True, ready=True, **env):
        """A proxy with a snapshot of both pods; `serve` off leaves the agent's part to the test."""
        if serve:
            self.agent.serve()
        else:
            self.agent.listen()
        self.zt.start(**env)
        if ready:
            self.zt.wait_ready()
        return self

    def credential(self, *sans, **options):
        """A certificate of the mesh's root; by default the peer's."""
        return self.cp.authority.issue(*(sans or [model.spiffe("peer")]), **options)

    def finish(self):
        self.zt.discard()
        self.agent.stop()


class World:
    """Everything that lasts for the whole run."""

    def __init__(self, folder):
        self.folder = folder
        self.topology = topo.Topology(PODS)
        self.ns = self.topology.ns
        self.apps, self.names = Applications(self.topology, folder), None

    def up(self):
        self.topology.up()
        self.names = dnsd.NameServer(self.ns("fab"), topo.ROUTER4)
        self.apps.start("p14", "p21", "p22", "p23", "p24", "p31", "p32", "ext")

    def down(self):
        self.apps.stop()
        if self.names:
            self.names.close()
        self.topology.down()
