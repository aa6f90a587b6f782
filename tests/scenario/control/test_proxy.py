# SPDX-License-Identifier: Apache-2.0
"""The real node proxy under the real control plane, on a node of its own: identities, a policy that cuts, and a
sudden end of the control plane under load."""
import json
import os
import sys

import pytest

import plane as planes
from lib import app, client, netns, topo
from lib.cni import Agent
from lib.proc import Process
from lib.wait import until
from lib.ztunnel import Ztunnel
from plane import named, pod, policy, service

LIB = os.path.dirname(app.__file__)
VIP = "10.96.0.33"


class Inside:
    """Calls of an API object made from inside a namespace."""

    def __init__(self, ns, api):
        self._ns, self._api = ns, api

    def __getattr__(self, name):
        def call(*arguments, **options):
            with netns.inside(self._ns):
                return getattr(self._api, name)(*arguments, **options)
        return call


class Town:
    """One node with two captured pods, `cart` (p11) and `shop` (p12); the control plane beside it."""

    def __init__(self, folder):
        self.folder = str(folder)
        self.topology = topo.Topology({1: 2})
        self.ns = self.topology.ns
        self.plane = planes.Plane(folder, "--advertise", topo.ROUTER4)
        self.plane.addresses = {"discovery": f"{topo.ROUTER4}:15012", "api": f"{topo.ROUTER4}:6443",
                                "monitoring": f"{topo.ROUTER4}:15014"}
        self.api, self.proxy, self.app = None, None, None
        self.url, self.root_file = f"https://{topo.ROUTER4}:15012", os.path.join(self.plane.data, "root-cert.pem")

    def start(self):
        self.topology.up()
        self.start_plane()
        self.api = Inside(self.ns("fab"), self.plane.admin())
        self.api.create(named("Namespace", "town"))
        for account in ("cart", "shop"):
            self.api.create(named("ServiceAccount", account, "town"))
        self.api.create(pod("cart", "town", topo.pod4(1, 1), "cart", "node1"))
        self.api.create(pod("shop", "town", topo.pod4(1, 2), "shop", "node1"))
        self.api.create(service("shop", "town", VIP, {"app": "shop"}, ((80, app.ECHO),)))
        own = self.api.create(pod("ztunnel-1", "istio-system", topo.node4(1), "ztunnel", "node1", captured=False,
                                  hostNetwork=True))
        self.app = Process("shop", [sys.executable, os.path.join(LIB, "app.py")], self.folder, ns=self.ns("p12"))
        self.app.wait_text("serving", 20)
        agent = Agent(os.path.join(self.folder, "zds.sock"))
        for name, workload in (("p11", "cart"), ("p12", "shop")):
            self.topology.capture(name)
            agent.pods[f"uid-{name}"] = (self.ns(name), workload, "town", workload)
        agent.serve()
        self.proxy = Ztunnel(self.topology, 1, self, agent.path, self.folder)
        self.proxy.env["LOCAL_XDS_PATH"] = None
        self.proxy.set_token(self.api.token_for("istio-system", "ztunnel", own))
        self.proxy.start()
        self.proxy.wait_ready(20)
        return self

    def start_plane(self):
        original = planes.Process
        planes.Process = lambda name, argv, folder: original(name, argv, folder, ns=self.ns("fab"))
        try:
            self.plane.start()
        finally:
            planes.Process = original

    def stop(self):
        if self.proxy:
            self.proxy.discard()
        if self.app:
            self.app.kill()
        if self.plane.process:
            self.plane.process.stop(20)
        self.topology.down()


@pytest.fixture(scope="module")
def town(tmp_path_factory):
    t = Town(tmp_path_factory.mktemp("town"))
    try:
        yield t.start()
    finally:
        t.stop()


def test_a_connection_carries_both_identities(town):
    since = town.proxy.mark()
    client.echo(town.ns("p11"), VIP, 80)
    line = town.proxy.wait_access(since, src_identity="spiffe://cluster.local/ns/town/sa/cart",
                                  dst_identity="spiffe://cluster.local/ns/town/sa/shop")
    assert line


def test_a_policy_denies_and_cuts_and_its_end_lets_in_again(town):
    deny = policy("no-cart", "town", "DENY", [{"from": [{"source": {"principals": ["cluster.local/ns/town/sa/cart"]}}]}],
                  selector={"matchLabels": {"app": "shop"}})
    live = client.open_echo(town.ns("p11"), VIP, 80)
    town.api.create(deny)
    until("the live connection is cut", lambda: live.recv(1) == b"" or None)
    until("a new one is refused", lambda: client.outcome(town.ns("p11"), VIP, 80) != "served")
    town.api.delete(deny)
    until("it is let in again", lambda: client.outcome(town.ns("p11"), VIP, 80) == "served")


def test_a_policy_about_http_closes_rather_than_does_nothing(town):
    deny = policy("no-admin", "town", "DENY", [{"to": [{"operation": {"paths": ["/admin"]}}]}],
                  selector={"matchLabels": {"app": "shop"}})
    town.api.create(deny)
    until("it denies", lambda: client.outcome(town.ns("p11"), VIP, 80) != "served")
    town.api.delete(deny)
    until("it is let in again", lambda: client.outcome(town.ns("p11"), VIP, 80) == "served")


def label(town, **labels):
    town.api.patch(named("Service", "shop", "town"), {"metadata": {"labels": labels}})


def test_a_service_whose_waypoint_is_missing_is_refused(town):
    since = town.proxy.mark()
    label(town, **{"istio.io/use-waypoint": "nowhere"})
    until("it is refused", lambda: client.outcome(town.ns("p11"), VIP, 80) != "served")
    until("the log says why", lambda: "unknown waypoint" in town.proxy.process.text()[since:])
    bypass = {"metadata": {"annotations": {"ambit.io/waypoint-bypass": "allow"}}}
    town.api.patch(named("Service", "shop", "town"), bypass)
    until("unless the user wants it past", lambda: client.outcome(town.ns("p11"), VIP, 80) == "served")
    bypass["metadata"]["annotations"]["ambit.io/waypoint-bypass"] = None
    town.api.patch(named("Service", "shop", "town"), bypass)
    until("it is refused again", lambda: client.outcome(town.ns("p11"), VIP, 80) != "served")
    label(town, **{"istio.io/use-waypoint": None})
    until("without the label it is served", lambda: client.outcome(town.ns("p11"), VIP, 80) == "served")


def test_nobody_gets_past_a_waypoint_with_policy(town):
    """Straight to the pod's address and port, which the service's waypoint is there to protect."""
    direct = (town.ns("p11"), topo.pod4(1, 2), app.ECHO)
    gateway = {"apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway",
               "metadata": {"name": "wp", "namespace": "town"},
               "spec": {"gatewayClassName": "istio-waypoint",
                        "listeners": [{"name": "mesh", "port": 15008, "protocol": "HBONE"}]}}
    guarded = policy("by-path", "town", "DENY", [{"to": [{"operation": {"paths": ["/admin"]}}]}],
                     targetRefs=[{"group": "", "kind": "Service", "name": "shop"}])
    town.api.create(gateway)
    label(town, **{"istio.io/use-waypoint": "wp"})
    assert client.outcome(*direct) == "served", "nothing is to be protected yet"
    town.api.create(guarded)
    until("the pod refuses who is not the waypoint", lambda: client.outcome(*direct) != "served")
    assert client.outcome(town.ns("p11"), VIP, 80) != "served", "nor by the service: its waypoint is not up"
    town.api.delete(guarded)
    until("it is served again", lambda: client.outcome(*direct) == "served")
    label(town, **{"istio.io/use-waypoint": None})
    town.api.delete(gateway)


def test_a_sudden_end_under_load_fails_no_connection(town):
    load = Process("load", [sys.executable, os.path.join(LIB, "load.py"), "rate", VIP, "80", "100"], town.folder,
                   ns=town.ns("p11"), stdin=-1)
    try:
        for n in range(3):
            until("connections are made", lambda: len(town.proxy.access(0)) > 0)
            town.plane.kill()
            town.start_plane()
            town.api = Inside(town.ns("fab"), town.plane.admin())
            late = pod(f"late-{n}", "town", f"10.244.1.{100 + n}", "cart", "node1")
            town.api.create(late)
            until("the proxy hears of what came later", lambda name=f"late-{n}": name in json.dumps(
                town.proxy.config_dump()["workloads"]), 20)
    finally:
        load.child.stdin.close()
    load.wait_exit(20)
    result = json.loads(load.text().strip().splitlines()[-1])
    assert result["failed"] == 0, result
    assert result["ok"] > 50, result
