# SPDX-License-Identifier: Apache-2.0
"""`ambit waypoint` against the embedded API server. Nobody reconciles there: the tests say what a control plane would."""
import base64
import json
import re
import ssl
import threading
import time
import urllib.request

import pytest

NAMESPACE = "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, labels: {istio.io/dataplane-mode: ambient}}\n"
OTHER = """apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: front, namespace: shop}
spec: {gatewayClassName: istio, listeners: [{name: http, port: 80, protocol: HTTP}]}
"""
READY = {"conditions": [{"type": "Programmed", "status": "True", "reason": "Programmed", "message": "there",
                         "lastTransitionTime": "2026-01-01T00:00:00Z"}],
         "addresses": [{"type": "IPAddress", "value": "10.96.0.9"}]}
NOT_YET = {"conditions": [{"type": "Programmed", "status": "False", "reason": "AddressNotAssigned", "message": "no endpoint",
                           "lastTransitionTime": "2026-01-01T00:00:00Z"}]}


@pytest.fixture
def shop(ambit, api):
    ambit("apply", "-f", "-", text=NAMESPACE, code=0)
    return Admin(api / "admin.kubeconfig")


class Admin:
    """What the control plane writes."""

    def __init__(self, kubeconfig):
        text = kubeconfig.read_text(encoding="utf-8")
        self.server, authority, self.token = (re.search(rf"{key}: (\S+)", text)[1] for key in
                                              ("server", "certificate-authority-data", "token"))
        self.tls = ssl.create_default_context(cadata=base64.b64decode(authority).decode())

    def ask(self, method, path, body, kind="application/json"):
        request = urllib.request.Request(self.server + path, json.dumps(body).encode(), method=method, headers={
            "Authorization": f"Bearer {self.token}", "Content-Type": kind})
        with urllib.request.urlopen(request, context=self.tls, timeout=10) as answer:
            return json.load(answer)

    def program(self, name, status):
        self.ask("PATCH", f"/apis/gateway.networking.k8s.io/v1/namespaces/shop/gateways/{name}/status", {"status": status},
                 "application/merge-patch+json")

    def replica(self, gateway, name, ready=True):
        self.ask("POST", "/api/v1/namespaces/shop/pods", {
            "metadata": {"name": name, "labels": {"gateway.networking.k8s.io/gateway-name": gateway}},
            "spec": {"nodeName": "n1", "containers": [{"name": "w", "image": "local"}]}})
        self.ask("PATCH", f"/api/v1/namespaces/shop/pods/{name}/status", {"status": {
            "phase": "Running", "conditions": [{"type": "Ready", "status": "True" if ready else "False"}]}},
            "application/merge-patch+json")


def test_what_generate_prints_is_what_apply_makes(ambit, shop):
    printed = ambit("waypoint", "generate", "-n", "shop", "--for", "all", "--replicas", "2", code=0).out
    ambit("apply", "-f", "-", text=printed, code=0)
    by_hand = ambit("get", "gateway", "waypoint", "-n", "shop", "-o", "json", code=0).json
    ambit("waypoint", "delete", "waypoint", "-n", "shop", code=0)
    out = ambit("waypoint", "apply", "-n", "shop", "--for", "all", "--replicas", "2", code=0).out
    assert out.startswith("waypoint shop/waypoint applied\n") and "ambit label ns shop istio.io/use-waypoint=waypoint" in out
    applied = ambit("get", "gateway", "waypoint", "-n", "shop", "-o", "json", code=0).json
    assert applied["spec"] == by_hand["spec"]
    for key in ("labels", "annotations"):
        assert applied["metadata"][key] == by_hand["metadata"][key]
    assert applied["metadata"]["annotations"] == {"ambit.io/replicas": "2"}
    assert applied["metadata"]["labels"] == {"istio.io/waypoint-for": "all"}


def test_the_namespace_is_enrolled_when_that_is_said_and_never_taken_from_another_waypoint(ambit, shop):
    out = ambit("waypoint", "apply", "-n", "shop", "--enroll-namespace", code=0).out
    assert "namespace shop uses waypoint waypoint from now on" in out and "fix" not in out
    labels = ambit("get", "ns", "shop", "-o", "json", code=0).json["metadata"]["labels"]
    assert labels["istio.io/use-waypoint"] == "waypoint"
    refused = ambit("waypoint", "apply", "-n", "shop", "--name", "second", "--enroll-namespace", code=1)
    assert "already uses waypoint waypoint" in refused.err and "--overwrite" in refused.err
    ambit("waypoint", "apply", "-n", "shop", "--name", "second", "--enroll-namespace", "--overwrite", code=0)
    labels = ambit("get", "ns", "shop", "-o", "json", code=0).json["metadata"]["labels"]
    assert labels["istio.io/use-waypoint"] == "second"


def test_a_namespace_outside_the_mesh_is_said(ambit, api):
    out = ambit("waypoint", "apply", "-n", "default", "--enroll-namespace", code=0).out
    assert "is not in the mesh" in out and "fix: ambit label ns default istio.io/dataplane-mode=ambient" in out


def test_list_and_status_show_waypoints_alone_and_say_why_one_is_not_ready(ambit, shop):
    assert ambit("waypoint", "list", "-n", "shop", code=0).out == "no waypoints\n"
    ambit("apply", "-f", "-", text=OTHER, code=0)
    ambit("waypoint", "apply", "-n", "shop", "--name", "good", code=0)
    ambit("waypoint", "apply", "-n", "shop", "--name", "bad", "--for", "workload", "-r", "canary", code=0)
    shop.program("good", READY)
    shop.replica("good", "good-1")
    shop.program("bad", NOT_YET)
    listed = ambit("waypoint", "list", "-A", code=0).out.splitlines()
    assert listed[0] == "PROBLEM: 1 of 2 waypoints not ready"
    assert listed[2].split() == ["NAMESPACE", "NAME", "REVISION", "TRAFFIC", "TYPE", "PROGRAMMED", "REPLICAS"]
    assert [line.split() for line in listed[3:5]] == [["shop", "bad", "canary", "workload", "False", "0/0"],
                                                      ["shop", "good", "default", "service", "True", "1/1"]]
    status = ambit("waypoint", "status", "-n", "shop", code=1).out
    assert "shop/bad: AddressNotAssigned: no endpoint" in status and "\n  fix: ambit get pods -n shop" in status
    assert ambit("waypoint", "status", "good", "-n", "shop", code=0).out.startswith("OK: 1 waypoint, all ready")
    items = ambit("waypoint", "status", "-n", "shop", "-o", "json", code=1).json["items"]
    assert [(i["name"], i["verdict"]) for i in items] == [("bad", "not ready"), ("good", "ready")]
    assert items[1]["addresses"] == ["10.96.0.9"]
    assert [i["name"] for i in ambit("waypoint", "list", "-r", "canary", "-n", "shop", "-o", "json", code=0).json["items"]] == ["bad"]
    assert "no waypoint shop/none-such" in ambit("waypoint", "status", "none-such", "-n", "shop", code=1).err


def test_wait_waits_until_it_is_programmed_and_a_replica_serves(ambit, shop):
    def later():
        time.sleep(0.5)
        shop.program("waypoint", READY)
        time.sleep(0.3)
        shop.replica("waypoint", "waypoint-1")
    ambit("waypoint", "apply", "-n", "shop", code=0)
    helper = threading.Thread(target=later)
    began = time.monotonic()
    helper.start()
    out = ambit("waypoint", "apply", "-n", "shop", "--wait", code=0).out
    helper.join()
    assert "OK: waypoint shop/waypoint is ready" in out and time.monotonic() - began >= 0.8
    failed = ambit("waypoint", "apply", "-n", "shop", "--name", "never", "--wait", "--waypoint-timeout", "500ms", code=1)
    assert "shop/never: " in failed.err and "not ready in time" in failed.err


def test_a_namespace_is_enrolled_only_once_the_waypoint_is_waited_for(ambit, shop):
    """Where policy aims at its services already, all of their requests would be refused until then."""
    words = ("waypoint", "apply", "-n", "shop", "--enroll-namespace", "--wait")
    failed = ambit(*words, "--waypoint-timeout", "500ms", code=1)
    assert "so its namespace is not labelled to use it" in failed.err
    labels = ambit("get", "ns", "shop", "-o", "json", code=0).json["metadata"]["labels"]
    assert "istio.io/use-waypoint" not in labels
    shop.program("waypoint", READY)
    shop.replica("waypoint", "waypoint-1")
    said = ambit(*words, code=0).out
    assert said.index("is ready") < said.index("namespace shop uses waypoint waypoint from now on")


def test_delete_takes_what_is_named_and_nothing_that_is_no_waypoint(ambit, shop):
    ambit("apply", "-f", "-", text=OTHER, code=0)
    ambit("waypoint", "apply", "-n", "shop", "--enroll-namespace", code=0)
    ambit("waypoint", "apply", "-n", "shop", "--name", "b", "-r", "old", code=0)
    ambit("waypoint", "apply", "-n", "shop", "--name", "c", code=0)
    for words in ([], ["b", "--all"]):
        ambit("waypoint", "delete", *words, "-n", "shop", code=2)
    assert "no waypoint shop/front" in ambit("waypoint", "delete", "front", "-n", "shop", code=1).err
    assert ambit("waypoint", "delete", "-r", "old", "-n", "shop", code=0).out == "waypoint shop/b deleted\n"
    out = ambit("waypoint", "delete", "--all", "-n", "shop", code=0).out
    assert "waypoint shop/c deleted" in out and "waypoint shop/waypoint deleted" in out
    assert "namespace shop still names it\n  next: ambit label ns shop istio.io/use-waypoint-" in out
    assert ambit("get", "gateways", "-n", "shop", "-o", "name", code=0).out == "gateway/front\n"


def test_restart_changes_the_template(ambit, shop):
    ambit("waypoint", "apply", "-n", "shop", code=0)
    ambit("waypoint", "restart", code=2)
    assert "replaced one after the other" in ambit("waypoint", "restart", "waypoint", "-n", "shop", code=0).out
    first = ambit("get", "gateway", "waypoint", "-n", "shop", "-o", "json", code=0).json["metadata"]["annotations"]
    ambit("waypoint", "restart", "waypoint", "-n", "shop", code=0)
    second = ambit("get", "gateway", "waypoint", "-n", "shop", "-o", "json", code=0).json["metadata"]["annotations"]
    assert first["ambit.io/restarted-at"] != second["ambit.io/restarted-at"]


@pytest.mark.parametrize("words, said", [
    (["aply"], "no such thing as aply; did you mean apply?"),
    (["create"], "no such thing as create; there are apply|list|status|delete|restart|generate\n"),
    (["apply", "shop"], "shop is one word too many"),
    (["apply", "--name", "none"], "none means that there is no waypoint"),
    (["apply", "--for", "pods"], "pods"),
    ([], "needs apply|list"),
])
def test_wrong_usage(ambit, words, said):
    assert said in ambit("waypoint", *words, code=2).err


def test_without_an_api_it_cannot_tell(ambit):
    ambit.env["KUBECONFIG"] = "/nonexistent"
    ambit("waypoint", "list", code=3)


def test_labelling_says_where_traffic_goes(ambit, shop):
    service = "apiVersion: v1\nkind: Service\nmetadata: {name: cart, namespace: shop}\nspec: {ports: [{port: 80}], selector: {app: cart}}\n"
    ambit("apply", "-f", "-", text=service, code=0)
    out = ambit("label", "ns", "shop", "istio.io/use-waypoint=w", "--dry-run", code=0).out
    assert "traffic of 1 service will go through waypoint shop/w: cart" in out
    assert "there is no waypoint shop/w" in out and "fix: ambit waypoint apply -n shop --name w --wait" in out
    ambit("waypoint", "apply", "-n", "shop", "--name", "w", code=0)
    shop.program("w", READY)
    shop.replica("w", "w-1")
    out = ambit("label", "svc", "cart", "-n", "shop", "istio.io/use-waypoint=w", code=0).out
    assert "its traffic will go through waypoint shop/w" in out and "fix" not in out
    assert "no longer goes through waypoint shop/w" in ambit("label", "svc", "cart", "-n", "shop", "istio.io/use-waypoint-", code=0).out
