# SPDX-License-Identifier: Apache-2.0
"""A byte stream both ends can make up: every block differs from every other, so that what is lost, doubled or
swapped on the way changes the digest."""
import hashlib
import random
import struct

BLOCK = 65536
_BODY = random.Random(20).randbytes(BLOCK - 8)


def blocks(total, key=0):
    """`total` bytes in blocks; streams of different `key` have nothing in common."""
    number = 0
    while total > 0:
        block = struct.pack(">II", key, number) + _BODY
        yield block[:total]
        total -= BLOCK
        number += 1


def digest(total, key=0):
    h = hashlib.sha256()
    for block in blocks(total, key):
        h.update(block)
    return h.hexdigest()
