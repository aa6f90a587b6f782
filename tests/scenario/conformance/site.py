# SPDX-License-Identifier: Apache-2.0
"""Where the cases run: the demonstration's two nodes, echo pods on one, a client on the other, a waypoint for all."""
import json
import os
import pathlib
import subprocess
import sys

import yaml

from conformance import cases
from demo import town as places
from lib.proc import Process
from lib.wait import until

HERE = pathlib.Path(__file__).resolve().parent
LABEL = "istio.io/dataplane-mode"
PODS = {"v1": cases.NAMESPACE, "v2": cases.NAMESPACE, "v3": cases.NAMESPACE, "other": cases.OTHER}
PORTS = [("http", 80, 3000, None), ("http-alt", 8080, 3000, None), ("h2c", 8081, 3001, "kubernetes.io/h2c"),
         ("ws", 8082, 3000, "kubernetes.io/ws"), ("grpc", cases.GRPC_PORT, 3001, "kubernetes.io/h2c")]


def service(name, namespace, selector):
    ports = [{"name": n, "port": p, "targetPort": t, **({"appProtocol": a} if a else {})} for n, p, t, a in PORTS]
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": namespace},
            "spec": {"selector": selector, "ports": ports}}


def base():
    """The objects that every case rests on."""
    for ns in (cases.NAMESPACE, cases.OTHER):
        yield {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": ns}}
        yield {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "echo", "namespace": ns}}
    yield {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "client", "namespace": cases.NAMESPACE}}
    yield service("echo", cases.NAMESPACE, {"app": "echo"})
    for pod, ns in PODS.items():
        yield service(f"echo-{pod}", ns, {"pod": pod})


class Site:
    """Everything, until `down`."""

    def __init__(self):
        places.adopt_orphans()
        places.remove_leftovers()
        self.town = places.Town()
        self.client, self.addresses, self.spaces, self.logs, self.backends = None, {}, {}, {}, []

    @property
    def ambit(self):
        return self.town.ambit

    def up(self):
        self.town.up()
        self.apply(base())
        for pod, ns in PODS.items():
            labels = {"pod": pod, **({"app": "echo"} if pod in ("v1", "v2") else {})}
            self._start_backend(pod, ns, labels)
        self._start_client()
        for name in ["echo", *(f"echo-{p}" for p in PODS)]:
            ns = cases.OTHER if name == "echo-other" else cases.NAMESPACE
            self.addresses[name] = self.ambit.get("service", ns, name)["spec"]["clusterIP"]
        self.ambit.label(cases.NAMESPACE, LABEL, "ambient")
        self.ambit("waypoint", "apply", "-n", cases.NAMESPACE, "--enroll-namespace", "--wait", seconds=90)

    def backends_join(self, yes):
        """Whether the backends are in the mesh: then the waypoint reaches them through tunnels."""
        mode = "ambient" if yes else "none"
        for pod, ns in PODS.items():
            self.ambit("label", "pod", pod, f"{LABEL}={mode}", "-n", ns, "--overwrite")
        until("the backends have followed", lambda: {w["mesh"] for w in self.ambit.workloads() if w["name"] in PODS} ==
              {"in" if yes else "out"}, 20)

    def _pod(self, node, ns, name, account, labels):
        about = self.ambit.start(node, ns, name, ["sleep", "infinity"], account, **labels)
        self.spaces[name] = f"/proc/{about['pid']}/ns/net"
        return ["nsenter", f"--net={self.spaces[name]}", sys.executable]

    def _start_backend(self, pod, ns, labels):
        inside = self._pod("node2", ns, pod, "echo", labels)
        self.logs[pod] = os.path.join(self.town.folder, f"requests-{pod}")
        self.backends.append(Process(f"echo-{pod}", [*inside, str(HERE / "echo.py"), pod, self.logs[pod]], self.town.folder))
        self.backends[-1].wait_text("serving", 20)

    def _start_client(self):
        inside = self._pod("node1", cases.NAMESPACE, "client", "client", {})
        self.client = subprocess.Popen([*inside, str(HERE / "client.py")], stdin=subprocess.PIPE,
                                       stdout=subprocess.PIPE, text=True)
        assert self.client.stdout.readline() == "running\n"

    def ask(self, request):
        """The answers to a request of `cases.ask`."""
        self.client.stdin.write(json.dumps(request) + "\n")
        self.client.stdin.flush()
        return json.loads(self.client.stdout.readline())

    def mirrored(self, pod, target):
        """How often a backend has been asked for exactly this target."""
        try:
            with open(self.logs[pod], encoding="latin-1") as f:
                return sum(line.rstrip("\n") == target for line in f)
        except FileNotFoundError:
            return 0

    def apply(self, objects):
        self.ambit.apply(yaml.safe_dump_all(list(objects)))

    def delete(self, objects):
        for o in objects:
            self.ambit.delete(o["kind"].lower(), o["metadata"]["namespace"], o["metadata"]["name"])

    def down(self):
        if self.client:
            self.client.kill()
        for b in self.backends:
            b.kill()
        self.town.down()
