# SPDX-License-Identifier: Apache-2.0
"""Nodes joined by a router, each with pods: network namespaces and veth pairs, both address families.

Names start with `lab<pid>x<start time>-`, so that runs do not meet and what a crashed run left is known
by its dead owner. Addresses are the same in every run; nothing here is joined to the host's network.

    router `fab`  172.31.0.254  fd31::fe      bridge br0, one port a node, also the host `ext`
    node `n2`     172.31.0.2    fd31::2       routes for its pods
    pod `p21`     10.244.2.11   fd44:2::11    first pod of node 2
    host `ext`    172.31.0.200  fd31::c8      no node, no mesh
"""
import contextlib
import os
import pathlib
import socket

from lib import netns
from lib.wait import SCALE, Timeout, until

RULES = pathlib.Path(__file__).parent / "rules"
ROUTER4, ROUTER6 = "172.31.0.254", "fd31::fe"
EXT4, EXT6 = "172.31.0.200", "fd31::c8"


def pod4(node, pod):
    return f"10.244.{node}.1{pod}"


def pod6(node, pod):
    return f"fd44:{node}::1{pod}"


def node4(node):
    return f"172.31.0.{node}"


def _start_time(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as f:
        return f.read().rsplit(")", 1)[1].split()[19]


def _owner_lives(name):
    pid, _, started = name[3:].split("-", 1)[0].partition("x")
    try:
        return _start_time(int(pid)) == started
    except (OSError, ValueError):
        return False


def remove_leftovers():
    """Takes away namespaces of this harness whose owner is gone; never anything else."""
    for name in netns.names():
        head = name.split("-", 1)[0]
        if head.startswith("lab") and "x" in head and head[3:].replace("x", "").isdigit() and not _owner_lives(name):
            netns.delete(name)


class Topology:
    """`pods` maps a node's number to how many pods it has."""

    def __init__(self, pods):
        self.prefix = f"lab{os.getpid()}x{_start_time(os.getpid())}"
        self.pods = pods

    def ns(self, name):
        return f"{self.prefix}-{name}"

    def up(self):
        remove_leftovers()
        self._router()
        for node, count in self.pods.items():
            self._node(node)
            for pod in range(1, count + 1):
                self.add_pod(node, pod)

    def down(self):
        for name in netns.names():
            if name.startswith(self.prefix + "-"):
                netns.delete(name)

    def _new(self, name):
        netns.add(self.ns(name))
        netns.sysctl(self.ns(name), net__ipv6__conf__all__accept_dad=0, net__ipv6__conf__default__accept_dad=0,
                     net__ipv4__conf__all__rp_filter=0, net__ipv4__conf__default__rp_filter=0)
        self._loss_based_congestion_control(self.ns(name))
        return self.ns(name)

    @staticmethod
    def _loss_based_congestion_control(ns):
        """cubic, as nearly everywhere. Where the host does not allow that in a namespace (its default is another one
        and net.ipv4.tcp_allowed_congestion_control leaves it out), reno, which is always allowed."""
        try:
            netns.sysctl(ns, net__ipv4__tcp_congestion_control="cubic")
        except PermissionError:
            netns.sysctl(ns, net__ipv4__tcp_congestion_control="reno")

    def _router(self):
        fab = self._new("fab")
        netns.sysctl(fab, net__ipv4__ip_forward=1, net__ipv6__conf__all__forwarding=1)
        # An address of its own: without one a bridge takes the lowest of its ports', so that a host that is added later
        # changes the router's under its neighbours, who lose what they send to the old one until they probe again.
        netns.batch(fab, ["link add br0 address 02:00:00:00:00:fe type bridge", "link set br0 up",
                          f"addr add {ROUTER4}/24 dev br0", f"addr add {ROUTER6}/64 dev br0 nodad"])
        ext = self._new("ext")
        self._attach(ext, "ext", EXT4, EXT6)

    def _attach(self, ns, port, v4, v6):
        """A cable from namespace `ns` to the router's bridge."""
        netns.batch(self.ns("fab"), [f"link add {port} type veth peer name eth0 netns {ns}",
                                     f"link set {port} master br0 up"])
        netns.batch(ns, ["link set eth0 up", f"addr add {v4}/24 dev eth0", f"addr add {v6}/64 dev eth0 nodad",
                         f"route add default via {ROUTER4}", f"-6 route add default via {ROUTER6}"])

    def _node(self, node):
        ns = self._new(f"n{node}")
        netns.sysctl(ns, net__ipv4__ip_forward=1, net__ipv6__conf__all__forwarding=1)
        self._attach(ns, f"n{node}", node4(node), f"fd31::{node:x}")
        netns.batch(self.ns("fab"), [f"route add 10.244.{node}.0/24 via {node4(node)}",
                                     f"-6 route add fd44:{node}::/64 via fd31::{node:x}"])

    def add_host(self, name, number):
        """A host on the router's network, 172.31.0.<number>: a place for a second generation of a node proxy, whose
        own ports are then not in the way of the first one's."""
        self._attach(self._new(name), name, node4(number), f"fd31::{number:x}")
        return self.ns(name)

    def add_pod(self, node, pod, name=None):
        """The pod's namespace, wired to its node. A second one with the same addresses needs a `name`."""
        name = name or f"p{node}{pod}"
        ns, port = self._new(name), f"c{name}"
        netns.batch(self.ns(f"n{node}"), [
            f"link add {port} type veth peer name eth0 netns {ns}", f"link set {port} up",
            f"addr add 169.254.1.1/32 dev {port}", f"addr add fe80::1/64 dev {port} nodad",
            f"route replace {pod4(node, pod)}/32 dev {port}", f"-6 route replace {pod6(node, pod)}/128 dev {port}"])
        netns.batch(ns, [
            "link set eth0 up", f"addr add {pod4(node, pod)}/32 dev eth0", f"addr add {pod6(node, pod)}/128 dev eth0 nodad",
            "route add 169.254.1.1 dev eth0 scope link", "route add default via 169.254.1.1 dev eth0",
            "-6 route add default via fe80::1 dev eth0"])
        return ns

    @contextlib.contextmanager
    def many_addresses(self, node, pod):
        """Addresses of the sixth family that lead to the pod, 65535 of them, none of which an interface has: a socket
        needs IP_FREEBIND."""
        name, net = f"p{node}{pod}", f"fd44:{node}:0:0:1::/80"
        hop = f"via {pod6(node, pod)} dev c{name}"
        netns.batch(self.ns(name), [f"-6 route add local {net} dev lo"])
        netns.batch(self.ns(f"n{node}"), [f"-6 route add {net} {hop}"])
        try:
            yield (f"fd44:{node}::1:0:0:{n:x}" for n in range(1, 1 << 16))
        finally:
            netns.batch(self.ns(f"n{node}"), [f"-6 route del {net} {hop}"])
            netns.batch(self.ns(name), [f"-6 route del local {net} dev lo"])

    def crowd(self, stack, name, addresses, host, says, displaced):
        """Connections of the pod to a door of tunnels, an address each, until somebody had to make way for them. One that
        is turned away at once is one of them, too."""
        for _ in range(5):
            for _ in range(1500):  # more than there is room for; the metric is seconds behind
                with contextlib.suppress(ConnectionError):
                    stack.enter_context(self.connect_from(name, next(addresses), host, 15008)).sendall(says)
            with contextlib.suppress(Timeout):  # a slow machine fills it only after some have met their deadline
                return until("somebody makes way", displaced, 5)
        raise Timeout("nobody made way")

    def connect_from(self, name, address, host, port):
        """A TCP connection of the pod from one of its many addresses."""
        sock = netns.make_socket(self.ns(name), socket.AF_INET6)
        sock.setsockopt(socket.SOL_IP, 15, 1)  # IP_FREEBIND
        sock.bind((address, 0))
        sock.settimeout(5 * SCALE)
        sock.connect((host, port))
        return sock

    def pod_port_exists(self, node, name):
        """Whether the node still has its end of the pod's cable: it goes when the last reference to the pod's
        namespace does."""
        links = netns.run(["ip", "-n", self.ns(f"n{node}"), "-o", "link", "show"])
        return f"c{name}@" in links

    def capture(self, name, rules="contract"):
        """Puts the redirection into a pod, as a node agent would: `contract` or `tproxy`."""
        ns = self.ns(name)
        netns.sysctl(ns, net__ipv4__tcp_fwmark_accept=1, net__ipv4__tcp_migrate_req=1, net__ipv4__fwmark_reflect=1,
                     net__ipv6__fwmark_reflect=1)
        netns.run(["ip", "netns", "exec", ns, "nft", "-f", str(RULES / f"{rules}.nft")])
        netns.batch(ns, ["rule add fwmark 0x111/0xfff pref 32764 lookup 100", "route replace local default dev lo table 100",
                         "-6 rule add fwmark 0x111/0xfff pref 32764 lookup 100",
                         "-6 route replace local default dev lo table 100"])
