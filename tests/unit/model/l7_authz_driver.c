/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides the cases of l7_authz_oracle.py: one JSON object a line comes in, one verdict a line goes
 * out. A flag bends one rule by bending the input, to show that the oracle would notice:
 *     negative   negative lists are lost
 *     case       hosts are compared as they are
 *     flawed     values that mean nothing are left out
 *     dry_run    dry runs are enforced
 *     tcp        what is not HTTP is judged as HTTP
 *     custom     CUSTOM policies are left out
 *     broken     policies that could not be decoded are left out
 *     template   "{**}" is one segment
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/mem.h"
#include "codec/json.h"
#include "model/l7_authz.h"

static const char *bend = "";

static bool bends(const char *rule)
{
    return strcmp(bend, rule) == 0;
}

NO_RETURN static void die(const char *what)
{
    (void)fprintf(stderr, "l7_authz_driver: %s\n", what);
    exit(2);
}

static struct l7_texts texts(struct arena *a, const struct json *j, const char *key)
{
    const struct json *list = json_get(j, key);
    const char **at = arena_array(a, json_count(list), sizeof(*at));
    size_t n = 0;

    if (strncmp(key, "not", 3) == 0 && bends("negative")) {
        return (struct l7_texts){at, 0};
    }
    for (size_t i = 0; i < json_count(list); i++) {
        const char *s = json_str(json_item(list, i), "");
        const char *op = strstr(s, "{**}");
        if (bends("flawed") && (strstr(s, "bad") || *s == '\0')) {
            continue;
        }
        if (op && bends("template")) {
            char *copy = arena_text(a, s, strlen(s));
            memmove(copy + (op - s) + 2, copy + (op - s) + 3, strlen(op + 3) + 1);
            s = copy;
        }
        at[n++] = s;
    }
    return (struct l7_texts){at, n};
}

static struct l7_source source(struct arena *a, const struct json *j)
{
    return (struct l7_source){
        .principals = texts(a, j, "principals"),
        .not_principals = texts(a, j, "notPrincipals"),
        .request_principals = texts(a, j, "requestPrincipals"),
        .not_request_principals = texts(a, j, "notRequestPrincipals"),
        .namespaces = texts(a, j, "namespaces"),
        .not_namespaces = texts(a, j, "notNamespaces"),
        .service_accounts = texts(a, j, "serviceAccounts"),
        .not_service_accounts = texts(a, j, "notServiceAccounts"),
        .ip_blocks = texts(a, j, "ipBlocks"),
        .not_ip_blocks = texts(a, j, "notIpBlocks"),
        .remote_ip_blocks = texts(a, j, "remoteIpBlocks"),
        .not_remote_ip_blocks = texts(a, j, "notRemoteIpBlocks"),
    };
}

static struct l7_operation operation(struct arena *a, const struct json *j)
{
    return (struct l7_operation){
        .hosts = texts(a, j, "hosts"),
        .not_hosts = texts(a, j, "notHosts"),
        .ports = texts(a, j, "ports"),
        .not_ports = texts(a, j, "notPorts"),
        .methods = texts(a, j, "methods"),
        .not_methods = texts(a, j, "notMethods"),
        .paths = texts(a, j, "paths"),
        .not_paths = texts(a, j, "notPaths"),
    };
}

static struct l7_rule rule(struct arena *a, const struct json *j)
{
    const struct json *from = json_get(j, "from");
    const struct json *to = json_get(j, "to");
    const struct json *when = json_get(j, "when");
    struct l7_source *sources = arena_array(a, json_count(from), sizeof(*sources));
    struct l7_operation *operations = arena_array(a, json_count(to), sizeof(*operations));
    struct l7_condition *conditions = arena_array(a, json_count(when), sizeof(*conditions));

    for (size_t i = 0; i < json_count(from); i++) {
        sources[i] = source(a, json_item(from, i));
    }
    for (size_t i = 0; i < json_count(to); i++) {
        operations[i] = operation(a, json_item(to, i));
    }
    for (size_t i = 0; i < json_count(when); i++) {
        const struct json *c = json_item(when, i);
        conditions[i] = (struct l7_condition){json_str_at(c, "key", ""), texts(a, c, "values"),
                                              texts(a, c, "notValues")};
    }
    return (struct l7_rule){.from = sources,
                            .to = operations,
                            .when = conditions,
                            .from_count = json_count(from),
                            .to_count = json_count(to),
                            .when_count = json_count(when)};
}

static void put_policy(struct l7_delta *d, struct arena *a, const struct json *j)
{
    const struct json *rules = json_get(j, "rules");
    struct l7_rule *list = arena_array(a, json_count(rules), sizeof(*list));
    bool for_service = json_bool_at(j, "service", false);
    struct l7_policy p = {
        .resource = json_str_at(j, "resource", ""),
        .ns = json_str_at(j, "ns", ""),
        .name = json_str_at(j, "name", ""),
        .service_ns = for_service ? "ns" : "",
        .service_hostname = for_service ? "svc" : "",
        .action = (enum l7_action)json_int_at(j, "action", 0),
        .dry_run = json_bool_at(j, "dry_run", false) && !bends("dry_run"),
        .broken = json_bool_at(j, "broken", false),
        .rules = list,
        .rule_count = json_count(rules),
    };
    const struct l7_policy *made;

    if ((p.action == L7_CUSTOM && bends("custom")) || (p.broken && bends("broken"))) {
        return;
    }
    for (size_t i = 0; i < p.rule_count; i++) {
        list[i] = rule(a, json_item(rules, i));
    }
    if (l7_policy_new(&made, &p, NULL) < 0) {
        die("policy");
    }
    (void)l7_put_policy(d, made); /* every name comes once */
}

static struct slice header(void *arg, const char *name)
{
    const char *s = json_str(json_get(json_get(arg, "headers"), name), NULL);

    return s ? slice_of(s) : (struct slice){NULL, 0};
}

static size_t claim(void *arg, const char *const *path, size_t depth, struct slice *values,
                    size_t room)
{
    const struct json *j = json_get(arg, "claims");

    for (size_t i = 0; i < depth; i++) {
        j = json_get(j, path[i]);
    }
    for (size_t i = 0; i < json_count(j) && i < room && json_is_arr(j); i++) {
        values[i] = slice_of(json_str(json_item(j, i), ""));
    }
    return json_is_arr(j) ? json_count(j) : 0;
}

static struct endpoint read_endpoint(const struct json *j, const char *path)
{
    const char *s = json_str_at(j, path, "");
    struct endpoint e;

    if (endpoint_parse(&e, s, strlen(s)) < 0) {
        die("endpoint");
    }
    return e;
}

static void fill_request(struct l7_request *q, struct json *j, struct arena *a)
{
    const char *iss = json_str_at(j, "iss", NULL);
    const char *host = json_str_at(j, "host", "");
    char *lower = arena_text(a, host, strlen(host));

    for (char *c = lower; *c && !bends("case"); c++) {
        *c = (char)(*c >= 'A' && *c <= 'Z' ? *c | 0x20 : *c);
    }
    q->method = slice_of(json_str_at(j, "method", ""));
    q->authority = slice_of(lower);
    q->path = slice_of(json_str_at(j, "path", ""));
    q->respelt = slice_of(json_str_at(j, "respelt", NULL));
    q->header = header;
    q->header_arg = j;
    if (iss) {
        AUTO(strbuf) struct strbuf whole = {0};
        strbuf_printf(&whole, "%s/%s", iss, json_str_at(j, "sub", ""));
        q->principal = slice_of(arena_text(a, strbuf_text(&whole), whole.len));
        q->issuer_len = strlen(iss);
        q->claim = claim;
        q->claim_arg = j;
    }
}

static void print_hit(const char *label, const struct l7_hit_rule *h)
{
    if (h->policy) {
        printf(" %s=%s/%zu", label, h->policy->resource, h->rule);
    } else {
        printf(" %s=-", label);
    }
}

static void decide(struct json *j)
{
    AUTO(arena) struct arena a = {0};
    AUTO(l7) const struct l7 *empty = l7_new(NULL, NULL);
    AUTO(identity) const struct identity *peer = NULL;
    struct l7_delta *d = l7_delta_new(empty);
    const struct json *policies = json_get(j, "policies");
    struct json *request = json_get(j, "request");
    const char *uri = json_str_at(request, "peer", NULL);
    bool http = json_bool_at(request, "http", true) || bends("tcp");

    for (size_t i = 0; i < json_count(policies); i++) {
        put_policy(d, &a, json_item(policies, i));
    }
    AUTO(l7) const struct l7 *w = l7_next(d);
    if (uri && identity_parse(&peer, uri, strlen(uri), NULL) < 0) {
        die("peer");
    }
    struct l7_conn conn = {.peer = peer,
                           .source = read_endpoint(request, "src"),
                           .destination = read_endpoint(request, "dst"),
                           .sni = slice_of(json_str_at(request, "sni", NULL))};
    conn.remote = read_endpoint(request, "remote").ip;
    struct l7_request q = {.conn = &conn};
    fill_request(&q, request, &a);
    const struct l7_service *s = l7_service_find(w, "ns/svc");
    struct l7_authz v = http ? l7_authorize(w, s, &q) : l7_authorize_tcp(w, s, &conn);
    printf("%s", v.allowed ? "allow" : "deny");
    print_hit("by", &v.by);
    print_hit("audit", &v.audit);
    print_hit("dry_deny", &v.dry_deny);
    print_hit("dry_allow", &v.dry_allow);
    printf(" refused=%d\n", v.dry_not_allowed);
}

int main(int argc, char **argv)
{
    AUTO(text) char *line = NULL;
    size_t size = 0;
    ssize_t len;

    bend = argc > 1 ? argv[1] : "";
    while ((len = getline(&line, &size, stdin)) > 0) {
        AUTO(json) struct json *j = NULL;
        if (json_parse(&j, line, (size_t)len, NULL, NULL) < 0) {
            die("case is not JSON");
        }
        decide(j);
    }
    return 0;
}
