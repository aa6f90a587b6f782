# SPDX-License-Identifier: Apache-2.0
"""Our gRPC against Debian's grpcio in both roles, and the recorded request headers."""
import concurrent.futures
import os
import pathlib
import socket
import struct
import subprocess
import threading
import time

import grpc
import h2.config
import h2.connection
import h2.errors
import h2.events
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[3]
BUILD = pathlib.Path(os.environ.get("AMBIT_BUILD_ASAN") or ROOT / "build")
DRIVER = str(BUILD / "tests/unit/rpc/grpc_driver")


@pytest.fixture(scope="module")
def port():
    child = subprocess.Popen([DRIVER, "serve"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    yield int(child.stdout.readline())
    child.stdin.close()
    assert child.wait(timeout=30) == 0, "the server ended with an error or a leak"


@pytest.fixture
def channel(port):
    options = [("grpc.max_receive_message_length", 64 << 20), ("grpc.max_send_message_length", 64 << 20)]
    with grpc.insecure_channel(f"127.0.0.1:{port}", options=options) as c:
        yield c


def test_unary(channel):
    echo = channel.unary_unary("/t/Echo")
    for size in (0, 1, 100, 16379, 16384, 70000, 3000000):
        assert echo(b"x" * size, timeout=20) == b"x" * size


def test_streams_both_ways(channel):
    sent = [bytes([i]) * (i * 997 % 30000) for i in range(200)]
    assert list(channel.stream_stream("/t/Echo")(iter(sent), timeout=30)) == sent


def test_a_conversation_is_not_held_back(channel):
    """Each answer is awaited before the next question."""
    questions = iter([])
    ready = threading.Semaphore(1)

    def ask():
        for i in range(30):
            ready.acquire()
            yield b"%d" % i
    got = []
    for i, answer in enumerate(channel.stream_stream("/t/Echo")(ask(), timeout=20)):
        assert answer == b"%d" % i
        got.append(answer)
        ready.release()
    assert len(got) == 30 and not list(questions)


def test_a_large_answer(channel):
    assert channel.unary_unary("/t/Count")(b"30000000", timeout=60) == b"x" * 30000000


def test_statuses(channel):
    for path, code, text in (("/t/Fail", grpc.StatusCode.NOT_FOUND, "50% \xe9\n"),
                             ("/t/Unknown", grpc.StatusCode.UNIMPLEMENTED, "no such method"),
                             ("/t/Half", grpc.StatusCode.ABORTED, "")):
        with pytest.raises(grpc.RpcError) as e:
            list(channel.stream_stream(path)(iter([b"a"]), timeout=10))
        assert e.value.code() == code
        assert e.value.details() == text


def test_deadlines_and_cancelling(channel):
    with pytest.raises(grpc.RpcError) as e:
        channel.unary_unary("/t/Hang")(b"", timeout=0.3)
    assert e.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    for _ in range(50):
        call = channel.stream_stream("/t/Hang")(iter([b"a"]))
        call.cancel()
    assert channel.unary_unary("/t/Echo")(b"still", timeout=10) == b"still"


def test_many_calls_at_once(channel):
    echo = channel.unary_unary("/t/Echo")
    futures = [echo.future(b"%d" % i * 1000, timeout=30) for i in range(300)]
    assert [f.result() for f in futures] == [b"%d" % i * 1000 for i in range(300)]


def test_a_message_beyond_the_servers_limit_is_refused(channel):
    with pytest.raises(grpc.RpcError):
        channel.unary_unary("/t/Echo")(b"x" * ((64 << 20) - 10 + 100), timeout=60)
    assert channel.unary_unary("/t/Echo")(b"still", timeout=10) == b"still"


def test_what_is_no_grpc_is_refused(port):
    for args, status in ((["-d", "x"], "415"), ([], "405")):
        out = subprocess.run(["curl", "-sS", "--http2-prior-knowledge", "-w", "%{http_code}", *args,
                              f"http://127.0.0.1:{port}/t/Echo"],
                             capture_output=True, text=True, timeout=20, check=True).stdout
        assert out == status


class Foreign(grpc.GenericRpcHandler):
    """A grpcio service."""

    def __init__(self):
        self.metadata = {}

    def service(self, details):
        self.metadata = dict(details.invocation_metadata)
        if details.method == "/f/Echo":
            return grpc.stream_stream_rpc_method_handler(lambda requests, context: requests)
        if details.method == "/f/Big":
            return grpc.stream_stream_rpc_method_handler(lambda requests, context: iter([b"z" * (100 << 20)]))
        if details.method == "/f/Fail":
            return grpc.stream_stream_rpc_method_handler(self.fail)
        if details.method == "/f/Hang":
            return grpc.stream_stream_rpc_method_handler(self.hang)
        return None

    @staticmethod
    def fail(requests, context):
        yield b"first"
        context.abort(grpc.StatusCode.PERMISSION_DENIED, "not you: \u00fc%")

    @staticmethod
    def hang(requests, context):
        time.sleep(3)
        yield b"late"


@pytest.fixture(scope="module")
def foreign():
    handler = Foreign()
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(4), [handler],
                         options=[("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)])
    handler.port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield handler
    server.stop(None)


def ours(port, path, *sizes, limit_ms=0):
    done = subprocess.run([DRIVER, "call", str(port), path, str(limit_ms), *map(str, sizes)],
                          capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    lines = done.stdout.splitlines()
    return [line for line in lines if line.startswith("message")], lines[-2], int(lines[-1].split()[1])


def test_our_client_talks_to_a_foreign_server(foreign):
    sizes = [0, 5, 16379, 16384, 500000, 0, 7]
    messages, status, _ = ours(foreign.port, "/f/Echo", *sizes)
    assert messages == [f"message {n}" for n in sizes]
    assert status.rstrip() == "status 0"
    assert foreign.metadata["authorization"] == "Bearer test-token"


def test_a_hundred_megabytes_are_taken_in_pieces(foreign):
    messages, status, biggest = ours(foreign.port, "/f/Big")
    assert messages == [f"message {100 << 20}"] and status.rstrip() == "status 0"
    assert biggest <= 2 << 20


def test_foreign_statuses_arrive(foreign):
    assert ours(foreign.port, "/f/Fail", 1)[:2] == (["message 5"], "status 7 not you: \u00fc%")
    assert ours(foreign.port, "/f/None", 1)[1].startswith("status 12 ")


def test_our_deadline(foreign):
    assert ours(foreign.port, "/f/Hang", 1, limit_ms=500)[1].startswith("status 4 ")  # what comes late has status 0


class Script:
    """A server of raw HTTP/2: what the client said, and what we choose to answer."""

    def __init__(self, answer):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.raw, self.head = b"", None
        self.thread = threading.Thread(target=self.serve, args=(answer,), daemon=True)
        self.thread.start()

    def serve(self, answer):
        sock, _ = self.listener.accept()
        config = h2.config.H2Configuration(client_side=False, header_encoding="utf-8")
        c = h2.connection.H2Connection(config)
        c.initiate_connection()
        sock.sendall(c.data_to_send())
        try:
            while data := sock.recv(65536):
                self.raw += data
                for e in c.receive_data(data):
                    if isinstance(e, h2.events.RequestReceived):
                        self.head = e.headers
                        answer(c, e.stream_id, sock)
                sock.sendall(c.data_to_send())
        except OSError:
            pass
        sock.close()


OK = [(":status", "200"), ("content-type", "application/grpc")]


def trailers_only(c, n, sock):
    c.send_headers(n, [*OK, ("grpc-status", "5"), ("grpc-message", "a%20b%zz%41")], end_stream=True)


def no_status(c, n, sock):
    c.send_headers(n, OK)
    c.send_data(n, struct.pack(">BI", 0, 1) + b"x", end_stream=True)


def compressed(c, n, sock):
    c.send_headers(n, OK)
    c.send_data(n, struct.pack(">BI", 1, 1) + b"x")


def cut(c, n, sock):
    c.send_headers(n, OK)
    c.send_data(n, struct.pack(">BI", 0, 10) + b"x")
    c.send_headers(n, [("grpc-status", "0")], end_stream=True)


def cut_in_prefix(c, n, sock):
    c.send_headers(n, OK)
    c.send_data(n, b"\0\0")
    c.send_headers(n, [("grpc-status", "0")], end_stream=True)


def too_large(c, n, sock):
    c.send_headers(n, OK)
    c.send_data(n, struct.pack(">BI", 0, (200 << 20) + 1))


def http_status(status):
    return lambda c, n, sock: c.send_headers(n, [(":status", str(status))], end_stream=True)


def reset(code):
    return lambda c, n, sock: c.reset_stream(n, code)


def hang_up(c, n, sock):
    sock.shutdown(socket.SHUT_RDWR)


E = h2.errors.ErrorCodes


@pytest.mark.parametrize("answer, code", [
    (trailers_only, 5), (no_status, 13), (compressed, 12), (cut, 13), (cut_in_prefix, 13), (too_large, 8),
    (http_status(401), 16), (http_status(403), 7), (http_status(404), 12), (http_status(503), 14), (http_status(500), 2),
    (reset(E.REFUSED_STREAM), 14), (reset(E.CANCEL), 1), (reset(E.ENHANCE_YOUR_CALM), 8), (reset(E.INTERNAL_ERROR), 13),
    (hang_up, 14),
], ids=lambda v: getattr(v, "__name__", str(v)))
def test_every_way_to_end_has_its_status(answer, code):
    server = Script(answer)
    _, status, _ = ours(server.port, "/f/X", 1)
    assert status.split()[1] == str(code), status


def test_an_odd_status_text_is_decoded_as_far_as_it_goes():
    server = Script(trailers_only)
    assert ours(server.port, "/f/X", 1)[1] == "status 5 a b%zzA"


def test_the_request_head_is_the_recorded_one():
    """Names and order of vectors/ztunnel (xds/raw-http2.json): no user-agent, no timeout, no encodings."""
    server = Script(trailers_only)
    ours(server.port, "/f/X", 1, limit_ms=9000)
    assert server.head == [(":method", "POST"), (":scheme", "http"), (":authority", "test.local:1"), (":path", "/f/X"),
                           ("te", "trailers"), ("content-type", "application/grpc"),
                           ("authorization", "Bearer test-token")]
