# SPDX-License-Identifier: Apache-2.0
"""Workloads of a node: commands that the node agent runs as pods."""
import array
import json
import os
import secrets
import select
import signal
import socket
import time

from demo.report import check


class Runtime:
    """A node agent's runtime, by its socket."""

    def __init__(self, path):
        self.path = path

    def ask(self, request, fds=(), seconds=30.0):
        """One request; the first answer, and the connection where more may come."""
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(seconds)
        sock.connect(self.path)
        control = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        sock.sendmsg([json.dumps(request).encode() + b"\n"], control)
        stream = sock.makefile("r", encoding="utf-8")
        line = stream.readline()
        check(line, f"the agent closed {self.path} without an answer")
        answer = json.loads(line)
        check(answer["event"] not in ("failed", "error"), f"{request['op']}: {answer}")
        return answer, sock, stream

    def start(self, namespace, name, command, account="default", user="nobody", **more):
        """A workload on its own; what the agent says of it."""
        spec = dict(namespace=namespace, name=name, serviceAccount=account, user=user, command=command, **more)
        answer, sock, _ = self.ask({"op": "run", "spec": spec})
        sock.close()
        return answer

    def list(self):
        answer, sock, _ = self.ask({"op": "ps"})
        sock.close()
        return answer["workloads"]

    def find(self, namespace, name):
        return next(w for w in self.list() if (w["namespace"], w["name"]) == (namespace, name))

    def stop(self, namespace, name):
        _, sock, _ = self.ask({"op": "stop", "namespace": namespace, "name": name})
        sock.close()


class Attached:
    """A workload whose standard input and output are ours."""

    def __init__(self, runtime, namespace, name, command, account="default", **more):
        spec = dict(namespace=namespace, name=name, serviceAccount=account, command=command, **more)
        inside_in, self.stdin = os.pipe2(os.O_CLOEXEC)
        self.stdout, inside_out = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self.stdout, False)
        try:
            self.about, self.sock, self.stream = runtime.ask({"op": "run", "attach": True, "spec": spec},
                                                             [inside_in, inside_out, inside_out])
        finally:
            os.close(inside_in)
            os.close(inside_out)
        self.name, self.ips, self.pid = name, self.about["ips"], self.about["pid"]
        self.read = b""

    def write(self, text):
        os.write(self.stdin, text.encode())

    def wait_for(self, text, seconds=10.0):
        """Reads until `text` came; what came before it."""
        wanted, end = text.encode(), time.monotonic() + seconds
        while wanted not in self.read:
            left = end - time.monotonic()
            check(left > 0, f"{self.name}: no {text!r} within {seconds:g} s, but {self.read[-500:]!r}")
            if select.select([self.stdout], [], [], left)[0]:
                octets = os.read(self.stdout, 65536)
                check(octets, f"{self.name} ended: {self.read[-500:]!r}")
                self.read += octets
        before, _, self.read = self.read.partition(wanted)
        return before.decode(errors="replace")

    def close(self):
        """Ends it; waits until the agent says that all its traces are gone."""
        if self.stdin < 0:
            return
        os.close(self.stdin)
        try:
            self.sock.sendall(json.dumps({"op": "signal", "signal": int(signal.SIGKILL)}).encode() + b"\n")
            self.stream.readline()
        except OSError:
            pass  # the agent has ended before
        self.sock.close()
        os.close(self.stdout)
        self.stdin = self.stdout = -1


class Shell(Attached):
    """A shell in a pod: whatever it runs is a program of that workload."""

    def __init__(self, runtime, namespace, name, account):
        super().__init__(runtime, namespace, name, ["/bin/sh"], account)
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
