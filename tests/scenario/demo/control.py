# SPDX-License-Identifier: Apache-2.0
"""The control plane, on a host of its own."""
import http.client
import os
import pathlib

from demo.report import check
from lib import netns
from lib.proc import Process
from lib.wait import until

ROOT = pathlib.Path(__file__).resolve().parents[3]
BUILD = pathlib.Path(os.environ.get("AMBIT_BUILD_ASAN") or os.environ.get("AMBIT_BUILD") or ROOT / "build")
ENV = {**os.environ, "ASAN_OPTIONS": "detect_leaks=1:quarantine_size_mb=4:exitcode=99",
       "UBSAN_OPTIONS": "print_stacktrace=1"}
DISCOVERY, API, READY = 15012, 6443, 8080
MESH_NAMESPACE, PROXY_ACCOUNT = "istio-system", "ztunnel"


def proxy_manifest(nodes):
    """What a node proxy needs to say who it is: an account, and a pod of its own on its node."""
    out = [f"apiVersion: v1\nkind: Namespace\nmetadata: {{name: {MESH_NAMESPACE}}}",
           f"apiVersion: v1\nkind: ServiceAccount\nmetadata: {{name: {PROXY_ACCOUNT}, namespace: {MESH_NAMESPACE}}}"]
    out += [f"apiVersion: v1\nkind: Pod\nmetadata: {{name: ztunnel-{n}, namespace: {MESH_NAMESPACE}, labels: {{app: ztunnel}}}}\n"
            f"spec: {{serviceAccountName: {PROXY_ACCOUNT}, nodeName: {n}, hostNetwork: true, "
            "containers: [{name: ztunnel, image: local}]}" for n in nodes]
    return "\n---\n".join(out) + "\n"


class ControlPlane:
    """`ambitd --standalone` in namespace `ns`."""

    def __init__(self, ns, address, folder, nodes):
        self.ns, self.address, self.folder, self.nodes = ns, address, folder, nodes
        self.data = os.path.join(folder, "control")
        self.admin = os.path.join(self.data, "admin.kubeconfig")
        self.root_file = os.path.join(self.data, "root-cert.pem")
        self.url = f"https://{address}:{DISCOVERY}"
        self.argv = [str(BUILD / "ambitd"), "--standalone", "--data", self.data, "--advertise", f"{address}:{API}",
                     "--name", address, "--service-cidr", "10.96.0.0/16", "--service-cidr", "fd96::/112", *(f"--node={n}" for n in nodes)]
        self.process = None

    def start(self):
        self.process = Process("ambitd", self.argv, self.folder, ns=self.ns, env=ENV)

    def wait_ready(self):
        def probe():
            check(self.process.alive, f"ambitd has ended: {self.process.text()[-2000:]}")
            conn = http.client.HTTPConnection(self.address, READY, timeout=2)
            conn.sock = netns.connect(self.ns, self.address, READY, 2)
            try:
                conn.request("GET", "/healthz/ready")
                return conn.getresponse().status == 200
            finally:
                conn.close()
        until("ambitd is ready", probe, 20)

    def node_kubeconfig(self, node):
        return os.path.join(self.data, "nodes", f"{node}.kubeconfig")
