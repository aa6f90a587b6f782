/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/route_view.h"

#include <string.h>

#include "base/num.h"
#include "base/str.h"
#include "cli/span.h"
#include "codec/json.h"

static const char *text_at(const struct json *j, const char *path)
{
    return json_str_at(j, path, "");
}

/* ---- whose */

/* Is it the whole, or what stands before the next dot? */
static bool is_head(struct slice whole, struct slice head)
{
    return whole.len >= head.len && memcmp(whole.p, head.p, head.len) == 0 &&
           (whole.len == head.len || whole.p[head.len] == '.');
}

bool route_view_is_named(const char *key, const char *word, const char *ns)
{
    struct slice key_ns;
    struct slice host;
    struct slice word_ns;
    struct slice name;

    if (!slice_cut(slice_of(key), '/', &key_ns, &host)) {
        return false;
    }
    if (slice_cut(slice_of(word), '/', &word_ns, &name)) {
        return word_ns.len == key_ns.len && memcmp(word_ns.p, key_ns.p, key_ns.len) == 0 &&
               is_head(host, name);
    }
    if (!is_head(host, slice_of(word))) {
        return false;
    }
    return strchr(word, '.') || !ns || slice_is(key_ns, ns);
}

/* ---- rows */

/* "shop/v1.shop.svc.cluster.local" is "v1" in the service's own namespace, "other/v1" elsewhere. */
static void put_short(const char *key, struct slice own_ns, struct strbuf *out)
{
    struct slice ns;
    struct slice host;
    struct slice first;
    struct slice rest;

    if (!slice_cut(slice_of(key), '/', &ns, &host)) {
        strbuf_puts(out, key);
        return;
    }
    if (ns.len != own_ns.len || memcmp(ns.p, own_ns.p, ns.len) != 0) {
        strbuf_printf(out, "%.*s/", (int)ns.len, ns.p);
    }
    (void)slice_cut(host, '.', &first, &rest); /* without a dot, the whole is the name */
    strbuf_add(out, first.p, first.len);
}

static int64_t weight_of_all(const struct json *backends)
{
    int64_t sum = 0;

    for (size_t i = 0; i < json_count(backends); i++) {
        sum += json_int_at(json_item(backends, i), "weight", 1);
    }
    return sum;
}

/* Of the weight; at least 1 where there is any. */
static int percent_invalid(const struct json *backends)
{
    int64_t sum = weight_of_all(backends);
    int64_t bad = 0;

    for (size_t i = 0; i < json_count(backends); i++) {
        const struct json *b = json_item(backends, i);
        bad += *text_at(b, "invalid") ? json_int_at(b, "weight", 1) : 0;
    }
    return bad > 0 ? (int)MAX_OF(bad * 100 / sum, 1) : 0;
}

/* One that does not exist has none: "/", port 0. */
static bool has_name(const struct json *backend)
{
    return strlen(text_at(backend, "service")) > 1;
}

static struct json *backends_of(const struct json *backends, struct slice ns)
{
    struct json *list = json_new_array();
    int64_t sum = weight_of_all(backends);

    for (size_t i = 0; i < json_count(backends); i++) {
        const struct json *b = json_item(backends, i);
        int64_t weight = json_int_at(b, "weight", 1);
        const char *invalid = text_at(b, "invalid");
        AUTO(strbuf) struct strbuf text = {0};
        if (has_name(b)) {
            put_short(text_at(b, "service"), ns, &text);
            strbuf_printf(&text, ":%lld", (long long)json_int_at(b, "port", 0));
        }
        if (*invalid) {
            strbuf_printf(&text, "%sINVALID (%s)", has_name(b) ? " " : "", invalid);
        }
        if (json_count(backends) > 1) {
            strbuf_printf(&text, " %lld%%", (long long)(sum > 0 ? weight * 100 / sum : 0));
        }
        json_append_str(list, strbuf_text(&text));
    }
    return list;
}

/* The rules of a port: those for everybody, or a consumer's. */
struct rules {
    const struct json *service;
    const char *waypoint;
    const struct json *port;
    const struct json *all; /* has "rules", "tcpBackends" */
    const char *clients;    /* "": everybody else; the namespace whose clients they are for */
};

static struct json *row_of(const struct rules *r)
{
    const struct json *service = r->service;
    const struct json *port = r->port;
    struct json *row = json_new_object();

    json_set_str(row, "service", text_at(service, "service"));
    json_set_str(row, "waypoint", r->waypoint);
    json_set_int(row, "port", json_int_at(port, "port", 0));
    json_set_str(row, "protocol", text_at(port, "protocol"));
    if (*r->clients) {
        json_set_str(row, "clients", r->clients);
    }
    return row;
}

static void set_match(struct json *row, const struct rules *r, const char *match)
{
    AUTO(strbuf) struct strbuf text = {0};

    strbuf_puts(&text, match);
    if (*r->clients) {
        strbuf_printf(&text, ", clients of namespace %s", r->clients);
    }
    json_set_str(row, "match", strbuf_text(&text));
}

static struct slice ns_of(const struct json *service)
{
    struct slice ns;
    struct slice host;

    (void)slice_cut(slice_of(text_at(service, "service")), '/', &ns, &host); /* always there */
    return ns;
}

/* Those that do not say it in one text: by method and path. */
static void put_match(const struct json *match, struct strbuf *out)
{
    const char *text = text_at(match, "text");

    if (*text) {
        strbuf_puts(out, text);
        return;
    }
    strbuf_printf(out, "%s%s", text_at(match, "method"), *text_at(match, "method") ? " " : "");
    strbuf_puts(out, text_at(match, "path.exact"));
    if (json_at(match, "path.prefix")) {
        strbuf_printf(out, "%s/...", text_at(match, "path.prefix"));
    }
    if (json_at(match, "path.regex")) {
        strbuf_printf(out, "~%s", text_at(match, "path.regex"));
    }
}

static void set_times(const struct json *rule, struct json *row)
{
    int64_t timeout = json_int_at(rule, "timeoutMs", 0);

    if (timeout > 0) {
        json_set_int(row, "timeout_ms", timeout);
    }
    if (json_int_at(rule, "retries", 0) > 0) {
        json_set_int(row, "retries", json_int_at(rule, "retries", 0));
    }
}

static bool redirects(const struct json *rule)
{
    const struct json *filters = json_get(rule, "filters");

    for (size_t i = 0; i < json_count(filters); i++) {
        if (strncmp(json_str(json_item(filters, i), ""), "redirect", strlen("redirect")) == 0) {
            return true;
        }
    }
    return false;
}

/* "ok", or what becomes of a request that cannot follow it. */
static void put_state(const struct json *rule, struct strbuf *out)
{
    const char *invalid = text_at(rule, "invalid");
    const struct json *backends = json_get(rule, "backends");
    int bad = percent_invalid(backends);

    if (*invalid) {
        strbuf_puts(out, invalid);
    } else if (redirects(rule)) {
        strbuf_puts(out, "ok");
    } else if (weight_of_all(backends) == 0) {
        strbuf_puts(out, "no backend: answered 500");
    } else if (bad > 0) {
        strbuf_printf(out, "%d%% answered 500", bad);
    } else {
        strbuf_puts(out, "ok");
    }
}

static void add_rule(const struct rules *r, const struct json *rule, struct json *into)
{
    struct json *row = row_of(r);
    AUTO(strbuf) struct strbuf match = {0};
    AUTO(strbuf) struct strbuf route = {0};
    AUTO(strbuf) struct strbuf state = {0};

    put_match(json_get(rule, "match"), &match);
    put_state(rule, &state);
    strbuf_printf(&route, "%s/%s", text_at(rule, "routeNamespace"), text_at(rule, "route"));
    set_match(row, r, strbuf_text(&match));
    json_set_str(row, "kind", text_at(rule, "kind"));
    json_set_str(row, "route", strbuf_text(&route));
    json_set_str(row, "rule", text_at(rule, "rule"));
    json_set(row, "backends", backends_of(json_get(rule, "backends"), ns_of(r->service)));
    json_set(row, "filters",
             json_is_arr(json_get(rule, "filters")) ? json_clone(json_get(rule, "filters"))
                                                    : json_new_array());
    json_set_str(row, "state", strbuf_text(&state));
    set_times(rule, row);
    json_append(into, row);
}

static void add_rules(const struct rules *r, struct json *into)
{
    const struct json *rules = json_get(r->all, "rules");
    const struct json *tcp = json_get(r->all, "tcpBackends");

    for (size_t i = 0; i < json_count(rules); i++) {
        add_rule(r, json_item(rules, i), into);
    }
    if (json_count(rules) > 0) {
        return;
    }
    struct json *row = row_of(r);
    set_match(row, r, "everything");
    json_set_str(row, "kind", tcp ? "TCPRoute" : "");
    if (tcp) {
        json_set(row, "backends", backends_of(tcp, ns_of(r->service)));
    } else {
        json_append_str(json_make_array(row, "backends"), "straight to its endpoints");
    }
    json_set_str(row, "state", percent_invalid(tcp) > 0 ? "a backend is invalid" : "ok");
    json_append(into, row);
}

/* A consumer's rules first: its clients follow no others. */
static void add_port(const struct json *service, const char *waypoint, const struct json *port,
                     struct json *into)
{
    const struct json *consumers = json_get(port, "consumers");

    for (size_t i = 0; i < json_count(consumers); i++) {
        const struct json *c = json_item(consumers, i);
        add_rules(&(struct rules){service, waypoint, port, c, text_at(c, "namespace")}, into);
    }
    add_rules(&(struct rules){service, waypoint, port, port, ""}, into);
}

void route_view_service(const struct json *service, const char *waypoint, struct json *into)
{
    const struct json *ports = json_get(service, "ports");

    for (size_t i = 0; i < json_count(ports); i++) {
        add_port(service, waypoint, json_item(ports, i), into);
    }
}

/* ---- words */

bool route_view_verdict(const struct json *rows, struct strbuf *out)
{
    AUTO(json) struct json *services = json_new_object();
    size_t bad = 0;

    for (size_t i = 0; i < json_count(rows); i++) {
        const struct json *row = json_item(rows, i);
        json_set_bool(services, text_at(row, "service"), true);
        bad += strcmp(text_at(row, "state"), "ok") != 0;
    }
    strbuf_printf(out, "%s: %zu match%s of %zu service%s, tried from the top",
                  bad > 0 ? "PROBLEM" : "OK", json_count(rows), json_count(rows) == 1 ? "" : "es",
                  json_count(services), span_plural(json_count(services)));
    if (bad > 0) {
        strbuf_printf(out, "; %zu cannot be followed", bad);
    }
    return bad == 0;
}

void route_view_policies(const struct json *service, struct strbuf *out)
{
    static const char *const lists[] = {"authorization", "authentication"};

    for (size_t k = 0; k < ARRAY_LEN(lists); k++) {
        const struct json *all = json_get(service, lists[k]);
        for (size_t i = 0; i < json_count(all); i++) {
            const struct json *p = json_item(all, i);
            const char *action = text_at(p, "action");
            strbuf_printf(out, "  %s %s/%s%s%s\n",
                          *action  ? action
                          : k == 0 ? "policy"
                                   : "JWT",
                          text_at(p, "namespace"), text_at(p, "name"),
                          json_bool_at(p, "dryRun", false) ? " (dry run)" : "",
                          json_bool_at(p, "broken", false) ? " BROKEN: denies" : "");
        }
    }
}
