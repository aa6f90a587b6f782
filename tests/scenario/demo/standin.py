# SPDX-License-Identifier: Apache-2.0
"""Stands in for the control plane: the embedded API server, and a translation of what it holds."""
import base64
import json
import os
import socket
import ssl
import subprocess
import threading
import time
import urllib.request

from lib import cp, model, netns

PROGRAM = os.path.join(os.environ["AMBIT_BUILD"], "tests/unit/apiserver/apiserver_program")


def _pipe(a, b):
    try:
        while octets := a.recv(65536):
            b.sendall(octets)
        b.shutdown(socket.SHUT_WR)
    except OSError:
        pass


class Forward:
    def __init__(self, ns, address, port, target):
        self.ns, self.target = ns, target
        self.listener = netns.listen(ns, address, port)
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                conn, _ = self.listener.accept()
            except OSError:
                return
            other = netns.connect(self.ns, "127.0.0.1", self.target, None)
            for a, b in ((conn, other), (other, conn)):
                threading.Thread(target=_pipe, args=(a, b), daemon=True).start()


class ControlPlane:
    def __init__(self, ns, address, folder):
        self.ns, self.folder = ns, os.path.join(folder, "control")
        os.makedirs(self.folder)
        self.address = address
        self.cp = cp.ControlPlane(ns, address, 15012, os.path.join(self.folder, "xds"))
        self.url, self.root_file = self.cp.url, self.cp.root_file
        self.stopping = False

    def start(self):
        self.cp.start()
        self.log = open(os.path.join(self.folder, "api.log"), "ab")
        self.api = subprocess.Popen(["nsenter", f"--net={netns.path(self.ns)}", PROGRAM, self.folder],
                                    stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, text=True)
        self.port = int(self.api.stdout.readline().split()[1])
        self.process = type("P", (), {"name": "standin", "pid": self.api.pid})
        Forward(self.ns, self.address, 6443, self.port)
        threading.Thread(target=self.follow, daemon=True).start()

    def kubeconfig(self, _node):
        with open(os.path.join(self.folder, "admin.kubeconfig"), encoding="utf-8") as f:
            text = f.read()
        text = text.replace(f"https://127.0.0.1:{self.port}",
                            f"https://{self.address}:6443\n    tls-server-name: localhost")
        path = os.path.join(self.folder, "remote.kubeconfig")
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        return path

    def kubectl(self, *args, text=None):
        done = subprocess.run(["nsenter", f"--net={netns.path(self.ns)}", "kubectl", "--cache-dir", self.folder + "/cache",
                               "--kubeconfig", self.kubeconfig(0), *args], input=text, capture_output=True, text=True,
                              timeout=30)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def get(self, path):
        request = (f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer admin-token\r\n"
                   "Accept: application/json\r\nConnection: close\r\n\r\n").encode()
        ctx = ssl._create_unverified_context()
        with ctx.wrap_socket(netns.connect(self.ns, "127.0.0.1", self.port)) as sock:
            sock.sendall(request)
            got = b""
            while piece := sock.recv(65536):
                got += piece
        head, _, body = got.partition(b"\r\n\r\n")
        if b"chunked" in head.lower():
            out = b""
            while body:
                size, _, body = body.partition(b"\r\n")
                out += body[:int(size, 16)]
                body = body[int(size, 16) + 2:]
            body = out
        return json.loads(body)

    def follow(self):
        last = None
        while not self.stopping:
            try:
                now = self.world()
            except Exception as error:
                self.log.write(f"{error!r}\n".encode())
                self.log.flush()
                time.sleep(0.2)
                continue
            if now != last:
                self.cp.replace(now, settle=False)
                last = now
            time.sleep(0.05)

    def world(self):
        out = []
        for p in self.get("/api/v1/pods")["items"]:
            m, ips = p["metadata"], [i["ip"] for i in p.get("status", {}).get("podIPs", ())]
            if not ips:
                continue
            enabled = m.get("annotations", {}).get("ambient.istio.io/redirection") == "enabled"
            out.append(model.workload(m["name"], ips, p["spec"]["serviceAccountName"], m["namespace"],
                                      protocol=model.HBONE if enabled else model.NONE, node=p["spec"]["nodeName"]))
        for a in self.get("/apis/security.istio.io/v1/authorizationpolicies")["items"]:
            principals = [s for r in a["spec"]["rules"] for f in r["from"] for s in f["source"]["principals"]]
            ports = [int(s) for r in a["spec"]["rules"] for f in r.get("to", ()) for s in f["operation"]["ports"]]
            clauses = [[model.match(principals=principals)]]
            if ports:
                clauses.append([model.match(destination_ports=ports)])
            out.append(model.policy(a["metadata"]["name"], model.DENY if a["spec"].get("action") == "DENY" else model.ALLOW,
                                    clauses, ns=a["metadata"]["namespace"]))
        return out

    def stop(self):
        self.kill()

    def kill(self):
        self.stopping = True
        self.cp.kill()
        self.api.stdin.close()
        self.api.wait()
