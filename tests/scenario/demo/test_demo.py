# SPDX-License-Identifier: Apache-2.0
"""The demonstration: once to its end, and once as somebody has it who wants to play with it."""
import os
import pathlib
import re
import subprocess
import sys

from lib.proc import Process
from lib.wait import SCALE, until

RUN = pathlib.Path(__file__).with_name("run")


def all_passed(code, text):
    assert code == 0, "see the steps above"
    assert text.rstrip().endswith(": OK")
    assert "FAIL" not in text and text.count("\n  ok   ") >= 34


def test_every_step_of_the_demonstration_passes():
    done = subprocess.run([sys.executable, str(RUN)], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=180 * SCALE, check=False)
    print(done.stdout, done.stderr)
    all_passed(done.returncode, done.stdout)


def succeeds(command):
    done = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=60 * SCALE, check=False)
    print(command, done.stdout, done.stderr)
    return done.returncode == 0


def test_what_is_kept_can_be_played_with_and_is_taken_away(tmp_path):
    kept = Process("demo", [sys.executable, str(RUN)], str(tmp_path), env={**os.environ, "KEEP": "1"}, stdin=subprocess.PIPE)
    try:
        kept.wait_text("Enter or Ctrl-C ends it.", 180)
        told = re.search(r"To play with it:\n  (\S+ status) .*\n  (nsenter -t \d+ -n .+)\n", kept.text())
        for command in told.groups():
            until(f"`{command}` succeeds", lambda c=command: succeeds(c), 30)
        kept.child.stdin.write(b"\n")
        kept.child.stdin.close()
        code = kept.wait_exit(60)
    finally:
        print(kept.text())
        if kept.alive:
            kept.stop(30)
    all_passed(code, kept.text())
