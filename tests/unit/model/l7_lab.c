/* SPDX-License-Identifier: Apache-2.0 */
#include "l7_lab.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/mem.h"

static struct slice lab_header(void *arg, const char *name)
{
    struct lab_request *r = arg;

    for (unsigned i = 0; i < r->header_count; i++) {
        if (strcmp(r->headers[i].name, name) == 0) {
            return slice_of(r->headers[i].value);
        }
    }
    return (struct slice){NULL, 0};
}

void lab_request(struct lab_request *r, const char *line, const char *headers)
{
    struct slice target, path;

    *r = (struct lab_request){.q = {.query = {"", 0}}};
    (void)snprintf(r->text, sizeof(r->text), "%s", headers ? headers : "");
    for (char *at = r->text, *end; *at; at = end) {
        end = strchr(at, '\n');
        end = end ? (*end = '\0', end + 1) : at + strlen(at);
        char *colon = strstr(at, ": ");
        if (colon && r->header_count < LAB_HEADERS) {
            *colon = '\0';
            r->headers[r->header_count].name = at;
            r->headers[r->header_count++].value = colon + 2;
        }
    }
    (void)slice_cut(slice_of(line), ' ', &r->q.method, &target);
    if (slice_cut(target, '?', &path, &r->q.query)) {
        target = path;
    } else {
        r->q.query = (struct slice){"", 0};
    }
    r->q.path = target;
    r->q.authority = slice_of("example.com");
    r->q.conn = &r->conn;
    r->q.header = lab_header;
    r->q.header_arg = r;
}

static char *word_dup(struct arena *a, struct slice s)
{
    return arena_text(a, s.p, s.len);
}

static void add_value(struct arena *a, const struct l7_value_match **list, size_t *count,
                      struct slice word)
{
    struct l7_value_match *v = (struct l7_value_match *)(uintptr_t)*list;
    struct slice name, value;

    if (!v) {
        v = arena_array(a, 8, sizeof(*v));
        *list = v;
    }
    if (!slice_cut((struct slice){word.p + 2, word.len - 2}, '=', &name, &value)) {
        name = (struct slice){word.p + 2, word.len - 2};
        value = (struct slice){"", 0};
    }
    v[(*count)++] = (struct l7_value_match){.name = word_dup(a, name),
                                            .kind = word.p[1] == ':'   ? L7_VALUE_EXACT
                                                    : word.p[1] == '~' ? L7_VALUE_REGEX
                                                                       : L7_VALUE_PRESENT,
                                            .value = word_dup(a, value)};
}

static void add_word(struct arena *a, struct l7_match *m, struct slice word)
{
    if (*word.p == '/') {
        m->path = (struct l7_path_match){.kind = L7_PATH_PREFIX, .value = word_dup(a, word)};
    } else if (*word.p == '=' || *word.p == '~') {
        m->path =
            (struct l7_path_match){.kind = *word.p == '=' ? L7_PATH_EXACT : L7_PATH_REGEX,
                                   .value = word_dup(a, (struct slice){word.p + 1, word.len - 1})};
    } else if (*word.p == 'h') {
        add_value(a, &m->headers, &m->header_count, word);
    } else if (*word.p == 'q') {
        add_value(a, &m->query, &m->query_count, word);
    } else {
        m->method = word_dup(a, word);
    }
}

static struct slice next_part(struct slice *rest, char sep)
{
    struct slice part = *rest, behind = {"", 0};

    if (!slice_cut(*rest, sep, &part, &behind)) {
        part = *rest;
        behind = (struct slice){"", 0};
    }
    *rest = behind;
    return part;
}

int lab_route_try(const struct l7_route **out, const struct lab_rule *rule, struct diag *why)
{
    AUTO(arena) struct arena a = {0};
    struct l7_match *matches = arena_array(&a, 16, sizeof(*matches));
    struct l7_backend backend = {.ns = "ns", .hostname = rule->backend, .port = 80, .weight = 1};
    struct slice ns = {"", 0}, name = {"", 0};
    char resource[200];
    struct l7_route r = {.ns = "ns",
                         .hostname = "svc",
                         .port = 80,
                         .created_s = rule->created_s,
                         .rule = rule->rule,
                         .matches = matches,
                         .backends = &backend,
                         .backend_count = 1};

    (void)slice_cut(slice_of(rule->route ? rule->route : "ns/r"), '/', &ns, &name);
    r.route_ns = word_dup(&a, ns);
    r.route_name = word_dup(&a, name);
    (void)snprintf(resource, sizeof(resource), "w/w/ns/svc/80/HTTPRoute/%s/%s/%u", r.route_ns,
                   r.route_name, r.rule);
    r.resource = resource;
    for (struct slice rest = slice_of(rule->matches ? rule->matches : ""); rest.len > 0;) {
        struct slice match = next_part(&rest, '|');
        while (match.len > 0) {
            struct slice word = next_part(&match, ' ');
            if (word.len > 0) {
                add_word(&a, &matches[r.match_count], word);
            }
        }
        r.match_count++;
    }
    return l7_route_new(out, &r, why);
}

const struct l7_route *lab_route(const struct lab_rule *rule)
{
    const struct l7_route *r = NULL;
    struct diag why = {.code = 0};

    if (lab_route_try(&r, rule, &why) < 0) {
        (void)fprintf(stderr, "lab: %s: %s\n", rule->matches, why.text);
        exit(2);
    }
    return r;
}

const struct l7_table *lab_table(const struct lab_rule *rules, size_t count)
{
    const struct l7_route **routes = mem_array(count + 1, sizeof(struct l7_route *));

    for (size_t i = 0; i < count; i++) {
        struct lab_rule one = rules[i];
        one.rule = one.rule > 0 ? one.rule : (unsigned)i;
        routes[i] = lab_route(&one);
    }
    const struct l7_table *t = l7_table_new(routes, count);
    for (size_t i = 0; i < count; i++) {
        (void)l7_route_unref(routes[i]);
    }
    mem_free(routes);
    return t;
}

const char *lab_target(const struct l7_hit *hit)
{
    return hit->route ? hit->route->backends[0].hostname : "";
}
