# SPDX-License-Identifier: Apache-2.0
"""Two pods on two nodes under the real programs, and load between them."""
import json
import os
import pathlib
import socket
import subprocess
import sys

from demo import town as places
from lib import app, netns, topo
from lib.proc import Process
from lib.wait import until
from lib.wire import Tap

LABEL = "istio.io/dataplane-mode"
NAMESPACE = "shop"
LIB = pathlib.Path(__file__).resolve().parents[1] / "lib"
OBJECTS = f"apiVersion: v1\nkind: Namespace\nmetadata: {{name: {NAMESPACE}}}\n" + "".join(
    f"---\napiVersion: v1\nkind: ServiceAccount\nmetadata: {{name: {a}, namespace: {NAMESPACE}}}\n"
    for a in ("client", "other", "server"))


def deny(account):
    """A policy: this account may not call the server."""
    return (f"apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {{name: deny, namespace: {NAMESPACE}}}\n"
            "spec: {selector: {matchLabels: {app: server}}, action: DENY, rules: [{from: [{source: {principals: "
            f"[cluster.local/ns/{NAMESPACE}/sa/{account}]}}}}]}}]}}\n")


class Load:
    """lib/load.py inside a pod; see there."""

    def __init__(self, mesh, pod, name, mode, *numbers, ip=None):
        self.process = Process(f"load-{name}", mesh.inside(pod) + [
            sys.executable, str(LIB / "load.py"), mode, ip or mesh.server_ips[0], str(app.ECHO), *map(str, numbers)],
            mesh.town.folder, stdin=subprocess.PIPE)
        self.process.wait_text("running", 20)

    def report(self, seconds=15.0):
        """The object it prints at its end."""
        self.process.child.stdin.close()
        self.process.wait_exit(seconds)
        return json.loads(self.process.text().splitlines()[-1])

    def ping(self):
        """Of held connections: how many still echo."""
        since = self.process.mark()
        self.process.child.stdin.write(b"ping\n")
        self.process.child.stdin.flush()
        return json.loads(until("held connections answer", lambda: self._line(since), 15))

    def _line(self, since):
        line, end, _ = self.process.text(since).partition("\n")
        return line if end else None

    def close(self):
        self.process.kill()


class SmallMesh:
    """`client` and `other` on node 1, `server` on node 2."""

    def __init__(self):
        places.adopt_orphans()
        places.remove_leftovers()
        self.town = places.Town()
        self.server_ips, self.loads, self.echo = None, [], None
        self.namespaces = {}

    @property
    def ambit(self):
        return self.town.ambit

    def up(self):
        self.town.up()
        self.ambit.apply(OBJECTS)
        for name, node in (("client", 1), ("other", 1), ("server", 2)):
            about = self.ambit.start(f"node{node}", NAMESPACE, name, ["sleep", "infinity"], name, app=name)
            self.namespaces[name] = f"/proc/{about['pid']}/ns/net"
            if name == "server":
                self.server_ips = about["ips"]
        self.echo = Process("echo", self.inside("server") + [sys.executable, str(LIB / "app.py")], self.town.folder)
        self.echo.wait_text("serving", 20)

    def inside(self, pod):
        """Before a command: it runs in the pod's network."""
        return ["nsenter", f"--net={self.namespaces[pod]}"]

    def heal(self):
        """The state every test starts from."""
        for load in self.loads:
            load.close()
        self.loads = []
        self.town.restart_dead()
        status, _, _ = self.ambit.ask("delete", "authorizationpolicy", "deny", "-n", NAMESPACE)
        assert status in (0, 1)
        self.join()

    def join(self):
        self.ambit.label(NAMESPACE, LABEL, "ambient", "--overwrite")
        self.wait_all("in")

    def leave(self):
        self.ambit.label(NAMESPACE, LABEL, None)

    def states(self):
        return {w["mesh"] for w in self.ambit.workloads()}

    def wait_all(self, state, seconds=10.0):
        until(f"all pods are {state}", lambda: self.states() == {state}, seconds)
        if state == "in":
            for node, proxy in self.town.proxies.items():
                until(f"node {node} has heard that all pods are in the mesh", lambda p=proxy: self._all_tunnelled(p),
                      20)  # proxies wait longer after each loss of the control plane

    @staticmethod
    def _all_tunnelled(proxy):
        ours = [w for w in proxy.config_dump()["workloads"] if w["namespace"] == NAMESPACE]
        return len(ours) == 3 and all(w["protocol"] == "HBONE" for w in ours)

    def rate(self, per_second, pod="client", **more):
        return self._load(pod, f"rate-{len(self.loads)}", "rate", per_second, **more)

    def hold(self, count, pod="client", **more):
        return self._load(pod, f"hold-{len(self.loads)}", "hold", count, **more)

    def _load(self, pod, name, *what, **more):
        self.loads.append(Load(self, pod, f"{os.urandom(3).hex()}-{name}", *what, **more))
        return self.loads[-1]

    def connects(self, pod, octets=b"hello"):
        """Whether a new connection of the pod to the server gets an echo."""
        try:
            with self._connect(pod) as sock:
                sock.sendall(octets)
                return sock.recv(len(octets), socket.MSG_WAITALL) == octets
        except OSError:
            return False

    def _connect(self, pod):
        with netns.inside(self.namespaces[pod]):
            sock = socket.socket()
        sock.settimeout(3)
        try:
            sock.connect((self.server_ips[0], app.ECHO))
        except OSError:
            sock.close()
            raise
        return sock

    def tap(self, node):
        """A wiretap on everything that crosses a node."""
        ns = self.town.topology.ns(f"n{node}")
        return Tap(ns, "any", (ns, (self.town.topology.ns("ext"), topo.EXT4)), self.town.folder)

    def end(self):
        """A good end: whatever was started ends as it should."""
        for load in self.loads:
            load.close()
        self.echo.kill()
        for w in self.ambit.workloads():
            self.ambit.stop(w["namespace"], w["name"])
        self.town.stop_programs()

    def down(self):
        self.town.down()
