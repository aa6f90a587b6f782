# SPDX-License-Identifier: Apache-2.0
"""The story that is told: applications talk in the clear, their namespace joins the mesh, a policy comes and goes, the
namespace leaves; then the act of layer 7 (`layer7`). Every sentence of it is checked."""
import contextlib
import json
import os
import secrets
import signal
import sys
import time

from demo import inventory
from demo.applications import Mariadb, NAMESPACE, Nginx, Redis, address_of, curl, mariadb, redis_cli
from demo.attached import RedisSession, Shell
from demo.layer7 import Layer7
from demo.report import check
from lib import netns, topo
from lib.wait import SCALE, until
from lib.wire import Tap

REDIRECTION = "ambient.istio.io/redirection"
LABEL = "istio.io/dataplane-mode"
CLIENT_NODE, SERVER_NODE = 1, 2
CLIENTS, SERVERS = f"node{CLIENT_NODE}", f"node{SERVER_NODE}"
JOIN_SECONDS = 1.0 * SCALE
LATE = 10  # connections at least after that time
LAST = "The end"
ACCOUNTS = ("shopper", "stranger", "web", "cache", "db")
POLICY = f"""
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: no-strangers, namespace: {NAMESPACE}}}
spec:
  action: DENY
  rules:
  - from: [{{source: {{principals: [cluster.local/ns/{NAMESPACE}/sa/stranger]}}}}]
"""


SERVICE = f"""
apiVersion: v1
kind: Service
metadata: {{name: web, namespace: {NAMESPACE}}}
spec: {{selector: {{app: web}}, ports: [{{port: 80}}], ipFamilyPolicy: RequireDualStack}}
"""


def manifest():
    out = [f"apiVersion: v1\nkind: Namespace\nmetadata: {{name: {NAMESPACE}}}"]
    out += [f"apiVersion: v1\nkind: ServiceAccount\nmetadata: {{name: {a}, namespace: {NAMESPACE}}}" for a in ACCOUNTS]
    return "\n---\n".join(out) + "\n"


def identity(account):
    return f"spiffe://cluster.local/ns/{NAMESPACE}/sa/{account}"


def new_marker(word):
    return f"{word}-{secrets.token_hex(8)}"


class Story:
    """One telling. `town` is up; `mesh` are the means by which an operator acts on it."""

    def __init__(self, report, town, stack, keep=False):
        self.report, self.town, self.stack, self.keep = report, town, stack, keep
        self.taps, self.pids, self.before_marker = [], {}, new_marker("before")
        self.web = self.cache = self.db = self.shopper = self.stranger = None
        self.early = self.steady = self.doomed = None
        self.labelled_at, self.mesh_marker = None, new_marker("inside")
        self.tunnelled = 0
        self.layer7 = Layer7(town, stack)

    # ---- what there is to tell

    def chapters(self):
        return [
            ("Two nodes, one control plane, three servers and their clients", [
                ("ambitd, ambit-agent and ambit-ztunnel run on their nodes and are ready", self.start_mesh),
                ("nginx, redis and mariadb run on node 2, clients on node 1; nothing is in the mesh", self.start_applications),
            ]),
            ("Before: everybody can read along", [
                ("the captures on both nodes see a marker that is sent in the clear", self.captures_see),
                ("what curl, redis-cli and mariadb say and get can be read on the wire", self.plain_before),
                ("one connection is opened before the namespace joins", self.open_early),
            ]),
            ("The namespace is labelled", [
                (f"within {JOIN_SECONDS:g} s every new connection is tunnelled, and none of them fails", self.join),
                ("new connections of all three: no byte of their marker on the wire", self.tunnelled_now),
                ("the servers are the processes they were, and were not restarted", self.same_pids),
                ("the connection from before lives on as it was", self.early_lives),
                ("the servers see their clients' own addresses", self.real_addresses),
                ("the access logs of both nodes name both identities", self.access_logs),
                ("each node holds certificates of its own accounts only", self.certificates),
                ("a service can be called by its name", self.service_name),
                ("`ambit status` finds everything in order but the connection from before", self.status),
            ]),
            ("A policy", [
                ("two callers have a connection each that stays open", self.open_two),
                ("the policy denies one caller and not the other", self.policy),
                ("it cuts the open connection of the one and not of the other", self.policy_cuts),
            ]),
            ("The label goes", [
                ("new connections can be read on the wire again, and none of them fails", self.leave),
                ("connections that were opened in the tunnel go on in it", self.steady_lives),
                ("when they have ended, no rule is left in any pod", self.rules_gone),
            ]),
            *self.layer7.chapters(),
            (LAST, [
                ("the applications end, and so do the mesh's programs", self.stop_all),
            ]),
        ]

    def tell(self):
        """Whether every step passed. What follows on a failed one is not told."""
        for title, steps in self.chapters():
            if title == LAST and self.keep:
                self._wait()
            self.report.chapter(title)
            for sentence, action in steps:
                if not self.report.step(sentence, lambda: self._do(action)):
                    return False
        return True

    def _wait(self):
        """Everything runs, with the label back, until whoever asked for it has seen enough."""
        self.town.ambit.label(NAMESPACE, LABEL, "ambient", "--wait")
        pid = self.town.ambit.workload(NAMESPACE, "shopper")["pid"]
        self.report.say(f"\nAll of it runs, and namespace {NAMESPACE} is in the mesh. To play with it:\n"
                        f"  {self.town.wrapper} status        and whatever `{self.town.wrapper} help` lists\n"
                        f"  nsenter -t {pid} -n {curl(self.web.ip4, 'hello')}\n"
                        f"  logs and files: {self.town.folder}\nEnter or Ctrl-C ends it.")
        try:
            if not sys.stdin.read(1):
                signal.pause()
        except KeyboardInterrupt:
            pass

    def _do(self, action):
        try:
            return action()
        finally:
            self.town.check_alive()

    def count(self):
        return sum(len(steps) for _, steps in self.chapters())

    # ---- the beginning

    def start_mesh(self):
        self.town.up()
        self.town.ambit.apply(manifest())
        return "\n".join(self.town.describe())

    def start_applications(self):
        ambit = self.town.ambit
        self.web, self.cache, self.db = (kind(self.town, SERVERS) for kind in (Nginx, Redis, Mariadb))
        self.shopper = self._keep(Shell(ambit, CLIENTS, NAMESPACE, "shopper", "shopper"))
        self.stranger = self._keep(Shell(ambit, CLIENTS, NAMESPACE, "stranger", "stranger"))
        for server in self.servers():
            server.wait(self.town.topology.ns(f"n{CLIENT_NODE}"))
            self.pids[server.name] = server.pids()
        for w in ambit.workloads():
            check(w["mesh"] == "out", f"{w['name']} is {w['mesh']}")
        return "\n".join([f"{s.name:<9} node 2  {s.ip4} {s.ip6}  pids {self.pids[s.name]}" for s in self.servers()] +
                         [f"{s.name:<9} node 1  {' '.join(s.ips)}" for s in (self.shopper, self.stranger)])

    def servers(self):
        return self.web, self.cache, self.db

    def _keep(self, thing):
        self.stack.callback(thing.close)
        return thing

    # ---- the wire

    def captures_see(self):
        for node in (1, 2):
            ns = self.town.topology.ns(f"n{node}")
            for sink in (topo.EXT4, topo.EXT6):
                tap = Tap(ns, "any", (ns, (self.town.topology.ns("ext"), sink)), self.town.folder)
                self.taps.append(self.stack.enter_context(tap))
        marker = new_marker("nothing")
        check(self.seen(marker) == 0, "a marker was seen that nobody sent")
        return "sent and seen on node 1 and node 2, over IPv4 and IPv6"

    def seen(self, marker):
        """How often the captures have seen a marker by now. Each of them shows first, with a clear-text marker of its
        own, that it sees."""
        return sum(tap.count(marker.encode()) for tap in self.taps)

    def visit(self, marker, client=None, check_answers=True):
        """All three clients, over both families. What each got."""
        client = client or self.shopper
        answers = {}
        for family in ("ip4", "ip6"):
            ip = {s.name: getattr(s, family) for s in self.servers()}
            answers["curl", family] = client.good(curl(ip["web"], marker))
            answers["redis-cli", family] = client.good(redis_cli(ip["cache"], "ECHO", marker))
            answers["mariadb", family] = client.good(mariadb(ip["db"], f"SELECT '{marker}', USER()"))
        for who, answer in answers.items():
            check(not check_answers or marker in answer, f"{who}: {answer}")
        return answers

    def plain_before(self):
        return self.each_is_read("before")

    def each_is_read(self, word):
        """What each client says over each family can be read on the wire."""
        out = []
        for family in ("ip4", "ip6"):
            for what, ask in (("curl", lambda ip, m: curl(ip["web"], m)),
                              ("redis-cli", lambda ip, m: redis_cli(ip["cache"], "ECHO", m)),
                              ("mariadb", lambda ip, m: mariadb(ip["db"], f"SELECT '{m}'"))):
                marker = new_marker(word)
                self.shopper.good(ask({s.name: getattr(s, family) for s in self.servers()}, marker))
                times = self.seen(marker)
                check(times > 0, f"the marker of {what} over {family} was not seen")
                out.append(f"{what}/{family} {times}x")
        return ", ".join(out)

    def open_early(self):
        self.early = self._keep(RedisSession(self.town.ambit, CLIENTS, NAMESPACE, "early", "shopper", self.cache.ip4))
        self.early.ask(f"SET early {self.before_marker}")
        check(self.seen(self.before_marker) > 0, "its marker was not seen")
        return f"redis-cli, connection {self.early.id} of the server; marker {self.before_marker}"

    # ---- joining

    def knock(self, word, act):
        """curl one after the other, over both families in turns, from before `act` until LATE of them began after
        JOIN_SECONDS. [(seconds after `act` when it began, marker)]"""
        web, base = self.web, new_marker(word)
        self.shopper.begin(
            f"i=0; while [ ! -e {self.town.folder}/stop ]; do i=$((i+1)); a={web.ip4}; "
            f"[ $((i%2)) = 0 ] && a='[{web.ip6}]'; echo $i $(date +%s.%N) "
            f"$(curl -sS -g --max-time 3 http://$a/{base}-$i. || echo FAILED); done")
        until("the first are answered", lambda: len(web.requests(base)) >= LATE, 10)
        act()
        moment = time.time()
        time.sleep(JOIN_SECONDS)
        enough = len(web.requests(base)) + 1 + LATE  # one is under way
        until("the last are answered", lambda: len(web.requests(base)) >= enough, 10)
        stop = os.path.join(self.town.folder, "stop")
        open(stop, "w", encoding="ascii").close()
        try:
            _, output = self.shopper.end()
        finally:
            os.unlink(stop)
        rows = [line.split(maxsplit=2) for line in output.splitlines() if line.strip()]
        for number, _, answer in rows:
            check(f"{base}-{number}." in answer, f"connection {number} of {len(rows)}: {answer}")
        return [(float(began) - moment, f"{base}-{number}.") for number, began, _ in rows]

    def join(self):
        rows = self.knock("join", lambda: self.town.ambit.label(NAMESPACE, LABEL, "ambient"))
        wire = self.wire()
        clear = [began for began, marker in rows if marker.encode() in wire]
        check(clear, "the switch was not seen: no connection was in the clear before the label")
        check(max(clear) < JOIN_SECONDS, f"a connection was in the clear {max(clear):.2f} s after the label")
        late = [m for began, m in rows if began >= JOIN_SECONDS]
        check(len(late) >= LATE, f"only {len(late)} connections after that time")
        self.labelled_at = time.time()
        until("all pods are in the mesh", lambda: self._mesh_states() == {"in"})
        return (f"{len(rows)} connections, none failed; the last in the clear began {1000 * max(clear):.0f} ms after the label")

    def wire(self):
        """All that the captures have seen by now."""
        return b"".join(tap.contents() for tap in self.taps)

    def tunnelled_now(self):
        since = {node: proxy.mark() for node, proxy in self.town.proxies.items()}
        rounds = 5
        for _ in range(rounds):
            self.visit(self.mesh_marker)
        times = self.seen(self.mesh_marker)
        check(times == 0, f"the marker {self.mesh_marker} crossed the wire {times} times")
        wanted = rounds * 6
        lines = self.town.proxies[CLIENT_NODE].wait_access(
            since[CLIENT_NODE], wanted, begun=since[CLIENT_NODE].at - 0.002, direction="outbound",
            src_identity=identity("shopper"), dst_hbone_addr=lambda v: v is not None)
        check(len(lines) == wanted, f"{len(lines)} tunnelled connections in the log, not {wanted}")
        return f"{wanted} connections, 0 bytes of {self.mesh_marker}; {wanted} HBONE connections in the access log"

    def same_pids(self):
        for server in self.servers():
            check(server.pids() == self.pids[server.name], f"{server.name}: {server.pids()}, was {self.pids[server.name]}")
        return ", ".join(f"{name} {pids}" for name, pids in self.pids.items())

    def early_lives(self):
        marker = new_marker("before")
        check(self.early.ask("GET early") == self.before_marker, "it does not answer")
        self.early.ask(f"SET early {marker}")
        check(self.early.is_alive(), "it is another connection now")
        check(self.seen(marker) > 0, "it is not in the clear as it was, so it is another connection")
        return f"connection {self.early.id} still, in the clear as before"

    def real_addresses(self):
        marker = new_marker("address")
        answers = self.visit(marker)
        want4, want6 = self.shopper.ips
        check(answers["curl", "ip4"].split()[0] == want4 and answers["curl", "ip6"].split()[0] == want6, f"nginx: {answers}")
        check(self.web.seen_clients(marker) == {want4, want6}, f"nginx's log: {self.web.seen_clients(marker)}")
        for family, want in (("ip4", want4), ("ip6", want6)):
            info = self.shopper.good(redis_cli(getattr(self.cache, family), "CLIENT", "INFO"))
            check(address_of(info) == want, f"redis: {info}")
            user = answers["mariadb", family].split()[1]
            check(user == f"{Mariadb.ACCOUNT}@{want}", f"mariadb: {user}")
        return f"nginx, redis and mariadb: {want4} and {want6}"

    def access_logs(self):
        out = []
        for node, direction in ((CLIENT_NODE, "outbound"), (SERVER_NODE, "inbound")):
            for server in self.servers():
                wanted = {"src_identity": identity("shopper"), "dst_identity": identity(server.name)}
                lines = self.town.proxies[node].access(direction=direction, **wanted)
                check(lines, f"no {direction} line of node {node} names both identities for {server.name}")
            fields = lines[-1][2]
            out.append(f"node {node}: direction={direction} src.identity={fields['src.identity']} "
                       f"dst.identity={fields['dst.identity']}")
        return "\n".join(out)

    def certificates(self):
        held = {}
        for c in self._json("certs"):
            if c["kind"] == "leaf":
                check(c["verdict"] == "valid", f"{c}")
                held.setdefault(c["node"], set()).add(c["identity"])
        wanted = {SERVERS: {identity(s.name) for s in self.servers()}, CLIENTS: {identity("shopper"), identity("stranger")}}
        check(held == wanted, f"held: {held}, wanted: {wanted}")
        return "\n".join(f"{node}: {' '.join(sorted(i.rpartition('/')[2] for i in held[node]))}" for node in sorted(held))

    def service_name(self):
        self.town.ambit.apply(SERVICE)
        marker = new_marker("named")
        url = f"http://web.{NAMESPACE}.svc.cluster.local"
        answers = [until(f"{url} answers curl -{n}", lambda: self._fetch(n, f"{url}/{marker}"), 5) for n in (4, 6)]
        check([a.split()[0] for a in answers] == self.shopper.ips, f"{answers}")
        check(self.seen(marker) == 0, "its marker was seen on the wire")
        return f"{url}, over IPv4 and IPv6"

    def _fetch(self, family, url):
        status, output = self.shopper.run(f"curl -sS -{family} --max-time 2 {url}")
        return status == 0 and output

    def status(self):
        found = json.loads(self.town.ambit.on_node("status", "-o", "json"))
        strange = [f for f in found["findings"] if f["code"] != "A501"]
        check(not strange, f"{strange}")
        evidence = [line for f in found["findings"] for line in f["evidence"]]
        check(len(evidence) == 2 and any(f"{NAMESPACE}/early" in line for line in evidence), f"{evidence}")
        check(found["counts"]["connections_plaintext"] == 2, f"{found['counts']}")
        return found["text"]

    def _json(self, *words):
        return json.loads(self.town.ambit.on_node(*words, "-o", "json"))["items"]

    # ---- policy

    def open_two(self):
        ambit = self.town.ambit
        self.steady = self._keep(RedisSession(ambit, CLIENTS, NAMESPACE, "steady", "shopper", self.cache.ip4))
        self.doomed = self._keep(RedisSession(ambit, CLIENTS, NAMESPACE, "doomed", "stranger", self.cache.ip6))
        self.visit(new_marker("allowed"), self.stranger)
        return "redis-cli as shopper and as stranger; both may reach everything so far"

    def policy(self):
        self.town.ambit.apply(POLICY)
        end = until("the stranger is denied", lambda: self.stranger.run(curl(self.web.ip4, "denied"))[0], 5)
        out = [f"stranger: curl ends with {end}"]
        for ip in (self.web.ip4, self.web.ip6):
            status, output = self.stranger.run(curl(ip, "denied"))
            check(status != 0, f"the stranger got {output}")
        for what in (redis_cli(self.cache.ip6, "PING"), mariadb(self.db.ip4, "SELECT 1")):
            status, output = self.stranger.run(what)
            check(status != 0 and "PONG" not in output, f"the stranger got {output}")
        self.visit(new_marker("allowed"))
        lines = self.town.proxies[SERVER_NODE].access(src_identity=identity("stranger"), error=lambda e: e is not None)
        denied = [f["error"] for _, _, f in lines if "no-strangers" in f["error"]]
        check(denied, f"no line of the access log names the policy: {lines[-3:]}")
        return "\n".join(out + [f"shopper: all three answer; node 2 logs: {denied[-1]}"])

    def policy_cuts(self):
        def cut():
            return not [c for c in self.shopper.good(redis_cli(self.cache.ip4, "CLIENT", "LIST")).splitlines()
                        if f"id={self.doomed.id} " in c]
        until("the server has lost the stranger's connection", cut, 5)
        check(self.steady.is_alive(), "the shopper's connection was cut")
        check(self.early.is_alive(), "the connection from before was cut")
        return f"connection {self.doomed.id} is gone, connection {self.steady.id} lives"

    # ---- leaving

    def leave(self):
        self.town.ambit.delete("authorizationpolicy", NAMESPACE, "no-strangers")
        rows = self.knock("leave", lambda: self.town.ambit.label(NAMESPACE, LABEL, None))
        wire = self.wire()
        hidden = [began for began, marker in rows if marker.encode() not in wire]
        check(hidden, "no connection was tunnelled before the label went")
        check(max(hidden) < JOIN_SECONDS, f"a connection was tunnelled {max(hidden):.2f} s after the label went")
        return (f"{len(rows)} connections, none failed; the last tunnelled one began {1000 * max(hidden):.0f} ms after; "
                f"seen: {self.each_is_read('after')}")

    def steady_lives(self):
        marker = new_marker("inside")
        self.steady.ask(f"SET steady {marker}")
        check(self.steady.is_alive(), "it is another connection now")
        check(self.seen(marker) == 0, "its bytes can be read on the wire")
        return f"connection {self.steady.id} of the server, 0 bytes of {marker}"

    def rules_gone(self):
        self.steady.close()
        self.doomed.close()
        until("all pods are out", lambda: self._mesh_states() == {"out"}, 15)
        for w in self.town.ambit.workloads():
            self._is_bare(w)
        return "no table, no policy route, no mark, in no pod; no annotation"

    def _mesh_states(self):
        return {w["mesh"] for w in self.town.ambit.workloads()}

    def _is_bare(self, workload):
        enter = ["nsenter", "-t", str(workload["pid"]), "-n"]
        for argv in (["nft", "list", "ruleset"], ["ip", "route", "show", "table", "100"],
                     ["ip", "-6", "route", "show", "table", "100"]):
            left = netns.run(enter + argv, check=False).strip()
            check(not left, f"{workload['name']}: {' '.join(argv)}: {left}")
        rules = netns.run(enter + ["ip", "rule"]) + netns.run(enter + ["ip", "-6", "rule"])
        check("fwmark" not in rules, f"{workload['name']}: {rules}")
        pod = self.town.ambit.get("pod", NAMESPACE, workload["name"])
        check(REDIRECTION not in pod["metadata"].get("annotations", {}), f"{workload['name']} is still annotated")

    def stop_all(self):
        self.stack.close()
        for w in self.town.ambit.workloads():
            self.town.ambit.stop(w["namespace"], w["name"])
        self.town.stop_programs()
        left = inventory.descendants(os.getpid())
        check(not left, f"still there: {left}")
        return "all with exit status 0"


def tell(report, town, before, keep):
    """The whole, and what is left of it afterwards."""
    with contextlib.ExitStack() as stack:
        story = Story(report, town, stack, keep)
        report.announce(story.count() + 1)
        try:
            story.tell()
        finally:
            with contextlib.suppress(Exception):
                stack.close()
            town.down()

    def same():
        after, found = inventory.lasting_differences(before)
        check(not found, inventory.report(found))
        return f"as before: {inventory.size(after)}"
    report.step("namespaces, rules, processes and files are what they were before", same)
