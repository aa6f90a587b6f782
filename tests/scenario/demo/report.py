# SPDX-License-Identifier: Apache-2.0
"""Verdicts, one a step, printed as they happen."""
import time


class Failed(Exception):
    """What a step found instead of what it wanted."""


def check(truth, text):
    """Ends the step as failed unless `truth`."""
    if not truth:
        raise Failed(text)


class Report:
    """Runs steps in order. What counts is every step that was announced: one that never ran is not a pass."""

    def __init__(self, out):
        self.out, self.announced, self.passed, self.failed = out, 0, 0, 0
        self.began = time.monotonic()

    def say(self, text=""):
        print(text, file=self.out, flush=True)

    def chapter(self, text):
        self.say(f"\n{text}")

    def announce(self, count):
        self.announced += count

    def step(self, sentence, action):
        """Whether it passed. `action` returns what is worth showing of it."""
        began = time.monotonic()
        try:
            detail = action()
        except Exception as error:  # pylint: disable=broad-except
            self.failed += 1
            self._verdict("FAIL", sentence, f"{type(error).__name__}: {error}", began)
            return False
        self.passed += 1
        self._verdict("ok", sentence, detail, began)
        return True

    def _verdict(self, word, sentence, detail, began):
        self.say(f"  {word:<4} {sentence}  ({time.monotonic() - began:.1f} s)")
        for line in str(detail or "").splitlines():
            self.say(f"         {line}")

    def end(self):
        """The last line; whether every announced step passed."""
        good = self.passed == self.announced and not self.failed
        skipped = self.announced - self.passed - self.failed
        text = f"{self.passed} of {self.announced} steps passed, {self.failed} failed"
        if skipped:
            text += f", {skipped} not reached"
        self.say(f"\n{text}, in {time.monotonic() - self.began:.0f} s: {'OK' if good else 'NOT OK'}")
        return good
