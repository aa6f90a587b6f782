# SPDX-License-Identifier: Apache-2.0
"""The whole way: an application's plain TCP, its node proxy, the waypoint, the destination's node proxy, the application."""
import hashlib
import os
import subprocess

from lib import l7, model, netns, waypoint
from lib.tunnelled import H1, H2
from lib.wait import until

BULK_MIB = int(os.environ.get("SCENARIO_BULK_MIB", "256"))
URL = f"http://{waypoint.REAL}"


def curl(lab, *arguments, seconds=300):
    done = subprocess.run(["ip", "netns", "exec", lab.ns(waypoint.REAL_CLIENT), "curl", "-sS", "--fail-with-body", *arguments],
                          capture_output=True, timeout=seconds, check=False)
    return done.returncode, done.stdout


def test_a_request_from_pod_to_pod(mesh):
    with netns.connect(mesh.ns(waypoint.REAL_CLIENT), waypoint.REAL, 80) as sock:
        r = H1(sock).get("/echo")
        assert r.status == 200 and r.json()["pod"] == "real-1"
        assert "x-request-id" in dict(r.json()["headers"])
    line = mesh.wp.wait_request("/echo")
    assert l7.host("real") in line
    until("the client's identity is known", lambda: mesh.wp.metric(
        "istio_requests_total", source_principal=model.spiffe("user"), destination_principal=model.spiffe("real")) > 0)


def test_http2_and_tcp_ports(mesh):
    with netns.connect(mesh.ns(waypoint.REAL_CLIENT), waypoint.REAL, 81) as sock:
        assert H2(sock).get("/echo").status == 200
    with netns.connect(mesh.ns(waypoint.REAL_CLIENT), waypoint.REAL, 82) as sock:
        assert sock.recv(100) == b"hello from real-1\n"


def test_a_policy_that_layer_4_could_not_make(mesh):
    rule = l7.w.Rule(**{"from": [l7.w.Source(principals=["cluster.local/ns/shop/sa/user"])],
                        "to": [l7.w.Operation(methods=["GET"])]})
    mesh.use(l7.policy("get", "real", l7.ALLOW, [rule]))
    assert curl(mesh, f"{URL}/echo")[0] == 0
    code, body = curl(mesh, "-X", "DELETE", f"{URL}/echo")
    assert code == 22 and body == b"RBAC: access denied"


def test_bodies_of_any_size_in_constant_memory(mesh, plain_build, tmp_path):
    """Down and up; the peak of memory is of what is under way, not of what has passed."""
    assert plain_build is mesh
    lab, size = mesh, BULK_MIB << 20
    block = os.urandom(1 << 20)
    source = tmp_path / "body"
    with open(source, "wb") as f:
        f.write(block)
        f.truncate(size)
    h = hashlib.sha256()
    with open(source, "rb") as f:
        while octets := f.read(1 << 20):
            h.update(octets)
    code, body = curl(lab, "-T", str(source), "-X", "POST", f"{URL}/digest", seconds=3600)
    assert code == 0 and body.decode() == f"{h.hexdigest()} {size}"
    up = lab.wp.private_kib()
    code, body = curl(lab, "-o", "/dev/null", "-w", "%{size_download}", f"{URL}/stream/{size}", seconds=3600)
    assert code == 0 and int(body) == size
    assert max(up, lab.wp.private_kib()) < 64 << 10
    with open(f"/proc/{lab.wp.process.pid}/status", encoding="ascii") as f:
        (peak,) = [int(line.split()[1]) for line in f if line.startswith("VmHWM")]
    assert peak < 128 << 10
