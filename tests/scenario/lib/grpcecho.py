# SPDX-License-Identifier: Apache-2.0
"""A gRPC service that echoes the messages of a stream for as long as there are any, and its client; both by grpcio, with
octets for messages. Every method of the service `echo` does the same.

    grpcecho.py serve PORT               says "serving", and "METHOD is over" for each stream that ended
    grpcecho.py call HOST:PORT METHOD    sends lines of its standard input, says what comes, and how it ended: "status NAME TEXT"
"""
import sys
from concurrent import futures

import grpc


class Echo(grpc.GenericRpcHandler):
    def service(self, handler_call_details):
        name = handler_call_details.method.rsplit("/", 1)[1]

        def stream(messages, context):
            context.add_callback(lambda: print(f"{name} is over", flush=True))
            yield from messages
        return grpc.stream_stream_rpc_method_handler(stream)


def serve(port):
    server = grpc.server(futures.ThreadPoolExecutor(16), handlers=[Echo()])
    server.add_insecure_port(f"0.0.0.0:{port}")
    server.start()
    print("serving", flush=True)
    server.wait_for_termination()


def lines():
    while line := sys.stdin.buffer.readline():
        yield line.strip()


def call(target, method):
    with grpc.insecure_channel(target, [("grpc.enable_http_proxy", 0)]) as channel:
        stream = channel.stream_stream(f"/echo/{method}")(lines(), wait_for_ready=True)
        try:
            for message in stream:
                print(message.decode(), flush=True)
        except grpc.RpcError:
            pass
        print(f"status {stream.code().name} {stream.details()}", flush=True)


if __name__ == "__main__":
    {"serve": serve, "call": call}[sys.argv[1]](*sys.argv[2:])
