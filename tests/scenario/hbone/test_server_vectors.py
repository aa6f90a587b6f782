# SPDX-License-Identifier: Apache-2.0
"""What a recorded server did with a client, replayed frame by frame."""
import json
import pathlib

import pytest

import rawh2
from rawh2 import Peer, frame

VECTORS = pathlib.Path(__file__).resolve().parents[2] / "vectors/hbone/server-cases.json"
CASES = {c["name"]: c for c in json.loads(VECTORS.read_text(encoding="ascii"))}
ALIVE = bytes.fromhex("616c697665212121")


def split(data):
    """The preface, then frame after frame."""
    if data.startswith(rawh2.PREFACE[:3]) and not data.startswith(rawh2.PREFACE):
        return [data]
    if not data.startswith(rawh2.PREFACE):
        return [data]
    out, at = [data[:24]], 24
    while at < len(data):
        size = 9 + int.from_bytes(data[at:at + 3], "big")
        out.append(data[at:at + size])
        at += size
    return out


def seen(peer, stream):
    """What the recordings say of a stream: its status and the code of its reset."""
    parts = [peer.status(stream)]
    code = peer.reset_code(stream)
    if code is not None:
        parts.append(f"RST_STREAM {code}")
    return " ".join(p for p in parts if p)


def all_seen(peer):
    return {str(f.stream): seen(peer, f.stream) for f in peer.frames if f.kind in ("HEADERS", "RST_STREAM")}


def expected_status(case, stream="1"):
    words = (case["streams"] or {}).get(stream, "").split()
    return words[0] if words and words[0].isdigit() else None


def wait_answer(case, peer, part):
    """After the last frame of a request's head: its answer, if one was recorded. What comes next may end the stream."""
    if len(part) < 9 or part.startswith(rawh2.PREFACE):
        return
    kind, flags, stream = part[3], part[4], int.from_bytes(part[5:9], "big")
    if kind in map(rawh2.TYPES.index, ("HEADERS", "CONTINUATION")) and flags & 4 and expected_status(case, str(stream)):
        peer.wait(lambda p: p.status(stream))


@pytest.mark.parametrize("name", CASES)
def test_server_does_what_was_recorded(name, shared_driver):
    case = CASES[name]
    status = expected_status(case)
    if status in ("401", "503") or (status == "400" and "GET" not in name):
        d = shared_driver("server", f"refuse={status}")  # decided above the tunnel layer
    else:
        app = 9007 if "9007" in name or name.startswith(("half-closed", "wu-")) else 9002
        app = {"app-speaks-first": 9001, "app-resets": 9006}.get(name, app)
        d = shared_driver("server", f"app={app}")
    peer = Peer.dial(d.port)
    peer.auto_ack = False  # the recorded client said so itself
    sent = bytes.fromhex(case["client_sent_hex"])
    for part in [sent] if name == "stream-id-back" else split(sent):
        if ALIVE in part and part[3] == 6:
            continue
        peer.send(part)
        wait_answer(case, peer, part)
        peer.quiet(0.02)
    if case["alive_after"]:
        assert peer.is_alive()
    elif case["connection_end"]:
        peer.wait(lambda p: p.ended)
        assert peer.ended == "FIN"
    assert [frame("GOAWAY", 0, 0, f.payload).hex() for f in peer.of("GOAWAY")] == case["goaway"]
    expected = case["streams"] or {}
    if name == "app-resets":  # the recorded server shows an end where there was none
        expected = {"1": "200 RST_STREAM CANCEL"}
    assert peer.wait(lambda p: all_seen(p) == expected), (all_seen(peer), expected)
