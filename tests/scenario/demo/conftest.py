# SPDX-License-Identifier: Apache-2.0
"""Fixtures: the place of the demonstration with an echo server on node 2 and a client on node 1."""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
# pylint: disable=wrong-import-position
import pytest  # noqa: E402

from demo.small import SmallMesh  # noqa: E402


@pytest.fixture(scope="module")
def running_mesh():
    m = SmallMesh()
    try:
        m.up()
        yield m
        m.end()
    finally:
        m.down()


@pytest.fixture
def mesh(running_mesh):
    """All programs run, and namespace `shop` is in the mesh."""
    running_mesh.heal()
    return running_mesh
