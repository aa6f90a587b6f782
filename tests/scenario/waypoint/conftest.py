# SPDX-License-Identifier: Apache-2.0
"""Fixtures: one topology and one waypoint for the run; every test starts from the baseline's resources."""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
# pylint: disable=wrong-import-position
import pytest  # noqa: E402

from lib import model, topo, waypoint  # noqa: E402
from lib.cp import ControlPlane  # noqa: E402


@pytest.fixture(scope="session")
def world(tmp_path_factory):
    w = waypoint.World(str(tmp_path_factory.mktemp("waypoint")))
    try:
        w.up()
        yield w
    finally:
        w.down()


@pytest.fixture(scope="session")
def control_plane(world, tmp_path_factory):
    cp = ControlPlane(world.ns("fab"), topo.ROUTER4, 15012, str(tmp_path_factory.mktemp("cp")))
    cp.ca(name=model.spiffe("gate"))
    cp.push(*waypoint.baseline())
    cp.start()
    yield cp
    cp.kill()


@pytest.fixture(scope="session")
def running_lab(world, control_plane):
    lab = waypoint.Lab(world, control_plane, world.folder)
    try:
        lab.start()
        yield lab
    finally:
        lab.stop()


@pytest.fixture
def lab(running_lab):
    """The waypoint in the state every test starts from."""
    for pod in running_lab.pods.values():
        pod.refuse = None
    if not running_lab.wp.alive:
        running_lab.wp.start()
        running_lab.wp.wait_ready(20)
    running_lab.cp.ca_reset()
    running_lab.cp.ca(name=model.spiffe("gate"))
    running_lab.use()
    running_lab.wp.since = running_lab.wp.mark()
    return running_lab


@pytest.fixture
def plain_build(lab):
    """The lab with a waypoint whose memory is its own: sanitizers have one, too."""
    lab.wp.discard()
    lab.wp.binary = waypoint.PLAIN
    lab.wp.start()
    lab.wp.wait_ready(20)
    yield lab
    lab.wp.discard()
    lab.wp.binary = waypoint.CHECKED


@pytest.fixture(scope="session")
def node_proxies(running_lab):
    running_lab.start_node_proxies()


@pytest.fixture
def mesh(node_proxies, lab):
    """The lab with our own node proxies for one client and one application."""
    return lab
