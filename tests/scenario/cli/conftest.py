# SPDX-License-Identifier: Apache-2.0
"""The command line as people run it: a process, its output, its exit status. Nodes and agents are fakes in this
process; the API is the embedded one."""
import array
import contextlib
import http.server
import json
import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import threading

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from lib.wait import SCALE  # noqa: E402  pylint: disable=wrong-import-position

ROOT = pathlib.Path(__file__).resolve().parents[3]
BUILD = pathlib.Path(os.environ.get("AMBIT_BUILD_ASAN") or os.environ.get("AMBIT_BUILD") or ROOT / "build")
AMBIT = str(BUILD / "ambit")


class Result:
    def __init__(self, code, out, err):
        self.code, self.out, self.err = code, out, err

    @property
    def json(self):
        return json.loads(self.out)

    def __repr__(self):
        return f"exit {self.code}\n{self.out}\n{self.err}"


class Cli:
    """Runs `ambit` with a home of its own: nothing of the machine's is read."""

    def __init__(self, home):
        self.home = home
        self.env = {"PATH": "/usr/bin:/bin", "HOME": str(home)}

    def argv(self, *words, run_dir=None):
        """The words, with --run-dir where the command takes one."""
        words = list(words)
        if words and words[0] in RUN_DIR_COMMANDS:
            words[1:1] = ["--run-dir", str(run_dir or self.home / "run")]
        if words and words[0] in DATA_COMMANDS:
            words[1:1] = ["--data", str(self.home / "state")]
        return [AMBIT, *words]

    def __call__(self, *words, code=None, text=None, run_dir=None, seconds=30):
        done = subprocess.run(self.argv(*words, run_dir=run_dir), input=text, capture_output=True, text=True,
                              env=self.env, timeout=seconds * SCALE, check=False)
        result = Result(done.returncode, self.plain(done.stdout), self.plain(done.stderr))
        assert "ERROR: AddressSanitizer" not in done.stderr and "runtime error:" not in done.stderr, result
        if code is not None:
            assert result.code == code, result
        return result

    def plain(self, text):
        """Commands that help without the options that are ours."""
        return re.sub(rf" --(data|run-dir|log-dir|kubeconfig) {re.escape(str(self.home))}[^\s\"]*", "", text)

    def start(self, *words, **kw):
        return subprocess.Popen(self.argv(*words), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                env=self.env, **kw)


RUN_DIR_COMMANDS = {"status", "run", "ps", "stop", "conns", "logs", "workloads", "services", "certs", "up", "down", "why", "can", "flows",
                    "routes"}
DATA_COMMANDS = {"status", "routes", "why", "can", "get", "apply", "label", "delete", "waypoint", "kubeconfig", "up"}


@pytest.fixture
def ambit(tmp_path):
    return Cli(tmp_path)


# ---- a node proxy's admin endpoints

class FakeProxy:
    """Answers pages from a dict; None closes the connection in mid-answer."""

    def __init__(self):
        self.pages = {"/healthz/ready": "ready\n", "/access/open": [], "/access/recent": [],
                      "/config_dump": {"controlPlane": {"connected": True}, "version": {"version": "1"}}}
        self.status, self.asked = {}, []
        proxy = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):  # pylint: disable=invalid-name
                proxy.asked.append(self.path)
                self.path = self.path if self.path in proxy.pages else self.path.partition("?")[0]
                page = proxy.pages.get(self.path)
                if self.path in proxy.pages and page is None:
                    self.wfile.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf")
                    return
                text = (page if isinstance(page, str) else json.dumps(page)).encode()
                self.send_response(proxy.status.get(self.path, 200) if self.path in proxy.pages else 404)
                self.send_header("content-length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *args):  # pylint: disable=arguments-differ
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.at = f"127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


# ---- a node agent's runtime socket

CLOSE = {}  # an answer: hang up


class FakeAgent:
    """Speaks the agent's wire format: one JSON object a line. `script` maps an op to a list of answers; `seen` has
    what was asked; descriptors that came with a request are in `fds`."""

    def __init__(self, path):
        self.path, self.seen, self.fds, self.script = str(path), [], [], {}
        self.status = {"event": "status", "ready": True, "proxies": 1, "pods": 0}
        self.workloads = []
        self.arrived = threading.Condition()
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.bind(self.path)
        self.socket.listen(8)
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, connection):
        buffered = b""
        with connection:
            while True:
                try:
                    data, control, _, _ = connection.recvmsg(65536, socket.CMSG_SPACE(12))
                except OSError:
                    return
                for level, kind, payload in control:
                    if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                        self.fds.extend(array.array("i", payload))
                if not data:
                    self.close_fds()
                    return
                buffered += data
                while b"\n" in buffered:
                    line, buffered = buffered.split(b"\n", 1)
                    if not self._answer(connection, json.loads(line)):
                        return

    def _answer(self, connection, request):
        with self.arrived:
            self.seen.append(request)
            self.arrived.notify_all()
        usual = {"ps": [{"event": "list", "workloads": self.workloads}], "status": [self.status]}
        answers = self.script.get(request["op"], usual.get(request["op"], []))
        for answer in answers(request) if callable(answers) else answers:
            if answer.get("event") in ("exited", "failed"):
                self.close_fds()
            if answer == CLOSE:
                self.close_fds()
                return False
            connection.sendall(json.dumps(answer).encode() + b"\n")
        return request["op"] in ("run", "signal")

    def wait_for(self, op, seconds=10):
        def there():
            return [r for r in self.seen if r["op"] == op]
        with self.arrived:
            assert self.arrived.wait_for(there, seconds * SCALE), f"no {op} in {self.seen}"
        return there()[-1]

    def close_fds(self):
        while self.fds:
            os.close(self.fds.pop())

    def close(self):
        with contextlib.suppress(OSError):  # closed before
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        self.close_fds()


class Node:
    """A described node: RUN-DIR/nodes/NAME.json, a proxy and an agent."""

    def __init__(self, run_dir, name):
        folder = run_dir / name
        folder.mkdir(parents=True)
        (run_dir / "nodes").mkdir(exist_ok=True)
        self.proxy, self.agent = FakeProxy(), FakeAgent(folder / "runtime.sock")
        self.file = run_dir / "nodes" / f"{name}.json"
        self.file.write_text(json.dumps({"version": 1, "admin": self.proxy.at, "readiness": self.proxy.at,
                                         "runtime": self.agent.path}), encoding="ascii")

    def close(self):
        self.proxy.close()
        self.agent.close()


@pytest.fixture
def node(ambit):
    made = []

    def make(name="n1"):
        made.append(Node(ambit.home / "run", name))
        return made[-1]
    yield make
    for n in made:
        n.close()


# ---- the API

@pytest.fixture
def api(ambit, tmp_path):
    """The embedded API server; `ambit` finds it through $KUBECONFIG."""
    folder = tmp_path / "api"
    folder.mkdir()
    program = BUILD / "tests/unit/apiserver/apiserver_program"
    with subprocess.Popen([program, folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout.readline().startswith("ready")
        ambit.env["KUBECONFIG"] = str(folder / "admin.kubeconfig")
        yield folder
        server.stdin.close()
        assert server.wait(timeout=20 * SCALE) == 0
    shutil.rmtree(folder)
