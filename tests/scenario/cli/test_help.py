# SPDX-License-Identifier: Apache-2.0
"""Help teaches, always matches what the program does, and wrong usage is answered with status 2."""
import pathlib
import re

import pytest

COMMANDS = ["up", "down", "status", "run", "ps", "stop", "apply", "get", "label", "delete", "allow-node", "waypoint", "routes", "why", "can", "flows", "conns",
            "logs",
            "workloads", "services", "certs", "kubeconfig", "version"]
DOC = pathlib.Path(__file__).resolve().parents[3] / "docs" / "cli.md"


def test_the_reference_in_the_documentation_is_what_the_program_says(ambit):
    written = re.search(r"```text\n(.*?)```\n", DOC.read_text(encoding="utf-8"), re.S)[1]
    assert ambit("help", "all", code=0).out == written


def test_every_command_is_listed_and_has_help_with_examples(ambit):
    overview = ambit(code=0).out
    assert re.findall(r"^  ([\w-]+) ", overview, re.M) == COMMANDS
    for name in COMMANDS:
        text = ambit("help", name, code=0).out
        assert text == ambit(name, "--help", code=0).out == ambit(name, "-h", code=0).out
        assert re.search(rf"^  .*\bambit {name}", text.split("\nExamples:")[1], re.M), text
        assert max(map(len, text.split("\nExamples:")[0].splitlines())) <= 100


def test_every_option_in_the_help_is_accepted_by_the_parser(ambit):
    """An option that takes a value is refused without one by its own name, which shows that it is known."""
    for name in COMMANDS:
        text = ambit("help", name, code=0).out
        for option, value in re.findall(r"^  (?:-\w, |    )--([\w-]+)(?: (\S+))?", text, re.M):
            if value.isupper() or "|" in value or ":" in value or "=" in value:
                assert f"--{option} needs a value" in ambit(name, f"--{option}", code=2).err
            elif option not in ("help", "no-color"):
                assert f"--{option} takes no value" in ambit(name, f"--{option}=x", code=2).err


@pytest.mark.parametrize("words, said", [
    (["stauts"], "no command stauts; did you mean status?"),
    (["frobnicate"], "no command frobnicate"),
    (["help", "nothing-such"], "no command nothing-such"),
    (["conns", "--plane"], "no option --plane; did you mean --plain?"),
    (["conns", "-o", "xml"], "xml is not one of table|wide|json"),
    (["get"], "needs KIND [NAME...]"),
    (["waypoint", "generate", "--wait"], "--wait means nothing to generate"),
    (["waypoint", "list", "--enroll-namespace"], "--enroll-namespace means nothing to list"),
    (["waypoint", "generate", "--name", "A b"], "--name: A b: write lower-case letters"),
    (["waypoint", "apply", "--name", 64 * "a"], "at most 63"),
    (["waypoint", "apply", "--replicas", "65"], "--replicas: at most 64"),
    (["waypoint", "generate", "w x"], "w x is one word too many\n  fix: ambit waypoint generate --name 'w x'"),
    (["get", "ap,ra"], "ap,ra: one KIND at a time"),
    (["get", "po", "web", "-A"], "write -n NAMESPACE, not -A\n  fix: ambit get pods -A\n"),
    (["get", "po", "web", "-l", "app=web"], "write a NAME or a selector, not both"),
    (["get", "virtualservices"], "kind virtualservices means nothing to Ambit"),
    (["label", "ns", "shop", "a=b", "a-"], "a-: a is said twice"),
    (["get", "pdos"], "no kind pdos; did you mean pod?"),
    (["label", "ns", "shop"], "needs KIND NAME KEY=VALUE|KEY-..."),
    (["label", "ns", "shop", "x"], "x: write KEY=VALUE, or KEY- to take it off"),
    (["run"], "needs a command behind --"),
    (["run", "-e", "x", "--", "true"], "--env: x is not KEY=VALUE"),
    (["apply"], "needs -f"),
    (["apply", "shop.yaml"], "shop.yaml: -f stands before every file\n  fix: ambit apply -f shop.yaml\n"),
    (["apply", "-f", "a.yaml", "b.yaml", "c.yaml"], "fix: ambit apply -f a.yaml -f b.yaml -f c.yaml\n"),
    (["run", "-n", "shop", "curl", "http://cart/"], "curl: the command stands behind --\n  fix: ambit run [OPTION...] -- curl ...\n"),
    (["get", "pod/a"], "pod/a: KIND and NAME are two words: write pod a"),
    (["label", "ns/shop", "a=b"], "ns/shop: KIND and NAME are two words: write ns shop"),
    (["delete", "pod/a"], "write pod a"),
    (["stop", "shop/"], "shop/: write NAME or NAMESPACE/NAME"),
    (["stop", "/cart"], "/cart: write NAME or NAMESPACE/NAME"),
    (["delete", "pod"], "needs KIND NAME..., or -f FILE"),
    (["version", "x"], "x is one word too many"),
    (["status", "--node-admin", "here"], "--node-admin: here is no address:port"),
])
def test_wrong_usage_is_status_2_and_says_what_was_meant(ambit, words, said):
    result = ambit(*words, code=2)
    assert said in result.err and result.out == ""


def test_findings_are_explained_without_a_network(ambit):
    codes = re.findall(r"^  (A\d+) ", ambit("help", "codes", code=0).out, re.M)
    assert len(codes) > 10
    for code in codes:
        assert ambit("help", code, code=0).out.startswith(f"{code} (")


def test_version_is_told_to_people_and_programs(ambit):
    text = ambit("version", code=0).out
    assert re.fullmatch(r"ambit \d+\.\d+\.\d+\n", text)
    assert ambit("version", "-o", "json", code=0).json["version"] in text
    assert ambit("--version", code=0).out == text


def test_output_that_cannot_be_written_is_no_success(ambit):
    import subprocess
    with open("/dev/full", "wb") as full:
        done = subprocess.run(ambit.argv("version"), stdout=full, stderr=subprocess.PIPE, check=False, env=ambit.env)
    assert done.returncode == 3 and b"standard output" in done.stderr
