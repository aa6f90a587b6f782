# SPDX-License-Identifier: Apache-2.0
"""`run`, `ps` and `stop` against a fake node agent: what is asked, and what becomes of the answers."""
import os
import signal

import pytest

STARTED = {"event": "started", "namespace": "shop", "name": "cart", "ips": ["10.1.0.2"], "serviceAccount": "cart",
           "mesh": "in"}


def test_output_and_status_are_the_commands(ambit, node):
    agent = node().agent

    def run(request):
        assert request["attach"] and request["spec"]["command"] == ["sh", "-c", "exit 7"]
        yield STARTED
        os.write(agent.fds[1], b"to its output\n")
        os.write(agent.fds[2], b"to its error\n")
        yield {"event": "exited", "code": 7, "signal": 0}
    agent.script["run"] = run
    result = ambit("run", "-n", "shop", "--sa", "cart", "--name", "cart", "--", "sh", "-c", "exit 7", code=7)
    assert result.out == "to its output\n" and "to its error" in result.err
    assert "shop/cart runs at 10.1.0.2 as account cart, in the mesh" in result.err
    spec = agent.seen[-1]["spec"]
    assert (spec["namespace"], spec["serviceAccount"], spec["user"], spec["allowRoot"]) == ("shop", "cart", "nobody", False)


def test_a_command_that_a_signal_ended_is_128_and_the_signal(ambit, node):
    node().agent.script["run"] = [STARTED, {"event": "exited", "code": 0, "signal": 9}]
    assert ambit("run", "-q", "--", "x", code=137).err == ""


def test_signals_reach_the_command_and_not_the_client(ambit, node):
    agent = node().agent
    agent.script["run"] = [STARTED]
    agent.script["signal"] = lambda r: [{"event": "exited", "code": 3, "signal": 0}] if r["signal"] == signal.SIGTERM else []
    child = ambit.start("run", "--", "sleep", "100")
    while "in the mesh" not in child.stderr.readline():
        pass
    child.send_signal(signal.SIGHUP)
    assert agent.wait_for("signal")["signal"] == signal.SIGHUP
    child.send_signal(signal.SIGTERM)
    assert child.wait(timeout=20) == 3
    child.communicate()


def test_a_signal_before_the_start_ends_the_client(ambit, node):
    agent = node().agent
    child = ambit.start("run", "--", "sleep", "100")
    agent.wait_for("run")
    child.send_signal(signal.SIGINT)
    assert child.wait(timeout=20) == 130
    child.communicate()


def test_detached_comes_back_once_it_runs(ambit, node):
    agent = node().agent
    agent.script["run"] = [STARTED]
    assert "runs at 10.1.0.2" in ambit("run", "-d", "-l", "app=x", "-e", "A=b", "--", "x", code=0).err
    assert not agent.seen[-1]["attach"] and agent.fds == []
    assert agent.seen[-1]["spec"]["labels"] == {"app": "x"} and agent.seen[-1]["spec"]["env"] == ["A=b"]


def test_detached_and_over_at_once_is_said_with_its_last_words(ambit, node):
    agent = node().agent
    agent.script["run"] = [STARTED, {"event": "exited", "code": 3, "signal": 0, "output": "bind: Permission denied"}]
    result = ambit("run", "-d", "--", "x", code=1)
    assert result.err.endswith("ambit run: shop/cart has ended at once with status 3\n    bind: Permission denied\n"), result
    said = ambit("run", "-d", "-o", "json", "--", "x", code=1).json
    assert said["error"].endswith("at once with status 3") and said["evidence"] == ["bind: Permission denied"]
    agent.script["run"] = [STARTED, {"event": "exited", "code": 137, "signal": 9, "output": ""}]
    assert "shop/cart has ended at once by signal 9\n" in ambit("run", "-d", "--", "x", code=1).err
    agent.script["run"] = [STARTED, {"event": "exited", "code": 0, "signal": 0, "output": "done"}]
    assert "ended" not in ambit("run", "-d", "--", "x", code=0).err


@pytest.mark.parametrize("answer, code, said", [
    ({"event": "failed", "code": "ERR_EXISTS", "error": "shop/cart runs already"}, 1, "shop/cart runs already"),
    ({"event": "failed", "code": "ERR_DENIED", "error": 'API server, 403: looking up: serviceaccount "default" not found'},
     1, "ambit run: there is no service account default in namespace default\n  fix: ambit apply -f - <<< '{apiVersion: v1, "
        "kind: ServiceAccount, metadata: {name: default, namespace: default}}'\n"),
    ({"event": "failed", "code": "ERR_NOT_FOUND", "error": 'API server, 404: namespaces "default" not found'},
     1, "ambit run: there is no namespace default\n  fix: ambit apply -f - <<< '{apiVersion: v1, kind: Namespace, "
        "metadata: {name: default}}'\n"),
    ({"event": "failed", "code": "ENOENT", "error": "start x: No such file or directory"}, 1, "ambit run: start x: No such file or directory\n"),
    ({"event": "failed", "code": "EACCES", "error": "go to /root: Permission denied"}, 1, "ambit run: go to /root: Permission denied\n"),
    ({"event": "failed", "code": "ERR_UNAVAILABLE", "error": "no API"}, 3, "no API"),
    ({"event": "error", "code": "ERR_NEW", "error": "of a newer agent"}, 3, "of a newer agent\n  fix: ambit status\n"),
    ({}, 3, "the node agent went away"),
])
def test_what_the_agent_refuses_is_said(ambit, node, answer, code, said):
    node().agent.script["run"] = [answer]
    err = ambit("run", "--", "x", code=code).err
    assert said in err and ("fix: ambit status" in err) <= (code == 3)


def test_a_label_that_no_object_may_have_is_wrong_usage(ambit, node):
    node()
    assert "--label: a b=c: letters, digits" in ambit("run", "-l", "a b=c", "--", "x", code=2).err
    assert "--label: a=b,c: letters, digits" in ambit("run", "-l", "a=b,c", "--", "x", code=2).err


def test_without_an_agent_nothing_runs(ambit):
    result = ambit("run", "--", "x", code=3)
    assert "runtime.sock" in result.err and "fix: ambit up" in result.err


def test_among_several_nodes_one_must_be_named(ambit, node):
    node("n1")
    second = node("n2").agent
    second.script["run"] = [STARTED, {"event": "exited", "code": 0, "signal": 0}]
    assert "say which one" in ambit("run", "--", "x", code=2).err
    assert ambit("run", "--node", "n2", "-q", "--", "x", code=0).err == ""


def test_ps_lists_what_every_node_runs(ambit, node):
    node("n1").agent.workloads = [{"namespace": "shop", "name": "cart", "state": "running", "mesh": "in", "pid": 12,
                                   "ips": ["10.1.0.2", "fd00::2"], "serviceAccount": "cart", "command": ["nginx", "-g"]}]
    node("n2").agent.workloads = [{"namespace": "prod", "name": "db", "state": "starting", "mesh": "joining"}]
    lines = ambit("ps", code=0).out.splitlines()
    assert lines[0] == "2 workloads on 2 nodes"
    assert lines[3].split()[:4] == ["prod", "db", "starting", "joining"]
    assert "10.1.0.2,fd00::2" in lines[4] and lines[4].split()[7] == "n1"
    assert "nginx -g" in ambit("ps", "-n", "shop", "-o", "wide", code=0).out
    assert [w["node"] for w in ambit("ps", "db", "-o", "json", code=0).json["items"]] == ["n2"]


def test_stop_finds_the_node_and_says_when_it_is_gone(ambit, node):
    node("n1").agent.script["stop"] = [{"event": "error", "code": "ERR_NOT_FOUND", "error": "no such workload"}]
    second = node("n2").agent
    second.script["stop"] = lambda r: [{"event": "stopped", "code": 143, "signal": 15} if r["name"] == "cart" else
                                       {"event": "error", "code": "ERR_NOT_FOUND", "error": "no such workload"}]
    assert ambit("stop", "shop/cart", code=0).out == "shop/cart stopped\n"
    assert second.seen[-1]["namespace"] == "shop"
    assert "no workload default/db runs here" in ambit("stop", "db", code=1).err
