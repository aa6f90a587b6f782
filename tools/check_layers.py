#!/usr/bin/python3
"""Fails when a file under src/ includes a folder that its own folder may not know, or a library that
belongs to another folder."""
import pathlib
import re
import sys

DATA = "hbone rpc obs xds ca http tls model io codec base"
MAY = {
    "base": "",
    "codec": "base",
    "model": "base",
    "io": "codec base",
    "tls": "model io codec base",
    "http": "tls io codec base",
    "hbone": "http tls model io codec base",
    "rpc": "http tls io codec base",
    "obs": "hbone http tls model io codec base",
    "xds": "rpc model codec io base",
    "kube": "codec io base",
    "apiserver": "http tls codec io base",
    "ca": "rpc tls model codec io base",
    "proxy": "obs xds ca rpc http tls model io codec base",
    "ztunnel": DATA + " proxy",
    "waypoint": DATA + " proxy",
    "control": DATA + " kube apiserver",
    "node": "kube obs model codec io base",
    "cli": "kube obs xds model http tls codec io base",
}
MAY = {folder: set(may.split()) for folder, may in MAY.items()}
# A system library belongs to exactly one folder.
OWNER = {
    "openssl/": "tls",
    "intel-ipsec-mb.h": "tls",
    "nghttp2/": "http",
    "jansson.h": "codec",
    "yaml.h": "codec",
    "protobuf-c/": "xds",
    "sqlite3.h": "apiserver",
    "curl/": "kube",
    "ares.h": "io",
    "pcre2.h": "model",
}
LOCAL = re.compile(r'\s*#\s*include\s+"([^/"]+)/([^"]+)"')
SYSTEM = re.compile(r"\s*#\s*include\s+<([^>]+)>")


def problems(path: pathlib.Path, root: pathlib.Path):
    here = path.relative_to(root).parts[0]
    for n, line in enumerate(path.read_text().splitlines(), 1):
        where = f"{path}:{n}"
        if m := LOCAL.match(line):
            folder, name = m.groups()
            if folder in MAY and folder != here and folder not in MAY[here]:
                yield f"{where}: {here}/ must not include {folder}/"
            if folder != here and name.endswith("_int.h"):
                yield f"{where}: {folder}/{name} is private to {folder}/"
        elif m := SYSTEM.match(line):
            for prefix, owner in OWNER.items():
                if m[1].startswith(prefix) and here != owner:
                    yield f"{where}: <{m[1]}> belongs to {owner}/"


def main() -> int:
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "src")
    found = [p for path in sorted(root.rglob("*.[ch]")) for p in problems(path, root)]
    unknown = [d.name for d in root.iterdir() if d.is_dir() and d.name not in MAY]
    found += [f"{root}/{name}: not in the include table" for name in unknown]
    print("\n".join(found), end="\n" if found else "")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
