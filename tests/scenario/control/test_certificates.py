# SPDX-License-Identifier: Apache-2.0
"""Certificates: every recorded call of CreateCertificate against ours, and whom the node authorizer believes."""
import base64
import contextlib
import datetime
import json
import pathlib
import socket
import threading

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import NameOID

from lib.wait import until
from plane import Ads, Refused, create_certificate, named, pod

RECORDED = json.loads((pathlib.Path(__file__).resolve().parents[2] /
                       "vectors/control/ca/create-certificate-self-signed.json").read_text(encoding="utf-8"))

# What we answer otherwise, and why.
STRICTER = {
    "other-trust-domain": ("UNAUTHENTICATED", "request impersonation authentication failure"),
    "ttl-huge": ("INVALID_ARGUMENT", None),       # a lifetime that overflows is no wish for the default
    "key-rsa-1024": ("INVALID_ARGUMENT", None),   # too weak
    "csr-bad-signature": ("INVALID_ARGUMENT", None),  # the same refusal in other words
    "csr-wrong-pem-type": ("INVALID_ARGUMENT", None),  # what is no request by its own word is none
}
# Where ours is the laxer one: nobody can use such a certificate in TLS 1.3, so nothing is gained by it.
LAXER = {"key-p256k1": ("OK", None)}
# Ways in that we do not have: a client certificate is no credential here, and there is no port in the clear.
ABSENT = {"client-cert-own", "client-cert-impersonate", "client-cert-and-token", "plaintext-port",
          "expired-token", "expired-token-own", "forged-token"}  # our tokens are no JWTs: nothing to forge or wait for


def csr_pem(key=None, san="spiffe://cluster.local/ns/x/sa/y", cn=None, dns=None):
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, cn)] if cn else [])
    names = [x509.UniformResourceIdentifier(san)] + ([x509.DNSName(dns)] if dns else [])
    key = key or ec.generate_private_key(ec.SECP256R1())
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject).add_extension(
        x509.SubjectAlternativeName(names), True)
    digest = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return builder.sign(key, digest).public_bytes(serialization.Encoding.PEM).decode()


def broken_signature():
    der = bytearray(base64.b64decode("".join(csr_pem().splitlines()[1:-1])))
    der[-3] ^= 1
    return "-----BEGIN CERTIFICATE REQUEST-----\n" + base64.b64encode(der).decode() + \
        "\n-----END CERTIFICATE REQUEST-----\n"


GARBAGE_PEM = "-----BEGIN CERTIFICATE REQUEST-----\nZ2FyYmFnZQ==\n-----END CERTIFICATE REQUEST-----\n"
REQUESTS = {
    "csr-empty": lambda: "", "csr-garbage": lambda: "garbage", "csr-garbage-pem": lambda: GARBAGE_PEM,
    "csr-bad-signature": broken_signature, "csr-two-blocks": lambda: csr_pem() + csr_pem(),
    "csr-trailing-text": lambda: csr_pem() + "trailing",
    "csr-wrong-pem-type": lambda: csr_pem().replace("CERTIFICATE REQUEST", "SOMETHING"),
    "csr-new-pem-type": lambda: csr_pem().replace("CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST"),
    "csr-crlf": lambda: csr_pem().replace("\n", "\r\n"), "csr-garbage-own": lambda: "garbage",
    "csr-garbage-no-token": lambda: "garbage", "csr-garbage-denied-identity": lambda: "garbage",
    "csr-foreign-san": lambda: csr_pem(san="spiffe://cluster.local/ns/evil/sa/evil", dns="evil.example"),
    "csr-cn": lambda: csr_pem(cn="some name"), "ttl-above-max-and-bad-csr": lambda: "garbage",
    "key-rsa-2048": lambda: csr_pem(rsa.generate_private_key(65537, 2048)),
    "key-rsa-1024": lambda: csr_pem(rsa.generate_private_key(65537, 1024)),
    "key-rsa-4096": lambda: csr_pem(rsa.generate_private_key(65537, 4096)),
    "key-p384": lambda: csr_pem(ec.generate_private_key(ec.SECP384R1())),
    "key-p521": lambda: csr_pem(ec.generate_private_key(ec.SECP521R1())),
    "key-p256k1": lambda: csr_pem(ec.generate_private_key(ec.SECP256K1())),
    "key-ed25519": lambda: csr_pem(ed25519.Ed25519PrivateKey.generate()),
}


@pytest.fixture(scope="module")
def world(api):
    """The pods that the recording had."""
    def space(name):
        if name != "istio-system":
            api.create(named("Namespace", name))

    def account(ns, name):
        if (ns, name) != ("istio-system", "ztunnel"):
            api.create(named("ServiceAccount", name, ns))
    spaces = ("cc-a", "istio-system", "cc-z")
    for s in spaces:
        space(s)
    accounts = [("cc-a", f"sa-{n}") for n in ("a", "b", "none", "succ", "fail", "pend", "unsched", "host", "term",
                                              "plain")] + [("cc-z", "ztunnel"), ("istio-system", "other")]
    for ns, name in accounts:
        account(ns, name)
    pods = {
        "zt-1": pod("zt-1", "istio-system", "10.7.0.1", "ztunnel", "node-1"),
        "zt-2": pod("zt-2", "istio-system", "10.7.0.2", "ztunnel", "node-2"),
        "zt-nowhere": pod("zt-nowhere", "istio-system", None, "ztunnel", "", phase="Pending", ready=False),
        "other": pod("other", "istio-system", "10.7.0.3", "other", "node-1"),
        "zt-z": pod("zt-z", "cc-z", "10.7.0.4", "ztunnel", "node-1"),
        "a": pod("a", "cc-a", "10.7.1.1", "sa-a", "node-1"), "b": pod("b", "cc-a", "10.7.1.2", "sa-b", "node-2"),
        "succ": pod("succ", "cc-a", "10.7.1.3", "sa-succ", "node-1", phase="Succeeded", ready=False),
        "fail": pod("fail", "cc-a", "10.7.1.4", "sa-fail", "node-1", phase="Failed", ready=False),
        "pend": pod("pend", "cc-a", None, "sa-pend", "node-1", phase="Pending", ready=False),
        "unsched": pod("unsched", "cc-a", None, "sa-unsched", "", phase="Pending", ready=False),
        "host": pod("host", "cc-a", "10.7.1.7", "sa-host", "node-1", hostNetwork=True),
        "term": pod("term", "cc-a", "10.7.1.8", "sa-term", "node-1"),
        "plain": pod("plain", "cc-a", "10.7.1.9", "sa-plain", "node-1", captured=False)}
    for p in pods.values():
        p["spec"] = {k: v for k, v in p["spec"].items() if v != ""}
    pods["term"]["metadata"]["finalizers"] = ["example.com/hold"]
    made = {name: api.create(p) for name, p in pods.items()}
    api.delete(pods["term"])
    yield made
    api.patch(pods["term"], {"metadata": {"finalizers": None}})
    for name in ("zt-1", "zt-2", "zt-nowhere", "other"):
        api.delete(pods[name])
    for s in ("cc-a", "cc-z"):
        api.delete(named("Namespace", s))


@pytest.fixture(scope="module")
def ready(plane, api, world):
    """The control plane has heard of all of them."""
    with plane.channel() as channel:
        stream = Ads(channel, api.token_for("istio-system", "ztunnel")).first()
        last = "Kubernetes//Pod/cc-a/plain"
        until("the pods are known", lambda: last in stream.held())
        stream.close()


def caller(api, world, name):
    """(token, more metadata) of the caller of a recorded call."""
    def bound(ns, account, of, **options):
        return api.token_for(ns, account, world[of], **options)
    if name in ("no-token", "no-token-own", "csr-garbage-no-token"):
        return None, {}
    if name == "wrong-audience":
        return bound("istio-system", "ztunnel", "zt-1", audience="another"), {}
    if name == "two-audiences":
        return bound("istio-system", "ztunnel", "zt-1", audience=["istio-ca", "another"]), {}
    if name == "garbage-token":
        return "garbage", {}
    if name in ("identity-other-node-right-caller", "identity-node1-from-node2"):
        return bound("istio-system", "ztunnel", "zt-2"), {}
    if name.startswith("untrusted-account"):
        return bound("istio-system", "other", "other"), {}
    if name == "ztunnel-of-other-namespace":
        return bound("cc-z", "ztunnel", "zt-z"), {}
    if name.startswith("unbound-token"):
        return api.token_for("istio-system", "ztunnel"), {}
    if name == "caller-not-scheduled":
        return bound("istio-system", "ztunnel", "zt-nowhere"), {}
    if name.startswith("caller-pod-"):
        gone = pod("zt-gone", "istio-system", "10.7.0.9", "ztunnel", "node-2")
        token = api.token_for("istio-system", "ztunnel", api.create(gone))
        api.delete(gone)
        if "recreated" in name:
            api.create(gone)
            api.delete(gone)
        return token, {}
    meta = {"no-clusterid": {"cluster": None}, "other-clusterid": {"cluster": "elsewhere"},
            "empty-clusterid": {"cluster": ""}, "basic-scheme": {"scheme": "Basic"},
            "lower-bearer": {"scheme": "bearer"}}
    return bound("istio-system", "ztunnel", "zt-1"), meta.get(name, {})


@pytest.mark.parametrize("row", [r for r in RECORDED if r["name"] not in ABSENT], ids=lambda r: r["name"])
def test_create_certificate_answers_as_recorded(channel, api, world, ready, row):
    name = row["name"]
    token, meta = caller(api, world, name)
    csr = REQUESTS.get(name, csr_pem)()
    code, text, chain = create_certificate(channel, csr, token, row["impersonated_identity"],
                                           row["validity_duration"], **meta)
    recorded = (row["result"]["code"], row["result"].get("message"))
    wanted = STRICTER.get(name) or LAXER.get(name) or recorded
    assert code == wanted[0], text
    if wanted[1] is not None:
        assert text == wanted[1]
    if wanted is not recorded:
        assert (code, text) != recorded, "listed, but the same"
    elif code == "OK":
        check_chain(row, chain)


def check_chain(row, chain):
    assert len(chain) == row["chain_elements"]
    assert all(element.endswith("\n") for element in chain)
    leaf = x509.load_pem_x509_certificate(chain[0].encode())
    want = row["leaf"]
    sans = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert sans.critical
    assert ["UniformResourceIdentifier:" + u for u in
            sans.value.get_values_for_type(x509.UniformResourceIdentifier)] == want["san"]
    assert len(list(sans.value)) == 1
    now = datetime.datetime.utcnow()
    assert abs((now - leaf.not_valid_before).total_seconds() + want["not_before_minus_request_s"]) < 30
    assert abs((leaf.not_valid_after - now).total_seconds() - want["not_after_minus_request_s"]) < 30
    assert leaf.subject.rfc4514_string() == "", "names come from the identity alone"


def test_a_pod_that_left_the_node_is_no_reason_for_a_certificate_any_more(channel, api, world, ready, ns):
    api.create(named("ServiceAccount", "moving", ns))
    moving = pod("moving", ns, "10.7.2.1", "moving", "node-1")
    token = api.token_for("istio-system", "ztunnel", world["zt-1"])
    wanted = f"spiffe://cluster.local/ns/{ns}/sa/moving"

    def code():
        return create_certificate(channel, csr_pem(), token, wanted)[0]
    assert code() == "UNAUTHENTICATED"
    api.create(moving)
    until("it may be asked for", lambda: code() == "OK")
    api.delete(moving)
    until("it may not be asked for any more", lambda: code() == "UNAUTHENTICATED")


def test_a_name_is_worth_nothing_and_the_pod_that_has_it_now_everything(plane, channel, api, world, ready, ns):
    """One name, again and again another pod, with another account and on another node, while two ask without a pause."""
    accounts, nodes = ("first", "second"), ("zt-1", "zt-2")
    for name in accounts:
        api.create(named("ServiceAccount", name, ns))
    tokens = {zt: api.token_for("istio-system", "ztunnel", world[zt]) for zt in nodes}
    csr, ended, odd = csr_pem(), threading.Event(), []

    def code(zt, account, by=channel):
        return create_certificate(by, csr, tokens[zt], f"spiffe://cluster.local/ns/{ns}/sa/{account}")[0]

    def ask_on():
        with plane.channel() as own:
            while not ended.is_set():
                odd.extend(got for zt in nodes for account in accounts
                           if (got := code(zt, account, own)) not in ("OK", "UNAUTHENTICATED"))
    askers = [threading.Thread(target=ask_on) for _ in range(2)]
    for asker in askers:
        asker.start()
    try:
        for turn in range(8):
            account, zt = accounts[turn % 2], nodes[turn // 2 % 2]
            reused = pod("reused", ns, f"10.7.3.{turn % 2 + 1}", account, zt.replace("zt", "node"))
            api.create(reused)
            until("who is there now may be asked for", lambda z=zt, a=account: code(z, a) == "OK")
            others = {(z, a) for z in nodes for a in accounts} - {(zt, account)}
            assert {code(*other) for other in others} == {"UNAUTHENTICATED"}, (turn, account, zt)
            api.delete(reused)
            until("nobody is there", lambda z=zt, a=account: code(z, a) == "UNAUTHENTICATED")
    finally:
        ended.set()
        for asker in askers:
            asker.join()
    assert not odd


@pytest.mark.parametrize("spec", [{"serviceAccountName": "second"}, {"nodeName": "node-2"}], ids=["account", "node"])
def test_a_pod_does_not_change_account_or_node(api, ns, spec):
    for name in ("first", "second"):
        api.create(named("ServiceAccount", name, ns))
    staying = api.create(pod("staying", ns, "10.7.4.1", "first", "node-1"))
    with pytest.raises(Refused) as error:
        api.patch(staying, {"spec": spec})
    assert error.value.status == 422, error.value.body


def test_the_chain_ends_in_the_root_that_clients_are_given(plane, channel, api, world, ready):
    token = api.token_for("istio-system", "ztunnel", world["zt-1"])
    chain = create_certificate(channel, csr_pem(), token)[2]
    root = pathlib.Path(plane.data, "root-cert.pem")
    assert chain[-1] == root.read_text(encoding="ascii")
    assert root.stat().st_mode & 0o777 == 0o644
    assert pathlib.Path(plane.data, "ca", "ca-key.pem").stat().st_mode & 0o777 == 0o600


def test_unknown_methods_are_unimplemented(channel):
    call = channel.unary_unary("/istio.v1.auth.IstioCertificateService/Other",
                               request_serializer=bytes, response_deserializer=bytes)
    import grpc
    with pytest.raises(grpc.RpcError) as error:
        call(b"", timeout=20)
    assert error.value.code() == grpc.StatusCode.UNIMPLEMENTED


def test_who_fills_the_door_with_silence_keeps_nobody_out(plane, api, world, ready):
    """More connections that say nothing than there is room for handshakes, all of one address: the next caller, of another."""
    host, port = plane.addresses["discovery"].split(":")
    token = api.token_for("istio-system", "ztunnel", world["zt-1"])
    with contextlib.ExitStack() as stack:
        for n in range(1200):
            silent = stack.enter_context(socket.socket())
            silent.bind(("127.0.0.2", 0))
            silent.connect((host, int(port)))
        for _ in range(3):
            with plane.channel() as fresh:
                assert create_certificate(fresh, csr_pem(), token)[0] == "OK"
