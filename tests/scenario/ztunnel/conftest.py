# SPDX-License-Identifier: Apache-2.0
"""Fixtures: one topology for the run, one mesh on two of its nodes, a proxy to itself on the third."""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
# pylint: disable=wrong-import-position
import pytest  # noqa: E402

from lib import mesh as meshes, topo  # noqa: E402
from lib.cp import ControlPlane  # noqa: E402


@pytest.fixture(scope="session")
def world(tmp_path_factory):
    w = meshes.World(str(tmp_path_factory.mktemp("mesh")))
    try:
        w.up()
        yield w
    finally:
        w.down()


@pytest.fixture(scope="session")
def running_mesh(world):
    m = meshes.Mesh(world.topology, world.folder)
    try:
        m.start()
        yield m
    finally:
        m.stop()


@pytest.fixture
def mesh(running_mesh):
    """Two nodes with proxies, control plane and agents, in the state every test starts from."""
    running_mesh.heal()
    return running_mesh


@pytest.fixture(scope="session")
def solo_control_plane(world, tmp_path_factory):
    cp = ControlPlane(world.ns("fab"), topo.ROUTER4, 15022, str(tmp_path_factory.mktemp("solo-cp")))
    for name in ("p31", "p32"):
        world.topology.capture(name)
    cp.start()
    yield cp
    cp.kill()


@pytest.fixture
def solo(world, solo_control_plane, tmp_path):
    """Node 3 for this test alone; not started yet."""
    cp = solo_control_plane
    if not cp.process.alive:
        cp.start()
    cp.ca_reset()
    cp.replace(meshes.Solo.resources(), settle=False)
    resolv = tmp_path / "resolv.conf"
    resolv.write_text(f"nameserver {topo.ROUTER4}\n", encoding="ascii")
    s = meshes.Solo(world.topology, str(tmp_path), cp, str(resolv))
    try:
        yield s
    finally:
        s.finish()
