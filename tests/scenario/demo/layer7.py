# SPDX-License-Identifier: Apache-2.0
"""The act of layer 7: a namespace gets a waypoint, uses what it can do, loses it and does without it again, while
requests run. Every sentence of it is checked."""
import contextlib
import os
import re
import signal
import threading

from demo import inventory, market
from demo.attached import Shell
from demo.ledger import Ledger
from demo.market import NAMESPACE, Issuer, Stall, altered
from demo.report import check
from lib import netns
from lib.wait import until

CLIENTS, SERVERS = "node1", "node2"
LABEL = "istio.io/use-waypoint"
MANY = 300
IN_A_ROW = 5
ENOUGH = 8  # requests of each kind
THROUGH = ("new", "kept", "stock", "admin", "account", "member")  # kinds of requests that the waypoint sees
BUYER, WEB = f"{NAMESPACE}/buyer", f"{NAMESPACE}/web"
WAYPOINT = f"spiffe://cluster.local/ns/{NAMESPACE}/sa/{market.GATEWAY}"


class Killer:
    """Kills a waypoint, and every other one that is started in its place, until it is closed. On a slow machine one may
    live for a moment: nobody gets through to it."""

    def __init__(self, pid):
        self.namespace, self.times = os.readlink(f"/proc/{pid}/ns/net"), 0
        self.network = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        self._nft("add table inet killed; add chain inet killed in { type filter hook input priority 0; }; "
                  "add rule inet killed in tcp dport 15008 reject with tcp reset")
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _nft(self, commands):
        netns.run(["nsenter", f"--net=/proc/{os.getpid()}/fd/{self.network}", "nft", commands])

    def _run(self):
        while not self.stop.wait(0.01):
            for pid in inventory.processes_in(self.namespace):
                with contextlib.suppress(OSError), open(f"/proc/{pid}/comm", encoding="utf-8") as f:
                    if f.read().strip() == "ambit-waypoint":
                        os.kill(pid, signal.SIGKILL)
                        self.times += 1

    def close(self):
        """How often it did."""
        if not self.stop.is_set():
            self.stop.set()
            self.thread.join()
            self._nft("delete table inet killed")
            os.close(self.network)
        return self.times


class Layer7:
    """`town` is up. What is started ends with `stack`."""

    def __init__(self, town, stack):
        self.town, self.stack = town, stack
        self.v1 = self.v2 = self.broken = self.side = self.buyer = self.ledger = self.token = None
        self.issuer = self.killer = self.dead = None
        self.ips, self.pod = {}, None

    def chapters(self):
        return [
            ("Layer 7 for a namespace that asks for it", [
                ("a market opens at layer 4, and requests run from now on until its end", self.open_market),
                ("a waypoint appears, takes over what is new, and no request fails", self.appear),
                ("a route splits requests 90 to 10 between two versions", self.split),
                ("a request with a header goes where the header says", self.header),
                ("one backend fails all it gets: with retries no request does", self.retries),
                ("a policy denies a path, which layer 4 could not, and there is no way around it", self.by_path),
                ("another wants a token there: valid, missing, forged", self.tokens),
            ]),
            ("The waypoint is killed", [
                ("nothing is let past, and log and `ambit why` give the reason", self.kill),
                ("it comes back with its routes and policies", self.revive),
            ]),
            ("The namespace no longer asks for it", [
                ("the label goes: layer 4 again, and no request fails", self.unlabel),
                ("the waypoint goes and leaves nothing", self.vanish),
                ("of all requests, those failed that policy says, and no other", self.account),
            ]),
        ]

    # ---- means

    def _keep(self, thing):
        self.stack.callback(thing.close)
        return thing

    def ask(self, target, *headers, service="web", count=0, ip=None):
        """What the buyer gets: [(status, body, whether a waypoint answered)]; status 0: no answer at all."""
        url = f"http://{ip or self.ips[service]}{target}" + (f"?[1-{count}]" if count else "")
        words = " ".join(f"-H '{h}'" for h in headers) + ("" if count else " -g")  # brackets are an address's, or a count
        _, output = self.buyer.run(f"curl -s --path-as-is --max-time 5 -D - -w 'STATUS=%{{http_code}}\\n' {words} '{url}'", 30)
        answers = []
        for text in output.split("STATUS=")[:-1]:
            answers.append((text.replace("\r", "").partition("\n\n")[2].strip(), "x-envoy-upstream-service-time" in text.lower()))
        statuses = [int(s) for s in re.findall(r"STATUS=(\d+)", output)]
        return [(status, *rest) for status, rest in zip(statuses, answers)]

    def one(self, target, *headers, **where):
        return self.ask(target, *headers, **where)[0]

    def settle(self, what, status, target, *headers, **where):
        """Until the buyer gets this status several times in a row."""
        until(what, lambda: [self.one(target, *headers, **where)[0] for _ in range(IN_A_ROW)] == [status] * IN_A_ROW, 10)

    def why(self, *words):
        """(exit status, text) of `ambit why`, buyer to web."""
        status, out, err = self.town.ambit.ask("why", "--run-dir", self.town.run_dir, BUYER, WEB, *words)
        return status, out + err

    def bearer(self, token):
        return f"Authorization: Bearer {token}"

    def waypoint(self):
        """What `ambit ps` says of its pod; None without."""
        found = [w for w in self.town.ambit.workloads() if w["namespace"] == NAMESPACE and w["name"].startswith(market.GATEWAY)]
        check(len(found) < 2, f"{found}")
        return found[0] if found else None

    def arrived(self, path):
        """{request's target: server's name} of what the versions got."""
        return {target: s.name for s in (self.v1, self.v2) for _, target, _ in s.arrived(path)}

    def numbered(self, kind):
        """Those of the ledger's requests."""
        return {t for t in self.arrived(f"/{kind}/") if t.rpartition("/")[2].isdigit()}

    def denials(self, policy):
        """What `ambit flows` has of requests that this policy denied."""
        flows = self.town.ambit.on_node("flows", "--requests", "--denied", "-n", NAMESPACE)
        return [line for line in flows.splitlines() if policy in line]

    # ---- it appears

    def open_market(self):
        town = self.town
        town.ambit.apply(market.objects())
        self.v1 = Stall(town, SERVERS, "v1", app="web", version="v1", stock="yes")
        self.v2 = Stall(town, SERVERS, "v2", app="web", version="v2")
        self.broken = Stall(town, SERVERS, "broken", status=500, stock="yes")
        self.side = Stall(town, SERVERS, "side", app="side")
        self.buyer = self._keep(Shell(town.ambit, CLIENTS, NAMESPACE, "buyer", "buyer"))
        for name in ("web", "stock", "side"):
            self.ips[name] = town.ambit.get("service", NAMESPACE, name)["spec"]["clusterIP"]
        for name in ("web", "side"):
            self.settle(f"{name} answers", 200, "/open", service=name)
        until("all are in the mesh", lambda: {w["mesh"] for w in town.ambit.workloads() if w["namespace"] == NAMESPACE} == {"in"})
        self.issuer = Issuer(town.folder, "issuer")
        self.token = self.issuer.token("buyer")
        self._start_load()
        return "every kind of request is answered 200, the path /admin among them"

    def _start_load(self):
        pid = self.town.ambit.workload(NAMESPACE, "buyer")["pid"]
        web, side = self.ips["web"], self.ips["side"]
        bearer = {"Authorization": f"Bearer {self.token}"}
        self.ledger = self._keep(Ledger(self.town, pid, {
            "new": (web, {}, False), "kept": (web, {}, True), "admin": (web, {}, False), "stock": (web, {}, False),
            "account": (web, {}, False), "member": (web, bearer, False),
            "side": (side, {}, False), "side-kept": (side, {}, True)}))
        self.ledger.wait(ENOUGH, **{kind: "200" for kind in self.ledger.kinds})
        check(not self.one("/x")[2], "a waypoint answers already")

    def appear(self):
        said = self.town.ambit("waypoint", "apply", "-n", NAMESPACE, "--enroll-namespace", "--wait", seconds=60)
        until("requests go through the waypoint", lambda: all(self.one("/appear")[2] for _ in range(IN_A_ROW)), 10)
        self.pod = self.waypoint()["name"]
        check(not self.one("/appear", service="side")[2], "the service beside has a waypoint, too")
        self.ledger.wait(ENOUGH, **{kind: "200" for kind in self.ledger.kinds})
        rows = self.ledger.check()
        return f"{said.splitlines()[-1]}\n{len(rows)} requests so far, none failed"

    def split(self):
        self.town.ambit.apply(market.route("fragile", "stock", "split"))
        until("the route is in force", lambda: "web-v2" in self.town.ambit.on_node("routes", WEB), 10)
        self.ledger.wait(ENOUGH, **{kind: "200" for kind in self.ledger.kinds})
        answers = self.ask("/split", count=MANY)
        check([a[0] for a in answers] == [200] * MANY, f"{[a for a in answers if a[0] != 200][:3]}")
        counts = {v: sum(a[1] == v for a in answers) for v in ("v1", "v2")}
        # By chance beyond these bounds: once in 700 million times.
        check(sum(counts.values()) == MANY and MANY * 0.015 <= counts["v2"] <= MANY * 0.22, f"{counts}")
        until("their own logs have them", lambda: {v.name: len(v.arrived("/split?")) for v in (self.v1, self.v2)} == counts)
        return f"of {MANY} requests v1 logged {counts['v1']}, v2 {counts['v2']}"

    def header(self):
        self.town.ambit.apply(market.route("header", "fragile", "stock", "split"))
        until("the header counts", lambda: {self.one("/h", "x-taste: new")[1] for _ in range(IN_A_ROW)} == {"v2"}, 10)
        new = self.ask("/header", "x-taste: new", count=40)
        old = self.ask("/header", "x-taste: old", count=40)
        check([a[:2] for a in new] == [(200, "v2")] * 40, f"{new[:3]}")
        check(sum(a[1] == "v1" for a in old) > 20, f"another value counts, too: {old[:3]}")
        return "40 of 40 with `x-taste: new` went to v2; with another value they are split as before"

    def retries(self):
        fragile = [a[0] for a in self.ask("/fragile", count=40)]
        stock = [a[0] for a in self.ask("/stock", count=40)]
        check(set(fragile) == {200, 500}, f"without retries: {fragile}")
        check(stock == [200] * 40, f"with retries: {stock}")
        failed = len(self.broken.arrived("/stock?"))
        check(failed > 0 and {s for s, _, _ in self.broken.arrived("/stock?")} == {500}, "no try went to the failing one")
        return (f"of 40 requests without retries {fragile.count(500)} answered 500; with retries none, "
                f"though the failing backend logged {failed} tries of them")

    # ---- policy

    def by_path(self):
        check(self.one("/admin/before")[0] == 200, "it is denied before there is a policy")
        with self.ledger.change(admin="403", kept="200 refused"):  # one that is kept from before the waypoint is cut
            self.town.ambit.apply(market.no_admin())
            self.settle("the path is denied", 403, "/admin/x")
        for target in ("/admin", "/%61dmin/x", "/shop/../admin/x"):
            check(self.one(target, "x-taste: new")[0] in (403, 400), f"{target}: {self.one(target)}")
        check(self.one("/administration")[0] == 200, "another path is denied")
        direct = self.v1.ip4
        until("the pod's own address is closed", lambda: self.one("/admin/around", ip=direct)[0] == 0, 10)
        around = self.ask("/admin/around", ip=direct) + self.ask("/admin/around", ip=f"[{self.v1.ip6}]")
        check([a[0] for a in around] == [0, 0], f"past the waypoint: {around}")
        with self.ledger.change(kept="200"):
            pass
        self.ledger.wait(ENOUGH, admin="403", new="200", kept="200")
        line = until("the waypoint has it on record", lambda: self.denials("no-admin"))[-1]
        denied, allowed = self.why("--path", "/admin/x"), self.why("--path", "/other")
        check(denied[0] == 1 and "no-admin" in denied[1], f"ambit why: {denied}")
        check(allowed[0] == 0, f"ambit why: {allowed}")
        return f"ambit flows: {line}\nambit why: {denied[1].splitlines()[0]}"

    def tokens(self):
        with self.ledger.change(account="403"):
            self.town.ambit.apply(market.tokens_only(self.issuer.jwks()))
            self.settle("a token is wanted", 403, "/account/x")
            self.settle("a good one is taken", 200, "/account/x", self.bearer(self.token))
        forged = {"signed by somebody else": Issuer(self.town.folder, "forger").token("buyer"),
                  "with other claims": altered(self.token, "owner")}
        for how, token in forged.items():
            for target in ("/account/x", "/other"):
                got = self.one(target, self.bearer(token))
                check(got[0] == 401, f"{target} with one {how}: {got}")
        check(self.one("/other")[0] == 200, "a token is wanted elsewhere, too")
        self.ledger.wait(ENOUGH, account="403", member="200", new="200", admin="403")
        return "valid 200, missing 403, forged (another key; altered claims) 401; 200 elsewhere without"

    # ---- it dies

    def kill(self):
        self.dead = self.waypoint()
        mark = self.town.proxies[1].mark()
        with self.ledger.change(**{kind: "refused" for kind in THROUGH}):
            self.killer = self._keep(Killer(self.dead["pid"]))
            self.settle("requests are refused", 0, "/x")
            status, why = until("it is known why", lambda: self._denied("--path", "/x"), 10)
        self.ledger.wait(ENOUGH, side="200", **{"side-kept": "200"}, **{kind: "refused" for kind in THROUGH})
        for target in ("/admin/x", "/account/x", "/x"):
            check(self.one(target)[0] == 0, f"{target} was answered")
        check(self.one("/admin/around", ip=self.v1.ip4)[0] == 0, "the pod's own address is open")
        lines = self.town.proxies[1].access(mark, error=lambda e: e and "waypoint" in e)
        check(lines, "node 1 logs nothing of it")
        return (f"killed: pid {self.dead['pid']}, and whatever was started for it; the service beside is answered\n"
                f"node 1 logs: {lines[-1][2]['error']}\nambit why: {why.splitlines()[0]}")

    def _denied(self, *words):
        status, text = self.why(*words)
        return (status, text) if status == 1 else None

    def revive(self):
        with self.ledger.change(new="200", kept="200", stock="200", member="200", admin="403", account="403"):
            times = self.killer.close()
            self.settle("the waypoint answers again", 200, "/x")
        self.ledger.wait(ENOUGH, new="200", kept="200", stock="200", member="200", admin="403", account="403")
        check(self.one("/x", "x-taste: new")[1] == "v2", "its routes are not what they were")
        now = self.waypoint()
        check(now["name"] == self.pod and now["pid"] != self.dead["pid"], f"{now}")
        return f"killed {times} times in all; now pid {now['pid']}, restarts: {now['restarts']}"

    # ---- it goes

    def unlabel(self):
        self.ledger.check()
        with self.ledger.change(admin="200", account="200"):
            self.town.ambit.label(NAMESPACE, LABEL, None)
            self.settle("layer 4 lets all pass", 200, "/admin/x")
            until("no waypoint answers", lambda: not any(self.one("/gone")[2] for _ in range(IN_A_ROW)), 10)
            self.settle("a pod's own address is open again", 200, "/x", ip=self.v1.ip4)
        self.ledger.wait(ENOUGH, **{kind: "200" for kind in self.ledger.kinds if kind != "stock"})
        self.ledger.check()
        return "every path is answered again, by the pods themselves"

    def vanish(self):
        self.town.ambit("waypoint", "delete", market.GATEWAY, "-n", NAMESPACE)
        until("its pod is gone", lambda: self.waypoint() is None, 20)
        self.ledger.wait(ENOUGH, **{kind: "200" for kind in self.ledger.kinds})
        for kind, name in (("authorizationpolicy", "no-admin"), ("authorizationpolicy", "tokens-only"),
                           ("requestauthentication", "tokens")):  # they would say for ever that nobody acts on them
            self.town.ambit.delete(kind, NAMESPACE, name)
        until("all is in order", lambda: self.town.ambit.ask("status", "--run-dir", self.town.ambit.run_dir)[0] == 0, 20)
        return "no process, no pod; its policies are deleted, and `ambit status` finds no problem"

    def account(self):
        rows = self.ledger.end()
        for kind in ("admin", "account", "new", "member"):
            passed = {f"/{kind}/{r.number}" for r in rows if r.kind == kind and r.outcome == "200"}
            # One that was under way when a policy came, or when the waypoint was killed, may have arrived.
            cut = {f"/{kind}/{r.number}" for r in rows if r.kind == kind and r.outcome != "200" and "200" in self.ledger.allowed(r)}
            until("the servers have logged the last", lambda p=passed, k=kind: p <= self.numbered(k))
            arrived = self.numbered(kind)
            check(arrived <= passed | cut, f"/{kind}: arrived and not answered: {sorted(arrived - passed - cut)[:5]}")
        tally = self.ledger.tally()
        return "\n".join([f"{len(rows)} requests, and the servers' logs have those that were answered 200 and no other"] + [
            f"{kind:<9} " + ", ".join(f"{n} x {outcome}" for outcome, n in sorted(counts.items())) for kind, counts in tally.items()])
