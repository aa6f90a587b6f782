# SPDX-License-Identifier: Apache-2.0
"""The cases (`cases/*.yaml`), and the objects of the API that they mean."""
import copy
import pathlib
import uuid

import yaml

from conformance import judge

FOLDER = pathlib.Path(__file__).resolve().parent / "cases"
NAMESPACE, OTHER, CONSUMER = "conformance", "other", "consumer"
GATEWAY = "gateway.networking.k8s.io/v1"
GRPC_PORT = 7070


def load():
    """(tests, {reason: names that do not apply})"""
    tests = []
    for path in sorted(FOLDER.glob("*.yaml")):
        if path.stem != "beyond":
            tests += yaml.safe_load(path.read_text(encoding="utf-8"))
    return tests, yaml.safe_load((FOLDER / "beyond.yaml").read_text(encoding="utf-8"))


def names(test):
    return test["test"] if isinstance(test["test"], list) else [test["test"]]


def backend_ref(short, kind, **more):
    port = short.get("port") or (GRPC_PORT if kind == "GRPCRoute" else 8080)
    ref = {"name": f"echo-{short['to']}", "port": port, **more}
    return {**ref, **{k: short[k] for k in ("weight", "filters") if k in short}}


def rule(short, kind, filters_at, namespace):
    """The API's form of a rule in short form, of a route in that namespace."""
    out = {k: copy.deepcopy(v) for k, v in short.items() if k in ("name", "matches", "filters", "timeouts", "retry", "backendRefs")}
    if "path" in short:
        out["matches"] = [{"path": {"type": "PathPrefix", "value": short["path"]}}]
    backends = short.get("backends") or ([{"to": short["backend"]}] if "backend" in short else [])
    if backends:
        at = {} if namespace == NAMESPACE else {"namespace": NAMESPACE}
        out["backendRefs"] = [backend_ref(b, kind, **at) for b in backends]
    if filters_at == "backend":
        out["backendRefs"][0]["filters"] = out.pop("filters")
    return out


def route(number, test, entry):
    """One route object; `entry` is the test itself or one of its routes."""
    kind = test.get("kind", "HTTPRoute")
    port = entry.get("port", GRPC_PORT if kind == "GRPCRoute" else 80)
    namespace = entry.get("namespace", NAMESPACE)
    parent = {"group": "", "kind": "Service", "name": entry.get("parent", "echo"), "namespace": NAMESPACE}
    if port is not None:
        parent["port"] = port
    return {"apiVersion": GATEWAY, "kind": kind,
            "metadata": {"name": f"case-{number}", "namespace": namespace},
            "spec": {"parentRefs": [parent], "rules": [rule(r, kind, test.get("filters_at"), namespace) for r in entry["rules"]]}}


def grant(number, entry):
    return {"apiVersion": "gateway.networking.k8s.io/v1beta1", "kind": "ReferenceGrant",
            "metadata": {"name": f"grant-{number}", "namespace": entry.get("namespace", OTHER)},
            "spec": {"from": [entry["from"]], "to": [entry["to"]]}}


def objects(test):
    """What a test applies, grants first."""
    routes = test.get("routes") or ([test] if "rules" in test else [])
    return ([grant(i, g) for i, g in enumerate(test.get("grants", []))]
            + [route(i, test, entry) for i, entry in enumerate(routes)])


def gone(test, then):
    """Objects of a test that its second half does without."""
    def key(o):
        return o["kind"], o["metadata"]["namespace"], o["metadata"]["name"]
    left = {key(o) for o in objects(then)}
    return [o for o in objects(test) if key(o) not in left]


def ask(test, case, protocol, addresses):
    """The client's request of a case; (want, request)."""
    want = judge.want_of(case)
    service = case.get("service", test.get("parent", "echo"))
    grpc = "grpc" in case
    port = case.get("port") or (GRPC_PORT if grpc else test.get("port") or 80)
    headers = dict(case.get("headers", {}))
    if "echo" in case:
        headers["X-Echo-Set-Header"] = ",".join(f"{n}:{v}" for n, v in case["echo"].items())
    authority = case.get("host") or (service if port == 80 else f"{service}:{port}")
    path = (case.get("grpc") or case.get("path", "/")).replace("$U", uuid.uuid4().hex)
    many = 500 if "share" in want or "mirror_share" in want else 1
    return want, {"url": [addresses[service], port], "protocol": "h2" if grpc else case.get("protocol", protocol), "method": "POST" if grpc else case.get("method", "GET"),
                  "path": path, "authority": authority, "headers": headers, "grpc": grpc, "direct": service.startswith("pod-"),
                  "times": case.get("times", many), "frames": want.get("frames", [])}
