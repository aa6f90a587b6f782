# SPDX-License-Identifier: Apache-2.0
"""Runs cases on a site. As the Gateway API's suite does: a case may fail while its objects spread, and has passed
when it was right three times in a row within 30 seconds. A case of chance is tried a few times however long that takes."""
import time

from conformance import cases, judge

CONVERGE_S, PAUSE_S, IN_A_ROW = 30, 0.1, 3
TRIES = 6  # at least: of those with shares one of 80 is beyond its bounds
MODES = {  # the client's protocol, and whether backends are reached through tunnels
    "h1": ("h1", False),
    "h2": ("h2", False),
    "hbone": ("h1", True),
}


def check_mirrors(site, want, request, answers):
    """Copies arrive after the answer; each backend keeps a list."""
    end = time.monotonic() + 10
    while True:
        wrong = _mirrors_now(site, want, request, answers)
        if wrong is None or time.monotonic() > end:
            return wrong
        time.sleep(PAUSE_S)


def _mirrors_now(site, want, request, answers):
    for pod in want.get("mirrored", []):
        if site.mirrored(pod, request["path"]) != len(answers):
            return f"{pod} has {site.mirrored(pod, request['path'])} copies of {request['path']}"
    for pod, percent in want.get("mirror_share", {}).items():
        seen, expected = site.mirrored(pod, request["path"]), len(answers) * percent / 100
        if abs(seen - expected) > judge.mirror_tolerance(len(answers), percent):
            return f"{pod} has {seen} copies of {len(answers)}, not about {expected:.0f}"
    return None


def try_case(site, test, case, protocol):
    """What is wrong with one try, or None."""
    want, request = cases.ask(test, case, protocol, site.addresses)
    answers = site.ask(request, case.get("client", "client"))
    return judge.check_answers(want, request, answers) or check_mirrors(site, want, request, answers)


def needed(case):
    """Right answers in a row: those with many requests, delays or side effects need one."""
    want = judge.want_of(case)
    heavy = any(k in want for k in ("share", "mirror_share", "mirrored")) or case.get("times") or "$U" in case.get("path", "")
    return 1 if heavy or "delay" in case.get("path", "") else IN_A_ROW


def converge(site, test, case, protocol):
    end, right, tries = time.monotonic() + CONVERGE_S, 0, 0
    while right < needed(case):
        wrong = try_case(site, test, case, protocol)
        right, tries = 0 if wrong else right + 1, tries + 1
        if wrong and time.monotonic() > end and tries >= TRIES:
            return wrong
        if wrong:
            time.sleep(PAUSE_S)
    return None


def check_conditions(site, wanted, made):
    """Those of the route's only parent; one or a list."""
    return next(filter(None, (_check_condition(site, w, made) for w in (wanted if isinstance(wanted, list) else [wanted]))), None)


def _check_condition(site, wanted, made):
    end = time.monotonic() + CONVERGE_S
    kind, ns, name = made["kind"].lower(), made["metadata"]["namespace"], made["metadata"]["name"]
    while True:
        parents = site.ambit.get(kind, ns, name).get("status", {}).get("parents", [])
        seen = [c for p in parents for c in p["conditions"] if c["type"] == wanted["type"]]
        if [(c["status"], c["reason"]) for c in seen] == [(wanted["status"], wanted["reason"])]:
            return None
        if time.monotonic() > end:
            return f"condition {wanted} is {seen}"
        time.sleep(PAUSE_S)


def check_generation(site, made, number):
    """All conditions of the route are about this generation of it."""
    end = time.monotonic() + CONVERGE_S
    kind, ns, name = made["kind"].lower(), made["metadata"]["namespace"], made["metadata"]["name"]
    while True:
        route = site.ambit.get(kind, ns, name)
        seen = [c.get("observedGeneration") for p in route.get("status", {}).get("parents", []) for c in p["conditions"]]
        if route["metadata"]["generation"] == number and seen and set(seen) == {number}:
            return None
        if time.monotonic() > end:
            return f"conditions are of the generations {seen}, not {number}: the route is of {route['metadata']['generation']}"
        time.sleep(PAUSE_S)


def apply_and_send(site, test, protocol):
    """The first failure."""
    made = cases.objects(test)
    if made:
        site.apply(made)
    wrong = "condition" in test and check_conditions(site, test["condition"], made[-1])
    wrong = wrong or ("generation" in test and check_generation(site, made[-1], test["generation"]))
    for case in [] if wrong else test["send"]:
        if bad := converge(site, test, case, protocol):
            return f"{case.get('method', 'GET')} {case.get('grpc') or case.get('path', '/')} {case.get('headers', '')}: {bad}"
    return wrong


def run_test(site, test, mode):
    """Failures of one test, as texts."""
    protocol = MODES[mode][0]
    now = test
    try:
        wrong = apply_and_send(site, test, protocol)
        if not wrong and "then" in test:
            now = {**test, **test["then"]}
            site.delete(cases.gone(test, now))
            wrong = apply_and_send(site, now, protocol)
        return [wrong] if wrong else []
    finally:
        site.delete(reversed(cases.objects(now)))
