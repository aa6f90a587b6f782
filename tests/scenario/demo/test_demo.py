# SPDX-License-Identifier: Apache-2.0
"""The demonstration, once."""
import pathlib
import subprocess
import sys

from lib.wait import SCALE

RUN = pathlib.Path(__file__).with_name("run")


def test_every_step_of_the_demonstration_passes():
    done = subprocess.run([sys.executable, str(RUN)], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=180 * SCALE, check=False)
    print(done.stdout, done.stderr)
    assert done.returncode == 0, "see the steps above"
    assert done.stdout.rstrip().endswith(": OK")
    assert "FAIL" not in done.stdout and done.stdout.count("\n  ok   ") >= 34
