# SPDX-License-Identifier: Apache-2.0
"""Header names that a backend may read as another: '_' for '-', as programs behind CGI do."""
import base64
import json
import time

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils

from lib import l7, model


def octets(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Issuer:
    """Signs tokens."""

    def __init__(self):
        self.key = ec.generate_private_key(ec.SECP256R1())

    def jwks(self):
        n = self.key.public_key().public_numbers()
        return json.dumps({"keys": [{"kty": "EC", "crv": "P-256", "alg": "ES256", "kid": "k",
                                     "x": octets(n.x.to_bytes(32, "big")), "y": octets(n.y.to_bytes(32, "big"))}]})

    def token(self, **claims):
        head = {"alg": "ES256", "kid": "k"}
        claims = {"iss": "https://issuer.example", "exp": int(time.time()) + 600, **claims}
        text = ".".join(octets(json.dumps(part).encode()) for part in (head, claims))
        r, s = utils.decode_dss_signature(self.key.sign(text.encode(), ec.ECDSA(hashes.SHA256())))
        return f"{text}.{octets(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


def seen(http, *headers):
    r = http.get("/echo", *headers)
    assert r.status == 200, r.status
    return sorted((k, v) for k, v in r.json()["headers"] if k.replace("_", "-") in (
        "x-sub", "x-claims", "my-own", "x-forwarded-client-cert", "x-forwarded-proto", "x-request-id", "x-envoy-max-retries"))


@pytest.mark.parametrize("kind", ("h1", "h2"))
def test_a_claim_has_one_spelling(lab, kind):
    issuer = Issuer()
    rule = l7.w.JwtRule(issuer="https://issuer.example", jwks=issuer.jwks(), output_payload_to_header="x-claims",
                        output_claim_to_headers=[l7.w.ClaimHeader(header="x-sub", claim="sub")])
    lab.use(l7.authentication("tokens", "web", [rule]))
    forged = [("x_sub", "root"), ("x-sub", "root"), ("x-claims", "e30"), ("x_claims", "e30"), ("my_own", "1")]
    with getattr(lab, kind)() as http:
        without = dict(seen(http, *forged))
        assert "x_sub" not in without and "x-sub" not in without and "x_claims" not in without and without["my_own"] == "1"
        having = seen(http, *forged, ("authorization", f"Bearer {issuer.token(sub='me')}"))
    assert [v for k, v in having if k.replace("_", "-") == "x-sub"] == ["me"]
    assert len([v for k, v in having if k.replace("_", "-") == "x-claims"]) == 1


@pytest.mark.parametrize("kind", ("h1", "h2"))
def test_what_the_mesh_says_has_one_spelling(lab, kind):
    with getattr(lab, kind)() as http:
        names = [k for k, _ in seen(http, ("x_forwarded_client_cert", "URI=spiffe://forged"), ("x_forwarded-proto", "https"),
                                    ("x-request_id", "mine"), ("x_envoy_max_retries", "9"), ("my_own", "1"))]
    assert names == ["my_own", "x-forwarded-proto", "x-request-id"]


@pytest.mark.parametrize("kind", ("h1", "h2"))
def test_trailers_say_nothing_that_a_header_may_not(lab, kind):
    """A server may put trailers to the headers (RFC 9110 6.5.1)."""
    rule = l7.w.JwtRule(issuer="https://issuer.example", jwks=Issuer().jwks(),
                        output_claim_to_headers=[l7.w.ClaimHeader(header="x-sub", claim="sub")])
    lab.use(l7.authentication("tokens", "web", [rule]))
    forged = [(name, "forged") for name in ("x-sub", "x_sub", "x_forwarded_client_cert", "x-request-id", "x-envoy-max-retries")]
    with getattr(lab, kind)() as http:
        r = http.request("POST", "/echo", [("te", "trailers")], body=b"abc", trailers=[*forged, ("x-sum", "7")])
    assert [h for h in r.json()["headers"] if h[0].startswith("trailer:")] == [["trailer:x-sum", "7"]]


@pytest.mark.parametrize("kind", ("h1", "h2"))
@pytest.mark.parametrize("word", ("drop", "reject"))
def test_underscores_can_be_refused(lab, word, kind):
    lab.wp.discard()
    lab.wp.start(HEADERS_WITH_UNDERSCORES=word)
    lab.wp.wait_ready(20)
    try:
        with getattr(lab, kind)() as http:
            if word == "drop":
                assert seen(http, ("my_own", "1"), ("my-own", "2"))[0] == ("my-own", "2")
            else:
                assert http.get("/echo/refused", ("my_own", "1")).status == 400
                assert " 400 DPE " in lab.wp.wait_request("/echo/refused")
    finally:
        lab.wp.discard()


@pytest.mark.parametrize("how, target, sent", (
    ("NONE", "/a/../b//c", "/a/../b//c"), ("BASE", "/a/../b//c%2fd", "/b//c%2Fd"), ("MERGE_SLASHES", "/a/../b//c%2fd", "/b/c%2Fd"),
    ("DECODE_AND_MERGE_SLASHES", "/a/../b//c%2fd", "/b/c/d"), ("DECODE_AND_MERGE_SLASHES", "/b%5cc%2F..%2f%2fd", "/b/d")))
def test_paths_have_the_form_that_is_asked_for(lab, how, target, sent):
    """What policy sees is what the server gets."""
    lab.wp.discard()
    lab.wp.start(PATH_NORMALIZATION=how)
    lab.wp.wait_ready(20)
    try:
        with lab.h1() as http:
            assert http.get(target).json()["target"] == sent
            lab.use(l7.policy("that", "web", l7.DENY, [l7.w.Rule(to=[l7.w.Operation(paths=[sent])])]))
            assert http.get(target).status == 403
    finally:
        lab.wp.discard()


@pytest.mark.parametrize("how", ("NONE", "BASE"))
def test_a_path_that_is_not_of_ascii_is_protected_in_each_spelling(lab, how):
    lab.wp.discard()
    lab.wp.start(PATH_NORMALIZATION=how)
    lab.wp.wait_ready(20)
    lab.use(l7.policy("that", "web", l7.DENY, [l7.w.Rule(to=[l7.w.Operation(paths=["/café", "*.é", "/é/{*}/x", "/%c3%9f*"])])]))
    try:
        with lab.h1() as http:
            for target in ("/caf%C3%A9", "/caf%c3%a9", "/c%61f%c3%A9", "/a.%c3%a9", "/%c3%a9/y/x", "/%c3%9f", "/%C3%9F"):
                assert http.get(target).status == 403, target
            assert http.get("/cafe").status == http.get("/caf%C3%A8").status == 200
    finally:
        lab.wp.discard()


def test_what_it_says_of_itself_and_of_the_client_can_be_chosen(lab):
    lab.wp.discard()
    lab.wp.start(SERVER_HEADER="", XFCC_INCLUDE_CLIENT_IDENTITY="true")
    lab.wp.wait_ready(20)
    try:
        with lab.h1() as http:
            r = http.get("/echo", ("x-forwarded-client-cert", "URI=spiffe://forged"))
        assert r["server"] == "app"
        assert seen_of(r, "x-forwarded-client-cert") == [f"By={model.spiffe('gate')};URI={model.spiffe('client')}"]
    finally:
        lab.wp.discard()


def seen_of(response, name):
    return [v for k, v in response.json()["headers"] if k == name]
