# SPDX-License-Identifier: Apache-2.0
"""Whether an answer is the one that a case wants. Each function returns what is wrong, or nothing."""
import json
import urllib.parse

SHARE_POINTS = 5  # of a hundred, as the Gateway API's suite has it


def want_of(case):
    """The long form of `want`."""
    want = case["want"]
    if isinstance(want, int):
        return {"status": want}
    if isinstance(want, str):
        return {"backend": want}
    return want


def values(fields, name):
    """All values of a field, joined as one."""
    return ",".join(v.strip() for n, v in fields if n.lower() == name.lower()) or None


def check_values(what, wanted, absent, fields):
    for name, value in wanted.items():
        seen = values(fields, name)
        allowed = value if isinstance(value, list) else [value]
        if seen is None or seen.replace(", ", ",") not in allowed:
            return f"{what} {name} is {seen!r}, not {value!r}"
    for name in absent:
        if values(fields, name) is not None:
            return f"{what} {name} is there: {values(fields, name)!r}"
    return None


def check_lists(wanted, fields):
    for name, value in wanted.items():
        split = {v.strip().lower() for v in (values(fields, name) or "").split(",")}
        if split != {v.strip().lower() for v in value.split(",")}:
            return f"response header {name} is {values(fields, name)!r}, not {value!r}"
    return None


def check_location(wanted, ask, answer):
    """A part that is not named is the request's own; no port is the scheme's."""
    at = urllib.parse.urlsplit(values(answer["headers"], "location") or "")
    scheme = wanted.get("scheme", "http")
    default = {"http": 80, "https": 443}[scheme]
    if at.scheme != scheme:
        return f"location {at.geturl()!r}: scheme is not {scheme}"
    host = wanted.get("host", ask["authority"].partition(":")[0])
    if at.hostname != host:
        return f"location {at.geturl()!r}: host is not {host}"
    if at.path != wanted.get("path", urllib.parse.urlsplit(ask["path"]).path):
        return f"location {at.geturl()!r}: wrong path"
    port = wanted.get("port", "none")
    if at.port != (None if port == "none" else port) and not (port == "none" and at.port is None):
        return f"location {at.geturl()!r}: port is not {port} (the scheme's is {default})"
    return None


def check_echo(want, ask, answer):
    """What the backend says it was asked."""
    body = answer["body"][5:] if ask["grpc"] else answer["body"]
    try:
        echo = json.loads(body)
    except ValueError:
        return f"no echo from a backend: {answer['status']} {answer['body'][:200]!r}"
    pods = want.get("any") or [want["backend"]]
    if echo["pod"] not in pods:
        return f"answered by {echo['pod']}, not {' or '.join(pods)}"
    if echo["path"] != want.get("path", ask["path"]):
        return f"the backend saw the path {echo['path']!r}, not {want.get('path', ask['path'])!r}"
    for part in ("host", "protocol"):
        if part in want and echo[part] != want[part]:
            return f"the backend saw {part} {echo[part]!r}, not {want[part]!r}"
    fields = [(n, v) for n, all_of in echo["headers"].items() for v in all_of]
    named = want.get("header_names_backend")
    if named and values(fields, named) != f"echo-{echo['pod']}":
        return f"header {named} of {echo['pod']} is {values(fields, named)!r}"
    return check_values("request header", want.get("headers", {}), want.get("absent", []), fields)


# Of one connection (RFC 9110 7.6.1); clients and backends of HTTP/1.1 send them always.
# `connection` of the client names x-hop, that of the backend x-back.
HOP = {"x-hop", "x-back", "keep-alive", "proxy-connection"}


def check_strictly(ask, answer):
    """What no case says: no field of one connection passes, and there is one `date` and one `server`."""
    names = [n.lower() for n, _ in answer["headers"]]
    for name in ("date", "server"):
        if names.count(name) != 1:
            return f"{names.count(name)} times {name}"
    seen = set(names)
    if not ask["grpc"] and answer["body"].startswith("{"):
        seen |= set(json.loads(answer["body"])["headers"])
    return f"{seen & HOP} passed" if seen & HOP else None


def check_one(want, ask, answer):
    """An answer that is there."""
    if "error" in answer:
        return answer["error"]
    if "frames" in want:
        return None if answer["frames"] == want["frames"] else f"frames {answer['frames']}, status {answer['status']}"
    if "code" in want:
        seen = values([*answer["headers"], *answer["trailers"]], "grpc-status")
        return None if (answer["status"], seen) == (200, str(want["code"])) else f"status {answer['status']}, grpc-status {seen}"
    statuses = want.get("status", 200)
    if answer["status"] not in (statuses if isinstance(statuses, list) else [statuses]):
        return f"status {answer['status']}, not {statuses}: {answer['body'][:120]!r}"
    wrong = None if ask["direct"] else check_strictly(ask, answer)
    wrong = wrong or check_values("response header", want.get("response", {}), want.get("response_absent", []), answer["headers"])
    wrong = wrong or check_lists(want.get("response_lists", {}), answer["headers"])
    if "location" in want:
        wrong = wrong or check_location(want["location"], ask, answer)
    if "backend" in want or "any" in want:
        wrong = wrong or check_echo(want, ask, answer)
    return wrong


def pod_of(ask, answer):
    try:
        return json.loads(answer["body"][5:] if ask["grpc"] else answer["body"])["pod"]
    except (KeyError, ValueError):
        return answer.get("error") or f"status {answer.get('status')}"


def check_share(shares, ask, answers):
    """Each backend's part of many answers."""
    seen = {}
    for answer in answers:
        pod = pod_of(ask, answer)
        seen[pod] = seen.get(pod, 0) + 1
    if set(seen) != set(shares):
        return f"answered by {seen}"
    for pod, percent in shares.items():
        if abs(100 * seen[pod] / len(answers) - percent) > SHARE_POINTS:
            return f"{pod} has {seen[pod]} of {len(answers)}, not {percent} %"
    return None


def check_answers(want, ask, answers):
    """All answers of one case."""
    if "share" in want:
        return check_share(want["share"], ask, answers)
    return next((wrong for wrong in (check_one(want, ask, a) for a in answers) if wrong), None)


def mirror_tolerance(count, percent):
    """Three standard deviations, as the suite has it."""
    p = percent / 100
    return 3 * (count * p * (1 - p)) ** 0.5
