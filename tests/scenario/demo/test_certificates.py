# SPDX-License-Identifier: Apache-2.0
"""What the control plane certifies: a node proxy gets the identities of the pods on its own node, and no others."""
import json
import pathlib
import subprocess
import sys

import pytest

from demo.small import NAMESPACE
from lib import netns

CERTIFY = pathlib.Path(__file__).with_name("certify.py")


def ask(mesh, token, identity):
    """What a bearer of `token` gets for `identity`; see certify.py."""
    control = mesh.town.control
    done = subprocess.run(["nsenter", f"--net={netns.path(control.ns)}", sys.executable, str(CERTIFY),
                           f"{control.address}:15012", control.root_file, token, identity],
                          capture_output=True, text=True, timeout=30, check=True)
    return json.loads(done.stdout)


def identity_of(account):
    return f"spiffe://cluster.local/ns/{NAMESPACE}/sa/{account}"


def proxy_token(mesh, node):
    """What a node's agent got for its proxy."""
    return pathlib.Path(mesh.town.agents[node].token).read_text(encoding="ascii")


@pytest.mark.parametrize("node, account", [(1, "client"), (1, "other"), (2, "server")])
def test_a_node_proxy_gets_the_identities_of_its_own_pods(mesh, node, account):
    assert ask(mesh, proxy_token(mesh, node), identity_of(account)) == {"names": [identity_of(account)]}


@pytest.mark.parametrize("node, account", [(2, "client"), (2, "other"), (1, "server"), (1, "nobody")])
def test_a_node_proxy_does_not_get_other_identities(mesh, node, account):
    answer = ask(mesh, proxy_token(mesh, node), identity_of(account))
    assert answer == {"code": "UNAUTHENTICATED"}


def test_who_shows_no_valid_token_gets_nothing(mesh):
    assert ask(mesh, "not-a-token", identity_of("client")) == {"code": "UNAUTHENTICATED"}
