# SPDX-License-Identifier: Apache-2.0
"""Builders of what a waypoint is told (proto/waypoint.proto), in its naming scheme."""
from lib.model import Resource
from lib.wiretypes import BINDING, POLICY, ROUTE, TRAFFIC, waypoint as w

GATEWAY = "shop/gate"
DOMAIN = "svc.cluster.local"


def host(name, ns="shop"):
    return f"{name}.{ns}.{DOMAIN}"


def binding(name, ports, ns="shop"):
    """`ports` is {port: protocol name}."""
    b = w.Binding(namespace=ns, hostname=host(name, ns))
    for port, protocol in ports.items():
        b.ports.add(port=port, protocol=w.Protocol.Value(protocol))
    return Resource(BINDING, f"{GATEWAY}/{ns}/{b.hostname}", b.SerializeToString())


def backend(name, port=80, weight=1, ns="shop", **fields):
    return w.Backend(namespace=ns, hostname=host(name, ns), port=port, weight=weight, **fields)


def prefix(value):
    return w.Match(path=w.PathMatch(kind=w.PathMatch.PREFIX, value=value))


def exact(value):
    return w.Match(path=w.PathMatch(kind=w.PathMatch.EXACT, value=value))


def route(service, name, *matches, backends=(), port=80, rule=0, kind=w.Route.HTTP_ROUTE, ns="shop", **fields):
    """One rule. Fields that are messages or lists go as they are."""
    r = w.Route(namespace=ns, hostname=host(service, ns), port=port, kind=kind, route_namespace=ns, route_name=name,
                rule=rule, matches=matches, backends=backends, **fields)
    kinds = {w.Route.HTTP_ROUTE: "HTTPRoute", w.Route.GRPC_ROUTE: "GRPCRoute", w.Route.TCP_ROUTE: "TCPRoute"}
    return Resource(ROUTE, f"{GATEWAY}/{ns}/{r.hostname}/{port}/{kinds[kind]}/{ns}/{name}/{rule}", r.SerializeToString())


ALLOW, DENY = w.Authorization.ALLOW, w.Authorization.DENY


def policy(name, service=None, action=ALLOW, rules=(), ns="shop", **fields):
    """An authorization; `service` None: for the waypoint itself."""
    p = w.Policy(namespace=ns, name=name)
    target = "waypoint"
    if service:
        p.service_namespace, p.service_hostname = ns, host(service, ns)
        target = f"{ns}/{p.service_hostname}"
    p.authorization.action = action
    p.authorization.rules.extend(rules)
    for key, value in fields.items():
        setattr(p.authorization, key, value)
    return Resource(POLICY, f"{GATEWAY}/{target}/AuthorizationPolicy/{ns}/{name}", p.SerializeToString())


def authentication(name, service, rules, ns="shop"):
    """Tokens that are verified for a service."""
    p = w.Policy(namespace=ns, name=name, service_namespace=ns, service_hostname=host(service, ns))
    p.authentication.rules.extend(rules)
    return Resource(POLICY, f"{GATEWAY}/{ns}/{host(service, ns)}/RequestAuthentication/{ns}/{name}", p.SerializeToString())


def traffic(service, ns="shop", port=0, **fields):
    t = w.Traffic(namespace=ns, hostname=host(service, ns), port=port, **fields)
    return Resource(TRAFFIC, f"{GATEWAY}/{ns}/{t.hostname}", t.SerializeToString())
