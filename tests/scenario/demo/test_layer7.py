# SPDX-License-Identifier: Apache-2.0
"""The market of the demonstration's act of layer 7, with its routes and policies in force and its requests running, while
its label flips and its waypoint is scaled and replaced: no request fails but for policy.

AMBIT_LABEL_FLIPS is how often the label goes and comes (default 6)."""
import contextlib
import os
import time

import pytest

from demo import town as places
from demo.layer7 import LABEL, Layer7
from demo.market import GATEWAY, NAMESPACE
from lib.wait import until

FLIPS = int(os.environ.get("AMBIT_LABEL_FLIPS", "6"))
PAUSES = (0, 0.3, 1, 2.5)  # around the time that a service lingers at a waypoint that it has left


@pytest.fixture(scope="module")
def market():
    places.adopt_orphans()
    places.remove_leftovers()
    town = places.Town()
    with contextlib.ExitStack() as stack:
        stack.callback(town.down)
        town.up()
        act = Layer7(town, stack)
        for step in (act.open_market, act.appear, act.split, act.by_path, act.tokens):
            step()
        yield act
        act.ledger.end()


def through(market, wanted):
    until(f"requests go {'through' if wanted else 'past'} the waypoint",
          lambda: all(market.one("/flip")[2] == wanted for _ in range(5)), 10)


def replicas(market):
    return {w["name"] for w in market.town.ambit.workloads() if w["namespace"] == NAMESPACE and w["name"].startswith(GATEWAY)}


def test_a_label_that_flips_fails_no_request(market):
    """Not even those on connections that are kept; what policy denies is answered by policy or, at layer 4, let through."""
    for n in range(FLIPS):
        with market.ledger.change(admin="200 403", account="200 403"):
            market.town.ambit.label(NAMESPACE, LABEL, None)
            through(market, False)
            time.sleep(PAUSES[n % len(PAUSES)])
            market.town.ambit.label(NAMESPACE, LABEL, GATEWAY)
            through(market, True)
            market.settle("the path is denied again", 403, "/admin/x")
            market.settle("a token is wanted again", 403, "/account/x")
        with market.ledger.change(admin="403", account="403"):
            pass
        market.ledger.check()


def test_replicas_that_come_are_replaced_and_go_fail_no_request(market):
    ambit, first = market.town.ambit, replicas(market)
    ambit("waypoint", "apply", "-n", NAMESPACE, "--replicas", "2", "--wait", seconds=60)
    until("there are two", lambda: len(replicas(market)) == 2, 20)
    second = replicas(market)
    assert first < second
    ambit("waypoint", "restart", GATEWAY, "-n", NAMESPACE)
    until("both are others", lambda: len(replicas(market)) == 2 and not replicas(market) & second, 40)
    market.ledger.wait(8, new="200", kept="200", member="200", admin="403", account="403")
    ambit("waypoint", "apply", "-n", NAMESPACE, "--replicas", "1", "--wait", seconds=60)
    until("one is left", lambda: len(replicas(market)) == 1, 40)
    market.ledger.wait(8, new="200", kept="200", member="200", admin="403", account="403")
    market.ledger.check()
