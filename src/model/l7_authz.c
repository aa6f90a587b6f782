/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whatever is unknown about a request (a value that means nothing, an attribute that TCP does not
 * have, a claim with too many values) is taken so that a DENY hits and an ALLOW does not. `wide` is
 * that answer; every evaluation carries it.
 */
#include "model/l7_authz.h"

#include <stdio.h>
#include <string.h>

#include "base/ascii.h"
#include "model/l7_pack_int.h"

struct judge {
    const struct l7_request *q;
    bool http;
    bool wide;    /* the answer to what cannot be answered: true for DENY, CUSTOM and AUDIT */
    bool unknown; /* there was something */
};

enum hit { MISS = 0, HIT = 1, UNKNOWN = 2 };

/* ---- patterns */

/* "{*}" is "[^/]+", "{**}" any text: as Envoy's URI templates are. From the right of the last
 * operator on all is literal, so there is nothing to try twice. */
static bool template_fits(const char *t, const char *end, struct slice s)
{
    while (t < end && strncmp(t, "{**}", 4) != 0) {
        if (strncmp(t, "{*}", 3) == 0) {
            size_t n = 0;
            while (n < s.len && s.p[n] != '/') {
                n++;
            }
            if (n == 0) {
                return false;
            }
            s = (struct slice){s.p + n, s.len - n};
            t += 3;
        } else if (s.len == 0 || *s.p != *t) {
            return false;
        } else {
            s = (struct slice){s.p + 1, s.len - 1};
            t++;
        }
    }
    if (t == end) {
        return s.len == 0;
    }
    size_t tail = (size_t)(end - t) - 4;
    return s.len >= tail && (tail == 0 || memcmp(s.p + s.len - tail, t + 4, tail) == 0);
}

static bool pattern_fits(const struct l7_pattern *p, struct slice s)
{
    switch (p->kind) {
    case L7_PATTERN_EXACT:
        return s.len == p->len && memcmp(s.p, p->text, s.len) == 0;
    case L7_PATTERN_PREFIX:
        return s.len >= p->len && memcmp(s.p, p->text, p->len) == 0;
    case L7_PATTERN_SUFFIX:
        return s.len >= p->len && memcmp(s.p + s.len - p->len, p->text, p->len) == 0;
    case L7_PATTERN_PRESENT:
        return s.len > 0;
    case L7_PATTERN_TEMPLATE:
        break;
    }
    return template_fits(p->text, p->text + p->len, s);
}

static enum hit any_fits(const struct l7_patterns *list, struct slice value)
{
    for (size_t i = 0; value.p && i < list->count; i++) {
        if (pattern_fits(&list->at[i], value)) {
            return HIT;
        }
    }
    return MISS;
}

/* Issuer and subject are joined by '/', which both may hold: "a/b" and "c" read like "a" and "b/c".
 * An exact value is cut at its last '/', and if the request's parts are cut elsewhere it is not
 * certain who is meant. */
static enum hit principal_fits(const struct l7_patterns *list, const struct l7_request *q)
{
    enum hit found = MISS;

    for (size_t i = 0; q->principal.p && i < list->count && found != HIT; i++) {
        const struct l7_pattern *p = &list->at[i];
        const char *last = p->kind == L7_PATTERN_EXACT ? strrchr(p->text, '/') : NULL;
        if (pattern_fits(p, q->principal)) {
            found = last && (size_t)(last - p->text) != q->issuer_len ? UNKNOWN : HIT;
        }
    }
    return found;
}

/* ---- attributes */

static struct slice peer_text(const struct judge *j, enum l7_attribute a)
{
    const struct identity *peer = j->q->conn->peer;

    if (!peer) {
        return (struct slice){NULL, 0};
    }
    return slice_of(a == L7_SOURCE_PRINCIPAL   ? peer->principal
                    : a == L7_SOURCE_NAMESPACE ? peer->ns
                                               : peer->trust_domain);
}

static enum hit account_fits(const struct judge *j, const struct l7_patterns *list)
{
    const struct identity *peer = j->q->conn->peer;

    for (size_t i = 0; peer && i < list->count; i++) {
        const struct l7_pattern *p = &list->at[i];
        size_t ns = strlen(peer->ns);
        if (p->len > ns && memcmp(p->text, peer->ns, ns) == 0 && p->text[ns] == '/' &&
            strcmp(p->text + ns + 1, peer->service_account) == 0) {
            return HIT;
        }
    }
    return MISS;
}

static enum hit claim_fits(const struct judge *j, const struct l7_patterns *list,
                           const char *const *path, size_t depth)
{
    struct slice values[L7_CLAIM_VALUES_MAX];
    size_t have =
        j->q->claim ? j->q->claim(j->q->claim_arg, path, depth, values, L7_CLAIM_VALUES_MAX) : 0;

    for (size_t i = 0; i < have && i < L7_CLAIM_VALUES_MAX; i++) {
        if (any_fits(list, values[i]) == HIT) {
            return HIT;
        }
    }
    return have > L7_CLAIM_VALUES_MAX && list->count > 0 ? UNKNOWN : MISS;
}

/* Lines of one name are one value, joined with ',': who sends a second one must not make an exact
 * match miss. Where a hit refuses, an element counts as well as the whole. */
static enum hit header_fits(const struct l7_patterns *list, struct slice value, bool refuses)
{
    enum hit found = any_fits(list, value);
    struct slice one;
    struct slice rest = value;

    while (refuses && found == MISS && rest.len > 0) {
        (void)slice_cut(rest, ',', &one, &rest); /* without one: the last */
        found = any_fits(list, slice_trim(one));
    }
    return found;
}

/* A port in the Host header says nothing of where a request goes: where a hit refuses, the name
 * without it counts, too. */
static enum hit host_fits(const struct l7_patterns *list, struct slice authority, bool refuses)
{
    enum hit found = any_fits(list, authority);
    struct slice name = authority;

    while (name.len > 0 && ascii_is_digit(name.p[name.len - 1])) {
        name.len--;
    }
    bool has_port = name.len > 0 && name.len < authority.len && name.p[name.len - 1] == ':';
    /* "[::1]:80" has one, "[::1]" and "a.b1" have none: no canonical IPv6 address is without brackets. */
    name.len -= has_port;
    return refuses && found == MISS && has_port ? any_fits(list, name) : found;
}

/* Where paths are judged as they come, an escape in another spelling leads past no refusal. */
static enum hit path_fits(const struct l7_patterns *list, const struct l7_request *q, bool refuses)
{
    enum hit found = any_fits(list, q->path);

    return refuses && found == MISS ? any_fits(list, q->respelt) : found;
}

/* refuses: a hit speaks against the request. */
static enum hit strings_hit(const struct judge *j, const struct l7_term *t,
                            const struct l7_patterns *list, bool refuses)
{
    static const char *const audience[] = {"aud"};
    static const char *const presenter[] = {"azp"};

    switch (t->attribute) {
    case L7_SOURCE_PRINCIPAL:
    case L7_SOURCE_NAMESPACE:
    case L7_SOURCE_TRUST_DOMAIN:
        return any_fits(list, peer_text(j, t->attribute));
    case L7_REQUEST_PRINCIPAL:
        return principal_fits(list, j->q);
    case L7_SOURCE_ACCOUNT:
        return account_fits(j, list);
    case L7_HOST:
        return host_fits(list, j->q->authority, refuses);
    case L7_METHOD:
        return any_fits(list, j->q->method);
    case L7_PATH:
        return path_fits(list, j->q, refuses);
    case L7_REQUEST_HEADER:
        return header_fits(list, l7_request_header(j->q, t->name), refuses);
    case L7_REQUEST_AUDIENCES:
        return claim_fits(j, list, audience, 1);
    case L7_REQUEST_PRESENTER:
        return claim_fits(j, list, presenter, 1);
    case L7_REQUEST_CLAIM:
        return claim_fits(j, list, t->claim_path.at, t->claim_path.count);
    case L7_SNI:
        return any_fits(list, j->q->conn->sni);
    case L7_SOURCE_IP:
    case L7_REMOTE_IP:
    case L7_DESTINATION_IP:
    case L7_DESTINATION_PORT:
    case L7_UNSUPPORTED:
        break;
    }
    return UNKNOWN;
}

static enum hit blocks_hit(const struct judge *j, enum l7_attribute a, const struct l7_blocks *list)
{
    const struct l7_conn *c = j->q->conn;
    const struct ip *ip = a == L7_SOURCE_IP   ? &c->source.ip
                          : a == L7_REMOTE_IP ? &c->remote
                                              : &c->destination.ip;

    if (ip->family == IP_NONE && list->count > 0) {
        return UNKNOWN;
    }
    for (size_t i = 0; i < list->count; i++) {
        if (ip_prefix_has(&list->at[i], ip)) {
            return HIT;
        }
    }
    return MISS;
}

static enum hit ports_hit(const struct judge *j, const struct l7_ports *list)
{
    for (size_t i = 0; i < list->count; i++) {
        if (list->at[i] == j->q->conn->destination.port) {
            return HIT;
        }
    }
    return MISS;
}

/* ---- terms, clauses, rules */

static bool is_known_to_tcp(enum l7_attribute a)
{
    switch (a) {
    case L7_SOURCE_PRINCIPAL:
    case L7_SOURCE_NAMESPACE:
    case L7_SOURCE_ACCOUNT:
    case L7_SOURCE_TRUST_DOMAIN:
    case L7_SOURCE_IP:
    case L7_DESTINATION_IP:
    case L7_DESTINATION_PORT:
    case L7_SNI:
        return true;
    case L7_REQUEST_PRINCIPAL:
    case L7_REMOTE_IP:
    case L7_HOST:
    case L7_METHOD:
    case L7_PATH:
    case L7_REQUEST_HEADER:
    case L7_REQUEST_AUDIENCES:
    case L7_REQUEST_PRESENTER:
    case L7_REQUEST_CLAIM:
    case L7_UNSUPPORTED:
        break;
    }
    return false;
}

/* The half of a term that asks for a hit, or for none. */
static bool half_holds(struct judge *j, bool flawed, size_t count, enum hit hit, bool wanted)
{
    if (count == 0 && !flawed) {
        return true;
    }
    if (flawed || hit == UNKNOWN) {
        j->unknown = true;
        return j->wide;
    }
    return (hit == HIT) == wanted;
}

static bool term_holds(struct judge *j, const struct l7_term *t)
{
    if (t->attribute == L7_UNSUPPORTED || (!j->http && !is_known_to_tcp(t->attribute))) {
        return j->wide;
    }
    if (t->attribute == L7_DESTINATION_PORT) {
        return half_holds(j, t->ports.flawed, t->ports.count, ports_hit(j, &t->ports), true) &&
               half_holds(j, t->not_ports.flawed, t->not_ports.count, ports_hit(j, &t->not_ports),
                          false);
    }
    if (t->attribute == L7_SOURCE_IP || t->attribute == L7_REMOTE_IP ||
        t->attribute == L7_DESTINATION_IP) {
        return half_holds(j, t->blocks.flawed, t->blocks.count,
                          blocks_hit(j, t->attribute, &t->blocks), true) &&
               half_holds(j, t->not_blocks.flawed, t->not_blocks.count,
                          blocks_hit(j, t->attribute, &t->not_blocks), false);
    }
    return half_holds(j, t->values.flawed, t->values.count, strings_hit(j, t, &t->values, j->wide),
                      true) &&
           half_holds(j, t->not_values.flawed, t->not_values.count,
                      strings_hit(j, t, &t->not_values, !j->wide), false);
}

static bool clause_holds(struct judge *j, const struct l7_clause *c)
{
    for (size_t i = 0; i < c->term_count; i++) {
        if (!term_holds(j, &c->terms[i])) {
            return false;
        }
    }
    return true;
}

/* A source or operation that asks for nothing says nothing. */
static bool any_clause(struct judge *j, const struct l7_clause *at, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (at[i].term_count == 0 ? j->wide : clause_holds(j, &at[i])) {
            return true;
        }
    }
    return count == 0;
}

static bool rule_holds(struct judge *j, const struct l7_rule *r)
{
    return any_clause(j, r->from_clauses, r->from_count) &&
           any_clause(j, r->to_clauses, r->to_count) && clause_holds(j, &r->when_clause);
}

static bool policy_holds(struct judge *j, const struct l7_policy *p, size_t *rule)
{
    j->wide = p->action != L7_ALLOW;
    for (size_t i = 0; !p->broken && i < p->rule_count; i++) {
        if (rule_holds(j, &p->rules[i])) {
            *rule = i;
            return true;
        }
    }
    return false;
}

bool l7_policy_matches(const struct l7_policy *p, const struct l7_request *q, bool http,
                       size_t *rule)
{
    struct judge j = {.q = q, .http = http};

    return policy_holds(&j, p, rule);
}

/* ---- all policies */

struct tally {
    struct l7_hit_rule custom, deny, allow, broken, audit, dry_deny, dry_allow;
    bool any_allow, any_dry_allow, any_dry;
};

static void keep_first(struct l7_hit_rule *where, const struct l7_policy *p, size_t rule)
{
    if (!where->policy) {
        *where = (struct l7_hit_rule){p, rule};
    }
}

static struct l7_hit_rule *slot_of(struct tally *t, const struct l7_policy *p)
{
    switch (p->action) {
    case L7_ALLOW:
        return p->dry_run ? &t->dry_allow : &t->allow;
    case L7_DENY:
        return p->dry_run ? &t->dry_deny : &t->deny;
    case L7_CUSTOM:
        return p->dry_run ? &t->dry_deny : &t->custom;
    case L7_AUDIT:
        break;
    }
    return &t->audit;
}

static void count(struct tally *t, struct judge *j, const struct l7_policy *p)
{
    size_t rule = 0;

    if (p->broken) {
        keep_first(&t->broken, p, 0);
        return;
    }
    t->any_dry |= p->dry_run && p->action != L7_AUDIT;
    if (p->action == L7_ALLOW) {
        *(p->dry_run ? &t->any_dry_allow : &t->any_allow) = true;
    }
    if (policy_holds(j, p, &rule)) {
        keep_first(slot_of(t, p), p, rule);
    }
}

static void deny(struct l7_authz *v, enum l7_authz_reason reason, struct l7_hit_rule by)
{
    v->reason = reason;
    v->by = by;
}

static void conclude(struct l7_authz *v, const struct tally *t)
{
    if (t->custom.policy) {
        deny(v, L7_CUSTOM_DENIED_BY, t->custom);
    } else if (t->deny.policy) {
        deny(v, L7_DENIED_BY, t->deny);
    } else if (t->broken.policy) {
        deny(v, L7_BROKEN_POLICY, t->broken);
    } else if (!t->any_allow) {
        v->allowed = true;
        v->reason = L7_NO_ALLOW_POLICIES;
    } else if (t->allow.policy) {
        v->allowed = true;
        v->reason = L7_ALLOWED_BY;
        v->by = t->allow;
    } else {
        v->reason = L7_NOT_ALLOWED;
    }
}

static void conclude_dry_run(struct l7_authz *v, const struct tally *t)
{
    v->dry_deny = t->dry_deny;
    v->dry_allow = t->dry_allow;
    v->dry_not_allowed = t->any_dry_allow && !t->dry_allow.policy;
    if (t->any_dry) {
        bool denied = t->dry_deny.policy || v->dry_not_allowed;
        v->dry_run = denied ? L7_DRY_DENIED : L7_DRY_ALLOWED;
        v->dry_run_by = denied ? t->dry_deny : t->dry_allow;
    }
}

static struct l7_authz decide(const struct l7 *w, const struct l7_service *s, struct judge *j)
{
    struct l7_policies all[] = {l7_authorization(w),
                                s ? s->authorization : (struct l7_policies){NULL, 0}};
    struct tally t = {.any_allow = false};
    struct l7_authz v = {.allowed = false};

    for (size_t k = 0; k < ARRAY_LEN(all); k++) {
        for (size_t i = 0; i < all[k].count; i++) {
            count(&t, j, all[k].at[i].policy);
        }
    }
    conclude(&v, &t);
    v.audit = t.audit;
    conclude_dry_run(&v, &t);
    v.unknown = j->unknown;
    return v;
}

struct l7_authz l7_authorize(const struct l7 *w, const struct l7_service *s,
                             const struct l7_request *q)
{
    struct judge j = {.q = q, .http = true};

    return decide(w, s, &j);
}

struct l7_authz l7_authorize_tcp(const struct l7 *w, const struct l7_service *s,
                                 const struct l7_conn *conn)
{
    struct l7_request q = {.conn = conn};
    struct judge j = {.q = &q, .http = false};

    return decide(w, s, &j);
}

const char *l7_authz_text(const struct l7_authz *v, char buf[static L7_AUTHZ_TEXT])
{
    const struct l7_policy *p = v->by.policy;

    if (v->reason == L7_TOKEN_HIDDEN) {
        (void)snprintf(buf, L7_AUTHZ_TEXT, "%s",
                       "request authentication needs HTTP; if the port is not, name it tcp-...");
    } else if (p) {
        (void)snprintf(buf, L7_AUTHZ_TEXT,
                       "rbac_access_denied_matched_policy[ns[%.253s]-policy[%.253s]-rule[%zu]]",
                       p->ns, p->name, v->by.rule);
    } else {
        (void)snprintf(buf, L7_AUTHZ_TEXT, "rbac_access_denied_matched_policy[none]");
    }
    return buf;
}
