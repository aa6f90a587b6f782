/* SPDX-License-Identifier: Apache-2.0 */
/* A policy is read on every connection and changed never: laid out once, in the order it is
 * read. */
#include "model/policy.h"

#include <string.h>

#include "model/const_int.h"
#include "model/pack_int.h"

/* ---- making: one function a level, each run twice by struct pack */

static struct str_matches pack_strs(struct pack *p, struct str_matches from)
{
    struct str_match *to = pack_room(p, from.count * sizeof(*to), _Alignof(struct str_match));

    for (size_t i = 0; i < from.count; i++) {
        const char *text = pack_text(p, from.at[i].text);
        if (to) {
            to[i] = (struct str_match){from.at[i].kind, text};
        }
    }
    return (struct str_matches){to, from.count};
}

static struct account_matches pack_accounts(struct pack *p, struct account_matches from)
{
    struct account_match *to =
        pack_room(p, from.count * sizeof(*to), _Alignof(struct account_match));

    for (size_t i = 0; i < from.count; i++) {
        const char *ns = pack_text(p, from.at[i].ns);
        const char *account = pack_text(p, from.at[i].service_account);
        if (to) {
            to[i] = (struct account_match){ns, account};
        }
    }
    return (struct account_matches){to, from.count};
}

static struct ip_matches pack_ips(struct pack *p, struct ip_matches from)
{
    return (struct ip_matches){
        pack_copy(p, from.at, from.count * sizeof(*from.at), _Alignof(struct ip_prefix)),
        from.count};
}

static struct port_matches pack_ports(struct pack *p, struct port_matches from)
{
    return (struct port_matches){
        pack_copy(p, from.at, from.count * sizeof(*from.at), _Alignof(uint16_t)), from.count};
}

static struct policy_match pack_match(struct pack *p, const struct policy_match *m)
{
    return (struct policy_match){
        .namespaces = pack_strs(p, m->namespaces),
        .not_namespaces = pack_strs(p, m->not_namespaces),
        .principals = pack_strs(p, m->principals),
        .not_principals = pack_strs(p, m->not_principals),
        .source_ips = pack_ips(p, m->source_ips),
        .not_source_ips = pack_ips(p, m->not_source_ips),
        .destination_ips = pack_ips(p, m->destination_ips),
        .not_destination_ips = pack_ips(p, m->not_destination_ips),
        .destination_ports = pack_ports(p, m->destination_ports),
        .not_destination_ports = pack_ports(p, m->not_destination_ports),
        .service_accounts = pack_accounts(p, m->service_accounts),
        .not_service_accounts = pack_accounts(p, m->not_service_accounts),
    };
}

static struct policy_clause pack_clause(struct pack *p, const struct policy_clause *from)
{
    struct policy_match *to =
        pack_room(p, from->match_count * sizeof(*to), _Alignof(struct policy_match));

    for (size_t i = 0; i < from->match_count; i++) {
        struct policy_match m = pack_match(p, &from->matches[i]);
        if (to) {
            to[i] = m;
        }
    }
    return (struct policy_clause){to, from->match_count};
}

static struct policy_rule pack_rule(struct pack *p, const struct policy_rule *from)
{
    struct policy_clause *to =
        pack_room(p, from->clause_count * sizeof(*to), _Alignof(struct policy_clause));

    for (size_t i = 0; i < from->clause_count; i++) {
        struct policy_clause c = pack_clause(p, &from->clauses[i]);
        if (to) {
            to[i] = c;
        }
    }
    return (struct policy_rule){to, from->clause_count};
}

static const struct policy_rule *pack_rules(struct pack *p, const struct policy *from)
{
    struct policy_rule *to =
        pack_room(p, from->rule_count * sizeof(*to), _Alignof(struct policy_rule));

    for (size_t i = 0; i < from->rule_count; i++) {
        struct policy_rule r = pack_rule(p, &from->rules[i]);
        if (to) {
            to[i] = r;
        }
    }
    return to;
}

static const char *pack_key(struct pack *p, const struct policy *from)
{
    const char *ns = from->ns ? from->ns : "";
    const char *name = from->name ? from->name : "";
    size_t ns_len = strlen(ns);
    char *key = pack_room(p, ns_len + strlen(name) + 2, 1);

    if (key) {
        memcpy(key, ns, ns_len);
        key[ns_len] = '/';
        memcpy(key + ns_len + 1, name, strlen(name) + 1);
    }
    return key;
}

static struct policy *lay_out(struct pack *p, const struct policy *from)
{
    struct policy *room = pack_room(p, sizeof(*room), _Alignof(struct policy));
    struct policy to = *from;

    to.rules = pack_rules(p, from);
    to.key = pack_key(p, from);
    to.ns = pack_text(p, from->ns);
    to.version = pack_text(p, from->version);
    if (!room) {
        return NULL;
    }
    to.name = to.key + strlen(to.ns) + 1;
    aref_init(&to.refs);
    memcpy(room, &to, sizeof(to));
    return room;
}

int policy_new(const struct policy **out, const struct policy *from, struct diag *why)
{
    struct pack p = {.base = NULL};

    (void)lay_out(&p, from); /* measures */
    if (p.used > POLICY_BYTES_MAX) {
        return FAIL(why, -ERR_TOO_LARGE, "policy of %zu bytes", p.used);
    }
    p = (struct pack){.base = mem_alloc(p.used)};
    *out = lay_out(&p, from);
    return 0;
}

const struct policy *policy_ref(const struct policy *p)
{
    if (p) {
        aref_get(&((struct policy *)unconst(p))->refs);
    }
    return p;
}

const struct policy *policy_unref(const struct policy *p)
{
    struct policy *mine = unconst(p);

    if (mine && aref_put(&mine->refs)) {
        mem_free(mine);
    }
    return NULL;
}

/* ---- comparing */

static bool same_strs(struct str_matches a, struct str_matches b)
{
    bool same = a.count == b.count;

    for (size_t i = 0; same && i < a.count; i++) {
        same = a.at[i].kind == b.at[i].kind && strcmp(a.at[i].text, b.at[i].text) == 0;
    }
    return same;
}

static bool same_ips(struct ip_matches a, struct ip_matches b)
{
    bool same = a.count == b.count;

    for (size_t i = 0; same && i < a.count; i++) {
        same = a.at[i].len == b.at[i].len && ip_equal(&a.at[i].ip, &b.at[i].ip);
    }
    return same;
}

static bool same_ports(struct port_matches a, struct port_matches b)
{
    return a.count == b.count && (a.count == 0 || memcmp(a.at, b.at, a.count * sizeof(*a.at)) == 0);
}

static bool same_accounts(struct account_matches a, struct account_matches b)
{
    bool same = a.count == b.count;

    for (size_t i = 0; same && i < a.count; i++) {
        same = strcmp(a.at[i].ns, b.at[i].ns) == 0 &&
               strcmp(a.at[i].service_account, b.at[i].service_account) == 0;
    }
    return same;
}

static bool same_match(const struct policy_match *a, const struct policy_match *b)
{
    return same_strs(a->namespaces, b->namespaces) &&
           same_strs(a->not_namespaces, b->not_namespaces) &&
           same_strs(a->principals, b->principals) &&
           same_strs(a->not_principals, b->not_principals) &&
           same_ips(a->source_ips, b->source_ips) &&
           same_ips(a->not_source_ips, b->not_source_ips) &&
           same_ips(a->destination_ips, b->destination_ips) &&
           same_ips(a->not_destination_ips, b->not_destination_ips) &&
           same_ports(a->destination_ports, b->destination_ports) &&
           same_ports(a->not_destination_ports, b->not_destination_ports) &&
           same_accounts(a->service_accounts, b->service_accounts) &&
           same_accounts(a->not_service_accounts, b->not_service_accounts);
}

static bool same_clause(const struct policy_clause *a, const struct policy_clause *b)
{
    bool same = a->match_count == b->match_count;

    for (size_t i = 0; same && i < a->match_count; i++) {
        same = same_match(&a->matches[i], &b->matches[i]);
    }
    return same;
}

static bool same_rule(const struct policy_rule *a, const struct policy_rule *b)
{
    bool same = a->clause_count == b->clause_count;

    for (size_t i = 0; same && i < a->clause_count; i++) {
        same = same_clause(&a->clauses[i], &b->clauses[i]);
    }
    return same;
}

bool policy_equal(const struct policy *a, const struct policy *b)
{
    bool same = a->scope == b->scope && a->action == b->action && a->dry_run == b->dry_run &&
                a->broken == b->broken && a->rule_count == b->rule_count &&
                strcmp(a->key, b->key) == 0 && strcmp(a->ns, b->ns) == 0 &&
                strcmp(a->version, b->version) == 0;

    for (size_t i = 0; same && i < a->rule_count; i++) {
        same = same_rule(&a->rules[i], &b->rules[i]);
    }
    return same;
}
