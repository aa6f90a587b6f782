# SPDX-License-Identifier: Apache-2.0
"""The node proxy under test: one process in a node's namespace, with the eyes an operator has on it."""
import collections
import datetime
import glob
import http.client
import json
import os
import pathlib
import re
import time

from lib import netns, topo
from lib.proc import Process
from lib.wait import SCALE, Timeout, until

ROOT = pathlib.Path(__file__).resolve().parents[3]
PLAIN = os.path.join(os.environ.get("AMBIT_BUILD", str(ROOT / "build")), "ambit-ztunnel")
# Where there is a sanitized build, what is not about speed or memory runs with that one.
CHECKED = os.path.join(os.environ["AMBIT_BUILD_ASAN"], "ambit-ztunnel") if "AMBIT_BUILD_ASAN" in os.environ else PLAIN
ADMIN, STATS, READINESS = 15000, 15020, 15021

Answer = collections.namedtuple("Answer", "status headers body")


class _Http(http.client.HTTPConnection):
    """HTTP from inside a namespace."""

    def __init__(self, ns, host, port, seconds):
        super().__init__(host, port, timeout=seconds)
        self._ns = ns

    def connect(self):
        self.sock = netns.connect(self._ns, self.host, self.port, self.timeout)


class Metric(collections.namedtuple("Metric", "name labels value")):
    """One sample."""


def parse_metrics(text):
    out = []
    for line in text.splitlines():
        if line.startswith("#") or not line:
            continue
        m = re.fullmatch(r'([\w:]+)(?:\{(.*)\})? (\S+)', line)
        labels = dict(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', m[2] or ""))
        out.append(Metric(m[1], labels, float(m[3])))
    return out


def parse_plain(line):
    """(level, target, message, fields) of a plain log line; None for anything else."""
    parts = line.split("\t")
    if len(parts) != 5 or not re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$", parts[0]):
        return None
    fields = {key: json.loads(value) if value.startswith('"') else value
              for key, value in re.findall(r'([\w.]+)=("(?:[^"\\]|\\.)*"|\S+)', parts[4])}
    return parts[1], parts[2], parts[3], fields


class Mark(int):
    """A place in a log, and the time when that was its end."""

    def __new__(cls, place):
        mark = super().__new__(cls, place)
        mark.at = time.time()
        return mark


def began(line, fields):
    """When the connection of a plain access line began: the line comes at its end. To the millisecond."""
    end = datetime.datetime.strptime(line[:27], "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=datetime.timezone.utc)
    return end.timestamp() - int(fields.get("duration", "0ms")[:-2]) / 1000


def parse_json(line):
    try:
        event = json.loads(line)
    except ValueError:
        return None
    if not isinstance(event, dict):
        return None
    fields = {k: v for k, v in event.items() if k not in ("level", "time", "scope", "message")}
    return event.get("level"), event.get("scope"), event.get("message"), fields


class Ztunnel:
    """`env` adds to and overrides what a chart would set."""

    def __init__(self, topology, node, cp, uds, folder, resolv=None, name=None):
        self.ns, self.folder, self.resolv = topology.ns(f"n{node}"), folder, resolv
        self.name = name or f"ztunnel-{node}"
        self.process, self.binary = None, CHECKED
        self.token_file = os.path.join(folder, "token")
        self.set_token("a-token")
        self.env = {
            "PATH": os.environ["PATH"], "XDS_ADDRESS": cp.url, "CA_ADDRESS": cp.url, "XDS_ROOT_CA": cp.root_file,
            "CA_ROOT_CA": cp.root_file, "AUTH_TOKEN": self.token_file, "INPOD_UDS": uds, "NODE_NAME": f"node{node}",
            "CLUSTER_ID": "Kubernetes", "POD_NAME": f"ztunnel-{node}", "POD_NAMESPACE": "istio-system",
            "INSTANCE_IP": topo.node4(node), "SERVICE_ACCOUNT": "ztunnel", "RUST_LOG": "info",
            "ZTUNNEL_WORKER_THREADS": "2", "ISTIO_META_DNS_CAPTURE": "true",
            "ASAN_OPTIONS": "detect_leaks=1:quarantine_size_mb=4:exitcode=99", "UBSAN_OPTIONS": "print_stacktrace=1"}

    def start(self, arguments=("proxy", "ztunnel"), **env):
        assert os.path.exists(self.binary), f"{self.binary} has not been built"
        environment = {k: v for k, v in {**self.env, **env}.items() if v is not None}
        self.process = Process(self.name, [self.binary, *arguments], self.folder, ns=self.ns, env=environment,
                               etc_resolv=self.resolv)

    def set_token(self, text):
        with open(self.token_file + ".new", "w", encoding="ascii") as f:
            f.write(text)
        os.replace(self.token_file + ".new", self.token_file)  # another proxy may read it just now

    @property
    def sanitized(self):
        return self.binary != PLAIN

    @property
    def alive(self):
        return self.process is not None and self.process.alive

    def stop(self, seconds=15.0):
        """SIGTERM and a clean end."""
        code = self.process.stop(seconds)
        self.check_log()
        assert code == 0, f"{self.name} ended with {code}: {self.process.text()[-3000:]}"

    def discard(self):
        """The end of a test: gone, however it was."""
        if self.process and self.process.alive:
            try:
                self.process.stop(8)
            except Timeout:
                pass
        if self.process:
            self.check_log()

    def check_log(self):
        text = self.process.text()
        for word in ("ERROR: AddressSanitizer", "runtime error:", "ERROR: LeakSanitizer", "Assertion"):
            assert word not in text, text[text.index(word) - 200:text.index(word) + 3000]

    def http(self, port, path, method="GET", headers=None, host="127.0.0.1", seconds=5.0 * SCALE):
        conn = _Http(self.ns, host, port, seconds)
        try:
            conn.request(method, path, headers=headers or {})
            r = conn.getresponse()
            return Answer(r.status, {k.lower(): v for k, v in r.getheaders()}, r.read().decode(errors="replace"))
        finally:
            conn.close()

    def readiness(self):
        """(status, body); (None, "") while nothing answers."""
        try:
            answer = self.http(READINESS, "/healthz/ready", seconds=2)
            return answer.status, answer.body
        except (OSError, http.client.HTTPException):
            return None, ""

    def wait_ready(self, seconds=10.0):
        def probe():
            assert self.alive, f"{self.name} ended with {self.process.child.returncode}: {self.process.text()[-2000:]}"
            status, body = self.readiness()
            assert status == 200, (status, body)
            return True
        until(f"{self.name} is ready", probe, seconds, every=0.005)

    def config_dump(self):
        return json.loads(self.http(ADMIN, "/config_dump").body)

    def metrics(self):
        return parse_metrics(self.http(STATS, "/metrics").body)

    def metric(self, name, **labels):
        """The sum of a metric's samples with these labels."""
        return sum(m.value for m in self.metrics()
                   if m.name == name and all(m.labels.get(k) == v for k, v in labels.items()))

    def mark(self):
        return Mark(self.process.mark())

    def events(self, since=0, parse=parse_plain):
        return [event for event in map(parse, self.process.text(since).splitlines()) if event]

    def access(self, since=0, parse=parse_plain, begun=None, **fields):
        """Access log lines (level, message, fields); a dot in a field's name is written as an underscore, and a value
        may be a predicate. `begun`: only of connections that began after that time."""
        wanted = {k.replace("_", ".", 1) if k.startswith(("src_", "dst_")) else k: v for k, v in fields.items()}

        def fits(have):
            return all(v(have.get(k)) if callable(v) else have.get(k) == v for k, v in wanted.items())
        events = [(line, event) for line in self.process.text(since).splitlines() if (event := parse(line))]
        return [(level, message, have) for line, (level, target, message, have) in events
                if target == "access" and fits(have) and (begun is None or began(line, have) > begun)]

    def wait_access(self, since, count=1, seconds=5.0, **fields):
        def probe():
            found = self.access(since, **fields)
            return found if len(found) >= count else None
        try:
            return until(f"{self.name} logs {count} x {fields}", probe, seconds)
        except Timeout as error:
            raise Timeout(f"{error}; access lines: {self.access(since)[-5:]}") from None

    def only_access(self, since, **fields):
        """(level, message, fields) of the one connection of these fields that began since then. Others may have been
        under way at that time, of an earlier test too; their lines come later."""
        (found,) = self.wait_access(since, begun=since.at - 0.002, **fields)
        return found

    def pids(self):
        """The process and its children."""
        out = []
        for stat in glob.glob("/proc/[0-9]*/stat"):
            try:
                with open(stat, encoding="ascii", errors="replace") as f:
                    fields = f.read().rsplit(")", 1)[1].split()
            except OSError:
                continue
            if int(fields[3]) == self.process.pid:  # session
                out.append(int(stat.split("/")[2]))
        return out

    def open_fds(self):
        return sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in self.pids())

    def _mapped_kib(self, kind):
        total = 0
        for pid in self.pids():
            with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as f:
                total += sum(int(n) for n in re.findall(rf"^{kind}:\s+(\d+) kB", f.read(), re.M))
        return total

    def private_kib(self):
        return self._mapped_kib(r"Private_\w+")

    def anonymous_kib(self):
        """What the process' own limit is held against."""
        return self._mapped_kib("Anonymous")
