/* SPDX-License-Identifier: Apache-2.0 */
/* Policies with targetRefs, as a waypoint enforces them (waypoint contract B.1, B.3). */
#include <string.h>

#include "control/translate_l7.h"
#include "control/translate_policy.h"
#include "control/trust_alias.h"

static struct l7_texts texts(const struct json *o, const char *key, struct arena *a)
{
    const struct json *list = json_get(o, key);
    const char **out = arena_array(a, json_count(list), sizeof(*out));

    for (size_t i = 0; i < json_count(list); i++) {
        out[i] = json_str(json_item(list, i), "");
    }
    return (struct l7_texts){out, json_count(list)};
}

/* Those that they stand for, too, come last: the place of the others is theirs in the object. */
static struct l7_texts principals(const struct json *o, const char *key, const struct mesh *mesh,
                                  struct arena *a)
{
    struct l7_texts own = texts(o, key, a);
    size_t each = trust_alias_count(mesh);
    const char **out = arena_array(a, own.count * (1 + each), sizeof(*out));
    size_t count = own.count;

    if (own.count == 0 || each == 0) {
        return own;
    }
    memcpy(out, own.at, own.count * sizeof(*out));
    for (size_t i = 0; i < own.count; i++) {
        count += trust_alias_expand(mesh, own.at[i], &out[count], a);
    }
    return (struct l7_texts){out, count};
}

/* "name" is of the policy's namespace. */
static struct l7_texts accounts(const struct json *o, const char *key, const char *ns,
                                struct arena *a)
{
    const struct json *list = json_get(o, key);
    const char **out = arena_array(a, json_count(list), sizeof(*out));

    for (size_t i = 0; i < json_count(list); i++) {
        AUTO(strbuf) struct strbuf text = {0};
        const char *name = json_str(json_item(list, i), "");
        strbuf_printf(&text, "%s%s%s", strchr(name, '/') ? "" : ns, strchr(name, '/') ? "" : "/",
                      name);
        out[i] = arena_text(a, strbuf_text(&text), text.len);
    }
    return (struct l7_texts){out, json_count(list)};
}

static struct l7_source read_source(const struct json *s, const char *ns, const struct mesh *mesh,
                                    struct arena *a)
{
    return (struct l7_source){
        .principals = principals(s, "principals", mesh, a),
        .not_principals = principals(s, "notPrincipals", mesh, a),
        .request_principals = texts(s, "requestPrincipals", a),
        .not_request_principals = texts(s, "notRequestPrincipals", a),
        .namespaces = texts(s, "namespaces", a),
        .not_namespaces = texts(s, "notNamespaces", a),
        .service_accounts = accounts(s, "serviceAccounts", ns, a),
        .not_service_accounts = accounts(s, "notServiceAccounts", ns, a),
        .ip_blocks = texts(s, "ipBlocks", a),
        .not_ip_blocks = texts(s, "notIpBlocks", a),
        .remote_ip_blocks = texts(s, "remoteIpBlocks", a),
        .not_remote_ip_blocks = texts(s, "notRemoteIpBlocks", a),
    };
}

static struct l7_operation read_operation(const struct json *o, struct arena *a)
{
    return (struct l7_operation){
        .hosts = texts(o, "hosts", a),
        .not_hosts = texts(o, "notHosts", a),
        .ports = texts(o, "ports", a),
        .not_ports = texts(o, "notPorts", a),
        .methods = texts(o, "methods", a),
        .not_methods = texts(o, "notMethods", a),
        .paths = texts(o, "paths", a),
        .not_paths = texts(o, "notPaths", a),
    };
}

static void read_operations(struct l7_rule *out, const struct json *rule, struct arena *a)
{
    const struct json *to = json_get(rule, "to");
    struct l7_operation *list = arena_array(a, json_count(to), sizeof(*list));

    for (size_t i = 0; i < json_count(to); i++) {
        list[i] = read_operation(json_get(json_item(to, i), "operation"), a);
    }
    out->to = list;
    out->to_count = json_count(to);
}

static bool asks_for_domain(const struct json *source)
{
    return json_get(source, "trustDomains") || json_get(source, "notTrustDomains");
}

/* The conditions of the rule, and one more for the trust domain of a source that asks for one. */
static void read_conditions(struct l7_rule *out, const struct json *rule, const struct json *source,
                            const struct mesh *mesh, struct arena *a)
{
    const struct json *when = json_get(rule, "when");
    struct l7_condition *list = arena_array(a, json_count(when) + 1, sizeof(*list));

    for (size_t i = 0; i < json_count(when); i++) {
        const struct json *c = json_item(when, i);
        const char *key = json_str_at(c, "key", "");
        bool aliased = strcmp(key, "source.principal") == 0;
        list[out->when_count++] = (struct l7_condition){
            .key = key,
            .values = aliased ? principals(c, "values", mesh, a) : texts(c, "values", a),
            .not_values = aliased ? principals(c, "notValues", mesh, a) : texts(c, "notValues", a)};
    }
    if (asks_for_domain(source)) {
        list[out->when_count++] =
            (struct l7_condition){.key = "source.trustDomain",
                                  .values = texts(source, "trustDomains", a),
                                  .not_values = texts(source, "notTrustDomains", a)};
    }
    out->when = list;
}

static const struct json *source_at(const struct json *rule, size_t i)
{
    return json_get(json_item(json_get(rule, "from"), i), "source");
}

static bool has_domains(const struct json *rule)
{
    for (size_t i = 0; i < json_count(json_get(rule, "from")); i++) {
        if (asks_for_domain(source_at(rule, i))) {
            return true;
        }
    }
    return false;
}

/* With the sources from first on, count of them. */
static void read_rule(struct l7_rule *out, const struct json *rule, size_t first, size_t count,
                      const char *ns, const struct mesh *mesh, struct arena *a)
{
    struct l7_source *sources = arena_array(a, count, sizeof(*sources));

    *out = (struct l7_rule){.from = sources, .from_count = count};
    for (size_t i = 0; i < count; i++) {
        sources[i] = read_source(source_at(rule, first + i), ns, mesh, a);
    }
    read_operations(out, rule, a);
    read_conditions(out, rule, count == 1 ? source_at(rule, first) : NULL, mesh, a);
}

/* A rule whose sources ask for trust domains becomes one for each source. */
static void read_rules(struct l7_policy *out, const struct json *spec, const struct mesh *mesh,
                       struct arena *a)
{
    const struct json *list = json_get(spec, "rules");
    size_t room = 0;

    for (size_t i = 0; i < json_count(list); i++) {
        const struct json *rule = json_item(list, i);
        room += has_domains(rule) ? json_count(json_get(rule, "from")) : 1;
    }
    struct l7_rule *rules = arena_array(a, room, sizeof(*rules));
    for (size_t i = 0; i < json_count(list); i++) {
        const struct json *rule = json_item(list, i);
        size_t sources = json_count(json_get(rule, "from"));
        bool is_split = has_domains(rule);
        for (size_t k = 0; k < (is_split ? sources : 1); k++) {
            struct l7_rule *to = &rules[out->rule_count++];
            read_rule(to, rule, k, is_split ? 1 : sources, out->ns, mesh, a);
            to->origin = i + 1;
            to->origin_from = is_split ? k + 1 : 0;
        }
    }
    out->rules = rules;
}

static void read_authorization(struct l7_policy *out, const struct json *object,
                               const struct mesh *mesh, struct arena *a)
{
    static const char *const actions[] = {
        [L7_ALLOW] = "ALLOW", [L7_DENY] = "DENY", [L7_AUDIT] = "AUDIT", [L7_CUSTOM] = "CUSTOM"};
    const char *action = json_str_at(object, "spec.action", "ALLOW");

    out->action = L7_CUSTOM; /* a word from the future denies what it matches */
    for (size_t i = 0; i < ARRAY_LEN(actions); i++) {
        if (strcmp(action, actions[i]) == 0) {
            out->action = (enum l7_action)i;
        }
    }
    out->dry_run = policy_is_dry_run(object);
    read_rules(out, json_get(object, "spec"), mesh, a);
}

/* ---- RequestAuthentication */

static struct l7_jwt_rule read_jwt_rule(const struct json *rule, struct arena *a)
{
    const struct json *headers = json_get(rule, "fromHeaders");
    const struct json *claims = json_get(rule, "outputClaimToHeaders");
    struct l7_jwt_location *from = arena_array(a, json_count(headers), sizeof(*from));
    struct l7_claim_header *to = arena_array(a, json_count(claims), sizeof(*to));

    for (size_t i = 0; i < json_count(headers); i++) {
        from[i] = (struct l7_jwt_location){json_str_at(json_item(headers, i), "name", ""),
                                           json_str_at(json_item(headers, i), "prefix", "")};
    }
    for (size_t i = 0; i < json_count(claims); i++) {
        to[i] = (struct l7_claim_header){json_str_at(json_item(claims, i), "header", ""),
                                         json_str_at(json_item(claims, i), "claim", "")};
    }
    return (struct l7_jwt_rule){
        .issuer = json_str_at(rule, "issuer", ""),
        .audiences = texts(rule, "audiences", a),
        .jwks = json_str_at(rule, "jwks", ""),
        .from_headers = from,
        .from_header_count = json_count(headers),
        .from_params = texts(rule, "fromParams", a),
        .from_cookies = texts(rule, "fromCookies", a),
        .output_payload_to_header = json_str_at(rule, "outputPayloadToHeader", ""),
        .claim_headers = to,
        .claim_header_count = json_count(claims),
        .forward_original_token = json_bool_at(rule, "forwardOriginalToken", false),
        .space_delimited_claims = texts(rule, "spaceDelimitedClaims", a),
    };
}

static void read_authentication(struct l7_policy *out, const struct json *object, struct arena *a)
{
    const struct json *list = json_at(object, "spec.jwtRules");
    struct l7_jwt_rule *rules = arena_array(a, json_count(list), sizeof(*rules));

    for (size_t i = 0; i < json_count(list); i++) {
        rules[i] = read_jwt_rule(json_item(list, i), a);
    }
    out->jwt_rules = rules;
    out->jwt_rule_count = json_count(list);
}

void translate_l7_policy(struct l7_policy *out, enum l7_policy_kind kind, const struct json *object,
                         const struct mesh *mesh, struct arena *a)
{
    *out = (struct l7_policy){.kind = kind,
                              .ns = json_str_at(object, "metadata.namespace", ""),
                              .name = json_str_at(object, "metadata.name", "")};
    if (kind == L7_AUTHORIZATION) {
        read_authorization(out, object, mesh, a);
    } else {
        read_authentication(out, object, a);
    }
}
