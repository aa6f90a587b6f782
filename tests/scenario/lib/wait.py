# SPDX-License-Identifier: Apache-2.0
"""Waiting for things to become true, always with a deadline.

AMBIT_TEST_SCALE stretches every deadline, for machines that are slow or programs that are sanitized.
What must not happen is waited for with `never`, which is short and is not stretched.
"""
import os
import time

SCALE = float(os.environ.get("AMBIT_TEST_SCALE", "1"))


class Timeout(AssertionError):
    """A condition did not come true in time."""


def until(what, probe, seconds=5.0, every=0.01):
    """Calls `probe` until it returns something true, which is returned. An exception counts as 'not yet'."""
    end = time.monotonic() + seconds * SCALE
    last = None
    while True:
        try:
            value = probe()
            if value:
                return value
            last = value
        except (OSError, KeyError, IndexError, AssertionError, ValueError) as error:
            last = error
        if time.monotonic() > end:
            raise Timeout(f"not within {seconds:g} s: {what} (last: {last!r})")
        time.sleep(every)


def never(what, probe, seconds=0.3, every=0.01):
    """Fails as soon as `probe` returns something true within the given time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = probe()
        assert not value, f"{what}: {value!r}"
        time.sleep(every)


class Stopwatch:
    """Seconds since it was made."""

    def __init__(self):
        self.began = time.monotonic()

    @property
    def seconds(self):
        return time.monotonic() - self.began
