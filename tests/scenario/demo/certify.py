# SPDX-License-Identifier: Apache-2.0
"""Asks a control plane for a certificate, as a node proxy would; a process of its own, for the network it runs in.

    certify.py ADDRESS:PORT ROOT-FILE TOKEN IDENTITY      prints {"names": [...]} or {"code": "UNAUTHENTICATED"}
"""
import json
import pathlib
import sys

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from lib.wiretypes import ca  # noqa: E402 pylint: disable=wrong-import-position

METHOD = "/istio.v1.auth.IstioCertificateService/CreateCertificate"


def signing_request():
    key = ec.generate_private_key(ec.SECP256R1())
    csr = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
    return csr.public_bytes(serialization.Encoding.PEM).decode()


def names_in(pem):
    names = x509.load_pem_x509_certificate(pem.encode()).extensions.get_extension_for_class(x509.SubjectAlternativeName)
    return names.value.get_values_for_type(x509.UniformResourceIdentifier)


def main():
    server, root_file, token, identity = sys.argv[1:]
    request = ca.CreateCertificateRequest(csr=signing_request(), validity_duration=3600)
    request.metadata.fields["ImpersonatedIdentity"].string_value = identity
    with open(root_file, "rb") as f:
        credentials = grpc.ssl_channel_credentials(f.read())
    with grpc.secure_channel(server, credentials) as channel:
        call = channel.unary_unary(METHOD, request_serializer=lambda r: r.SerializeToString(),
                                   response_deserializer=ca.CreateCertificateResponse.FromString)
        try:
            answer = call(request, timeout=5, metadata=[("authorization", f"Bearer {token}"), ("clusterid", "Kubernetes")])
        except grpc.RpcError as error:
            print(json.dumps({"code": error.code().name}))
            return
    print(json.dumps({"names": names_in(answer.cert_chain[0])}))


if __name__ == "__main__":
    main()
