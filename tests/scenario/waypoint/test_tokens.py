# SPDX-License-Identifier: Apache-2.0
"""Tokens of requests: what is remembered of a good one, and what ends that."""
import time

import pytest

from lib import l7
from lib.tokens import KEYS, rule, token
from lib.wait import SCALE, until


def get(http, text):
    return http.get("/echo", ("authorization", f"Bearer {text}")).status


@pytest.mark.parametrize("alg", KEYS)
def test_a_token_is_verified_once_and_not_believed_after_its_key_has_gone(lab, alg):
    lab.wp.discard()  # the next one counts from nothing
    lab.use(l7.authentication("tokens", "web", [rule(alg, 0)]))
    lab.wp.start()
    lab.wp.wait_ready(20)

    def counted():
        return tuple(int(lab.wp.metric(f"wp_token_cache_{name}_total")) for name in ("hits", "misses"))

    old, new = token(alg, 0), token(alg, 1)
    with lab.h1() as http:
        until("tokens are asked for", lambda: get(http, "x.y.z") == 401)
        assert http.get("/echo", ("authorization", "Bearer x.y.z"))["www-authenticate"] == \
            'Bearer realm="http://web.shop/echo", error="invalid_token"'
        assert [get(http, old) for _ in range(10)] == [200] * 10
        until("it was verified once", lambda: counted() == (9, 1))
        assert [get(http, new), get(http, old[:-8] + old[-4:] * 2)] == [401, 401]
        until("bad ones are looked at", lambda: counted() == (9, 3))

        lab.use(l7.authentication("tokens", "web", [rule(alg, 1)]))
        until("the new key counts", lambda: get(http, new) == 200)
        assert [get(http, old) for _ in range(3)] == [401] * 3
        # The same key, and an audience that the token lacks.
        lab.use(l7.authentication("tokens", "web", [rule(alg, 1, audiences=["a"])]))
        until("the audience counts", lambda: get(http, token(alg, 1, aud="a")) == 200)
        assert get(http, new) == 401


def test_a_token_that_is_remembered_expires_to_the_second(lab):
    lab.use(l7.authentication("tokens", "web", [rule("ES256", 0)]))
    with lab.h1() as http:
        until("tokens are asked for", lambda: get(http, "x.y.z") == 401)
        ends = int(time.time() + 2 + SCALE)
        short = token("ES256", 0, exp=ends - 60)  # clocks may differ by a minute
        assert get(http, short) == 200
        until("it has expired", lambda: get(http, short) == 401, 10)
        assert time.time() > ends
