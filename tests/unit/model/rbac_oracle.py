#!/usr/bin/python3
"""Layer-4 authorization against a second opinion: 20,000 random cases, each a handful of policies, a
workload and a connection, decided by the library and by the model below, which was written from the
rules and shares no code with it. Then one rule after the other is bent on purpose: the disagreement
must be seen. Prints TAP."""
import ipaddress
import json
import random
import subprocess
import sys

CASES, BENT_CASES, SEED = 20_000, 1_500, 20_261_125
BENDS = ["presence", "negative", "empty", "dry_run", "missing", "identity"]
GLOBAL, NAMESPACE, WORKLOAD = range(3)
ALLOW, DENY = range(2)

NAMES = ["", "a", "ab", "b", "shop", "shopping"]
TRUST = ["td", "cluster.local"]
SOURCES = ["10.0.0.1", "10.0.1.1", "10.1.0.1", "fd00::1", "fd00:1::1"]
PREFIXES = ["10.0.0.0/24", "10.0.0.1/32", "10.0.0.0/8", "0.0.0.0/0", "fd00::/16", "fd00::1/128", "::/0"]
PORTS = [80, 8080, 443]
KINDS = ["exact", "prefix", "suffix", "presence"]


# ---- cases

def some(r, make, most=2, chance=0.25):
    return [make(r) for _ in range(r.randint(1, most))] if r.random() < chance else []


def principal(r):
    return f"{r.choice(TRUST)}/ns/{r.choice(NAMES)}/sa/{r.choice(NAMES)}"


def namespace_match(r):
    kind = r.choice(KINDS)
    return [kind, "" if kind == "presence" else r.choice(NAMES)]


def principal_match(r):
    kind = r.choice(KINDS)
    full = principal(r)
    if r.random() < 0.1:
        full = "spiffe://" + full
    text = {"exact": full, "prefix": full[:r.randint(0, len(full))],
            "suffix": full[r.randint(0, len(full)):], "presence": ""}[kind]
    return [kind, text]


def account_match(r):
    return [r.choice(NAMES), r.choice(NAMES)]


FIELDS = {"namespaces": namespace_match, "principals": principal_match,
          "source_ips": lambda r: r.choice(PREFIXES), "destination_ips": lambda r: r.choice(PREFIXES),
          "destination_ports": lambda r: r.choice(PORTS), "service_accounts": account_match}


def match(r):
    m = {}
    for field, make in FIELDS.items():
        for name, chance in ((field, 0.22), ("not_" + field, 0.1)):
            if values := some(r, make, chance=chance):
                m[name] = values
    return m


def rules(r):
    return [[[match(r) for _ in range(r.choice([0, 1, 1, 2]))] for _ in range(r.choice([0, 1, 1, 1, 2]))]
            for _ in range(r.choice([0, 1, 1, 2]))]


def case(r):
    policies = {}
    for _ in range(r.randint(0, 4)):
        p = {"ns": r.choice(NAMES[:4]), "name": f"p{r.randint(0, 5)}", "scope": r.randint(0, 2),
             "action": r.randint(0, 1), "dry_run": r.random() < 0.2, "broken": r.random() < 0.04,
             "rules": rules(r)}
        policies[f"{p['ns']}/{p['name']}"] = p
    named = [k for k in policies if r.random() < 0.5]
    if r.random() < 0.08:
        named.append(f"{r.choice(NAMES)}/unknown")
    r.shuffle(named)
    v6 = r.random() < 0.3
    addresses = [a for a in SOURCES if (":" in a) == v6]
    src, dst = r.choice(addresses), r.choice(addresses)
    wrap = "[{}]:{}" if v6 else "{}:{}"
    return {"policies": list(policies.values()), "workload": {"ns": r.choice(NAMES[:4]), "policies": named},
            "conn": {"src": wrap.format(src, r.randint(1024, 65535)), "dst": wrap.format(dst, r.choice(PORTS)),
                     "peer": None if r.random() < 0.25 else "spiffe://" + principal(r)}}


# ---- the model

def string_hits(matcher, value):
    kind, text = matcher
    return {"exact": value == text, "prefix": value.startswith(text), "suffix": value.endswith(text),
            "presence": value != ""}[kind]


def facts(conn):
    def address(text):
        host, _, port = text.rpartition(":")
        return ipaddress.ip_address(host.strip("[]")), int(port)
    peer = conn["peer"]
    name = peer.removeprefix("spiffe://") if peer else None
    parts = name.split("/") if peer else None
    return {"principal": name, "ns": parts[2] if peer else "", "sa": parts[4] if peer else None,
            "src": address(conn["src"])[0], "dst": address(conn["dst"])}


def hits(field, value, f):
    if field == "namespaces":
        return string_hits(value, f["ns"])
    if field == "principals":
        return f["principal"] is not None and string_hits(value, f["principal"])
    if field == "service_accounts":
        return f["sa"] is not None and value == [f["ns"], f["sa"]]
    if field == "destination_ports":
        return value == f["dst"][1]
    network = ipaddress.ip_network(value)
    ip = f["src"] if field == "source_ips" else f["dst"][0]
    return ip.version == network.version and ip in network


def match_holds(m, f):
    if not m:
        return False
    for field in FIELDS:
        if field in m and not any(hits(field, v, f) for v in m[field]):
            return False
        if any(hits(field, v, f) for v in m.get("not_" + field, [])):
            return False
    return True


def policy_holds(p, f):
    return any(all(not clause or any(match_holds(m, f) for m in clause) for clause in rule)
               for rule in p["rules"])


def expected(c):
    """(outcome, set of acceptable policy names, dry-run denies, dry-run allows, dry-run refused)"""
    f = facts(c["conn"])
    ns, named = c["workload"]["ns"], c["workload"]["policies"]
    by_key = {f"{p['ns']}/{p['name']}": p for p in c["policies"]}
    apply = {k: p for k, p in by_key.items()
             if k in named or p["scope"] == GLOBAL or (p["scope"] == NAMESPACE and p["ns"] == ns)}
    missing = {n for n in named if n not in by_key}
    broken = {k for k, p in apply.items() if p["broken"] and not p["dry_run"]}
    whole = {k: p for k, p in apply.items() if not p["broken"]}
    holds = {k for k, p in whole.items() if policy_holds(p, f)}
    live = {k for k, p in whole.items() if not p["dry_run"]}
    denies = {k for k in live & holds if whole[k]["action"] == DENY}
    allows = {k for k in live if whole[k]["action"] == ALLOW}
    dry = {k for k in whole if whole[k]["dry_run"]}
    dry_allows = {k for k in dry if whole[k]["action"] == ALLOW}
    dry_part = ({k for k in dry & holds if whole[k]["action"] == DENY}, dry_allows & holds,
                bool(dry_allows) and not dry_allows & holds)
    if denies:
        return ("deny", denies) + dry_part
    if broken:
        return ("deny", broken) + dry_part
    if missing:
        return ("hold", missing) + dry_part
    if not allows:
        return ("allow", {"-"}) + dry_part
    if allows & holds:
        return ("allow", allows & holds) + dry_part
    return ("deny", {"-"}) + dry_part


def agrees(c, line):
    outcome, _, by, dry_deny, dry_allow, refused = line.split(" ")
    want, names, denies, allows, want_refused = expected(c)
    return (outcome == want and by in names and dry_deny in (denies or {"-"})
            and dry_allow in (allows or {"-"}) and (refused == "1") == want_refused)


# ---- the comparison

def run(driver, cases, *bend):
    text = "".join(json.dumps(c) + "\n" for c in cases)
    done = subprocess.run([driver, *bend], input=text, capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    if len(lines) != len(cases):
        raise SystemExit(f"Bail out! {len(lines)} verdicts for {len(cases)} cases")
    return [(c, line) for c, line in zip(cases, lines) if not agrees(c, line)]


def main():
    r = random.Random(SEED)
    cases = [case(r) for _ in range(CASES)]
    outcomes = [expected(c)[0] for c in cases]
    print(f"1..{2 + len(BENDS)}")
    print("#", {o: outcomes.count(o) for o in ("allow", "deny", "hold")})
    spread = all(outcomes.count(o) > CASES // 50 for o in ("allow", "deny", "hold"))
    print("ok" if spread else "not ok", "1 - the cases reach every outcome")
    wrong = run(sys.argv[1], cases)
    for c, line in wrong[:3]:
        print("#", json.dumps(c), "got", line, "want", expected(c))
    print("not ok" if wrong else "ok", f"2 - {CASES} decisions agree with the model")
    for n, bend in enumerate(BENDS, 3):
        seen = len(run(sys.argv[1], cases[:BENT_CASES], bend))
        print("ok" if seen else "not ok", f"{n} - a bent rule is noticed: {bend} ({seen} of {BENT_CASES})")


if __name__ == "__main__":
    main()
