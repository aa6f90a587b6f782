# SPDX-License-Identifier: Apache-2.0
"""The whole way: real control plane, real node proxy, real waypoint, curl and an HTTP server that know of none of it.
Routes and policies of layer 7 are in force while the waypoint is up; while it is not, nobody gets past."""
import os
import subprocess
import sys
import time

import pytest

import plane as planes
from lib import netns, topo
from lib.cni import Agent
from lib.proc import Process
from lib.wait import SCALE, until
from lib.ztunnel import READINESS, Ztunnel
from plane import named, pod, policy, service
from test_proxy import Inside
from test_waypoints import GROUP, condition, gateway, route, target

WEB, V2 = "10.96.0.44", "10.96.0.45"
SERVER = """
import http.server, sys, time
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        if self.path == "/slow":
            time.sleep(1)
        body = f"{sys.argv[1]} {self.path}".encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args):
        pass
print("serving", flush=True)
http.server.ThreadingHTTPServer(("0.0.0.0", 8080), Handler).serve_forever()
"""


# A line a request, for as long as it runs.
LOAD = """
import http.client, sys, time
while True:
    c = http.client.HTTPConnection(sys.argv[1], 80, timeout=20)
    try:
        c.request("GET", "/load")
        r = c.getresponse()
        said = "ok" if r.status == 200 and r.read() == b"web /load" else f"failed: {r.status} at {time.time()}"
    except (OSError, http.client.HTTPException) as e:
        said = f"failed: {e!r} at {time.time()}"
    c.close()
    print(said, flush=True)
    time.sleep(0.002)
"""


# On one connection, opened anew when the other end has closed it; a request that met the end of a kept one is asked again.
KEPT = """
import http.client, sys, time
path = sys.argv[2]
c = http.client.HTTPConnection(sys.argv[1], 80, timeout=20)
while True:
    fresh = c.sock is None
    if fresh:
        print("opened", flush=True)
    try:
        c.request("GET", path)
        r = c.getresponse()
        right = r.status == 200 and r.read() == f"web {path}".encode()
        print("ok" if right else f"failed: {r.status} at {time.time()}", flush=True)
    except (OSError, http.client.HTTPException) as e:
        c.close()
        if fresh:
            print(f"failed: {e!r} at {time.time()}", flush=True)
    time.sleep(0.01)
"""


class Load:
    """One of these programs as `user`, until the end of the block: then none of its requests has failed."""

    def __init__(self, mesh, name, program, *words):
        self.process = Process(name, [sys.executable, "-c", program, WEB, *words], mesh.folder, ns=mesh.ns("p11"))

    def count(self, line):
        return self.process.text().splitlines().count(line)

    def go_on(self, more):
        """What was under way is answered by then."""
        enough = self.count("ok") + more
        until(f"{self.process.name} goes on", lambda: self.count("ok") >= enough or not self.process.alive, 30)
        text = self.process.text()
        assert self.process.alive and "failed: " not in text, text[-3000:]

    def __enter__(self):
        self.go_on(1)
        return self

    def __exit__(self, *_):
        self.process.kill()


def is_ready(ns):
    with netns.connect(ns, "127.0.0.1", READINESS, 2) as sock:
        sock.sendall(b"GET /healthz/ready HTTP/1.1\r\nhost: waypoint\r\nconnection: close\r\n\r\n")
        return b" 200 " in sock.recv(100)


class Mesh:
    """One node: `user` (p11), `web` (p12), the waypoint (p13), `v2` (p14), a second waypoint (p15)."""

    def __init__(self, folder):
        self.folder = str(folder)
        self.topology = topo.Topology({1: 5})
        self.ns = self.topology.ns
        self.plane = planes.Plane(folder, "--advertise", topo.ROUTER4)
        self.plane.addresses = {"discovery": f"{topo.ROUTER4}:15012", "api": f"{topo.ROUTER4}:6443",
                                "monitoring": f"{topo.ROUTER4}:15014"}
        self.url, self.root_file = f"https://{topo.ROUTER4}:15012", os.path.join(self.plane.data, "root-cert.pem")
        self.api, self.proxy, self.waypoint, self.second, self.apps = None, None, None, None, []

    def start_plane(self):
        original = planes.Process
        planes.Process = lambda name, argv, folder: original(name, argv, folder, ns=self.ns("fab"))
        try:
            self.plane.start()
        finally:
            planes.Process = original
        self.api = Inside(self.ns("fab"), self.plane.admin())

    def start(self):
        self.topology.up()
        self.start_plane()
        self.api.create(named("Namespace", "town"))
        for number, name in ((1, "user"), (2, "web"), (4, "v2")):
            self.api.create(named("ServiceAccount", name, "town"))
            self.api.create(pod(name, "town", topo.pod4(1, number), name, "node1"))
        self.api.create(service("web", "town", WEB, {"app": "web"}))
        self.api.create(service("v2", "town", V2, {"app": "v2"}))
        for ns, name in (("p12", "web"), ("p14", "v2")):
            self.apps.append(Process(name, [sys.executable, "-c", SERVER, name], self.folder, ns=self.ns(ns)))
            self.apps[-1].wait_text("serving", 20)
        self.start_proxy()
        return self

    def start_proxy(self):
        own = self.api.create(pod("ztunnel-1", "istio-system", topo.node4(1), "ztunnel", "node1", captured=False,
                                  hostNetwork=True))
        agent = Agent(os.path.join(self.folder, "zds.sock"))
        for ns, name in (("p11", "user"), ("p12", "web"), ("p14", "v2")):
            self.topology.capture(ns)
            agent.pods[f"uid-{ns}"] = (self.ns(ns), name, "town", name)
        agent.serve()
        self.proxy = Ztunnel(self.topology, 1, self, agent.path, self.folder)
        self.proxy.env["LOCAL_XDS_PATH"] = None
        self.proxy.set_token(self.api.token_for("istio-system", "ztunnel", own))
        self.proxy.start()
        self.proxy.wait_ready(20)

    def add_waypoint(self, name="wp", number=3):
        """The Gateway, and the pod that the node would make for it."""
        self.api.create(gateway(name, "town"))
        until("its account is there", lambda: self.api.get(named("ServiceAccount", name, "town")))
        self.api.create(pod(f"{name}-0", "town", topo.pod4(1, number), name, "node1", captured=False,
                            labels={f"{GROUP}/gateway-name": name}))
        process = self.start_waypoint(name, number)
        until("it is programmed", lambda: condition(self.api.get(gateway(name, "town")), "Programmed")[0] == "True")
        return process

    def start_waypoint(self, name="wp", number=3):
        token = os.path.join(self.folder, f"{name}-token")
        with open(token, "w", encoding="ascii") as f:
            f.write(self.api.token_for("town", name, self.api.get(pod(f"{name}-0", "town", None))))
        environment = {"PATH": os.environ["PATH"], "XDS_ADDRESS": self.url, "CA_ADDRESS": self.url,
                       "XDS_ROOT_CA": self.root_file, "CA_ROOT_CA": self.root_file, "AUTH_TOKEN": token,
                       "GATEWAY": name, "NAMESPACE": "town", "SERVICE_ACCOUNT": name, "POD_NAME": f"{name}-0",
                       "INSTANCE_IP": topo.pod4(1, number), "NODE_NAME": "node1", "CLUSTER_ID": "Kubernetes",
                       "WAYPOINT_WORKER_THREADS": "1"}
        ns = self.ns(f"p1{number}")
        process = Process(name, [os.path.join(planes.BUILD, "ambit-waypoint"), "proxy"], self.folder, ns=ns, env=environment)
        # The Pod object is ready because this file says so; clients are sent there when it is.
        until("it is ready", lambda: process.alive and is_ready(ns), 20)
        return process

    def curl(self, url, *arguments):
        """(status, body); status 0: no answer at all."""
        done = subprocess.run(["ip", "netns", "exec", self.ns("p11"), "curl", "-s", "-m", str(5 * SCALE), "-w", "\n%{http_code}",
                               *arguments, url], capture_output=True, text=True, timeout=20 * SCALE, check=False)
        body, _, code = done.stdout.rpartition("\n")
        return int(code or 0), body

    def stop(self):
        if self.proxy:
            self.proxy.discard()
        for process in [*self.apps, self.waypoint, self.second]:
            if process:
                process.kill()
        if self.plane.process:
            self.plane.process.stop(20)
        self.topology.down()


@pytest.fixture(scope="module")
def mesh(tmp_path_factory):
    m = Mesh(tmp_path_factory.mktemp("mesh"))
    try:
        yield m.start()
    finally:
        m.stop()


def test_layer_seven_from_label_to_label(mesh):
    api, url = mesh.api, f"http://{WEB}"
    until("layer 4 serves", lambda: mesh.curl(url + "/admin") == (200, "web /admin"))
    mesh.waypoint = mesh.add_waypoint()
    use = {"metadata": {"labels": {"istio.io/use-waypoint": "wp"}}}
    api.patch(named("Service", "web", "town"), use)
    until("requests go through the waypoint", lambda: mesh.curl(url + "/x", "-D", "-")[1].find("envoy-upstream") > 0)
    assert mesh.curl(url + "/x") == (200, "web /x")
    api.create(route("r", "town", "web", [
        {"matches": [{"headers": [{"name": "x-new", "value": "yes"}]}], "backendRefs": [{"name": "v2", "port": 80}]},
        {"backendRefs": [{"name": "web", "port": 80}]}], port=80))
    until("a header chooses", lambda: mesh.curl(url + "/y", "-H", "x-new: yes") == (200, "v2 /y"))
    assert mesh.curl(url + "/y") == (200, "web /y")
    api.create(policy("by-path", "town", "DENY", [{"to": [{"operation": {"paths": ["/admin"]}}]}],
                      targetRefs=[target("web")]))
    until("a path is denied", lambda: mesh.curl(url + "/admin")[0] == 403)
    assert mesh.curl(url + "/y") == (200, "web /y")
    until("nobody gets past it", lambda: mesh.curl(f"http://{topo.pod4(1, 2)}:8080/admin")[0] == 0)
    mesh.waypoint.kill()
    until("without it nothing is let past", lambda: mesh.curl(url + "/y")[0] in (0, 503))
    assert mesh.curl(url + "/admin")[0] != 200
    mesh.waypoint = mesh.start_waypoint()
    until("it is back, with its routes and policies",
          lambda: (mesh.curl(url + "/y", "-H", "x-new: yes"), mesh.curl(url + "/admin")[0]) == ((200, "v2 /y"), 403), 20)
    api.delete(policy("by-path", "town"))
    until("the policy is gone", lambda: mesh.curl(url + "/admin") == (200, "web /admin"))
    use["metadata"]["labels"]["istio.io/use-waypoint"] = None
    api.patch(named("Service", "web", "town"), use)
    until("the label goes: layer 4 again", lambda: mesh.curl(url + "/y", "-H", "x-new: yes") == (200, "web /y"))


def test_attaching_and_detaching_under_load_fails_nothing(mesh):
    """The waypoint hears of the service before the node proxies do, and forgets it after them."""
    api, url = mesh.api, f"http://{WEB}"
    use = {"metadata": {"labels": {"istio.io/use-waypoint": "wp"}}}
    with Load(mesh, "load", LOAD) as load:
        for _ in range(3):
            use["metadata"]["labels"]["istio.io/use-waypoint"] = "wp"
            api.patch(named("Service", "web", "town"), use)
            until("requests go through the waypoint",
                  lambda: mesh.curl(url + "/x", "-D", "-")[1].find("envoy-upstream") > 0)
            load.go_on(20)
            use["metadata"]["labels"]["istio.io/use-waypoint"] = None
            api.patch(named("Service", "web", "town"), use)
            until("layer 4 again", lambda: mesh.curl(url + "/x", "-D", "-")[1].find("envoy-upstream") < 0)
            load.go_on(20)
        time.sleep(3)  # the waypoint has forgotten it by then
        load.go_on(20)


def test_moving_between_waypoints_under_load_fails_nothing(mesh):
    """Policy is in force all the time: the pods take either waypoint while clients change from one to the other."""
    api, url = mesh.api, f"http://{WEB}"
    mesh.second = mesh.add_waypoint("wq", 5)

    def use(name):
        api.patch(named("Service", "web", "town"), {"metadata": {"labels": {"istio.io/use-waypoint": name}}})

    def bound():
        return condition(api.get(named("Service", "web", "town")), "istio.io/WaypointBound")
    denial = policy("by-path", "town", "DENY", [{"to": [{"operation": {"paths": ["/admin"]}}]}], targetRefs=[target("web")])
    api.create(denial)
    use("wp")
    until("the path is denied", lambda: mesh.curl(url + "/admin")[0] == 403)
    until("nobody gets past it", lambda: mesh.curl(f"http://{topo.pod4(1, 2)}:8080/x")[0] == 0)
    with Load(mesh, "load", LOAD) as load, Load(mesh, "kept", KEPT, "/kept") as kept, Load(mesh, "slow", KEPT, "/slow") as slow:
        for name in ("wq", "wp", "wq", "wp", "wq"):
            time.sleep(0.7)
            use(name)
            until("it is bound there", lambda want=name: bound()[2] == f"Successfully attached to waypoint town/{want}")
            assert mesh.curl(url + "/admin")[0] == 403
            assert mesh.curl(f"http://{topo.pod4(1, 2)}:8080/x")[0] == 0
        until("kept connections follow", lambda: kept.count("opened") > 1, 20)
        for one, more in ((load, 100), (kept, 100), (slow, 3)):
            one.go_on(more)
    mesh.waypoint.kill()
    until("nobody needs the first one any more", lambda: all(mesh.curl(url + "/y") == (200, "web /y") for _ in range(5)))
    api.delete(denial)
    use(None)
