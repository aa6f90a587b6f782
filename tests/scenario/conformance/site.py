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
CLIENTS = {"client": cases.NAMESPACE, "consumer": cases.CONSUMER}
PORTS = [("http", 80, 3000, None), ("http-alt", 8080, 3000, None), ("h2c", 8081, 3001, "kubernetes.io/h2c"),
         ("ws", 8082, 3000, "kubernetes.io/ws"), ("grpc", cases.GRPC_PORT, 3001, "kubernetes.io/h2c")]


def service(name, namespace, selector, **spec):
    ports = [{"name": n, "port": p, "targetPort": t, **({"appProtocol": a} if a else {})} for n, p, t, a in PORTS]
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": namespace},
            "spec": {"selector": selector, "ports": ports, **spec}}


def endpoints(service_name, address):
    """A slice that somebody wrote by hand."""
    return {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {"name": f"{service_name}-by-hand", "namespace": cases.NAMESPACE,
                         "labels": {"kubernetes.io/service-name": service_name}},
            "ports": [{"name": n, "port": t, "protocol": "TCP"} for n, _, t, _ in PORTS],
            "endpoints": [{"addresses": [address], "conditions": {"ready": True, "serving": True}}]}


def base():
    """The objects that every case rests on."""
    for ns in (cases.NAMESPACE, cases.OTHER):
        yield {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": ns}}
        yield {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "echo", "namespace": ns}}
    yield {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": cases.CONSUMER}}
    for name, ns in CLIENTS.items():
        yield {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": ns}}
    yield service("echo", cases.NAMESPACE, {"app": "echo"})
    yield service("echo-headless", cases.NAMESPACE, {"pod": "v1"}, clusterIP="None")
    yield service("echo-manual", cases.NAMESPACE, {})
    yield service("echo-headless-manual", cases.NAMESPACE, {}, clusterIP="None")
    for pod, ns in PODS.items():
        yield service(f"echo-{pod}", ns, {"pod": pod})


class Site:
    """Everything, until `down`."""

    def __init__(self):
        places.adopt_orphans()
        places.remove_leftovers()
        self.town = places.Town()
        self.clients, self.addresses, self.logs, self.backends = {}, {}, {}, []

    @property
    def ambit(self):
        return self.town.ambit

    def up(self):
        self.town.up()
        self.apply(base())
        for pod, ns in PODS.items():
            labels = {"pod": pod, **({"app": "echo"} if pod in ("v1", "v2") else {})}
            self._start_backend(pod, ns, labels)
        for name, ns in CLIENTS.items():
            self._start_client(name, ns)
        for name in ["echo", *(f"echo-{p}" for p in PODS)]:
            ns = cases.OTHER if name == "echo-other" else cases.NAMESPACE
            self.addresses[name] = self.ambit.get("service", ns, name)["spec"]["clusterIP"]
        self.apply(endpoints(f"echo-{kind}", self.addresses["pod-v1"]) for kind in ("manual", "headless-manual"))
        for ns in set(CLIENTS.values()):
            self.ambit.label(ns, LABEL, "ambient")
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
        self.addresses[f"pod-{name}"] = about["ips"][0]
        return ["nsenter", f"--net=/proc/{about['pid']}/ns/net", sys.executable]

    def _start_backend(self, pod, ns, labels):
        inside = self._pod("node2", ns, pod, "echo", labels)
        self.logs[pod] = os.path.join(self.town.folder, f"requests-{pod}")
        self.backends.append(Process(f"echo-{pod}", [*inside, str(HERE / "echo.py"), pod, self.logs[pod]], self.town.folder))
        self.backends[-1].wait_text("serving", 20)

    def _start_client(self, name, namespace):
        inside = self._pod("node1", namespace, name, name, {})
        client = self.clients[name] = subprocess.Popen([*inside, str(HERE / "client.py")], stdin=subprocess.PIPE,
                                                       stdout=subprocess.PIPE, text=True)
        assert client.stdout.readline() == "running\n"

    def ask(self, request, client="client"):
        """The answers to a request of `cases.ask`, made by that pod."""
        self.clients[client].stdin.write(json.dumps(request) + "\n")
        self.clients[client].stdin.flush()
        return json.loads(self.clients[client].stdout.readline())

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
        for client in self.clients.values():
            client.kill()
        for b in self.backends:
            b.kill()
        self.town.down()
