# SPDX-License-Identifier: Apache-2.0
"""Fixtures: the program under test at one end of a TLS session, and certificates for both ends."""
import fcntl
import json
import os
import pathlib
import select
import subprocess
import sys
import termios
import time

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
# pylint: disable=wrong-import-position
from lib import pki  # noqa: E402
from lib.wait import until  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[3]
BUILD = os.environ.get("AMBIT_BUILD_ASAN") or os.environ.get("AMBIT_BUILD") or str(ROOT / "build")
PROGRAM = os.path.join(BUILD, "tests/unit/tls/tls_peer")
DEADLINE = 30.0


def name(account, domain="cluster.local"):
    return f"spiffe://{domain}/ns/shop/sa/{account}"


class Authority(pki.Authority):
    """One whose own key may be RSA, and that issues to RSA keys too."""

    def __init__(self, kind="ecdsa", organization="cluster.local"):
        super().__init__(name=organization)
        if kind == "rsa":
            self.key = rsa.generate_private_key(65537, 2048)
            self.root = self._self_signed(organization)

    def issue(self, *sans, kind="ecdsa", **options):
        key = (ec.generate_private_key(ec.SECP256R1()) if kind == "ecdsa" else rsa.generate_private_key(65537, 2048))
        return pki.Credential(key, self.sign(key.public_key(), sans, **options), self.root_pem)


def save(credential, folder, name_):
    """Paths of chain, key and roots."""
    paths = [os.path.join(folder, f"{name_}-{part}.pem") for part in ("chain", "key", "roots")]
    for path, text in zip(paths, (credential.chain_pem, pki.key_pem(credential.key).decode(), credential.root_pem)):
        with open(path, "w", encoding="ascii") as f:
            f.write(text)
    return paths


class Peer:
    """The program under test. `port` when it listens; `report()` is its last word."""

    def __init__(self, role, files, *args, connect=None):
        where = ["--connect", str(connect)] if connect else ["--listen"]
        chain = ["--chain", files[0], "--key", files[1]] if files[0] else []
        # pylint: disable=consider-using-with
        self.child = subprocess.Popen([PROGRAM, role, *chain, "--roots", files[2], *where, *args],
                                      stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.port = None
        if not connect:
            line = self.child.stdout.readline().decode()
            assert line.startswith("port "), self.child.stderr.read().decode()
            self.port = int(line.split()[1])

    def report(self):
        out, err = self.child.communicate(timeout=DEADLINE)
        assert self.child.returncode == 0, err.decode()
        return json.loads(out.decode().splitlines()[-1])

    def stop(self):
        if self.child.poll() is None:
            self.child.kill()
        self.child.wait()
        self.child.stdout.close()
        self.child.stderr.close()


class Tool:
    """A foreign program with a pipe at each end."""

    def __init__(self, *argv):
        # pylint: disable=consider-using-with
        self.child = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.seen = b""

    def say(self, text):
        self.child.stdin.write(text)
        self.child.stdin.flush()

    def until(self, text, count=1):
        """Reads until `text` was printed `count` times; what was printed so far."""
        end = time.monotonic() + DEADLINE
        while self.seen.count(text) < count:
            ready, _, _ = select.select([self.child.stdout], [], [], max(0, end - time.monotonic()))
            got = os.read(self.child.stdout.fileno(), 65536) if ready else b""
            assert got, f"never printed {text!r} {count} times: {self.seen[-3000:].decode(errors='replace')}"
            self.seen += got
        return self.seen

    def command(self, text):
        """Says something that the program must read on its own: returns when it has."""
        self.say(text)
        until("the command is read", lambda: fcntl.ioctl(self.child.stdin, termios.FIONREAD, bytes(4)) == bytes(4))

    def end_input(self):
        self.child.stdin.close()
        self.child.stdin = None

    def stop(self):
        """Everything it printed."""
        if self.child.poll() is None:
            self.child.terminate()
        out, _ = self.child.communicate(timeout=DEADLINE)
        self.seen += out or b""
        return self.seen


@pytest.fixture
def run():
    """Starts peers and tools; all are gone after the test."""
    started = []

    def start(what, *args, **options):
        started.append(what(*args, **options))
        return started[-1]

    yield start
    for one in started:
        one.stop()


@pytest.fixture(scope="session")
def mesh():
    return Authority()


@pytest.fixture(scope="session")
def rsa_mesh():
    return Authority("rsa")


