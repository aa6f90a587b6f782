# SPDX-License-Identifier: Apache-2.0
"""Waypoints as the control plane sees them: Gateways made real, services bound, what a waypoint is told and what the
node proxies are told about it. The waypoint is a foreign gRPC client with a waypoint's credential."""
import contextlib
import time

import pytest

import plane as planes
from lib.wait import Stopwatch, until
from lib.wiretypes import ADDRESS, AUTHORIZATION, BINDING, POLICY, ROUTE, TRAFFIC, waypoint
from plane import Ads, named, node_of, pod, policy, service

L7 = (POLICY, TRAFFIC, ROUTE, BINDING)
GROUP = "gateway.networking.k8s.io"


def gateway(name, ns, labels=None, allowed=None, **annotations):
    listener = {"name": "mesh", "port": 15008, "protocol": "HBONE"}
    if allowed:
        listener["allowedRoutes"] = {"namespaces": {"from": allowed}}
    return {"apiVersion": f"{GROUP}/v1", "kind": "Gateway",
            "metadata": {"name": name, "namespace": ns, "labels": labels or {}, "annotations": annotations},
            "spec": {"gatewayClassName": "istio-waypoint", "listeners": [listener]}}


def route(name, ns, parent, rules, kind="HTTPRoute", port=None, parent_ns=None):
    ref = {"group": "", "kind": "Service", "name": parent}
    if port:
        ref["port"] = port
    if parent_ns:
        ref["namespace"] = parent_ns
    version = "v1alpha2" if kind == "TCPRoute" else "v1"
    return {"apiVersion": f"{GROUP}/{version}", "kind": kind, "metadata": {"name": name, "namespace": ns},
            "spec": {"parentRefs": [ref], "rules": rules}}


def target(name, kind="Service"):
    return {"group": "" if kind == "Service" else GROUP, "kind": kind, "name": name}


def host(ns, name):
    return f"{ns}/{name}.{ns}.svc.cluster.local"


def uid(ns, name):
    return f"Kubernetes//Pod/{ns}/{name}"


def condition(obj, kind):
    found = [c for c in obj.get("status", {}).get("conditions", []) if c["type"] == kind]
    return (found[0]["status"], found[0]["reason"], found[0].get("message", "")) if found else None


def parent_conditions(obj):
    parents = obj.get("status", {}).get("parents", [])
    return {c["type"]: (c["status"], c["reason"]) for p in parents for c in p["conditions"]}


@pytest.fixture
def town(api, ns):
    """A namespace with a service `web`, its pod, and a service `v2`."""
    api.create(pod("web-1", ns, "10.1.0.1", labels={"app": "web"}))
    api.create(service("web", ns, selector={"app": "web"}, ports=((80, 8080), (81, 8081))))
    api.create(service("v2", ns, selector={"app": "v2"}))
    return ns


@pytest.fixture
def standing(api, town):
    """A waypoint `wp` that is up: its pod is there and ready."""
    return stand(api, town, "wp")


def stand(api, ns, name, **options):
    api.create(gateway(name, ns, **options))
    until("its service account is there", lambda: has(api, named("ServiceAccount", name, ns)))
    number = sum(map(ord, ns + name)) % 200
    api.create(pod(f"{name}-0", ns, f"10.1.{number}.9", account=name, captured=False,
                   labels={f"{GROUP}/gateway-name": name}))
    until("it is programmed", lambda: condition(api.get(gateway(name, ns)), "Programmed")[0] == "True")
    return name


def has(api, obj):
    try:
        return api.get(obj)
    except planes.Refused as refused:
        assert refused.status == 404
        return None


def use(api, ns, svc, name):
    api.patch(named("Service", svc, ns), {"metadata": {"labels": {"istio.io/use-waypoint": name}}})


@contextlib.contextmanager
def stream_of(plane, api, ns, name, account=None, kinds=L7, claims=None):
    token = api.token_for(ns, account or name)
    with plane.channel() as channel:
        ads = Ads(channel, token)
        for kind in kinds:
            ads.state[kind] = {}
        node = node_of(f"waypoint~10.1.0.9~{name}-0.{ns}~{ns}.svc.cluster.local", NAMESPACE=ns,
                       GATEWAY=claims or name, NODE_NAME=None)
        for kind in kinds:
            ads.send(kind, subscribe=["*"], node=node)
        for _ in kinds:
            ads.next()
        yield ads
        ads.close()


# ---- a Gateway made real


def test_the_class_is_made_and_accepted(api):
    until("it is there", lambda: has(api, named("GatewayClass", "istio-waypoint")))
    until("it is accepted",
          lambda: condition(api.get(named("GatewayClass", "istio-waypoint")), "Accepted")[0] == "True")
    made = api.get(named("GatewayClass", "istio-waypoint"))
    assert made["spec"]["controllerName"] == "istio.io/mesh-controller"
    assert condition(made, "Accepted")[1:] == ("Accepted", "Handled by Istio controller")
    api.delete(named("GatewayClass", "istio-waypoint"))
    until("it is made again", lambda: has(api, named("GatewayClass", "istio-waypoint")))


def test_a_gateway_gets_its_service_its_account_and_its_status(api, ns):
    api.create(gateway("wp", ns, labels={"team": "a"}))
    made = until("its service is there", lambda: has(api, named("Service", "wp", ns)))
    account = until("its account is there", lambda: has(api, named("ServiceAccount", "wp", ns)))
    assert account["metadata"]["annotations"]["ambit.io/allowed-nodes"] == "", "no node may act as a waypoint by itself"
    assert made["metadata"]["labels"] == {"team": "a", "gateway.istio.io/managed": "istio.io-mesh-controller",
                                          f"{GROUP}/gateway-name": "wp",
                                          f"{GROUP}/gateway-class-name": "istio-waypoint"}
    assert made["metadata"]["ownerReferences"][0]["kind"] == "Gateway"
    assert {(p["name"], p["port"], p["appProtocol"]) for p in made["spec"]["ports"]} == {
        ("status-port", 15021, "tcp"), ("mesh", 15008, "hbone")}
    until("it waits for a pod", lambda: condition(api.get(gateway("wp", ns)), "Programmed")[1] ==
          "AddressNotAssigned")
    api.create(pod("wp-0", ns, "10.1.0.9", account="wp", labels={f"{GROUP}/gateway-name": "wp"}))
    until("it is programmed", lambda: condition(api.get(gateway("wp", ns)), "Programmed")[0] == "True")
    status = api.get(gateway("wp", ns))["status"]
    assert condition({"status": status}, "Programmed")[2] == \
        f"Resource programmed, assigned to service(s) wp.{ns}.svc.cluster.local:15008"
    assert status["addresses"] == [{"type": "IPAddress", "value": made["spec"]["clusterIP"]},
                                   {"type": "Hostname", "value": f"wp.{ns}.svc.cluster.local"}]
    listener = status["listeners"][0]
    assert (listener["name"], listener["attachedRoutes"], listener["supportedKinds"]) == ("mesh", 0, [])
    assert {c["type"]: c["status"] for c in listener["conditions"]} == {
        "Accepted": "True", "Conflicted": "False", "Programmed": "True", "ResolvedRefs": "True"}
    api.delete(pod("wp-0", ns, None))
    until("its pod is missed", lambda: condition(api.get(gateway("wp", ns)), "Programmed")[0] == "False")
    assert api.get(gateway("wp", ns))["status"]["addresses"] == status["addresses"], "they stay: it is not none"
    api.delete(named("Service", "wp", ns))
    until("its service is made again", lambda: has(api, named("Service", "wp", ns)))
    api.delete(gateway("wp", ns))
    until("all goes with it", lambda: not has(api, named("Service", "wp", ns)) and not has(api, named("ServiceAccount", "wp", ns)))


def test_what_was_made_for_a_gateway_is_put_right_again(api, ns):
    api.create(gateway("wp", ns))
    made = until("its service is there", lambda: has(api, named("Service", "wp", ns)))
    account = until("and its account", lambda: has(api, named("ServiceAccount", "wp", ns)))
    assert account["metadata"]["ownerReferences"][0]["uid"] == api.get(gateway("wp", ns))["metadata"]["uid"]
    label = f"{GROUP}/gateway-name"
    api.patch(made, {"spec": {"selector": {label: "other"}}, "metadata": {"labels": {"mine": "stays"}}})
    until("its selector", lambda: api.get(made)["spec"]["selector"] == {label: "wp"})
    assert api.get(made)["metadata"]["labels"]["mine"] == "stays", "what nobody asks for is the editor's"
    api.patch(account, {"metadata": {"labels": {label: None}, "ownerReferences": None}})
    until("its account's marks", lambda: api.get(account)["metadata"]["labels"].get(label) == "wp" and
          api.get(account)["metadata"].get("ownerReferences"))
    api.delete(account)
    until("its account is made again", lambda: has(api, account))
    api.patch(account, {"metadata": {"labels": {"gateway.istio.io/managed": None}}})
    api.patch(gateway("wp", ns), {"metadata": {"labels": {"team": "b"}}})
    until("the gateway's change arrives", lambda: api.get(made)["metadata"]["labels"].get("team") == "b")
    assert "team" not in api.get(account)["metadata"]["labels"], "what was taken from us is left alone"
    api.delete(gateway("wp", ns))
    until("its service goes with it", lambda: not has(api, made))
    assert has(api, account), "and stays"


def test_what_no_gateway_owns_any_more_goes(api, ns):
    """As when the gateway went while nobody looked."""
    marks = {"labels": {"gateway.istio.io/managed": "istio.io-mesh-controller"},
             "ownerReferences": [{"apiVersion": f"{GROUP}/v1", "kind": "Gateway", "name": "wp", "uid": "gone"}]}
    api.create(named("ServiceAccount", "wp", ns, **marks))
    until("the account goes", lambda: not has(api, named("ServiceAccount", "wp", ns)))
    api.create(gateway("wq", ns))
    until("another's stays", lambda: has(api, named("ServiceAccount", "wq", ns)))


@pytest.mark.parametrize("version, ours", [("3", True), ("5", True), ("6", False), ("next", False)])
def test_a_gateway_of_a_newer_controller_is_left_alone(api, ns, version, ours):
    api.create(gateway("taken", ns, **{"gateway.istio.io/controller-version": version}))
    api.create(gateway("wp", ns))
    until("the other is made", lambda: has(api, named("Service", "wp", ns)))
    until("its status is written", lambda: condition(api.get(gateway("taken", ns)), "Programmed")[0] == "False")
    if ours:
        until("it is made", lambda: has(api, named("Service", "taken", ns)))
    else:
        assert not has(api, named("Service", "taken", ns)) and not has(api, named("ServiceAccount", "taken", ns))


def test_what_belongs_to_others_is_left_alone(api, ns):
    api.create(service("wp", ns))
    api.create(named("ServiceAccount", "own", ns))
    api.create(gateway("own", ns))
    other = gateway("other", ns)
    other["spec"]["gatewayClassName"] = "somebody-else"
    api.create(gateway("wp", ns))
    api.create(other)
    until("the account is written", lambda: has(api, named("ServiceAccount", "wp", ns)))
    assert "gateway.istio.io/managed" not in api.get(named("Service", "wp", ns))["metadata"].get("labels", {})
    assert not has(api, named("Service", "other", ns))
    until("and what to write", lambda: condition(api.get(other), "Accepted")[2].startswith(
        'spec.gatewayClassName: there is no GatewayClass "somebody-else"; write istio-waypoint'))
    api.create({**named("GatewayClass", f"foreign-{ns}"), "apiVersion": f"{GROUP}/v1", "spec": {"controllerName": "example.com/x"}})
    foreign = gateway("foreign", ns)
    foreign["spec"]["gatewayClassName"] = f"foreign-{ns}"
    api.create(foreign)
    until("own has its service", lambda: has(api, named("Service", "own", ns)))
    assert not api.get(named("ServiceAccount", "own", ns))["metadata"].get("ownerReferences"), "it was there before"
    assert condition(api.get(foreign), "Accepted")[0] == "Unknown", "another's class"
    for name in ("wp", "own"):
        api.delete(gateway(name, ns))
    until("what was made goes", lambda: not has(api, named("Service", "own", ns)) and not has(api, named("ServiceAccount", "wp", ns)))
    assert has(api, named("ServiceAccount", "own", ns)) and has(api, named("Service", "wp", ns))


# ---- binding


def test_services_and_node_proxies_hear_of_the_binding(plane, api, town, standing, channel, proxy_token):
    proxy = Ads(channel, proxy_token).first()
    until("the service is known", lambda: host(town, "web") in proxy.state[ADDRESS])
    assert not proxy.message(ADDRESS, host(town, "web")).service.HasField("waypoint")
    use(api, town, "web", "wp")
    until("it has a waypoint", lambda: proxy.message(ADDRESS, host(town, "web")).service.HasField("waypoint"))
    there = proxy.message(ADDRESS, host(town, "web")).service.waypoint
    assert (there.hostname.namespace, there.hostname.hostname, there.hbone_mtls_port) == \
        (town, f"wp.{town}.svc.cluster.local", 15008)
    bound = until("it says so", lambda: condition(api.get(named("Service", "web", town)), "istio.io/WaypointBound"))
    assert bound == ("True", "WaypointAccepted", f"Successfully attached to waypoint {town}/wp")
    use(api, town, "web", "none")
    until("it has none", lambda: not proxy.message(ADDRESS, host(town, "web")).service.HasField("waypoint"))
    until("it says nothing", lambda: not condition(api.get(named("Service", "web", town)),
                                                   "istio.io/WaypointBound"))
    api.patch(named("Namespace", town), {"metadata": {"labels": {"istio.io/use-waypoint": "wp"}}})
    until("the namespace speaks for v2",
          lambda: proxy.message(ADDRESS, host(town, "v2")).service.HasField("waypoint"))
    assert not proxy.message(ADDRESS, host(town, "web")).service.HasField("waypoint"), "its own label goes before"
    assert not proxy.message(ADDRESS, host(town, "wp")).service.HasField("waypoint"), "a waypoint has none"
    proxy.close()


def test_a_waypoint_is_told_of_its_own_services_only(plane, api, town, standing):
    stand(api, town, "wq")
    use(api, town, "web", "wp")
    use(api, town, "v2", "wq")
    mine = f"{town}/wp/{host(town, 'web')}"
    with stream_of(plane, api, town, "wp") as wp, stream_of(plane, api, town, "wq") as wq:
        until("wp has its binding", lambda: mine in wp.state[BINDING])
        until("wq has its own", lambda: list(wq.state[BINDING]) == [f"{town}/wq/{host(town, 'v2')}"])
        assert list(wp.state[BINDING]) == [mine]
        binding = wp.message(BINDING, mine)
        assert (binding.namespace, binding.hostname) == (town, f"web.{town}.svc.cluster.local")
        assert [(p.port, p.protocol) for p in binding.ports] == [(80, waypoint.HTTP), (81, waypoint.HTTP)]
        use(api, town, "web", "none")
        until("it is taken away", lambda: wp.state[BINDING] == {})
        assert len(wq.state[BINDING]) == 1
    with stream_of(plane, api, town, "wq", claims="wp") as thief:
        assert thief.state[BINDING] == {}, "wq's credential is not for wp"
    with stream_of(plane, api, town, "wp", account="default") as stranger:
        assert stranger.state[BINDING] == {}, "an account without a gateway"


def test_waypoints_hear_first(plane, api, town, standing, channel, proxy_token):
    """Whoever is sent to a waypoint finds it prepared; one that does not answer delays nobody for long."""
    mine = f"{town}/wp/{host(town, 'web')}"
    proxy = Ads(channel, proxy_token).first()
    until("the service is known", lambda: host(town, "web") in proxy.state[ADDRESS])

    def is_bound():
        return proxy.message(ADDRESS, host(town, "web")).service.HasField("waypoint")

    def attach():
        """Whether its answer ended the wait, which is a second."""
        wp.drain()
        wp.ack = False
        asked = Stopwatch()
        use(api, town, "web", "wp")
        answer = wp.next()
        assert (answer.type, answer.names) == (BINDING, [mine])
        time.sleep(0.3)
        assert not is_bound() or asked.seconds > 1, "the waypoint has not answered yet, and is waited for a second"
        wp.ack = True
        wp.send(BINDING, response_nonce=answer.nonce)
        until("now it is", is_bound)
        return asked.seconds < 1

    def detach():
        use(api, town, "web", "none")
        until("the other way round the node proxies are first", lambda: not is_bound())
        assert mine in wp.state[BINDING], "what is still under way is served as before"
        until("then the waypoint forgets it", lambda: mine not in wp.state[BINDING])
    with stream_of(plane, api, town, "wp") as wp:
        assert any((attach(), detach())[0] for _ in range(6)), "on a slow machine it takes a second, but not every time"
        wp.ack = False
        use(api, town, "web", "wp")
        until("a silent waypoint holds up nobody", is_bound, 3)
    proxy.close()


def test_other_namespaces_need_leave(api, town, ns, channel, proxy_token):
    far = named("Namespace", ns + "-far")
    api.create(far)
    stand(api, ns + "-far", "same")
    stand(api, ns + "-far", "open", allowed="All")
    for svc, name in (("web", "same"), ("v2", "open")):
        api.patch(named("Service", svc, town), {"metadata": {"labels": {
            "istio.io/use-waypoint": name, "istio.io/use-waypoint-namespace": ns + "-far"}}})
    proxy = Ads(channel, proxy_token).first()
    until("v2 has it", lambda: proxy.message(ADDRESS, host(town, "v2")).service.waypoint.hostname.namespace ==
          ns + "-far")
    denied = until("web has not", lambda: condition(api.get(named("Service", "web", town)),
                                                    "istio.io/WaypointBound"))
    assert denied[:2] == ("False", "AttachmentDenied") and "missing allowedRoutes?" in denied[2]
    assert proxy.message(ADDRESS, host(town, "web")).service.waypoint.hostname.hostname == \
        f"refused.same.{ns}-far.svc.cluster.local", "it is not let past"
    proxy.close()
    api.delete(far)


# ---- routes


def test_an_http_route_becomes_rules(plane, api, town, standing):
    use(api, town, "web", "wp")
    api.create(route("r", town, "web", [
        {"name": "special", "matches": [{"path": {"type": "Exact", "value": "/a"}, "method": "GET",
                                         "headers": [{"name": "X-A", "value": "1"}],
                                         "queryParams": [{"type": "RegularExpression", "name": "q", "value": "b+"}]}],
         "filters": [{"type": "RequestHeaderModifier",
                      "requestHeaderModifier": {"set": [{"name": "s", "value": "1"}], "remove": ["x"]}},
                     {"type": "RequestMirror", "requestMirror": {"backendRef": {"name": "v2", "port": 80},
                                                                 "percent": 20}},
                     {"type": "URLRewrite", "urlRewrite": {"hostname": "h.example",
                                                           "path": {"type": "ReplaceFullPath",
                                                                    "replaceFullPath": "/b"}}}],
         "backendRefs": [{"name": "web", "port": 80, "weight": 90}, {"name": "v2", "port": 80, "weight": 10},
                         {"name": "gone", "port": 80}],
         "timeouts": {"request": "10s", "backendRequest": "2s"},
         "retry": {"codes": [503], "attempts": 3, "backoff": "100ms"}},
        {"filters": [{"type": "RequestRedirect", "requestRedirect": {"scheme": "https", "port": 8443,
                                                                     "statusCode": 301}}]}], port=80))
    base = f"{town}/wp/{host(town, 'web')}/80/HTTPRoute/{town}/r"
    with stream_of(plane, api, town, "wp") as wp:
        until("both rules are there", lambda: sorted(wp.state[ROUTE]) == [f"{base}/0", f"{base}/1"])
        one = wp.message(ROUTE, f"{base}/0")
        assert (one.namespace, one.hostname, one.port, one.route_namespace, one.route_name, one.rule, one.rule_name) == \
            (town, f"web.{town}.svc.cluster.local", 80, town, "r", 0, "special")
        match = one.matches[0]
        assert (match.path.kind, match.path.value, match.method) == (waypoint.PathMatch.EXACT, "/a", "GET")
        assert [(h.name, h.kind, h.value) for h in match.headers] == [("X-A", 0, "1")]
        assert [(q.name, q.kind, q.value) for q in match.query] == [("q", waypoint.ValueMatch.REGEX, "b+")]
        kinds = [f.WhichOneof("what") for f in one.filters]
        assert kinds == ["request_headers", "mirror", "rewrite"]
        assert (one.filters[1].mirror.numerator, one.filters[1].mirror.denominator) == (20, 100)
        assert one.filters[1].mirror.backend.hostname == f"v2.{town}.svc.cluster.local"
        assert (one.filters[2].rewrite.hostname, one.filters[2].rewrite.path.value) == ("h.example", "/b")
        assert [(b.hostname, b.port, b.weight) for b in one.backends] == [
            (f"web.{town}.svc.cluster.local", 80, 90), (f"v2.{town}.svc.cluster.local", 80, 10), ("", 0, 1)]
        assert [b.protocol for b in one.backends] == [waypoint.HTTP, waypoint.HTTP, waypoint.UNKNOWN]
        assert "not found" in one.backends[2].invalid
        assert (one.request_timeout_ms, one.backend_timeout_ms) == (10000, 2000)
        assert (one.retry.attempts, list(one.retry.codes), one.retry.backoff_ms) == (3, [503], 100)
        assert one.created_s > 1700000000
        two = wp.message(ROUTE, f"{base}/1")
        assert (two.filters[0].redirect.scheme, two.filters[0].redirect.port, two.filters[0].redirect.status) == \
            ("https", 8443, 301)
        assert (two.matches[0].path.kind, two.matches[0].path.value) == (waypoint.PathMatch.PREFIX, "/")
        seen = until("the status is written", lambda: parent_conditions(api.get(route("r", town, "web", []))))
        assert seen == {"Accepted": ("True", "Accepted"), "ResolvedRefs": ("False", "BackendNotFound"),
                        "ResolvedWaypoints": ("True", "ResolvedWaypoints")}
        missing = api.get(route("r", town, "web", []))["status"]["parents"][0]["conditions"]
        assert [c["message"] for c in missing if c["type"] == "ResolvedRefs"] == [
            f"backend(gone.{town}.svc.cluster.local) not found; spec.rules[0].backendRefs[2]"]
        wp.drain()
        api.create(service("gone", town))
        answer = wp.next()
        assert (answer.type, answer.names) == (ROUTE, [f"{base}/0"]), "only what has changed is sent"
        assert wp.message(ROUTE, f"{base}/0").backends[2].invalid == ""
        until("the status follows",
              lambda: parent_conditions(api.get(route("r", town, "web", [])))["ResolvedRefs"][0] == "True")
        api.delete(route("r", town, "web", []))
        until("the rules go", lambda: wp.state[ROUTE] == {})


def test_rules_that_nobody_can_read_are_left_out(plane, api, town, standing):
    use(api, town, "web", "wp")
    bad = {"matches": [{"path": {"type": "RegularExpression", "value": "/a(?=b)"}}]}
    api.create(route("r", town, "web", [bad, {"backendRefs": [{"name": "v2", "port": 80}]}]))
    with stream_of(plane, api, town, "wp") as wp:
        until("the good one is there", lambda: list(wp.state[ROUTE]) == [
            f"{town}/wp/{host(town, 'web')}/0/HTTPRoute/{town}/r/1"])
        until("it says so", lambda: parent_conditions(api.get(route("r", town, "web", []))).get(
            "PartiallyInvalid") == ("True", "UnsupportedValue"))
        api.patch(route("r", town, "web", []), {"spec": {"rules": [bad]}})
        until("none is left", lambda: wp.state[ROUTE] == {})
        until("it says so", lambda: parent_conditions(api.get(route("r", town, "web", []))).get(
            "Accepted") == ("False", "UnsupportedValue"))


def test_kinds_are_not_mixed_on_a_port(plane, api, town, standing):
    use(api, town, "web", "wp")
    api.create(route("h", town, "web", [{"backendRefs": [{"name": "v2", "port": 80}]}]))
    api.create(route("t", town, "web", [{"backendRefs": [{"name": "v2", "port": 80}]}], kind="TCPRoute"))
    prefix = f"{town}/wp/{host(town, 'web')}"
    with stream_of(plane, api, town, "wp") as wp:
        until("HTTP goes before TCP", lambda: list(wp.state[ROUTE]) == [f"{prefix}/0/HTTPRoute/{town}/h/0"])
        api.create(route("g", town, "web", [
            {"matches": [{"method": {"service": "a.B", "method": "Get"}}, {"method": {"service": "a.B"}},
                         {"method": {"method": "Get"}}], "backendRefs": [{"name": "v2", "port": 80}]}],
            kind="GRPCRoute", port=81))
        until("gRPC takes its port", lambda: sorted(wp.state[ROUTE]) == [f"{prefix}/80/HTTPRoute/{town}/h/0",
                                                                         f"{prefix}/81/GRPCRoute/{town}/g/0"])
        paths = [(m.path.kind, m.path.value) for m in wp.message(ROUTE, f"{prefix}/81/GRPCRoute/{town}/g/0").matches]
        assert paths == [(waypoint.PathMatch.EXACT, "/a.B/Get"), (waypoint.PathMatch.PREFIX, "/a.B"),
                         (waypoint.PathMatch.REGEX, "/[^/]+/Get")]
        api.delete(route("h", town, "web", []))
        until("TCP has what is left", lambda: sorted(wp.state[ROUTE]) == [f"{prefix}/80/TCPRoute/{town}/t/0",
                                                                          f"{prefix}/81/GRPCRoute/{town}/g/0"])


def test_references_are_checked(plane, api, town, standing):
    far = named("Namespace", town + "-far")
    api.create(far)
    api.create(service("other", town + "-far"))
    use(api, town, "web", "wp")
    api.create(route("r", town, "web", [{"backendRefs": [
        {"name": "other", "namespace": town + "-far", "port": 80}]}], port=80))
    api.create(route("lost", town, "web", [{"backendRefs": [{"name": "v2", "port": 80}]}], port=99))
    api.create(route("consumer", town + "-far", "web", [{"backendRefs": [
        {"name": "other", "port": 80}, {"name": "web", "namespace": town, "port": 80},
        {"name": "v2", "namespace": town, "port": 80}]}], parent_ns=town, port=80))
    name = f"{town}/wp/{host(town, 'web')}/80/HTTPRoute/{town}/r/0"
    with stream_of(plane, api, town, "wp") as wp:
        foreign = f"{town}/wp/{host(town, 'web')}/80/HTTPRoute/{town}-far/consumer/0"
        until("the rules are there", lambda: set(wp.state[ROUTE]) == {name, foreign})
        assert wp.message(ROUTE, name).consumer_namespace == ""
        assert wp.message(ROUTE, foreign).consumer_namespace == town + "-far"
        backends = wp.message(ROUTE, foreign).backends
        assert [b.invalid for b in backends[:2]] == ["", ""], "its own, and the parent itself"
        assert "ReferenceGrant" in backends[2].invalid, "another of the parent's namespace"
        assert "ReferenceGrant" in wp.message(ROUTE, name).backends[0].invalid
        until("it says so", lambda: parent_conditions(api.get(route("r", town, "web", []))).get("ResolvedRefs") ==
              ("False", "RefNotPermitted"))
        for bad in ({"group": GROUP, "kind": "GRPCRoute", "namespace": town},
                    {"group": GROUP, "kind": "HTTPRoute", "namespace": "elsewhere"}):
            api.create(grant(town + "-far", bad))
        api.create(grant(town + "-far", {"group": GROUP, "kind": "HTTPRoute", "namespace": town},
                         {"group": "", "kind": "Service", "name": "another"}))
        until("they are there", lambda: len(api.ask("GET", planes.Api.path(grant(town + "-far"), False))["items"]) == 3)
        assert "ReferenceGrant" in wp.message(ROUTE, name).backends[0].invalid, "none of these is for it"
        api.create(grant(town + "-far", {"group": GROUP, "kind": "HTTPRoute", "namespace": town}))
        until("it is let through", lambda: wp.message(ROUTE, name).backends[0].hostname ==
              f"other.{town}-far.svc.cluster.local")
        until("it says so", lambda: parent_conditions(api.get(route("r", town, "web", [])))["ResolvedRefs"] ==
              ("True", "ResolvedRefs"))
    assert parent_conditions(api.get(route("lost", town, "web", [])))["Accepted"] == ("False", "NoMatchingParent")
    consumer = parent_conditions(api.get(route("consumer", town + "-far", "web", [])))
    assert consumer["Accepted"] == ("True", "Accepted")
    assert consumer["ResolvedRefs"] == ("False", "RefNotPermitted")
    api.delete(far)


def test_an_external_name_is_no_backend(plane, api, town, standing):
    outside = service("outside", town)
    outside["spec"].update(type="ExternalName", externalName="db.example")
    outside["spec"].pop("clusterIP", None)
    api.create(outside)
    use(api, town, "web", "wp")
    api.create(route("r", town, "web", [{"backendRefs": [{"name": "outside", "port": 80}]}], port=80))
    with stream_of(plane, api, town, "wp") as wp:
        until("the rule is there", lambda: list(wp.state[ROUTE]))
        assert "ExternalName" in wp.message(ROUTE, list(wp.state[ROUTE])[0]).backends[0].invalid
    until("it says so", lambda: parent_conditions(api.get(route("r", town, "web", []))).get("ResolvedRefs") ==
          ("False", "BackendNotFound"))


def grant(ns, source=None, to=None):
    grant.number = getattr(grant, "number", 0) + 1
    return {"apiVersion": f"{GROUP}/v1beta1", "kind": "ReferenceGrant",
            "metadata": {"name": f"g{grant.number}", "namespace": ns},
            "spec": {"from": [source or {}], "to": [to or {"group": "", "kind": "Service"}]}}


# ---- policies and traffic


def test_policies_go_to_the_waypoint_of_their_target(plane, api, town, standing):
    use(api, town, "web", "wp")
    api.create(policy("deny", town, "DENY", [
        {"from": [{"source": {"principals": ["p"], "serviceAccounts": ["a", "x/b"]}}],
         "to": [{"operation": {"methods": ["GET"], "paths": ["/admin/{*}"]}}],
         "when": [{"key": "request.headers[x]", "values": ["1"]}]}], targetRefs=[target("web")]))
    api.create(policy("all", town, "ALLOW", [{}], targetRefs=[target("wp", "Gateway")]))
    api.create(policy("l4", town, "DENY", [{}], selector={"matchLabels": {"app": "none"}}))
    api.create(policy("nobody", town, "DENY", [{}], targetRefs=[target("v2")]))
    api.create({"apiVersion": "security.istio.io/v1", "kind": "RequestAuthentication",
                "metadata": {"name": "jwt", "namespace": town},
                "spec": {"targetRefs": [target("web")], "jwtRules": [
                    {"issuer": "me", "jwks": '{"keys":[]}', "audiences": ["a"], "fromHeaders": [
                        {"name": "x-t", "prefix": "T "}], "outputClaimToHeaders": [{"header": "h", "claim": "c"}]}]}})
    prefix, web = f"{town}/wp/", host(town, "web")
    want = [f"{prefix}{web}/AuthorizationPolicy/{town}/deny", f"{prefix}{web}/RequestAuthentication/{town}/jwt",
            f"{prefix}AuthorizationPolicy/{town}/all"]
    with stream_of(plane, api, town, "wp") as wp:
        until("they are there", lambda: sorted(wp.state[POLICY]) == sorted(want))
        deny = wp.message(POLICY, want[0])
        assert (deny.namespace, deny.name, deny.service_hostname) == (town, "deny", f"web.{town}.svc.cluster.local")
        rule = deny.authorization.rules[0]
        assert deny.authorization.action == waypoint.Authorization.DENY
        assert list(getattr(rule, "from")[0].service_accounts) == [f"{town}/a", "x/b"]
        assert (list(rule.to[0].methods), list(rule.to[0].paths)) == (["GET"], ["/admin/{*}"])
        assert (rule.when[0].key, list(rule.when[0].values)) == ("request.headers[x]", ["1"])
        jwt = wp.message(POLICY, want[1]).authentication.rules[0]
        assert (jwt.issuer, jwt.jwks, jwt.from_headers[0].prefix, jwt.output_claim_to_headers[0].claim) == \
            ("me", '{"keys":[]}', "T ", "c")
        assert wp.message(POLICY, want[2]).service_hostname == ""
    for name, said in (("deny", ("True", "Accepted", f"bound to {town}/wp")),
                       ("all", ("True", "Accepted", f"bound to {town}/wp")),
                       ("nobody", ("False", "AncestorNotBound", f"Service {town}/v2 is not bound to a waypoint"))):
        until(f"{name} is judged", lambda n=name, s=said: condition(api.get(policy(n, town)), "WaypointAccepted") == s)
    assert condition(api.get(policy("l4", town)), "WaypointAccepted") is None


def test_a_waypoint_has_policy_for_as_long_as_it_serves(plane, api, town, standing):
    """Every answer is in force at once, so not one may take away a policy before the binding."""
    naked, name = [], f"{town}/{standing}/{host(town, 'web')}"

    def look(answer):
        if name in ads.state[BINDING] and not [p for p in ads.state[POLICY] if p.startswith(name + "/")]:
            naked.append((answer.type, answer.removed))

    api.create(policy("no-admin", town, "DENY", [{"to": [{"operation": {"paths": ["/admin"]}}]}],
                      targetRefs=[target("web")]))
    with stream_of(plane, api, town, standing) as ads:
        ads.on_answer = look
        use(api, town, "web", standing)
        until("it serves", lambda: name in ads.state[BINDING])
        use(api, town, "web", None)
        until("it serves no more", lambda: name not in ads.state[BINDING] and not ads.state[POLICY])
        use(api, town, "web", standing)
        until("it serves again", lambda: name in ads.state[BINDING])
        api.delete(gateway(standing, town))
        until("it serves nothing", lambda: name not in ads.state[BINDING] and not ads.state[POLICY])
    assert not naked


def test_a_waypoint_that_comes_back_hears_of_no_binding_before_its_policy(plane, api, town, standing):
    """What is bound between its first questions; when the answer about bindings is written is ambitd's affair."""
    naked, name = [], f"{town}/{standing}/{host(town, 'web')}"
    api.create(policy("no-admin", town, "DENY", [{"to": [{"operation": {"paths": ["/admin"]}}]}],
                      targetRefs=[target("web")]))
    for n in range(8):
        with stream_of(plane, api, town, standing, kinds=(POLICY,)) as ads:
            ads.state[BINDING] = {}
            until("it is not served", lambda ads=ads: not ads.state[POLICY])

            def look(answer, ads=ads):
                if name in ads.state[BINDING] and not ads.state[POLICY]:
                    naked.append((answer.type, answer.names))
            ads.on_answer = look
            use(api, town, "web", standing)
            time.sleep(n * 0.015)
            ads.send(BINDING, subscribe=["*"])
            until("it serves", lambda ads=ads: name in ads.state[BINDING])
            use(api, town, "web", None)
            until("it serves no more", lambda ads=ads: name not in ads.state[BINDING] and not ads.state[POLICY])
    assert not naked


def test_traffic_rules_follow_services_and_backends(plane, api, town, standing):
    use(api, town, "web", "wp")
    rule = {"apiVersion": "networking.istio.io/v1", "kind": "DestinationRule",
            "metadata": {"name": "d", "namespace": town},
            "spec": {"host": "v2", "trafficPolicy": {
                "loadBalancer": {"consistentHash": {"httpCookie": {"name": "c", "ttl": "5s"}}},
                "connectionPool": {"tcp": {"maxConnections": 7, "connectTimeout": "0.5s"}},
                "outlierDetection": {"consecutive5xxErrors": 3, "interval": "1s"},
                "portLevelSettings": [{"port": {"number": 80}, "loadBalancer": {"simple": "RANDOM"}}]}}}
    api.create(rule)
    name = f"{town}/wp/{host(town, 'v2')}"
    with stream_of(plane, api, town, "wp") as wp:
        assert wp.state[TRAFFIC] == {}, "nothing is sent there"
        api.create(route("r", town, "web", [{"backendRefs": [{"name": "v2", "port": 80}]}]))
        until("it follows the backend", lambda: sorted(wp.state[TRAFFIC]) == [name, f"{name}/80"])
        whole, port = wp.message(TRAFFIC, name), wp.message(TRAFFIC, f"{name}/80")
        assert (whole.balance, whole.hash.cookie, whole.hash.cookie_ttl_ms, whole.hash.make_cookie) == \
            (waypoint.Traffic.CONSISTENT_HASH, "c", 5000, True)
        assert (whole.limits.connections, whole.limits.connect_timeout_ms) == (7, 500)
        assert (whole.outlier.consecutive_5xx, whole.outlier.interval_ms, whole.outlier.base_ejection_ms,
                whole.outlier.max_ejection_percent) == (3, 1000, 30000, 10)
        assert (port.port, port.balance, port.limits.connections) == (80, waypoint.Traffic.RANDOM, 7)
        api.delete(rule)
        until("it goes", lambda: wp.state[TRAFFIC] == {})


# ---- no bypass


def guards_of(proxy, ns, name):
    there = proxy.message(ADDRESS, uid(ns, name)).workload.authorization_policies
    return sorted(n for n in there if "/ambit_only_" in n)


def test_guarded_pods_take_only_the_waypoint(api, town, standing, channel, proxy_token):
    proxy = Ads(channel, proxy_token).first()
    proxy.send(AUTHORIZATION)
    use(api, town, "web", "wp")
    until("the service is bound", lambda: proxy.message(ADDRESS, host(town, "web")).service.HasField("waypoint"))
    assert guards_of(proxy, town, "web-1") == [], "without policy of layer 7 there is nothing to get around"
    api.create(policy("p", town, "DENY", [{"to": [{"operation": {"paths": ["/admin"]}}]}], targetRefs=[target("web")]))
    names = [f"{town}/ambit_only_{town}_wp_8080", f"{town}/ambit_only_{town}_wp_8081"]
    until("its ports are guarded", lambda: guards_of(proxy, town, "web-1") == names)
    until("the guards are there", lambda: all(n in proxy.state[AUTHORIZATION] for n in names))
    guard = proxy.message(AUTHORIZATION, names[0])
    match = guard.rules[0].clauses[0].matches[0]
    assert (guard.action, guard.scope) == (1, 2)
    assert [m.exact for m in match.not_principals] == [f"cluster.local/ns/{town}/sa/wp"]
    assert list(match.destination_ports) == [8080]
    shared = service("direct", town, selector={"app": "web"}, ports=((90, 8080),))
    api.create(shared)
    until("a port that others use stays open", lambda: guards_of(proxy, town, "web-1") == names[1:])
    assert names[0] not in proxy.state[AUTHORIZATION] or until(
        "its guard goes", lambda: names[0] not in proxy.state[AUTHORIZATION])
    api.delete(shared)
    until("it is guarded again", lambda: guards_of(proxy, town, "web-1") == names)
    api.patch(named("Service", "web", town), {"metadata": {"annotations": {"ambit.io/waypoint-bypass": "allow"}}})
    until("the user may switch it off", lambda: guards_of(proxy, town, "web-1") == [])
    api.patch(named("Service", "web", town), {"metadata": {"annotations": {"ambit.io/waypoint-bypass": None}}})
    until("and on", lambda: guards_of(proxy, town, "web-1") == names)
    api.delete(policy("p", town))
    until("nothing is left to guard", lambda: guards_of(proxy, town, "web-1") == [])
    until("nor a trace of it", lambda: not any("/ambit_only_" in n and n.startswith(town)
                                               for n in proxy.state[AUTHORIZATION]))
    proxy.close()


def test_guards_and_waypoints_change_one_after_the_other(api, town, standing, channel, proxy_token):
    """At the label the guards wait for every node proxy, without it the waypoint does; none of them is waited for long."""
    api.create(policy("p", town, "DENY", [{"to": [{"operation": {"paths": ["/admin"]}}]}], targetRefs=[target("web")]))
    proxy, slow = Ads(channel, proxy_token).first(), Ads(channel, proxy_token).first()
    guards = [f"{town}/ambit_only_{town}_wp_8080", f"{town}/ambit_only_{town}_wp_8081"]

    def seen(stream):
        bound = stream.message(ADDRESS, host(town, "web")).service.HasField("waypoint")
        return bound, guards_of(stream, town, "web-1")
    until("both know the service", lambda: all(host(town, "web") in s.state[ADDRESS] for s in (proxy, slow)))
    past = {proxy: [], slow: []}
    for stream, states in past.items():
        stream.on_answer = lambda _, stream=stream, states=states: states.append(seen(stream))

    def change(wish, between, after):
        """Whether the acknowledgement ended the wait, which is a second, and follows on a pause of 0.1 s."""
        slow.drain()
        slow.ack = False
        for states in past.values():
            states.clear()
        asked = Stopwatch()
        use(api, town, "web", wish)
        until("the first is published", lambda: all(between in states for states in past.values()))
        time.sleep(0.2)
        assert seen(proxy) == between or asked.seconds > 1, "one has not acknowledged, and is waited for a second"
        slow.ack = True
        slow.send(ADDRESS, response_nonce=slow.newest().nonce)
        until("now the second is", lambda: seen(proxy) == after)
        return asked.seconds < 1.1
    early = set()
    for _ in range(6):  # on a slow machine it takes a second, but not every time
        for what in (("wp", (True, []), (True, guards)), ("none", (True, []), (False, []))):
            if change(*what):
                early.add(what[0])
        if len(early) == 2:
            break
    assert early == {"wp", "none"}
    slow.ack = False
    use(api, town, "web", "wp")
    until("a silent one holds up nobody", lambda: seen(proxy) == (True, guards), 3)
    use(api, town, "web", "none")
    until("nor then", lambda: seen(proxy) == (False, []), 3)
    proxy.close()
    slow.close()


def test_guards_outlast_the_gateway_and_know_the_waypoints_of_others(api, town, standing, channel, proxy_token):
    proxy = Ads(channel, proxy_token).first()
    proxy.send(AUTHORIZATION)
    use(api, town, "web", "wp")
    api.create(policy("p", town, "DENY", [{"to": [{"operation": {"paths": ["/admin"]}}]}], targetRefs=[target("web")]))
    names = [f"{town}/ambit_only_{town}_wp_8080", f"{town}/ambit_only_{town}_wp_8081"]
    until("its ports are guarded", lambda: guards_of(proxy, town, "web-1") == names)
    shared = service("beside", town, selector={"app": "web"}, ports=((90, 8080),))
    shared["metadata"]["labels"] = {"istio.io/use-waypoint": "wp"}
    api.create(shared)
    until("a service without policy, of the same waypoint", lambda: proxy.message(ADDRESS, host(town, "beside")) and
          proxy.message(ADDRESS, host(town, "beside")).service.HasField("waypoint"))
    assert guards_of(proxy, town, "web-1") == names
    use(api, town, "beside", "else")
    both = [f"{town}/ambit_only_{town}_else_{town}_wp_8080", names[1]]
    until("of another one: both may come", lambda: guards_of(proxy, town, "web-1") == both)
    until("the guard is there", lambda: both[0] in proxy.state[AUTHORIZATION])
    match = proxy.message(AUTHORIZATION, both[0]).rules[0].clauses[0].matches[0]
    assert sorted(m.exact for m in match.not_principals) == [f"cluster.local/ns/{town}/sa/{n}" for n in ("else", "wp")]
    use(api, town, "beside", "wp")
    until("of the same again", lambda: guards_of(proxy, town, "web-1") == names)
    api.delete(gateway("wp", town))
    until("the gateway is gone", lambda: not has(api, gateway("wp", town)))
    until("both are refused", lambda: all(proxy.message(ADDRESS, host(town, s)).service.HasField("waypoint") for s in ("web", "beside")))
    until("no client is told of the waypoint", lambda: host(town, "wp") not in proxy.state[ADDRESS])
    assert guards_of(proxy, town, "web-1") == names, "pods do not open because their waypoint is gone"
    proxy.close()


def test_a_gateway_that_is_made_again_lets_nobody_past_policy_at_any_moment(api, town, standing, channel, proxy_token):
    """`web` has policy; `beside` has none and the same port of the same pod. Whatever a node proxy is told in between,
    clients of `web` are sent to the waypoint or nowhere, and the pod takes nobody but the waypoint."""
    shared = service("beside", town, selector={"app": "web"}, ports=((90, 8080),))
    shared["metadata"]["labels"] = {"istio.io/use-waypoint": "wp"}
    api.create(shared)
    use(api, town, "web", "wp")
    api.create(policy("p", town, "DENY", [{"to": [{"operation": {"paths": ["/admin"]}}]}], targetRefs=[target("web")]))
    proxy = Ads(channel, proxy_token).first()
    proxy.send(AUTHORIZATION)
    guard = f"{town}/ambit_only_{town}_wp_8080"
    until("it is guarded", lambda: guard in proxy.state[AUTHORIZATION] and guard in guards_of(proxy, town, "web-1"))
    until("beside is bound", lambda: proxy.message(ADDRESS, host(town, "beside")).service.HasField("waypoint"))
    seen, open_at = set(), []

    def look(_):
        web = proxy.message(ADDRESS, host(town, "web")).service
        beside = proxy.message(ADDRESS, host(town, "beside")).service
        sent = web.waypoint.hostname.hostname if web.HasField("waypoint") else None
        only = [m.exact for m in proxy.message(AUTHORIZATION, guard).rules[0].clauses[0].matches[0].not_principals] \
            if guard in proxy.state[AUTHORIZATION] else None  # named and not known: the node proxy denies
        seen.add((sent, beside.HasField("waypoint")))
        if not sent or guard not in guards_of(proxy, town, "web-1") or only not in (None, [f"cluster.local/ns/{town}/sa/wp"]):
            open_at.append((sent, guards_of(proxy, town, "web-1"), only))
    proxy.on_answer = look
    mine = f"wp.{town}.svc.cluster.local"
    for _ in range(2):
        api.delete(gateway("wp", town))
        until("clients know that nobody has that name", lambda: host(town, "wp") not in proxy.state[ADDRESS])
        api.delete(pod("wp-0", town, None))
        api.create(gateway("wp", town))
        until("without policy it passes at layer 4 meanwhile",
              lambda: not proxy.message(ADDRESS, host(town, "beside")).service.HasField("waypoint"))
        until("its account is there", lambda: has(api, named("ServiceAccount", "wp", town)))
        time.sleep(0.3)
        api.create(pod("wp-0", town, "10.1.3.9", account="wp", captured=False, labels={f"{GROUP}/gateway-name": "wp"}))
        until("it is programmed", lambda: condition(api.get(gateway("wp", town)), "Programmed")[0] == "True")
        until("both are bound again", lambda: all(
            proxy.message(ADDRESS, host(town, s)).service.waypoint.hostname.hostname == mine for s in ("web", "beside")))
        time.sleep(0.3)
    assert not open_at, open_at
    assert {bound for _, bound in seen} == {True, False} and {s for s, _ in seen} >= {mine}
    proxy.close()


@pytest.mark.parametrize("rule, said", [
    ({"to": [{"operation": {"paths": ["/bad/{*"]}}]}, None),
    ({"to": [{"operation": {"hosts": ["x"]}}, {"operation": {"paths": ["/good", "/bad/{*}x"]}}]},
     "spec.rules[0].to[1].operation.paths[1]: '/bad/{*}x' is no template: {*} is a whole segment"),
    ({"to": [{"operation": {"notPorts": ["80", "http"]}}]},
     "spec.rules[0].to[0].operation.notPorts[1]: 'http' is no port: write a number from 1 to 65535"),
    ({"from": [{"source": {"notRemoteIpBlocks": ["10.0.0.300"]}}]},
     "spec.rules[0].from[0].source.notRemoteIpBlocks[0]: '10.0.0.300' is no address and no CIDR block"),
    ({"from": [{"source": {"trustDomains": ["a"]}}, {"source": {"trustDomains": [""]}}]},
     "spec.rules[0].from[1].source.trustDomains[0]: '' is empty"),
    ({"when": [{"key": "request.headers[a]", "values": ["x"]}, {"key": "source.ip", "values": ["1.2.3.4", "x"]}]},
     "spec.rules[0].when[1].values[1]: 'x' is no address"),
    ({"when": [{"key": "request.hdr", "values": ["x"]}]}, "spec.rules[0].when[0].key: 'request.hdr' is no key")])
def test_status_names_what_means_nothing(api, town, standing, rule, said):
    use(api, town, "web", "wp")
    api.create(policy("p", town, "DENY", [rule], targetRefs=[target("web")]))
    got = until("it is judged", lambda: condition(api.get(policy("p", town)), "WaypointAccepted"))
    assert (said in got[2]) if said else ("spec.rules" not in got[2])


def test_more_guarded_ports_than_are_counted_close_the_pod(api, town, standing, channel, proxy_token):
    proxy = Ads(channel, proxy_token).first()
    proxy.send(AUTHORIZATION)
    many = service("many", town, selector={"app": "web"}, ports=tuple((7000 + i, 9000 + i) for i in range(40)))
    many["metadata"]["labels"] = {"istio.io/use-waypoint": "wp"}
    api.create(many)
    api.create(policy("p", town, "DENY", [{"to": [{"operation": {"paths": ["/admin"]}}]}], targetRefs=[target("many")]))
    name = f"{town}/ambit_only_{town}_wp_0"
    until("all of its ports are guarded", lambda: guards_of(proxy, town, "web-1") == [name])
    until("the guard is there", lambda: name in proxy.state[AUTHORIZATION])
    match = proxy.message(AUTHORIZATION, name).rules[0].clauses[0].matches[0]
    assert [m.exact for m in match.not_principals] == [f"cluster.local/ns/{town}/sa/wp"] and not match.destination_ports
    proxy.close()


def test_policy_that_names_a_service_is_not_lost_to_a_waypoint_for_other_traffic(api, town, standing, channel, proxy_token):
    proxy = Ads(channel, proxy_token).first()
    use(api, town, "web", "wp")
    web = host(town, "web")
    until("web is bound", lambda: proxy.message(ADDRESS, web).service.HasField("waypoint"))
    api.patch(gateway("wp", town), {"metadata": {"labels": {"istio.io/waypoint-for": "workload"}}})
    until("without policy it is layer 4", lambda: not proxy.message(ADDRESS, web).service.HasField("waypoint"))
    api.create(policy("p", town, "DENY", [{"to": [{"operation": {"paths": ["/admin"]}}]}], targetRefs=[target("web")]))
    until("with policy it is refused", lambda: proxy.message(ADDRESS, web).service.HasField("waypoint"))
    assert proxy.message(ADDRESS, web).service.waypoint.hostname.hostname == f"refused.wp.{town}.svc.cluster.local"
    until("its pods are guarded", lambda: guards_of(proxy, town, "web-1") != [])
    said = until("it says so", lambda: condition(api.get(named("Service", "web", town)), "istio.io/WaypointBound"))
    until("and what to do", lambda: "waypoint-bypass" in condition(api.get(named("Service", "web", town)), "istio.io/WaypointBound")[2])
    assert said[0] == "False"
    api.patch(named("Service", "web", town), {"metadata": {"annotations": {"ambit.io/waypoint-bypass": "allow"}}})
    until("unless the user says so", lambda: not proxy.message(ADDRESS, web).service.HasField("waypoint"))
    proxy.close()


def test_a_missing_waypoint_refuses(api, town, standing, channel, proxy_token):
    proxy = Ads(channel, proxy_token).first()
    web, v2 = host(town, "web"), host(town, "v2")
    use(api, town, "web", "wp")
    use(api, town, "v2", "later")
    until("v2 is refused: nobody has that name", lambda: proxy.message(ADDRESS, v2).service.waypoint.hostname.hostname ==
          f"later.{town}.svc.cluster.local")
    said = until("it says so", lambda: condition(api.get(named("Service", "v2", town)), "istio.io/WaypointBound"))
    assert said[:2] == ("False", "WaypointIsNotReady")
    assert said[2].startswith(f'waypoint "{town}/later" is not ready; connections to the service are refused')
    api.create(gateway("later", town))
    until("one that is being set up and has no policy is waited for at layer 4",
          lambda: not proxy.message(ADDRESS, v2).service.HasField("waypoint"))
    api.create(policy("p", town, "DENY", [{}], targetRefs=[target("v2")]))
    until("with policy it is not", lambda: proxy.message(ADDRESS, v2).service.HasField("waypoint"))
    api.patch(named("Service", "v2", town), {"metadata": {"annotations": {"ambit.io/waypoint-bypass": "allow"}}})
    until("unless the user says so", lambda: not proxy.message(ADDRESS, v2).service.HasField("waypoint"))
    until("web is bound", lambda: proxy.message(ADDRESS, web).service.HasField("waypoint"))
    api.delete(pod("wp-0", town, None))
    until("the waypoint has no pod", lambda: condition(api.get(gateway("wp", town)), "Programmed")[0] == "False")
    assert proxy.message(ADDRESS, web).service.waypoint.hostname.hostname == f"wp.{town}.svc.cluster.local", \
        "its waypoint stays its waypoint, though nobody answers there"
    api.delete(gateway("wp", town))
    until("the gateway is gone", lambda: not has(api, gateway("wp", town)))
    until("web is refused", lambda: proxy.message(ADDRESS, web).service.waypoint.hostname.hostname in
          (f"wp.{town}.svc.cluster.local", f"refused.wp.{town}.svc.cluster.local"))
    until("and the host is nobody's", lambda: host(town, "wp") not in proxy.state[ADDRESS])
    use(api, town, "web", None)
    until("without the label it is layer 4 again", lambda: not proxy.message(ADDRESS, web).service.HasField("waypoint"))
    proxy.close()


# ---- on a cluster


def test_on_a_cluster_a_gateway_becomes_a_deployment(plane, api, ns, tmp_path):
    """The API server of one control plane is the cluster of another."""
    second = planes.Process("ambitd-cluster", [
        planes.os.path.join(planes.BUILD, "ambitd"), "--kubeconfig", planes.os.path.join(plane.data, "admin.kubeconfig"),
        "--data", str(tmp_path / "data"), "--listen", planes.free_address(), "--monitoring", "", "--readiness", "",
        "--admin", "", "--waypoint-image", "registry.example/waypoint:7"], str(tmp_path))
    try:
        second.wait_text("\tready", 20)
        api.create(gateway("wp", ns, **{"ambit.io/replicas": "2"}))
        made = until("its deployment is there", lambda: has(api, named("Deployment", "wp", ns)))
        spec = made["spec"]["template"]["spec"]
        assert (made["spec"]["replicas"], spec["containers"][0]["image"], spec["serviceAccountName"]) == \
            (2, "registry.example/waypoint:7", "wp")
        assert made["metadata"]["managedFields"][0]["manager"] == "istio.io/gateway-controller"
        assert made["metadata"]["managedFields"][0]["operation"] == "Apply"
        api.patch(gateway("wp", ns), {"metadata": {"annotations": {"ambit.io/replicas": "3"}}})
        until("it is scaled", lambda: api.get(named("Deployment", "wp", ns))["spec"]["replicas"] == 3)
        api.patch(named("Deployment", "wp", ns), {"spec": {"replicas": 1, "template": {"spec": {"serviceAccountName": "x"}}}})
        until("it is put right again", lambda: api.get(named("Deployment", "wp", ns))["spec"]["replicas"] == 3)
        assert api.get(named("Deployment", "wp", ns))["spec"]["template"]["spec"]["serviceAccountName"] == "wp"
        api.patch(gateway("wp", ns), {"metadata": {"annotations": {"ambit.io/replicas": None}}})

        def is_left_alone():
            api.patch(named("Deployment", "wp", ns), {"spec": {"replicas": 5}})
            time.sleep(0.5)
            return api.get(named("Deployment", "wp", ns))["spec"]["replicas"] == 5
        until("who scales decides", is_left_alone)
        api.delete(named("Deployment", "wp", ns))
        until("it is made again", lambda: has(api, named("Deployment", "wp", ns)))
        version = api.get(named("Deployment", "wp", ns))["metadata"]["resourceVersion"]
        api.create(pod("wp-0", ns, "10.1.0.9", account="wp", labels={f"{GROUP}/gateway-name": "wp"}))
        until("it is programmed", lambda: condition(api.get(gateway("wp", ns)), "Programmed")[0] == "True")
        assert api.get(named("Deployment", "wp", ns))["metadata"]["resourceVersion"] == version, \
            "what does not change is not written"
        api.delete(gateway("wp", ns))
        until("it goes with its gateway", lambda: not has(api, named("Deployment", "wp", ns)))
    finally:
        assert second.stop(20) == 0
