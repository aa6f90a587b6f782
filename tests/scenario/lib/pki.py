# SPDX-License-Identifier: Apache-2.0
"""A certificate authority whose every choice a test can make wrong, and TLS contexts from what it issues."""
import datetime
import ipaddress
import os
import ssl
import tempfile

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

BOTH = (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH)
PEM = serialization.Encoding.PEM


def _now():
    return datetime.datetime.utcnow()


def _seconds(n):
    return datetime.timedelta(seconds=n)


class Authority:
    """A self-signed root. With a `folder` it is kept there and found again by the next process."""

    def __init__(self, folder=None, name="cluster.local"):
        key_file = os.path.join(folder, "root-key.pem") if folder else None
        root_file = os.path.join(folder, "root.pem") if folder else None
        if key_file and os.path.exists(key_file):
            with open(key_file, "rb") as f:
                self.key = serialization.load_pem_private_key(f.read(), None)
            with open(root_file, "rb") as f:
                self.root = x509.load_pem_x509_certificate(f.read())
            return
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.root = self._self_signed(name)
        if folder:
            _write(key_file, key_pem(self.key))
            _write(root_file, self.root.public_bytes(PEM))

    def _self_signed(self, name):
        subject = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, name)])
        return (x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(self.key.public_key())
                .serial_number(x509.random_serial_number()).not_valid_before(_now() - _seconds(3600))
                .not_valid_after(_now() + _seconds(86400 * 365))
                .add_extension(x509.BasicConstraints(True, None), True)
                .add_extension(x509.KeyUsage(False, False, False, False, False, True, True, False, False), True)
                .add_extension(x509.SubjectKeyIdentifier.from_public_key(self.key.public_key()), False)
                .sign(self.key, hashes.SHA256()))

    @property
    def root_pem(self):
        return self.root.public_bytes(PEM).decode()

    def sign(self, public_key, sans, ttl=3600, age=60, usages=BOTH):
        """A leaf in PEM: `sans` are SPIFFE URIs, IP addresses or DNS names; valid from `age` ago until `ttl` ahead."""
        builder = (x509.CertificateBuilder().subject_name(x509.Name([])).issuer_name(self.root.subject)
                   .public_key(public_key).serial_number(x509.random_serial_number())
                   .not_valid_before(_now() - _seconds(age)).not_valid_after(_now() + _seconds(ttl))
                   .add_extension(x509.BasicConstraints(False, None), True)
                   .add_extension(x509.KeyUsage(True, False, True, False, False, False, False, False, False), True)
                   .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), False))
        if usages:
            builder = builder.add_extension(x509.ExtendedKeyUsage(list(usages)), False)
        if sans:
            builder = builder.add_extension(x509.SubjectAlternativeName([_general_name(s) for s in sans]), True)
        return builder.sign(self.key, hashes.SHA256()).public_bytes(PEM).decode()

    def issue(self, *sans, **options):
        """A new key with a leaf for it."""
        key = ec.generate_private_key(ec.SECP256R1())
        return Credential(key, self.sign(key.public_key(), sans, **options), self.root_pem)


class Credential:
    """A private key, its leaf, and the root to trust."""

    def __init__(self, key, chain_pem, root_pem):
        self.key, self.chain_pem, self.root_pem = key, chain_pem, root_pem

    def context(self, server, alpn=("h2",), show_client_cert=True, ask_client=True):
        """A TLS 1.3 context that presents this credential. A client checks the chain but no name."""
        ctx = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server else ssl.PROTOCOL_TLS_CLIENT)
        ctx.minimum_version = ssl.TLSVersion.TLSv1_3
        ctx.check_hostname = False
        if alpn:
            ctx.set_alpn_protocols(list(alpn))
        ctx.verify_mode = ssl.CERT_REQUIRED if ask_client or not server else ssl.CERT_NONE
        ctx.load_verify_locations(cadata=self.root_pem)
        if show_client_cert or server:
            with tempfile.NamedTemporaryFile("wb") as f:
                f.write(key_pem(self.key) + self.chain_pem.encode())
                f.flush()
                ctx.load_cert_chain(f.name)
        return ctx


def key_pem(key):
    return key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def peer_uris(tls_socket):
    """The URI names in the peer's certificate."""
    cert = tls_socket.getpeercert() or {}
    return [value for kind, value in cert.get("subjectAltName", ()) if kind == "URI"]


def _general_name(text):
    if text.startswith("spiffe://"):
        return x509.UniformResourceIdentifier(text)
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        return x509.DNSName(text)


def _write(name, octets):
    with open(os.open(name, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "wb") as f:
        f.write(octets)
