# SPDX-License-Identifier: Apache-2.0
"""A list of everything that running the demonstration could leave on the machine, to be taken before and after.

On a machine that others use at the same time, AMBIT_DEMO_OTHERS says what is theirs: patterns as in a shell, divided
by colons, that are held against the entries. Without it every difference counts.
"""
import fnmatch
import os
import stat
import subprocess
import time

ROOTS = {"/etc": 4, "/run": 4, "/var": 3, "/tmp": 1, "/dev/shm": 2, "/root": 1, "/home": 2, "/usr/local": 2, "/opt": 2,
         "/srv": 2, "/mnt": 1, "/": 1}
HOST = {"links": ["ip", "-o", "-br", "link"], "addresses": ["ip", "-o", "-br", "addr"],
        "IPv4 routes": ["ip", "-4", "route", "show", "table", "all"],
        "IPv6 routes": ["ip", "-6", "route", "show", "table", "all"],
        "IPv4 rules": ["ip", "-4", "rule"], "IPv6 rules": ["ip", "-6", "rule"],
        "packet filter": ["nft", "-s", "list", "ruleset"]}


def take():
    """What there is: {kind: set of entries}."""
    found = {kind: _lines(argv) for kind, argv in HOST.items()}
    found["namespaces"] = set(os.listdir("/run/netns")) if os.path.isdir("/run/netns") else set()
    found["mounts"] = mounts()
    found["processes"] = descendants(os.getpid())
    found["files"] = {entry for root, depth in ROOTS.items() for entry in _files(root, depth)}
    return found


def lasting_differences(before, seconds=5):
    """(inventory, differences): what of a first look is still so after that time. Others on the machine come and go
    with files of their own in /tmp; what we leave behind stays."""
    after = take()
    found = set(differences(before, after))
    end = time.monotonic() + seconds
    while found and time.monotonic() < end:
        time.sleep(0.5)
        after = take()
        found &= set(differences(before, after))
    return after, sorted(found)


def differences(before, after):
    """One line each: what came and stayed, and what went."""
    theirs = [p for p in os.environ.get("AMBIT_DEMO_OTHERS", "").split(":") if p]

    def foreign(entry):
        return any(fnmatch.fnmatch(entry, p) for p in theirs)

    out = []
    for kind in before:
        out += [f"{kind}: left behind: {x}" for x in sorted(after[kind] - before[kind]) if not foreign(x)]
        out += [f"{kind}: missing: {x}" for x in sorted(before[kind] - after[kind]) if not foreign(x)]
    return out


def report(found, limit=20):
    """Differences as people read them, with what to do if they are not ours."""
    more = [f"... and {len(found) - limit} more"] if len(found) > limit else []
    return "\n".join([*found[:limit], *more, "if others made them meanwhile, say so: AMBIT_DEMO_OTHERS='/tmp/*:/root/*' "
                      "leaves out what fits such a pattern"])


def size(listing):
    return ", ".join(f"{len(entries)} {kind}" for kind, entries in listing.items())


def _lines(argv):
    done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=True)
    return {line.strip() for line in done.stdout.splitlines() if line.strip()}


def mounts():
    """Entries "ROOT PATH"."""
    with open("/proc/self/mountinfo", encoding="utf-8") as f:
        return {" ".join(line.split()[3:5]) for line in f}


def descendants(pid):
    """Processes below `pid`: "PID COMMAND". Whoever is its caller adopts orphans (see `adopt_orphans`), so nothing that
    was started can get out of sight."""
    parents, names = {}, {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat", encoding="utf-8", errors="replace") as f:
                    head, _, rest = f.read().rpartition(")")
            except OSError:
                continue
            state, parent = rest.split()[:2]
            if state != "Z":
                parents[int(entry)], names[int(entry)] = int(parent), head.partition("(")[2]
    return {f"{p} {names[p]}" for p in parents if p != pid and _is_below(p, pid, parents)}


def processes_like(pid):
    """Pids of all processes in the network namespace of process `pid`."""
    return processes_in(os.readlink(f"/proc/{pid}/ns/net"))


def processes_in(namespace):
    """Likewise, of one that /proc calls "net:[NUMBER]"."""
    found = []
    for entry in os.listdir("/proc"):
        try:
            if entry.isdigit() and os.readlink(f"/proc/{entry}/ns/net") == namespace:
                found.append(int(entry))
        except OSError:
            continue
    return sorted(found)


def _is_below(pid, top, parents):
    while pid in parents and pid != top:
        pid = parents[pid]
    return pid == top


def _files(root, depth):
    try:
        entries = list(os.scandir(root))
    except OSError:
        return
    for entry in entries:
        try:
            info = entry.stat(follow_symlinks=False)
        except OSError:
            continue
        yield _describe(entry.path, info)
        if depth > 1 and stat.S_ISDIR(info.st_mode):
            yield from _files(entry.path, depth - 1)


def _describe(path, info):
    text = f"{path} {stat.filemode(info.st_mode)} {info.st_uid}:{info.st_gid}"
    if path.startswith("/etc/") and stat.S_ISREG(info.st_mode):
        text += f" {info.st_size} {info.st_mtime_ns}"
    return text
