# SPDX-License-Identifier: Apache-2.0
"""Fixtures: a control plane and two nodes with an agent each. Nothing is captured here, so there are no node proxies."""
import json
import os
import pathlib
import shutil
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
# pylint: disable=wrong-import-position
import pytest  # noqa: E402

from demo.cli import Ambit  # noqa: E402
from demo.control import BUILD, ControlPlane  # noqa: E402
from demo.town import Agent, adopt_orphans, end_descendants, take_away  # noqa: E402
from lib import netns, topo  # noqa: E402
from lib.wait import until  # noqa: E402
from lib.ztunnel import parse_metrics  # noqa: E402

STANDIN = pathlib.Path(__file__).resolve().parent / "standin.py"
NODES = (1, 2)
STATS, MONITORING = 15020, 15014


class Place:
    """Two nodes and who runs on them, until `down`."""

    def __init__(self, program):
        self.topology = topo.Topology({n: 0 for n in NODES})
        self.folder = tempfile.mkdtemp(prefix=f"ambit-node-{self.topology.prefix}-", dir="/tmp")
        os.chmod(self.folder, 0o755)
        self.program = pathlib.Path(shutil.copy(program, self.folder))
        self.hold = self.program.with_name("hold")  # while it is there, no stand-in is ready
        self.run_dir = os.path.join(self.folder, "run")
        self.control, self.ambit, self.agents = None, None, {}

    def up(self):
        self.topology.up()
        self.control = ControlPlane(self.topology.add_host("cp", 100), topo.node4(100), self.folder,
                                    [f"node{n}" for n in NODES])
        self.control.start()
        self.control.wait_ready()
        self.ambit = Ambit(BUILD / "ambit", self.control.ns, self.control.admin, self.run_dir)
        for n in NODES:
            self.agents[n] = Agent(self, n)
            self.agents[n].argv += ["--waypoint-program", str(self.program), "--stats", f"127.0.0.1:{STATS}"]
            self.start_agent(n)
        for n in NODES:
            until("the node says what runs there", lambda n=n: self.runs_waypoints(n), 10)

    def start_agent(self, n):
        self.agents[n].start()
        self.agents[n].process.wait_text("pods are known", 10)

    def runs_waypoints(self, n):
        return self.get("node", "", f"node{n}")["metadata"]["labels"]["ambit.io/runs-waypoints"] == "true"

    # ---- objects

    def get(self, kind, ns, name):
        where = ["-n", ns] if ns else []
        return json.loads(self.ambit("get", kind, name, *where, "-o", "json"))

    def all(self, kind, ns):
        status, out, err = self.ambit.ask("get", kind, "-n", ns, "-o", "json")
        assert status == 0, out + err
        items = json.loads(out)
        return items["items"] if isinstance(items, dict) else items

    def pods(self, ns):
        """Pods of waypoints that are not on their way out."""
        return [p for p in self.all("pods", ns) if p["metadata"]["annotations"].get("ambit.io/program") == "waypoint"]

    def living(self, ns):
        return [p for p in self.pods(ns) if "deletionTimestamp" not in p["metadata"]]

    def ready(self, ns):
        return [p for p in self.living(ns) if is_ready(p)]

    def apply_waypoint(self, ns, name="way", **annotations):
        notes = "".join(f"\n    {key}: {value!r}" for key, value in annotations.items()) or " {}"
        self.ambit.apply(f"""apiVersion: v1
kind: Namespace
metadata: {{name: {ns}}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata:
  name: {name}
  namespace: {ns}
  labels: {{istio.io/waypoint-for: service}}
  annotations:{notes}
spec:
  gatewayClassName: istio-waypoint
  listeners: [{{name: mesh, port: 15008, protocol: HBONE}}]
""")

    def ask(self, pod, path):
        """A page of a stand-in, asked on its node."""
        node = int(pod["spec"]["nodeName"].removeprefix("node"))
        with netns.connect(self.topology.ns(f"n{node}"), pod["status"]["podIP"], 15021, 2) as sock:
            sock.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
            data = b""
            while piece := sock.recv(65536):
                data += piece
        return data.partition(b"\r\n\r\n")[2].decode()

    def metrics(self, ns, host, port):
        with netns.connect(ns, host, port, 2) as sock:
            sock.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
            data = b""
            while piece := sock.recv(65536):
                data += piece
        return parse_metrics(data.partition(b"\r\n\r\n")[2].decode())

    def metric_of_agent(self, n, name, **labels):
        return total(self.metrics(self.topology.ns(f"n{n}"), "127.0.0.1", STATS), name, labels)

    def metric_of_control(self, name):
        return total(self.metrics(self.control.ns, "127.0.0.1", MONITORING), name, {})

    def down(self):
        for program in [a.process for a in self.agents.values() if a.process] + [self.control.process]:
            if program:
                program.kill()
        end_descendants()
        take_away(self.folder)
        self.topology.down()


def total(metrics, name, labels):
    found = [m.value for m in metrics if m.name == name and m.labels == labels]
    assert found, f"no {name} with {labels}"
    return sum(found)


def is_ready(pod):
    return any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", []))


@pytest.fixture(scope="module")
def place():
    adopt_orphans()
    p = Place(STANDIN)
    try:
        p.up()
        yield p
    finally:
        p.down()
