# SPDX-License-Identifier: Apache-2.0
"""What the act of layer 7 is about: namespace `market`, its services and their pods, routes, policies and tokens."""
import base64
import json
import os
import re
import subprocess
import time

from demo.applications import Nginx

NAMESPACE = "market"
GATEWAY = "waypoint"
SUFFIX = f"{NAMESPACE}.svc.cluster.local"
ISSUER = "https://tokens.market"
NGINX = """daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ worker_connections 512; }}
http {{
  log_format short '$status $request_uri $remote_addr'; access_log {folder}/access.log short;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi; keepalive_requests 100000;
  server {{ listen 80; listen [::]:80; location / {{ default_type text/plain; return {status} "{name}\\n"; }} }}
}}
"""


class Stall(Nginx):
    """An nginx that says its name to whatever it is asked, always with the same status."""

    namespace = NAMESPACE

    def __init__(self, town, node, name, status=200, **labels):
        self.name, self.status, self.labels, self.account = name, status, labels, "stall"
        super().__init__(town, node)

    def prepare(self):
        with open(os.path.join(self.folder, "nginx.conf"), "w", encoding="ascii") as f:
            f.write(NGINX.format(folder=self.folder, status=self.status, name=self.name))

    def arrived(self, path):
        """Requests whose target begins with `path`, by its own log: [(status, target, client's address)]"""
        with open(os.path.join(self.folder, "access.log"), encoding="utf-8") as f:
            rows = [line.split() for line in f]
        return [(int(status), target, client) for status, target, client in rows if target.startswith(path)]


def service(name, selector, **labels):
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": NAMESPACE, "labels": labels},
            "spec": {"selector": selector, "ports": [{"name": "http", "port": 80, "appProtocol": "http"}]}}


def objects():
    """The namespace is in the mesh from its beginning. `side` is what stays at layer 4 whatever happens."""
    out = [{"apiVersion": "v1", "kind": "Namespace",
            "metadata": {"name": NAMESPACE, "labels": {"istio.io/dataplane-mode": "ambient"}}}]
    out += [{"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": a, "namespace": NAMESPACE}}
            for a in ("buyer", "stall")]
    out += [service("web", {"app": "web"}), service("web-v1", {"version": "v1"}), service("web-v2", {"version": "v2"}),
            service("stock", {"stock": "yes"}), service("side", {"app": "side"}, **{"istio.io/use-waypoint": "none"})]
    return documents(out)


def documents(items):
    """What `ambit apply` takes: JSON is YAML."""
    return "\n---\n".join(json.dumps(i) for i in items) + "\n"


def backend(name, **more):
    return {"name": name, "port": 80, **more}


def path(prefix):
    return [{"path": {"type": "PathPrefix", "value": prefix}}]


RULES = {
    "split": {"backendRefs": [backend("web-v1", weight=90), backend("web-v2", weight=10)]},
    "header": {"matches": [{"headers": [{"name": "x-taste", "value": "new"}]}], "backendRefs": [backend("web-v2")]},
    "fragile": {"matches": path("/fragile"), "backendRefs": [backend("stock")]},
    "stock": {"matches": path("/stock"), "backendRefs": [backend("stock")],
              "retry": {"attempts": 3, "codes": [500], "backoff": "5ms"}},
}


def route(*rules):
    return documents([{
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": {"name": "web", "namespace": NAMESPACE},
        "spec": {"parentRefs": [{"group": "", "kind": "Service", "name": "web", "port": 80}],
                 "rules": [RULES[r] for r in rules]}}])


def _security(kind, name, **spec):
    return {"apiVersion": "security.istio.io/v1", "kind": kind, "metadata": {"name": name, "namespace": NAMESPACE},
            "spec": {"targetRefs": [{"group": "", "kind": "Service", "name": "web"}], **spec}}


def no_admin():
    """Layer 4 sees one connection to one port: it could deny all of it or nothing."""
    return documents([_security("AuthorizationPolicy", "no-admin", action="DENY",
                                rules=[{"to": [{"operation": {"paths": ["/admin", "/admin/*"]}}]}])])


def tokens_only(jwks):
    return documents([
        _security("RequestAuthentication", "tokens", jwtRules=[{"issuer": ISSUER, "jwks": json.dumps(jwks)}]),
        _security("AuthorizationPolicy", "tokens-only", action="DENY", rules=[{
            "from": [{"source": {"notRequestPrincipals": [f"{ISSUER}/*"]}}],
            "to": [{"operation": {"paths": ["/account", "/account/*"]}}]}])])


def octets(data):
    """base64url without padding (RFC 7515)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Issuer:
    """Signs tokens (RS256) with a key of its own, by the openssl of the machine."""

    KEY_ID = "market-1"

    def __init__(self, folder, name):
        self.file = os.path.join(folder, f"{name}.pem")
        self._openssl("genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", self.file)

    @staticmethod
    def _openssl(*words, data=None):
        return subprocess.run(["openssl", *words], input=data, capture_output=True, check=True, timeout=20).stdout

    def jwks(self):
        modulus = re.search(rb"Modulus=([0-9A-F]+)", self._openssl("rsa", "-in", self.file, "-noout", "-modulus"))[1]
        return {"keys": [{"kty": "RSA", "alg": "RS256", "use": "sig", "kid": self.KEY_ID, "e": octets(b"\1\0\1"),
                          "n": octets(bytes.fromhex(modulus.decode()))}]}

    def token(self, subject):
        head = {"alg": "RS256", "typ": "JWT", "kid": self.KEY_ID}
        claims = {"iss": ISSUER, "sub": subject, "exp": int(time.time()) + 3600}
        signed = ".".join(octets(json.dumps(part).encode()) for part in (head, claims))
        return f"{signed}.{octets(self._openssl('dgst', '-sha256', '-sign', self.file, data=signed.encode()))}"


def altered(token, subject):
    """The same signature under other claims."""
    head, claims, signature = token.split(".")
    said = json.loads(base64.urlsafe_b64decode(claims + "=="))
    return ".".join((head, octets(json.dumps({**said, "sub": subject}).encode()), signature))
