# SPDX-License-Identifier: Apache-2.0
"""Drivers of the tunnel layer, started once for each set of arguments."""
import os
import pathlib
import signal
import subprocess
import sys

import pytest

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parent), str(pathlib.Path(__file__).resolve().parents[1])]

ROOT = pathlib.Path(__file__).resolve().parents[3]


class Driver:
    """One running hbone_driver: its port, and the lines it says."""

    def __init__(self, *args):
        build = pathlib.Path(os.environ.get("AMBIT_BUILD_ASAN") or ROOT / "build")
        program = build / "tests/unit/hbone/hbone_driver"
        self.process = subprocess.Popen([program, *map(str, args)], stdout=subprocess.PIPE, text=True)
        self.port = int(self.line().split()[1])

    def line(self):
        """The next line it says; waits for it."""
        return self.process.stdout.readline().strip()

    def drain(self):
        self.process.send_signal(signal.SIGTERM)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def rss_kb(self):
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii")
        return int(status.split("VmRSS:")[1].split()[0])


@pytest.fixture
def driver():
    """Starts drivers for one test; they must still run at its end."""
    started = []

    def start(*args):
        started.append(Driver(*args))
        return started[-1]

    yield start
    for d in started:
        alive = d.process.poll() is None
        d.kill()
        assert alive, "the driver died"


@pytest.fixture(scope="module")
def shared_driver():
    """Drivers that several tests of a module use one after the other."""
    started = {}

    def get(*args):
        if args not in started:
            started[args] = Driver(*args)
        assert started[args].process.poll() is None, "the driver died"
        return started[args]

    yield get
    for d in started.values():
        d.kill()
