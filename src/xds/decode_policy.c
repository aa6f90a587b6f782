/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "authorization.pb-c.h"
#include "base/arena.h"
#include "xds/decode_int.h"
#include "xds/resource.h"

/* Every list of a match may hold an element that does not decode. The contract drops it (4.2), which
 * can turn a narrow rule into one without constraint; here the whole policy version is refused. */

static int strings_decode(struct str_matches *out, Authorization__StringMatch *const *from,
                          size_t count, struct arena *a, struct diag *why)
{
    struct str_match *all = arena_array(a, count, sizeof(*all));

    for (size_t i = 0; i < count; i++) {
        switch (from[i]->match_type_case) {
        case AUTHORIZATION__STRING_MATCH__MATCH_TYPE_EXACT:
            all[i] = (struct str_match){MATCH_EXACT, from[i]->exact};
            break;
        case AUTHORIZATION__STRING_MATCH__MATCH_TYPE_PREFIX:
            all[i] = (struct str_match){MATCH_PREFIX, from[i]->prefix};
            break;
        case AUTHORIZATION__STRING_MATCH__MATCH_TYPE_SUFFIX:
            all[i] = (struct str_match){MATCH_SUFFIX, from[i]->suffix};
            break;
        case AUTHORIZATION__STRING_MATCH__MATCH_TYPE_PRESENCE:
            all[i] = (struct str_match){MATCH_PRESENCE, ""};
            break;
        case AUTHORIZATION__STRING_MATCH__MATCH_TYPE__NOT_SET:
        case _AUTHORIZATION__STRING_MATCH__MATCH_TYPE__CASE_IS_INT_SIZE:
            return FAIL(why, -ERR_SYNTAX, "string match without a variant");
        }
    }
    *out = (struct str_matches){all, count};
    return 0;
}

static int prefixes_decode(struct ip_matches *out, Authorization__Prefix *const *from, size_t count,
                           struct arena *a, struct diag *why)
{
    struct ip_prefix *all = arena_array(a, count, sizeof(*all));

    for (size_t i = 0; i < count; i++) {
        struct ip ip;
        int r = ip_from_bytes(&ip, from[i]->address.data, from[i]->address.len);
        if (r == 0) {
            r = ip_prefix_make(&all[i], &ip, from[i]->length);
        }
        if (r < 0) {
            return FAIL(why, r, "address of %zu bytes with prefix length %u", from[i]->address.len,
                        from[i]->length);
        }
    }
    *out = (struct ip_matches){all, count};
    return 0;
}

static struct port_matches ports_decode(const uint32_t *from, size_t count, struct arena *a)
{
    uint16_t *all = arena_array(a, count, sizeof(*all));

    for (size_t i = 0; i < count; i++) {
        all[i] = (uint16_t)from[i]; /* truncated: contract 4.2 */
    }
    return (struct port_matches){all, count};
}

static struct account_matches accounts_decode(Authorization__ServiceAccountMatch *const *from,
                                              size_t count, struct arena *a)
{
    struct account_match *all = arena_array(a, count, sizeof(*all));

    for (size_t i = 0; i < count; i++) {
        all[i] = (struct account_match){from[i]->namespace_, from[i]->service_account};
    }
    return (struct account_matches){all, count};
}

static int match_names_decode(struct policy_match *out, const Authorization__Match *m,
                              struct arena *a, struct diag *why)
{
    int r = strings_decode(&out->namespaces, m->namespaces, m->n_namespaces, a, why);

    if (r == 0) {
        r = strings_decode(&out->not_namespaces, m->not_namespaces, m->n_not_namespaces, a, why);
    }
    if (r == 0) {
        r = strings_decode(&out->principals, m->principals, m->n_principals, a, why);
    }
    if (r == 0) {
        r = strings_decode(&out->not_principals, m->not_principals, m->n_not_principals, a, why);
    }
    out->service_accounts = accounts_decode(m->service_accounts, m->n_service_accounts, a);
    out->not_service_accounts =
        accounts_decode(m->not_service_accounts, m->n_not_service_accounts, a);
    return r;
}

static int match_addresses_decode(struct policy_match *out, const Authorization__Match *m,
                                  struct arena *a, struct diag *why)
{
    int r = prefixes_decode(&out->source_ips, m->source_ips, m->n_source_ips, a, why);

    if (r == 0) {
        r = prefixes_decode(&out->not_source_ips, m->not_source_ips, m->n_not_source_ips, a, why);
    }
    if (r == 0) {
        r = prefixes_decode(&out->destination_ips, m->destination_ips, m->n_destination_ips, a,
                            why);
    }
    if (r == 0) {
        r = prefixes_decode(&out->not_destination_ips, m->not_destination_ips,
                            m->n_not_destination_ips, a, why);
    }
    out->destination_ports = ports_decode(m->destination_ports, m->n_destination_ports, a);
    out->not_destination_ports =
        ports_decode(m->not_destination_ports, m->n_not_destination_ports, a);
    return r;
}

static int clause_decode(struct policy_clause *out, const Authorization__Clause *m, struct arena *a,
                         struct diag *why)
{
    struct policy_match *all = arena_array(a, m->n_matches, sizeof(*all));

    for (size_t i = 0; i < m->n_matches; i++) {
        int r = match_names_decode(&all[i], m->matches[i], a, why);
        if (r == 0) {
            r = match_addresses_decode(&all[i], m->matches[i], a, why);
        }
        if (r < 0) {
            return r;
        }
    }
    *out = (struct policy_clause){all, m->n_matches};
    return 0;
}

static int rule_decode(struct policy_rule *out, const Authorization__Rule *m, struct arena *a,
                       struct diag *why)
{
    struct policy_clause *all = arena_array(a, m->n_clauses, sizeof(*all));

    for (size_t i = 0; i < m->n_clauses; i++) {
        int r = clause_decode(&all[i], m->clauses[i], a, why);
        if (r < 0) {
            return r;
        }
    }
    *out = (struct policy_rule){all, m->n_clauses};
    return 0;
}

static int rules_decode(struct policy *p, const Authorization__Authorization *m, struct arena *a,
                        struct diag *why)
{
    struct policy_rule *all = arena_array(a, m->n_rules, sizeof(*all));

    for (size_t i = 0; i < m->n_rules; i++) {
        int r = rule_decode(&all[i], m->rules[i], a, why);
        if (r < 0) {
            return r;
        }
    }
    p->rules = all;
    p->rule_count = m->n_rules;
    return 0;
}

/* The template of a whole policy; on failure it says at least for whom the policy is. */
static int template_decode(struct policy *p, const Authorization__Authorization *m, struct arena *a,
                           struct diag *why)
{
    p->dry_run = m->dry_run;
    int r = xds_enum(m->scope, SCOPED_WORKLOAD, why);
    if (r < 0) {
        return r;
    }
    p->scope = (enum policy_scope)m->scope;
    r = xds_enum(m->action, POLICY_DENY, why);
    if (r < 0) {
        return r;
    }
    p->action = (enum policy_action)m->action;
    return rules_decode(p, m, a, why);
}

/* The resource's name is the key that workloads use; the message's own names can be empty. */
static void name_split(struct policy *p, const char *name, struct arena *a)
{
    struct slice ns;
    struct slice rest;

    if (slice_cut(slice_of(name), '/', &ns, &rest)) {
        p->ns = arena_text(a, ns.p, ns.len);
        p->name = arena_text(a, rest.p, rest.len);
    } else {
        p->ns = "";
        p->name = name;
    }
}

int xds_policy_decode(const struct policy **out, struct slice bytes, const char *name,
                      const char *version, struct diag *why)
{
    AUTO(arena) struct arena a = {0};
    AUTO(xds_unpacked) ProtobufCMessage *raw = NULL;
    struct policy p = {.scope = SCOPED_NAMESPACE, .action = POLICY_DENY, .version = version};

    name_split(&p, name, &a);
    int r = xds_unpack(&raw, &authorization__authorization__descriptor, bytes, why);
    if (r == 0) {
        r = template_decode(&p, (const Authorization__Authorization *)(const void *)raw, &a, why);
    }
    if (r < 0) {
        p.broken = true;
        p.rules = NULL;
        p.rule_count = 0;
    }
    int made = policy_new(out, &p, r < 0 ? NULL : why);
    return r < 0 ? r : made;
}
