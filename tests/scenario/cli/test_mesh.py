# SPDX-License-Identifier: Apache-2.0
"""`up` to `down` with the real programs, in a network namespace of its own: the whole way of somebody who tries it."""
import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile

import pytest

from conftest import AMBIT, Cli
from lib import netns
from lib.wait import until

NS = f"ambit-cli-{os.getpid()}"
MANIFEST = """
{apiVersion: v1, kind: Namespace, metadata: {name: shop}}
---
{apiVersion: v1, kind: ServiceAccount, metadata: {name: cart, namespace: shop}}
---
{apiVersion: v1, kind: ServiceAccount, metadata: {name: web, namespace: shop}}
---
apiVersion: v1
kind: Service
metadata: {name: cart, namespace: shop}
spec: {selector: {app: cart}, ports: [{port: 80, targetPort: 8080}]}
"""
DENY = """
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: not-web, namespace: shop}
spec: {action: DENY, rules: [{from: [{source: {principals: [cluster.local/ns/shop/sa/web]}}]}]}
"""
SERVE = ["python3", "-m", "http.server", "8080", "--bind", "::", "--directory", "/usr/share/common-licenses"]
HOLD = "import socket, time; s = socket.create_connection(('{}', {})); print('open', flush=True); time.sleep(600)"


def run(*argv):
    subprocess.run(argv, check=True, capture_output=True)


class Mesh(Cli):
    """In the namespace, but with the machine's mounts: the agent keeps namespaces as mounts."""

    def argv(self, *words, run_dir=None):
        argv = super().argv(*words, run_dir=run_dir)
        if words[0] == "up":
            argv[2:2] = ["--log-dir", str(self.home / "log"), "--node", "n1"]
        return ["nsenter", f"--net={netns.path(NS)}", *argv]

    def start_workload(self, name, account, *command, labels=()):
        self("run", "-d", "-n", "shop", "--name", name, "--sa", account, *(w for l in labels for w in ("-l", l)), "--",
             *command, code=0)
        return next(w for w in self("ps", "-o", "json").json["items"] if w["name"] == name)

    def get(self, url, account="web"):
        """What curl says when it runs as a workload: status of HTTP, or 000."""
        return self("run", "-q", "-n", "shop", "--sa", account, "--", "curl", "-s", "-o", "/dev/null", "-w", "%{http_code}",
                    "--max-time", "10", url).out


def traces(home):
    """What a mesh may leave: files, mounts, processes, links."""
    def line(pid):
        with contextlib.suppress(OSError):
            with open(f"/proc/{pid}/cmdline", "rb") as f:
                return f.read().decode(errors="replace")
        return ""
    with open("/proc/mounts", encoding="utf-8") as f:
        mounts = [m for m in f if str(home) in m]
    running = [line(p) for p in os.listdir("/proc") if p.isdigit()]
    links = subprocess.run(["ip", "-n", NS, "-o", "link"], check=True, capture_output=True, text=True).stdout
    files = sorted(str(p) for p in home.rglob("*"))
    return {"mounts": mounts, "processes": [r for r in running if str(home) in r], "links": links, "files": files}


@pytest.fixture
def mesh():
    assert os.geteuid() == 0, "network namespaces need root"
    home = pathlib.Path(tempfile.mkdtemp(prefix="ambit-cli-"))  # short: paths of sockets have a limit
    home.chmod(0o755)
    run("ip", "netns", "add", NS)
    m = Mesh(home)
    try:
        run("ip", "-n", NS, "link", "set", "lo", "up")
        yield m
    finally:
        if m("down", "--yes", "--purge", seconds=60).code != 0:  # a test that failed half-way has killed something
            m("up", seconds=60)
            m("down", "--yes", "--purge", seconds=60)
        run("ip", "netns", "del", NS)
        shutil.rmtree(home)


def test_from_nothing_to_mutual_tls_and_back_to_nothing(mesh):
    before = traces(mesh.home)
    first = mesh("up", code=0, seconds=60).out
    assert [line.split()[0] for line in first.splitlines()[:3]] == ["ambitd", "ambit-agent", "ambit-ztunnel"]
    assert "OK: the mesh is up on node n1" in first
    again = mesh("up", code=0, seconds=60).out
    assert again.count("runs already") == 3
    assert mesh("status", "--strict", code=0).out.startswith("OK: 0 workloads captured on 1 node; no open connection")

    mesh("apply", "-f", "-", text=MANIFEST, code=0)
    cart = mesh.start_workload("cart", "cart", *SERVE, labels=["app=cart"])
    until("it serves", lambda: mesh.get(f"http://{cart['ips'][0]}:8080/GPL-3") == "200", 20)
    old = mesh.start_workload("old", "web", "python3", "-c", HOLD.format(cart["ips"][0], 8080))
    until("the old connection is open", lambda: open(old["log"], encoding="ascii").read() == "open\n", 20)

    out = mesh("label", "ns", "shop", "istio.io/dataplane-mode=ambient", "--wait", code=0).out
    assert "2 running pods will be captured; existing connections stay as they are" in out and "done in" in out
    mesh.start_workload("new", "web", "python3", "-c", HOLD.format("cart.shop", 80))
    assert mesh.get("http://cart.shop/GPL-3") == "200"
    ends = until("the new connection is seen", lambda: mesh("conns", "cart", "-o", "json", code=0).json["items"], 10)
    protected = {(e["source"], e["destination"]) for e in ends if e["secured"] == "mTLS"}
    assert ("shop/new", "shop/cart") in protected
    plain = mesh("conns", "--plain", "-o", "json", code=0).json["items"]
    assert {(e["source"], e["destination"], e.get("note")) for e in plain} == {("shop/old", "shop/cart", "older than the mesh")}
    until("curl's have ended", lambda: mesh("status", "-o", "json", code=0).json["counts"]["connections_mtls"] == 1, 20)
    status = mesh("status", "-o", "json", code=0).json
    assert status["counts"]["connections_plaintext"] == 2
    assert [f["code"] for f in status["findings"]] == ["A501"]
    mesh("status", "--strict", code=1)

    mesh("apply", "-f", "-", text=DENY, code=0)
    until("the policy denies", lambda: mesh.get("http://cart.shop/GPL-3") == "000", 20)
    assert mesh.get("http://cart.shop/GPL-3", account="cart") == "200"
    denied = mesh("logs", "--denied", "-o", "json", code=0).out.splitlines()
    assert json.loads(denied[-1])["source_identity"] == "spiffe://cluster.local/ns/shop/sa/web"
    out = mesh("why", "shop/new", "cart.shop:80", code=1).out
    assert out.startswith("DENIED at layer 4: shop/new does not reach shop/cart:80") and "DENY shop/not-web matches" in out
    assert "fix: ambit get authorizationpolicy not-web -n shop -o yaml" in out
    assert "ALLOWED" in mesh("can", "spiffe://cluster.local/ns/shop/sa/cart", "shop/cart:80", code=0).out
    assert mesh("certs", code=0).out.startswith("OK: 4 certificates, all valid")
    assert "1/1" in mesh("services", "-n", "shop", code=0).out

    refused = mesh("down", code=2, text="")
    assert "running workloads will be ended" in refused.err and "shop/cart" in refused.err
    mesh("stop", "shop/new", code=0)
    assert "OK: nothing of the mesh runs here any more" in mesh("down", "--yes", "--purge", code=0, seconds=60).out
    assert "nothing is up here" in mesh("down", code=0).out
    assert traces(mesh.home) == before


def test_another_range_is_the_nodes_at_the_next_start(mesh):
    """The node's own credential could not change it."""
    def ranges():
        return mesh("get", "node", "n1", "-o", "json", code=0).json["spec"]["podCIDRs"]
    mesh("up", code=0, seconds=60)
    assert ranges() == ["10.244.0.0/16", "fd00:10:244::/64"]
    mesh("down", "--yes", code=0, seconds=60)
    mesh("up", "--pod-cidr", "10.77.0.0/24", code=0, seconds=60)
    assert ranges() == ["10.77.0.0/24"]
    mesh("apply", "-f", "-", text=MANIFEST, code=0)
    ip, = mesh.start_workload("cart", "cart", "sleep", "infinity")["ips"]
    assert ip.startswith("10.77.0.")


def test_a_part_that_does_not_come_up_is_shown_and_what_was_started_goes_again(mesh):
    before = traces(mesh.home)
    with subprocess.Popen(["nsenter", f"--net={netns.path(NS)}", "python3", "-m", "http.server", "--bind", "127.0.0.1",
                           "15021"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as thief:
        result = None
        inside = os.stat(netns.path(NS)).st_ino  # before it is there, its table is the machine's
        until("the port is taken", lambda: os.stat(f"/proc/{thief.pid}/ns/net").st_ino == inside
              and b":3AAD" in open(f"/proc/{thief.pid}/net/tcp", "rb").read(), 20)
        result = mesh("up", code=1, seconds=60)
        document = mesh("up", "-o", "json", code=1, seconds=60).json
        thief.kill()
    assert (document["verdict"], {i["name"]: i["result"] for i in document["items"]}) == (
        "problem", {"ambitd": "ended", "ambit-agent": "ended", "ambit-ztunnel": "ended"})
    assert re.search(r"^ambit up: ambit-ztunnel has ended: .*:15021: Address already in use\n(    .*\n)+"
                     r"  fix: ss -ltnp 'sport = :15021'\n", result.err), result.err
    after = traces(mesh.home)
    assert after["processes"] == before["processes"]
    assert not [f for f in after["files"] if f.startswith(str(mesh.home / "run"))], "what it had made is left"
    assert mesh("up", code=0, seconds=60).out.count("ready after") == 3


def test_a_full_disk_is_said_and_nothing_is_lost_by_it(mesh):
    data = mesh.home / "state"
    data.mkdir()
    run("mount", "-t", "tmpfs", "-o", "size=4m", "none", str(data))
    try:
        mesh("up", code=0, seconds=60)
        large = "{apiVersion: v1, kind: ConfigMap, metadata: {name: %s}, data: {x: '" + 900_000 * "x" + "'}}"
        filler = data / "filler"
        with filler.open("wb", buffering=0) as f, contextlib.suppress(OSError):
            while True:
                f.write(bytes(4096))
        full = mesh("apply", "-f", "-", text=large % "late", code=3, seconds=60)
        assert "the data folder takes no changes (is the disk full?)" in full.err
        assert "  fix: ambit status\n" in full.err
        filler.unlink()
        until("changes are taken again", lambda: mesh("apply", "-f", "-", text=large % "next", seconds=60).code == 0, 60)
        assert "configmap/late" in mesh("get", "configmaps", "-o", "name", code=0).out
        assert mesh("down", "--yes", code=0, seconds=60).code == 0
        mesh("up", code=0, seconds=60)
        assert "configmap/late" in mesh("get", "configmaps", "-o", "name", code=0).out
    finally:
        mesh("down", "--yes", seconds=60)
        run("umount", str(data))


def test_one_up_or_down_is_at_work_at_a_time(mesh):
    """The first one waits for a reader of the log it wants to write to; no one comes until it has been killed."""
    before = traces(mesh.home)
    (mesh.home / "log").mkdir()
    log = mesh.home / "log" / "ambitd.log"
    os.mkfifo(log)
    with subprocess.Popen(mesh.argv("up"), env=mesh.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as first:
        try:
            until("it is at work", (mesh.home / "run" / "nodes").is_dir, 20)
            for word in ("up", "down"):
                refused = mesh(word, code=1)
                assert refused.err == (f"ambit {word}: another `ambit up` or `ambit down` is at work in {mesh.home}/run\n"
                                       f"  fix: ambit {word}, once it has ended\n")
                assert mesh(word, "-o", "json", code=1).json["verdict"] == "problem"
            assert first.poll() is None
        finally:
            first.kill()
    assert "nothing is up here" in mesh("down", code=0).out  # its lock has died with it
    log.unlink()
    mesh("up", code=0, seconds=60)
    mesh("up", code=0, seconds=60)
    mesh("down", "--yes", "--purge", code=0, seconds=60)
    assert traces(mesh.home) == before


def test_another_mesh_than_the_one_that_is_up_is_refused(mesh):
    mesh("up", "--pod-cidr", "10.20.0.0/24", code=0, seconds=60)
    other = mesh("up", "--node", "n2", code=1)
    assert "--node: the mesh that is up here has n1" in other.err and "ready" not in other.out
    assert "  fix: ambit down && ambit up --node n1 --node n2\n" in other.err
    assert [n["metadata"]["name"] for n in mesh("get", "nodes", "-o", "json", code=0).json["items"]] == ["n1"]
    with open(mesh.home / "run" / "up.json", encoding="ascii") as f:
        agent = json.load(f)["parts"]["ambit-agent"]["pid"]
    os.kill(agent, signal.SIGKILL)
    until("the agent is gone", lambda: mesh("ps").code == 3, 20)
    assert "ambit-agent    ready" in mesh("up", code=0, seconds=60).out  # told nothing: with what holds already
    with open(mesh.home / "run" / "up.json", encoding="ascii") as f:
        agent = json.load(f)["parts"]["ambit-agent"]["pid"]
    assert b"--pod-cidr=10.20.0.0/24" in pathlib.Path(f"/proc/{agent}/cmdline").read_bytes()


def proxy_pod(mesh):
    """What kubectl shows under READY, and what `kubectl wait` waits for."""
    kubectl = ["nsenter", f"--net={netns.path(NS)}", "kubectl", "--kubeconfig", str(mesh.home / "state" / "admin.kubeconfig")]
    def get(*words):
        return subprocess.run([*kubectl, "get", "pod", "ztunnel-n1", "-n", "istio-system", *words], check=True,
                              capture_output=True, text=True).stdout
    return get("--no-headers").split()[1], get("-o", "jsonpath={.status.conditions[?(@.type=='Ready')].status}")


def test_what_has_died_is_said_and_started_again(mesh):
    mesh("up", code=0, seconds=60)
    with open(mesh.home / "run" / "up.json", encoding="ascii") as f:
        parts = json.load(f)["parts"]
    until("the proxy's pod is ready", lambda: proxy_pod(mesh) == ("1/1", "True"), 20)
    os.kill(parts["ambit-ztunnel"]["pid"], 9)
    until("status tells", lambda: "A101" in mesh("status", code=1).out or None, 20)
    until("the proxy's pod is not ready", lambda: proxy_pod(mesh) == ("0/1", "False"), 20)
    out = mesh("up", code=0, seconds=60).out
    assert out.count("runs already") == 2 and "ambit-ztunnel  ready after" in out
    until("the proxy's pod is ready again", lambda: proxy_pod(mesh) == ("1/1", "True"), 20)
    assert mesh("status", code=0).out.startswith("OK")
    kill(mesh, "ambit-ztunnel")
    up = mesh("up", "-o", "json", code=0, seconds=60).json
    assert (up["verdict"], {i["name"]: i["result"] for i in up["items"]}) == (
        "ok", {"ambitd": "unchanged", "ambit-agent": "unchanged", "ambit-ztunnel": "started"})
    down = mesh("down", "--yes", "-o", "json", code=0, seconds=60).json
    assert (down["verdict"], [(i["name"], i["result"]) for i in down["items"]]) == (
        "ok", [("ambit-ztunnel", "ended"), ("ambit-agent", "ended"), ("ambitd", "ended")])


def test_without_root_nothing_is_started(ambit):
    import pwd
    nobody = pwd.getpwnam("nobody").pw_uid
    done = subprocess.run([AMBIT, "up", "--node", "n1"], user=nobody, capture_output=True, text=True, check=False, env=ambit.env)
    assert done.returncode == 1 and "only root" in done.stderr and "fix: sudo ambit up --node n1\n" in done.stderr


def kill(mesh, part):
    """As if it had crashed."""
    pid = json.loads((mesh.home / "run" / "up.json").read_text(encoding="ascii"))["parts"][part]["pid"]
    os.kill(pid, signal.SIGKILL)
    until(f"{part} is gone", lambda: not os.path.exists(f"/proc/{pid}"))


@pytest.mark.parametrize("purge", [[], ["--purge"]])
def test_what_a_forced_down_leaves_is_taken_over_by_the_next_up(mesh, purge):
    before = traces(mesh.home)
    mesh("up", code=0, seconds=60)
    mesh("apply", "-f", "-", text=MANIFEST, code=0)
    mesh.start_workload("cart", "cart", "sleep", "600")
    kill(mesh, "ambitd")
    refused = mesh("down", "--yes", code=1, seconds=90).err
    assert "the mesh stays up: the control plane does not run" in refused and refused.endswith("  fix: ambit up\n")
    forced = mesh("down", "--yes", "--force", *purge, code=1, seconds=90).err
    assert re.search(r"what is left of 1 workload is in \S+/local: the next `ambit up` takes over .*\n  fix: ambit up\n$", forced)
    again = mesh("down", "--yes", *purge, code=1).err  # not "nothing is up here"
    assert "workloads are left" in again and again.endswith("  fix: ambit up\n")
    mesh("up", code=0, seconds=60)
    until("it was taken over and removed", lambda: mesh("ps", "-o", "json", code=0).json["items"] == [], 60)
    mesh("down", "--yes", "--purge", code=0, seconds=60)
    assert traces(mesh.home) == before


def test_what_is_gone_is_said_with_the_command_that_helps(mesh):
    mesh("up", code=0, seconds=60)
    mesh("apply", "-f", "-", text=MANIFEST, code=0)
    mesh("label", "ns", "shop", "istio.io/dataplane-mode=ambient", code=0)
    mesh.start_workload("cart", "cart", *SERVE, labels=["app=cart"])
    mesh.start_workload("web", "web", "sleep", "600")

    until("the proxy knows both", lambda: mesh("can", "shop/web", "shop/cart:80", code=0), 20)

    kill(mesh, "ambitd")
    for words in (["get", "pods"], ["label", "ns", "shop", "a=b"], ["waypoint", "status"], ["delete", "pod", "x"]):
        result = mesh(*words, code=3)
        assert "Couldn't connect" in result.err and result.err.endswith("  fix: ambit status\n"), result
    result = mesh("apply", "-f", "-", text=DENY, code=3)
    assert "Couldn't connect" in result.err and result.err.endswith("  fix: ambit status\n"), result
    # The output of a workload that does not start is not kept open for the time that its removal takes.
    refused = mesh("run", "-n", "shop", "--sa", "web", "--", "true", code=3)
    assert "Couldn't connect" in refused.err and "fix: ambit status" in refused.err
    assert re.search(r"A103: .*\n.*\n    fix: ambit up\n", mesh("status", code=1).out)
    assert mesh("why", "shop/web", "shop/cart:80", code=0).out.startswith("ALLOWED")
    mesh("workloads", "web", code=0)

    kill(mesh, "ambit-ztunnel")
    lost = mesh("why", "shop/web", "shop/cart:80", code=3)
    assert "n1 (127.0.0.1:15000): Connection refused; and the control plane: " in lost.err and "fix: ambit status" in lost.err
    status = mesh("status")
    assert "fix: ambit up" in status.out and status.code in (1, 3)  # the agent may have noticed

    kill(mesh, "ambit-agent")
    assert "fix: ambit up" in mesh("ps", code=3).err
    left = mesh("down", "--yes", code=1)
    assert "workloads are left" in left.err and left.err.endswith("  fix: ambit up\n") and "OK" not in left.out
    mesh("up", code=0, seconds=60)
    until("the agent has taken them over", lambda: len(mesh("ps", "-o", "json", code=0).json["items"]) >= 2, 20)
    assert "OK: nothing of the mesh runs here" in mesh("down", "--yes", code=0, seconds=60).out


def test_an_ordinary_user_is_told_what_only_root_may(mesh):
    mesh("up", code=0, seconds=60)
    mesh("apply", "-f", "-", text=MANIFEST, code=0)

    def nobody(*words, code):
        argv = mesh.argv(*words)
        at = argv.index(str(AMBIT))
        argv[at:at] = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
        done = subprocess.run(argv, env={**mesh.env, "HOME": "/nonexistent"}, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == code, done
        return mesh.plain(done.stdout + done.stderr)
    for words in (["ps"], ["conns"], ["flows"], ["status"], ["routes", "shop/cart"], ["stop", "web"], ["run", "--", "true"], ["down"],
                  ["get", "pods"], ["label", "ns", "shop", "a=b"], ["delete", "pod", "x"], ["waypoint", "status"],
                  ["kubeconfig"]):
        assert f"fix: sudo ambit {' '.join(words)}\n" in nobody(*words, code=3), words
    assert "fix: sudo ambit up" in nobody("up", code=1)
    for words in (["workloads"], ["services", "cart"], ["certs"], ["logs"], ["flows", "--connections"]):
        nobody(*words, code=0)


def test_names_that_do_not_exist(mesh):
    mesh("up", code=0, seconds=60)
    mesh("apply", "-f", "-", text=MANIFEST, code=0)
    for words, code, said in (
            (["why", "web", "shop/cart:80"], 3, "no workload web is known; say NAMESPACE/NAME\n  fix: ambit workloads"),
            (["why", "spiffe://cluster.local/ns/shop/sa/web", "shop/crt:80"], 3, "no service and no workload shop/crt is known\n  fix: ambit services"),
            (["can", "spiffe://cluster.local/ns/shop/sa/web", "shop/cart:81"], 3, "service shop/cart has no port 81; it has 80\n  fix: ambit services"),
            (["routes", "shop/crt"], 1, "there is no service crt in namespace shop\n  fix: ambit get services -n shop"),
            (["routes", "shop/cart"], 1, "no waypoint serves shop/cart: its traffic is layer 4\n"
                                         "  fix: ambit label svc cart -n shop istio.io/use-waypoint=WAYPOINT"),
            (["flows", "--requests"], 3, "none runs on this one\n  fix: ambit waypoint status -A"),
            (["workloads", "web"], 1, "nothing of the name web is known here\n  fix: ambit workloads"),
            (["services", "crt"], 1, "nothing of the name crt is known here\n  fix: ambit services"),
            (["certs", "crt"], 1, "nothing of the name crt is known here\n  fix: ambit certs"),
            (["get", "svc", "crt", "-n", "shop"], 1, "not found\n  fix: ambit get services -A"),
            (["label", "svc", "cart", "a=b"], 1, "not found\n  fix: ambit get services -A"),
            (["delete", "ns", "shp"], 1, "not found\n  fix: ambit get namespaces"),
            (["waypoint", "status", "-n", "shop"], 1, "fix: ambit waypoint apply -n shop --enroll-namespace"),
            (["waypoint", "status", "way", "-n", "shop"], 1, "no waypoint shop/way\n  fix: ambit waypoint list -A"),
            (["waypoint", "apply", "-n", "shp"], 1, "not found\n  fix: ambit get namespaces"),
            (["run", "-n", "shop", "--sa", "crt", "--", "true"], 1, "kind: ServiceAccount, metadata: {name: crt, namespace: shop}"),
            (["run", "--", "no-such-command"], 1, "start no-such-command: No such file or directory\n"),
            (["run", "-u", "nobody-else", "--", "true"], 1, "no user nobody-else: not found\n"),
            (["run", "-w", "/nowhere", "--", "true"], 1, "go to /nowhere: No such file or directory\n"),
            (["ps", "web"], 1, "nothing of the name web is known here\n  fix: ambit ps"),
            (["conns", "--netns", "/nowhere"], 3, "--netns: open namespace /nowhere: No such file or directory\n  fix: ip netns list"),
            (["status", "--netns", "/nowhere", "--no-api"], 3, "--netns: open namespace /nowhere: No such file or directory\n  fix: ip netns list"),
            (["conns", "--timeout", "0"], 2, "--timeout: 0 leaves no time at all; write 30s or 2m\n"),
            (["ps", "--node", "n9"], 2, "no node n9; there are: n1"),
            (["help", "A999"], 2, "no finding A999\n  fix: ambit help codes")):
        until(said, lambda: said in mesh(*words, code=code).err, 20)  # pylint: disable=cell-var-from-loop


def test_who_deletes_its_pod_ends_a_workload(mesh):
    """Asked for gracefully, by force, and with its namespace; one that would be started again, too."""
    mesh("up", code=0, seconds=60)
    mesh("apply", "-f", "-", text=MANIFEST, code=0)
    kubectl = ["nsenter", f"--net={netns.path(NS)}", "kubectl", "--kubeconfig", str(mesh.home / "state" / "admin.kubeconfig")]
    for name in ("one", "two", "three"):
        mesh("run", "-d", "-n", "shop", "--name", name, "--restart", "always", "--", "sleep", "600", code=0)
    mesh("delete", "pod", "one", "-n", "shop", code=0)
    run(*kubectl, "delete", "pod", "two", "-n", "shop", "--force", "--grace-period=0")
    until("two have ended", lambda: [w["name"] for w in mesh("ps", "-o", "json", code=0).json["items"]] == ["three"], 30)
    mesh("delete", "ns", "shop", code=0)
    until("all have ended", lambda: mesh("ps", "-o", "json", code=0).json["items"] == [], 30)
    until("the namespace is gone", lambda: mesh("get", "ns", "shop").code == 1, 30)
