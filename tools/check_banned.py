#!/usr/bin/python3
"""Fails on calls that have no place in src/, each with the reason and what to use instead."""
import pathlib
import re
import sys

BANNED = {
    "strcpy strcat sprintf vsprintf strncpy strncat gets": "unbounded or misleading; use strbuf or snprintf",
    "strtok": "keeps hidden state; use slice_cut",
    "atoi atol atoll sscanf strtol strtoul strtoll strtoull": "accept garbage; use num_parse_*",
    "inet_ntoa inet_aton inet_addr gethostbyname": "use base/ip.h",
    "getaddrinfo": "blocks; use io/resolver.h, or io/name_lookup.h in a job",
    "localtime gmtime ctime asctime": "not thread-safe; use base/clock.h",
    "rand random srand drand48": "use base/rand.h",
    "system popen": "a shell is no API",
    "signal": "use signalfd in main",
    "select": "use the loop",
    "sleep usleep nanosleep": "use a timer",
    "alloca": "unbounded stack",
    "malloc calloc realloc free strdup strndup": "use base/mem.h",
    "clock_gettime gettimeofday time": "use base/clock.h",
    "longjmp setjmp": "skips AUTO cleanup",
    "memcmp_secret": "use tls/ constant-time compare",
}
# Files that wrap what the others must not call.
EXEMPT = {
    "base/auto.h": "malloc",
    "base/mem.c": "malloc calloc realloc free",
    "base/clock.c": "clock_gettime",
    "io/name_lookup.c": "getaddrinfo",
}
CALL = re.compile(r"(?<![\w.>])(%s)\s*\(" % "|".join(" ".join(BANNED).split()))
NEG_ERRNO = re.compile(r"-\s*errno\b")
REASON = {name: why for names, why in BANNED.items() for name in names.split()}
# What is quoted or commented is not a call.
NOISE = re.compile(r'"(?:\\.|[^"\\])*"|/\*.*?\*/|//[^\n]*', re.S)


def blank(m: re.Match) -> str:
    return re.sub(r"[^\n]", " ", m[0])


def problems(path: pathlib.Path, root: pathlib.Path):
    allowed = EXEMPT.get(str(path.relative_to(root)), "").split()
    text = NOISE.sub(blank, path.read_text())
    for n, line in enumerate(text.splitlines(), 1):
        for m in CALL.finditer(line):
            if m[1] not in allowed:
                yield f"{path}:{n}: {m[1]}: {REASON[m[1]]}"
        if NEG_ERRNO.search(line) and path.name != "err.h":
            yield f"{path}:{n}: -errno may be 0 after a failure; use neg_errno()"


def main() -> int:
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "src")
    found = [p for path in sorted(root.rglob("*.[ch]")) for p in problems(path, root)]
    print("\n".join(found), end="\n" if found else "")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
