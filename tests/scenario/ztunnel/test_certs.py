# SPDX-License-Identifier: Apache-2.0
"""Certificates of workloads: how they are asked for, refused, late, renewed."""
import base64
import concurrent.futures

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from lib import app, client, model, peers, wait

ALPHA, BETA = model.spiffe("alpha"), model.spiffe("beta")


def asked(solo, since, identity=ALPHA):
    return solo.cp.events("ca", since, identity=identity)


def state_of(solo, identity=ALPHA):
    return next((c for c in solo.zt.config_dump()["certificates"] if c["identity"] == identity), None)


def serial_of(solo, identity=ALPHA):
    chain = state_of(solo, identity)["certChain"]
    return x509.load_pem_x509_certificate(base64.b64decode(chain[0]["pem"])).serial_number


def inbound_works(solo):
    with peers.Tunnel(solo.ns("p41"), solo.POD4, solo.credential()) as tunnel:
        tunnel.echo(f"{solo.POD4}:{app.ECHO}")
    return True


def test_a_certificate_is_asked_for_as_the_contract_says(solo):
    since = solo.cp.mark()
    solo.start()
    wait.until("both identities are asked for", lambda: asked(solo, since) and asked(solo, since, BETA))
    assert {e["identity"] for e in solo.cp.events("ca", since)} <= {ALPHA, BETA, model.spiffe("ztunnel", "istio-system")}
    event = asked(solo, since)[0]
    csr = x509.load_pem_x509_csr(event["csr"].encode())
    names = csr.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert csr.is_signature_valid and isinstance(csr.public_key().curve, ec.SECP256R1) and not list(csr.subject)
    assert [n.value for n in names.value] == [ALPHA] and names.critical
    assert event["metadata"] == {"ImpersonatedIdentity": ALPHA} and event["ttl"] == 86400
    headers = dict(event["headers"])
    assert headers["authorization"] == "Bearer a-token" and headers["clusterid"] == "Kubernetes"
    keys = {x509.load_pem_x509_csr(e["csr"].encode()).public_key().public_numbers().x for e in solo.cp.events("ca", since)}
    assert len(keys) == len(solo.cp.events("ca", since)), "every request has a key of its own"


def test_the_lifetime_and_extra_headers_come_from_the_environment(solo):
    since = solo.cp.mark()
    solo.start(SECRET_TTL="1h30m", CA_HEADER_x_lab="yes")
    (event, *_) = wait.until("asked", lambda: asked(solo, since))
    assert event["ttl"] == 5400 and dict(event["headers"])["x_lab"] == "yes"


def test_pods_of_one_account_share_a_certificate(solo):
    solo.cp.push(model.pod(3, 2, "beta-1", "alpha"), settle=False)
    solo.agent.pods["uid-p32"] = (solo.ns("p32"), "beta-1", "shop", "alpha")
    since = solo.cp.mark()
    solo.start()
    assert inbound_works(solo)
    assert len(asked(solo, since)) == 1


@pytest.mark.parametrize("mode", ["deny", "unavailable", "wrong_identity", "empty", "no_root"])
def test_without_a_certificate_connections_fail_and_heal_when_there_is_one(solo, mode):
    solo.cp.ca(ALPHA, mode=mode)
    since, watch = solo.cp.mark(), wait.Stopwatch()
    solo.start()
    wait.until("the refusal is known", lambda: state_of(solo)["state"].startswith("Unavailable: "))
    mark = solo.zt.mark()
    assert client.is_cut(client.outcome(solo.ns("p31"), solo.PEER4, 8080))
    solo.zt.wait_access(mark, direction="outbound", src_workload="alpha-1")
    assert solo.zt.metric("istio_tcp_connections_failed_total", response_flags="IDENTITY_ERROR") >= 1
    assert len(asked(solo, since)) <= 3 + watch.seconds, "there is a pause between requests"
    solo.cp.ca_reset()
    with peers.TunnelServer(solo.ns("p41"), solo.credential()):
        wait.until("the next attempt succeeds", lambda: client.outcome(solo.ns("p31"), solo.PEER4, 8080) == "served", 10)


def test_a_slow_authority_only_delays(solo):
    solo.cp.ca(ALPHA, delay=1.5)
    solo.start()
    watch = wait.Stopwatch()
    with peers.TunnelServer(solo.ns("p41"), solo.credential()):
        client.echo(solo.ns("p31"), solo.PEER4, 8080)
    assert watch.seconds < 4 * wait.SCALE


def test_an_authority_silent_about_one_identity_does_not_hold_up_another(solo):
    solo.cp.ca(ALPHA, mode="silent")
    solo.start()
    with peers.TunnelServer(solo.ns("p41"), solo.credential()):
        client.echo(solo.ns("p32"), solo.PEER4, 8080)


def test_an_authority_that_is_down_at_the_start_is_asked_again(solo):
    solo.start(CA_ADDRESS="https://172.31.0.254:15029")
    assert client.is_cut(client.outcome(solo.ns("p31"), solo.PEER4, 8080))
    solo.zt.stop()
    solo.agent.stop()
    solo.start()
    with peers.TunnelServer(solo.ns("p41"), solo.credential()):
        client.echo(solo.ns("p31"), solo.PEER4, 8080)


def test_a_certificate_is_renewed_at_half_its_life_and_connections_live_on(solo):
    solo.cp.ca(ttl=8, age=0)
    since = solo.cp.mark()
    solo.start()
    first = wait.until("issued", lambda: asked(solo, since))[0]
    old = wait.until("in use", lambda: serial_of(solo))
    with peers.Tunnel(solo.ns("p41"), solo.POD4, solo.credential()) as tunnel:
        stream, _ = tunnel.connect(f"{solo.POD4}:{app.ECHO}")
        second = wait.until("renewed", lambda: asked(solo, since)[1:], 8)[0]
        assert 2.5 < second["t"] - first["t"] < 4 + 1.5 * wait.SCALE
        wait.until("in use", lambda: serial_of(solo) != old)
        tunnel.send(stream, b"still")
        assert tunnel.receive(stream, 5) == b"still"
    assert inbound_works(solo)


def test_a_certificate_past_half_its_life_is_not_asked_for_in_a_loop(solo):
    solo.cp.ca(ttl=60, age=240)
    since = solo.cp.mark()
    solo.start()
    assert inbound_works(solo)
    watch = wait.Stopwatch()
    wait.until("two seconds have passed", lambda: watch.seconds > 2, 5, every=0.1)
    assert len(asked(solo, since)) <= 3


def test_a_refused_renewal_keeps_the_certificate_while_it_is_valid(solo):
    solo.cp.ca(ttl=int(20 * wait.SCALE), age=int(16 * wait.SCALE))  # the renewal is due after a tenth of it
    since = solo.cp.mark()
    solo.start()
    wait.until("issued", lambda: serial_of(solo))
    solo.cp.ca(mode="deny")
    old = serial_of(solo)
    wait.until("the renewal was refused", lambda: [e for e in asked(solo, since) if e["how"].get("mode") == "deny"], 8)
    assert inbound_works(solo) and serial_of(solo) == old and state_of(solo)["state"] == "Available"


def test_a_burst_of_connections_asks_once(solo):
    solo.cp.ca(ALPHA, delay=0.5)
    since = solo.cp.mark()
    solo.start()
    with peers.TunnelServer(solo.ns("p41"), solo.credential()), concurrent.futures.ThreadPoolExecutor(20) as pool:
        for job in [pool.submit(client.echo, solo.ns("p31"), solo.PEER4, 8080) for _ in range(20)]:
            job.result(20)
    assert len(asked(solo, since)) == 1


def test_an_identity_is_forgotten_with_its_last_pod(solo):
    solo.start()
    wait.until("known", lambda: state_of(solo, BETA))
    solo.agent.remove("uid-p32")
    solo.cp.push(remove=[model.pod(3, 2, "beta-1", "beta")])
    wait.until("forgotten", lambda: state_of(solo, BETA) is None)
    assert state_of(solo, ALPHA)
