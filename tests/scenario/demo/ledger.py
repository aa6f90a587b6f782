# SPDX-License-Identifier: Apache-2.0
"""Requests that run through a whole act, and what may become of each of them at which time."""
import collections
import contextlib
import json
import pathlib
import subprocess
import sys
import time

from demo.report import check
from lib.proc import Process
from lib.wait import SCALE

PER_SECOND = 16
Row = collections.namedtuple("Row", "kind number began ended outcome")


class Ledger:
    """`kinds` are {name: (service's address, headers, whether the connection is kept)}. Each outcome of a kind has to be
    among those that were allowed at some moment of that request's life."""

    def __init__(self, town, pid, kinds):
        script = pathlib.Path(__file__).with_name("asking.py")
        self.kinds = list(kinds)
        self.phases = {kind: [(0.0, frozenset(["200"]))] for kind in kinds}
        self.process = Process("asking", ["nsenter", "-t", str(pid), "-n", sys.executable, str(script), str(PER_SECOND)],
                               town.folder, stdin=subprocess.PIPE)
        self._write(json.dumps([[name, *about] for name, about in kinds.items()]) + "\n")
        self.process.wait_text("running", 20)

    def _write(self, text):
        self.process.child.stdin.write(text.encode())
        self.process.child.stdin.flush()

    @contextlib.contextmanager
    def change(self, **outcomes):
        """From the end of the block on these kinds have other outcomes; inside of it the old ones, too."""
        new = {kind: frozenset(allowed.split()) for kind, allowed in outcomes.items()}
        now = time.time()
        for kind, allowed in new.items():
            self.phases[kind].append((now, self.phases[kind][-1][1] | allowed))
        yield
        now = time.time()
        for kind, allowed in new.items():
            self.phases[kind].append((now, allowed))

    def rows(self):
        found = []
        for line in self.process.text().splitlines():
            words = line.split()
            if len(words) == 5 and words[0] in self.phases:
                found.append(Row(words[0], int(words[1]), float(words[2]), float(words[3]), words[4]))
        return found

    def check(self):
        """Every outcome so far is one that was allowed. The rows."""
        rows = self.rows()
        wrong = [r for r in rows if r.outcome not in self.allowed(r)]
        check(not wrong, f"{len(wrong)} of {len(rows)} requests ended as they must not: "
                         + "; ".join(f"{r.kind}/{r.number} at {r.began:.3f}: {r.outcome}, not {'/'.join(sorted(self.allowed(r)))}"
                                     for r in wrong[:8]))
        return rows

    def allowed(self, row):
        """Outcomes that it may have."""
        phases = self.phases[row.kind]
        ends = [since for since, _ in phases[1:]] + [float("inf")]
        return frozenset().union(*(allowed for (since, allowed), end in zip(phases, ends)
                                   if since <= row.ended and row.began <= end))

    def tally(self):
        """{kind: {outcome: how many}}"""
        counts = {kind: collections.Counter() for kind in self.kinds}
        for r in self.rows():
            counts[r.kind][r.outcome] += 1
        return counts

    def wait(self, count, **outcomes):
        """Until `count` requests of these kinds, begun from now on, have ended; each of them as said."""
        since = time.time()
        end = since + 10 * SCALE
        while True:
            rows = [r for r in self.rows() if r.began >= since and r.kind in outcomes]
            counts = collections.Counter(r.kind for r in rows)
            if all(counts[kind] >= count for kind in outcomes):
                break
            check(time.time() < end, f"within {10 * SCALE:g} s only {dict(counts)} requests ended")
            time.sleep(0.02)
        wrong = [r for r in rows if r.outcome != outcomes[r.kind]]
        check(not wrong, f"{wrong[:5]}")

    def end(self):
        """No more requests: rows of all there were, none of which is missing."""
        self.process.child.stdin.close()
        check(self.process.wait_exit(15) == 0, self.process.text()[-2000:])
        rows = self.check()
        sent = int(self.process.text().rpartition("sent ")[2])
        for kind in self.kinds:
            check(sorted(r.number for r in rows if r.kind == kind) == list(range(sent)), f"requests of {kind} are missing")
        return rows

    def close(self):
        self.process.kill()
