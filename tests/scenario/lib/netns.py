# SPDX-License-Identifier: Apache-2.0
"""Network namespaces: making them, entering one with this thread only, sockets that live in one.

A socket belongs to the namespace it was created in, whatever its user does later; so a test opens a
socket 'inside' a pod and then uses it like any other.
"""
import contextlib
import ctypes
import os
import socket
import subprocess

from lib.wait import SCALE

_libc = ctypes.CDLL(None, use_errno=True)
_CLONE_NEWNET = 0x40000000
_home = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


def _setns(fd):
    if _libc.setns(fd, _CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


@contextlib.contextmanager
def inside(name):
    """The calling thread is in namespace `name` for the body. Start no thread in there."""
    fd = os.open(path(name), os.O_RDONLY | os.O_CLOEXEC)
    try:
        _setns(fd)
        yield
    finally:
        _setns(_home)
        os.close(fd)


def path(name):
    """Where a namespace is found: by its name, or by a path that stands for itself."""
    return name if name.startswith("/") else f"/run/netns/{name}"


def names():
    return sorted(os.listdir("/run/netns")) if os.path.isdir("/run/netns") else []


def run(argv, text=None, check=True):
    """A short command of the host, bounded in time; its standard output."""
    done = subprocess.run(argv, input=text, capture_output=True, text=True, timeout=30)
    if check and done.returncode != 0:
        raise RuntimeError(f"{' '.join(argv)}: {done.stderr.strip()}\n{text or ''}")
    return done.stdout


def add(name):
    run(["ip", "netns", "add", name])
    batch(name, ["link set lo up"])


def delete(name):
    run(["ip", "netns", "del", name], check=False)


def batch(name, lines):
    """`ip` commands in a namespace, in one process a family; a line for IPv6 starts with -6."""
    v6 = [line[3:] for line in lines if line.startswith("-6 ")]
    run(["ip", "-n", name, "-batch", "-"], "\n".join(x for x in lines if not x.startswith("-6 ")) + "\n")
    if v6:
        run(["ip", "-6", "-n", name, "-batch", "-"], "\n".join(v6) + "\n")


def sysctl(name, **values):
    """Keys use two underscores for a dot: net__ipv4__ip_forward=1."""
    with inside(name):
        for key, value in values.items():
            with open("/proc/sys/" + key.replace("__", "/"), "w", encoding="ascii") as f:
                f.write(str(value))


def family_of(host):
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def make_socket(name, family, kind=socket.SOCK_STREAM):
    with inside(name):
        return socket.socket(family, kind | socket.SOCK_CLOEXEC)


def connect(name, host, port, seconds=5.0 * SCALE):
    """A TCP connection of namespace `name`; its timeout stays set."""
    sock = make_socket(name, family_of(host))
    sock.settimeout(seconds)
    try:
        sock.connect((host, port))
    except BaseException:
        sock.close()
        raise
    return sock


def listen(name, host, port, backlog=128):
    sock = make_socket(name, family_of(host))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind((host, port))
    sock.listen(backlog)
    return sock


def tcp_sockets(name):
    """Rows of the namespace's TCP tables: (local ip, local port, remote ip, remote port, state)."""
    rows = []
    for table, width in (("tcp", 8), ("tcp6", 32)):
        with inside(name):
            with open(f"/proc/thread-self/net/{table}", encoding="ascii") as f:
                lines = f.read().splitlines()[1:]
        for line in lines:
            local, remote, state = line.split()[1:4]
            rows.append((*_endpoint(local, width), *_endpoint(remote, width), int(state, 16)))
    return rows


ESTABLISHED, LISTEN = 1, 10


def _endpoint(text, width):
    address, port = text.split(":")
    raw = bytes.fromhex(address)
    raw = b"".join(raw[i:i + 4][::-1] for i in range(0, width // 2, 4))
    if width == 8:
        return socket.inet_ntop(socket.AF_INET, raw), int(port, 16)
    if raw[:12] == b"\0" * 10 + b"\xff\xff":
        return socket.inet_ntop(socket.AF_INET, raw[12:]), int(port, 16)
    return socket.inet_ntop(socket.AF_INET6, raw), int(port, 16)
