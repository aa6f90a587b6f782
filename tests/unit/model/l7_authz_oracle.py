#!/usr/bin/python3
"""Layer-7 authorization against an independent model: random policies and requests are judged by the
program under test (l7_authz_driver) and by the functions below, which know nothing of its code. Then the
driver bends one rule after the other, and the comparison has to notice each."""
import ipaddress
import json
import random
import re
import subprocess
import sys

CASES, BENT_CASES, SEED = 20000, 4000, 20240407
ALLOW, DENY, AUDIT, CUSTOM = range(4)
BENDS = ["negative", "case", "flawed", "dry_run", "tcp", "custom", "broken", "template"]

PATHS = ["/", "/a", "/a/b", "/a/b/c", "/a//c", "/a/b/c/d", "/admin", "/admin/x", "/A"]
PATH_VALUES = ["*", "/a", "/a/*", "*/c", "/a/{*}", "/a/{*}/c", "/a/{**}", "/{*}/b/{**}", "/a/{**}/d", "/admin*",
               "/bad{*}", "/{**}/{*}", "/a/*/{*}", ""]
HOSTS = ["a.example.com", "A.Example.com:80", "b.example.com", "a.example.com:80"]
HOST_VALUES = ["a.example.com", "A.EXAMPLE.com:*", "*.example.com", "*", "b.*", ""]
METHODS = ["GET", "POST", "get", "DELETE"]
METHOD_VALUES = ["GET", "P*", "*", "*T", "get"]
NS = ["foo", "foo-bar", "bar"]
SAS = ["one", "two"]
IPS = ["10.0.0.1", "10.1.0.1", "fd00::1", "192.168.1.9"]
BLOCKS = ["10.0.0.0/16", "10.0.0.1", "fd00::/8", "0.0.0.0/0", "bad", "10.0.0.0/99"]
PORTS = ["80", "8080", "443"]
PORT_VALUES = ["80", "8080", "443", "bad", "0"]
ISS = ["https://iss", "https://iss/x", "other"]
SUBS = ["u", "x/u", "v"]
RP_VALUES = ["*", "https://iss/u", "https://iss/x/u", "https://iss/*", "*/u", "other/v"]
HEADERS = {"x-a": ["1", "12", "", "2,1", "1 , 3", "2,,4"], "x-b": ["y", "z,y"]}


# ---- cases

def some(r, values, chance=0.25):
    return [r.choice(values) for _ in range(r.choice([1, 1, 2]))] if r.random() < chance else None


def fields(r, spec, chance):
    out = {}
    for name, values in spec.items():
        for key in (name, "not" + name[0].upper() + name[1:]):
            got = some(r, values, chance if key == name else chance / 2)
            if got:
                out[key] = got
    return out


SOURCE = {"principals": [f"td/ns/{n}/sa/{s}" for n in NS for s in SAS] + ["*", "td/ns/foo*", "*/sa/one"],
          "requestPrincipals": RP_VALUES, "namespaces": NS + ["foo*", "*", "*bar"],
          "serviceAccounts": [f"{n}/{s}" for n in NS for s in SAS] + ["one", "foo/*bad"],
          "ipBlocks": BLOCKS, "remoteIpBlocks": BLOCKS}
OPERATION = {"hosts": HOST_VALUES, "ports": PORT_VALUES, "methods": METHOD_VALUES, "paths": PATH_VALUES}
KEYS = {"source.ip": BLOCKS, "remote.ip": BLOCKS, "destination.ip": BLOCKS, "source.namespace": NS + ["*", "foo*"],
        "source.principal": SOURCE["principals"], "source.serviceAccount": SOURCE["serviceAccounts"],
        "source.trustDomain": ["td", "other", "t*"], "request.auth.principal": RP_VALUES,
        "request.auth.audiences": ["web", "api*", "*"], "request.auth.presenter": ["app", "*"],
        "destination.port": PORT_VALUES, "connection.sni": ["a.b", "*.b", "*"],
        "request.headers[X-A]": ["1", "1*", "*"], "request.headers[x-b]": ["y", "*"],
        "request.auth.claims[group]": ["g1", "g*", "v69"], "request.auth.claims[deep][role]": ["admin", "*"],
        "experimental.envoy.filters.x": ["z"], "request.headers": ["z"], "request.auth.claims[]": ["z"],
        "request.headers[a": ["z"]}


def condition(r):
    key = r.choice(list(KEYS))
    c = {"key": key}
    if r.random() < 0.75:
        c["values"] = [r.choice(KEYS[key]) for _ in range(r.choice([1, 2]))]
    if r.random() < 0.35 or "values" not in c:
        c["notValues"] = [r.choice(KEYS[key])]
    return c


def rule(r):
    out = {}
    if r.random() < 0.5:
        out["from"] = [fields(r, SOURCE, 0.25) for _ in range(r.choice([1, 1, 2]))]
    if r.random() < 0.5:
        out["to"] = [fields(r, OPERATION, 0.35) for _ in range(r.choice([1, 1, 2]))]
    if r.random() < 0.4:
        out["when"] = [condition(r) for _ in range(r.choice([1, 1, 2]))]
    return out


def case(r):
    policies = []
    for i in range(r.randint(0, 4)):
        policies.append({"resource": f"r{r.randint(0, 9)}{i}", "ns": r.choice(NS), "name": f"p{i}",
                         "service": r.random() < 0.6, "action": r.choice([ALLOW, ALLOW, DENY, DENY, AUDIT, CUSTOM]),
                         "dry_run": r.random() < 0.15, "broken": r.random() < 0.03,
                         "rules": [rule(r) for _ in range(r.choice([0, 1, 1, 2]))]})
    q = {"http": r.random() < 0.75, "method": r.choice(METHODS), "path": r.choice(PATHS), "host": r.choice(HOSTS),
         "headers": {k: r.choice(v) for k, v in HEADERS.items() if r.random() < 0.5},
         "peer": f"spiffe://td/ns/{r.choice(NS)}/sa/{r.choice(SAS)}" if r.random() < 0.85 else None,
         "sni": r.choice([None, "a.b", "c.d"])}
    if r.random() < 0.2:
        q["respelt"] = r.choice(PATHS)
    for name in ("src", "dst", "remote"):
        ip = r.choice(IPS)
        port = r.choice(PORTS)
        q[name] = f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}"
    if r.random() < 0.6:
        q["iss"], q["sub"] = r.choice(ISS), r.choice(SUBS)
        q["claims"] = {"aud": r.choice([["web"], ["api1", "web"], []]), "azp": r.choice([["app"], []])}
        if r.random() < 0.6:
            q["claims"]["group"] = r.choice([["g1"], ["g2", "x"], [f"v{i}" for i in range(70)]])
        if r.random() < 0.5:
            q["claims"]["deep"] = {"role": r.choice([["admin"], ["guest"]])}
    return {"policies": policies, "request": q}


# ---- the model: True, False, or None for "cannot be said"

HTTP_ONLY = {"requestPrincipals", "remoteIpBlocks", "hosts", "methods", "paths"}
HTTP_KEYS = re.compile(r"remote\.ip|request\.")


def text_hit(pattern, value):
    if value is None:
        return False
    if pattern == "*":
        return value != ""
    if pattern.startswith("*"):
        return value.endswith(pattern[1:])
    if pattern.endswith("*"):
        return value.startswith(pattern[:-1])
    return value == pattern


def template_valid(p):
    if not p.startswith("/"):
        return False
    segments = p.split("/")
    operators = [s for s in segments if s in ("{*}", "{**}")]
    if any(s not in ("{*}", "{**}") and set(s) & set("*{}") for s in segments):
        return False
    return "{**}" not in operators[:-1]


def path_hit(pattern, value):
    if "{*}" in pattern or "{**}" in pattern:
        pieces = re.split(r"(\{\*\*?\})", pattern)
        expr = "".join({"{*}": "[^/]+", "{**}": ".*"}.get(x, re.escape(x)) for x in pieces)
        return re.fullmatch(expr, value) is not None
    return text_hit(pattern, value)


def valid(kind, v):
    if kind == "block":
        try:
            ipaddress.ip_network(v, strict=False)
            return True
        except ValueError:
            return False
    if kind == "port":
        return v.isdigit() and 0 < int(v) < 65536
    if kind == "account":
        return v != "" and "*" not in v
    if kind == "path" and ("{*}" in v or "{**}" in v):
        return template_valid(v)
    return v != ""


def host_of(address):
    return ipaddress.ip_address(address.rpartition(":")[0].strip("[]"))


def hit(kind, v, q, policy_ns, attribute):
    """One valid value of one attribute."""
    peer = q["peer"].removeprefix("spiffe://").split("/") if q["peer"] else None
    if kind == "block":
        ip, net = host_of(q[attribute]), ipaddress.ip_network(v, strict=False)
        return ip.version == net.version and ip in net
    if kind == "port":
        return int(v) == int(q["dst"].rpartition(":")[2])
    if kind == "account":
        return peer is not None and (v if "/" in v else f"{policy_ns}/{v}") == f"{peer[2]}/{peer[4]}"
    if kind == "path":
        return path_hit(v, q["path"])
    if kind == "rp":
        if "iss" not in q:
            return False
        whole = f"{q['iss']}/{q['sub']}"
        if "*" in v or v != whole:
            return text_hit(v, whole)
        return True if v.rpartition("/")[0] == q["iss"] else None
    if kind == "host":
        return text_hit(v.lower(), q["host"].lower())
    if kind == "claim":
        have = q.get("claims", {})
        for name in attribute:
            have = have.get(name, []) if isinstance(have, dict) else []
        seen = any(text_hit(v, x) for x in have[:64])
        return True if seen else None if len(have) > 64 else False
    value = {"principal": peer and "/".join(peer), "namespace": peer and peer[2], "td": peer and peer[0],
             "method": q["method"], "sni": q["sni"], "header": None}[kind]
    if kind == "header":
        value = q["headers"].get(attribute)
    return text_hit(v, value)


FIELD_KINDS = {"principals": ("principal", None), "requestPrincipals": ("rp", None), "namespaces": ("namespace", None),
               "serviceAccounts": ("account", None), "ipBlocks": ("block", "src"), "remoteIpBlocks": ("block", "remote"),
               "hosts": ("host", None), "ports": ("port", None), "methods": ("method", None), "paths": ("path", None)}


def key_kind(key):
    plain = {"source.ip": ("block", "src"), "remote.ip": ("block", "remote"), "destination.ip": ("block", "dst"),
             "source.namespace": ("namespace", None), "source.principal": ("principal", None),
             "source.serviceAccount": ("account", None), "source.trustDomain": ("td", None),
             "request.auth.principal": ("rp", None), "request.auth.audiences": ("claim", ["aud"]),
             "request.auth.presenter": ("claim", ["azp"]), "destination.port": ("port", None),
             "connection.sni": ("sni", None)}
    if key in plain:
        return plain[key]
    if m := re.fullmatch(r"request\.headers\[([^\]]+)\]", key):
        return "header", m[1].lower()
    if m := re.fullmatch(r"request\.auth\.claims((?:\[[^\]]+\])+)", key):
        return "claim", re.findall(r"\[([^\]]+)\]", m[1])
    return None, None


def parts_of(kind, q, attribute):
    """The request as somebody may read it who takes one of several header lines, drops the host's
    port, or reads the path's escapes."""
    if kind == "header":
        for part in q["headers"].get(attribute, "").split(",") if attribute in q["headers"] else []:
            if "," in q["headers"][attribute]:
                yield {**q, "headers": {**q["headers"], attribute: part.strip(" \t")}}
    if kind == "host":
        yield {**q, "host": re.sub(r":\d+$", "", q["host"])}
    if kind == "path" and "respelt" in q:
        yield {**q, "path": q["respelt"]}


def lists_hold(kind, attribute, positive, negative, q, ns, wide):
    for values, wanted in ((positive, True), (negative, False)):
        if not values:
            continue
        if any(not valid(kind, v) for v in values):
            if not wide:
                return False
            continue
        views = [q, *parts_of(kind, q, attribute)] if wanted == wide else [q]
        got = [hit(kind, v, view, ns, attribute) for v in values for view in views]
        answer = True if True in got else None if None in got else False
        if answer is None:
            if not wide:
                return False
        elif answer != wanted:
            return False
    return True


def clause_holds(clause, q, ns, wide):
    if not clause:
        return wide
    for name, (kind, attribute) in FIELD_KINDS.items():
        positive, negative = clause.get(name), clause.get("not" + name[0].upper() + name[1:])
        if not positive and not negative:
            continue
        if not q["http"] and name in HTTP_ONLY:
            if not wide:
                return False
            continue
        if not lists_hold(kind, attribute, positive, negative, q, ns, wide):
            return False
    return True


def condition_holds(c, q, ns, wide):
    kind, attribute = key_kind(c["key"])
    if kind is None or (not q["http"] and HTTP_KEYS.match(c["key"])):
        return wide
    return lists_hold(kind, attribute, c.get("values"), c.get("notValues"), q, ns, wide)


def rule_holds(rule, q, ns, wide):
    return ((not rule.get("from") or any(clause_holds(s, q, ns, wide) for s in rule["from"])) and
            (not rule.get("to") or any(clause_holds(o, q, ns, wide) for o in rule["to"])) and
            all(condition_holds(c, q, ns, wide) for c in rule.get("when", [])))


def expected(c):
    q = c["request"]
    ordered = sorted(c["policies"], key=lambda p: (p["service"], p["resource"]))
    first = {}
    have_allow = have_dry_allow = False
    for p in ordered:
        if p["broken"]:
            first.setdefault("broken", f"{p['resource']}/0")
            continue
        if p["action"] == ALLOW:
            have_dry_allow, have_allow = have_dry_allow or p["dry_run"], have_allow or not p["dry_run"]
        wide = p["action"] != ALLOW
        for n, rule in enumerate(p["rules"]):
            if rule_holds(rule, q, p["ns"], wide):
                slot = {ALLOW: "allow", DENY: "deny", CUSTOM: "custom", AUDIT: "audit"}[p["action"]]
                if p["dry_run"] and slot != "audit":
                    slot = "dry_allow" if slot == "allow" else "dry_deny"
                first.setdefault(slot, f"{p['resource']}/{n}")
                break
    by = "-"
    for slot in ("custom", "deny", "broken"):
        if slot in first:
            outcome, by = "deny", first[slot]
            break
    else:
        outcome = "allow" if not have_allow or "allow" in first else "deny"
        if have_allow and "allow" in first:
            by = first["allow"]
    return (f"{outcome} by={by} audit={first.get('audit', '-')} dry_deny={first.get('dry_deny', '-')} "
            f"dry_allow={first.get('dry_allow', '-')} refused={int(have_dry_allow and 'dry_allow' not in first)}")


# ---- the comparison

def run(driver, cases, *bend):
    text = "".join(json.dumps(c) + "\n" for c in cases)
    done = subprocess.run([driver, *bend], input=text, capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    if len(lines) != len(cases):
        raise SystemExit(f"Bail out! {len(lines)} verdicts for {len(cases)} cases")
    return [(c, line) for c, line in zip(cases, lines) if line != expected(c)]


def main():
    r = random.Random(SEED)
    cases = [case(r) for _ in range(CASES)]
    wanted = [expected(c) for c in cases]
    counts = {"allow": 0, "deny": 0, "by a policy": 0, "audit": 0, "dry": 0}
    for w in wanted:
        counts[w.split()[0]] += 1
        counts["by a policy"] += "by=-" not in w
        counts["audit"] += "audit=-" not in w
        counts["dry"] += "dry_deny=-" not in w or "dry_allow=-" not in w
    print(f"1..{2 + len(BENDS)}")
    print("#", counts)
    print("ok" if min(counts.values()) > CASES // 50 else "not ok", "1 - the cases reach every outcome")
    wrong = run(sys.argv[1], cases)
    for c, line in wrong[:3]:
        print("#", json.dumps(c), "got", line, "want", expected(c))
    print("not ok" if wrong else "ok", f"2 - {CASES} decisions agree with the model")
    for n, bend in enumerate(BENDS, 3):
        seen = len(run(sys.argv[1], cases[:BENT_CASES], bend))
        print("ok" if seen else "not ok", f"{n} - a bent rule is noticed: {bend} ({seen} of {BENT_CASES})")


if __name__ == "__main__":
    main()
