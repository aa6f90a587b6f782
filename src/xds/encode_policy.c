/* SPDX-License-Identifier: Apache-2.0 */
/* Authorizations to the wire (contract 4.1, 4.2). */
#include <string.h>

#include "codec/pbwrite.h"
#include "xds/resource.h"

static void put_str(struct strbuf *out, uint32_t field, const struct str_match *m)
{
    size_t at = pb_open(out, field);

    switch (m->kind) {
    case MATCH_EXACT:
    case MATCH_PREFIX:
    case MATCH_SUFFIX: /* the kinds are numbered as the members of the oneof */
        pb_put_element(out, m->kind, m->text, strlen(m->text));
        break;
    case MATCH_PRESENCE:
        pb_put_element(out, MATCH_PRESENCE, "", 0);
        break;
    }
    pb_close(out, at);
}

static void put_strs(struct strbuf *out, uint32_t field, struct str_matches m)
{
    for (size_t i = 0; i < m.count; i++) {
        put_str(out, field, &m.at[i]);
    }
}

static void put_ips(struct strbuf *out, uint32_t field, struct ip_matches m)
{
    for (size_t i = 0; i < m.count; i++) {
        size_t at = pb_open(out, field);
        pb_put_bytes(out, 1, m.at[i].ip.bytes, ip_size(&m.at[i].ip));
        pb_put_number(out, 2, m.at[i].len);
        pb_close(out, at);
    }
}

static void put_ports(struct strbuf *out, uint32_t field, struct port_matches m)
{
    if (m.count == 0) {
        return;
    }
    size_t at = pb_open(out, field);
    for (size_t i = 0; i < m.count; i++) {
        pb_put_varint(out, m.at[i]);
    }
    pb_close(out, at);
}

static void put_accounts(struct strbuf *out, uint32_t field, struct account_matches m)
{
    for (size_t i = 0; i < m.count; i++) {
        size_t at = pb_open(out, field);
        pb_put_text(out, 1, m.at[i].ns);
        pb_put_text(out, 2, m.at[i].service_account);
        pb_close(out, at);
    }
}

static void put_match(struct strbuf *out, const struct policy_match *m)
{
    size_t at = pb_open(out, 2);

    put_strs(out, 1, m->namespaces);
    put_strs(out, 2, m->not_namespaces);
    put_strs(out, 3, m->principals);
    put_strs(out, 4, m->not_principals);
    put_ips(out, 5, m->source_ips);
    put_ips(out, 6, m->not_source_ips);
    put_ips(out, 7, m->destination_ips);
    put_ips(out, 8, m->not_destination_ips);
    put_ports(out, 9, m->destination_ports);
    put_ports(out, 10, m->not_destination_ports);
    put_accounts(out, 11, m->service_accounts);
    put_accounts(out, 12, m->not_service_accounts);
    pb_close(out, at);
}

static void put_rule(struct strbuf *out, const struct policy_rule *r)
{
    size_t at = pb_open(out, 5);

    for (size_t i = 0; i < r->clause_count; i++) {
        size_t clause = pb_open(out, 1);
        for (size_t k = 0; k < r->clauses[i].match_count; k++) {
            put_match(out, &r->clauses[i].matches[k]);
        }
        pb_close(out, clause);
    }
    pb_close(out, at);
}

void xds_policy_encode(struct strbuf *out, const struct policy *p)
{
    pb_put_text(out, 1, p->name);
    pb_put_text(out, 2, p->ns);
    pb_put_number(out, 3, p->scope);
    pb_put_number(out, 4, p->action);
    for (size_t i = 0; i < p->rule_count; i++) {
        put_rule(out, &p->rules[i]);
    }
    pb_put_number(out, 6, p->dry_run);
}
