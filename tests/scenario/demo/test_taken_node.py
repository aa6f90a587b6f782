# SPDX-License-Identifier: Apache-2.0
"""Whoever has taken a node has its credentials. With those of node 2 we try to become what runs on node 1."""
import base64
import json
import ssl
import urllib.error
import urllib.request

import pytest

from demo.small import NAMESPACE
from demo.test_certificates import ask, identity_of, proxy_token
from lib import netns
from lib.wait import until

PODS = f"/api/v1/namespaces/{NAMESPACE}/pods"
MERGE = "application/merge-patch+json"
ACCOUNTS = ("loot", "spread")


class Intruder:
    """Root on a node: its credential for the API, from its network."""

    def __init__(self, town, node):
        self.ns, self.node = netns.path(town.topology.ns(f"n{node}")), f"node{node}"
        with open(town.control.node_kubeconfig(self.node), encoding="utf-8") as f:
            config = json.load(f)
        cluster = config["clusters"][0]["cluster"]
        self.server, self.token = cluster["server"], config["users"][0]["user"]["token"]
        self.tls = ssl.create_default_context(cadata=base64.b64decode(cluster["certificate-authority-data"]).decode())

    def __call__(self, method, path, body=None, kind="application/json"):
        """(status, the answer's object)"""
        request = urllib.request.Request(self.server + path, method=method,
                                         data=None if body is None else json.dumps(body).encode(),
                                         headers={"Authorization": f"Bearer {self.token}", "Content-Type": kind})
        with netns.inside(self.ns):
            try:
                with urllib.request.urlopen(request, context=self.tls, timeout=20) as answer:
                    return answer.status, json.load(answer)
            except urllib.error.HTTPError as error:
                return error.code, json.load(error)

    def pod(self, name, account):
        return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": NAMESPACE},
                "spec": {"nodeName": self.node, "serviceAccountName": account,
                         "containers": [{"name": "x", "image": "x"}]}}

    def run(self, name, account):
        """As a running pod with an address, as far as it gets: the status and the words of what failed."""
        status, said = self("POST", PODS, self.pod(name, account))
        if status == 201:
            status, said = self("PATCH", f"{PODS}/{name}/status",
                                {"status": {"phase": "Running", "podIP": "10.244.2.200"}}, MERGE)
        return status, said.get("message", "")

    def leave(self, name):
        self("DELETE", f"{PODS}/{name}?gracePeriodSeconds=0")


@pytest.fixture
def intruder(mesh):
    mesh.ambit.apply("---\n".join(f"apiVersion: v1\nkind: ServiceAccount\nmetadata: {{name: {a}, namespace: {NAMESPACE}}}\n"
                                  for a in ACCOUNTS))
    thief = Intruder(mesh.town, 2)
    yield thief
    thief.leave("thief")
    for account in ACCOUNTS:
        mesh.ambit.delete("serviceaccount", NAMESPACE, account)


def test_an_intruder_gets_no_identity_of_another_node(mesh, intruder):
    """The account `client` runs on node 1. First what he may, so that the attack is known to work."""
    assert intruder.run("thief", "loot") == (200, ""), "an account that nobody runs"
    until("its certificate", lambda: ask(mesh, proxy_token(mesh, 2), identity_of("loot")) == {"names": [identity_of("loot")]})
    intruder.leave("thief")
    status, words = intruder.run("thief", "client")
    assert status == 403
    assert words == f"node node2 may not run account {NAMESPACE}/client, only node1 may: ambit allow-node node2 client -n {NAMESPACE}"
    path = f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts"
    for how in [("POST", f"{path}/client/token", {"spec": {"boundObjectRef": {"kind": "Pod", "name": "client"}}}),
                ("PATCH", f"{path}/client", {"metadata": {"annotations": {"ambit.io/allowed-nodes": "*"}}}, MERGE),
                ("PATCH", f"/api/v1/namespaces/{NAMESPACE}", {"metadata": {"annotations": {"ambit.io/allowed-nodes": "*"}}}, MERGE),
                ("DELETE", f"{path}/client"), ("POST", path, {"metadata": {"name": "mine"}}),
                ("DELETE", f"{PODS}/client"),
                ("PATCH", f"{PODS}/thief?fieldManager=thief", intruder.pod("thief", "client"), "application/apply-patch+yaml")]:
        assert intruder(*how)[0] == 403, how
    assert intruder.run("thief", "default") == (200, "")
    assert intruder("PATCH", f"{PODS}/thief", {"spec": {"serviceAccountName": "client", "serviceAccount": "client"}}, MERGE)[0] == 422
    assert ask(mesh, proxy_token(mesh, 2), identity_of("client")) == {"code": "UNAUTHENTICATED"}
    assert mesh.connects("client")


def test_an_intruder_gets_no_address_of_another_node(mesh, intruder):
    client = mesh.ambit.workload(NAMESPACE, "client")["ips"]
    assert intruder("POST", PODS, intruder.pod("thief", "loot"))[0] == 201
    for ip in client + ["10.244.1.250", "192.0.2.1"]:
        status, said = intruder("PATCH", f"{PODS}/thief/status", {"status": {"podIP": ip}}, MERGE)
        assert status == 422 and f"{ip} is not in node node2's 10.244.2.0/24, fd44:2::/64" in said["message"]
        assert said["details"]["causes"][0]["field"] in ("status.podIP", "status.podIPs[0].ip")
    for ranges in (["10.244.0.0/16"], ["10.244.2.0/24", "fd44:2::/64", "10.244.1.0/24"], ["0.0.0.0/0"]):
        status, said = intruder("PATCH", "/api/v1/nodes/node2", {"spec": {"podCIDRs": ranges}}, MERGE)
        assert status == 422 and "only an administrator changes it" in said["message"]
    assert intruder("PATCH", "/api/v1/nodes/node1", {"spec": {"podCIDRs": ["10.9.0.0/24"]}}, MERGE)[0] == 403
    assert intruder("DELETE", "/api/v1/nodes/node2")[0] == 403
    assert mesh.connects("client")


def test_the_second_node_is_told_which_command_lets_it(mesh, intruder):  # pylint: disable=unused-argument
    """`ambit run` on two nodes, as somebody meets it first."""
    mesh.ambit.start("node1", NAMESPACE, "first", ["sleep", "infinity"], "spread")
    second = ("run", "--run-dir", mesh.town.run_dir, "--node", "node2", "--detach", "-n", NAMESPACE, "--name", "second",
              "--sa", "spread", "--user", "nobody", "--", "sleep", "infinity")
    try:
        status, _, words = mesh.ambit.ask(*second)
        fix = f"ambit allow-node node2 spread -n {NAMESPACE}"
        assert status == 1 and "node node2 may not run account" in words and f"fix: {fix}" in words, words
        assert "node1,node2 may run it" in mesh.ambit(*fix.split()[1:])
        assert "node2 may run it already" in mesh.ambit(*fix.split()[1:])
        mesh.ambit(*second)
        mesh.ambit.stop(NAMESPACE, "second")
    finally:
        mesh.ambit.stop(NAMESPACE, "first")
    notes = mesh.ambit.get("serviceaccount", NAMESPACE, "spread")["metadata"]["annotations"]
    assert notes["ambit.io/allowed-nodes"] == "node1,node2"


def test_the_account_default_is_everybodys(mesh):
    for node in (1, 2):
        mesh.ambit.start(f"node{node}", NAMESPACE, f"any{node}", ["sleep", "infinity"])
        mesh.ambit.stop(NAMESPACE, f"any{node}")
