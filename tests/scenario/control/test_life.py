# SPDX-License-Identifier: Apache-2.0
"""The program's life: what it says of itself, who gets in, what a sudden end costs, what it writes back."""
import contextlib
import http.client
import json
import os
import pathlib
import subprocess
import threading
import urllib.request

import pytest

import plane as planes
from lib.wait import SCALE, until
from lib.wiretypes import ADDRESS
from plane import Ads, Api, Refused, create_certificate, named, pod, policy, service
from test_certificates import csr_pem

AMBITD = os.path.join(planes.BUILD, "ambitd")


def run(*arguments):
    return subprocess.run([AMBITD, *arguments], capture_output=True, text=True, timeout=20, check=False)


def test_help_teaches_and_wrong_usage_says_what_is_meant(tmp_path):
    done = run("help")
    assert done.returncode == 0
    for word in ("--standalone", "node-credential", "kubectl --kubeconfig", "exit codes", "--trust-domain"):
        assert word in done.stdout
    done = run("--nope")
    assert (done.returncode, "--nope" in done.stderr, "ambitd help" in done.stderr) == (2, True, True)
    done = run("--listen")
    assert done.returncode == 2
    done = run("node-credential")
    assert done.returncode == 2
    done = run("node-credential", "web-1", "--data", str(tmp_path / "none"))
    assert (done.returncode, "no stand-alone" in done.stderr) == (3, True)
    done = run("--standalone", "--data", str(tmp_path / "d"), "--listen", "nonsense")
    assert (done.returncode, "listen: nonsense" in done.stdout) == (1, True)
    config = tmp_path / "config.yaml"
    config.write_text("data: x\nnot-a-key: 1\n", encoding="ascii")
    done = run("--config", str(config))
    assert (done.returncode, "not-a-key" in done.stderr) == (2, True)


def test_credentials_are_one_for_the_administrator_and_one_a_node(plane, api, ns):
    data = pathlib.Path(plane.data)
    done = run("node-credential", "web-1", "--data", plane.data)
    assert done.returncode == 0, done.stderr
    path = pathlib.Path(done.stdout.strip())
    assert path == data / "nodes" / "web-1.kubeconfig"
    for secret in (path, data / "admin.kubeconfig", data / "credentials" / "admin", data / "credentials" / "node.web-1"):
        assert secret.stat().st_mode & 0o077 == 0, secret
    node = Api(path)
    own = pod("own", ns, "10.5.0.1", node="web-1")
    api.create({**named("Node", "web-1"), "spec": {"podCIDR": "10.5.0.0/24", "podCIDRs": ["10.5.0.0/24"]}})

    def in_():
        try:
            return node.create(own)
        except Refused as refusal:
            assert refusal.status in (401, 403), refusal
            return None
    until("the running server lets the node in", in_)
    with pytest.raises(Refused) as other:
        node.create(pod("other", ns, "10.5.0.2", node="web-2"))
    assert other.value.status == 403
    assert run("node-credential", "web-1", "--data", plane.data).stdout.strip() == str(path)
    request = urllib.request.Request(f"{node.server}/api/v1/namespaces?watch=1", headers={"Authorization": f"Bearer {node.token}"})
    with urllib.request.urlopen(request, context=node.tls, timeout=60 * SCALE) as watch:
        assert json.loads(watch.readline())["type"] == "ADDED"
        os.unlink(data / "credentials" / "node.web-1")
        with contextlib.suppress(ConnectionError, http.client.IncompleteRead):
            while watch.readline():  # it ends, and does not time out
                pass

    def out():
        try:
            node.get(own)
        except Refused as refusal:
            return refusal.status in (401, 403)
        return False
    until("a credential whose file is gone is no credential", out)
    assert run("node-credential", "web-1", "--data", plane.data).returncode == 0
    node = Api(path)  # another one
    until("the node is let in again", lambda: not out())
    os.rename(data / "credentials" / "node.web-1", data / "kept")
    until("nor is one whose file was moved away", out)
    for bad in ("../evil", "UPPER", ".hidden"):
        assert run("node-credential", bad, "--data", plane.data).returncode == 2, bad
    api.delete(named("Node", "web-1"))


@pytest.mark.parametrize("audience", ["istio-ca", "https://kubernetes.default.svc", "https://kubernetes.default.svc.cluster.local"])
def test_a_workload_has_no_credential_for_the_api(plane, api, ns, audience):
    """Not even with a token of its account that the API itself made, whatever it is for."""
    own = api.create(pod("own", ns, "10.5.9.1"))
    workload = plane.admin()
    assert workload.get(own)["metadata"]["name"] == "own", "the token alone makes the difference"
    workload.token = api.token_for(ns, "default", own, audience)
    for method, path in (("GET", api.path(own)), ("GET", "/api/v1/namespaces"), ("POST", f"/api/v1/namespaces/{ns}/serviceaccounts/default/token")):
        with pytest.raises(Refused) as refusal:
            workload.ask(method, path, {} if method == "POST" else None)
        assert refusal.value.status == 401, refusal.value.body


def condition(api, obj, kind="ZtunnelAccepted"):
    for c in api.get(obj).get("status", {}).get("conditions", []):
        if c["type"] == kind:
            return c
    return None


def test_policies_are_told_what_became_of_them(api, ns):
    cases = {
        "good": (policy("good", ns), "True", "Accepted", "attached to ztunnel"),
        "http": (policy("http", ns, rules=[{"to": [{"operation": {"methods": ["GET"]}}]}]), "True", "UnsupportedValue",
                 "ztunnel does not support HTTP attributes (found: methods)."),
        "closed": (policy("closed", ns, "DENY", [{"to": [{"operation": {"paths": ["/x"]}}]}]), "True",
                   "UnsupportedValue", "more restrictive than requested"),
        "audit": (policy("audit", ns, "AUDIT"), "False", "UnsupportedValue", "ztunnel does not support the AUDIT action"),
        "values": (policy("values", ns, rules=[{"to": [{"operation": {"ports": ["80", "http"]}}]}]), "True",
                   "UnsupportedValue", "cannot be read (the first: spec.rules[0].to[0].operation.ports[1]: 'http' is no port"),
    }
    for obj, *_ in cases.values():
        api.create(obj)
    for name, (obj, status, reason, text) in cases.items():
        c = until(f"{name} is told", lambda o=obj: condition(api, o))
        assert (c["status"], c["reason"], text in c["message"]) == (status, reason, True), c
        assert c["observedGeneration"] == str(api.get(obj)["metadata"]["generation"])
    obj = cases["good"][0]
    api.patch(obj, {"spec": {"action": "CUSTOM"}})
    until("a change is told too", lambda: condition(api, obj)["status"] == "False")


def test_a_sudden_end_loses_nothing_and_costs_clients_only_what_changed(tmp_path):
    plane = planes.Plane(tmp_path).start()
    api = plane.admin()
    api.create(named("Namespace", "load"))
    api.create(service("s", "load", "10.96.0.44", {"app": "p"}))
    acknowledged, stop = [], threading.Event()

    def write():
        n = 0
        while not stop.is_set():
            n += 1
            try:
                api.create(pod(f"p{n}", "load", f"10.9.{n // 250}.{n % 250 + 1}", labels={"app": "p"}))
                acknowledged.append(f"Kubernetes//Pod/load/p{n}")
            except (OSError, ValueError):
                stop.wait(0.05)
    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(3):
            with plane.channel() as channel:
                stream = Ads(channel, api.token_for("istio-system", "ztunnel")).first()
                goal = len(acknowledged) + 20
                until("objects are written", lambda: len(acknowledged) >= goal, 20)
                until("they are told", lambda: len(stream.held()) >= goal // 2, 20)
                plane.kill()
                held, told = stream.held(), list(acknowledged)
                assert stream.ended.wait(20)
            plane.start()
            api = plane.admin()
            with plane.channel() as channel:
                again = Ads(channel, api.token_for("istio-system", "ztunnel")).first(initial=held)
                answer = again.next(20)
                same = [n for n, v in held.items() if n in answer.resources and answer.versions[n] == v]
                assert not same, "what is the same is not sent again"
                known = set(held) | set(answer.names)
                assert set(told) <= known, "what was acknowledged is there"
                assert not answer.removed
                again.close()
    finally:
        stop.set()
        writer.join()
        plane.stop()


def test_nobody_is_served_before_the_cluster_is_known(tmp_path):
    """With a cluster that does not answer: no stream, no certificate, and no readiness."""
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(json.dumps({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1"}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "users": [{"name": "u", "user": {"token": "t"}}]}), encoding="ascii")
    p = planes.Plane(tmp_path)
    process = planes.Process("ambitd", [AMBITD, "--kubeconfig", str(kubeconfig), "--data", p.data, "--listen",
                                        "127.0.0.1:0", "--monitoring", "", "--readiness", "127.0.0.1:0", "--admin", ""],
                             str(tmp_path))
    process.wait_text("listening", 20)
    p.addresses = json.loads(pathlib.Path(p.data, "addresses.json").read_text(encoding="ascii"))
    try:
        with p.channel() as channel:
            stream = Ads(channel, "a-token").first()
            code, text = stream.status()
            assert (code, "not ready" in text) == ("UNAVAILABLE", True)
            assert create_certificate(channel, csr_pem(), "a-token")[0] == "UNAVAILABLE"
    finally:
        process.stop()


def test_another_trust_domain_and_cluster(tmp_path):
    plane = planes.Plane(tmp_path, "--trust-domain", "td.example", "--cluster-id", "east").start()
    try:
        api = plane.admin()
        zt = api.create(pod("zt", "istio-system", "10.3.0.1", "ztunnel", "n1"))
        token = api.token_for("istio-system", "ztunnel", zt)
        with plane.channel() as channel:
            stream = Ads(channel, token, cluster="east").first()
            uid = "east//Pod/istio-system/zt"
            until("the pod is there", lambda: uid in stream.state[ADDRESS])
            code, _, chain = create_certificate(channel, csr_pem(), token, cluster="east")
            assert code == "OK" and len(chain) == 2
            wanted = "spiffe://cluster.local/ns/istio-system/sa/ztunnel"
            assert create_certificate(channel, csr_pem(), token, wanted, cluster="east")[0] == "UNAUTHENTICATED"
            wanted = "spiffe://td.example/ns/istio-system/sa/ztunnel"
            assert create_certificate(channel, csr_pem(), token, wanted, cluster="east")[0] == "OK"
            stream.close()
    finally:
        plane.stop()
