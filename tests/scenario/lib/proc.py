# SPDX-License-Identifier: Apache-2.0
"""Child processes in namespaces: started, watched, and ended by their own pid; their output in a file."""
import os
import signal
import subprocess

from lib.wait import Timeout, until


class Process:
    """One program. `log` is its standard output and error together."""

    def __init__(self, name, argv, folder, ns=None, env=None, etc_resolv=None, stdin=subprocess.DEVNULL):
        self.name = name
        self.path = os.path.join(folder, f"{name}.log")
        if etc_resolv:  # `ip netns exec` has a mount namespace of its own, so the host does not see this
            argv = ["sh", "-c", 'mount --bind "$0" /etc/resolv.conf && exec "$@"', etc_resolv, *argv]
        if ns:
            argv = ["ip", "netns", "exec", ns, *argv]
        argv = ["setpriv", "--pdeathsig", "KILL", *argv]  # nothing outlives a run that was killed
        with open(self.path, "ab") as out:
            self.start_offset = out.tell()
            self.child = subprocess.Popen(argv, stdin=stdin, stdout=out, stderr=subprocess.STDOUT, cwd=folder,
                                          env=env, start_new_session=True)

    @property
    def pid(self):
        return self.child.pid

    @property
    def alive(self):
        return self.child.poll() is None

    def mark(self):
        """A place in the log, for `text`."""
        return os.path.getsize(self.path)

    def text(self, since=None):
        with open(self.path, "rb") as f:
            f.seek(self.start_offset if since is None else since)
            return f.read().decode(errors="replace")

    def wait_text(self, text, seconds=10.0, since=None):
        def probe():
            if text in self.text(since):
                return True
            if not self.alive:
                raise RuntimeError(f"{self.name} ended with {self.child.returncode}: {self.text()[-1500:]}")
            return False
        return until(f"{self.name} prints {text!r}", probe, seconds)

    def signal(self, number):
        if self.alive:
            self.child.send_signal(number)

    def wait_exit(self, seconds=10.0):
        return until(f"{self.name} ends", lambda: (self.child.poll() is not None and [self.child.returncode]),
                     seconds)[0]

    def kill(self):
        """SIGKILL, and the child is reaped."""
        self.signal(signal.SIGKILL)
        self.child.wait()

    def stop(self, seconds=10.0):
        """SIGTERM, then SIGKILL if it does not end; its exit status."""
        self.signal(signal.SIGTERM)
        try:
            return self.wait_exit(seconds)
        except Timeout:
            self.kill()
            raise
