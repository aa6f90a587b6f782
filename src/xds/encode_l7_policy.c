/* SPDX-License-Identifier: Apache-2.0 */
/* A waypoint's policies to the wire (proto/waypoint.proto). */
#include <string.h>

#include "codec/pbwrite.h"
#include "xds/waypoint.h"

static void put_texts(struct strbuf *out, uint32_t field, struct l7_texts t)
{
    for (size_t i = 0; i < t.count; i++) {
        pb_put_element(out, field, t.at[i], strlen(t.at[i]));
    }
}

/* ---- AuthorizationPolicy */

static void put_source(struct strbuf *out, const struct l7_source *s)
{
    size_t at = pb_open(out, 1);

    put_texts(out, 1, s->principals);
    put_texts(out, 2, s->not_principals);
    put_texts(out, 3, s->request_principals);
    put_texts(out, 4, s->not_request_principals);
    put_texts(out, 5, s->namespaces);
    put_texts(out, 6, s->not_namespaces);
    put_texts(out, 7, s->service_accounts);
    put_texts(out, 8, s->not_service_accounts);
    put_texts(out, 9, s->ip_blocks);
    put_texts(out, 10, s->not_ip_blocks);
    put_texts(out, 11, s->remote_ip_blocks);
    put_texts(out, 12, s->not_remote_ip_blocks);
    pb_close(out, at);
}

static void put_operation(struct strbuf *out, const struct l7_operation *o)
{
    size_t at = pb_open(out, 2);

    put_texts(out, 1, o->hosts);
    put_texts(out, 2, o->not_hosts);
    put_texts(out, 3, o->ports);
    put_texts(out, 4, o->not_ports);
    put_texts(out, 5, o->methods);
    put_texts(out, 6, o->not_methods);
    put_texts(out, 7, o->paths);
    put_texts(out, 8, o->not_paths);
    pb_close(out, at);
}

static void put_condition(struct strbuf *out, const struct l7_condition *c)
{
    size_t at = pb_open(out, 3);

    pb_put_text(out, 1, c->key);
    put_texts(out, 2, c->values);
    put_texts(out, 3, c->not_values);
    pb_close(out, at);
}

static void put_rule(struct strbuf *out, const struct l7_rule *r)
{
    size_t at = pb_open(out, 3);

    for (size_t i = 0; i < r->from_count; i++) {
        put_source(out, &r->from[i]);
    }
    for (size_t i = 0; i < r->to_count; i++) {
        put_operation(out, &r->to[i]);
    }
    for (size_t i = 0; i < r->when_count; i++) {
        put_condition(out, &r->when[i]);
    }
    pb_close(out, at);
}

static void put_authorization(struct strbuf *out, const struct l7_policy *p)
{
    size_t at = pb_open(out, 5);

    pb_put_number(out, 1, p->action);
    pb_put_number(out, 2, p->dry_run);
    for (size_t i = 0; i < p->rule_count; i++) {
        put_rule(out, &p->rules[i]);
    }
    pb_close(out, at);
}

/* ---- RequestAuthentication */

static void put_location(struct strbuf *out, const struct l7_jwt_location *l)
{
    size_t at = pb_open(out, 4);

    pb_put_text(out, 1, l->name);
    pb_put_text(out, 2, l->prefix);
    pb_close(out, at);
}

static void put_claim(struct strbuf *out, const struct l7_claim_header *c)
{
    size_t at = pb_open(out, 8);

    pb_put_text(out, 1, c->header);
    pb_put_text(out, 2, c->claim);
    pb_close(out, at);
}

static void put_jwt_rule(struct strbuf *out, const struct l7_jwt_rule *r)
{
    size_t at = pb_open(out, 1);

    pb_put_text(out, 1, r->issuer);
    put_texts(out, 2, r->audiences);
    pb_put_text(out, 3, r->jwks);
    for (size_t i = 0; i < r->from_header_count; i++) {
        put_location(out, &r->from_headers[i]);
    }
    put_texts(out, 5, r->from_params);
    put_texts(out, 6, r->from_cookies);
    pb_put_text(out, 7, r->output_payload_to_header);
    for (size_t i = 0; i < r->claim_header_count; i++) {
        put_claim(out, &r->claim_headers[i]);
    }
    pb_put_number(out, 9, r->forward_original_token);
    put_texts(out, 10, r->space_delimited_claims);
    pb_close(out, at);
}

void xds_l7_policy_encode(struct strbuf *out, const struct l7_policy *p)
{
    pb_put_text(out, 1, p->ns);
    pb_put_text(out, 2, p->name);
    pb_put_text(out, 3, p->service_ns);
    pb_put_text(out, 4, p->service_hostname);
    if (p->kind == L7_AUTHORIZATION) {
        put_authorization(out, p);
        return;
    }
    size_t at = pb_open(out, 6);
    for (size_t i = 0; i < p->jwt_rule_count; i++) {
        put_jwt_rule(out, &p->jwt_rules[i]);
    }
    pb_close(out, at);
}
