# SPDX-License-Identifier: Apache-2.0
"""Fixtures: one stand-alone control plane for the run, a namespace of its own for each test."""
import itertools
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
# pylint: disable=wrong-import-position
import pytest  # noqa: E402

import plane as planes  # noqa: E402

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def plane(tmp_path_factory):
    p = planes.Plane(tmp_path_factory.mktemp("plane")).start()
    yield p
    p.stop()


@pytest.fixture(scope="session")
def api(plane):
    return plane.admin()


@pytest.fixture
def channel(plane):
    with plane.channel() as c:
        yield c


@pytest.fixture
def ns(api):
    """A new namespace; gone with all that is in it afterwards."""
    space = planes.named("Namespace", f"t{next(_numbers)}")
    api.create(space)
    yield space["metadata"]["name"]
    api.delete(space)


@pytest.fixture(scope="session")
def proxy_token(api):
    """Of the node proxies' account, bound to no pod: enough for discovery."""
    return api.token_for("istio-system", "ztunnel")
