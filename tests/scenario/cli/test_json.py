# SPDX-License-Identifier: Apache-2.0
"""With -o json a command prints one document that says how it went, whether it went well or not, and nothing else."""
import json

import pytest
from test_help import COMMANDS
from test_objects import NAMESPACE, POD, POLICY
from test_run import STARTED

NOBODY = """apiVersion: v1
kind: Config
current-context: a
contexts: [{name: a, context: {cluster: a, user: a}}]
clusters: [{name: a, cluster: {server: "https://127.0.0.1:1"}}]
users: [{name: a, user: {token: t}}]
"""
VERDICTS = {0: "ok", 1: "problem", 2: "usage", 3: "unknown"}


def said(ambit, *words, code=0, text=None):
    """The document; its verdict is the exit status'."""
    result = ambit(words[0], "-o", "json", *words[1:], code=code, text=text)
    document = result.json
    assert (document["version"], document["verdict"]) == (1, VERDICTS[code]), result
    assert ("error" in document) == (code != 0), result
    assert code == 0 or document["error"] in result.err
    return document


def results(document):
    return [(i.get("kind"), i.get("namespace"), i["name"], i["result"]) for i in document["items"]]


def test_apply_says_what_has_become_of_each_object(ambit, api):
    text = NAMESPACE + "---\n" + POLICY % "DENY"
    for result in ("dry-run", "created", "unchanged"):
        more = ["--dry-run"] if result == "dry-run" else []
        assert results(said(ambit, "apply", "-f", "-", *more, text=text)) == [
            ("Namespace", None, "shop", result), ("AuthorizationPolicy", "shop", "deny", result)]


def test_apply_says_what_is_wrong_and_what_failed(ambit, api):
    wrong = said(ambit, "apply", "-f", "-", text=NAMESPACE + "---\n" + POLICY % "DENYY", code=1)
    assert results(wrong) == [("AuthorizationPolicy", "shop", "deny", "wrong")]
    assert wrong["evidence"] == [f"stdin:4: {wrong['items'][0]['error']}"]
    assert wrong["items"][0]["from"] == "stdin:4" and "DENYY is not one of" in wrong["items"][0]["error"]
    failed = said(ambit, "apply", "-f", "-", text=NAMESPACE + "---\n" + POD.replace("shop", "nowhere") % "a", code=1)
    assert results(failed) == [("Namespace", None, "shop", "created"), ("Pod", "nowhere", "a", "failed")]
    assert [e["error"] for e in failed["errors"]][-1] == failed["error"] == "1 of 2 objects failed"
    assert failed["fix"].startswith("ambit apply -f - <<<")
    assert "No such file" in said(ambit, "apply", "-f", "/nonexistent.yaml", code=1)["error"]


def test_label_says_what_it_means_line_by_line(ambit, api):
    ambit("apply", "-f", "-", text=NAMESPACE + "---\n" + POD % "a", code=0)
    words = ["label", "ns", "shop", "istio.io/dataplane-mode=ambient"]
    effects = ["1 running pod will be captured; existing connections stay as they are"]
    for more, result, lines in ((["--dry-run"], "dry-run", effects), ([], "labelled", effects), ([], "unchanged", [])):
        document = said(ambit, *words, *more)
        assert results(document) == [("Namespace", None, "shop", result)] and document["items"][0]["effects"] == lines
    refused = said(ambit, "label", "ns", "shop", "istio.io/dataplane-mode=none", code=1)
    assert "already has istio.io/dataplane-mode=ambient" in refused["error"] and "--overwrite" in refused["fix"]
    assert "not there yet" in said(ambit, *words, "--wait", "--timeout", "2s", code=1)["error"]


def test_delete_says_what_is_gone_and_what_was_not_there(ambit, api):
    ambit("apply", "-f", "-", text=NAMESPACE + "---\n" + POD % "a", code=0)
    document = said(ambit, "delete", "pod", "a", "b", "-n", "shop", code=1)
    assert results(document) == [("Pod", "shop", "a", "deleted"), ("Pod", "shop", "b", "absent")]
    assert document["fix"] == "ambit get pods -A" and "not found" in document["items"][1]["error"]
    absent = said(ambit, "delete", "pod", "b", "-n", "shop", "--ignore-not-found")
    assert results(absent) == [("Pod", "shop", "b", "absent")]


def test_stop_says_what_has_ended(ambit, node):
    node().agent.script["stop"] = lambda r: [{"event": "stopped", "code": 143, "signal": 15} if r["name"] == "cart" else
                                             {"event": "error", "code": "ERR_NOT_FOUND", "error": "no such workload"}]
    assert results(said(ambit, "stop", "shop/cart")) == [(None, "shop", "cart", "stopped")]
    document = said(ambit, "stop", "shop/cart", "db", code=1)
    assert results(document) == [(None, "shop", "cart", "stopped"), (None, "default", "db", "absent")]
    assert document["fix"] == "ambit ps"


def test_run_detached_says_where_the_workload_is(ambit, node):
    node().agent.script["run"] = [STARTED]
    item = said(ambit, "run", "-d", "-q", "--", "x")["items"][0]
    assert (item["namespace"], item["name"], item["ips"], item["mesh"]) == ("shop", "cart", ["10.1.0.2"], "in")
    assert "needs --detach" in said(ambit, "run", "--", "x", code=2)["error"]


def test_waypoints_are_applied_and_deleted(ambit, api):
    ambit("apply", "-f", "-", text=NAMESPACE, code=0)
    done = said(ambit, "waypoint", "apply", "-n", "shop", "--enroll-namespace")
    assert results(done) == [("Gateway", "shop", "waypoint", "applied"), ("Namespace", None, "shop", "enrolled")]
    assert results(said(ambit, "waypoint", "restart", "waypoint", "-n", "shop"))[0][3] == "restarting"
    status = ambit("waypoint", "status", "x", "waypoint", "-n", "shop", "-o", "json", code=1).json
    assert [i["name"] for i in status["items"]] == ["waypoint"] and status["error"] == "no waypoint shop/x"
    assert results(said(ambit, "waypoint", "delete", "waypoint", "-n", "shop")) == [("Gateway", "shop", "waypoint", "deleted")]


def test_the_credentials_are_told_to_programs(ambit):
    assert said(ambit, "kubeconfig", "--data", str(ambit.home), code=1)["fix"] == "ambit up"
    (ambit.home / "admin.kubeconfig").write_text("text", encoding="ascii")
    document = said(ambit, "kubeconfig", "--data", str(ambit.home))
    assert (document["kubeconfig"], document["path"]) == ("text", f"{ambit.home}/admin.kubeconfig")
    assert "kubeconfig" not in said(ambit, "kubeconfig", "--data", str(ambit.home), "--path")


def test_what_is_not_up_is_down(ambit):
    assert said(ambit, "down")["items"] == []


@pytest.mark.parametrize("name", COMMANDS)
def test_wrong_usage_is_a_document(ambit, name):
    for how in (["-o", "json"], ["--output", "json"], ["--output=json"], ["-ojson"], ["-o=json"]):
        document = ambit(name, "--nothing-such", *how, code=2).json
        assert document["verdict"] == "usage" and "no option --nothing-such" in document["error"]
        assert document["fix"] == f"ambit help {name}"
    assert ambit(name, "--nothing-such", code=2).out == ""


def test_an_unknown_command_is_a_document(ambit):
    assert said(ambit, "stauts", code=2)["error"] == "no command stauts; did you mean status?"


@pytest.mark.parametrize("words", [
    ["ps"], ["why", "a", "b"], ["can", "a", "b"], ["routes", "a"], ["conns"], ["workloads"], ["services"], ["certs"],
    ["get", "ns"], ["label", "ns", "a", "b=c"], ["delete", "ns", "a"], ["waypoint", "list"], ["waypoint", "apply"]])
def test_nobody_there_is_unknown_in_the_document(ambit, words):
    assert said(ambit, *words, code=3)["items"] == []


@pytest.mark.parametrize("words, text", [(["stop", "x"], None), (["apply", "-f", "-"], NAMESPACE)])
def test_nobody_there_fails_what_was_to_be_done(ambit, words, text):
    ambit.env["KUBECONFIG"] = str(ambit.home / "config")
    (ambit.home / "config").write_text(NOBODY, encoding="ascii")
    assert [i["result"] for i in said(ambit, *words, text=text, code=3)["items"]] == ["failed"]


def test_of_lines_the_failure_is_the_last(ambit, node):
    good, bad = node("n1"), node("n2")
    good.proxy.pages["/access/recent"] = [{"time": "2026-01-01T00:00:00Z", "seq": 1}]
    bad.proxy.pages["/access/recent"] = None
    for command in ("logs", "flows"):
        lines = [json.loads(line) for line in ambit(command, "-o", "json", code=3).out.splitlines()]
        assert [("time" in line, line.get("verdict")) for line in lines] == [(True, lines[0].get("verdict")), (False, "unknown")]
        assert "n2" in lines[-1]["error"]
