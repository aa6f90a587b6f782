/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A policy that asks for something this program does not know would be applied without it, and that
 * is wider or narrower than what was meant. So unknown fields refuse a policy, unlike other
 * resources.
 */
#include "base/arena.h"
#include "waypoint.pb-c.h"
#include "xds/decode_int.h"
#include "xds/waypoint.h"

static int known_only(const ProtobufCMessage *m, const char *field, size_t i, struct diag *why)
{
    return m->n_unknown_fields == 0 ? 0
                                    : FAIL(why, -ERR_UNSUPPORTED, "%s[%zu]: field %u is unknown",
                                           field, i, m->unknown_fields[0].tag);
}

static struct l7_texts texts_decode(char *const *from, size_t count, struct arena *a)
{
    const char **all = arena_array(a, count, sizeof(*all));

    for (size_t i = 0; i < count; i++) {
        all[i] = from[i];
    }
    return (struct l7_texts){all, count};
}

static struct l7_texts paths_decode(char *const *from, size_t count, struct arena *a)
{
    const char **all = arena_array(a, count, sizeof(*all));

    for (size_t i = 0; i < count; i++) {
        all[i] = xds_l7_path(from[i], a);
    }
    return (struct l7_texts){all, count};
}

static struct l7_source source_decode(const Ambit__Waypoint__V1__Source *m, struct arena *a)
{
    return (struct l7_source){
        .principals = texts_decode(m->principals, m->n_principals, a),
        .not_principals = texts_decode(m->not_principals, m->n_not_principals, a),
        .request_principals = texts_decode(m->request_principals, m->n_request_principals, a),
        .not_request_principals =
            texts_decode(m->not_request_principals, m->n_not_request_principals, a),
        .namespaces = texts_decode(m->namespaces, m->n_namespaces, a),
        .not_namespaces = texts_decode(m->not_namespaces, m->n_not_namespaces, a),
        .service_accounts = texts_decode(m->service_accounts, m->n_service_accounts, a),
        .not_service_accounts = texts_decode(m->not_service_accounts, m->n_not_service_accounts, a),
        .ip_blocks = texts_decode(m->ip_blocks, m->n_ip_blocks, a),
        .not_ip_blocks = texts_decode(m->not_ip_blocks, m->n_not_ip_blocks, a),
        .remote_ip_blocks = texts_decode(m->remote_ip_blocks, m->n_remote_ip_blocks, a),
        .not_remote_ip_blocks = texts_decode(m->not_remote_ip_blocks, m->n_not_remote_ip_blocks, a),
    };
}

static struct l7_operation operation_decode(const Ambit__Waypoint__V1__Operation *m,
                                            struct arena *a)
{
    return (struct l7_operation){
        .hosts = texts_decode(m->hosts, m->n_hosts, a),
        .not_hosts = texts_decode(m->not_hosts, m->n_not_hosts, a),
        .ports = texts_decode(m->ports, m->n_ports, a),
        .not_ports = texts_decode(m->not_ports, m->n_not_ports, a),
        .methods = texts_decode(m->methods, m->n_methods, a),
        .not_methods = texts_decode(m->not_methods, m->n_not_methods, a),
        .paths = paths_decode(m->paths, m->n_paths, a),
        .not_paths = paths_decode(m->not_paths, m->n_not_paths, a),
    };
}

static int rule_known(const Ambit__Waypoint__V1__Rule *m, struct diag *why)
{
    int r = known_only(&m->base, "rule", 0, why);

    for (size_t i = 0; r == 0 && i < m->n_from; i++) {
        r = known_only(&m->from[i]->base, "from", i, why);
    }
    for (size_t i = 0; r == 0 && i < m->n_to; i++) {
        r = known_only(&m->to[i]->base, "to", i, why);
    }
    for (size_t i = 0; r == 0 && i < m->n_when; i++) {
        r = known_only(&m->when[i]->base, "when", i, why);
    }
    return r;
}

static struct l7_rule rule_decode(const Ambit__Waypoint__V1__Rule *m, struct arena *a)
{
    struct l7_source *from = arena_array(a, m->n_from, sizeof(*from));
    struct l7_operation *to = arena_array(a, m->n_to, sizeof(*to));
    struct l7_condition *when = arena_array(a, m->n_when, sizeof(*when));

    for (size_t i = 0; i < m->n_from; i++) {
        from[i] = source_decode(m->from[i], a);
    }
    for (size_t i = 0; i < m->n_to; i++) {
        to[i] = operation_decode(m->to[i], a);
    }
    for (size_t i = 0; i < m->n_when; i++) {
        const Ambit__Waypoint__V1__Condition *c = m->when[i];
        when[i] = (struct l7_condition){c->key, texts_decode(c->values, c->n_values, a),
                                        texts_decode(c->not_values, c->n_not_values, a)};
    }
    return (struct l7_rule){.from = from,
                            .to = to,
                            .when = when,
                            .from_count = m->n_from,
                            .to_count = m->n_to,
                            .when_count = m->n_when};
}

static int authorization_decode(struct l7_policy *p, const Ambit__Waypoint__V1__Authorization *m,
                                struct arena *a, struct diag *why)
{
    struct l7_rule *rules = arena_array(a, m->n_rules, sizeof(*rules));
    int r = known_only(&m->base, "authorization", 0, why);

    p->kind = L7_AUTHORIZATION;
    p->dry_run = m->dry_run;
    if (r == 0 && ((int)m->action < 0 || (int)m->action > L7_CUSTOM)) {
        r = FAIL(why, -ERR_RANGE, "authorization.action: %d is unknown", (int)m->action);
    }
    p->action = (enum l7_action)m->action;
    for (size_t i = 0; r == 0 && i < m->n_rules; i++) {
        struct diag inner = {.code = 0};
        r = rule_known(m->rules[i], &inner);
        if (r < 0) {
            return FAIL(why, r, "authorization.rules[%zu].%s", i, inner.text);
        }
        rules[i] = rule_decode(m->rules[i], a);
    }
    p->rules = rules;
    p->rule_count = m->n_rules;
    return r;
}

static struct l7_jwt_rule jwt_rule_decode(const Ambit__Waypoint__V1__JwtRule *m, struct arena *a)
{
    struct l7_jwt_location *headers = arena_array(a, m->n_from_headers, sizeof(*headers));
    struct l7_claim_header *claims = arena_array(a, m->n_output_claim_to_headers, sizeof(*claims));

    for (size_t i = 0; i < m->n_from_headers; i++) {
        headers[i] = (struct l7_jwt_location){m->from_headers[i]->name, m->from_headers[i]->prefix};
    }
    for (size_t i = 0; i < m->n_output_claim_to_headers; i++) {
        claims[i] = (struct l7_claim_header){m->output_claim_to_headers[i]->header,
                                             m->output_claim_to_headers[i]->claim};
    }
    return (struct l7_jwt_rule){.issuer = m->issuer,
                                .audiences = texts_decode(m->audiences, m->n_audiences, a),
                                .jwks = m->jwks,
                                .from_headers = headers,
                                .from_header_count = m->n_from_headers,
                                .from_params = texts_decode(m->from_params, m->n_from_params, a),
                                .from_cookies = texts_decode(m->from_cookies, m->n_from_cookies, a),
                                .output_payload_to_header = m->output_payload_to_header,
                                .claim_headers = claims,
                                .claim_header_count = m->n_output_claim_to_headers,
                                .forward_original_token = m->forward_original_token,
                                .space_delimited_claims = texts_decode(
                                    m->space_delimited_claims, m->n_space_delimited_claims, a)};
}

static int authentication_decode(struct l7_policy *p,
                                 const Ambit__Waypoint__V1__RequestAuthentication *m,
                                 struct arena *a, struct diag *why)
{
    struct l7_jwt_rule *rules = arena_array(a, m->n_rules, sizeof(*rules));

    p->kind = L7_REQUEST_AUTHENTICATION;
    for (size_t i = 0; i < m->n_rules; i++) {
        int r = known_only(&m->rules[i]->base, "authentication.rules", i, why);
        if (r < 0) {
            return r;
        }
        rules[i] = jwt_rule_decode(m->rules[i], a);
    }
    p->jwt_rules = rules;
    p->jwt_rule_count = m->n_rules;
    return 0;
}

static int template_decode(struct l7_policy *p, const Ambit__Waypoint__V1__Policy *m,
                           struct arena *a, struct diag *why)
{
    p->ns = m->namespace_;
    p->name = m->name;
    p->service_ns = m->service_namespace;
    p->service_hostname = m->service_hostname;
    if (m->base.n_unknown_fields > 0) {
        return FAIL(why, -ERR_UNSUPPORTED, "field %u is unknown", m->base.unknown_fields[0].tag);
    }
    if ((*p->service_ns == '\0') != (*p->service_hostname == '\0')) {
        return FAIL(why, -ERR_SYNTAX, "service_namespace, service_hostname: both or none");
    }
    switch (m->what_case) {
    case AMBIT__WAYPOINT__V1__POLICY__WHAT_AUTHORIZATION:
        return authorization_decode(p, m->authorization, a, why);
    case AMBIT__WAYPOINT__V1__POLICY__WHAT_AUTHENTICATION:
        return authentication_decode(p, m->authentication, a, why);
    case AMBIT__WAYPOINT__V1__POLICY__WHAT__NOT_SET:
    case _AMBIT__WAYPOINT__V1__POLICY__WHAT__CASE_IS_INT_SIZE:
        break;
    }
    return FAIL(why, -ERR_SYNTAX, "what: is of no known kind");
}

/* "<ns>/<waypoint>/[<service ns>/<host>/]<kind>/<ns>/<name>": whom a policy is for whose message
 * cannot be read. Anything else is taken to be for the waypoint. */
static void target_from_name(struct l7_policy *p, const char *name, struct arena *a)
{
    struct slice part[8];
    struct slice rest = slice_of(name);
    size_t n = 0;

    while (n < ARRAY_LEN(part) && slice_cut(rest, '/', &part[n], &rest)) {
        n++;
    }
    n += n < ARRAY_LEN(part); /* what follows the last '/' */
    p->ns = "";
    p->name = name;
    p->service_ns = "";
    p->service_hostname = "";
    if (n == 7) {
        p->service_ns = arena_text(a, part[2].p, part[2].len);
        p->service_hostname = arena_text(a, part[3].p, part[3].len);
    }
    if (n >= 2) {
        p->ns = arena_text(a, part[n - 2].p, part[n - 2].len);
        p->name = arena_text(a, part[n - 1].p, part[n - 1].len);
    }
}

/* Of what was read so far nothing but the target is kept. */
static int broken_make(const struct l7_policy **out, const struct l7_policy *read, const char *name,
                       struct arena *a)
{
    struct l7_policy p = {.kind = L7_AUTHORIZATION,
                          .action = L7_DENY,
                          .broken = true,
                          .resource = name,
                          .version = read->version};

    target_from_name(&p, name, a);
    if (read->name && *read->name) {
        p.ns = read->ns;
        p.name = read->name;
        p.service_ns = read->service_ns;
        p.service_hostname = read->service_hostname;
    }
    return l7_policy_new(out, &p, NULL);
}

int xds_l7_policy_decode(const struct l7_policy **out, struct slice bytes, const char *name,
                         const char *version, struct diag *why)
{
    AUTO(arena) struct arena a = {0};
    AUTO(xds_unpacked) ProtobufCMessage *raw = NULL;
    struct l7_policy p = {.resource = name, .version = xds_l7_version(version, bytes, &a)};
    int r = xds_unpack(&raw, &ambit__waypoint__v1__policy__descriptor, bytes, why);

    if (r == 0) {
        r = template_decode(&p, (const Ambit__Waypoint__V1__Policy *)(const void *)raw, &a, why);
    }
    if (r == 0) {
        r = l7_policy_new(out, &p, why);
    }
    if (r < 0) {
        int made = broken_make(out, &p, name, &a);
        return made < 0 ? made : r;
    }
    return 0;
}
