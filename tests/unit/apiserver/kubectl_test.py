#!/usr/bin/python3
"""The real kubectl against the embedded API server, over TLS on loopback. TAP on stdout.

usage: kubectl_test.py SERVER KUBECTL
"""
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

SERVER = sys.argv[1]
KUBECTL = shutil.which(sys.argv[2]) or "/nonexistent/" + sys.argv[2]

MESH = """
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio.io/dataplane-mode: ambient}}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: cart, namespace: shop}
---
apiVersion: v1
kind: Pod
metadata: {name: cart-1, namespace: shop, labels: {app: cart}}
spec:
  serviceAccountName: cart
  nodeName: node-a
  containers: [{name: main, image: local, ports: [{name: http, containerPort: 8080}]}]
---
apiVersion: v1
kind: Service
metadata: {name: cart, namespace: shop}
spec: {selector: {app: cart}, ports: [{name: http, port: 80, targetPort: http}, {name: tcp, port: 9000}]}
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: shop}
spec: {mtls: {mode: STRICT}}
---
apiVersion: security.istio.io/v1beta1
kind: AuthorizationPolicy
metadata: {name: cart-in, namespace: shop}
spec: {selector: {matchLabels: {app: cart}}, rules: [{from: [{source: {namespaces: [shop]}}]}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: waypoint, namespace: shop}
spec: {gatewayClassName: ambit-waypoint, listeners: [{name: mesh, port: 15008, protocol: HBONE}]}
"""


# Three and more levels below fields whose insides the server does not know.
DEEP = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: deep, namespace: default}
spec:
  selector: {matchLabels: {app: deep}}
  template: {metadata: {labels: {app: deep}}, spec: POD}
---
apiVersion: v1
kind: Pod
metadata: {name: deep, namespace: default}
spec: POD
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: deeps.example.com, labels: {image: IMAGE}}
spec:
  group: example.com
  scope: Namespaced
  names: {plural: deeps, singular: deep, kind: Deep}
  conversion: {strategy: Webhook, webhook: {conversionReviewVersions: [v1], clientConfig: {service: {name: a, namespace: b}}}}
  versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object}}}]
""".replace("POD", """{affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [
    {matchExpressions: [{key: a, operator: In, values: [b]}]}]}}},
  securityContext: {seLinuxOptions: {level: a}, sysctls: [{name: a, value: b}]},
  volumes: [{name: e, ephemeral: {volumeClaimTemplate: {metadata: {labels: {a: b}}, spec: {resources: {requests: {storage: 1}}}}}},
    {name: p, projected: {sources: [{configMap: {name: x, items: [{key: a, path: b}]}}]}}],
  containers: [{name: main, image: IMAGE, env: [{name: A, valueFrom: {fieldRef: {fieldPath: metadata.name}}}],
    livenessProbe: {httpGet: {path: /, port: 80, httpHeaders: [{name: a, value: b}]}},
    lifecycle: {postStart: {httpGet: {path: /, port: 80, httpHeaders: [{name: a, value: b}]}}},
    securityContext: {capabilities: {add: [NET_ADMIN]}},
    volumeMounts: [{name: p, mountPath: /p}], resources: {limits: {cpu: 1}}}]}""")


class Server:
    """The program, its directory, and kubectl pointed at it."""

    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="apiserver-kubectl-")
        self.start()
        client = json.loads(self.run("version", "--client", "-o", "json"))["clientVersion"]
        self.minor = int(client["minor"].rstrip("+"))

    def start(self):
        self.process = subprocess.Popen([SERVER, self.dir], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        assert line.startswith("ready"), line

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        self.process.stdin.close()
        code = self.process.wait(timeout=20)
        shutil.rmtree(self.dir)
        return code

    def env(self, user="admin"):
        return {"KUBECONFIG": f"{self.dir}/{user}.kubeconfig", "HOME": self.dir, "PATH": "/usr/bin:/bin",
                "EDITOR": "sed -i s/STRICT/PERMISSIVE/"}

    def run(self, *args, user="admin", text=None, code=0):
        done = subprocess.run([KUBECTL, *args], input=text, capture_output=True, text=True,
                              env=self.env(user), timeout=60)
        out = done.stdout + done.stderr
        assert done.returncode == code, f"kubectl {' '.join(args)}: exit {done.returncode}\n{out}"
        return out

    def get(self, *args, user="admin"):
        return json.loads(self.run("get", *args, "-o", "json", user=user))

    def watch(self, *args):
        return subprocess.Popen([KUBECTL, "get", *args, "-w", "-o", "name"], stdout=subprocess.PIPE,
                                text=True, env=self.env())


def has(text, *parts):
    for p in parts:
        assert p in text, f"{p!r} is not in:\n{text}"


def applies_a_mesh_twice_and_a_change(s):
    out = s.run("apply", "-f", "-", text=MESH)
    has(out, "namespace/shop created", "pod/cart-1 created", "service/cart created",
        "authorizationpolicy.security.istio.io/cart-in created")
    out = s.run("apply", "-f", "-", text=MESH)
    has(out, "pod/cart-1 unchanged", "service/cart unchanged",
        "peerauthentication.security.istio.io/default unchanged")
    out = s.run("apply", "-f", "-", text=MESH.replace("port: 9000", "port: 9001"))
    has(out, "service/cart configured")
    ports = s.get("svc", "cart", "-n", "shop")["spec"]["ports"]
    assert [(p["name"], p["port"], p["targetPort"]) for p in ports] == [
        ("http", 80, "http"), ("tcp", 9001, 9001)], ports


def shows_tables_and_selects(s):
    has(s.run("get", "ns"), "NAME", "STATUS", "shop", "Active")
    has(s.run("get", "pods", "-A", "-o", "wide"), "cart-1", "0/1", "Pending", "node-a")
    has(s.run("get", "pods,svc,sa,peerauthentication", "-n", "shop"), "pod/cart-1", "service/cart",
        "serviceaccount/default", "STRICT")
    has(s.run("get", "pods", "-n", "shop", "-l", "app in (cart),!x"), "cart-1")
    has(s.run("get", "pods", "-n", "shop", "-l", "app!=cart"), "No resources found")
    has(s.run("get", "pods", "-A", "--field-selector", "spec.nodeName=node-a"), "cart-1")
    has(s.run("get", "pods", "-A", "--field-selector", "spec.bogus=1", code=1), "field label not supported")
    has(s.run("get", "pa.v1beta1.security.istio.io", "-n", "shop"), "default")
    has(s.run("get", "crd"), "peerauthentications.security.istio.io", "gateways.gateway.networking.k8s.io")
    has(s.run("api-resources"), "authorizationpolicies", "ap", "serviceaccounts", "sa")
    has(s.run("get", "all", "-n", "shop"), "pod/cart-1", "service/cart")
    names = s.run("get", "ns", "-o", "name", "--chunk-size=1").split()
    assert "namespace/shop" in names and len(names) == len(set(names)), names


def labels_and_annotates(s):
    has(s.run("label", "ns", "shop", "istio.io/use-waypoint=waypoint"), "labeled")
    has(s.run("label", "ns", "shop", "istio.io/use-waypoint=none", code=1), "already has a value")
    has(s.run("label", "ns", "shop", "istio.io/use-waypoint=none", "--overwrite"), "labeled")
    has(s.run("label", "pods", "--all", "-n", "shop", "tier=front"), "pod/cart-1 labeled")
    has(s.run("annotate", "pod", "cart-1", "-n", "shop", "note=first"), "annotated")
    pod = s.get("pod", "cart-1", "-n", "shop")["metadata"]
    assert pod["labels"] == {"app": "cart", "tier": "front"} and pod["annotations"]["note"] == "first"
    s.run("label", "ns", "shop", "istio.io/use-waypoint-")
    assert "istio.io/use-waypoint" not in s.get("ns", "shop")["metadata"]["labels"]
    has(s.run("label", "ns", "shop", "bad=not ok!", code=1), "a valid label must be")


def patches_in_every_form(s):
    patch = ("patch", "svc", "cart", "-n", "shop")
    s.run(*patch, "-p", '{"spec":{"ports":[{"port":81,"name":"extra"}]}}')
    s.run(*patch, "-p", '{"spec":{"ports":[{"port":9001,"$patch":"delete"}]}}')
    s.run(*patch, "--type=json", "-p", '[{"op":"add","path":"/metadata/labels","value":{"q":"2"}}]')
    s.run(*patch, "--type=merge", "-p", '{"metadata":{"labels":{"r":"3"}}}')
    svc = s.get("svc", "cart", "-n", "shop")
    assert sorted(p["port"] for p in svc["spec"]["ports"]) == [80, 81], svc["spec"]["ports"]
    assert svc["metadata"]["labels"] == {"q": "2", "r": "3"}
    has(s.run(*patch, "--type=json", "-p", '[{"op":"test","path":"/metadata/labels/q","value":"9"}]',
              code=1), "invalid")
    has(s.run("patch", "pa", "default", "-n", "shop", "-p", '{"spec":{}}', code=1), *(
        ["not supported"] if s.minor >= 24 else ["UnsupportedMediaType", "merge-patch+json"]))
    pod = s.get("pod", "cart-1", "-n", "shop")
    pod["status"].update({"phase": "Running", "podIP": "10.1.0.5", "conditions": [{"type": "Ready", "status": "True"}]})
    s.run("replace", "--raw", "/api/v1/namespaces/shop/pods/cart-1/status", "-f", "-", text=json.dumps(pod))
    if s.minor >= 24:
        s.run("patch", "pod", "cart-1", "-n", "shop", "--subresource=status", "--type=merge", "-p",
              '{"status":{"message":"here"}}')
    has(s.run("get", "pod", "cart-1", "-n", "shop", "-o", "wide"), "1/1", "Running", "10.1.0.5")


def makes_endpoint_slices(s):
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        slices = s.get("endpointslices", "-n", "shop")["items"]
        ready = [e for sl in slices for e in sl["endpoints"] if e["conditions"]["ready"]]
        if ready:
            break
    assert ready[0]["addresses"] == ["10.1.0.5"] and ready[0]["targetRef"]["name"] == "cart-1", slices
    ports = {p["name"]: p["port"] for p in slices[0]["ports"]}
    assert ports == {"http": 8080, "extra": 81}, ports


def watches_while_things_change(s):
    s.run("create", "cm", "zero", "-n", "shop")
    w = s.watch("cm", "-n", "shop")
    first = w.stdout.readline().strip()  # the list is over: what follows comes by watch
    s.run("create", "cm", "one", "-n", "shop", "--from-literal=a=b")
    s.run("label", "cm", "one", "-n", "shop", "x=y")
    s.run("delete", "cm", "one", "-n", "shop")
    lines = [w.stdout.readline().strip() for _ in range(3)]
    w.kill()
    w.wait()
    assert [first, *lines] == ["configmap/zero"] + ["configmap/one"] * 3, [first, *lines]


def applies_on_the_server_and_meets_conflicts(s):
    one = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: ssa, namespace: shop}\ndata: {a: '1', b: '2'}\n"
    has(s.run("apply", "--server-side", "-f", "-", text=one), "serverside-applied")
    has(s.run("apply", "--server-side", "--field-manager=other", "-f", "-",
              text=one.replace("'1'", "'9'"), code=1), 'conflict with "kubectl"', ".data.a")
    s.run("apply", "--server-side", "--field-manager=other", "--force-conflicts", "-f", "-",
          text=one.replace("'1'", "'9'"))
    s.run("apply", "--server-side", "-f", "-", text=one.replace("a: '1', ", ""))
    assert s.get("cm", "ssa", "-n", "shop")["data"] == {"a": "9", "b": "2"}
    s.run("apply", "--server-side", "--field-manager=other", "-f", "-", text=one.replace("a: '1', ", ""))
    assert s.get("cm", "ssa", "-n", "shop")["data"] == {"b": "2"}


def edits_replaces_and_diffs(s):
    has(s.run("edit", "pa", "default", "-n", "shop"), "edited")
    assert s.get("pa", "default", "-n", "shop")["spec"]["mtls"]["mode"] == "PERMISSIVE"
    sa = s.get("sa", "cart", "-n", "shop")
    sa["metadata"]["labels"] = {"k": "v"}
    s.run("replace", "-f", "-", text=json.dumps(sa))
    has(s.run("replace", "-f", "-", text=json.dumps(sa), code=1), "the object has been modified")
    changed = MESH.replace("mode: STRICT", "mode: DISABLE")
    has(s.run("diff", "-f", "-", text=changed, code=1), "DISABLE")
    has(s.run("apply", "--dry-run=server", "-f", "-", text=changed), "server dry run")
    assert s.get("pa", "default", "-n", "shop")["spec"]["mtls"]["mode"] == "PERMISSIVE"


def refuses_what_is_wrong(s):
    def apply(text):
        return s.run("apply", "-f", "-", text=text, code=1)
    has(apply("apiVersion: v1\nkind: Service\nmetadata: {name: x, namespace: shop}\n"
              "spec: {ports: [{port: 80, portt: 3}], selektor: {a: b}}"),
        *(['unknown field "spec.ports[0].portt"', 'unknown field "spec.selektor"'] if s.minor >= 27 else
          ['(Service.spec.ports[0]): unknown field "portt"', '(Service.spec): unknown field "selektor"']))
    has(apply("apiVersion: v1\nkind: Service\nmetadata: {name: Bad_Name, namespace: shop}\n"
              "spec: {ports: [{port: 80}]}"), "a DNS-1035 label must")
    has(apply("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x, namespace: absent}"),
        'namespaces "absent" not found')
    has(apply("apiVersion: security.istio.io/v1\nkind: PeerAuthentication\n"
              "metadata: {name: x, namespace: shop}\nspec: {mtls: {mode: STRCIT}}"),
        'Unsupported value: "STRCIT"')
    has(s.run("create", "ns", "shop", code=1), "already exists")
    has(s.run("get", "nothing", code=1), "the server doesn't have a resource type")

def explains_what_it_takes(s):
    has(s.run("explain", "pods"), "Pod", "metadata", "spec")
    has(s.run("explain", "authorizationpolicies.spec"), "AuthorizationPolicy", "targetRefs",
        "One of: ALLOW, DENY, AUDIT, CUSTOM.")
    has(s.run("explain", "authorizationpolicies.spec.rules.when.key"), "<string>")
    has(s.run("explain", "httproutes.spec.rules.backendRefs", "--recursive"), "weight", "requestMirror")
    has(s.run("explain", "svc.spec.ports.targetPort"), "<string>" if s.minor < 27 else "IntOrString")
    has(s.run("explain", "svc.spec.nothing", code=1), 'field "nothing" does not exist')
    has(s.run("apply", "-f", "-", code=1, text="apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\n"
              "metadata: {name: x, namespace: default}\nspec: {actoin: DENY}"), "unknown field", "actoin")


def patches_deep_objects(s):
    for image in ("a", "b"):
        out = s.run("apply", "-f", "-", text=DEEP.replace("IMAGE", image))
        has(out, *[f"{o} {'created' if image == 'a' else 'configured'}" for o in (
            "deployment.apps/deep", "pod/deep", "customresourcedefinition.apiextensions.k8s.io/deeps.example.com")])
        assert "calculating patch" not in out, out
    template = s.get("deploy", "deep")["spec"]["template"]
    assert template["spec"]["containers"][0]["image"] == "b" and template["metadata"]["labels"] == {"app": "deep"}
    has(s.run("delete", "deploy/deep", "pod/deep", "crd/deeps.example.com"), "deleted")


def gets_in_many_forms(s):
    for name, size in (("one", "3"), ("two", "1"), ("three", "2")):
        s.run("create", "cm", name, f"--from-literal=size={size}")
    assert s.run("get", "cm", "--sort-by={.data.size}", "-o", "name").split() == [
        "configmap/two", "configmap/three", "configmap/one"]
    assert s.run("get", "cm", "-o", "jsonpath={.items[?(@.data.size=='2')].metadata.name}") == "three"
    assert s.run("get", "cm", "--field-selector", "metadata.name=one", "-o", "custom-columns=N:.data.size",
                 "--no-headers").strip() == "3"
    has(s.run("get", "cm", "one", "two", "-o", "yaml"), "kind: List", 'size: "3"', 'size: "1"')
    has(s.run("api-versions"), "v1", "security.istio.io/v1beta1", "gateway.networking.k8s.io/v1")
    has(s.run("version"), "Client Version", "Server Version")
    has(s.run("cluster-info"), "is running at")
    has(s.run("get", "ns", "-w", "--request-timeout=1s"), "default", "kube-system")
    has(s.run("describe", "ap", "cart-in", "-n", "shop"), "AuthorizationPolicy", "Namespaces")
    has(s.run("delete", "cm", "one", "--dry-run=server"), "deleted (server dry run)")
    has(s.run("delete", "cm", "one", "--cascade=orphan"), "deleted")
    has(s.run("delete", "cm", "two", "--cascade=foreground"), "deleted")
    has(s.run("delete", "cm", "--all", "--cascade=background"), "three")
    has(s.run("delete", "cm", "one", code=1), 'configmaps "one" not found')
    s.run("delete", "cm", "one", "--ignore-not-found")


def changes_and_waits(s):
    has(s.run("create", "sa", "made"), "created")
    has(s.run("create", "secret", "generic", "kept", "--from-literal=a=b"), "created")
    has(s.run("create", "service", "clusterip", "made", "--tcp=80:8080"), "created")
    has(s.run("expose", "service", "made", "--name=again", "--port=81"), "exposed")
    listed = {"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": n}, "data": {}} for n in ("l1", "l2")]}
    has(s.run("apply", "-f", "-", text=json.dumps(listed)), "configmap/l1 created", "configmap/l2 created")
    has(s.run("wait", "--for=delete", "cm/l1", "--timeout=1s", code=1), "timed out waiting for the condition")
    has(s.run("cordon", "node-a"), "cordoned")
    has(s.run("taint", "nodes", "node-a", "k=v:NoSchedule"), "tainted")
    has(s.run("get", "nodes"), "SchedulingDisabled")
    has(s.run("uncordon", "node-a"), "uncordoned")
    has(s.run("delete", "node/node-a", "sa/made", "secret/kept", "service/made", "service/again", "cm/l1", "cm/l2"), "deleted")


def says_what_it_does_not_do(s):
    """Nothing hangs, and what is refused is refused by name."""
    deployment = DEEP.split("---")[0].replace("IMAGE", "a")
    has(s.run("apply", "-f", "-", text=deployment), "created", "nothing here makes pods of a Deployment")
    has(s.run("rollout", "status", "deploy/deep", code=1), "exceeded its progress deadline")
    has(s.run("set", "image", "deploy/deep", "main=b"), "image updated")
    has(s.run("rollout", "status", "deploy/deep", code=1), "exceeded its progress deadline")
    has(s.run("rollout", "restart", "deploy/deep"), "restarted")
    has(s.run("scale", "deploy", "deep", "--replicas=2", code=1), "deployments/scale is not served here", "ambit run")
    s.run("delete", "deploy", "deep")
    has(s.run("top", "pods", code=1), "Metrics API not available")
    has(s.run("exec", "cart-1", "-n", "shop", "--", "ls", code=1), "pods/exec is a kubelet's")
    has(s.run("get", "pv", code=1), 'the server doesn\'t have a resource type "pv"')


def says_where_output_of_workloads_is(s):
    has(s.run("logs", "cart-1", "-n", "shop", code=1), "pods/log is a kubelet's", "ambit ps -o wide")


def tells_which_nodes_live(s):
    """A heartbeat is a change of the node's Lease; here it comes from the node's own credential."""
    lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
             "metadata": {"name": "node-a", "namespace": "kube-node-lease"}, "spec": {"holderIdentity": "node-a"}}
    s.run("apply", "-f", "-", text="apiVersion: v1\nkind: Node\nmetadata: {name: node-a}", user="node")
    has(s.run("get", "nodes"), "node-a   Unknown")
    deadline = time.monotonic() + 60
    seen = [""]
    while not (" Ready " in seen[0] and "AgentAlive" in seen[1]) and time.monotonic() < deadline:
        lease["spec"]["leaseTransitions"] = lease["spec"].get("leaseTransitions", 0) + 1
        s.run("apply", "-f", "-", text=json.dumps(lease), user="node")
        seen = [s.run("get", "nodes"), s.run("describe", "node", "node-a")]
    has(seen[1], "AgentAlive", "the node's agent renews its lease")
    has(s.run("wait", "--for=condition=Ready=Unknown", "node/node-a", "--timeout=60s"), "condition met")
    has(s.run("get", "nodes"), "node-a   NotReady")
    has(s.run("describe", "node", "node-a"), "NodeStatusUnknown")


def knows_who_asks(s):
    has(s.run("auth", "can-i", "create", "pods", "-n", "shop"), "yes")
    has(s.run("auth", "can-i", "create", "namespaces", user="node", code=1), "no")
    has(s.run("auth", "can-i", "--list", "-n", "shop"), "*.*")
    if s.minor >= 27:
        has(s.run("auth", "whoami"), "admin", "system:masters")
    has(s.run("get", "pods", "-A", user="node", code=1), "a node may only read its own pods")
    has(s.run("get", "pods", "-A", "--field-selector", "spec.nodeName=node-a", user="node"), "cart-1")
    has(s.run("annotate", "pod", "cart-1", "-n", "shop", "ambient.istio.io/redirection=enabled",
              user="node"), "annotated")
    has(s.run("get", "secrets", "-A", user="node", code=1), "cannot list resource")
    has(s.run("delete", "ns", "shop", user="node", code=1), "cannot delete resource")
    has(s.run("get", "ns", "--as", "somebody", code=1), "not supported")


def gives_out_tokens(s):
    if s.minor >= 24:
        token = s.run("create", "token", "cart", "-n", "shop", "--audience=istio-ca", "--bound-object-kind=Pod",
                      "--bound-object-name=cart-1").strip()
        assert s.run("create", "token", "cart", "-n", "shop").strip()
        has(s.run("create", "token", "cart", "-n", "shop", "--duration=1s", code=1), "10 minutes")
    else:
        wanted = {"kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1", "spec": {
            "audiences": ["istio-ca"], "boundObjectRef": {"kind": "Pod", "apiVersion": "v1", "name": "cart-1"}}}
        token = json.loads(s.run("create", "--raw", "/api/v1/namespaces/shop/serviceaccounts/cart/token", "-f", "-",
                                 text=json.dumps(wanted)))["status"]["token"]
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview",
              "spec": {"token": token, "audiences": ["istio-ca"]}}
    def ask(audience="istio-ca"):
        review["spec"]["audiences"] = [audience]
        return json.loads(s.run("create", "-f", "-", "-o", "json", text=json.dumps(review)))["status"]
    status = ask()
    assert status["authenticated"] and status["user"]["username"] == "system:serviceaccount:shop:cart"
    assert status["user"]["extra"]["authentication.kubernetes.io/pod-name"] == ["cart-1"]
    assert "authenticated" not in ask("other")
    s.run("delete", "pod", "cart-1", "-n", "shop", "--grace-period=0", "--force")
    assert "authenticated" not in ask()


def survives_kill_9(s):
    s.run("create", "cm", "kept", "-n", "shop")
    s.kill()
    s.start()
    assert s.get("cm", "kept", "-n", "shop")["metadata"]["name"] == "kept"
    has(s.run("label", "cm", "kept", "-n", "shop", "a=b"), "labeled")


def deletes_and_waits(s):
    s.run("run", "p", "--image=x", "-n", "shop")
    has(s.run("delete", "pod", "p", "-n", "shop"), "deleted")
    has(s.run("delete", "pa,ap", "--all", "-n", "shop"), "deleted")
    has(s.run("delete", "ns", "shop", "--timeout=30s"), "deleted")
    has(s.run("get", "ns", "shop", code=1), "not found")
    has(s.run("delete", "ns", "default", code=1), "may not be deleted")


STEPS = [applies_a_mesh_twice_and_a_change, shows_tables_and_selects, labels_and_annotates,
         patches_in_every_form, makes_endpoint_slices, watches_while_things_change,
         applies_on_the_server_and_meets_conflicts, edits_replaces_and_diffs, refuses_what_is_wrong,
         explains_what_it_takes, patches_deep_objects, says_where_output_of_workloads_is, gets_in_many_forms,
         tells_which_nodes_live, changes_and_waits, says_what_it_does_not_do, knows_who_asks, gives_out_tokens, survives_kill_9, deletes_and_waits]


def main():
    server = Server()
    failed = 0
    for n, step in enumerate(STEPS, 1):
        try:
            step(server)
            print(f"ok {n} - kubectl_{step.__name__}")
        except Exception as e:  # a step that fails must not hide the others
            failed += 1
            print("".join(f"# {line}\n" for line in f"{type(e).__name__}: {e}".splitlines()), end="")
            print(f"not ok {n} - kubectl_{step.__name__}")
        sys.stdout.flush()
    code = server.stop()
    print(f"{'ok' if code == 0 else 'not ok'} {len(STEPS) + 1} - the_server_ends_in_order")
    print(f"1..{len(STEPS) + 1}")
    return failed > 0 or code != 0


if __name__ == "__main__":
    sys.exit(main())
