# SPDX-License-Identifier: Apache-2.0
"""Steady requests from a pod, a process of its own: one line an outcome, until standard input ends.

    asking.py PER_SECOND < JSON: [[KIND, HOST, HEADERS, REUSES], ...]   (one line)

Each kind sends GET /KIND/NUMBER at that rate, or as fast as it is answered, and prints "KIND NUMBER BEGAN ENDED OUTCOME":
times as of the clock, and the status, "refused" when the connection ended instead, or the name of another error. A kind that reuses its connection goes on with a new one when the
server has closed it between two requests, as HTTP wants it (RFC 9110 9.2.2).
"""
import asyncio
import json
import pathlib
import re
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from lib.wait import SCALE  # noqa: E402 pylint: disable=wrong-import-position

SECONDS = 10 * SCALE
UNANSWERED = 64  # so many at once; on a machine that is slower than the rate, a kept connection would fall behind for ever


class Kind:
    """Requests of one sort, one after the other where they share a connection."""

    def __init__(self, name, host, headers, reuses):
        self.name, self.host, self.reuses = name, host, reuses
        self.headers = "".join(f"{key}: {value}\r\n" for key, value in headers.items())
        self.kept, self.turn = None, asyncio.Lock()

    async def exchange(self, number, streams):
        reader, writer = streams
        writer.write(f"GET /{self.name}/{number} HTTP/1.1\r\nHost: {self.host}\r\n{self.headers}"
                     f"{'' if self.reuses else 'Connection: close' + chr(13) + chr(10)}\r\n".encode())
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        length = int(re.search(r"\r\ncontent-length: *(\d+)", head, re.I)[1])
        await reader.readexactly(length)
        return head.split()[1], re.search(r"\r\nconnection: *close", head, re.I)

    async def once(self, number):
        streams = await asyncio.open_connection(self.host, 80)
        try:
            return (await self.exchange(number, streams))[0]
        finally:
            streams[1].close()

    async def on_kept(self, number):
        """One more try, on a new connection, if the old one turns out to have ended before an answer began."""
        for fresh in ([False, True] if self.kept else [True]):
            if fresh:
                self.kept = await asyncio.open_connection(self.host, 80)
            try:
                status, closes = await self.exchange(number, self.kept)
                if closes:
                    self.drop()
                return status
            except (ConnectionError, asyncio.IncompleteReadError) as error:
                self.drop()
                if fresh or getattr(error, "partial", b""):
                    raise
        raise AssertionError("not reached")

    def drop(self):
        self.kept[1].close()
        self.kept = None

    async def run(self, number):
        began = time.time()
        try:
            if self.reuses:
                async with self.turn:
                    outcome = await asyncio.wait_for(self.on_kept(number), SECONDS)
            else:
                outcome = await asyncio.wait_for(self.once(number), SECONDS)
        except (ConnectionError, EOFError):
            outcome = "refused"
        except (OSError, asyncio.TimeoutError, ValueError, TypeError) as error:
            outcome = type(error).__name__
        print(self.name, number, f"{began:.4f} {time.time():.4f}", outcome, flush=True)


async def main():
    kinds = [Kind(*k) for k in json.loads(sys.stdin.readline())]
    stop, loop, tasks, number = asyncio.Event(), asyncio.get_running_loop(), set(), 0
    threading.Thread(target=lambda: (sys.stdin.read(), loop.call_soon_threadsafe(stop.set)), daemon=True).start()
    print("running", flush=True)
    began = time.monotonic()
    while not stop.is_set():
        if number < (time.monotonic() - began) * float(sys.argv[1]) and len(tasks) < UNANSWERED:
            for kind in kinds:
                task = asyncio.create_task(kind.run(number))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
            number += 1
        await asyncio.sleep(0.005)
    if tasks:
        await asyncio.wait(tasks)
    print("sent", number, flush=True)


if __name__ == "__main__":
    asyncio.run(main())
