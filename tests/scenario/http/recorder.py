# SPDX-License-Identifier: Apache-2.0
"""A backend that keeps the requests it gets, read in the plainest way: what proxies write is unambiguous,
and anything else is kept as an error."""
import re
import socket
import threading
import time

from lib.wait import SCALE


class Broken(Exception):
    pass


class Reader:
    def __init__(self, sock):
        self.sock, self.buf = sock, b""

    def more(self):
        data = self.sock.recv(65536)
        if not data:
            raise EOFError
        self.buf += data

    def line(self):
        while b"\r\n" not in self.buf:
            self.more()
        line, self.buf = self.buf.split(b"\r\n", 1)
        if b"\n" in line or b"\r" in line:
            raise Broken(f"bare line end in {line!r}")
        return line

    def exactly(self, n):
        while len(self.buf) < n:
            self.more()
        out, self.buf = self.buf[:n], self.buf[n:]
        return out

    def fields(self):
        out = []
        while line := self.line():
            m = re.fullmatch(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*(.*?)[ \t]*", line, re.S)
            if not m:
                raise Broken(f"field {line!r}")
            out.append((m[1].lower(), m[2]))
        return out

    def request(self):
        line = self.line()
        m = re.fullmatch(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+) ([\x21-\x7e]+) HTTP/1\.[01]", line)
        if not m:
            raise Broken(f"request line {line!r}")
        fields = self.fields()
        lengths = [v for n, v in fields if n == b"content-length"]
        codings = [v.lower() for n, v in fields if n == b"transfer-encoding"]
        body, trailers = b"", []
        if len(lengths) + len(codings) > 1 or codings not in ([], [b"chunked"]):
            raise Broken(f"framing {lengths} {codings}")
        if lengths:
            if not re.fullmatch(rb"[0-9]+", lengths[0]):
                raise Broken(f"length {lengths}")
            body = self.exactly(int(lengths[0]))
        elif codings:
            while True:
                size = self.line()
                if not re.fullmatch(rb"[0-9a-fA-F]{1,16}", size):
                    raise Broken(f"chunk {size!r}")
                if int(size, 16) == 0:
                    trailers = self.fields()
                    break
                body += self.exactly(int(size, 16))
                if self.exactly(2) != b"\r\n":
                    raise Broken("chunk end")
        return {"method": m[1], "target": m[2], "fields": fields, "body": body, "trailers": trailers}


class Recorder:
    """Requests are kept under the tag in their path: /TAG/what. Answers come from `answer`; one that contains
    "x-then: close" is the last of its connection."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port = self.listener.getsockname()[1]
        self.lock = threading.Lock()
        self.kept = {}
        self.heard = time.monotonic()  # of a request, the last time
        self.broken = []
        self.answer = lambda request: b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(sock,), daemon=True).start()

    def serve(self, sock):
        reader = Reader(sock)
        with sock:
            try:
                while True:
                    request = reader.request()
                    tag = request["target"].split(b"/")[1] if b"/" in request["target"] else b""
                    with self.lock:
                        self.kept.setdefault(tag, []).append(request)
                        self.heard = time.monotonic()
                    said = self.answer(request)
                    sock.sendall(said)
                    if b"x-then: close" in said:
                        return
            except Broken as e:
                with self.lock:
                    self.broken.append(str(e))
            except (EOFError, OSError):
                pass

    def wait_quiet(self):
        """Until nothing has come for as long as what was let go takes to arrive."""
        while (left := self.heard + 0.3 * SCALE - time.monotonic()) > 0:
            time.sleep(left)

    def take(self, tag):
        with self.lock:
            return self.kept.pop(tag, [])

    def close(self):
        self.listener.close()
