# SPDX-License-Identifier: Apache-2.0
"""Who may connect: policies on new and on living connections, and what happens when a policy cannot be had."""
import pytest

from lib import app, client, model, netns, peers, topo, wait

CLIENT = "cluster.local/ns/shop/sa/client"
SERVER4, SERVER6 = topo.pod4(2, 1), topo.pod6(2, 1)
DENIED = "connection closed due to policy rejection: "


def allowed(mesh, pod, host=SERVER4, port=app.ECHO):
    return client.outcome(mesh.ns(pod), host, port) == "served"


def denied(mesh, pod, host=SERVER4, port=app.ECHO):
    return client.is_cut(client.outcome(mesh.ns(pod), host, port))


# Each: the policies, and who may (p11 client, p12 other, p13 client of prod, p22 without identity).
TABLE = {
    "deny a principal": ([model.policy("p", model.DENY, model.only(principals=[CLIENT]))], "p12 p13 p22"),
    "allow a principal": ([model.policy("p", model.ALLOW, model.only(principals=[CLIENT]))], "p11"),
    "allow principals by prefix": ([model.policy("p", model.ALLOW, model.only(principals=["cluster.local/ns/shop/*"]))],
                                   "p11 p12"),
    "allow principals by suffix": ([model.policy("p", model.ALLOW, model.only(principals=["*/sa/client"]))], "p11 p13"),
    "allow whoever has an identity": ([model.policy("p", model.ALLOW, model.only(principals=["*"]))], "p11 p12 p13"),
    "a principal is written without its scheme": (
        [model.policy("p", model.DENY, model.only(principals=[f"spiffe://{CLIENT}"]))], "p11 p12 p13 p22"),
    "deny a namespace": ([model.policy("p", model.DENY, model.only(namespaces=["prod"]))], "p11 p12 p22"),
    "allow other than a namespace": ([model.policy("p", model.ALLOW, model.only(not_namespaces=["prod"]))], "p11 p12 p22"),
    "allow a service account": ([model.policy("p", model.ALLOW, model.only(service_accounts=[("shop", "client")]))], "p11"),
    "deny a source address": ([model.policy("p", model.DENY, model.only(source_ips=[topo.pod4(1, 1) + "/32"]))],
                              "p12 p13 p22"),
    "allow a source network": ([model.policy("p", model.ALLOW, model.only(source_ips=["10.244.1.0/24"]))], "p11 p12 p13"),
    "deny the port": ([model.policy("p", model.DENY, model.only(destination_ports=[app.ECHO]))], ""),
    "deny another port": ([model.policy("p", model.DENY, model.only(destination_ports=[app.GREET]))], "p11 p12 p13 p22"),
    "deny the destination address": ([model.policy("p", model.DENY, model.only(destination_ips=[SERVER4 + "/32"]))], ""),
    "an empty match never matches": ([model.policy("p", model.DENY, [[model.match()]])], "p11 p12 p13 p22"),
    "a rule without clauses always does": ([model.policy("p", model.DENY, [])], ""),
    "allow nobody": ([model.policy("p", model.ALLOW)], ""),
    "deny wins over allow": ([model.policy("a", model.ALLOW, model.only(principals=["*"])),
                              model.policy("d", model.DENY, model.only(principals=[CLIENT]))], "p12 p13"),
    "clauses are joined by and": ([model.policy("p", model.ALLOW, [[model.match(principals=["*/sa/client"])],
                                                                   [model.match(namespaces=["prod"])]])], "p13"),
    "matches of a clause are joined by or": ([model.policy("p", model.ALLOW, [[model.match(principals=[CLIENT]),
                                                                               model.match(namespaces=["prod"])]])],
                                             "p11 p13"),
    "a policy for everyone": ([model.policy("p", model.DENY, model.only(principals=[CLIENT]), ns="istio-system",
                                            scope=model.GLOBAL)], "p12 p13 p22"),
    "a policy of another namespace": ([model.policy("p", model.DENY, [], ns="prod")], "p11 p12 p13 p22"),
    "a policy that nobody selects": ([model.policy("p", model.DENY, [], scope=model.SELECTOR)], "p11 p12 p13 p22"),
    "a dry run changes nothing": ([model.policy("p", model.DENY, [], dry_run=True),
                                   model.policy("q", model.ALLOW, dry_run=True)], "p11 p12 p13 p22"),
}


@pytest.mark.parametrize("what", TABLE)
def test_policy(mesh, what):
    policies, may = TABLE[what]
    mesh.cp.push(*policies)
    got = {pod for pod in ("p11", "p12", "p13", "p22") if allowed(mesh, pod)}
    assert got == set(may.split())


def test_an_address_rule_holds_for_ipv6_too(mesh):
    mesh.cp.push(model.policy("p", model.DENY, model.only(source_ips=["fd44:1::/64"])))
    assert denied(mesh, "p11", SERVER6) and allowed(mesh, "p22", SERVER6) and allowed(mesh, "p11", SERVER4)


def test_a_refusal_is_logged_with_its_reason_and_counted(mesh):
    mesh.cp.push(model.policy("no-client", model.DENY, model.only(principals=[CLIENT])))
    since = {n: mesh[n].mark() for n in (1, 2)}
    assert denied(mesh, "p11")
    level, _, fields = mesh[1].only_access(since[1], direction="outbound", dst_workload="web-1")
    assert (level, fields["error"]) == ("error", "http status: 401 Unauthorized")
    level, _, fields = mesh[2].only_access(since[2], direction="inbound", dst_workload="web-1")
    assert (level, fields["error"]) == ("error", DENIED + "explicitly denied by: shop/no-client")
    wait.until("counted with its flag", lambda: mesh[2].metric(
        "istio_tcp_connections_failed_total", response_flags="DENY", reporter="destination",
        destination_workload="web-1-app") >= 1)
    mesh.cp.push(model.policy("no-client", model.ALLOW, model.only(namespaces=["nowhere"])))
    assert denied(mesh, "p11")
    mesh[2].wait_access(since[2], error=DENIED + "allow policies exist, but none allowed")


def test_the_tunnel_outlives_a_refused_connection(mesh):
    client.echo(mesh.ns("p11"), SERVER4)
    before = [t for t in mesh.tunnels("p21") if t[0] == topo.pod4(1, 1)]
    mesh.cp.push(model.policy("no-echo", model.DENY, model.only(destination_ports=[app.ECHO])))
    assert denied(mesh, "p11") and client.greet(mesh.ns("p11"), SERVER4)
    assert [t for t in mesh.tunnels("p21") if t[0] == topo.pod4(1, 1)] == before


# ---- strict mutual TLS

def test_strict_refuses_clear_text_and_only_that(mesh):
    mesh.cp.push(model.strict(), model.pod(2, 1, "web-1", "web", policies=["istio-system/converted_static_strict"]))
    assert denied(mesh, "p22") and denied(mesh, "p22", SERVER6)
    assert allowed(mesh, "p11") and allowed(mesh, "p11", SERVER6)
    assert allowed(mesh, "p22", topo.pod4(2, 3)), "a pod that did not ask for it is reached in the clear"


# ---- living connections

@pytest.mark.parametrize("pod", ["p11", "p22"], ids=["tunnel", "clear"])
@pytest.mark.parametrize("v", [4, 6])
def test_a_new_policy_cuts_a_living_connection_and_no_other(mesh, pod, v):
    host = SERVER4 if v == 4 else SERVER6
    source = {"p11": {4: topo.pod4(1, 1), 6: topo.pod6(1, 1)}, "p22": {4: topo.pod4(2, 2), 6: topo.pod6(2, 2)}}[pod][v]
    since = mesh[2].mark()
    with client.open_echo(mesh.ns(pod), host) as cut, client.open_echo(mesh.ns("p12"), host) as other:
        watch = wait.Stopwatch()
        mesh.cp.push(model.policy("late", model.DENY, model.only(source_ips=[f"{source}/{32 if v == 4 else 128}"])))
        client.wait_cut(cut)
        assert watch.seconds < 1 * wait.SCALE
        client.still_echoes(other)
    ((level, _, fields),) = mesh[2].wait_access(since, error="connection closed due to policy change")
    assert level == "error" and fields["dst.workload"] == "web-1"


def test_a_workload_that_becomes_strict_loses_who_came_in_the_clear(mesh):
    mesh.cp.push(model.strict())  # known to all, named by nobody
    with client.open_echo(mesh.ns("p22"), SERVER4) as cut, client.open_echo(mesh.ns("p11"), SERVER4) as other:
        mesh.cp.push(model.pod(2, 1, "web-1", "web", policies=["istio-system/converted_static_strict"]))
        client.wait_cut(cut)
        client.still_echoes(other)


def test_an_allow_that_goes_takes_with_it_whom_only_it_let_in(mesh):
    ours = model.policy("ours", model.ALLOW, model.only(principals=[CLIENT]))
    mesh.cp.push(ours, model.policy("prod", model.ALLOW, model.only(namespaces=["prod"])))
    with client.open_echo(mesh.ns("p11"), SERVER4) as cut, client.open_echo(mesh.ns("p13"), SERVER4) as other:
        mesh.cp.push(remove=[ours])
        client.wait_cut(cut)
        client.still_echoes(other)


def test_a_policy_that_goes_lets_in_again(mesh):
    no = model.policy("p", model.DENY, [])
    mesh.cp.push(no)
    assert denied(mesh, "p11")
    mesh.cp.push(remove=[no])
    assert allowed(mesh, "p11")


# ---- policies that are not there

def test_a_named_policy_that_never_comes_holds_two_seconds_and_then_refuses(mesh):
    mesh.cp.push(model.pod(2, 1, "web-1", "web", policies=["shop/not-here"]))
    watch = wait.Stopwatch()
    assert denied(mesh, "p11")
    assert 1.8 < watch.seconds < 2 + 1 * wait.SCALE
    assert denied(mesh, "p22"), "clear text is refused alike"


def test_a_named_policy_that_comes_in_time_decides(mesh):
    mesh.cp.push(model.pod(2, 1, "web-1", "web", policies=["shop/soon"]))
    with netns.connect(mesh.ns("p11"), SERVER4, app.ECHO) as sock:
        sock.sendall(b"?")
        sock.settimeout(0.2)  # it is held for two seconds
        with pytest.raises(TimeoutError):
            sock.recv(1)
        mesh.cp.push(model.policy("soon", model.ALLOW, model.only(principals=[CLIENT]), scope=model.SELECTOR))
        sock.settimeout(wait.SCALE)
        assert sock.recv(1) == b"?"
    assert denied(mesh, "p12")


def test_an_undecodable_policy_denies_its_subjects(mesh):
    since = mesh.cp.mark()
    odd = model.authorization.Authorization(name="bad", namespace="shop", scope=2, action=9)
    bad = model.Resource(model.AUTHORIZATION, "shop/bad", odd.SerializeToString())
    mesh.cp.push(bad, model.pod(2, 1, "web-1", "web", policies=["shop/bad"]))
    refusals = [e["error"] for e in mesh.cp.events("request", since) if e["error"]]
    assert refusals and all(e.startswith("shop/bad: ") for e in refusals)
    assert denied(mesh, "p11") and denied(mesh, "p22") and allowed(mesh, "p11", topo.pod4(1, 4))


def test_a_policy_that_does_not_even_say_whom_it_is_for_denies_its_namespace(mesh):
    mesh.cp.push(model.Resource(model.AUTHORIZATION, "shop/bad", b"\xff"))
    assert denied(mesh, "p11") and denied(mesh, "p22") and denied(mesh, "p11", topo.pod4(1, 4))


def test_an_undecodable_version_leaves_the_older_one_in_force(mesh):
    mesh.cp.push(model.policy("p", model.ALLOW, model.only(principals=[CLIENT])))
    assert allowed(mesh, "p11") and denied(mesh, "p12")
    mesh.cp.push(model.Resource(model.AUTHORIZATION, "shop/p", b"\xff"))
    assert allowed(mesh, "p11") and denied(mesh, "p12")


def test_a_policy_with_an_address_that_cannot_be_read_is_refused_as_a_whole(mesh):
    since = mesh.cp.mark()
    a = model.authorization.Authorization.FromString(
        model.policy("odd", model.DENY, model.only(source_ips=["10.0.0.0/8"])).octets)
    a.rules[0].clauses[0].matches[0].source_ips[0].address = b"12345"
    mesh.cp.push(model.Resource(model.AUTHORIZATION, "shop/odd", a.SerializeToString()),
                 model.pod(2, 1, "web-1", "web", policies=["shop/odd"]))
    assert any(e["error"] for e in mesh.cp.events("request", since))
    assert denied(mesh, "p11"), "what cannot be understood does not widen a match"


# ---- the answer on the wire

def test_a_refused_request_is_answered_with_401_and_the_next_may_succeed(solo):
    solo.cp.push(model.policy("no-greet", model.DENY, model.only(destination_ports=[app.GREET])))
    solo.start()
    with peers.Tunnel(solo.ns("p41"), solo.POD4, solo.credential()) as tunnel:
        stream, status = tunnel.connect(f"{solo.POD4}:{app.GREET}")
        assert status == 401 and tunnel.wait_end(stream) in ("end", 0)
        assert "baggage" not in tunnel.streams[stream].headers
        tunnel.echo(f"{solo.POD4}:{app.ECHO}")


def test_a_stream_cut_by_policy_is_reset_and_its_tunnel_lives(solo):
    solo.start()
    with peers.Tunnel(solo.ns("p41"), solo.POD4, solo.credential()) as tunnel:
        stream, status = tunnel.connect(f"{solo.POD4}:{app.GREET}")
        assert status == 200
        late = model.policy("late", model.DENY, model.only(destination_ports=[app.GREET]))
        solo.cp.push(late)
        assert tunnel.wait_end(stream, 2) == peers.Code.CANCEL
        tunnel.echo(f"{solo.POD4}:{app.ECHO}")


# ---- when discovery begins anew

def test_a_policy_that_is_everybodys_now_is_in_force_at_every_moment(solo):
    """The pod names it no more, and that is heard first."""
    deny = [model.DENY, model.only(destination_ports=[app.GREET])]
    named = model.policy("greet", *deny, scope=model.SELECTOR)
    solo.cp.push(named, model.pod(3, 1, "alpha-1", "alpha", policies=[named.name]), settle=False)
    solo.start()
    with peers.Tunnel(solo.ns("p41"), solo.POD4, solo.credential()) as tunnel:
        greeted = lambda: tunnel.connect(f"{solo.POD4}:{app.GREET}")[1]  # noqa: E731
        assert greeted() == 401
        with solo.cp.away(model.AUTHORIZATION):
            solo.cp.push(model.policy("greet", *deny), model.pod(3, 1, "alpha-1", "alpha"))
        wait.until("the addresses are answered", lambda: [
            e for e in solo.cp.events("request", type=model.ADDRESS) if e["nonce"]], 20)
        assert greeted() == 401
        solo.cp.release()
        solo.cp.settle()
        assert greeted() == 401
        tunnel.echo(f"{solo.POD4}:{app.ECHO}")


# ---- how often living connections are judged

def test_only_what_touches_policy_has_living_connections_judged_again(solo):
    solo.start(RUST_LOG="info,rbac=debug")
    judged = lambda: [e for e in solo.zt.events(since) if e[2] == "allow"]  # noqa: E731
    with peers.Tunnel(solo.ns("p41"), solo.POD4, solo.credential()) as tunnel:
        since = solo.zt.mark()
        tunnel.echo(f"{solo.POD4}:{app.ECHO}")
        _, status = tunnel.connect(f"{solo.POD4}:{app.GREET}")
        assert status == 200
        wait.until("both were judged", lambda: len(judged()) == 2)
        since = solo.zt.mark()
        for number in range(5):
            solo.cp.push(model.pod(4, 2, f"stranger-{number}", "stranger"))
        solo.cp.push(model.policy("elsewhere", model.DENY, [], ns="other", scope=model.NAMESPACE))
        wait.until("the policy has them judged", judged)
        assert len(judged()) == 1, "the one that is left, once"
