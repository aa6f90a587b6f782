# SPDX-License-Identifier: Apache-2.0
"""Python classes of proto/*.proto, made by protoc into a temporary folder when they are first imported.

Both ends of a test thus share field numbers; that these are the right ones is shown by test_harness, which
decodes octets that were recorded from foreign programs.
"""
import importlib
import pathlib
import subprocess
import sys
import tempfile

_source = pathlib.Path(__file__).resolve().parents[3] / "proto"
_files = [str(_source / f"{n}.proto") for n in ("common", "workload", "authorization", "ca", "xds", "waypoint")]
with tempfile.TemporaryDirectory(prefix="ambit-proto-") as _folder:  # gone at once: who imports this may be killed later
    subprocess.run(["protoc", f"--proto_path={_source}", f"--python_out={_folder}", *_files], check=True, timeout=30)
    sys.path.insert(0, _folder)
    common = importlib.import_module("common_pb2")
    workload = importlib.import_module("workload_pb2")
    authorization = importlib.import_module("authorization_pb2")
    ca = importlib.import_module("ca_pb2")
    xds = importlib.import_module("xds_pb2")
    waypoint = importlib.import_module("waypoint_pb2")
    sys.path.remove(_folder)

ADDRESS = "type.googleapis.com/istio.workload.Address"
AUTHORIZATION = "type.googleapis.com/istio.security.Authorization"
BINDING, ROUTE, POLICY, TRAFFIC = (f"type.googleapis.com/ambit.waypoint.v1.{n}"
                                   for n in ("Binding", "Route", "Policy", "Traffic"))
TYPES = (ADDRESS, AUTHORIZATION, BINDING, ROUTE, POLICY, TRAFFIC)


def struct_to_dict(message):
    return {key: _value(v) for key, v in message.fields.items()}


def _value(v):
    kind = v.WhichOneof("kind")
    if kind == "struct_value":
        return struct_to_dict(v.struct_value)
    if kind == "list_value":
        return [_value(x) for x in v.list_value.values]
    return None if kind in (None, "null_value") else getattr(v, kind)
