# SPDX-License-Identifier: Apache-2.0
"""The waypoint under test, and a small mesh around it: one namespace for the client's node proxy (foreign), one for the
waypoint, two for destinations whose node proxies are foreign, too."""
import contextlib
import os
import sys

from lib import l7, model, netns, peers, topo, tunnelled, webapp
from lib.cni import Agent
from lib.proc import Process
from lib.wait import until
from lib.ztunnel import PLAIN as ZTUNNEL, Ztunnel

BUILD = os.environ.get("AMBIT_BUILD", os.path.join(os.path.dirname(__file__), "../../../build"))
CHECKED_BUILD = os.environ.get("AMBIT_BUILD_ASAN", os.path.join(os.path.dirname(__file__), "../../../build-asan"))
PLAIN, CHECKED = (os.path.abspath(os.path.join(b, "ambit-waypoint")) for b in (BUILD, CHECKED_BUILD))
WEB, WEB2, RAW = "10.96.9.10", "10.96.9.11", "10.96.9.12"
PODS = {1: 3, 2: 4}
CLIENT, GATE, APP1, APP2, APP3 = "p11", "p12", "p21", "p22", "p23"
REAL_CLIENT, REAL_APP, REAL = "p13", "p24", "10.96.9.40"  # behind our own node proxies
APPS = {APP1: "web-1", APP2: "web-2", APP3: "other-1"}
CAPTURED = {REAL_CLIENT: "user-1", REAL_APP: "real-1"}
PORTS = {80: webapp.H1, 81: webapp.H2C, 82: webapp.HELLO, 83: webapp.H1, 84: webapp.H2C_BARE, 85: webapp.BOTH}
PROTOCOLS = {80: "HTTP", 81: "HTTP2", 82: "TCP", 83: "UNKNOWN", 84: "HTTP2", 85: "HTTP2"}


def baseline():
    """The resources every test starts from: service `web` on two pods, `other` on one, `raw` without a mesh."""
    web, other = l7.host("web"), l7.host("other")
    return [
        model.pod(1, 1, "client-1", "client"), 
        model.pod(1, 2, "gate-1", "gate", services={l7.host("gate"): {15008: 15008}}),
        model.pod(1, 3, "user-1", "user"), model.pod(2, 4, "real-1", "real", services={l7.host("real"): PORTS}),
        model.service("real", [REAL], PORTS, waypoint=model.gateway(f"shop/{l7.host('gate')}")),
        l7.binding("real", PROTOCOLS),
        model.pod(2, 1, "web-1", "web", services={web: PORTS}), model.pod(2, 2, "web-2", "web", services={web: PORTS}),
        model.pod(2, 3, "other-1", "other", services={other: PORTS},
                  waypoint=model.gateway(f"shop/{l7.host('gate')}")),
        model.service("web", [WEB], PORTS), model.service("other", [WEB2], PORTS),
        model.service("unbound", ["10.96.9.13"], PORTS),
        model.service("gate", ["10.96.9.30"], {15008: 15008}),
        l7.binding("web", PROTOCOLS), l7.binding("other", PROTOCOLS)]


class Waypoint(Ztunnel):
    """The process. Log and page helpers are the node proxy's."""

    def __init__(self, topology, cp, folder, name="waypoint"):
        super().__init__(topology, 1, cp, "", folder, None, name)
        self.ns = topology.ns(GATE)
        self.binary = CHECKED
        self.since = 0  # where in the log the test began
        for key in ("INPOD_UDS", "ZTUNNEL_WORKER_THREADS", "ISTIO_META_DNS_CAPTURE", "RUST_LOG", "POD_NAMESPACE"):
            self.env.pop(key)
        self.env.update({"GATEWAY": "gate", "NAMESPACE": "shop", "SERVICE_ACCOUNT": "gate", "POD_NAME": "gate-1",
                         "INSTANCE_IP": topo.pod4(1, 2), "WAYPOINT_WORKER_THREADS": "2", "LOG_LEVEL": "info",
                         "TERMINATION_DRAIN_DURATION": "5s",
                         "PROTOCOL_SNIFF_TIMEOUT": "1s"})  # the usual 100 ms pass before a busy client has spoken

    def start(self, arguments=("proxy",), **env):
        super().start(arguments, **env)

    def requests(self, since=0):
        """Access lines of requests, as lists of their fields."""
        return [line for line in self.process.text(since).splitlines() if line.startswith("[20")]

    def wait_request(self, target, seconds=5.0):
        """The line of this test's last request with that in its first line. Lines come a moment after the answers, so
        what else earlier ones hold must not count."""
        return until(f"{self.name} logs a request for {target!r}",
                     lambda: [x for x in self.requests(self.since) if target in x.split('"')[1]], seconds)[-1]


class World:
    """Everything that lasts for the whole run."""

    def __init__(self, folder):
        self.folder = folder
        self.topology = topo.Topology(PODS)
        self.ns = self.topology.ns
        self.apps = {}

    def up(self):
        self.topology.up()
        for ns, name in {**APPS, REAL_APP: "real-1"}.items():
            self.apps[ns] = Process(f"web-{name}", [sys.executable, webapp.__file__, name], self.folder, ns=self.ns(ns),
                                    env=dict(os.environ, PYTHONPATH=os.path.dirname(os.path.dirname(webapp.__file__))))
        for app in self.apps.values():
            app.wait_text("serving", 20)

    def down(self):
        for app in self.apps.values():
            app.kill()
        self.topology.down()


class Lab:
    """A control plane, a waypoint, and node proxies of the destinations, for one test module; each test starts from the
    baseline."""

    def __init__(self, world, cp, folder):
        self.world, self.cp, self.folder, self.ns = world, cp, folder, world.ns
        self.wp = Waypoint(world.topology, cp, folder)
        self.pods, self.node_proxies = {}, []

    def start(self, **env):
        for ns, name in APPS.items():
            sa = name.split("-", maxsplit=1)[0]
            self.pods[ns] = tunnelled.PodServer(self.ns(ns), self.cp.authority.issue(model.spiffe(sa)))
        self.wp.start(**env)
        self.wp.wait_ready(20)

    def start_node_proxies(self):
        """Our own, for the pods in CAPTURED."""
        resolv = os.path.join(self.folder, "resolv.conf")
        with open(resolv, "w", encoding="ascii") as f:
            f.write(f"nameserver {topo.ROUTER4}\n")
        for pod, name in CAPTURED.items():
            node = int(pod[1])
            self.world.topology.capture(pod)
            agent = Agent(os.path.join(self.folder, f"zds-{node}.sock"))
            agent.pods[f"uid-{pod}"] = (self.ns(pod), name, "shop", name.split("-", maxsplit=1)[0])
            agent.serve()
            zt = Ztunnel(self.world.topology, node, self.cp, agent.path, self.folder, resolv)
            zt.binary = ZTUNNEL
            zt.start()
            self.node_proxies.append((zt, agent))
        for zt, _ in self.node_proxies:
            zt.wait_ready(20)

    def stop(self):
        for zt, agent in self.node_proxies:
            zt.discard()
            agent.stop()
        self.wp.discard()
        for pod in self.pods.values():
            pod.close()

    def use(self, *resources):
        """The baseline and these."""
        self.cp.replace([*baseline(), *resources])

    def refuse(self, status, *pods):
        """The node proxies of `web` (or of these pods) answer every CONNECT so, and drop what they have."""
        for name in pods or (APP1, APP2):
            self.pods[name].refuse = status
            self.pods[name].drop()

    def credential(self, sa="client", ns="shop", **options):
        return self.cp.authority.issue(model.spiffe(sa, ns), **options)

    @contextlib.contextmanager
    def tunnel(self, sa="client", ns="shop", credential=None):
        with peers.Tunnel(self.ns(CLIENT), topo.pod4(1, 2), credential or self.credential(sa, ns)) as tunnel:
            yield tunnel

    @contextlib.contextmanager
    def h1(self, vip=WEB, port=80, **who):
        """HTTP/1.1 to a service, through a tunnel of its own."""
        with self.tunnel(**who) as tunnel:
            stream, status = tunnel.connect(f"{vip}:{port}")
            assert status == 200, status
            yield tunnelled.H1(tunnelled.Pipe(tunnel, stream))

    @contextlib.contextmanager
    def h2(self, vip=WEB, port=80, **who):
        with self.tunnel(**who) as tunnel:
            stream, status = tunnel.connect(f"{vip}:{port}")
            assert status == 200, status
            yield tunnelled.H2(tunnelled.Pipe(tunnel, stream))
