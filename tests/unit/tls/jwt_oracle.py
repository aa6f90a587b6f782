#!/usr/bin/python3
"""Tokens made by PyJWT and python3-cryptography against the key sets, the verifier and the request
authentication under test (jwt_driver). Prints TAP."""
import base64
import hashlib
import hmac
import json
import subprocess
import sys

import jwt
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa

NOW = 1_700_000_000


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def number(n, size=None):
    return b64(n.to_bytes(size or (n.bit_length() + 7) // 8, "big"))


KEYS = {"rsa": rsa.generate_private_key(65537, 2048), "rsa2": rsa.generate_private_key(65537, 2048),
        "small": rsa.generate_private_key(65537, 1024), "p256": ec.generate_private_key(ec.SECP256R1()),
        "p256b": ec.generate_private_key(ec.SECP256R1()), "p384": ec.generate_private_key(ec.SECP384R1()),
        "p521": ec.generate_private_key(ec.SECP521R1()), "k1": ec.generate_private_key(ec.SECP256K1()),
        "ed25519": ed25519.Ed25519PrivateKey.generate(), "ed448": ed448.Ed448PrivateKey.generate()}


def jwk(name, **more):
    public = KEYS[name].public_key()
    if isinstance(public, rsa.RSAPublicKey):
        n = public.public_numbers()
        out = {"kty": "RSA", "n": number(n.n), "e": number(n.e)}
    elif isinstance(public, ec.EllipticCurvePublicKey):
        n, size = public.public_numbers(), (public.key_size + 7) // 8
        crv = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521", "secp256k1": "secp256k1"}
        out = {"kty": "EC", "crv": crv[public.curve.name], "x": number(n.x, size), "y": number(n.y, size)}
    else:
        raw = public.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        out = {"kty": "OKP", "crv": "Ed25519" if len(raw) == 32 else "Ed448", "x": b64(raw)}
    return {**out, **more}


def jwks(*keys):
    return json.dumps({"keys": [k if isinstance(k, dict) else jwk(k) for k in keys]})


def token(key, alg, claims=None, **headers):
    return jwt.encode({"iss": "i", "sub": "s", **(claims or {})}, KEYS[key], algorithm=alg, headers=headers or None)


def parts(header, claims, signature=b"x"):
    return f"{b64(json.dumps(header).encode())}.{b64(json.dumps(claims).encode())}.{b64(signature)}"


def tamper(t, which):
    """One bit of one part."""
    p = t.split(".")
    raw = bytearray(base64.urlsafe_b64decode(p[which] + "=" * (-len(p[which]) % 4)))
    raw[len(raw) // 2] ^= 1
    p[which] = b64(bytes(raw))
    return ".".join(p)


def hs_with_public_key():
    """The classic confusion: the RSA public key's text as the shared secret."""
    pem = KEYS["rsa"].public_key().public_bytes(serialization.Encoding.PEM,
                                                serialization.PublicFormat.SubjectPublicKeyInfo)
    head = parts({"alg": "HS256", "typ": "JWT"}, {"iss": "i"}).rpartition(".")[0]
    return f"{head}.{b64(hmac.new(pem, head.encode(), hashlib.sha256).digest())}"


def der_signature():
    head = parts({"alg": "ES256"}, {"iss": "i"}).rpartition(".")[0]
    return f"{head}.{b64(KEYS['p256'].sign(head.encode(), ec.ECDSA(hashes.SHA256())))}"


def verify_cases():
    algorithms = {"rsa": ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"], "p256": ["ES256"], "p384": ["ES384"],
                  "p521": ["ES512"], "ed25519": ["EdDSA"], "ed448": ["EdDSA"]}
    everything = jwks("rsa", "p256", "p384", "p521", "ed25519", "ed448")
    for key, names in algorithms.items():
        for alg in names:
            good = token(key, alg)
            yield f"{alg} by {key}", jwks(key), good, "good"
            yield f"{alg} by {key} among others", everything, good, "good"
            yield f"{alg} {key}: claims changed", everything, tamper(good, 1), {"ERR_DENIED", "token ERR_SYNTAX"}
            yield f"{alg} {key}: signature changed", everything, tamper(good, 2), "ERR_DENIED"
            yield f"{alg} {key}: signature cut", everything, good[:-8], {"ERR_DENIED", "token ERR_SYNTAX"}
            yield f"{alg} {key}: no signature", everything, good.rpartition(".")[0] + ".", "ERR_DENIED"
    rs, es = token("rsa", "RS256"), token("p256", "ES256")
    yield "another RSA key", jwks("rsa2"), rs, "ERR_DENIED"
    yield "another EC key", jwks("p256b"), es, "ERR_DENIED"
    yield "a key of another kind", jwks("p256"), rs, "ERR_NOT_FOUND"
    yield "a key of another curve", jwks("p384"), es, "ERR_NOT_FOUND"
    yield "second of two keys", jwks("rsa2", "rsa"), rs, "good"
    yield "kid chooses", jwks(jwk("rsa2", kid="a"), jwk("rsa", kid="b")), token("rsa", "RS256", kid="b"), "good"
    yield "kid of another key", jwks(jwk("rsa", kid="a"), jwk("rsa2", kid="b")), token("rsa", "RS256", kid="b"), \
        "ERR_DENIED"
    yield "kid that is not there", jwks(jwk("rsa", kid="a")), token("rsa", "RS256", kid="b"), "ERR_NOT_FOUND"
    yield "a key without kid fits", jwks("rsa"), token("rsa", "RS256", kid="b"), "good"
    yield "a token without kid tries all", jwks(jwk("rsa2", kid="a"), jwk("rsa", kid="b")), rs, "good"
    yield "kid is a number", jwks("rsa"), parts({"alg": "RS256", "kid": 1}, {}), "token ERR_SYNTAX"
    yield "key for encryption", jwks(jwk("rsa", use="enc"), "p256"), rs, "ERR_NOT_FOUND"
    yield "key for signatures", jwks(jwk("rsa", use="sig", key_ops=["verify"])), rs, "good"
    yield "key for other operations", jwks(jwk("rsa", key_ops=["encrypt"]), "p256"), rs, "ERR_NOT_FOUND"
    yield "key bound to another algorithm", jwks(jwk("rsa", alg="PS256")), rs, "ERR_NOT_FOUND"
    yield "key bound to this algorithm", jwks(jwk("rsa", alg="RS256")), rs, "good"
    yield "alg none", everything, parts({"alg": "none"}, {"iss": "i"}, b""), "ERR_UNSUPPORTED"
    yield "alg None", everything, parts({"alg": "None"}, {"iss": "i"}, b""), "ERR_UNSUPPORTED"
    yield "HS256 with the public key", jwks("rsa"), hs_with_public_key(), "ERR_UNSUPPORTED"
    yield "oct keys are passed over", jwks({"kty": "oct", "k": "c2VjcmV0"}), rs, "jwks ERR_NOT_FOUND"
    yield "DER instead of r and s", jwks("p256"), der_signature(), "ERR_DENIED"
    yield "more behind r and s", jwks("p256"), es.rpartition(".")[0] + "." + \
        b64(base64.urlsafe_b64decode(es.rpartition(".")[2] + "==") + b"xx"), "ERR_DENIED"
    yield "r and s are zero", jwks("p256"), es.rpartition(".")[0] + "." + b64(bytes(64)), "ERR_DENIED"
    yield "RSA of 1024 bits", jwks("small"), token("small", "RS256"), "jwks ERR_NOT_FOUND"
    yield "another curve's name", jwks("k1"), es, "jwks ERR_NOT_FOUND"
    yield "a point beside the curve", jwks({**jwk("p256"), "y": jwk("p256b")["y"]}), es, "jwks ERR_NOT_FOUND"
    yield "a coordinate cut short", jwks({**jwk("p256"), "x": b64(b"x" * 31)}), es, "jwks ERR_NOT_FOUND"
    yield "an exponent of 1", jwks({**jwk("rsa"), "e": "AQ"}), rs, "jwks ERR_NOT_FOUND"
    yield "a broken key beside a good one", jwks({"kty": "RSA"}, {}, "rsa"), rs, "good"
    yield "crit", jwks("rsa"), token("rsa", "RS256", crit=["x"], x=1), "token ERR_UNSUPPORTED"
    yield "crit b64", jwks("rsa"), parts({"alg": "RS256", "crit": ["b64"], "b64": False}, {}), "token ERR_UNSUPPORTED"
    yield "padding", jwks("rsa"), parts({"alg": "RS256"}, {}, b"xy") + "=", "token ERR_SYNTAX"
    yield "two parts", jwks("rsa"), rs.rpartition(".")[0], "token ERR_SYNTAX"
    yield "four parts", jwks("rsa"), rs + ".x", "token ERR_SYNTAX"
    yield "no JSON", jwks("rsa"), "eHg.eHg.eHg", "token ERR_SYNTAX"
    yield "no object", jwks("rsa"), parts([], {}), "token ERR_SYNTAX"
    yield "no alg", jwks("rsa"), parts({}, {}), "token ERR_SYNTAX"
    yield "empty", jwks("rsa"), "", "token ERR_SYNTAX"
    yield "large", jwks("rsa"), token("rsa", "RS256", {"x": "y" * 8192}), "token ERR_TOO_LARGE"
    yield "deep", jwks("rsa"), parts({"alg": "RS256"}, json.loads("[" * 40 + "]" * 40)), \
        {"token ERR_SYNTAX", "token ERR_TOO_LARGE"}
    yield "a NUL in a claim", jwks("rsa"), parts({"alg": "RS256"}, {"sub": "a\0b"}), "token ERR_SYNTAX"
    yield "no keys", json.dumps({"keys": []}), rs, "jwks ERR_NOT_FOUND"
    yield "no list", "{}", rs, "jwks ERR_SYNTAX"
    yield "65 keys", json.dumps({"keys": [{}] * 65}), rs, "jwks ERR_LIMIT"


# ---- request authentication

def rule(key="rsa", **more):
    return {"issuer": "i", "jwks": jwks(key), **more}


def ra(*rules):
    return {"jwtRules": list(rules)}


def ask(policies, want, headers=None, **more):
    return {"policies": policies, "headers": headers or {}, "now": NOW, **more}, want


def bearer(t):
    return {"authorization": "Bearer " + t}


def judge_cases():
    good = token("rsa", "RS256")
    other = jwt.encode({"iss": "j", "sub": "t"}, KEYS["p256"], algorithm="ES256")
    gone = ["authorization", None]
    refused = lambda message: {"outcome": "refused", "message": message}
    valid = {"outcome": "valid", "principal": "i/s"}

    yield "nothing asks", *ask([], {"outcome": "nobody"}, bearer("x"))
    yield "no token", *ask([ra(rule())], {"outcome": "nobody", "headers": []})
    yield "another scheme is no token", *ask([ra(rule())], {"outcome": "nobody"}, {"authorization": "Basic eDp5"})
    yield "a good token", *ask([ra(rule())], {**valid, "headers": [gone], "issuer_len": 1}, bearer(good))
    yield "it is forwarded on request", *ask([ra(rule(forwardOriginalToken=True))], {**valid, "headers": []},
                                             bearer(good))
    yield "a bad one", *ask([ra(rule())], refused("Jwt verification fails"), bearer(tamper(good, 2)))
    yield "no form", *ask([ra(rule())], refused("Jwt is not in the form of Header.Payload.Signature"), bearer("x"))
    yield "an empty one", *ask([ra(rule())], refused("Jwt is not in the form of Header.Payload.Signature"), bearer(""))
    yield "two in one header", *ask([ra(rule())], {"outcome": "refused"}, bearer(good + ",Bearer " + good))
    yield "another issuer", *ask([ra(rule())], refused("Jwt issuer is not configured"), bearer(other))
    yield "no issuer", *ask([ra(rule())], refused("Jwt issuer is not configured"),
                            bearer(jwt.encode({}, KEYS["rsa"], algorithm="RS256")))
    for name, claims, message in [
            ("expired", {"exp": NOW - 61}, "Jwt is expired"), ("expired within the skew", {"exp": NOW - 60}, None),
            ("not yet", {"nbf": NOW + 61}, "Jwt not yet valid"), ("nearly", {"nbf": NOW + 60}, None),
            ("exp is text", {"exp": str(NOW + 99)}, "Jwt is expired"), ("exp of 1e300", {"exp": 1e300}, None),
            ("exp is a fraction", {"exp": NOW - 100.5}, "Jwt is expired")]:
        # PyJWT checks types, so the header and claims are signed here.
        head = parts({"alg": "EdDSA"}, {"iss": "i", "sub": "s", **claims}).rpartition(".")[0]
        t = f"{head}.{b64(KEYS['ed25519'].sign(head.encode()))}"
        yield name, *ask([ra(rule("ed25519"))], refused(message) if message else valid, bearer(t))
    for name, have, want, fits in [("audience", "a", ["b", "a"], True), ("audiences", ["x", "a"], ["a"], True),
                                   ("wrong audience", "x", ["a"], False), ("no audience", None, ["a"], False),
                                   ("any audience", "x", [], True), ("part of an audience", "aa", ["a"], False)]:
        t = token("rsa", "RS256", {"aud": have} if have else {})
        yield name, *ask([ra(rule(audiences=want))], valid if fits else refused("Audiences in Jwt are not allowed"),
                         bearer(t))
    two = [ra(rule()), ra({"issuer": "j", "jwks": jwks("p256")})]
    yield "either of two policies: first", *ask(two, valid, bearer(good))
    yield "either of two policies: second", *ask(two, {"outcome": "valid", "principal": "j/t"}, bearer(other))
    yield "the matching issuer tells why", *ask(two, refused("Jwt verification fails"), bearer(tamper(other, 2)))
    yield "one bad and one good", *ask([ra(rule(), {"issuer": "j", "jwks": jwks("p256"),
                                                   "fromHeaders": [{"name": "X-Other"}]})], valid,
                                       {**bearer(good), "x-other": tamper(other, 2)})
    yield "keys of the other issuer", *ask([ra(rule("p256"))], {"outcome": "refused"}, bearer(good))
    yield "no keys", *ask([ra({"issuer": "i", "jwks": ""})], {"outcome": "refused"}, bearer(good))
    yield "broken keys", *ask([ra({"issuer": "i", "jwks": "{"})], {"outcome": "refused"}, bearer(good))

    yield "query", *ask([ra(rule())], {**valid, "query": "a=1&b&c="}, query=f"a=1&access_token={good}&b&c=")
    yield "param", *ask([ra(rule(fromParams=["t"]))], {**valid, "query": ""}, query=f"t={good}")
    yield "only where told", *ask([ra(rule(fromParams=["t"]))], {"outcome": "nobody"}, bearer(good))
    yield "own header", *ask([ra(rule(fromHeaders=[{"name": "X-Jwt"}]))], {**valid, "headers": [["x-jwt", None]]},
                             {"x-jwt": good})
    yield "own prefix", *ask([ra(rule(fromHeaders=[{"name": "x-jwt", "prefix": "T "}]))], valid, {"x-jwt": "T " + good})
    yield "other prefix", *ask([ra(rule(fromHeaders=[{"name": "x-jwt", "prefix": "T "}]))], {"outcome": "nobody"},
                               {"x-jwt": good})
    yield "cookie", *ask([ra(rule(fromCookies=["t"]))], {**valid, "headers": [["cookie", "a=1; b=2"]]},
                         {"cookie": f"a=1; t={good}; b=2"})
    yield "only cookie", *ask([ra(rule(fromCookies=["t"]))], {**valid, "headers": [["cookie", None]]},
                              {"cookie": f"t={good}"})

    rich = token("rsa", "RS256", {"n": 7, "ok": True, "deep": {"x": "y"}, "list": ["a"], "bad": "a\r\nb: c",
                                  "scope": "read  write", "words": "u v", "text": "u v", "groups": ["g", 1, "h"], "four": list("abcd")})
    out = [{"header": "X-Sub", "claim": "sub"}, {"header": "x-n", "claim": "n"}, {"header": "x-ok", "claim": "ok"},
           {"header": "x-deep", "claim": "deep.x"}, {"header": "x-list", "claim": "list"},
           {"header": "x-bad", "claim": "bad"}, {"header": "x-none", "claim": "none"}]
    cleared = [[o["header"].lower(), None] for o in out]
    yield "claims to headers", *ask([ra(rule(outputClaimToHeaders=out))],
                                    {**valid, "headers": cleared + [gone, ["x-sub", "s"], ["x-n", "7"], ["x-ok", "true"],
                                                                    ["x-deep", "y"]]}, bearer(rich))
    yield "client copies go without a token", *ask([ra(rule(outputClaimToHeaders=out[:1], outputPayloadToHeader="X-P"))],
                                                   {"outcome": "nobody", "headers": [["x-p", None], ["x-sub", None]]})
    yield "payload to header", *ask([ra(rule(outputPayloadToHeader="x-p"))],
                                    {**valid, "headers": [["x-p", None], gone, ["x-p", good.split(".")[1]]]}, bearer(good))
    for path, want in [(["scope"], ["read", "write"]), (["words"], ["u", "v"]), (["text"], ["u v"]),
                       (["groups"], ["g", "h"]), (["four"], list("abcd")), (["deep", "x"], ["y"]), (["n"], []), (["deep"], []), (["nope"], [])]:
        yield f"claim {path}", *ask([ra(rule(spaceDelimitedClaims=["words"]))], {**valid, "claim": want}, bearer(rich),
                                    ask=path)
    yield "no subject, no principal", *ask([ra(rule())], {"outcome": "valid", "principal": None},
                                           bearer(jwt.encode({"iss": "i"}, KEYS["rsa"], algorithm="RS256")))
    yield "preflight", *ask([ra(rule())], {"outcome": "nobody"},
                            {**bearer("x"), "origin": "http://o", "access-control-request-method": "PUT"},
                            method="OPTIONS")
    yield "other OPTIONS", *ask([ra(rule())], {"outcome": "refused"}, bearer("x"), method="OPTIONS")
    day = "2023-11-14T22:13:20Z"
    for name, by, t, flaw in [
            ("expired", "p1", token("p256", "ES256", {"iss": "j", "exp": NOW - 99}),
             f"exp is {NOW - 99} (2023-11-14T22:11:41Z), now is {NOW} ({day})"),
            ("early", "p1", token("p256", "ES256", {"iss": "j", "nbf": NOW + 99, "aud": "x"}),
             f"nbf is {NOW + 99} (2023-11-14T22:14:59Z), now is {NOW} ({day})"),
            ("audience", "p1", token("p256", "ES256", {"iss": "j", "aud": ["x"]}), 'aud is ["x"], the rule takes a, b'),
            ("no audience", "p1", token("p256", "ES256", {"iss": "j"}), "aud is absent, the rule takes a, b"),
            ("key", "p0", token("rsa2", "RS256", kid="k"), 'alg is "RS256", kid is "k"'),
            ("issuer", "p0", token("rsa", "RS256", {"iss": "k"}), 'iss is "k", the rule takes i'),
            ("form", "p0", "a.b", "token: not three parts")]:
        yield f"why: {name}", *ask([ra(rule()), ra({"issuer": "j", "jwks": jwks("p256"), "audiences": ["a", "b"]})],
                                   {"outcome": "refused", "by": by, "flaw": flaw}, bearer(t), explain=True)
    yield "why: no keys", *ask([ra({"issuer": "i", "jwks": "{"})],
                               {"outcome": "refused", "by": "p0", "flaw": "the rule's jwks has no key that can be used"},
                               bearer(good), explain=True)
    yield "who takes it", *ask(two, {"outcome": "valid", "by": "p1", "flaw": ""}, bearer(other))
    yield "challenge", *ask([ra(rule())], {"challenge": 'Bearer realm="http://svc/a%22b", error="invalid_token"'},
                            bearer("x"), path='/a"b')


# ---- the cache of signatures

def cache_cases():
    """(name, question, result, whether the cache knew it: None where that is not looked at)."""
    rs, es = jwks("rsa"), jwks("p256")
    one, two = token("rsa", "RS256", {"exp": NOW + 1000}), token("p256", "ES256", {"exp": NOW + 10})
    look = lambda t, keys, now=NOW, **more: {"token": t, "jwks": keys, "now": now, **more}
    yield "a new token is verified", look(one, rs), "good", False
    yield "and then known", look(one, rs), "good", True
    yield "for a while", look(one, rs, NOW + 299), "good", True
    yield "and then verified again", look(one, rs, NOW + 300), "good", False
    yield "a clock that was set back believes nothing", look(one, rs, NOW - 10), "good", False
    yield "one bit makes another token", look(tamper(one, 2), rs), "ERR_DENIED", False
    yield "a bad one stays unknown", look(tamper(one, 2), rs), "ERR_DENIED", False
    yield "with the same claims and another key", look(token("rsa2", "RS256", {"exp": NOW + 1000}), rs), "ERR_DENIED", False
    yield "the good one again", look(one, rs), "good", None
    yield "other keys know nothing of it", look(one, jwks("rsa2")), "ERR_DENIED", False
    yield "nor do the same keys, told anew", look(one, rs), "good", False
    yield "a token of ten seconds", look(two, es), "good", False
    yield "is known for ten seconds", look(two, es, NOW + 10), "good", True
    yield "and not beyond", look(two, es, NOW + 11), "good", False
    yield "what lives by the skew alone is not kept", look(two, es, NOW + 12), "good", False
    yield "no exp", look(token("p256", "ES256"), es), "good", False


def flood_cases():
    # Not more than a row of the table takes: where they go is chance, and so would be who makes way for whom.
    rs, good = jwks("rsa"), [token("rsa", "RS256", {"n": n}) for n in range(4)]
    look = lambda t, **more: {"token": t, "jwks": rs, "now": NOW, **more}
    for t in good:
        yield "", look(t), "good", False
    yield "warm", look(good[0], flood=100), "good", None
    yield "100,000 made-up tokens: none passes", look(good[0], flood=100_000), "good", None
    for t in good:
        yield "", look(t), "good", True
    crowd = [token("ed25519", "EdDSA", {"n": n}) for n in range(6000)]
    for t in crowd:
        yield "", {"token": t, "jwks": jwks("ed25519"), "now": NOW}, "good", False


def judge_cache(driver, cases):
    cases = list(cases)
    answers = [json.loads(line) for line in run(driver, "cache", [question for _, question, _, _ in cases])]
    before = {"hits": 0}
    for (name, _, want, known), got in zip(cases, answers, strict=True):
        hit = got["hits"] > before["hits"]
        yield name, got["result"] == want and known in (None, hit), got, (want, known)
        before = got
    table = {a["bytes"] for a in answers if a["bytes"]}
    yield "the table never grows", len(table) == 1 and table.pop() <= 256 << 10, answers[-1], "one size"
    warm = [a for (name, *_), a in zip(cases, answers, strict=True) if name == "warm" or "made-up" in name]
    if warm:
        yield "each of them was looked at", warm[1]["misses"] - warm[0]["misses"] >= 99_999, warm, "100,000"


def run(driver, mode, cases):
    text = "".join(json.dumps(c) + "\n" for c in cases)
    done = subprocess.run([driver, mode], input=text, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def main():
    cases = list(verify_cases())
    results = []
    answers = run(sys.argv[1], "verify", [{"jwks": keys, "token": t} for _, keys, t, _ in cases])
    for (name, _, _, want), got in zip(cases, answers, strict=True):
        results.append((name, got == want if isinstance(want, str) else got in want, got, want))
    asked = list(judge_cases())
    answers = run(sys.argv[1], "judge", [question for _, question, _ in asked])
    for (name, _, want), line in zip(asked, answers, strict=True):
        got = json.loads(line)
        results.append((name, all(got.get(k) == v for k, v in want.items()), got, want))
    for cases in (cache_cases(), flood_cases()):
        outcomes = list(judge_cache(sys.argv[1], cases))
        results += [o for o in outcomes if o[0] or not o[1]]
    print(f"1..{len(results)}")
    for n, (name, good, got, want) in enumerate(results, 1):
        print("ok" if good else "not ok", n, "-", name)
        if not good:
            print("# got", got, "want", want)


if __name__ == "__main__":
    main()
