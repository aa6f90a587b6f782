# SPDX-License-Identifier: Apache-2.0
"""The test's handle on the control plane process (cp_server.py). What it holds survives the process."""
import base64
import contextlib
import itertools
import json
import os
import pathlib
import socket
import sys
import threading

from lib import pki
from lib.proc import Process
from lib.wait import until

SERVER = pathlib.Path(__file__).parent / "cp_server.py"


class ControlPlane:
    """Serves in namespace `ns` at `address`:`port`; `root_file` is the certificate to trust it by."""

    def __init__(self, ns, address, port, folder):
        os.makedirs(folder, exist_ok=True)
        self.ns, self.address, self.port, self.folder = ns, address, port, folder
        self.authority = pki.Authority(folder)
        self.root_file = os.path.join(folder, "root.pem")
        self.resources, self.ca_behaviour = {}, {}
        self.process, self._control, self.held = None, None, []

    @property
    def url(self):
        return f"https://{self.address}:{self.port}"

    def start(self):
        with open(os.path.join(self.folder, "state.json"), "w", encoding="utf-8") as f:
            json.dump({"put": [self._wire(r) for r in self.resources.values()], "ca": self.ca_behaviour,
                       "held": self.held}, f)
        self.process = Process("control-plane", [sys.executable, str(SERVER), self.folder, f"{self.address}:{self.port}"],
                               self.folder, ns=self.ns, env=dict(os.environ, GRPC_VERBOSITY="NONE"))
        self.process.wait_text("serving", 20)
        self._control = until("the control socket answers", self._connect)

    def _connect(self):
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(20)
        sock.connect(os.path.join(self.folder, "control.sock"))
        return sock.makefile("rw", encoding="utf-8")

    def kill(self):
        """SIGKILL: no goodbye to anyone."""
        if self._control:
            self._control.close()
            self._control = None
        if self.process:
            self.process.kill()

    def restart(self):
        self.kill()
        self.start()

    @contextlib.contextmanager
    def away(self, *held):
        """For the body there is no control plane; afterwards one that answers no stream's first request of a type in
        `held` until it is released."""
        self.kill()
        yield
        self.held = list(held)
        self.start()
        self.held = []

    def release(self):
        self._do("release")

    def _do(self, command, **arguments):
        self._control.write(json.dumps({"do": command, **arguments}) + "\n")
        self._control.flush()
        reply = json.loads(self._control.readline())
        if "error" in reply:
            raise RuntimeError(f"control plane: {reply['error']}")
        return reply["ok"]

    @staticmethod
    def _wire(resource):
        return [resource.type, resource.name, base64.b64encode(resource.octets).decode()]

    def push(self, *resources, remove=(), settle=True):
        """Sends new or changed resources and removals, and waits until every client has answered."""
        for r in resources:
            self.resources[r.type, r.name] = r
        for r in remove:
            self.resources.pop((r.type, r.name), None)
        if self._control:
            self._do("update", put=[self._wire(r) for r in resources], remove=[[r.type, r.name] for r in remove])
            if settle:
                self.settle()

    @contextlib.contextmanager
    def changing(self, *states):
        """For the body, changes go out one after the other: these lists of resources, round and round."""
        done = threading.Event()

        def change():
            for state in itertools.cycle(states):
                if done.is_set():
                    return
                self.push(*state, settle=False)
        thread = threading.Thread(target=change)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    def replace(self, resources, settle=True):
        """Makes `resources` all there is."""
        wanted = {(r.type, r.name): r for r in resources}
        gone = [r for key, r in self.resources.items() if key not in wanted]
        new = [r for key, r in wanted.items() if self.resources.get(key) != r]
        if gone or new:
            self.push(*new, remove=gone, settle=settle)

    def settle(self, seconds=5.0):
        until("every discovery client has answered the latest state", lambda: self._do("settled"), seconds)

    def ca(self, identity="*", **behaviour):
        """How certificate requests of an identity are treated from now on; see cp_server.Certificates.answer."""
        self.ca_behaviour[identity] = behaviour
        if self._control:
            self._do("ca", behaviour=self.ca_behaviour)

    def ca_reset(self):
        self.ca_behaviour = {}
        if self._control:
            self._do("ca", behaviour={})

    def mark(self):
        return len(self._do("events"))

    def events(self, kind, since=0, **wanted):
        return [e for e in self._do("events", since=since)
                if e["kind"] == kind and all(e.get(k) == v for k, v in wanted.items())]

    def streams(self):
        return self._do("streams")

    def end_streams(self, status=None, text=""):
        self._do("end_streams", status=status, text=text)

    def send_raw(self, octets):
        self._do("raw", octets=base64.b64encode(octets).decode())
