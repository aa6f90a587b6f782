# SPDX-License-Identifier: Apache-2.0
"""Load from a pod, a process of its own. Prints one JSON object at its end; standard input steers it.

    load.py rate HOST PORT PER_SECOND          new echo connections at a steady rate until standard input ends
    load.py many HOST PORT COUNT CONCURRENCY   COUNT echo connections, one after the other in CONCURRENCY lanes
    load.py hold HOST PORT COUNT               COUNT open echo connections; each input line makes every one of them
                                               echo something and prints {"ok": n, "failed": n}
    load.py stall HOST PORT STEADY STALLED SECONDS RATE BYTES
                                               STEADY paced streams; after an input line STALLED ones beside them
                                               that nobody reads for SECONDS; after another line all are read to
                                               their end
"""
import asyncio
import hashlib
import json
import pathlib
import selectors
import socket
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from lib import pattern  # noqa: E402 pylint: disable=wrong-import-position
from lib.wait import SCALE  # noqa: E402 pylint: disable=wrong-import-position

SECONDS = 10 * SCALE


async def echo_once(host, port, number):
    payload = f"ping {number:09d} ".encode() * 4
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(payload)
        got = await reader.readexactly(len(payload))
        if got != payload:
            raise ValueError("echo differs")
        writer.write_eof()
        if await reader.read():
            raise ValueError("octets after the echo")
    finally:
        writer.close()


class Tally:
    """Outcomes of single connections."""

    def __init__(self):
        self.ok, self.failed, self.slowest = 0, [], 0.0

    async def run(self, host, port, number):
        began = time.monotonic()
        try:
            await asyncio.wait_for(echo_once(host, port, number), SECONDS)
            self.ok += 1
        except (OSError, ValueError, EOFError, asyncio.TimeoutError) as error:
            self.failed.append(f"{time.time():.3f} #{number}: {error!r}")
        self.slowest = max(self.slowest, time.monotonic() - began)

    def show(self, **more):
        print(json.dumps({"ok": self.ok, "failed": len(self.failed), "errors": self.failed[:10],
                          "slowest_s": round(self.slowest, 3), **more}), flush=True)


async def rate(host, port, per_second):
    tally, tasks, number = Tally(), set(), 0
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    threading.Thread(target=lambda: (sys.stdin.read(), loop.call_soon_threadsafe(stop.set)), daemon=True).start()
    print("running", flush=True)
    began = time.monotonic()
    while not stop.is_set():
        while number < (time.monotonic() - began) * per_second:
            task = asyncio.create_task(tally.run(host, port, number))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
            number += 1
        await asyncio.sleep(0.002)
    if tasks:
        await asyncio.wait(tasks)
    tally.show(per_second=round(number / (time.monotonic() - began), 1))


async def many(host, port, count, lanes):
    tally, numbers = Tally(), iter(range(count))

    async def lane():
        for number in numbers:
            await tally.run(host, port, number)
    began = time.monotonic()
    await asyncio.gather(*(lane() for _ in range(lanes)))
    tally.show(seconds=round(time.monotonic() - began, 2))


async def hold(host, port, count):
    streams = await asyncio.gather(*(asyncio.open_connection(host, port) for _ in range(count)))
    print("running", flush=True)

    async def ping(reader, writer, text):
        try:
            writer.write(text)
            return await asyncio.wait_for(reader.readexactly(len(text)), SECONDS) == text
        except (OSError, EOFError, asyncio.TimeoutError):
            return False
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        good = await asyncio.gather(*(ping(r, w, line.encode()) for r, w in streams))
        print(json.dumps({"ok": sum(good), "failed": len(good) - sum(good)}), flush=True)


class Reader:
    """One stream that is read when its time comes."""

    def __init__(self, host, port, key, total, pace, receive_bytes=None):
        self.sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        if receive_bytes:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        self.sock.settimeout(SECONDS)
        self.sock.connect((host, port))
        self.sock.sendall(f"{total} {key} {pace}\n".encode())
        self.sock.setblocking(False)
        self.key, self.total, self.count, self.hash, self.done = key, total, 0, hashlib.sha256(), False

    def read(self):
        try:
            octets = self.sock.recv(262144)
        except BlockingIOError:
            return
        self.hash.update(octets)
        self.count += len(octets)
        self.done = not octets

    def right(self):
        return self.count == self.total and self.hash.hexdigest() == pattern.digest(self.total, self.key)


def pump(selector, seconds):
    """Reads what comes for a while; ends early when every stream has ended."""
    end = time.monotonic() + seconds
    while selector.get_map() and (left := end - time.monotonic()) > 0:
        for item, _ in selector.select(left):
            item.data.read()
            if item.data.done:
                selector.unregister(item.fileobj)


def stall(host, port, steady, stalled, seconds, pace, total):
    selector = selectors.DefaultSelector()
    warm = 2
    long = int(pace * (warm + seconds + 1))
    readers = [Reader(host, port, key, long, pace) for key in range(steady)]
    for r in readers:
        selector.register(r.sock, selectors.EVENT_READ, r)
    pump(selector, 1)
    counts = [r.count for r in readers]
    pump(selector, warm)
    before = [min(pace, (r.count - c) / warm) for r, c in zip(readers, counts)]  # who was late catches up
    print("steady", flush=True)
    sys.stdin.readline()
    idle = [Reader(host, port, 1000 + key, total, 0, 65536) for key in range(stalled)]
    print("stalled", flush=True)
    pump(selector, 1)
    counts = [r.count for r in readers]
    pump(selector, seconds - 1)
    during = [(r.count - c) / (seconds - 1) for r, c in zip(readers, counts)]
    print("measured", flush=True)
    sys.stdin.readline()
    for r in idle:
        selector.register(r.sock, selectors.EVENT_READ, r)
    pump(selector, 60 * SCALE)
    print(json.dumps({"before": sum(before), "during": sum(during),
                      "worst": min(d / b if b else 0.0 for d, b in zip(during, before)),
                      "right": sum(r.right() for r in readers + idle), "streams": steady + stalled}), flush=True)


def main():
    mode, host, *numbers = sys.argv[1:]
    numbers = [int(n) for n in numbers]
    if mode == "stall":
        stall(host, *numbers)
    else:
        asyncio.run({"rate": rate, "many": many, "hold": hold}[mode](host, *numbers))


if __name__ == "__main__":
    main()
