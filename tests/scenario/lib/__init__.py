# SPDX-License-Identifier: Apache-2.0
"""What the scenarios are made of: nodes and pods as network namespaces, a control plane, a node agent,
tunnel peers, applications and a wiretap, all of them in Python and none of them ours in production."""
