# SPDX-License-Identifier: Apache-2.0
"""Ports of the loopback for programs that have to be told one."""
import random
import socket

FIRST, COUNT = 20000, 12000
_next = random.randrange(COUNT)


def free_port():
    """One that is free and was not given out before. It is below those that the kernel gives to clients: one of those
    may be some client's by the time that the program takes it, and who tries it while nobody listens may connect to
    itself, and then it is taken."""
    global _next  # pylint: disable=global-statement
    for _ in range(COUNT):
        port, _next = FIRST + _next, (_next + 1) % COUNT
        with socket.socket() as probe:
            try:
                probe.bind(("", port))
            except OSError:
                continue
        return port
    raise OSError("no port is free")
