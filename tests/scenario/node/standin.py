#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Stands in for a waypoint where only its life matters: it answers on 15021 whether it is ready, and what it was
told; it drains for a while when it is asked to end. /crash ends it at once, /sick and /well change its mind; it is not
ready either while a file `hold` lies beside it."""
import http.server
import json
import os
import signal
import socket
import threading

asked_to_end = threading.Event()
state = {"ready": True, "served": 0}
HOLD = os.path.join(os.path.dirname(os.path.abspath(__file__)), "hold")


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):  # pylint: disable=invalid-name
        body, status = b"", 200
        if self.path == "/healthz/ready":
            status = 503 if asked_to_end.is_set() or os.path.exists(HOLD) else 200 if state["ready"] else 503
        elif self.path == "/told":
            with open(os.environ["AUTH_TOKEN"], encoding="ascii") as f:
                token = f.read()
            body = json.dumps({"env": dict(os.environ), "uid": os.getuid(), "gid": os.getgid(), "groups": os.getgroups(),
                               "token": token, "mode": os.stat(os.environ["AUTH_TOKEN"]).st_mode & 0o777,
                               "writable": os.access(os.environ["AUTH_TOKEN"], os.W_OK)}).encode()
        elif self.path == "/crash":
            os._exit(3)
        elif self.path in ("/sick", "/well"):
            state["ready"] = self.path == "/well"
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):  # pylint: disable=arguments-differ
        pass


class Server(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6


def main():
    signal.signal(signal.SIGTERM, lambda *_: asked_to_end.set())
    server = Server(("::", 15021), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    asked_to_end.wait()
    threading.Event().wait(1.0)


main()
