# SPDX-License-Identifier: Apache-2.0
"""Tokens (JWT) of two issuers' keys for each algorithm, and the rules that believe them."""
import base64
import json

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from lib import l7

KEYS = {"ES256": [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)],
        "RS256": [rsa.generate_private_key(65537, 2048) for _ in range(2)]}


def number(n, size):
    return base64.urlsafe_b64encode(n.to_bytes(size, "big")).rstrip(b"=").decode()


def rule(alg, which, **more):
    n = KEYS[alg][which].public_key().public_numbers()
    key = {"kty": "EC", "crv": "P-256", "x": number(n.x, 32), "y": number(n.y, 32)} if alg == "ES256" else \
        {"kty": "RSA", "n": number(n.n, 256), "e": number(n.e, 3)}
    return l7.w.JwtRule(issuer="me", jwks=json.dumps({"keys": [key]}), **more)


def token(alg, which, **claims):
    return jwt.encode({"iss": "me", "sub": "s", **claims}, KEYS[alg][which], algorithm=alg)
