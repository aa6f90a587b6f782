/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Answers jwt_oracle.py: one JSON object a line comes in, one answer a line goes out. With "verify":
 * what becomes of a token and a key set. With "judge": what RequestAuthentication rules make of a
 * request. With "cache": the same as "verify", over one cache.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/mem.h"
#include "codec/json.h"
#include "codec/jwt.h"
#include "model/l7_authz.h"
#include "tls/jwks.h"
#include "tls/request_auth.h"
#include "tls/token_cache.h"

NO_RETURN static void die(const char *what)
{
    (void)fprintf(stderr, "jwt_driver: %s\n", what);
    exit(2);
}

/* ---- verify */

static const char *verify(const struct json *j)
{
    AUTO(jwks) struct jwks *keys = NULL;
    const char *set = json_str_at(j, "jwks", "");
    struct jwt t = {.header = NULL};
    int r = jwks_parse(&keys, set, strlen(set), NULL);

    if (r < 0) {
        printf("jwks ");
        return err_name(r);
    }
    r = jwt_parse(&t, slice_of(json_str_at(j, "token", "")), NULL);
    if (r < 0) {
        printf("token ");
    } else {
        r = jwks_verify(keys, &t);
    }
    jwt_fini(&t);
    return r < 0 ? err_name(r) : "good";
}

/* ---- judge */

static struct l7_texts texts(struct arena *a, const struct json *j, const char *key)
{
    const struct json *list = json_get(j, key);
    const char **at = arena_array(a, json_count(list), sizeof(*at));

    for (size_t i = 0; i < json_count(list); i++) {
        at[i] = json_str(json_item(list, i), "");
    }
    return (struct l7_texts){at, json_count(list)};
}

static struct l7_jwt_rule rule(struct arena *a, const struct json *j)
{
    const struct json *headers = json_get(j, "fromHeaders");
    const struct json *outputs = json_get(j, "outputClaimToHeaders");
    struct l7_jwt_location *from = arena_array(a, json_count(headers), sizeof(*from));
    struct l7_claim_header *to = arena_array(a, json_count(outputs), sizeof(*to));

    for (size_t i = 0; i < json_count(headers); i++) {
        const struct json *h = json_item(headers, i);
        from[i] =
            (struct l7_jwt_location){json_str_at(h, "name", ""), json_str_at(h, "prefix", "")};
    }
    for (size_t i = 0; i < json_count(outputs); i++) {
        const struct json *o = json_item(outputs, i);
        to[i] = (struct l7_claim_header){json_str_at(o, "header", ""), json_str_at(o, "claim", "")};
    }
    return (struct l7_jwt_rule){
        .issuer = json_str_at(j, "issuer", ""),
        .audiences = texts(a, j, "audiences"),
        .jwks = json_str_at(j, "jwks", ""),
        .from_headers = from,
        .from_header_count = json_count(headers),
        .from_params = texts(a, j, "fromParams"),
        .from_cookies = texts(a, j, "fromCookies"),
        .output_payload_to_header = json_str_at(j, "outputPayloadToHeader", ""),
        .claim_headers = to,
        .claim_header_count = json_count(outputs),
        .forward_original_token = json_bool_at(j, "forwardOriginalToken", false),
        .space_delimited_claims = texts(a, j, "spaceDelimitedClaims"),
    };
}

static const struct l7 *world(struct arena *a, const struct json *policies)
{
    AUTO(l7) const struct l7 *empty = l7_new(NULL, &jwks_maker);
    struct l7_delta *d = l7_delta_new(empty);

    for (size_t i = 0; i < json_count(policies); i++) {
        const struct json *rules = json_get(json_item(policies, i), "jwtRules");
        struct l7_jwt_rule *list = arena_array(a, json_count(rules), sizeof(*list));
        char name[32];
        const struct l7_policy *made;
        for (size_t k = 0; k < json_count(rules); k++) {
            list[k] = rule(a, json_item(rules, k));
        }
        (void)snprintf(name, sizeof(name), "p%zu", i);
        struct l7_policy p = {.kind = L7_REQUEST_AUTHENTICATION,
                              .resource = name,
                              .service_ns = i % 2 ? "ns" : "",
                              .service_hostname = i % 2 ? "svc" : "",
                              .jwt_rules = list,
                              .jwt_rule_count = json_count(rules)};
        if (l7_policy_new(&made, &p, NULL) < 0) {
            die("policy");
        }
        (void)l7_put_policy(d, made); /* every name comes once */
    }
    return l7_next(d);
}

static struct slice header(void *arg, const char *name)
{
    const char *s = json_str(json_get(json_get(arg, "headers"), name), NULL);

    return s ? slice_of(s) : (struct slice){NULL, 0};
}

static struct json *claim_list(const struct l7_request *q, const struct json *path)
{
    struct slice values[4];
    const char *names[4] = {NULL};
    struct json *list = json_new_array();

    for (size_t i = 0; i < json_count(path) && i < 4; i++) {
        names[i] = json_str(json_item(path, i), "");
    }
    size_t n = q->claim ? q->claim(q->claim_arg, names, json_count(path), values, 4) : 0;
    for (size_t i = 0; i < n && i < 4; i++) {
        json_append(list, json_new_strn(values[i].p, values[i].len));
    }
    return list;
}

static struct json *answer(const struct request_auth *a, struct l7_request *q,
                           const struct json *ask)
{
    static const char *const outcomes[] = {"refused", "nobody", "valid"};
    struct json *out = json_new_object();
    struct json *headers = json_new_array();
    AUTO(strbuf) struct strbuf challenge = {0};

    json_set_str(out, "outcome", outcomes[a->outcome]);
    if (a->outcome == REQUEST_AUTH_REFUSED) {
        json_set_str(out, "message", a->message);
        request_auth_challenge(a, q, "http", &challenge);
        json_set_str(out, "challenge", strbuf_text(&challenge));
    }
    for (size_t i = 0; i < a->header_count; i++) {
        struct json *pair = json_new_array();
        json_append_str(pair, a->headers[i].name);
        json_append(pair,
                    a->headers[i].value ? json_new_str(a->headers[i].value) : json_new_null());
        json_append(headers, pair);
    }
    json_set(out, "headers", headers);
    if (a->query) {
        json_set_str(out, "query", a->query);
    }
    request_auth_show(a, q);
    if (q->principal.p) {
        json_set(out, "principal", json_new_strn(q->principal.p, q->principal.len));
        json_set_int(out, "issuer_len", (int64_t)q->issuer_len);
    }
    json_set(out, "claim", claim_list(q, ask));
    return out;
}

static void judge(struct json *j)
{
    AUTO(arena) struct arena a = {0};
    AUTO(l7) const struct l7 *w = world(&a, json_get(j, "policies"));
    AUTO(strbuf) struct strbuf text = {0};
    AUTO(strbuf) struct strbuf flaw = {0};
    struct l7_conn conn = {.peer = NULL};
    struct l7_request q = {.conn = &conn,
                           .method = slice_of(json_str_at(j, "method", "GET")),
                           .authority = slice_of("svc"),
                           .path = slice_of(json_str_at(j, "path", "/")),
                           .query = slice_of(json_str_at(j, "query", "")),
                           .header = header,
                           .header_arg = j};
    struct request_auth v;

    struct request_auth_ask ask = {.world = w,
                                   .service = l7_service_find(w, "ns/svc"),
                                   .request = &q,
                                   .now_s = json_int_at(j, "now", 0),
                                   .explain = json_bool_at(j, "explain", false) ? &flaw : NULL};
    request_auth_judge(&v, &ask);
    AUTO(json) struct json *out = answer(&v, &q, json_get(j, "ask"));
    json_set_str(out, "by", v.policy ? v.policy->resource : "");
    json_set_str(out, "flaw", strbuf_text(&flaw));
    json_print(out, JSON_PRINT_SORTED, &text);
    printf("%s\n", strbuf_text(&text));
    request_auth_fini(&v);
}

/* ---- cache */

/* Over one cache, and one key set as long as its text stays the same. With "flood": so many tokens
 * that differ from this one in a byte of the signature, one after the other. */
struct cached {
    struct token_cache *cache;
    struct jwks *keys;
    char *text; /* of the keys */
};

static int look(struct cached *c, struct slice text, int64_t now_s)
{
    struct jwt t = {.header = NULL};
    int r = jwt_parse(&t, text, NULL);

    r = r < 0 ? r : token_cache_verify(c->cache, c->keys, &t, text, now_s);
    jwt_fini(&t);
    return r;
}

static int flood(struct cached *c, const char *token, int64_t count, int64_t now_s)
{
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    AUTO(text) char *other = mem_strdup(token);
    char *signature = strrchr(other, '.') + 1;
    int passed = 0;

    for (int64_t i = 0; i < count; i++) {
        for (int k = 0; k < 4; k++) { /* what is in front has no bits to spare */
            signature[k + 4] = letters[i >> (6 * k) & 63];
        }
        passed += strcmp(other, token) != 0 && look(c, slice_of(other), now_s) == 0;
    }
    return passed;
}

static void cache(struct cached *c, const struct json *j)
{
    const char *set = json_str_at(j, "jwks", "");
    const char *token = json_str_at(j, "token", "");
    int64_t now_s = json_int_at(j, "now", 0);

    if (!c->text || strcmp(c->text, set) != 0) {
        mem_free(c->text);
        c->keys = jwks_unref(c->keys);
        c->text = mem_strdup(set);
        if (jwks_parse(&c->keys, set, strlen(set), NULL) < 0) {
            die("keys");
        }
    }
    int64_t floods = json_int_at(j, "flood", 0);
    int r = floods > 0 ? flood(c, token, floods, now_s) : look(c, slice_of(token), now_s);
    struct token_cache_stats stats = token_cache_stats(c->cache);
    printf("{\"result\": \"%s\", \"hits\": %llu, \"misses\": %llu, \"bytes\": %zu}\n",
           r < 0   ? err_name(r)
           : r > 0 ? "passed"
                   : "good",
           (unsigned long long)stats.hits, (unsigned long long)stats.misses,
           token_cache_bytes(c->cache));
}

static void cached_fini(struct cached *c)
{
    token_cache_free(c->cache);
    (void)jwks_unref(c->keys); /* NULL */
    mem_free(c->text);
}

int main(int argc, char **argv)
{
    struct cached cached = {.cache = token_cache_new()};
    AUTO(text) char *line = NULL;
    size_t size = 0;
    ssize_t len;

    while (argc == 2 && (len = getline(&line, &size, stdin)) > 0) {
        AUTO(json) struct json *j = NULL;
        if (json_parse(&j, line, (size_t)len, NULL, NULL) < 0) {
            die("case is not JSON");
        }
        if (strcmp(argv[1], "verify") == 0) {
            printf("%s\n", verify(j));
        } else if (strcmp(argv[1], "cache") == 0) {
            cache(&cached, j);
        } else {
            judge(j);
        }
    }
    cached_fini(&cached);
    return 0;
}
