# SPDX-License-Identifier: Apache-2.0
"""TLS sessions between the code under test and foreign implementations, in both roles."""
import os
import re
import socket
import ssl
import threading

import pytest
from lib import pki
from lib.ports import free_port

import gnutls
from conftest import Peer, Tool, name, save

GROUPS = {"X25519": "X25519", "P-256": "SECP256R1", "P-384": "SECP384R1"}
TEXT = b"".join(b"line %06d of a text that is long enough\n" % i for i in range(40))


def priority(group, cipher):
    return (f"NORMAL:-VERS-ALL:+VERS-TLS1.3:-GROUP-ALL:+GROUP-{GROUPS[group]}:"
            f"-CIPHER-ALL:+AES-{cipher}-GCM")


def gnutls_cli(run, files, port, *more):
    return run(Tool, "gnutls-cli", "--insecure", "--x509certfile", files[0], "--x509keyfile", files[1],
               "--x509cafile", files[2], "--alpn=h2", "--port", str(port), *more, "127.0.0.1")


def gnutls_serv(run, files, *more):
    port = free_port()
    tool = run(Tool, "gnutls-serv", "--echo", "--x509certfile", files[0], "--x509keyfile", files[1], "--x509cafile",
               files[2], "--require-client-cert", "--verify-client-cert", "--alpn=h2", "--port", str(port), *more)
    tool.until(b"listening on IPv4")
    return tool, port


def suite(cipher):
    return {"128": "TLS_AES_128_GCM_SHA256", "256": "TLS_AES_256_GCM_SHA384"}[cipher]


CASES = [("X25519", "128", "ecdsa"), ("X25519", "256", "ecdsa"), ("P-256", "128", "ecdsa"), ("P-256", "256", "rsa"),
         ("P-384", "256", "ecdsa"), ("X25519", "128", "rsa")]


@pytest.mark.parametrize("group,cipher,kind", CASES)
def test_gnutls_cli_talks_to_our_server(run, mesh, rsa_mesh, tmp_path, group, cipher, kind):
    ca = rsa_mesh if kind == "rsa" else mesh
    ours = save(ca.issue(name("server")), tmp_path, "server")
    theirs = save(ca.issue(name("client"), kind=kind), tmp_path, "client")
    peer = run(Peer, "mesh-server", ours, "--alpn", "h2", "--echo")
    tool = gnutls_cli(run, theirs, peer.port, "--priority", priority(group, cipher))
    tool.until(b"Handshake was completed")
    for _ in range(20):
        tool.say(TEXT)
    tool.until(b"line 000039", 20)
    tool.end_input()
    report = peer.report()
    assert report["result"] == "ok"
    assert report["identity"] == name("client")
    assert report["suite"] == suite(cipher)
    assert report["alpn"] == "h2"
    assert report["echoed"] == 20 * len(TEXT)


@pytest.mark.parametrize("group,cipher,kind", CASES)
def test_our_client_talks_to_gnutls_serv(run, mesh, rsa_mesh, tmp_path, group, cipher, kind):
    ca = rsa_mesh if kind == "rsa" else mesh
    theirs = save(ca.issue(name("server"), kind=kind), tmp_path, "server")
    ours = save(ca.issue(name("client")), tmp_path, "client")
    _, port = gnutls_serv(run, theirs, "--priority", priority(group, cipher))
    peer = run(Peer, "mesh-client", ours, "--expect", name("server"), "--alpn", "h2", "--send", "1000", connect=port)
    report = peer.report()
    assert report["result"] == "ok", report["text"]
    assert (report["received"], report["wrong"]) == (1000, False)
    assert report["identity"] == name("server")
    assert report["suite"] == suite(cipher)
    assert report["alpn"] == "h2"


def test_gnutls_cli_changes_keys_and_so_do_we(run, mesh, tmp_path):
    ours = save(mesh.issue(name("server")), tmp_path, "server")
    theirs = save(mesh.issue(name("client")), tmp_path, "client")
    peer = run(Peer, "mesh-server", ours, "--alpn", "h2", "--echo", "--update", "3")
    tool = gnutls_cli(run, theirs, peer.port, "--inline-commands")
    tool.until(b"Handshake was completed")
    for i in range(12):
        tool.say(b"hello number %03d\n" % i)
        tool.until(b"hello number %03d" % i)
        tool.say(b"^rekey^\n" if i % 2 else b"^rekey1^\n")
    tool.say(b"the last word\n")
    tool.until(b"the last word")
    tool.end_input()
    report = peer.report()
    assert report["result"] == "ok", report["text"]
    assert report["updates_received"] >= 12
    assert report["updates_sent"] >= 6


def accept_one(server_end):
    """A listening socket and a thread that serves one connection with server_end(sock)."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(1)
    failures = []

    def serve():
        try:
            sock, _ = listener.accept()
            server_end(sock)
        except Exception as e:  # pylint: disable=broad-except
            failures.append(e)
        finally:
            listener.close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    return listener.getsockname()[1], thread, failures


def material(credential):
    return credential.chain_pem.encode(), pki.key_pem(credential.key), credential.root_pem.encode()


def echo_with_key_updates(session, every, padding):
    """Echoes until close_notify; every few records the keys change, sometimes both ways, but not more than GnuTLS
    allows us within a second. How often the peer was asked for its keys."""
    session.handshake()
    n = 0
    while data := session.receive(1500):
        n += 1
        if n % every == 0:
            session.update_key(ask_peer=n % (20 * every) == 0)
        session.send(data, padding)
    session.bye()
    return n // (20 * every)


@pytest.mark.parametrize("backend", ["auto", "evp"])
def test_gnutls_server_with_key_updates_every_few_records_and_padding(run, mesh, tmp_path, backend):
    asked = []

    def server_end(sock):
        session = gnutls.Session(sock, True, material(mesh.issue(name("server"))))
        asked.append(echo_with_key_updates(session, 3, 77))
        session.close()

    port, thread, failures = accept_one(server_end)
    ours = save(mesh.issue(name("client")), tmp_path, "client")
    more = ["--backend", "evp"] if backend == "evp" else []
    peer = run(Peer, "mesh-client", ours, "--expect", name("server"), "--alpn", "h2", "--send", "400000", *more, connect=port)
    report = peer.report()
    thread.join(20)
    assert report["result"] == "ok", report["text"]
    assert (report["received"], report["wrong"]) == (400000, False)
    assert report["updates_received"] > 50
    assert not failures and 1 <= report["updates_sent"] <= asked[0]


def test_gnutls_client_with_key_updates_every_few_records_and_padding(run, mesh, tmp_path):
    ours = save(mesh.issue(name("server")), tmp_path, "server")
    peer = run(Peer, "mesh-server", ours, "--alpn", "h2", "--echo")
    session = gnutls.Session(socket.create_connection(("127.0.0.1", peer.port)), False,
                             material(mesh.issue(name("client"))))
    session.handshake()
    for i in range(200):
        data = os.urandom(1 + i * 37 % 9000)
        session.send(data, i % 200)
        if i % 3 == 0:
            session.update_key(ask_peer=i % 60 == 0)
        got = b""
        while len(got) < len(data):
            got += session.receive()
        assert got == data
    session.bye()
    assert session.receive() == b""
    session.close()
    report = peer.report()
    assert report["result"] == "ok", report["text"]
    assert report["updates_received"] == 67
    assert report["updates_sent"] == 4


BAD = {
    "another account": (lambda mesh, kind: mesh.issue(name("other")), "client", "ERR_IDENTITY"),
    "foreign trust domain": (lambda mesh, kind: mesh.issue(name("peer", "other.local")), "both", "ERR_IDENTITY"),
    "expired": (lambda mesh, kind: mesh.issue(name("peer"), age=7200, ttl=-60), "both", "ERR_CERTIFICATE"),
    "another root": (lambda mesh, kind: type(mesh)().issue(name("peer")), "both", "ERR_CERTIFICATE"),
    "a root of another name": (lambda mesh, kind: type(mesh)(organization="x").issue(name("peer")), "both",
                               "ERR_CERTIFICATE"),
    "two SPIFFE names": (lambda mesh, kind: mesh.issue(name("other"), name("peer")), "both", "ERR_IDENTITY"),
    "no SPIFFE name": (lambda mesh, kind: mesh.issue("peer.example"), "both", "ERR_IDENTITY"),
}
ALERTS = {"ERR_IDENTITY": "Unknown certificate", "expired": "Certificate is expired",
          "a root of another name": "Certificate is required"}


@pytest.mark.parametrize("what", [k for k, v in BAD.items() if v[1] == "both"])
def test_a_gnutls_client_that_must_not_come_in_is_refused(run, mesh, tmp_path, what):
    make, _, error = BAD[what]
    ours = save(mesh.issue(name("server")), tmp_path, "server")
    peer = run(Peer, "mesh-server", ours, "--alpn", "h2", "--echo")
    session = gnutls.Session(socket.create_connection(("127.0.0.1", peer.port)), False, material(make(mesh, "client")))
    with pytest.raises(gnutls.Error) as told:
        session.handshake()
        session.send(b"hello\n")
        session.receive()
    session.close()
    report = peer.report()
    # A client that reads the list of acceptable authorities sends nothing when its own is not there.
    assert report["result"] == ("ERR_TLS" if what == "a root of another name" else error)
    assert report["echoed"] == 0
    wanted = ALERTS.get(what) or ALERTS.get(error)
    if wanted:
        assert wanted.lower() in (told.value.alert or "").lower()


@pytest.mark.parametrize("what", list(BAD))
def test_a_gnutls_server_that_is_somebody_else_is_refused(run, mesh, tmp_path, what):
    make, _, error = BAD[what]
    told = []

    def server_end(sock):
        session = gnutls.Session(sock, True, material(make(mesh, "server")))
        try:
            session.handshake()
        except gnutls.Error as e:
            told.append(e)
        session.close()

    port, thread, failures = accept_one(server_end)
    ours = save(mesh.issue(name("client")), tmp_path, "client")
    peer = run(Peer, "mesh-client", ours, "--expect", name("peer"), "--alpn", "h2", "--send", "100", connect=port)
    report = peer.report()
    thread.join(20)
    assert report["result"] == error
    assert report["sent"] == 0
    assert told and not failures
    if error == "ERR_IDENTITY" and what not in ("no SPIFFE name", "two SPIFFE names"):
        assert name("peer") in report["text"] and "peer is spiffe://" in report["text"]


def test_openssl_s_server_changes_keys_on_command(run, mesh, tmp_path):
    theirs = save(mesh.issue(name("server")), tmp_path, "server")
    ours = save(mesh.issue(name("client")), tmp_path, "client")
    port = free_port()
    tool = run(Tool, "openssl", "s_server", "-accept", f"127.0.0.1:{port}", "-cert", theirs[0], "-key", theirs[1],
               "-CAfile", theirs[2], "-Verify", "2", "-alpn", "h2", "-naccept", "1")
    tool.until(b"ACCEPT")
    peer = run(Peer, "mesh-client", ours, "--expect", name("server"), "--alpn", "h2", "--echo", connect=port)
    tool.until(b"CIPHER is")
    for i in range(8):
        tool.command(b"k\n" if i % 2 else b"K\n")
        tool.say(b"hello number %03d\n" % i)
        tool.until(b"hello number %03d" % i)
    tool.say(b"Q\n")
    report = peer.report()
    assert report["result"] == "ERR_TRUNCATED"  # it leaves without close_notify
    assert report["updates_received"] == 8
    assert report["updates_sent"] == 4
    assert report["tickets"] == 2


def test_openssl_s_client_changes_keys_on_command(run, mesh, tmp_path):
    ours = save(mesh.issue(name("server")), tmp_path, "server")
    theirs = save(mesh.issue(name("client")), tmp_path, "client")
    peer = run(Peer, "mesh-server", ours, "--alpn", "h2", "--echo", "--update", "2")
    tool = run(Tool, "openssl", "s_client", "-connect", f"127.0.0.1:{peer.port}", "-cert", theirs[0], "-key", theirs[1],
               "-CAfile", theirs[2], "-alpn", "h2", "-tls1_3")
    seen = tool.until(b"Verify return code").decode()
    assert re.search("Verify return code: 0", seen)
    assert not re.search("New Session Ticket arrived", seen)
    for i in range(8):
        tool.command(b"k\n" if i % 2 else b"K\n")
        tool.say(b"hello number %03d\n" % i)
        tool.until(b"hello number %03d" % i)
    tool.say(b"Q\n")
    report = peer.report()
    assert report["result"] == "ok", report["text"]
    assert report["updates_received"] == 8
    assert report["updates_sent"] >= 7
    assert b"New Session Ticket arrived" not in tool.stop()


def python_echo(context, seen):
    def server_end(sock):
        with context.wrap_socket(sock, server_side=True) as tls:
            seen.append((tls.selected_alpn_protocol(), pki.peer_uris(tls)))
            while data := tls.recv(65536):
                tls.sendall(data)
            tls.unwrap()

    return server_end


@pytest.mark.parametrize("alpn,wanted", [(("h2",), "h2"), ((), "")])
def test_python_server_and_its_tickets(run, mesh, tmp_path, alpn, wanted):
    seen = []
    port, thread, _ = accept_one(python_echo(mesh.issue(name("server")).context(True, alpn=alpn), seen))
    ours = save(mesh.issue(name("client")), tmp_path, "client")
    peer = run(Peer, "mesh-client", ours, "--expect", name("server"), "--alpn", "h2", "--send", "3000000", connect=port)
    report = peer.report()
    thread.join(20)
    assert report["result"] == "ok", report["text"]
    assert (report["received"], report["wrong"], report["alpn"]) == (3000000, False, wanted)
    assert report["tickets"] == 2
    assert seen == [(wanted or None, [name("client")])]


def test_a_server_that_asks_for_no_certificate_is_used_all_the_same(run, mesh, tmp_path):
    seen = []
    port, thread, _ = accept_one(python_echo(mesh.issue(name("server")).context(True, ask_client=False), seen))
    ours = save(mesh.issue(name("client")), tmp_path, "client")
    peer = run(Peer, "mesh-client", ours, "--expect", name("server"), "--alpn", "h2", "--send", "1000", connect=port)
    assert peer.report()["result"] == "ok"
    thread.join(20)
    assert seen == [("h2", [])]


@pytest.mark.parametrize("host,error", [("localhost", "ok"), ("other.example", "ERR_CERTIFICATE")])
def test_a_control_plane_is_verified_by_name(run, mesh, tmp_path, host, error):
    seen = []
    names = []
    context = mesh.issue("localhost").context(True, ask_client=False)
    context.sni_callback = lambda tls, sni, ctx: names.append(sni)
    port, thread, _ = accept_one(python_echo(context, seen))
    ours = save(mesh.issue(name("client")), tmp_path, "client")
    peer = run(Peer, "host-client", [None, None, ours[2]], "--host", host, "--alpn", "h2", "--send", "1000",
               connect=port)
    assert peer.report()["result"] == error
    thread.join(20)
    assert names == [host]


def test_no_server_name_is_sent_on_the_mesh(run, mesh, tmp_path):
    names = []
    context = mesh.issue(name("server")).context(True)
    context.sni_callback = lambda tls, sni, ctx: names.append(sni)
    port, thread, _ = accept_one(python_echo(context, []))
    ours = save(mesh.issue(name("client")), tmp_path, "client")
    peer = run(Peer, "mesh-client", ours, "--expect", name("server"), "--alpn", "h2", "--send", "10", connect=port)
    assert peer.report()["result"] == "ok"
    thread.join(20)
    assert names == [None]


def test_an_older_version_is_refused(run, mesh, tmp_path):
    ours = save(mesh.issue(name("server")), tmp_path, "server")
    peer = run(Peer, "mesh-server", ours, "--alpn", "h2", "--echo")
    context = mesh.issue(name("client")).context(False)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with socket.create_connection(("127.0.0.1", peer.port)) as sock:
        with pytest.raises(ssl.SSLError, match="PROTOCOL_VERSION"):
            context.wrap_socket(sock)
    assert peer.report()["result"] == "ERR_TLS"


def test_a_server_for_hosts_needs_no_client_certificate(run, mesh, tmp_path):
    ours = save(mesh.issue("localhost", "127.0.0.1"), tmp_path, "server")
    peer = run(Peer, "host-server", ours, "--alpn", "h2", "--alpn", "http/1.1", "--echo", "--ask")
    context = mesh.issue(name("client")).context(False, alpn=("http/1.1",), show_client_cert=False)
    context.check_hostname = True
    with socket.create_connection(("127.0.0.1", peer.port)) as sock:
        with context.wrap_socket(sock, server_hostname="localhost") as tls:
            tls.sendall(b"hello")
            assert tls.recv(100) == b"hello"
            assert tls.selected_alpn_protocol() == "http/1.1"
            tls.unwrap()
    report = peer.report()
    assert (report["result"], report["identity"]) == ("ok", None)
