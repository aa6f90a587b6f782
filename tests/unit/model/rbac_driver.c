/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides the cases of rbac_oracle.py: one JSON object a line comes in, one verdict a line goes
 * out. A flag bends one rule by bending the input, to show that the oracle would notice:
 *     presence   "is there" becomes "begins with nothing"
 *     negative   negative lists are lost
 *     empty      a match without any value matches everything
 *     dry_run    dry runs are enforced
 *     missing    policies that are not known are not named
 *     identity   a peer without identity is taken for one with empty names
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "codec/json.h"
#include "model/intern.h"
#include "model/rbac.h"

static const char *bend = "";

static bool bends(const char *rule)
{
    return strcmp(bend, rule) == 0;
}

NO_RETURN static void die(const char *what)
{
    (void)fprintf(stderr, "rbac_driver: %s\n", what);
    exit(2);
}

/* Everything a case allocates; freed after it. */
enum { ARENA_MAX = 4096 };
static void *arena[ARENA_MAX];
static size_t arena_count;

static void *room(size_t count, size_t size)
{
    if (arena_count == ARENA_MAX) {
        die("case too large");
    }
    return arena[arena_count++] = mem_array(count, size);
}

static void arena_clear(void)
{
    while (arena_count > 0) {
        mem_free(arena[--arena_count]);
    }
}

static struct str_matches read_strs(const struct json *list)
{
    static const char *const kinds[] = {"", "exact", "prefix", "suffix", "presence"};
    struct str_match *m = room(json_count(list), sizeof(*m));

    for (size_t i = 0; i < json_count(list); i++) {
        const char *kind = json_str(json_item(json_item(list, i), 0), "");
        m[i].text = json_str(json_item(json_item(list, i), 1), "");
        for (int k = 1; k <= 4; k++) {
            if (strcmp(kind, kinds[k]) == 0) {
                m[i].kind = (enum match_kind)k;
            }
        }
        if (m[i].kind == MATCH_PRESENCE && bends("presence")) {
            m[i].kind = MATCH_PREFIX;
        }
    }
    return (struct str_matches){m, json_count(list)};
}

static struct ip_matches read_ips(const struct json *list)
{
    struct ip_prefix *p = room(json_count(list), sizeof(*p));

    for (size_t i = 0; i < json_count(list); i++) {
        const char *s = json_str(json_item(list, i), "");
        if (ip_prefix_parse(&p[i], s, strlen(s)) < 0) {
            die("prefix");
        }
    }
    return (struct ip_matches){p, json_count(list)};
}

static struct port_matches read_ports(const struct json *list)
{
    uint16_t *p = room(json_count(list), sizeof(*p));

    for (size_t i = 0; i < json_count(list); i++) {
        p[i] = (uint16_t)json_int(json_item(list, i), 0);
    }
    return (struct port_matches){p, json_count(list)};
}

static struct account_matches read_accounts(const struct json *list)
{
    struct account_match *a = room(json_count(list), sizeof(*a));

    for (size_t i = 0; i < json_count(list); i++) {
        a[i].ns = json_str(json_item(json_item(list, i), 0), "");
        a[i].service_account = json_str(json_item(json_item(list, i), 1), "");
    }
    return (struct account_matches){a, json_count(list)};
}

static struct policy_match read_match(const struct json *j)
{
    struct policy_match m = {
        .namespaces = read_strs(json_get(j, "namespaces")),
        .principals = read_strs(json_get(j, "principals")),
        .source_ips = read_ips(json_get(j, "source_ips")),
        .destination_ips = read_ips(json_get(j, "destination_ips")),
        .destination_ports = read_ports(json_get(j, "destination_ports")),
        .service_accounts = read_accounts(json_get(j, "service_accounts")),
    };

    if (!bends("negative")) {
        m.not_namespaces = read_strs(json_get(j, "not_namespaces"));
        m.not_principals = read_strs(json_get(j, "not_principals"));
        m.not_source_ips = read_ips(json_get(j, "not_source_ips"));
        m.not_destination_ips = read_ips(json_get(j, "not_destination_ips"));
        m.not_destination_ports = read_ports(json_get(j, "not_destination_ports"));
        m.not_service_accounts = read_accounts(json_get(j, "not_service_accounts"));
    }
    if (json_count(j) == 0 && bends("empty")) {
        static const uint16_t never[] = {0};
        m.not_destination_ports = (struct port_matches){never, 1};
    }
    return m;
}

static struct policy_rule read_rule(const struct json *j)
{
    struct policy_clause *clauses = room(json_count(j), sizeof(*clauses));

    for (size_t i = 0; i < json_count(j); i++) {
        const struct json *c = json_item(j, i);
        struct policy_match *matches = room(json_count(c), sizeof(*matches));
        for (size_t k = 0; k < json_count(c); k++) {
            matches[k] = read_match(json_item(c, k));
        }
        clauses[i] = (struct policy_clause){matches, json_count(c)};
    }
    return (struct policy_rule){clauses, json_count(j)};
}

static void put_policy(struct world_delta *d, const struct json *j)
{
    const struct json *rules = json_get(j, "rules");
    struct policy_rule *list = room(json_count(rules), sizeof(*list));
    struct policy p = {
        .ns = json_str_at(j, "ns", ""),
        .name = json_str_at(j, "name", ""),
        .scope = (enum policy_scope)json_int_at(j, "scope", 0),
        .action = (enum policy_action)json_int_at(j, "action", 0),
        .dry_run = json_bool_at(j, "dry_run", false) && !bends("dry_run"),
        .broken = json_bool_at(j, "broken", false),
        .rules = list,
        .rule_count = json_count(rules),
    };
    const struct policy *made;

    for (size_t i = 0; i < p.rule_count; i++) {
        list[i] = read_rule(json_item(rules, i));
    }
    if (policy_new(&made, &p, NULL) < 0) {
        die("policy");
    }
    (void)world_put_policy(d, made); /* every name comes once */
}

static bool is_known(const struct json *policies, const char *key)
{
    for (size_t i = 0; i < json_count(policies); i++) {
        const char *ns = json_str_at(json_item(policies, i), "ns", "");
        const char *name = json_str_at(json_item(policies, i), "name", "");
        size_t len = strlen(ns);
        if (strncmp(key, ns, len) == 0 && key[len] == '/' && strcmp(key + len + 1, name) == 0) {
            return true;
        }
    }
    return false;
}

static const struct workload *read_workload(struct intern *pool, const struct json *j)
{
    const struct json *names = json_at(j, "workload.policies");
    const char **policies = room(json_count(names), sizeof(*policies));
    struct workload w = {.uid = "w", .policies = policies};
    const struct workload *made;

    for (size_t i = 0; i < json_count(names); i++) {
        const char *key = json_str(json_item(names, i), "");
        if (!bends("missing") || is_known(json_get(j, "policies"), key)) {
            policies[w.policy_count++] = key;
        }
    }
    w.identity = intern_identity(pool, "td", json_str_at(j, "workload.ns", ""), "sa");
    if (workload_new(&made, &w, pool, NULL) < 0) {
        die("workload");
    }
    identity_unref(w.identity);
    return made;
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

static void print_verdict(const struct rbac_verdict *v)
{
    static const char *const outcomes[] = {"deny", "allow", "hold"};

    printf("%s %d %s %s %s %d\n", outcomes[v->outcome], v->reason,
           v->policy    ? v->policy->key
           : v->missing ? v->missing
                        : "-",
           v->dry_deny ? v->dry_deny->key : "-", v->dry_allow ? v->dry_allow->key : "-",
           v->dry_not_allowed);
}

static void decide(const struct json *j)
{
    AUTO(intern) struct intern *pool = intern_new();
    AUTO(world) const struct world *empty = world_new(NULL);
    struct world_delta *d = world_delta_new(empty);
    const struct json *policies = json_get(j, "policies");
    const char *peer = json_str_at(j, "conn.peer", NULL);
    AUTO(identity) const struct identity *id = NULL;
    AUTO(workload) const struct workload *w = read_workload(pool, j);

    for (size_t i = 0; i < json_count(policies); i++) {
        put_policy(d, json_item(policies, i));
    }
    AUTO(world) const struct world *world = world_next(d);
    if (peer && identity_parse(&id, peer, strlen(peer), NULL) < 0) {
        die("peer");
    }
    if (!peer && bends("identity")) {
        id = identity_new("", "", "");
    }
    struct rbac_conn c = {read_endpoint(j, "conn.src"), read_endpoint(j, "conn.dst"), id};
    struct rbac_verdict v = rbac_decide(world, w, &c);
    print_verdict(&v);
    arena_clear();
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
