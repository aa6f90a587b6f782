# SPDX-License-Identifier: Apache-2.0
"""Objects of the API, against the embedded API server over TLS."""
import os
import pathlib
import re
import shlex
import shutil

import pytest

NAMESPACE = "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n"
POD = """apiVersion: v1
kind: Pod
metadata: {name: %s, namespace: shop, labels: {app: cart}}
spec: {containers: [{name: main, image: local}], nodeName: n1}
"""
POLICY = """apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: deny, namespace: shop}
spec: {action: %s, rules: [{from: [{source: {namespaces: [prod]}}]}]}
"""


def apply(ambit, *documents, code=0):
    return ambit("apply", "-f", "-", text="---\n".join(documents), code=code)


def test_apply_says_what_has_become_of_each_object(ambit, api):
    out = apply(ambit, NAMESPACE, POLICY % "DENY").out
    assert out == "namespace/shop created\nauthorizationpolicy/deny created in namespace shop\n"
    assert apply(ambit, NAMESPACE, POLICY % "DENY").out == out.replace("created", "unchanged")
    assert "authorizationpolicy/deny configured" in apply(ambit, POLICY % "ALLOW").out


def test_nothing_is_sent_when_something_is_wrong(ambit, api, tmp_path):
    folder = tmp_path / "manifests"
    folder.mkdir()
    (folder / "a.yaml").write_text(NAMESPACE, encoding="ascii")
    (folder / "b.yml").write_text(POLICY % "DENYY", encoding="ascii")
    result = ambit("apply", "-f", str(folder), code=1)
    assert result.out == "" and result.err == (
        "ambit apply: 1 of 2 objects wrong; nothing was sent\n"
        f"    {folder}/b.yml:1: spec.action: DENYY is not one of ALLOW DENY AUDIT CUSTOM\n")
    ambit("get", "ns", "shop", code=1)
    (folder / "b.yml").write_text(POLICY % "DENY", encoding="ascii")
    assert ambit("apply", "-f", str(folder), "--dry-run", code=0).out == "OK: 2 objects, well-formed; nothing was sent\n"
    ambit("get", "ns", "shop", code=1)


def test_what_the_server_refuses_is_named_and_the_rest_is_made(ambit, api):
    result = apply(ambit, NAMESPACE, POD.replace("shop", "nowhere") % "a", POLICY % "DENY", code=1)
    assert "stdin:4: pod/a: " in result.err and "1 of 3 objects failed" in result.err
    assert "namespace/shop created" in result.out and "authorizationpolicy/deny created" in result.out


def test_a_long_refusal_is_said_in_full_and_once(ambit, api):
    apply(ambit, NAMESPACE)
    bad = (POLICY % "DENY").replace("name: deny", "name: Bad_Name")
    end = "must start and end with an alphanumeric character"
    result = apply(ambit, bad, code=1)
    assert result.err.startswith("ambit apply: stdin:1: authorizationpolicy/Bad_Name: API server, 422: ")
    assert result.err.count("metadata.name: Invalid value") == 1 and end in result.err
    assert end in ambit("apply", "-f", "-", "-o", "json", text=bad, code=1).json["items"][0]["error"]
    assert ambit("label", "ns", "shop", "a b=c", code=1).err.count("metadata.labels: Invalid value") == 1
    name = "a" * 260  # that it is not there yet is no error
    assert ambit("apply", "-f", "-", text=NAMESPACE.replace("name: shop", f"name: {name}"), code=1).err.count("API server") == 1


def test_what_get_shows_can_be_applied_again(ambit, api):
    apply(ambit, NAMESPACE, POLICY % "DENY")
    for words in (("ns",), ("authorizationpolicy", "deny", "-n", "shop"), ("authorizationpolicies", "-n", "shop")):
        for how in ("json", "yaml"):
            shown = ambit("get", *words, "-o", how, code=0).out
            assert "managedFields" not in shown and "kind" in shown
            assert apply(ambit, shown).out.count("\n") >= 1  # exit status 0


def test_files_that_are_not_there_or_no_yaml(ambit, api):
    assert "nothing was sent: /nonexistent.yaml: No such file" in ambit("apply", "-f", "/nonexistent.yaml", code=1).err
    assert "nothing was sent: stdin: " in ambit("apply", "-f", "-", text=NAMESPACE + "---\na: [", code=1).err
    ambit("get", "ns", "shop", code=1)
    assert "stdin: " in ambit("apply", "-f", "-", text="a: [", code=1).err
    folder = ambit.home / "empty"
    (folder / "below").mkdir(parents=True)
    (folder / "below" / "a.yaml").write_text(NAMESPACE, encoding="ascii")
    for command in ("apply", "delete"):
        for text in ("", "# nothing\n---\n---\n"):
            assert "standard input: no object in it" in ambit(command, "-f", "-", text=text, code=1).err
        assert f"{folder}: no object in it" in ambit(command, "-f", str(folder), code=1).err


def test_a_namespace_that_is_not_there_is_named_with_what_makes_it(ambit, api):
    fix = apply(ambit, POD % "a", code=1).err.partition("  fix: ")[2]
    assert fix == "ambit apply -f - <<< '{apiVersion: v1, kind: Namespace, metadata: {name: shop}}'\n"
    absent = ambit("get", "pods", "-n", "shop", code=1)
    assert 'namespaces "shop" not found' in absent.err and "fix: ambit get namespaces" in absent.err
    apply(ambit, fix.split("'")[1])
    assert "no pods in namespace shop" in ambit("get", "pods", "-n", "shop", code=0).err
    apply(ambit, POD % "a")


def test_labels_that_mean_nothing_are_said_to(ambit, api):
    apply(ambit, NAMESPACE)

    def said(*words):
        return ambit("label", "ns", "shop", *words, code=0).out.partition("\n")[2]
    meant = "means nothing here; did you mean istio.io/dataplane-mode?\n"
    assert said("istio.io/dataplane_mode=ambient") == "istio.io/dataplane_mode " + meant
    assert said("dataplane-mode=ambient") == "dataplane-mode " + meant
    assert "did you mean istio.io/use-waypoint?" in said("istio.io/use-waypont=w")
    assert "write istio.io/dataplane-mode=ambient" in said("istio-injection=enabled")
    assert said("dataplane-mode-") == said("team=cart") == said("istio.io/use-waypoint=none", "--dry-run") == ""


def test_values_that_mean_nothing_are_refused_before_anything_is_sent(ambit, api):
    apply(ambit, NAMESPACE)
    refused = ambit("label", "ns", "shop", "team=cart", "istio.io/dataplane-mode=ambiant", code=2)
    assert "istio.io/dataplane-mode=ambiant means nothing; write ambient or none\n" in refused.err
    fix, = re.findall(r"  fix: ambit (.*)\n", refused.err)
    assert fix == "label ns shop team=cart istio.io/dataplane-mode=ambient"
    labels = ambit("get", "ns", "shop", "-o", "json", code=0).json["metadata"]["labels"]
    assert "team" not in labels and "istio.io/dataplane-mode" not in labels
    assert "fix: ambit help label\n" in ambit("label", "ns", "shop", "istio.io/dataplane-mode=enabled", code=2).err
    ambit(*fix.split(), code=0)


def test_get_in_every_form(ambit, api):
    apply(ambit, NAMESPACE, POD % "cart-1", POD % "cart-2")
    table = ambit("get", "pods", "-n", "shop", code=0).out.splitlines()
    assert table[0].split() == ["NAME", "STATUS", "MESH", "ADDRESSES", "NODE", "AGE"]
    assert [line.split()[0] for line in table[1:]] == ["cart-1", "cart-2"]
    assert ambit("get", "po", "-A", code=0).out.splitlines()[0].startswith("NAMESPACE")
    assert ambit("get", "pod", "-n", "shop", "-o", "name", code=0).out == "pod/cart-1\npod/cart-2\n"
    one = ambit("get", "pod", "cart-1", "-n", "shop", "-o", "json", code=0).json
    assert (one["kind"], one["apiVersion"], one["metadata"]["name"]) == ("Pod", "v1", "cart-1")
    many = ambit("get", "pods", "-n", "shop", "-l", "app=cart", "-o", "json", code=0).json
    assert many["kind"] == "List" and [i["kind"] for i in many["items"]] == ["Pod", "Pod"]
    none = ambit("get", "pods", "-n", "shop", "-l", "app=other", code=0)
    assert none.out == "" and "no pods in namespace shop" in none.err
    yaml = ambit("get", "pod", "cart-1", "-n", "shop", "-o", "yaml", code=0).out
    assert "kind: Pod\n" in yaml and "    app: cart\n" in yaml
    assert "pod/cart-1 unchanged" in ambit("apply", "-f", "-", text=POD % "cart-1", code=0).out


def test_what_is_not_there_is_no(ambit, api):
    assert "not found" in ambit("get", "ns", "nothing", code=1).err
    assert "not found" in ambit("delete", "ns", "nothing", code=1).err
    assert "not found" in ambit("label", "ns", "nothing", "a=b", code=1).err
    ambit("delete", "ns", "nothing", "--ignore-not-found", code=0)


def test_label_changes_and_says_what_it_means(ambit, api):
    apply(ambit, NAMESPACE, POD % "a", POD % "b")
    ambit("label", "pod", "b", "-n", "shop", "istio.io/dataplane-mode=none", code=0)
    joins = "1 running pod will be captured; existing connections stay as they are\n"
    dry = ambit("label", "ns", "shop", "istio.io/dataplane-mode=ambient", "--dry-run", code=0).out
    assert dry == "namespace/shop would be labelled\n" + joins
    assert ambit("get", "ns", "shop", "-o", "json").json["metadata"]["labels"].get("istio.io/dataplane-mode") is None
    assert ambit("label", "ns", "shop", "istio.io/dataplane-mode=ambient", code=0).out == "namespace/shop labelled\n" + joins
    again = ambit("label", "ns", "shop", "istio.io/dataplane-mode=ambient", code=0).out
    assert again == "namespace/shop already has these labels\n"
    conflict = ambit("label", "ns", "shop", "istio.io/dataplane-mode=none", code=1)
    assert "already has istio.io/dataplane-mode=ambient" in conflict.err
    assert "fix: ambit label --overwrite ns shop istio.io/dataplane-mode=none\n" in conflict.err
    assert "1 running pod will leave the mesh" in ambit("label", "ns", "shop", "istio.io/dataplane-mode-", code=0).out


def test_waiting_for_a_label_ends_when_the_nodes_have_done_it(ambit, api):
    apply(ambit, NAMESPACE, POD % "a")
    late = ambit("label", "ns", "shop", "istio.io/dataplane-mode=ambient", "--wait", "--timeout", "2s", code=1)
    assert "1 pod not there yet" in late.err
    annotated = POD.replace("labels:", "annotations: {ambient.istio.io/redirection: enabled}, labels:") % "a"
    apply(ambit, annotated)
    out = ambit("label", "ns", "shop", "istio.io/dataplane-mode=ambient", "--wait", code=0).out
    assert "done in " in out


def test_delete_by_name_and_by_file(ambit, api, tmp_path):
    apply(ambit, NAMESPACE, POD % "a", POD % "b", POLICY % "DENY")
    assert ambit("delete", "pod", "a", "-n", "shop", code=0).out == "pod/a deleted from namespace shop\n"
    file = tmp_path / "shop.yaml"
    file.write_text("---\n".join([NAMESPACE, POD % "b", POLICY % "DENY"]), encoding="ascii")
    out = ambit("delete", "-f", str(file), code=0).out.splitlines()
    assert [line.split()[0] for line in out] == ["authorizationpolicy/deny", "pod/b", "namespace/shop"]


def test_a_word_that_names_no_node_lets_in_nobody(ambit, api):
    apply(ambit, NAMESPACE)
    for word in ("*", "n2,*", "N2"):
        assert "is no name of a node" in ambit("allow-node", word, "default", "-n", "shop", code=2).err
    assert "annotations" not in ambit("get", "sa", "default", "-n", "shop", "-o", "json", code=0).json["metadata"]


def test_without_an_api_nothing_can_be_told(ambit, tmp_path):
    for words in (["get", "pods"], ["delete", "pod", "a"], ["label", "ns", "a", "b=c"]):
        result = ambit(*words, code=3)
        assert "fix: ambit up" in result.err
    config = tmp_path / "broken.kubeconfig"
    config.write_text("clusters: []\n", encoding="ascii")
    assert ambit("get", "ns", "--kubeconfig", str(config)).code in (1, 3)


def test_a_server_that_is_gone_or_refuses_us_cannot_tell(ambit, api, tmp_path):
    text = (api / "admin.kubeconfig").read_text(encoding="ascii")
    other = tmp_path / "other.kubeconfig"
    other.write_text(text.replace("token: ", "token: not-"), encoding="ascii")
    assert "token: " in text
    assert ambit("get", "ns", "--kubeconfig", str(other), code=3).out == ""


@pytest.fixture
def standalone(ambit, api):
    """As after `ambit up`: the credentials are in the state folder."""
    state = ambit.home / "state"
    state.mkdir()
    (state / "admin.kubeconfig").write_bytes((api / "admin.kubeconfig").read_bytes())
    del ambit.env["KUBECONFIG"]
    return state


def test_the_stand_alone_credentials_are_found_and_shown(ambit, standalone, tmp_path):
    ambit("get", "ns", code=0)
    text = (standalone / "admin.kubeconfig").read_text(encoding="ascii")
    assert ambit("kubeconfig", code=0).out == text
    assert ambit("kubeconfig", "--path", code=0).out == f"{standalone}/admin.kubeconfig\n"
    copy = tmp_path / "copy"
    ambit("kubeconfig", "-w", str(copy), code=0)
    assert copy.read_text(encoding="ascii") == text and os.stat(copy).st_mode & 0o777 == 0o600


def test_without_a_stand_alone_mesh_there_are_no_credentials(ambit):
    assert "fix: ambit up" in ambit("kubeconfig", code=1).err


def test_status_names_policies_that_were_not_accepted(ambit, api, node):
    node()
    apply(ambit, NAMESPACE, POLICY % "DENY")
    assert ambit("status", code=0).out.startswith("OK")


def test_an_object_goes_to_the_version_it_is_written_in(ambit, api):
    older = (POLICY % "DENY").replace("security.istio.io/v1", "security.istio.io/v1beta1")
    assert "authorizationpolicy/deny created" in apply(ambit, NAMESPACE, older, code=0).out


ROUTE = """apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: cart, namespace: shop}
spec: {%s: [{group: "", kind: Service, name: cart}], rules: [{backendRefs: [{name: cart, port: 80}]}]}
"""


OPEN_POLICY = """apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: open, namespace: shop}
spec: {action: ALLOW, rules: [{from: [{source: {principals: [cluster.local/ns/shop/sa/%s]}}]}]}
"""


def test_what_the_api_warns_of_is_said(ambit, api):
    result = apply(ambit, NAMESPACE, OPEN_POLICY % "default", code=0)
    assert "warning of the API: spec.rules[0].from[0].source.principals[0]: every node may run" in result.err
    assert "warning" not in apply(ambit, OPEN_POLICY % "cart", code=0).err


def test_a_field_that_its_kind_does_not_have_is_refused_by_name(ambit, api):
    result = apply(ambit, NAMESPACE, ROUTE % "parentRef", code=1)
    assert 'unknown field "spec.parentRef"' in result.err
    assert "httproute/cart created" in apply(ambit, ROUTE % "parentRefs", code=0).out


def test_of_several_names_those_that_are_there_are_shown(ambit, api):
    apply(ambit, NAMESPACE, POLICY % "DENY")
    words = ["get", "ap", "gone", "deny", "lost", "-n", "shop"]
    result = ambit(*words, code=1)
    assert "deny" in result.out and result.err.count("not found\n  fix: ambit get authorizationpolicies -A\n") == 2
    found = ambit(*words, "-o", "json", code=1).json
    assert [o["metadata"]["name"] for o in found["items"]] == ["deny"] and '"lost" not found' in found["error"]


def test_the_command_that_helps_goes_where_this_one_went(ambit, api, tmp_path):
    """And is one word where a shell would make two."""
    elsewhere = tmp_path / "not here"
    words = ["get", "pods", "x", "--kubeconfig", str(elsewhere)]
    assert "fix: ambit up" not in ambit(*words, code=3).err
    shutil.copy(ambit.env["KUBECONFIG"], elsewhere)
    result = ambit(*words, code=1)
    fix = re.search("fix: ambit (.*)", result.err)[1]
    assert fix == f"get --kubeconfig '{elsewhere}' pods -A"
    ambit(*shlex.split(fix), code=0)
    apply(ambit, NAMESPACE)
    ambit("label", "ns", "shop", "a=b", code=0)
    refused = ambit("label", "ns", "shop", "a=c", "--dry-run", "--kubeconfig", str(elsewhere), code=1)
    fix = re.search("fix: ambit (.*)", refused.err)[1]
    assert ambit(*shlex.split(fix), code=0).out == "namespace/shop would be labelled\n"


def test_credentials_that_are_wrong_are_named_and_what_is_not_reached_is_not_gone(ambit, api, tmp_path):
    wrong = tmp_path / "wrong"
    good = pathlib.Path(ambit.env["KUBECONFIG"]).read_text(encoding="utf-8")
    for text, words, code, said in (("{}", [], 1, f'{wrong}: kubeconfig: no context ""'), ("a: [", [], 1, f"{wrong}: YAML line 2"),
                                    (good, ["--context", "x"], 1, f'{wrong}: kubeconfig: no context "x"'),
                                    (re.sub("https://[^:/]*", "https://nowhere.invalid", good), [], 3, "resolve host: nowhere.invalid")):
        wrong.write_text(text, encoding="utf-8")
        err = ambit("delete", "pod", "x", "--ignore-not-found", "--kubeconfig", str(wrong), *words, code=code).err
        assert said in err and "fix: ambit up" not in err
