/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each rule is asked for itself: is there a token where it looks, and is it one of its issuer's? The
 * answers are then put together; which of several failures is told is the one of the rule whose
 * issuer the token names.
 */
#include "tls/request_auth.h"

#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "codec/jwt.h"
#include "codec/url.h"
#include "model/l7_apply.h"
#include "tls/jwks.h"
#include "tls/token_cache.h"

enum { TOKENS_MAX = 8 };

enum place_kind { IN_HEADER, IN_PARAM, IN_COOKIE };

struct token {
    struct slice text; /* points into the request, or into the finder's memory */
    enum place_kind kind;
    const char *name;
};

/* The tokens that one rule finds. */
struct finder {
    struct token at[TOKENS_MAX];
    size_t count;
    struct strbuf decoded[TOKENS_MAX]; /* of query parameters; as many as tokens */
};

/* What has become of the rules asked so far. */
struct judging {
    struct request_auth *out;
    const struct request_auth_ask *ask;
    bool found;        /* a token somewhere */
    bool issuer_known; /* a rule knew the issuer: its message counts */
    const char *message;
};

struct asked_rule {
    const struct l7_policy *policy;
    const struct l7_jwt_rule *rule;
    const struct jwks *keys; /* NULL: none */
};

/* ---- finding tokens */

static void add_token(struct finder *f, struct slice text, enum place_kind kind, const char *name)
{
    if (f->count < TOKENS_MAX) {
        f->at[f->count++] = (struct token){text, kind, name};
    }
}

static void find_header(struct finder *f, const struct l7_request *q, const char *name,
                        const char *prefix)
{
    struct slice value = l7_request_header(q, name);
    size_t skip = strlen(prefix);

    if (value.p && slice_has_prefix(value, prefix)) {
        add_token(f, slice_trim((struct slice){value.p + skip, value.len - skip}), IN_HEADER, name);
    }
}

static void find_param(struct finder *f, const struct l7_request *q, const char *name)
{
    if (f->count < TOKENS_MAX && url_query_get(q->query, name, &f->decoded[f->count]) == 1) {
        struct strbuf *text = &f->decoded[f->count];
        add_token(f, (struct slice){strbuf_text(text), text->len}, IN_PARAM, name);
    }
}

/* One "name=value" after the other (RFC 6265 4.2.1). */
static bool next_cookie(struct slice *rest, struct slice *name, struct slice *value)
{
    struct slice piece = *rest;
    struct slice behind = {"", 0};

    if (rest->len == 0) {
        return false;
    }
    if (!slice_cut(*rest, ';', &piece, &behind)) {
        piece = *rest;
        behind = (struct slice){"", 0};
    }
    *rest = behind;
    piece = slice_trim(piece);
    if (!slice_cut(piece, '=', name, value)) {
        *name = piece;
        *value = (struct slice){"", 0};
    }
    return true;
}

static void find_cookie(struct finder *f, const struct l7_request *q, const char *name)
{
    struct slice rest = l7_request_header(q, "cookie");
    struct slice key, value;

    while (next_cookie(&rest, &key, &value)) {
        if (slice_is(key, name)) {
            add_token(f, value, IN_COOKIE, name);
            return;
        }
    }
}

static void find_tokens(struct finder *f, const struct l7_request *q, const struct l7_jwt_rule *r)
{
    if (r->from_header_count + r->from_params.count + r->from_cookies.count == 0) {
        find_header(f, q, "authorization", "Bearer ");
        find_param(f, q, "access_token");
        return;
    }
    for (size_t i = 0; i < r->from_header_count; i++) {
        find_header(f, q, r->from_headers[i].name, r->from_headers[i].prefix);
    }
    for (size_t i = 0; i < r->from_params.count; i++) {
        find_param(f, q, r->from_params.at[i]);
    }
    for (size_t i = 0; i < r->from_cookies.count; i++) {
        find_cookie(f, q, r->from_cookies.at[i]);
    }
}

static void put_place(struct strbuf *out, size_t begin, const char *kind, const char *name)
{
    strbuf_printf(out, "%s%s %s", out->len > begin ? ", " : "", kind, name);
}

void request_auth_places(const struct l7_jwt_rule *r, struct strbuf *out)
{
    size_t begin = out->len;

    if (r->from_header_count + r->from_params.count + r->from_cookies.count == 0) {
        strbuf_puts(out, "header authorization (Bearer ...), parameter access_token");
        return;
    }
    for (size_t i = 0; i < r->from_header_count; i++) {
        put_place(out, begin, "header", r->from_headers[i].name);
        if (r->from_headers[i].prefix[0] != '\0') {
            strbuf_printf(out, " (%s...)", r->from_headers[i].prefix);
        }
    }
    for (size_t i = 0; i < r->from_params.count; i++) {
        put_place(out, begin, "parameter", r->from_params.at[i]);
    }
    for (size_t i = 0; i < r->from_cookies.count; i++) {
        put_place(out, begin, "cookie", r->from_cookies.at[i]);
    }
}

static void finder_fini(struct finder *f)
{
    for (size_t i = 0; i < TOKENS_MAX; i++) {
        strbuf_fini(&f->decoded[i]);
    }
}

/* ---- one token against one rule */

static bool has_audience(const struct json *aud, const char *want)
{
    if (json_is_arr(aud)) {
        for (size_t i = 0; i < json_count(aud); i++) {
            if (strcmp(json_str(json_item(aud, i), ""), want) == 0) {
                return true;
            }
        }
        return false;
    }
    return strcmp(json_str(aud, ""), want) == 0;
}

static bool audience_fits(const struct l7_jwt_rule *r, const struct json *claims)
{
    const struct json *aud = json_get(claims, "aud");

    for (size_t i = 0; i < r->audiences.count; i++) {
        if (r->audiences.at[i][0] != '\0' && has_audience(aud, r->audiences.at[i])) {
            return true;
        }
    }
    return r->audiences.count == 0;
}

static const char *parse_failure(int r)
{
    return r == -ERR_TOO_LARGE     ? "Jwt is too large"
           : r == -ERR_UNSUPPORTED ? "Jwt header [crit] is not supported"
                                   : "Jwt is not in the form of Header.Payload.Signature";
}

static const char *verify_failure(int r)
{
    return r == -ERR_UNSUPPORTED ? "Jwt header [alg] is not supported"
           : r == -ERR_NOT_FOUND ? "Jwks doesn't have key to match kid or alg from Jwt"
                                 : "Jwt verification fails";
}

/* NULL: it is good. What is cheap comes before the signature. */
static const char *check_token(const struct judging *j, const struct asked_rule *r,
                               const struct jwt *t, struct slice text)
{
    int64_t now_s = j->ask->now_s;

    switch (jwt_time_check(t, now_s)) {
    case JWT_TIME_EXPIRED:
        return "Jwt is expired";
    case JWT_TIME_NOT_YET:
        return "Jwt not yet valid";
    case JWT_TIME_GOOD:
        break;
    }
    if (!audience_fits(r->rule, t->claims)) {
        return "Audiences in Jwt are not allowed";
    }
    if (!r->keys) {
        return "Jwks doesn't have key to match kid or alg from Jwt";
    }
    int v = token_cache_verify(j->ask->cache, r->keys, t, text, now_s);
    return v < 0 ? verify_failure(v) : NULL;
}

/* ---- what a bad token says for itself */

static void put_claim(struct strbuf *out, const char *name, const struct json *claim)
{
    strbuf_printf(out, "%s is ", name);
    if (claim) {
        json_print(claim, 0, out);
    } else {
        strbuf_puts(out, "absent");
    }
}

/* A claim of time and ours, readable where it is one. */
static void put_time(struct strbuf *out, const struct jwt *t, const char *name, int64_t now_s)
{
    const struct json *claim = json_get(t->claims, name);
    int64_t at = json_int(claim, -1);
    char text[CLOCK_TEXT];

    put_claim(out, name, claim);
    if (at >= 0 && at < (int64_t)(UINT64_MAX / 2 / 1000000000)) {
        clock_format((uint64_t)at * 1000000000, text, sizeof(text));
        strbuf_printf(out, " (%.19sZ)", text);
    }
    clock_format((uint64_t)now_s * 1000000000, text, sizeof(text));
    strbuf_printf(out, ", now is %lld (%.19sZ)", (long long)now_s, text);
}

static void put_key(struct strbuf *out, const struct jwt *t)
{
    put_claim(out, "alg", json_get(t->header, "alg"));
    strbuf_puts(out, ", ");
    put_claim(out, "kid", json_get(t->header, "kid"));
}

static void put_audiences(struct strbuf *out, const struct jwt *t, const struct l7_jwt_rule *r)
{
    put_claim(out, "aud", json_get(t->claims, "aud"));
    strbuf_puts(out, ", the rule takes ");
    for (size_t i = 0; i < r->audiences.count; i++) {
        strbuf_printf(out, "%s%s", i > 0 ? ", " : "", r->audiences.at[i]);
    }
}

/* In the order in which check_token looks. */
static void explain(struct judging *j, const struct asked_rule *r, const struct jwt *t)
{
    struct strbuf *out = j->ask->explain;

    switch (jwt_time_check(t, j->ask->now_s)) {
    case JWT_TIME_EXPIRED:
        put_time(out, t, "exp", j->ask->now_s);
        return;
    case JWT_TIME_NOT_YET:
        put_time(out, t, "nbf", j->ask->now_s);
        return;
    case JWT_TIME_GOOD:
        break;
    }
    if (!audience_fits(r->rule, t->claims)) {
        put_audiences(out, t, r->rule);
    } else if (!r->keys) {
        strbuf_puts(out, "the rule's jwks has no key that can be used");
    } else {
        put_key(out, t);
    }
}

/* ---- what a good token gives */

static void add_header(struct request_auth *a, const char *name, const char *value, size_t len)
{
    if (a->header_count % 8 == 0) {
        a->headers = mem_resize(a->headers, (a->header_count + 8) * sizeof(*a->headers));
    }
    a->headers[a->header_count++] =
        (struct request_auth_header){mem_strdup(name), value ? mem_dup(value, len) : NULL};
}

/* Whatever a client put where a rule writes is not the rule's word. */
static void clear_outputs(struct request_auth *a, const struct l7_jwt_rule *r)
{
    if (r->output_payload_to_header[0] != '\0') {
        add_header(a, r->output_payload_to_header, NULL, 0);
    }
    for (size_t i = 0; i < r->claim_header_count; i++) {
        if (r->claim_headers[i].header[0] != '\0') {
            add_header(a, r->claim_headers[i].header, NULL, 0);
        }
    }
}

/* A claim by its name, else by its path ("a.b"). */
static const struct json *claim_named(const struct json *claims, const char *name)
{
    const struct json *j = json_get(claims, name);

    return j ? j : json_at(claims, name);
}

static bool is_field_value(const char *s)
{
    for (; *s; s++) {
        if (((unsigned char)*s < ' ' && *s != '\t') || *s == 0x7f) {
            return false;
        }
    }
    return true;
}

static void give_claim(struct request_auth *a, const char *header, const struct json *claim)
{
    AUTO(strbuf) struct strbuf text = {.p = NULL};

    switch (json_kind(claim)) {
    case JSON_KIND_STRING:
        strbuf_puts(&text, json_str(claim, ""));
        break;
    case JSON_KIND_BOOL:
    case JSON_KIND_INT:
        json_print(claim, 0, &text);
        break;
    case JSON_KIND_NULL:
    case JSON_KIND_REAL:
    case JSON_KIND_ARRAY:
    case JSON_KIND_OBJECT:
        return;
    }
    if (header[0] != '\0' && is_field_value(strbuf_text(&text))) {
        add_header(a, header, strbuf_text(&text), text.len);
    }
}

static void split_words(struct json *claims, const char *name)
{
    const char *text = json_str(json_get(claims, name), NULL);
    struct slice rest = slice_of(text);

    if (!text) {
        return;
    }
    struct json *list = json_new_array();
    while (rest.len > 0) {
        struct slice word = rest;
        struct slice behind = {"", 0};
        if (!slice_cut(rest, ' ', &word, &behind)) {
            word = rest;
            behind = (struct slice){"", 0};
        }
        rest = behind;
        if (word.len > 0) {
            json_append(list, json_new_strn(word.p, word.len));
        }
    }
    json_set(claims, name, list); /* text is gone with this */
}

static void drop_cookie(struct request_auth *a, const struct l7_request *q, const char *name)
{
    AUTO(strbuf) struct strbuf left = {.p = NULL};
    struct slice rest = l7_request_header(q, "cookie");
    struct slice key, value;

    while (next_cookie(&rest, &key, &value)) {
        if (key.len > 0 && !slice_is(key, name)) {
            strbuf_puts(&left, left.len > 0 ? "; " : "");
            strbuf_add(&left, key.p, key.len);
            strbuf_putc(&left, '=');
            strbuf_add(&left, value.p, value.len);
        }
    }
    add_header(a, "cookie", left.len > 0 ? strbuf_text(&left) : NULL, left.len);
}

static void drop_param(struct request_auth *a, const struct l7_request *q, const char *name)
{
    AUTO(strbuf) struct strbuf left = {.p = NULL};
    struct slice rest = q->query;
    struct slice key, value;

    while (url_query_next(&rest, &key, &value)) {
        AUTO(strbuf) struct strbuf plain = {.p = NULL};
        if (url_decode(&plain, key, URL_FORM) == 0 && strcmp(strbuf_text(&plain), name) == 0) {
            continue;
        }
        const char *end =
            value.len > 0 || value.p == key.p + key.len + 1 ? value.p + value.len : key.p + key.len;
        strbuf_puts(&left, left.len > 0 ? "&" : "");
        strbuf_add(&left, key.p, (size_t)(end - key.p));
    }
    a->query = strbuf_take(&left);
}

static void take_away(struct request_auth *a, const struct l7_request *q, const struct token *t)
{
    switch (t->kind) {
    case IN_HEADER:
        add_header(a, t->name, NULL, 0);
        break;
    case IN_PARAM:
        drop_param(a, q, t->name);
        break;
    case IN_COOKIE:
        drop_cookie(a, q, t->name);
        break;
    }
}

static void set_principal(struct request_auth *a)
{
    AUTO(strbuf) struct strbuf text = {.p = NULL};
    const char *iss = json_str(json_get(a->claims, "iss"), "");
    const char *sub = json_str(json_get(a->claims, "sub"), "");

    a->issuer_len = strlen(iss);
    if (*iss && *sub) {
        strbuf_printf(&text, "%s/%s", iss, sub);
        a->principal = strbuf_take(&text);
    }
}

static void take(struct judging *j, const struct asked_rule *asked, const struct jwt *t,
                 const struct token *found)
{
    const struct l7_jwt_rule *r = asked->rule;
    struct request_auth *a = j->out;

    a->outcome = REQUEST_AUTH_VALID;
    a->policy = asked->policy;
    a->rule = r;
    a->claims = json_ref(t->claims);
    set_principal(a);
    if (!r->forward_original_token) {
        take_away(a, j->ask->request, found);
    }
    if (r->output_payload_to_header[0] != '\0') {
        add_header(a, r->output_payload_to_header, t->payload.p, t->payload.len);
    }
    for (size_t i = 0; i < r->claim_header_count; i++) {
        const struct l7_claim_header *h = &r->claim_headers[i];
        give_claim(a, h->header, claim_named(a->claims, h->claim));
    }
    split_words(a->claims, "scope");
    split_words(a->claims, "permission");
    for (size_t i = 0; i < r->space_delimited_claims.count; i++) {
        split_words(a->claims, r->space_delimited_claims.at[i]);
    }
}

/* ---- rules */

/* The first failure is told, unless a later one is of a rule that knows the token's issuer. */
static bool refuse(struct judging *j, const struct asked_rule *r, bool issuer_known,
                   const char *message)
{
    if (j->message && (!issuer_known || j->issuer_known)) {
        return false;
    }
    j->message = message;
    j->issuer_known = issuer_known;
    j->out->policy = r->policy;
    j->out->rule = r->rule;
    if (j->ask->explain) {
        strbuf_clear(j->ask->explain);
    }
    return j->ask->explain != NULL;
}

static void ask_issuer(struct judging *j, const struct asked_rule *r, const struct jwt *t,
                       const struct token *found)
{
    const struct json *iss = json_get(t->claims, "iss");
    const char *failure;

    if (strcmp(json_str(iss, ""), r->rule->issuer) != 0) {
        if (refuse(j, r, false, "Jwt issuer is not configured")) {
            put_claim(j->ask->explain, "iss", iss);
            strbuf_printf(j->ask->explain, ", the rule takes %s", r->rule->issuer);
        }
        return;
    }
    failure = check_token(j, r, t, found->text);
    if (!failure) {
        take(j, r, t, found);
    } else if (refuse(j, r, true, failure)) {
        explain(j, r, t);
    }
}

static void ask_token(struct judging *j, const struct asked_rule *r, const struct token *found)
{
    struct jwt t = {.header = NULL};
    struct diag why = {0};
    int c = jwt_parse(&t, found->text, &why);

    if (c == 0) {
        ask_issuer(j, r, &t, found);
    } else if (refuse(j, r, false, parse_failure(c))) {
        strbuf_puts(j->ask->explain, why.text);
    }
    jwt_fini(&t);
}

static void ask_rule(struct judging *j, const struct asked_rule *r)
{
    struct finder f = {.count = 0};

    find_tokens(&f, j->ask->request, r->rule);
    for (size_t i = 0; i < f.count && j->out->outcome != REQUEST_AUTH_VALID; i++) {
        j->found = true;
        ask_token(j, r, &f.at[i]);
    }
    finder_fini(&f);
}

static void clear_all(struct request_auth *out, const struct l7_policies *all)
{
    for (size_t i = 0; i < all->count; i++) {
        const struct l7_policy *p = all->at[i].policy;
        for (size_t k = 0; k < p->jwt_rule_count; k++) {
            clear_outputs(out, &p->jwt_rules[k]);
        }
    }
}

static void ask_all(struct judging *j, const struct l7_policies *all)
{
    for (size_t i = 0; i < all->count; i++) {
        const struct l7_placed *p = &all->at[i];
        for (size_t k = 0; k < p->policy->jwt_rule_count && j->out->outcome != REQUEST_AUTH_VALID;
             k++) {
            struct asked_rule r = {p->policy, &p->policy->jwt_rules[k], jwks_of(p->keys[k])};
            ask_rule(j, &r);
        }
    }
}

void request_auth_judge(struct request_auth *out, const struct request_auth_ask *ask)
{
    struct l7_policies all[] = {l7_authentication(ask->world), ask->service
                                                                   ? ask->service->authentication
                                                                   : (struct l7_policies){NULL, 0}};
    struct judging j = {.out = out, .ask = ask};

    *out = (struct request_auth){.message = "Jwt verification fails"};
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        clear_all(out, &all[i]);
    }
    if (l7_is_preflight(ask->request)) {
        out->outcome = REQUEST_AUTH_NOBODY;
        return;
    }
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        ask_all(&j, &all[i]);
    }
    if (out->outcome != REQUEST_AUTH_VALID && !j.found) {
        out->outcome = REQUEST_AUTH_NOBODY;
    } else if (j.message) {
        out->message = j.message;
    }
}

void request_auth_fini(struct request_auth *a)
{
    for (size_t i = 0; i < a->header_count; i++) {
        mem_free(a->headers[i].name);
        mem_free(a->headers[i].value);
    }
    mem_free(a->headers);
    mem_free(a->principal);
    mem_free(a->query);
    (void)json_unref(a->claims); /* NULL */
    *a = (struct request_auth){.outcome = REQUEST_AUTH_REFUSED};
}

/* ---- afterwards */

static size_t claim_values(void *arg, const char *const *path, size_t depth, struct slice *values,
                           size_t room)
{
    const struct json *j = arg;
    size_t n = 0;

    for (size_t i = 0; i < depth; i++) {
        j = json_get(j, path[i]);
    }
    if (json_kind(j) == JSON_KIND_STRING) {
        if (room > 0) {
            values[0] = slice_of(json_str(j, ""));
        }
        return 1;
    }
    for (size_t i = 0; json_is_arr(j) && i < json_count(j); i++) {
        const char *text = json_str(json_item(j, i), NULL);
        if (text && n < room) {
            values[n] = slice_of(text);
        }
        n += text != NULL;
    }
    return n;
}

void request_auth_show(const struct request_auth *a, struct l7_request *q)
{
    if (a->outcome != REQUEST_AUTH_VALID) {
        return;
    }
    if (a->principal) {
        q->principal = slice_of(a->principal);
        q->issuer_len = a->issuer_len;
    }
    q->claim = claim_values;
    q->claim_arg = a->claims;
}

void request_auth_challenge(const struct request_auth *a, const struct l7_request *q,
                            const char *scheme, struct strbuf *out)
{
    strbuf_puts(out, "Bearer realm=\"");
    strbuf_puts(out, scheme);
    strbuf_puts(out, "://");
    strbuf_add(out, q->authority.p, q->authority.len);
    for (size_t i = 0; i < q->path.len; i++) {
        if (q->path.p[i] == '"') {
            strbuf_puts(out, "%22");
        } else {
            strbuf_putc(out, q->path.p[i]);
        }
    }
    strbuf_putc(out, '"');
    if (strcmp(a->message, "Jwt is missing") != 0) {
        strbuf_puts(out, ", error=\"invalid_token\"");
    }
}
