/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What objects say in texts is read into terms here, once, so that a decision only compares. Laying
 * out runs twice (model/pack_int.h); the first run also finds the first flaw.
 */
#include "model/l7_policy.h"

#include <stdio.h>

#include "base/ascii.h"
#include "base/num.h"
#include "model/const_int.h"
#include "model/l7_pack_int.h"

enum { FLAW_TEXT = 256, PLACE_TEXT = 64, CLAIM_DEPTH_MAX = 8, TERMS_MAX = 6 };

struct maker {
    struct pack p;
    const struct l7_policy *from;
    char place[PLACE_TEXT]; /* in the object: "rules[0].to[1].operation" */
    char flaw[FLAW_TEXT];
};

/* A list of values, by its name in the object: of those that are to hit, and of those that are not to. */
struct field {
    const char *name, *not_name;
};

static void note_flaw(struct maker *m, const char *name, size_t i, const char *value,
                      const char *what)
{
    if (m->flaw[0] == '\0') {
        (void)snprintf(m->flaw, sizeof(m->flaw), "%s.%s[%zu]: '%.64s' is %s", m->place, name, i,
                       value ? value : "", what);
    }
}

/* ---- values */

enum reading {
    READ_PLAIN,
    READ_LOWER,   /* letter case means nothing */
    READ_PATH,    /* templates too */
    READ_ACCOUNT, /* exact; a bare name is of the policy's namespace */
};

static bool has_template(const char *s)
{
    return strstr(s, "{*}") || strstr(s, "{**}");
}

/* Operators are whole segments, "{**}" is the last of them, and '*' stands nowhere else. */
static bool template_is_good(const char *s)
{
    bool tail_seen = false;

    for (const char *c = s; *c; c++) {
        size_t op = strncmp(c, "{*}", 3) == 0 ? 3 : strncmp(c, "{**}", 4) == 0 ? 4 : 0;
        if (op == 0) {
            if (strchr("*{}", *c)) {
                return false;
            }
            continue;
        }
        if (tail_seen || c == s || c[-1] != '/' || (c[op] != '/' && c[op] != '\0')) {
            return false;
        }
        tail_seen = op == 4;
        c += op - 1;
    }
    return *s == '/';
}

/* The text is what stands beside the '*'. */
static bool read_pattern(struct maker *m, struct l7_pattern *out, const char *s, enum reading how)
{
    size_t len = s ? strlen(s) : 0;
    size_t from = 0;

    if (len == 0) {
        return false;
    }
    out->kind = L7_PATTERN_EXACT;
    if (how == READ_ACCOUNT) {
        out->text = strchr(s, '/') ? pack_text(&m->p, s) : pack_key(&m->p, m->from->ns, s);
        out->len = out->text ? (uint32_t)strlen(out->text) : 0;
        return !strchr(s, '*');
    }
    if (how == READ_PATH && has_template(s)) {
        out->kind = L7_PATTERN_TEMPLATE;
    } else if (len == 1 && *s == '*') {
        out->kind = L7_PATTERN_PRESENT;
        from = 1;
    } else if (*s == '*') {
        out->kind = L7_PATTERN_SUFFIX;
        from = 1;
    } else if (s[len - 1] == '*') {
        out->kind = L7_PATTERN_PREFIX;
        len--;
    }
    char *text = pack_room(&m->p, len - from + 1, 1);
    for (size_t i = from; text && i < len; i++) {
        text[i - from] = how == READ_LOWER ? ascii_lower(s[i]) : s[i];
    }
    if (text) {
        text[len - from] = '\0';
    }
    out->text = text;
    out->len = (uint32_t)(len - from);
    return out->kind != L7_PATTERN_TEMPLATE || template_is_good(s);
}

static const char *what_is_wrong(const char *s, enum reading how)
{
    if (text_is_empty(s)) {
        return "empty";
    }
    return how == READ_PATH
               ? "no template: {*} is a whole segment, {**} the last one, and no other "
                 "'*' stands beside them"
               : "no service account: write its name or namespace/name, without '*'";
}

static struct l7_patterns read_patterns(struct maker *m, struct l7_texts from, enum reading how,
                                        const char *field)
{
    struct l7_pattern *to = pack_room(&m->p, from.count * sizeof(*to), _Alignof(struct l7_pattern));
    struct l7_patterns all = {.at = to};

    for (size_t i = 0; i < from.count; i++) {
        struct l7_pattern one = {.kind = L7_PATTERN_EXACT};
        if (!read_pattern(m, &one, from.at[i], how)) {
            all.flawed = true;
            note_flaw(m, field, i, from.at[i], what_is_wrong(from.at[i], how));
            continue;
        }
        if (to) {
            to[all.count] = one;
        }
        all.count++;
    }
    return all;
}

static struct l7_blocks read_blocks(struct maker *m, struct l7_texts from, const char *field)
{
    struct ip_prefix *to = pack_room(&m->p, from.count * sizeof(*to), _Alignof(struct ip_prefix));
    struct l7_blocks all = {.at = to};

    for (size_t i = 0; i < from.count; i++) {
        struct ip_prefix one;
        const char *s = from.at[i] ? from.at[i] : "";
        if (ip_prefix_parse(&one, s, strlen(s)) < 0) {
            all.flawed = true;
            note_flaw(m, field, i, s, "no address and no CIDR block");
            continue;
        }
        if (to) {
            to[all.count] = one;
        }
        all.count++;
    }
    return all;
}

static struct l7_ports read_ports(struct maker *m, struct l7_texts from, const char *field)
{
    uint16_t *to = pack_room(&m->p, from.count * sizeof(*to), _Alignof(uint16_t));
    struct l7_ports all = {.at = to};

    for (size_t i = 0; i < from.count; i++) {
        uint16_t one;
        const char *s = from.at[i] ? from.at[i] : "";
        if (num_parse_port(s, strlen(s), &one) < 0) {
            all.flawed = true;
            note_flaw(m, field, i, s, "no port: write a number from 1 to 65535");
            continue;
        }
        if (to) {
            to[all.count] = one;
        }
        all.count++;
    }
    return all;
}

/* ---- terms; a field that is not given makes none */

struct terms {
    struct l7_term at[TERMS_MAX];
    size_t count;
};

static void add_strings(struct maker *m, struct terms *t, enum l7_attribute attribute,
                        struct l7_texts values, struct l7_texts not_values, enum reading how,
                        struct field field)
{
    if (values.count + not_values.count > 0) {
        t->at[t->count++] =
            (struct l7_term){.attribute = attribute,
                             .values = read_patterns(m, values, how, field.name),
                             .not_values = read_patterns(m, not_values, how, field.not_name)};
    }
}

static void add_blocks(struct maker *m, struct terms *t, enum l7_attribute attribute,
                       struct l7_texts values, struct l7_texts not_values, struct field field)
{
    if (values.count + not_values.count > 0) {
        t->at[t->count++] =
            (struct l7_term){.attribute = attribute,
                             .blocks = read_blocks(m, values, field.name),
                             .not_blocks = read_blocks(m, not_values, field.not_name)};
    }
}

static void add_ports(struct maker *m, struct terms *t, struct l7_texts values,
                      struct l7_texts not_values, struct field field)
{
    if (values.count + not_values.count > 0) {
        t->at[t->count++] =
            (struct l7_term){.attribute = L7_DESTINATION_PORT,
                             .ports = read_ports(m, values, field.name),
                             .not_ports = read_ports(m, not_values, field.not_name)};
    }
}

static struct l7_clause pack_terms(struct maker *m, const struct terms *t)
{
    return (struct l7_clause){
        pack_copy(&m->p, t->at, t->count * sizeof(t->at[0]), _Alignof(struct l7_term)), t->count};
}

static struct l7_clause read_source(struct maker *m, const struct l7_source *s)
{
    struct terms t = {.count = 0};

    add_strings(m, &t, L7_SOURCE_PRINCIPAL, s->principals, s->not_principals, READ_PLAIN,
                (struct field){"principals", "notPrincipals"});
    add_strings(m, &t, L7_REQUEST_PRINCIPAL, s->request_principals, s->not_request_principals,
                READ_PLAIN, (struct field){"requestPrincipals", "notRequestPrincipals"});
    add_strings(m, &t, L7_SOURCE_NAMESPACE, s->namespaces, s->not_namespaces, READ_PLAIN,
                (struct field){"namespaces", "notNamespaces"});
    add_strings(m, &t, L7_SOURCE_ACCOUNT, s->service_accounts, s->not_service_accounts,
                READ_ACCOUNT, (struct field){"serviceAccounts", "notServiceAccounts"});
    add_blocks(m, &t, L7_SOURCE_IP, s->ip_blocks, s->not_ip_blocks,
               (struct field){"ipBlocks", "notIpBlocks"});
    add_blocks(m, &t, L7_REMOTE_IP, s->remote_ip_blocks, s->not_remote_ip_blocks,
               (struct field){"remoteIpBlocks", "notRemoteIpBlocks"});
    return pack_terms(m, &t);
}

static struct l7_clause read_operation(struct maker *m, const struct l7_operation *o)
{
    struct terms t = {.count = 0};

    add_strings(m, &t, L7_HOST, o->hosts, o->not_hosts, READ_LOWER,
                (struct field){"hosts", "notHosts"});
    add_ports(m, &t, o->ports, o->not_ports, (struct field){"ports", "notPorts"});
    add_strings(m, &t, L7_METHOD, o->methods, o->not_methods, READ_PLAIN,
                (struct field){"methods", "notMethods"});
    add_strings(m, &t, L7_PATH, o->paths, o->not_paths, READ_PATH,
                (struct field){"paths", "notPaths"});
    return pack_terms(m, &t);
}

/* ---- conditions */

static const struct {
    const char *key;
    enum l7_attribute attribute;
} keys[] = {
    {"source.ip", L7_SOURCE_IP},
    {"remote.ip", L7_REMOTE_IP},
    {"source.namespace", L7_SOURCE_NAMESPACE},
    {"source.principal", L7_SOURCE_PRINCIPAL},
    {"source.serviceAccount", L7_SOURCE_ACCOUNT},
    {"source.trustDomain", L7_SOURCE_TRUST_DOMAIN},
    {"request.auth.principal", L7_REQUEST_PRINCIPAL},
    {"request.auth.audiences", L7_REQUEST_AUDIENCES},
    {"request.auth.presenter", L7_REQUEST_PRESENTER},
    {"destination.ip", L7_DESTINATION_IP},
    {"destination.port", L7_DESTINATION_PORT},
    {"connection.sni", L7_SNI},
};

/* Parts of the head that are no fields of it, by the names under which Istio's proxies show them. */
static enum l7_attribute part_named(struct slice name)
{
    if (slice_is_any_case(name, "host") || slice_is_any_case(name, ":authority")) {
        return L7_HOST;
    }
    if (slice_is_any_case(name, ":method")) {
        return L7_METHOD;
    }
    return *name.p == ':' ? L7_UNSUPPORTED : L7_REQUEST_HEADER;
}

static const char HEADERS[] = "request.headers";
static const char CLAIMS[] = "request.auth.claims";

/* "[a][b]" to a and b; how many, or 0: not of that form. */
static size_t read_brackets(struct slice s, struct slice out[static CLAIM_DEPTH_MAX])
{
    size_t n = 0;

    while (s.len > 0) {
        const char *end = memchr(s.p, ']', s.len);
        if (*s.p != '[' || !end || end == s.p + 1 || n == CLAIM_DEPTH_MAX) {
            return 0;
        }
        out[n++] = (struct slice){s.p + 1, (size_t)(end - s.p) - 1};
        s.len -= (size_t)(end + 1 - s.p);
        s.p = end + 1;
    }
    return n;
}

static const char *pack_slice(struct maker *m, struct slice s, bool lower)
{
    char *to = pack_room(&m->p, s.len + 1, 1);

    for (size_t i = 0; to && i < s.len; i++) {
        to[i] = lower ? ascii_lower(s.p[i]) : s.p[i];
    }
    if (to) {
        to[s.len] = '\0';
    }
    return to;
}

/* Which attribute a key names; its parts are laid out on the way. */
static void read_key(struct maker *m, struct l7_term *t, const char *key)
{
    struct slice part[CLAIM_DEPTH_MAX];
    struct slice all = slice_of(key ? key : "");

    t->attribute = L7_UNSUPPORTED;
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        if (slice_is(all, keys[i].key)) {
            t->attribute = keys[i].attribute;
        }
    }
    if (slice_has_prefix(all, HEADERS)) {
        size_t skip = sizeof(HEADERS) - 1;
        if (read_brackets((struct slice){all.p + skip, all.len - skip}, part) == 1) {
            t->attribute = part_named(part[0]);
            t->name = pack_slice(m, part[0], true);
        }
    } else if (slice_has_prefix(all, CLAIMS)) {
        size_t skip = sizeof(CLAIMS) - 1;
        size_t n = read_brackets((struct slice){all.p + skip, all.len - skip}, part);
        const char **path = pack_room(&m->p, n * sizeof(*path), _Alignof(const char *));
        for (size_t i = 0; i < n; i++) {
            const char *text = pack_slice(m, part[i], false);
            if (path) {
                path[i] = text;
            }
        }
        t->attribute = n > 0 ? L7_REQUEST_CLAIM : L7_UNSUPPORTED;
        t->claim_path = (struct l7_texts){path, n};
    }
}

static void note_key(struct maker *m, const char *key)
{
    if (m->flaw[0] == '\0') {
        (void)snprintf(m->flaw, sizeof(m->flaw), "%s.key: '%.64s' is no key that is known",
                       m->place, key ? key : "");
    }
}

static struct l7_term read_condition(struct maker *m, const struct l7_condition *c,
                                     struct field field)
{
    struct l7_term t = {.attribute = L7_UNSUPPORTED};

    read_key(m, &t, c->key);
    switch (t.attribute) {
    case L7_SOURCE_IP:
    case L7_REMOTE_IP:
    case L7_DESTINATION_IP:
        t.blocks = read_blocks(m, c->values, field.name);
        t.not_blocks = read_blocks(m, c->not_values, field.not_name);
        break;
    case L7_DESTINATION_PORT:
        t.ports = read_ports(m, c->values, field.name);
        t.not_ports = read_ports(m, c->not_values, field.not_name);
        break;
    case L7_UNSUPPORTED:
        note_key(m, c->key);
        break;
    case L7_SOURCE_PRINCIPAL:
    case L7_REQUEST_PRINCIPAL:
    case L7_SOURCE_NAMESPACE:
    case L7_SOURCE_ACCOUNT:
    case L7_HOST:
    case L7_METHOD:
    case L7_PATH:
    case L7_REQUEST_HEADER:
    case L7_SOURCE_TRUST_DOMAIN:
    case L7_REQUEST_AUDIENCES:
    case L7_REQUEST_PRESENTER:
    case L7_REQUEST_CLAIM:
    case L7_SNI: {
        enum reading how = t.attribute == L7_SOURCE_ACCOUNT ? READ_ACCOUNT
                           : t.attribute == L7_HOST         ? READ_LOWER
                                                            : READ_PLAIN;
        t.values = read_patterns(m, c->values, how, field.name);
        t.not_values = read_patterns(m, c->not_values, how, field.not_name);
        break;
    }
    }
    return t;
}

/* ---- rules */

/* index: among the rules here. */
static size_t rule_origin(const struct l7_rule *r, size_t index)
{
    return r->origin > 0 ? r->origin - 1 : index;
}

static void enter(struct maker *m, size_t rule, const char *list, size_t i, const char *part)
{
    (void)snprintf(m->place, sizeof(m->place), "rules[%zu].%s[%zu]%s", rule, list, i, part);
}

/* The trust domains of a source stand here as one more condition. */
static struct l7_term read_when(struct maker *m, const struct l7_rule *from, size_t rule, size_t i)
{
    static const struct field values = {"values", "notValues"};
    static const struct field domains = {"trustDomains", "notTrustDomains"};
    bool is_domain = from->origin_from > 0 && i + 1 == from->when_count &&
                     strcmp(from->when[i].key, "source.trustDomain") == 0;

    if (is_domain) {
        enter(m, rule, "from", from->origin_from - 1, ".source");
    } else {
        enter(m, rule, "when", i, "");
    }
    return read_condition(m, &from->when[i], is_domain ? domains : values);
}

static struct l7_rule read_rule(struct maker *m, const struct l7_rule *from, size_t rule)
{
    size_t first = from->origin_from > 0 ? from->origin_from - 1 : 0;
    struct l7_clause *sources =
        pack_room(&m->p, from->from_count * sizeof(*sources), _Alignof(struct l7_clause));
    struct l7_clause *operations =
        pack_room(&m->p, from->to_count * sizeof(*operations), _Alignof(struct l7_clause));
    struct l7_term *when =
        pack_room(&m->p, from->when_count * sizeof(*when), _Alignof(struct l7_term));

    for (size_t i = 0; i < from->from_count; i++) {
        enter(m, rule, "from", first + i, ".source");
        struct l7_clause c = read_source(m, &from->from[i]);
        if (sources) {
            sources[i] = c;
        }
    }
    for (size_t i = 0; i < from->to_count; i++) {
        enter(m, rule, "to", i, ".operation");
        struct l7_clause c = read_operation(m, &from->to[i]);
        if (operations) {
            operations[i] = c;
        }
    }
    for (size_t i = 0; i < from->when_count; i++) {
        struct l7_term t = read_when(m, from, rule, i);
        if (when) {
            when[i] = t;
        }
    }
    return (struct l7_rule){.from_count = from->from_count,
                            .to_count = from->to_count,
                            .when_count = from->when_count,
                            .from_clauses = sources,
                            .to_clauses = operations,
                            .when_clause = {when, from->when_count}};
}

static const struct l7_rule *read_rules(struct maker *m)
{
    struct l7_rule *to =
        pack_room(&m->p, m->from->rule_count * sizeof(*to), _Alignof(struct l7_rule));

    for (size_t i = 0; i < m->from->rule_count; i++) {
        const struct l7_rule *from = &m->from->rules[i];
        struct l7_rule r = read_rule(m, from, rule_origin(from, i));
        if (to) {
            to[i] = r;
        }
    }
    return to;
}

static struct l7_texts pack_list(struct pack *p, struct l7_texts from)
{
    return (struct l7_texts){pack_texts(p, from.at, from.count), from.count};
}

static struct l7_jwt_rule pack_jwt_rule(struct pack *p, const struct l7_jwt_rule *from)
{
    struct l7_jwt_rule to = *from;
    struct l7_jwt_location *headers =
        pack_room(p, from->from_header_count * sizeof(*headers), _Alignof(struct l7_jwt_location));
    struct l7_claim_header *claims =
        pack_room(p, from->claim_header_count * sizeof(*claims), _Alignof(struct l7_claim_header));

    for (size_t i = 0; i < from->from_header_count; i++) {
        const char *name = pack_lower(p, from->from_headers[i].name);
        const char *prefix = pack_text(p, from->from_headers[i].prefix);
        if (headers) {
            headers[i] = (struct l7_jwt_location){name, prefix};
        }
    }
    for (size_t i = 0; i < from->claim_header_count; i++) {
        const char *header = pack_lower(p, from->claim_headers[i].header);
        const char *claim = pack_text(p, from->claim_headers[i].claim);
        if (claims) {
            claims[i] = (struct l7_claim_header){header, claim};
        }
    }
    to.issuer = pack_text(p, from->issuer);
    to.audiences = pack_list(p, from->audiences);
    to.jwks = pack_text(p, from->jwks);
    to.from_headers = headers;
    to.from_params = pack_list(p, from->from_params);
    to.from_cookies = pack_list(p, from->from_cookies);
    to.output_payload_to_header = pack_lower(p, from->output_payload_to_header);
    to.claim_headers = claims;
    to.space_delimited_claims = pack_list(p, from->space_delimited_claims);
    return to;
}

static const struct l7_jwt_rule *pack_jwt_rules(struct pack *p, const struct l7_policy *from)
{
    struct l7_jwt_rule *to =
        pack_room(p, from->jwt_rule_count * sizeof(*to), _Alignof(struct l7_jwt_rule));

    for (size_t i = 0; i < from->jwt_rule_count; i++) {
        struct l7_jwt_rule r = pack_jwt_rule(p, &from->jwt_rules[i]);
        if (to) {
            to[i] = r;
        }
    }
    return to;
}

static struct l7_policy *lay_out(struct maker *m)
{
    const struct l7_policy *from = m->from;
    struct l7_policy *room = pack_room(&m->p, sizeof(*room), _Alignof(struct l7_policy));
    struct l7_policy to = *from;
    bool for_service = !text_is_empty(from->service_ns) && !text_is_empty(from->service_hostname);

    to.rules = read_rules(m);
    to.jwt_rules = pack_jwt_rules(&m->p, from);
    to.resource = pack_text(&m->p, from->resource);
    to.version = pack_text(&m->p, from->version);
    to.ns = pack_text(&m->p, from->ns);
    to.name = pack_text(&m->p, from->name);
    to.service = for_service ? pack_key(&m->p, from->service_ns, from->service_hostname)
                             : pack_text(&m->p, "");
    to.service_ns = pack_text(&m->p, from->service_ns);
    to.service_hostname = pack_text(&m->p, from->service_hostname);
    to.flaw = pack_text(&m->p, m->flaw);
    if (room) {
        aref_init(&to.refs);
        memcpy(room, &to, sizeof(to));
    }
    return room;
}

int l7_policy_new(const struct l7_policy **out, const struct l7_policy *from, struct diag *why)
{
    struct maker m = {.from = from};

    (void)lay_out(&m); /* measures */
    if (m.p.used > L7_POLICY_BYTES_MAX) {
        return FAIL(why, -ERR_TOO_LARGE, "policy of %zu bytes, at most %d", m.p.used,
                    L7_POLICY_BYTES_MAX);
    }
    m.p = (struct pack){.base = mem_alloc(m.p.used)};
    *out = lay_out(&m);
    return 0;
}

const struct l7_policy *l7_policy_ref(const struct l7_policy *p)
{
    if (p) {
        aref_get(&((struct l7_policy *)unconst(p))->refs);
    }
    return p;
}

const struct l7_policy *l7_policy_unref(const struct l7_policy *p)
{
    struct l7_policy *mine = unconst(p);

    if (mine && aref_put(&mine->refs)) {
        mem_free(mine);
    }
    return NULL;
}
