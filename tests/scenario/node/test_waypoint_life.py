# SPDX-License-Identifier: Apache-2.0
"""The life of a waypoint without a cluster: a Gateway becomes processes on nodes, with identities of their own, and
nothing at all when it is gone. What runs is a stand-in; that it serves is tested elsewhere."""
import contextlib
import json
import os
import socket
import threading

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from conftest import NODES, is_ready
from lib import netns, topo
from lib.wait import never, until
from lib.wiretypes import ca


def count_ready(place, ns, n):
    return until(f"{n} replicas are ready", lambda: len(place.ready(ns)) == n and len(place.living(ns)) == n and place.ready(ns), 20)


def gone(place, ns):
    until("all replicas are gone", lambda: not place.pods(ns), 20)


def traces(place):
    """What agents keep on disk of local workloads."""
    return [os.path.join(folder, name) for n in NODES for folder in
            (os.path.join(place.run_dir, f"node{n}", part) for part in ("local", "netns", "secrets"))
            if os.path.isdir(folder) for name in os.listdir(folder)]


def test_a_gateway_becomes_a_waypoint_with_an_identity_of_its_own_and_goes_without_a_trace(place):
    place.apply_waypoint("alpha")
    pod, = count_ready(place, "alpha", 1)
    labels = pod["metadata"]["labels"]
    assert labels["gateway.networking.k8s.io/gateway-name"] == "way"
    assert labels["gateway.istio.io/managed"] == "istio.io-mesh-controller"
    assert labels["istio.io/dataplane-mode"] == "none" and labels["istio.io/waypoint-for"] == "service"
    told = json.loads(place.ask(pod, "/told"))
    env = told["env"]
    assert env["GATEWAY"] == "way" and env["NAMESPACE"] == "alpha" and env["SERVICE_ACCOUNT"] == "way"
    assert env["XDS_ADDRESS"] == place.control.url and env["POD_NAME"] == pod["metadata"]["name"]
    assert env["INSTANCE_IP"] == pod["status"]["podIP"] and env["NODE_NAME"] == pod["spec"]["nodeName"]
    assert told["uid"] > 1000 and told["gid"] > 1000 and told["groups"] in ([], [told["gid"]])
    assert not told["mode"] & 0o007 and not told["writable"]
    assert certificate_for(place, told["token"]) == "spiffe://cluster.local/ns/alpha/sa/way"
    place.ambit.delete("gateway", "alpha", "way")
    gone(place, "alpha")
    until("nothing is left on the nodes", lambda: not traces(place), 10)
    for kind in ("services", "serviceaccounts", "endpointslices", "pods"):
        until(f"nor one of its {kind}", lambda k=kind: not [o for o in place.all(k, "alpha") if o["metadata"]["name"].startswith("way")])
    # With its pod went its token.
    assert certificate_for(place, told["token"]) == "UNAUTHENTICATED"


def certificate_for(place, token):
    """The identity that the CA gives the bearer, or why not."""
    key = ec.generate_private_key(ec.SECP256R1())
    csr = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
    with open(place.control.root_file, "rb") as f:
        credentials = grpc.ssl_channel_credentials(f.read())
    server = topo.node4(100)
    with relay(place.control.ns, server, 15012) as port, \
            grpc.secure_channel(f"127.0.0.1:{port}", credentials,
                                [("grpc.ssl_target_name_override", server)]) as channel:
        call = channel.unary_unary("/istio.v1.auth.IstioCertificateService/CreateCertificate",
                                   request_serializer=ca.CreateCertificateRequest.SerializeToString,
                                   response_deserializer=ca.CreateCertificateResponse.FromString)
        pem = csr.public_bytes(serialization.Encoding.PEM).decode()
        try:
            answer = call(ca.CreateCertificateRequest(csr=pem, validity_duration=3600), timeout=10,
                          metadata=[("authorization", f"Bearer {token}"), ("clusterid", "Kubernetes")])
        except grpc.RpcError as error:
            return error.code().name
    leaf = x509.load_pem_x509_certificate(answer.cert_chain[0].encode())
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return names.get_values_for_type(x509.UniformResourceIdentifier)[0]


@contextlib.contextmanager
def relay(ns, address, port):
    """A port of this host's loopback that leads into a namespace."""
    listener = socket.create_server(("127.0.0.1", 0))

    def pump(source, sink):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)

    def serve():
        with contextlib.suppress(OSError):
            while True:
                near, _ = listener.accept()
                far = netns.connect(ns, address, port, 5)
                for pair in ((near, far), (far, near)):
                    threading.Thread(target=pump, args=pair, daemon=True).start()
    threading.Thread(target=serve, daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.close()


def ready(place, n):
    """status and reason of the node's condition Ready."""
    node = place.get("node", "", f"node{n}")
    return [(c["status"], c["reason"]) for c in node["status"].get("conditions", []) if c["type"] == "Ready"]


def test_a_node_says_that_it_is_ready_and_what_it_is(place):
    for n in NODES:
        until("the node is ready", lambda n=n: ready(place, n) == [("True", "AgentAlive")], 20)
        status = until("the node says what it is", lambda n=n: "nodeInfo" in (s := place.get("node", "", f"node{n}")["status"]) and s, 20)
        assert {"type": "InternalIP", "address": topo.node4(n)} in status["addresses"]
        assert status["nodeInfo"]["kernelVersion"] == os.uname().release


def test_replicas_and_jobs_are_counted(place):
    made, ended = (place.metric_of_control(f"ambit_waypoint_pods_{what}_total") for what in ("made", "ended"))
    place.apply_waypoint("counted")
    count_ready(place, "counted", 1)
    until("the replica is counted", lambda: place.metric_of_control("ambit_waypoint_pods_made_total") == made + 1
          and place.metric_of_control("ambit_waypoint_pods") >= 1)
    place.ambit.delete("gateway", "counted", "way")
    gone(place, "counted")
    until("its end is counted", lambda: place.metric_of_control("ambit_waypoint_pods_ended_total") == ended + 1)
    for n in NODES:
        assert place.metric_of_agent(n, "ambit_jobs_refused_total", pool="local") == 0
        assert place.metric_of_agent(n, "ambit_accept_pauses_total") == 0
    assert sum(place.metric_of_agent(n, "ambit_jobs_total", pool="local") for n in NODES) >= 1


def test_replicas_are_spread_scaled_and_scaled_back(place):
    place.apply_waypoint("beta", **{"ambit.io/replicas": "3"})
    pods = count_ready(place, "beta", 3)
    per_node = [sum(p["spec"]["nodeName"] == f"node{n}" for p in pods) for n in NODES]
    assert sorted(per_node) == [1, 2]
    uids = {json.loads(place.ask(p, "/told"))["uid"] for p in pods if p["spec"]["nodeName"] == f"node{NODES[per_node.index(2)]}"}
    assert len(uids) == 2  # two on one node are strangers to each other
    place.apply_waypoint("beta", **{"ambit.io/replicas": "1"})
    count_ready(place, "beta", 1)
    place.apply_waypoint("beta", **{"ambit.io/replicas": "0"})
    gone(place, "beta")
    place.ambit.delete("gateway", "beta", "way")


def test_rolling_never_has_fewer_ready_than_wanted(place):
    place.apply_waypoint("gamma", **{"ambit.io/replicas": "2"})
    before = {p["metadata"]["name"] for p in count_ready(place, "gamma", 2)}
    place.apply_waypoint("gamma", **{"ambit.io/replicas": "2", "ambit.io/restarted-at": "now"})
    fewest = [2]

    def rolled():
        fewest[0] = min(fewest[0], len(place.ready("gamma")))
        names = {p["metadata"]["name"] for p in place.ready("gamma")}
        return len(names) == 2 and not names & before
    until("both were replaced", rolled, 30)
    assert fewest[0] == 2
    place.ambit.delete("gateway", "gamma", "way")
    gone(place, "gamma")


def test_one_that_crashes_is_not_ready_and_comes_back_at_its_address(place):
    place.apply_waypoint("delta")
    pod, = count_ready(place, "delta", 1)
    address = pod["status"]["podIP"]
    place.hold.touch()  # it is back before anybody could look
    try:
        place.ask(pod, "/crash")
        until("it is not ready", lambda: not is_ready(place.pods("delta")[0]), 10)
    finally:
        place.hold.unlink()
    pod, = count_ready(place, "delta", 1)
    assert pod["status"]["podIP"] == address
    assert [w["restarts"] for w in place.ambit.workloads() if w["namespace"] == "delta"] == [1]
    place.ambit.delete("gateway", "delta", "way")
    gone(place, "delta")


def test_readiness_is_its_own_word(place):
    place.apply_waypoint("epsilon")
    pod, = count_ready(place, "epsilon", 1)
    place.ask(pod, "/sick")
    until("it is not ready", lambda: not is_ready(place.pods("epsilon")[0]), 10)
    place.ask(pod, "/well")
    count_ready(place, "epsilon", 1)
    place.ambit.delete("gateway", "epsilon", "way")
    gone(place, "epsilon")


@pytest.mark.parametrize("how", ["kill", "stop"])
def test_it_survives_its_agent(place, how):
    ns = f"zeta-{how}"
    place.apply_waypoint(ns)
    pod, = count_ready(place, ns, 1)
    node = int(pod["spec"]["nodeName"].removeprefix("node"))
    getattr(place.agents[node].process, how)()
    assert place.ask(pod, "/told")
    place.start_agent(node)
    never("it is taken for dead", lambda: not place.ready(ns), 1.5)
    assert place.ready(ns)[0]["metadata"]["uid"] == pod["metadata"]["uid"]
    place.ambit.delete("gateway", ns, "way")
    gone(place, ns)
    until("nothing is left on the nodes", lambda: not traces(place), 10)


def test_a_node_whose_agent_is_silent_loses_its_replicas_to_another_and_ends_them_when_it_is_back(place):
    place.apply_waypoint("theta")
    pod, = count_ready(place, "theta", 1)
    node = int(pod["spec"]["nodeName"].removeprefix("node"))
    place.agents[node].process.kill()
    never("it is taken at once", lambda: place.living("theta")[0]["metadata"]["uid"] != pod["metadata"]["uid"], 3)
    moved = until("another node runs it", lambda: [p for p in place.ready("theta") if p["spec"]["nodeName"] != f"node{node}"], 40)
    assert len(moved) == 1 and place.ask(pod, "/told")  # the old one runs on, and nobody is sent to it
    assert len(place.pods("theta")) == 1
    until("nobody knows whether the node is ready", lambda: ready(place, node) == [("Unknown", "NodeStatusUnknown")], 60)
    place.start_agent(node)
    until("the node is ready again", lambda: ready(place, node) == [("True", "AgentAlive")], 20)
    until("the old one is ended", lambda: not [t for t in traces(place) if f"node{node}" in t], 20)
    place.ambit.delete("gateway", "theta", "way")
    gone(place, "theta")


def test_a_gateway_of_another_class_is_left_alone(place):
    place.apply_waypoint("eta")
    count_ready(place, "eta", 1)
    place.ambit.apply("""apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: other, namespace: eta}
spec:
  gatewayClassName: istio
  listeners: [{name: http, port: 80, protocol: HTTP}]
""")
    never("it gets a pod", lambda: len(place.living("eta")) != 1, 1.0)
    place.ambit.delete("gateway", "eta", "other")
    place.ambit.delete("gateway", "eta", "way")
    gone(place, "eta")
