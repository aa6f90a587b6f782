# SPDX-License-Identifier: Apache-2.0
"""Builders of the resources a control plane sends, in the real one's naming scheme."""
import collections
import ipaddress

from lib import topo
from lib.wiretypes import ADDRESS, AUTHORIZATION, authorization, workload as wl

Resource = collections.namedtuple("Resource", "type name octets")

NONE, HBONE = 0, 1
TRUST_DOMAIN = "cluster.local"


def packed(ip):
    return ipaddress.ip_address(ip).packed


def spiffe(sa, ns="shop", td=TRUST_DOMAIN):
    return f"spiffe://{td}/ns/{ns}/sa/{sa}"


def uid(name, ns="shop"):
    return f"Kubernetes//Pod/{ns}/{name}"


def pod(node, number, name, sa, ns="shop", **fields):
    """The workload of a pod of the topology; `services` is {hostname: {service port: target port}}."""
    return workload(name, [topo.pod4(node, number), topo.pod6(node, number)], sa, ns, node=f"node{node}", **fields)


def workload(name, ips, sa, ns="shop", protocol=HBONE, services=None, policies=(), **fields):
    w = wl.Workload(uid=uid(name, ns), name=name, namespace=ns, service_account=sa, trust_domain=TRUST_DOMAIN,
                    addresses=[packed(ip) for ip in ips], tunnel_protocol=protocol, canonical_name=f"{name}-app",
                    canonical_revision="v1", workload_name=f"{name}-app", cluster_id="Kubernetes",
                    authorization_policies=list(policies))
    for key, ports in (services or {}).items():
        entry = w.services[key if "/" in key else f"{ns}/{key}"]
        for service_port, target_port in ports.items():
            entry.ports.add(service_port=service_port, target_port=target_port)
    for key, value in fields.items():
        _set(w, key, value)
    return Resource(ADDRESS, w.uid, wl.Address(workload=w).SerializeToString())


def service(name, vips, ports, ns="shop", hostname=None, **fields):
    s = wl.Service(name=name, namespace=ns, hostname=hostname or f"{name}.{ns}.svc.cluster.local", canonical=True)
    for vip in vips:
        address, _, length = vip.partition("/")
        s.addresses.add(address=packed(address), **({"length": int(length)} if length else {}))
    for service_port, target_port in ports.items():
        s.ports.add(service_port=service_port, target_port=target_port)
    for key, value in fields.items():
        _set(s, key, value)
    return Resource(ADDRESS, f"{ns}/{s.hostname}", wl.Address(service=s).SerializeToString())


def weighted(**weights):
    """Waypoints by the first workload of a pod and their weights: `weighted(p41=3, p42=1)`."""
    return [wl.WeightedWaypoint(destination=gateway(topo.pod4(int(pod[1]), int(pod[2]))), weight=weight)
            for pod, weight in weights.items()]


def gateway(destination, port=15008, network=""):
    """A reference to a waypoint or network gateway: an IP address, or "namespace/hostname"."""
    g = wl.GatewayAddress(hbone_mtls_port=port)
    if "/" in destination:
        g.hostname.namespace, g.hostname.hostname = destination.split("/")
    else:
        g.address.address, g.address.network = packed(destination), network
    return g


def _set(message, key, value):
    if isinstance(value, (list, tuple)):
        getattr(message, key).extend(value)
    elif hasattr(value, "DESCRIPTOR"):
        getattr(message, key).CopyFrom(value)
    else:
        setattr(message, key, value)


ALLOW, DENY = 0, 1
GLOBAL, NAMESPACE, SELECTOR = 0, 1, 2


def policy(name, action, *rules, ns="shop", scope=NAMESPACE, dry_run=False):
    """A policy; each rule is a list of clauses, each clause a list of matches (see `match`)."""
    a = authorization.Authorization(name=name, namespace=ns, scope=scope, action=action, dry_run=dry_run)
    for rule in rules:
        r = a.rules.add()
        for clause in rule:
            r.clauses.add().matches.extend(clause)
    return Resource(AUTHORIZATION, f"{ns}/{name}", a.SerializeToString())


def match(**kinds):
    """One match: principals=["a", "b*", "*c", "*"], namespaces=..., source_ips=["10.0.0.0/8"], destination_ports=[1]."""
    m = authorization.Match()
    for key, values in kinds.items():
        field = getattr(m, key)
        for value in values:
            if key.endswith("_ips"):
                net = ipaddress.ip_network(value)
                field.add(address=net.network_address.packed, length=net.prefixlen)
            elif key.endswith("_ports"):
                field.append(value)
            elif key.endswith("service_accounts"):
                field.add(namespace=value[0], service_account=value[1])
            else:
                _string_match(field.add(), value)
    return m


def _string_match(field, text):
    if text == "*":
        field.presence.SetInParent()
    elif text.endswith("*"):
        field.prefix = text[:-1]
    elif text.startswith("*"):
        field.suffix = text[1:]
    else:
        field.exact = text


def only(**kinds):
    """A rule with a single match."""
    return [[match(**kinds)]]


def strict():
    """What a control plane makes of strict mutual TLS: deny whoever has no identity."""
    return policy("converted_static_strict", DENY, only(not_principals=["*"]), ns="istio-system", scope=SELECTOR)
