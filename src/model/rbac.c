/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One policy is a pure function of the connection; the verdict is a pure function of which policies
 * matched. The two halves meet in struct tally, so that the order of policies cannot matter.
 */
#include "model/rbac.h"

#include <stdio.h>
#include <string.h>

/* ---- one policy (contract 4.3) */

static bool str_hits(const struct str_match *m, const char *value)
{
    size_t len = strlen(value);
    size_t text_len = strlen(m->text);

    switch (m->kind) {
    case MATCH_EXACT:
        return strcmp(value, m->text) == 0;
    case MATCH_PREFIX:
        return len >= text_len && memcmp(value, m->text, text_len) == 0;
    case MATCH_SUFFIX:
        return len >= text_len && memcmp(value + len - text_len, m->text, text_len) == 0;
    case MATCH_PRESENCE:
        return len > 0;
    }
    return false;
}

static bool any_str(struct str_matches list, const char *value)
{
    for (size_t i = 0; i < list.count; i++) {
        if (str_hits(&list.at[i], value)) {
            return true;
        }
    }
    return false;
}

static bool any_ip(struct ip_matches list, const struct ip *ip)
{
    for (size_t i = 0; i < list.count; i++) {
        if (ip_prefix_has(&list.at[i], ip)) {
            return true;
        }
    }
    return false;
}

static bool any_port(struct port_matches list, uint16_t port)
{
    for (size_t i = 0; i < list.count; i++) {
        if (list.at[i] == port) {
            return true;
        }
    }
    return false;
}

static bool any_account(struct account_matches list, const struct identity *peer)
{
    for (size_t i = 0; peer && i < list.count; i++) {
        if (strcmp(list.at[i].ns, peer->ns) == 0 &&
            strcmp(list.at[i].service_account, peer->service_account) == 0) {
            return true;
        }
    }
    return false;
}

/* Nobody has no principal at all, not an empty one. */
static bool any_principal(struct str_matches list, const struct identity *peer)
{
    return peer && any_str(list, peer->principal);
}

static bool is_empty(const struct policy_match *m)
{
    return m->namespaces.count + m->not_namespaces.count + m->principals.count +
               m->not_principals.count + m->source_ips.count + m->not_source_ips.count +
               m->destination_ips.count + m->not_destination_ips.count +
               m->destination_ports.count + m->not_destination_ports.count +
               m->service_accounts.count + m->not_service_accounts.count ==
           0;
}

/* For namespaces nobody has the empty one (contract 4.3). */
static bool peer_matches(const struct policy_match *m, const struct identity *peer)
{
    const char *ns = peer ? peer->ns : "";

    return (m->namespaces.count == 0 || any_str(m->namespaces, ns)) &&
           !any_str(m->not_namespaces, ns) &&
           (m->principals.count == 0 || any_principal(m->principals, peer)) &&
           !any_principal(m->not_principals, peer) &&
           (m->service_accounts.count == 0 || any_account(m->service_accounts, peer)) &&
           !any_account(m->not_service_accounts, peer);
}

static bool address_matches(const struct policy_match *m, const struct rbac_conn *c)
{
    return (m->source_ips.count == 0 || any_ip(m->source_ips, &c->src.ip)) &&
           !any_ip(m->not_source_ips, &c->src.ip) &&
           (m->destination_ips.count == 0 || any_ip(m->destination_ips, &c->dst.ip)) &&
           !any_ip(m->not_destination_ips, &c->dst.ip) &&
           (m->destination_ports.count == 0 || any_port(m->destination_ports, c->dst.port)) &&
           !any_port(m->not_destination_ports, c->dst.port);
}

static bool clause_matches(const struct policy_clause *clause, const struct rbac_conn *c)
{
    for (size_t i = 0; i < clause->match_count; i++) {
        const struct policy_match *m = &clause->matches[i];
        if (!is_empty(m) && peer_matches(m, c->peer) && address_matches(m, c)) {
            return true;
        }
    }
    return clause->match_count == 0;
}

static bool rule_matches(const struct policy_rule *rule, const struct rbac_conn *c)
{
    for (size_t i = 0; i < rule->clause_count; i++) {
        if (!clause_matches(&rule->clauses[i], c)) {
            return false;
        }
    }
    return true;
}

bool rbac_policy_matches(const struct policy *p, const struct rbac_conn *conn)
{
    for (size_t i = 0; !p->broken && i < p->rule_count; i++) {
        if (rule_matches(&p->rules[i], conn)) {
            return true;
        }
    }
    return false;
}

/* ---- all that apply (contract 4.4, 4.5) */

struct tally {
    const struct policy *deny;   /* first enforced DENY that matched */
    const struct policy *allow;  /* first enforced ALLOW that matched */
    const struct policy *broken; /* first that could not be decoded */
    const char *missing;         /* first that is not known */
    const struct policy *dry_deny;
    const struct policy *dry_allow;
    bool any_allow;
    bool any_dry_allow;
};

static void keep_first(const struct policy **where, const struct policy *p)
{
    if (!*where) {
        *where = p;
    }
}

static void count(struct tally *t, const struct policy *p, const struct rbac_conn *conn)
{
    bool matches;

    if (p->broken) {
        if (!p->dry_run) {
            keep_first(&t->broken, p);
        }
        return;
    }
    matches = rbac_policy_matches(p, conn);
    if (p->action == POLICY_ALLOW) {
        *(p->dry_run ? &t->any_dry_allow : &t->any_allow) = true;
    }
    if (matches && p->dry_run) {
        keep_first(p->action == POLICY_DENY ? &t->dry_deny : &t->dry_allow, p);
    } else if (matches) {
        keep_first(p->action == POLICY_DENY ? &t->deny : &t->allow, p);
    }
}

static void count_scoped(struct tally *t, const struct world *w, const char *ns,
                         const struct rbac_conn *conn)
{
    struct world_cursor c = {0};

    for (const struct policy *p; (p = world_each_scoped(w, ns, &c));) {
        count(t, p, conn);
    }
}

static void count_named(struct tally *t, const struct world *w, const struct workload *dst,
                        const struct rbac_conn *conn)
{
    for (unsigned i = 0; i < dst->policy_count; i++) {
        const struct policy *p = world_policy(w, dst->policies[i]);
        if (p) {
            count(t, p, conn);
        } else if (!t->missing) {
            t->missing = dst->policies[i];
        }
    }
}

/* A DENY that matches stands whatever else is unknown; an ALLOW does not, as what is unknown may
 * deny. */
static void conclude(struct rbac_verdict *v, const struct tally *t)
{
    if (t->deny) {
        v->reason = RBAC_DENIED_BY;
        v->policy = t->deny;
    } else if (t->broken) {
        v->reason = RBAC_BROKEN;
        v->policy = t->broken;
    } else if (t->missing) {
        v->outcome = RBAC_HOLD;
        v->reason = RBAC_UNKNOWN;
        v->missing = t->missing;
    } else if (!t->any_allow) {
        v->outcome = RBAC_ALLOW;
        v->reason = RBAC_NO_ALLOW_POLICIES;
    } else if (t->allow) {
        v->outcome = RBAC_ALLOW;
        v->reason = RBAC_ALLOWED_BY;
        v->policy = t->allow;
    } else {
        v->reason = RBAC_NOT_ALLOWED;
    }
}

struct rbac_verdict rbac_decide(const struct world *w, const struct workload *dst,
                                const struct rbac_conn *conn)
{
    struct tally t = {.deny = NULL};
    struct rbac_verdict v = {.outcome = RBAC_DENY};

    count_scoped(&t, w, dst->identity->ns, conn);
    count_scoped(&t, w, NULL, conn);
    count_named(&t, w, dst, conn);
    conclude(&v, &t);
    v.dry_deny = t.dry_deny;
    v.dry_allow = t.dry_allow;
    v.dry_not_allowed = t.any_dry_allow && !t.dry_allow;
    return v;
}

/* ---- words */

const char *rbac_verdict_text(const struct rbac_verdict *v, char buf[static RBAC_TEXT])
{
    static const char *const forms[] = {
        [RBAC_UNDECIDED] = "not decided",
        [RBAC_NO_ALLOW_POLICIES] = "allowed: no allow policies exist",
        [RBAC_ALLOWED_BY] = "explicitly allowed by: ",
        [RBAC_DENIED_BY] = "explicitly denied by: ",
        [RBAC_NOT_ALLOWED] = "allow policies exist, but none allowed",
        [RBAC_BROKEN] = "denied: policy could not be decoded: ",
        [RBAC_UNKNOWN] = "denied: policy is not known: ",
    };
    const char *name = v->policy ? v->policy->key : v->missing ? v->missing : "";

    (void)snprintf(buf, RBAC_TEXT, "%s%.512s", forms[v->reason], name);
    return buf;
}
