# SPDX-License-Identifier: Apache-2.0
"""What nodes say, as tables and as JSON; nodes that do not answer are said and never count as 'yes'."""
import json
import pathlib
import re
import socket
import time

import pytest

from lib.wait import until

RECORDED = pathlib.Path(__file__).resolve().parents[2] / "vectors" / "cli" / "config_dump-node1.json"
PLAIN = {"reporter": "source", "mutual_tls": False, "source_namespace": "shop", "src.pod": "web-1",
         "src.addr": "10.0.0.1:4000", "dst.addr": "192.0.2.7:443", "to_server": 5, "to_client": 7, "age_ms": 61000}
MTLS = {"reporter": "destination", "mutual_tls": True, "source_namespace": "shop", "src.pod": "web-1",
        "destination_namespace": "shop", "dst.pod": "cart-1", "src.addr": "10.0.0.1:4001", "dst.addr": "10.0.0.2:80",
        "src.identity": "spiffe://cluster.local/ns/shop/sa/web", "to_server": 1, "to_client": 2, "age_ms": 10}


def record(second, **more):
    return {**MTLS, "flags": "-", "time": f"2026-11-25T15:00:{second:02}.000000Z", "duration_us": 2500, **more}


def test_workloads_and_services_of_a_recorded_node(ambit, node):
    node().proxy.pages["/config_dump"] = json.loads(RECORDED.read_text(encoding="ascii"))
    result = ambit("workloads", "pod11", "pod22", code=0)
    assert result.out.splitlines()[0] == "2 workloads known, 1 captured on the nodes asked"
    assert [line.split()[:3] for line in result.out.splitlines()[2:]] == [
        ["NAMESPACE", "NAME", "MESH"], ["shop", "pod11", "in"], ["shop", "pod22", "no"]]
    rows = ambit("services", "-n", "shop", "-o", "json", code=0).json["items"]
    assert {r["name"]: r["endpoints"] for r in rows}["many"] == "60/60"
    assert all(r["namespace"] == "shop" for r in rows)


def test_connections_show_their_protection_first(ambit, node):
    node().proxy.pages["/access/open"] = [MTLS, PLAIN]
    result = ambit("conns", code=0)
    lines = result.out.splitlines()
    assert lines[0] == "WARNING A501: 1 of 2 connection ends in plaintext"
    assert [line.split()[0] for line in lines[2:]] == ["SECURED", "PLAINTEXT", "mTLS"]
    assert ambit("conns", "--plain", "-o", "json").json["items"][0]["destination"] == "192.0.2.7:443"
    assert ambit("conns", "-d", "inbound", code=0).out.startswith("OK: 1 connection end, all mutual TLS")
    assert ambit("conns", "cart-1", "-o", "wide", code=0).out.count("spiffe://") == 1


def test_certificates_answer_with_their_validity(ambit, node):
    dump = json.loads(RECORDED.read_text(encoding="ascii"))
    proxy = node().proxy
    proxy.pages["/config_dump"] = dump
    now = time.time()
    stamp = lambda s: time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(s))  # noqa: E731
    for life, code, verdict in [((-3600, 80000), 0, "OK: 4 "), ((-80000, 3600), 0, "WARNING A402: 2 of 4"),
                                ((-80000, -60), 1, "PROBLEM A401: 2 of 4")]:
        for c in dump["certificates"]:
            c["certChain"][0].update(validFrom=stamp(now + life[0]), expirationTime=stamp(now + life[1]))
            c["rootCerts"][0].update(validFrom=stamp(now - 1000), expirationTime=stamp(now + 10**8))
        assert ambit("certs", code=code).out.startswith(verdict)


def test_two_nodes_are_asked_and_one_that_is_silent_is_said(ambit, node):
    node("n1").proxy.pages["/access/open"] = [MTLS]
    second = node("n2")
    second.proxy.pages["/access/open"] = [PLAIN]
    both = ambit("conns", "-o", "json", code=0).json["items"]
    assert {r["node"] for r in both} == {"n1", "n2"}
    assert [r["node"] for r in ambit("conns", "--node", "n2", "-o", "json", code=0).json["items"]] == ["n2"]
    second.proxy.close()
    result = ambit("conns", "-o", "json", code=3)
    assert [r["node"] for r in result.json["items"]] == ["n1"] and "node n2: " in result.err
    assert "no node n3; there are: n1, n2" in ambit("conns", "--node", "n3", code=2).err


def test_nothing_listens(ambit):
    for view in ("workloads", "services", "certs", "conns", "logs"):
        result = ambit(view, "--node-admin", "127.0.0.1:1", code=3)
        assert "Connection refused" in result.err and result.out == ""


def test_answers_that_are_broken_or_late_are_not_believed(ambit, node):
    proxy = node().proxy
    proxy.pages["/config_dump"] = None
    assert "ended after 4 of 100 bytes" in ambit("workloads", code=3).err
    proxy.pages["/config_dump"] = "{"
    assert ambit("workloads", code=3).code == 3
    proxy.pages["/config_dump"] = {}
    proxy.status["/config_dump"] = 500
    assert "status 500" in ambit("workloads", code=3).err
    del proxy.pages["/access/open"]
    assert "has no page /access/open" in ambit("conns", code=3).err
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        at = f"127.0.0.1:{silent.getsockname()[1]}"
        assert "deadline passed" in ambit("workloads", "--node-admin", at, "--timeout", "200ms", code=3).err


def test_descriptions_that_are_not_understood_are_named(ambit, node):
    n = node()
    n.file.write_text('{"version": 7}', encoding="ascii")
    assert "n1.json: version must be 1" in ambit("conns", code=3).err


def test_logs_show_who_what_and_why(ambit, node):
    node().proxy.pages["/access/recent"] = [
        record(1), record(2, flags="DENY", error="denied by shop/deny-all", mutual_tls=False)]
    lines = ambit("logs", code=0).out.splitlines()
    assert "  ok      mTLS       inbound  shop/web-1 (10.0.0.1:4001) -> shop/cart-1 (10.0.0.2:80)" in lines[0]
    assert "1B sent, 2B received, 2.5 ms" in lines[0]
    assert "DENIED  PLAINTEXT" in lines[1] and lines[1].endswith("DENY: denied by shop/deny-all")
    assert len(ambit("logs", "--denied", code=0).out.splitlines()) == 1
    assert len(ambit("logs", "--last", "1", code=0).out.splitlines()) == 1
    assert ambit("logs", "nobody", code=0).out == ""
    assert [json.loads(line)["verdict"] for line in ambit("logs", "-o", "json", code=0).out.splitlines()] == ["ok", "DENIED"]


def test_an_empty_answer_says_that_it_is_one(ambit, node):
    proxy = node().proxy
    proxy.pages["/access/recent"] = []
    result = ambit("logs", code=0)
    assert (result.out, result.err) == ("", "nothing is on record\n")
    assert ambit("flows", "--connections", "nobody", "else", code=0).err == "nothing is on record of nobody, else\n"
    proxy.close()
    assert "on record" not in ambit("logs", code=3).err


def test_following_logs_shows_each_record_once(ambit, node):
    proxy = node().proxy
    proxy.pages["/access/recent"] = [record(1), record(2)]
    follower = ambit.start("logs", "-f")
    try:
        assert ":01." in follower.stdout.readline() and ":02." in follower.stdout.readline()
        proxy.pages["/access/recent"] = [record(2), record(3)]
        assert ":03." in follower.stdout.readline()
        proxy.pages["/access/recent"] = [record(8)]
        assert ":08." in follower.stdout.readline()
        until("the loss is said", lambda: "some are missing here" in follower.stderr.readline())
    finally:
        follower.kill()
        follower.communicate()


@pytest.mark.parametrize("change, code, said", [
    ({}, 0, "OK: 0 workloads captured on 1 node; no open connection"),
    ({"proxy": {"/healthz/ready": "not ready, pending: state manager\n"}, "ready": 500}, 1, "PROBLEM A102"),
    ({"proxy": {"/config_dump": {"controlPlane": {"connected": False, "error": "no route"}}}}, 1, "PROBLEM A103"),
    ({"proxy": {"/access/open": [PLAIN, MTLS]}}, 0, "WARNING: 0 workloads captured on 1 node; 1 of 2 open"),
    ({"agent": {"event": "status", "ready": False, "proxies": 0}}, 1, "PROBLEM A105"),
    ({"workloads": [{"namespace": "s", "name": "a", "trouble": "no address left"}]}, 1, "no address left"),
    ({"workloads": [{"namespace": "s", "name": "a", "state": "waiting", "restarts": 4, "trouble": "ended with status 1",
                     "log": "/r/log"}]}, 1, "PROBLEM A203: s/a keeps ending; 4 restarts\n    ended with status 1\n"
                                            "    fix: tail -n 20 /r/log\n"),
    ({"agent": {"event": "status", "ready": True, "proxies": 1, "pods_max": 1024, "turned_away": 2}}, 1,
     "PROBLEM A206: 2 of the pods of n1 are kept out of the mesh\n    there are more than the 1024 that its agent takes\n"
     "    fix: kubectl cordon n1\n"),
    ({"agent": {"event": "status", "ready": True, "proxies": 1, "repaired": [
        {"namespace": "shop", "name": "web-1", "times": 2, "last_s": 4102444800}]}}, 0,
     "WARNING: 0 workloads captured on 1 node; no open connection\n"
     "WARNING A204: the capture rules of shop/web-1 were changed; they are back\n    on n1, 2 times, last 0s ago\n"
     "    fix: ambit get pod web-1 -n shop -o yaml\n"),
])
def test_status_answers_with_verdict_evidence_and_exit_status(ambit, node, change, code, said):
    n = node()
    n.proxy.pages.update(change.get("proxy", {}))
    n.proxy.status["/healthz/ready"] = change.get("ready", 200)
    n.agent.status = change.get("agent", n.agent.status)
    n.agent.workloads = change.get("workloads", [])
    result = ambit("status", "--no-api", code=code)
    assert said in result.out, result
    assert ambit("status", "--no-api", "-o", "json").json["version"] == 1


def test_an_api_that_does_not_answer_is_not_passed_over(ambit, node, tmp_path):
    node()
    config = tmp_path / "config"
    config.write_text("{apiVersion: v1, kind: Config, current-context: c, contexts: [{name: c, context: {cluster: k, user: u}}],"
                      " clusters: [{name: k, cluster: {server: 'http://127.0.0.1:1'}}], users: [{name: u, user: {}}]}")
    result = ambit("status", "--kubeconfig", str(config), code=3)
    assert re.search(r"^UNKNOWN A106: .*\n    .*127\.0\.0\.1 port 1 .*\n    fix: ambit up\b", result.out, re.M), result
    assert "A106" not in ambit("status", "--kubeconfig", str(config), "--no-api", code=0).out
    assert "note: the API was not asked" in ambit("status", code=0).out  # nobody said where one is


def test_status_of_plaintext_counts_when_it_is_strict(ambit, node):
    node().proxy.pages["/access/open"] = [PLAIN]
    result = ambit("status", "--no-api", "--strict", code=1)
    assert "shop/web-1 (10.0.0.1:4000) -> 192.0.2.7:443, outbound" in result.out
    assert "fix: ambit conns --plain --node n1" in result.out
    counts = ambit("status", "--no-api", "-o", "json", code=0).json["counts"]
    assert counts["connections_plaintext"] == 1


def test_status_without_proxy_and_agent_cannot_tell(ambit, node):
    n = node()
    n.proxy.close()
    n.agent.close()
    result = ambit("status", "--no-api", code=3)
    assert result.out.startswith("UNKNOWN: no node proxy answers (1 asked)")
    assert "A101" in result.out and "A104" in result.out and "fix: ambit up" in result.out
