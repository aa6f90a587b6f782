/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "control/peer_facts.h"

static const struct str_match anyone[] = {{MATCH_PRESENCE, ""}};
static const struct policy_match no_identity[] = {{.not_principals = {anyone, 1}}};

enum peer_mode peer_inherited(const struct peer_facts *of_mesh, const struct peer_facts *of_ns)
{
    if (of_ns && of_ns->mode != PEER_UNSET) {
        return (enum peer_mode)of_ns->mode;
    }
    if (of_mesh && of_mesh->mode != PEER_UNSET) {
        return (enum peer_mode)of_mesh->mode;
    }
    return PEER_PERMISSIVE;
}

static unsigned ports_in(const struct peer_facts *f, enum peer_mode mode)
{
    unsigned n = 0;

    for (unsigned i = 0; i < f->port_count; i++) {
        n += f->ports[i].mode == mode;
    }
    return n;
}

/* A port that alone is DISABLEd under an inherited STRICT stays strict (contract 4.4): that is how it
 * has always been, and the safer reading. */
static enum peer_binding binding_under_strict(const struct peer_facts *own)
{
    return ports_in(own, PEER_PERMISSIVE) > 0 ? PEER_BIND_CONVERTED : PEER_BIND_STATIC;
}

enum peer_binding peer_binding_of(const struct peer_facts *own, enum peer_mode inherited)
{
    bool has_strict = own && ports_in(own, PEER_STRICT) > 0;
    bool has_open = own && own->port_count > ports_in(own, PEER_STRICT);

    switch (own ? (enum peer_mode)own->mode : PEER_UNSET) {
    case PEER_STRICT:
        return has_open ? PEER_BIND_CONVERTED : PEER_BIND_STATIC;
    case PEER_DISABLE:
    case PEER_PERMISSIVE:
        return has_strict ? PEER_BIND_CONVERTED : PEER_BIND_NOTHING;
    case PEER_UNSET:
        break;
    }
    if (inherited == PEER_STRICT) {
        return own ? binding_under_strict(own) : PEER_BIND_STATIC;
    }
    return has_strict ? PEER_BIND_CONVERTED : PEER_BIND_NOTHING;
}

const char *peer_converted_name(const struct peer_facts *own, struct arena *a)
{
    static const char head[] = "converted_peer_authentication_";
    size_t n = strlen(own->name);
    char *name = arena_alloc(a, sizeof(head) + n);

    memcpy(name, head, sizeof(head) - 1);
    memcpy(name + sizeof(head) - 1, own->name, n + 1);
    return name;
}

/* ---- the converted policy */

static struct policy_clause clause_no_identity(void)
{
    return (struct policy_clause){no_identity, 1};
}

static struct policy_clause clause_other_port(const uint16_t *port, struct arena *a)
{
    struct policy_match *m = arena_alloc(a, sizeof(*m));

    m->not_destination_ports = (struct port_matches){port, 1};
    return (struct policy_clause){m, 1};
}

static const uint16_t *port_in_arena(const struct peer_port *p, struct arena *a)
{
    uint16_t *port = arena_alloc(a, sizeof(*port));

    *port = p->port;
    return port;
}

/* Strict, but for some ports: one group, for the ports are exceptions that have to hold together. */
static unsigned rules_with_exceptions(struct policy_rule *rules, const struct peer_facts *own,
                                      enum peer_mode inherited, struct arena *a)
{
    struct policy_clause *clauses = arena_array(a, own->port_count + 2, sizeof(*clauses));
    bool own_strict = own->mode == PEER_STRICT;
    size_t n = 0;

    if (own_strict) {
        clauses[n++] = clause_no_identity();
    }
    for (unsigned i = 0; i < own->port_count; i++) {
        if (own->ports[i].mode != PEER_STRICT) {
            clauses[n++] = clause_other_port(port_in_arena(&own->ports[i], a), a);
        }
    }
    /* Said twice where both the policy and what is above it are strict, as istiod says it. */
    if (inherited == PEER_STRICT) {
        clauses[n++] = clause_no_identity();
    }
    rules[0] = (struct policy_rule){clauses, n};
    return n > (own_strict ? 1u : 0u) + (inherited == PEER_STRICT ? 1u : 0u) ? 1 : 0;
}

/* Open, but for some ports: a group each. In one group they would have to hold together, and nothing
 * would be denied. */
static unsigned rules_for_ports(struct policy_rule *rules, const struct peer_facts *own,
                                struct arena *a)
{
    unsigned n = 0;

    for (unsigned i = 0; i < own->port_count; i++) {
        if (own->ports[i].mode != PEER_STRICT) {
            continue;
        }
        struct policy_match *m = arena_alloc(a, sizeof(*m));
        struct policy_clause *c = arena_alloc(a, sizeof(*c));
        m->not_principals = (struct str_matches){anyone, 1};
        m->destination_ports = (struct port_matches){port_in_arena(&own->ports[i], a), 1};
        *c = (struct policy_clause){m, 1};
        rules[n++] = (struct policy_rule){c, 1};
    }
    return n;
}

bool peer_convert(struct policy *out, const struct peer_facts *own, enum peer_mode inherited,
                  struct arena *a)
{
    struct policy_rule *rules = arena_array(a, own->port_count + 1, sizeof(*rules));
    bool is_strict =
        own->mode == PEER_STRICT || (own->mode == PEER_UNSET && inherited == PEER_STRICT);

    if (own->level != PEER_WORKLOAD) {
        return false;
    }
    unsigned count = is_strict ? rules_with_exceptions(rules, own, inherited, a)
                               : rules_for_ports(rules, own, a);
    *out = (struct policy){.scope = SCOPED_WORKLOAD,
                           .action = POLICY_DENY,
                           .ns = own->ns,
                           .name = peer_converted_name(own, a),
                           .rules = rules,
                           .rule_count = count};
    return count > 0;
}

void peer_static_policy(struct policy *out, const struct mesh *mesh)
{
    static const struct policy_clause clause = {no_identity, 1};
    static const struct policy_rule rule = {&clause, 1};

    *out = (struct policy){.scope = SCOPED_WORKLOAD,
                           .action = POLICY_DENY,
                           .ns = mesh->root_ns,
                           .name = PEER_STATIC_NAME,
                           .rules = &rule,
                           .rule_count = 1};
}
