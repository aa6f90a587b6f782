# SPDX-License-Identifier: Apache-2.0
"""A waypoint from `apply` to `delete` with the real programs on one machine, under a load that must not notice."""
import base64
import json
import os
import re
import shutil
import signal
import subprocess
import time

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from conftest import AMBIT
from lib.wait import until
from test_mesh import MANIFEST, mesh  # noqa: F401  pylint: disable=unused-import

WEB = """
import http.server
class H(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        body = (self.path + " " + (self.headers.get("x-request-id") or "direct")).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    do_DELETE = do_GET
    def log_message(self, *a):
        pass
http.server.ThreadingHTTPServer(("", 8080), H).serve_forever()
"""
# One request a new connection, and one a kept one, every 20 ms; what failed is printed.
LOAD = """
import http.client, time
kept, n, bad = None, 0, 0
while True:
    for reuse in (False, True):
        try:
            c = kept if reuse and kept else http.client.HTTPConnection("cart.shop", 80, timeout=20)
            c.request("GET", "/load")
            r = c.getresponse()
            text = r.read()
            if r.status != 200:
                raise OSError(f"{r.status} {text!r}")
            if reuse:
                kept = None if r.will_close else c
            else:
                c.close()
        except (OSError, http.client.HTTPException) as e:
            # A server may close an idle connection at any time: that one is simply opened again.
            if not (reuse and isinstance(e, (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError))):
                bad += 1
                print("FAILED", reuse, repr(e), flush=True)
            kept = None
        n += 1
    if n % 50 == 0:
        print("COUNT", n, bad, flush=True)
    time.sleep(0.02)
"""
ROUTE = """
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: items, namespace: shop}
spec:
  parentRefs: [{group: "", kind: Service, name: cart}]
  rules:
  - matches: [{path: {type: PathPrefix, value: /load}}, {path: {type: PathPrefix, value: /items}}]
    backendRefs: [{name: cart, port: 80}]
"""
NO_DELETE = """
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: no-delete, namespace: shop}
spec: {targetRefs: [{group: "", kind: Service, name: cart}], action: DENY, rules: [{to: [{operation: {methods: [DELETE]}}]}]}
"""


class Load:
    def __init__(self, mesh):
        self.mesh = mesh
        self.log = mesh.start_workload("load", "web", "python3", "-c", LOAD)["log"]

    def lines(self):
        with open(self.log, encoding="ascii", errors="replace") as f:
            return f.read().splitlines()

    def count(self):
        return max([int(line.split()[1]) for line in self.lines() if line.startswith("COUNT")] or [0])

    def failed(self):
        return [line for line in self.lines() if line.startswith("FAILED")]

    def go_on(self, more=150):
        before = self.count()
        until("the load goes on", lambda: self.count() >= before + more, 30)
        assert not self.failed(), self.failed()[:5]


def replicas(mesh):
    return [w for w in mesh("ps", "-o", "json", code=0).json["items"] if w.get("waypoint")]


def ask(mesh, path, method="GET"):
    return mesh("run", "-q", "-n", "shop", "--sa", "web", "--", "curl", "-s", "-X", method, "-o", "/dev/null", "-w",
                "%{http_code}", "--max-time", "10", f"http://cart.shop{path}").out


@pytest.fixture
def shop(mesh):  # noqa: F811
    mesh("up", code=0, seconds=60)
    mesh("apply", "-f", "-", text=MANIFEST, code=0)
    mesh("label", "ns", "shop", "istio.io/dataplane-mode=ambient", code=0)
    mesh.start_workload("cart", "cart", "python3", "-c", WEB, labels=["app=cart"])
    until("it serves", lambda: ask(mesh, "/") == "200", 20)
    return mesh


def test_a_waypoint_comes_scales_rolls_and_goes_and_no_request_fails(shop):
    load = Load(shop)
    load.go_on()
    out = shop("waypoint", "apply", "-n", "shop", "--enroll-namespace", "--wait", code=0, seconds=60).out
    assert "OK: waypoint shop/waypoint is ready" in out
    until("requests are seen", lambda: "GET /load 200" in shop("flows", "--requests", code=0).out, 20)
    load.go_on()
    shop("waypoint", "apply", "-n", "shop", "--replicas", "3", "--wait", code=0, seconds=60)
    until("three are ready", lambda: [w["ready"] for w in replicas(shop)] == [True] * 3, 30)
    load.go_on()
    shop("waypoint", "apply", "-n", "shop", "--replicas", "1", code=0)
    until("one is left", lambda: len(replicas(shop)) == 1, 60)
    load.go_on()
    first = {w["name"] for w in replicas(shop)}
    shop("waypoint", "restart", "waypoint", "-n", "shop", code=0)
    until("it was replaced", lambda: {w["name"] for w in replicas(shop)} & first == set() and len(replicas(shop)) == 1, 60)
    load.go_on()
    shop("label", "ns", "shop", "istio.io/use-waypoint-", code=0)
    until("nothing goes through it", lambda: "waypoint" not in shop("why", "shop/load", "shop/cart:80", code=0).out, 20)
    load.go_on()
    shop("waypoint", "delete", "waypoint", "-n", "shop", code=0)
    until("it is gone", lambda: not replicas(shop), 60)
    load.go_on()


def test_routes_policies_and_questions_about_them(shop):
    shop("apply", "-f", "-", text=ROUTE + "---" + NO_DELETE, code=0)
    shop("waypoint", "apply", "-n", "shop", "--enroll-namespace", "--wait", code=0, seconds=60)
    until("the route counts", lambda: (ask(shop, "/items"), ask(shop, "/other")) == ("200", "404"), 20)
    assert ask(shop, "/items", "DELETE") == "403"
    assert "/items/..." in shop("routes", "shop/cart", code=0).out
    shop.start_workload("web", "web", "sleep", "600")
    until("the node proxy knows it", lambda: "ALLOWED" in shop("can", "shop/web", "shop/cart:80", "--path", "/items").out, 20)
    denied = shop("why", "shop/web", "shop/cart:80", "--path", "/items", "--method", "DELETE", code=1).out
    assert denied.startswith("DENIED at layer 7") and "DENY policy shop/no-delete rule 0 matches" in denied
    assert "404: no route" in shop("why", "shop/web", "shop/cart:80", "--path", "/other", code=1).out
    lines = shop("flows", "--denied", "-o", "json", code=0).out.splitlines()
    assert ("DELETE", 403) in [(json.loads(line).get("method"), json.loads(line).get("status")) for line in lines]


KEY = ec.generate_private_key(ec.SECP256R1())
POINT = KEY.public_key().public_numbers()  # PyJWT's own to_jwk() drops leading zeros, which RFC 7518 6.2.1.2 wants
JWKS = json.dumps({"keys": [{"kty": "EC", "crv": "P-256", **{
    name: base64.urlsafe_b64encode(n.to_bytes(32, "big")).rstrip(b"=").decode() for name, n in (("x", POINT.x), ("y", POINT.y))}}]})
TOKENS = f"""
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {{name: jwt, namespace: shop}}
spec: {{targetRefs: [{{group: "", kind: Service, name: cart}}], jwtRules: [{{issuer: me, jwks: '{JWKS}'}}]}}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: jane, namespace: shop}}
spec: {{targetRefs: [{{group: "", kind: Service, name: cart}}], action: ALLOW, rules: [{{from: [{{source: {{requestPrincipals: [me/jane]}}}}]}}]}}
"""


def token(**claims):
    return jwt.encode({"iss": "me", "sub": "jane", **claims}, KEY, algorithm="ES256")


def tell(mesh, *words, text=None, code=None, run_dir=None):
    """`ambit` as an ordinary user whose machine runs nothing of the mesh: it has a kubeconfig and no more."""
    home = mesh.home / "elsewhere"
    if not home.exists():
        (home / "nodes").mkdir(parents=True)
        (home / "nodes" / "x.json").write_text('{"version": 1, "admin": "127.0.0.1:1"}', encoding="ascii")
        shutil.copy(mesh.home / "state" / "admin.kubeconfig", home / "config")
        os.chown(home / "config", 65534, 65534)
    config = [] if words[0] == "flows" else ["--kubeconfig", str(home / "config")]
    argv = mesh.argv(*words, *config, run_dir=run_dir or home)
    at = argv.index(str(AMBIT))
    argv[at:at] = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    done = subprocess.run(argv, input=text, capture_output=True, text=True, timeout=30, check=False)
    assert code in (None, done.returncode), done
    done.stdout, done.stderr = mesh.plain(done.stdout), mesh.plain(done.stderr)
    return done


def test_whoever_has_a_kubeconfig_may_ask_from_anywhere(shop):
    shop("apply", "-f", "-", text=ROUTE + "---" + NO_DELETE + "---" + TOKENS, code=0)
    shop("waypoint", "apply", "-n", "shop", "--enroll-namespace", "--wait", code=0, seconds=60)
    shop.start_workload("web", "web", "sleep", "600")
    good = ["--path", "/items", "--token", "-"]
    until("a good token passes", lambda: shop("can", "shop/web", "shop/cart:80", *good, text=token(), code=0), 20)
    until("it runs the newest", lambda: "1 of 1 replica runs" in tell(shop, "routes", "shop/cart", code=0).stdout, 10)
    near = shop("routes", "shop/cart", "-o", "json", code=0).json
    far = json.loads(tell(shop, "routes", "shop/cart", "-o", "json", code=0).stdout)
    assert far["items"] == near["items"] and near["items"]
    assert far["verdict"].endswith("as the control plane publishes it; 1 of 1 replica runs this version")
    assert tell(shop, "routes", "cart", "-n", "shop", code=0).stdout == tell(shop, "routes", "cart", code=0).stdout
    assert "there is no service nothing in namespace shop\n  fix: ambit get services -n shop" in \
        tell(shop, "routes", "shop/nothing", code=1).stderr
    shop("apply", "-f", "-", text="{apiVersion: v1, kind: Service, metadata: {name: free, namespace: shop, labels: "
         "{istio.io/use-waypoint: none}}, spec: {ports: [{port: 80}]}}", code=0)
    until("it is known", lambda: "no waypoint serves shop/free: its traffic is layer 4\n"
          "  fix: ambit label svc free -n shop istio.io/use-waypoint=WAYPOINT" in tell(shop, "routes", "shop/free", code=1).stderr, 10)

    until("the newest runs again", lambda: "1 of 1 replica runs" in tell(shop, "routes", "shop/cart", code=0).stdout, 10)
    old = token(exp=int(time.time()) - 100)
    stranger = jwt.encode({"iss": "me", "sub": "jane"}, ec.generate_private_key(ec.SECP256R1()), "ES256")
    for words, text, code, said in (
            (good, token(), 0, "token     valid, by RequestAuthentication shop/jwt: me/jane"),
            (good, old, 1, "401: Jwt is expired: exp is "), (good, stranger, 1, "401: Jwt verification fails"),
            (["--path", "/items"], None, 1, "no token: RequestAuthentication shop/jwt looks for one of me in header authorization"),
            (["--path", "/items", "--method", "DELETE"], None, 1, "403: DENY policy shop/no-delete rule 0 matches")):
        here = shop("why", "shop/web", "shop/cart:80", *words, text=text, code=code).out
        there = tell(shop, "why", "shop/web", "shop/cart:80", *words, text=text, code=code).stdout
        # Only the source of the answer, and the moment, make a difference.
        lines = [line for line in there.splitlines() if not line.startswith("  source ")]
        assert said in here and [re.sub("now is .*?Z", "", line) for line in lines] == \
            [re.sub("now is .*?Z", "", line) for line in here.splitlines()]
        assert "  source    as the control plane publishes it; 1 of 1 replica runs this version\n" in there
    # Of an address and of an identity, of which no namespace is known.
    web = next(w for w in shop("ps", "-o", "json").json["items"] if w["name"] == "web")
    assert tell(shop, "can", web["ips"][0], "cart.shop.svc.cluster.local:80", *good, text=token(), code=0).stdout.startswith("ALLOWED")
    assert tell(shop, "can", "spiffe://cluster.local/ns/shop/sa/web", "shop/cart:80", *good, text=token(), code=0).stdout.startswith("ALLOWED")
    assert "no service" in tell(shop, "can", "shop/web", "shop/nothing:80", code=3).stderr

    # What has happened is the node's to tell, and root's to ask.
    flows = tell(shop, "flows", code=3, run_dir=shop.home / "run")
    assert "only root may ask; --connections asks the node proxies alone\n  fix: sudo ambit flows\n" in flows.stderr
    assert " L4 " in flows.stdout and " L7 " not in flows.stdout
    tell(shop, "flows", "--connections", code=0, run_dir=shop.home / "run")
    assert ask(shop, "/items") == "403"
    until("root sees requests", lambda: "GET /items 403" in shop("flows", code=0).out, 10)

    # Who may not: a node's credential, and nobody.
    config = shop.home / "elsewhere" / "config"
    config.write_text(re.sub('"token": ".*"', '"token": "wrong"', config.read_text(encoding="ascii")), encoding="ascii")
    assert "Unauthorized" in tell(shop, "routes", "shop/cart", code=3).stderr
    config.write_text((shop.home / "state" / "nodes" / "n1.kubeconfig").read_text(encoding="ascii"), encoding="ascii")
    assert "only administrators" in tell(shop, "routes", "shop/cart", code=3).stderr


def test_a_waypoint_that_is_killed_lets_nobody_past_and_comes_back(shop):
    shop("apply", "-f", "-", text=ROUTE + "---" + NO_DELETE, code=0)
    shop("waypoint", "apply", "-n", "shop", "--enroll-namespace", "--wait", code=0, seconds=60)
    until("the policy counts", lambda: ask(shop, "/items", "DELETE") == "403", 20)
    one, = replicas(shop)
    passed = []
    for _ in range(3):
        os.kill(replicas(shop)[0]["pid"], signal.SIGKILL)
        for _ in range(3):
            passed.append(ask(shop, "/items", "DELETE"))
        until("it is back", lambda: ask(shop, "/items") == "200", 30)
    assert "200" not in passed
    again, = replicas(shop)
    assert again["name"] == one["name"] and again["restarts"] >= 3
    time.sleep(0.2)
    assert ask(shop, "/items", "DELETE") == "403"
