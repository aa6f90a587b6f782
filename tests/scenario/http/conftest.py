# SPDX-License-Identifier: Apache-2.0
"""The server under test, one for the run; foreign peers are Python's."""
import os
import pathlib
import ssl
import subprocess
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

ROOT = pathlib.Path(__file__).resolve().parents[3]
BUILD = pathlib.Path(os.environ.get("AMBIT_BUILD_ASAN") or ROOT / "build")


def program(folder, name):
    return str(BUILD / "tests/unit" / folder / name)


class Served:
    def __init__(self, argv):
        self.child = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.ports = [int(word) for word in self.child.stdout.readline().split()]

    def close(self):
        self.child.stdin.close()
        return self.child.wait(timeout=30)


@pytest.fixture(scope="session")
def root_pem(tmp_path_factory):
    return str(tmp_path_factory.mktemp("pki") / "root.pem")


@pytest.fixture(scope="session")
def served(root_pem):
    s = Served([program("http", "http_driver"), "serve", root_pem])
    s.h1, s.h2, s.tls = s.ports
    yield s
    assert s.close() == 0, "the server ended with an error or a leak"


@pytest.fixture
def tls_context(served, root_pem):
    def make(*alpn):
        c = ssl.create_default_context(cafile=root_pem)
        if alpn:
            c.set_alpn_protocols(list(alpn))
        return c
    return make
