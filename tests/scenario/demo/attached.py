# SPDX-License-Identifier: Apache-2.0
"""Workloads whose standard input and output are ours: `ambit run` in the foreground."""
import os
import secrets
import select
import subprocess
import tempfile
import time

from demo.report import check
from lib.wait import SCALE, until


class Attached:
    """A command in a pod of its own."""

    def __init__(self, ambit, node, namespace, name, command, account="default"):
        self.name, self.read = name, b""
        with tempfile.TemporaryFile() as said:
            self.process = subprocess.Popen(
                ambit.argv("run", "--run-dir", ambit.run_dir, "--node", node, "-n", namespace, "--name", name,
                           "--sa", account, "--", *command),
                env=ambit.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said,
                start_new_session=True)  # a Ctrl-C is for us
            os.set_blocking(self.process.stdout.fileno(), False)

            def started():
                said.seek(0)
                text = said.read().decode()
                check(self.process.poll() is None, f"ambit run {name}: exit status {self.process.returncode}: {text}")
                return " runs at " in text
            until(f"{name} runs", started, 20)
        self.ips = ambit.workload(namespace, name)["ips"]

    def write(self, text):
        self.process.stdin.write(text.encode())
        self.process.stdin.flush()

    def wait_for(self, text, seconds=10.0):
        """Reads until `text` came; what came before it."""
        wanted, end = text.encode(), time.monotonic() + seconds * SCALE
        out = self.process.stdout.fileno()
        while wanted not in self.read:
            left = end - time.monotonic()
            check(left > 0, f"{self.name}: no {text!r} within {seconds:g} s, but {self.read[-500:]!r}")
            if select.select([out], [], [], left)[0]:
                octets = os.read(out, 65536)
                check(octets, f"{self.name} ended: {self.read[-500:]!r}")
                self.read += octets
        before, _, self.read = self.read.partition(wanted)
        return before.decode(errors="replace")

    def close(self):
        """Its input ends, and so does it. `ambit run` comes back when all its traces are gone."""
        if self.process.stdin.closed:
            return
        self.process.stdin.close()
        try:
            self.process.wait(10)
        finally:
            self.process.kill()
            self.process.wait()
            self.process.stdout.close()


class Shell(Attached):
    """A shell in a pod: whatever it runs is a program of that workload."""

    def __init__(self, ambit, node, namespace, name, account):
        super().__init__(ambit, node, namespace, name, ["/bin/sh"], account)
        self.mark = None

    def begin(self, command):
        """Starts a command line; `end` waits for it."""
        self.mark = f"end-{secrets.token_hex(6)}"
        self.write(f"{{ {command} ; }} 2>&1 </dev/null; echo {self.mark} $?\n")

    def end(self, seconds=15.0):
        """(exit status, output) of what was begun."""
        output = self.wait_for(self.mark, seconds)
        return int(self.wait_for("\n", seconds)), output

    def run(self, command, seconds=15.0):
        """(exit status, output) of a command line."""
        self.begin(command)
        return self.end(seconds)

    def good(self, command, seconds=15.0):
        """The output of a command that has to succeed."""
        status, output = self.run(command, seconds)
        check(status == 0, f"{self.name}: `{command}` ended with {status}: {output.strip()}")
        return output.strip()


class RedisSession:
    """redis-cli that stays connected."""

    def __init__(self, ambit, node, namespace, name, account, ip):
        self.workload = Attached(ambit, node, namespace, name, ["redis-cli", "-h", ip], account)
        self.id = self.ask("CLIENT ID")

    def ask(self, command, seconds=5.0):
        end = secrets.token_hex(6)
        self.workload.write(f"{command}\nECHO {end}\n")
        return self.workload.wait_for(f"{end}\n", seconds).strip().strip('"')

    def is_alive(self):
        """Whether it is still the connection it was: redis-cli connects again on its own when it lost one."""
        return self.ask("CLIENT ID") == self.id

    def close(self):
        self.workload.close()
