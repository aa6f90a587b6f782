# SPDX-License-Identifier: Apache-2.0
"""The conformance cases, each a test of its own."""
import pytest

from conformance import cases, runner, site as places

TESTS, _ = cases.load()


@pytest.fixture(scope="module", name="site")
def make_site():
    site = places.Site()
    try:
        site.up()
        yield site
    finally:
        site.down()


@pytest.fixture(scope="module", name="mode", params=list(runner.MODES))
def set_mode(request, site):
    site.backends_join(runner.MODES[request.param][1])
    return request.param


@pytest.mark.parametrize("test", TESTS, ids=lambda t: cases.names(t)[0])
def test_case(site, mode, test):
    assert not runner.run_test(site, test, mode)
