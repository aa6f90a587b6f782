# SPDX-License-Identifier: Apache-2.0
"""The operator: `ambit`, as somebody would type it on the control plane's host."""
import json
import os
import subprocess

from demo.report import check
from lib import netns


class Ambit:
    """The command line, with the administrator's credentials and the descriptions of this machine's nodes."""

    def __init__(self, program, ns, kubeconfig, run_dir):
        self.program, self.ns, self.kubeconfig, self.run_dir = str(program), ns, kubeconfig, run_dir

    def argv(self, *words):
        """A command, to be run from anywhere."""
        return ["nsenter", f"--net={netns.path(self.ns)}", self.program, *words]

    @property
    def env(self):
        return {"PATH": os.environ["PATH"], "KUBECONFIG": self.kubeconfig}

    def ask(self, *words, text=None, seconds=30):
        """(exit status, output, complaints)"""
        done = subprocess.run(self.argv(*words), input=text, env=self.env, capture_output=True, text=True, timeout=seconds,
                              check=False)
        return done.returncode, done.stdout, done.stderr

    def __call__(self, *words, **how):
        """The output of a command that has to say yes."""
        status, out, err = self.ask(*words, **how)
        check(status == 0, f"ambit {' '.join(words)}: exit status {status}: {out}{err}".strip())
        return out

    def on_node(self, command, *words, node=None):
        """A command that asks nodes."""
        which = ["--node", node] if node else []
        return self(command, "--run-dir", self.run_dir, *which, *words)

    # ---- objects of the API

    def apply(self, text):
        return self("apply", "-f", "-", text=text)

    def label(self, namespace, key, value, *how):
        """None takes the label away."""
        return self("label", "namespace", namespace, f"{key}={value}" if value else f"{key}-", *how)

    def delete(self, kind, namespace, name):
        return self("delete", kind, name, "-n", namespace)

    def get(self, kind, namespace, name):
        return json.loads(self("get", kind, name, "-n", namespace, "-o", "json"))

    # ---- workloads

    def workloads(self, node=None):
        """What `ambit ps` lists."""
        return json.loads(self.on_node("ps", "-o", "json", node=node))["items"]

    def workload(self, namespace, name):
        return next(w for w in self.workloads() if (w["namespace"], w["name"]) == (namespace, name))

    def start(self, node, namespace, name, command, account="default", user="nobody", **labels):
        """`ambit run --detach`; what `ambit ps` says of it."""
        self.on_node("run", "--detach", "-n", namespace, "--name", name, "--sa", account, "--user", user,
                     *(word for key, value in labels.items() for word in ("--label", f"{key}={value}")), "--", *command,
                     node=node)
        return self.workload(namespace, name)

    def stop(self, namespace, name):
        self.on_node("stop", f"{namespace}/{name}")
