# SPDX-License-Identifier: Apache-2.0
"""The control plane under test, an administrator of its API, and clients that behave as node proxies do."""
import base64
import http.client
import json
import os
import pathlib
import queue
import ssl
import threading
import urllib.error
import urllib.request

os.environ.setdefault("GRPC_VERBOSITY", "NONE")
# pylint: disable=wrong-import-position
import grpc  # noqa: E402

from lib.ports import free_port  # noqa: E402
from lib.proc import Process  # noqa: E402
from lib.wait import SCALE, until  # noqa: E402
from lib.wiretypes import (ADDRESS, AUTHORIZATION, BINDING, POLICY, ROUTE, TRAFFIC, authorization, ca,  # noqa: E402
                           waypoint, workload, xds)

ROOT = pathlib.Path(__file__).resolve().parents[3]
BUILD = os.environ.get("AMBIT_BUILD_ASAN", os.environ.get("AMBIT_BUILD", str(ROOT / "build")))
ISTIO = "/apis/security.istio.io/v1"
GATEWAY_API = "/apis/gateway.networking.k8s.io"
PATHS = {"Namespace": "/api/v1/namespaces", "Node": "/api/v1/nodes", "Pod": "/api/v1/namespaces/{}/pods",
         "Service": "/api/v1/namespaces/{}/services", "ServiceAccount": "/api/v1/namespaces/{}/serviceaccounts",
         "EndpointSlice": "/apis/discovery.k8s.io/v1/namespaces/{}/endpointslices",
         "AuthorizationPolicy": ISTIO + "/namespaces/{}/authorizationpolicies",
         "PeerAuthentication": ISTIO + "/namespaces/{}/peerauthentications",
         "Deployment": "/apis/apps/v1/namespaces/{}/deployments",
         "RequestAuthentication": ISTIO + "/namespaces/{}/requestauthentications",
         "DestinationRule": "/apis/networking.istio.io/v1/namespaces/{}/destinationrules",
         "GatewayClass": GATEWAY_API + "/v1/gatewayclasses", "Gateway": GATEWAY_API + "/v1/namespaces/{}/gateways",
         "HTTPRoute": GATEWAY_API + "/v1/namespaces/{}/httproutes",
         "GRPCRoute": GATEWAY_API + "/v1/namespaces/{}/grpcroutes",
         "TCPRoute": GATEWAY_API + "/v1alpha2/namespaces/{}/tcproutes",
         "ReferenceGrant": GATEWAY_API + "/v1beta1/namespaces/{}/referencegrants"}


class Refused(OSError):
    """The API server's answer to what it did not like; to wait.until it is a "not yet"."""

    def __init__(self, status, body):
        super().__init__(f"{status}: {body}")
        self.status, self.body = status, body


class Api:
    """The Kubernetes API as the owner of a kubeconfig sees it."""

    def __init__(self, kubeconfig):
        with open(kubeconfig, encoding="utf-8") as f:
            config = json.load(f)
        cluster = config["clusters"][0]["cluster"]
        self.server, self.token = cluster["server"], config["users"][0]["user"]["token"]
        self.tls = ssl.create_default_context(
            cadata=base64.b64decode(cluster["certificate-authority-data"]).decode())

    def ask(self, method, path, body=None, kind="application/json"):
        request = urllib.request.Request(self.server + path, method=method,
                                         data=None if body is None else json.dumps(body).encode(),
                                         headers={"Authorization": f"Bearer {self.token}", "Content-Type": kind})
        try:
            with urllib.request.urlopen(request, context=self.tls, timeout=20 * SCALE) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise Refused(error.code, error.read().decode(errors="replace")) from None

    @staticmethod
    def path(obj, name=True):
        base = PATHS[obj["kind"]].format(obj["metadata"].get("namespace"))
        return f"{base}/{obj['metadata']['name']}" if name else base

    def create(self, obj):
        """Status too, where it is given."""
        made = self.ask("POST", self.path(obj, name=False), obj)
        if "status" in obj:
            made = self.ask("PATCH", self.path(obj) + "/status", {"status": obj["status"]},
                            "application/merge-patch+json")
        return made

    def patch(self, obj, body, sub=""):
        return self.ask("PATCH", self.path(obj) + sub, body, "application/merge-patch+json")

    def get(self, obj):
        return self.ask("GET", self.path(obj))

    def delete(self, obj):
        return self.ask("DELETE", self.path(obj) + "?gracePeriodSeconds=0")

    def token_for(self, ns, account, pod=None, audience="istio-ca", seconds=3600):
        """A token of a service account, bound to a pod object if one is given."""
        spec = {"audiences": audience if isinstance(audience, list) else [audience], "expirationSeconds": seconds}
        if pod:
            spec["boundObjectRef"] = {"kind": "Pod", "apiVersion": "v1", "name": pod["metadata"]["name"],
                                      "uid": pod["metadata"]["uid"]}
        return self.ask("POST", f"/api/v1/namespaces/{ns}/serviceaccounts/{account}/token",
                        {"spec": spec})["status"]["token"]


class Quick(Api):
    """The same on one connection, for changes that follow one another as closely as can be."""

    def __init__(self, api):  # pylint: disable=super-init-not-called
        self.token = api.token
        self.conn = http.client.HTTPSConnection(api.server.removeprefix("https://"), context=api.tls, timeout=20 * SCALE)

    def ask(self, method, path, body=None, kind="application/json"):
        self.conn.request(method, path, None if body is None else json.dumps(body),
                          {"Authorization": f"Bearer {self.token}", "Content-Type": kind})
        answer = self.conn.getresponse()
        text = answer.read().decode()
        if answer.status >= 400:
            raise Refused(answer.status, text)
        return json.loads(text)


def pod(name, ns, ip, account="default", node="node-1", labels=None, captured=True, ready=True, phase="Running", **spec):
    return {"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "namespace": ns, "labels": labels or {"app": name},
                         "annotations": {"ambient.istio.io/redirection": "enabled"} if captured else {}},
            "spec": {"serviceAccountName": account, "nodeName": node,
                     "containers": [{"name": "app", "image": "example.invalid/app"}], **spec},
            "status": {"phase": phase, "conditions": [{"type": "Ready", "status": "True" if ready else "False"}],
                       **({"podIP": ip, "podIPs": [{"ip": ip}]} if ip else {})}}


def service(name, ns, ip=None, selector=None, ports=((80, 8080),), **spec):
    body = {"ports": [{"name": f"http-{p}", "port": p, "targetPort": t} for p, t in ports], **spec}
    if ip:
        body["clusterIP"] = ip
    if selector:
        body["selector"] = selector
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": ns}, "spec": body}


def policy(name, ns, action="ALLOW", rules=None, **spec):
    return {"apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy",
            "metadata": {"name": name, "namespace": ns},
            "spec": {"action": action, "rules": [{}] if rules is None else rules, **spec}}


def peer(name, ns, mode, **spec):
    return {"apiVersion": "security.istio.io/v1", "kind": "PeerAuthentication",
            "metadata": {"name": name, "namespace": ns}, "spec": {"mtls": {"mode": mode}, **spec}}


def named(kind, name, ns=None, **metadata):
    meta = {"name": name, **metadata}
    if ns:
        meta["namespace"] = ns
    return {"apiVersion": "v1", "kind": kind, "metadata": meta}


def free_address():
    return f"127.0.0.1:{free_port()}"


class Plane:
    """One stand-alone control plane on free ports. It keeps them when it is restarted."""

    def __init__(self, folder, *flags):
        self.folder, self.data, self.flags = str(folder), os.path.join(folder, "data"), flags
        self.process, self.addresses = None, None

    def start(self):
        at = self.addresses or {name: free_address() for name in ("discovery", "api", "monitoring")}
        argv = [os.path.join(BUILD, "ambitd"), "--standalone", "--data", self.data, "--listen", at["discovery"],
                "--api-listen", at["api"], "--monitoring", at["monitoring"], "--readiness", "", "--admin", "",
                *self.flags]
        self.process = Process("ambitd", argv, self.folder)
        self.process.wait_text("\tready", 20)
        with open(os.path.join(self.data, "addresses.json"), encoding="utf-8") as f:
            self.addresses = json.load(f)
        return self

    def kill(self):
        self.process.kill()

    def stop(self):
        code = self.process.stop(20)
        text = self.process.text()
        for word in ("ERROR: AddressSanitizer", "runtime error:", "ERROR: LeakSanitizer", "Assertion"):
            assert word not in text, text[text.index(word) - 200:text.index(word) + 4000]
        assert code == 0, text[-3000:]

    def admin(self):
        return Api(os.path.join(self.data, "admin.kubeconfig"))

    def metrics(self):
        with urllib.request.urlopen(f"http://{self.addresses['monitoring']}/metrics", timeout=10) as f:
            lines = f.read().decode().splitlines()
        return {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in lines if not line.startswith("#")}

    def channel(self, name="istiod.istio-system.svc"):
        with open(os.path.join(self.data, "root-cert.pem"), "rb") as f:
            credentials = grpc.ssl_channel_credentials(f.read())
        return grpc.secure_channel(self.addresses["discovery"], credentials, [
            ("grpc.ssl_target_name_override", name), ("grpc.max_receive_message_length", 200 << 20)])


def metadata(token=None, cluster="Kubernetes", scheme="Bearer"):
    out = []
    if token is not None:
        out.append(("authorization", f"{scheme} {token}"))
    if cluster is not None:
        out.append(("clusterid", cluster))
    return out


NODE_ID = "ztunnel~10.9.9.9~ztunnel-x.istio-system~istio-system.svc.cluster.local"
NODE_METADATA = {"INSTANCE_IPS": "10.9.9.9", "NAME": "ztunnel-x", "NAMESPACE": "istio-system",
                 "CLUSTER_ID": "Kubernetes", "NODE_NAME": "node-z"}


def node_of(node_id=NODE_ID, **changes):
    node = xds.Node(id=node_id)
    for key, value in {**NODE_METADATA, **changes}.items():
        if value is not None:
            node.metadata.fields[key].string_value = value
    return node


MESSAGES = {ADDRESS: workload.Address, AUTHORIZATION: authorization.Authorization, BINDING: waypoint.Binding,
            ROUTE: waypoint.Route, POLICY: waypoint.Policy, TRAFFIC: waypoint.Traffic}


class Answer:
    """One DeltaDiscoveryResponse."""

    def __init__(self, response):
        self.type, self.nonce, self.raw = response.type_url, response.nonce, response
        self.resources = {r.name: r for r in response.resources}
        self.removed = sorted(response.removed_resources)

    @property
    def names(self):
        return sorted(self.resources)

    @property
    def versions(self):
        return {name: r.version for name, r in self.resources.items()}

    def message(self, name):
        return MESSAGES[self.type].FromString(self.resources[name].resource.value)


class Ads:
    """A delta stream as a node proxy keeps it: what came is acknowledged unless the test does that itself."""

    def __init__(self, channel, token, ack=True, cluster="Kubernetes", paused=False):
        self._out, self._in, self.ack = queue.Queue(), queue.Queue(), ack
        self._reading = threading.Event()
        self.state = {ADDRESS: {}, AUTHORIZATION: {}}
        call = channel.stream_stream("/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources",
                                     request_serializer=xds.DeltaDiscoveryRequest.SerializeToString,
                                     response_deserializer=xds.DeltaDiscoveryResponse.FromString)
        self.call = call(iter(self._out.get, None), metadata=metadata(token, cluster))
        self.ended = threading.Event()
        self.error, self.on_answer = None, None  # called with each answer, once the state has taken it in
        if not paused:
            self._reading.set()
        threading.Thread(target=self._read, daemon=True).start()

    def resume(self):
        self._reading.set()

    def _read(self):
        self._reading.wait()
        try:
            for response in self.call:
                answer = Answer(response)
                state = {**self.state.get(answer.type, {}), **answer.resources}
                for name in answer.removed:
                    state.pop(name, None)
                self.state[answer.type] = state  # a new one each time: a test may just be looking through the old one
                if self.on_answer:
                    self.on_answer(answer)
                if self.ack:
                    self.send(answer.type, response_nonce=answer.nonce)
                self._in.put(answer)
        except grpc.RpcError as error:
            self.error = error
        self.ended.set()

    def send(self, kind, subscribe=(), unsubscribe=(), initial=None, node=None, **fields):
        request = xds.DeltaDiscoveryRequest(type_url=kind, resource_names_subscribe=subscribe,
                                            resource_names_unsubscribe=unsubscribe, **fields)
        request.initial_resource_versions.update(initial or {})
        if node is not None:
            request.node.CopyFrom(node)
        self._out.put(request)

    def first(self, kind=ADDRESS, **fields):
        self.send(kind, node=fields.pop("node", node_of()), **fields)
        return self

    def next(self, seconds=5.0):
        try:
            return self._in.get(timeout=seconds * SCALE)
        except queue.Empty:
            raise AssertionError(f"no response within {seconds} s; the stream's end: {self.error!r}") from None

    def newest(self):
        """The last that came."""
        answer = self.next()
        while not self._in.empty():
            answer = self._in.get()
        return answer

    def silent(self, seconds=0.5):
        try:
            answer = self._in.get(timeout=seconds)
        except queue.Empty:
            return
        raise AssertionError(f"unexpected: {answer.type} {answer.names} removed {answer.removed}")

    def drain(self):
        """Takes what came until nothing comes for a moment."""
        while True:
            try:
                self._in.get(timeout=0.6 * SCALE)
            except queue.Empty:
                return

    def status(self, seconds=5.0):
        """(code, text) of a stream that has to end."""
        assert self.ended.wait(seconds * SCALE), "the stream goes on"
        return self.error.code().name, self.error.details()

    def message(self, kind, name):
        """What the stream holds of that name now."""
        return MESSAGES[kind].FromString(self.state[kind][name].resource.value)

    def held(self, kind=ADDRESS):
        return {name: r.version for name, r in self.state[kind].items()}

    def close(self):
        self._out.put(None)
        self.call.cancel()


def create_certificate(channel, csr, token=None, impersonate=None, ttl=86400, seconds=10, **meta):
    """(code name, text, chain elements) of one CreateCertificate."""
    request = ca.CreateCertificateRequest(csr=csr, validity_duration=ttl)
    if isinstance(impersonate, str):
        request.metadata.fields["ImpersonatedIdentity"].string_value = impersonate
    elif impersonate is not None:
        request.metadata.fields["ImpersonatedIdentity"].number_value = impersonate
    call = channel.unary_unary("/istio.v1.auth.IstioCertificateService/CreateCertificate",
                               request_serializer=ca.CreateCertificateRequest.SerializeToString,
                               response_deserializer=ca.CreateCertificateResponse.FromString)
    try:
        response = call(request, metadata=metadata(token, **meta), timeout=seconds * SCALE)
    except grpc.RpcError as error:
        return error.code().name, error.details(), []
    return "OK", "", list(response.cert_chain)


def wait_for(what, probe, seconds=5.0):
    return until(what, probe, seconds)
