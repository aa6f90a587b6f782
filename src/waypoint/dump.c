/* SPDX-License-Identifier: Apache-2.0 */
#include "waypoint/dump.h"

#include "model/l7_table.h"

static void set_unless_empty(struct json *o, const char *key, const char *text)
{
    if (text && *text) {
        json_set_str(o, key, text);
    }
}

static struct json *match_json(const struct l7_match *m)
{
    static const char *const kinds[] = {
        [L7_PATH_PREFIX] = "prefix", [L7_PATH_EXACT] = "exact", [L7_PATH_REGEX] = "regex"};
    struct json *o = json_new_object();
    struct json *path = json_new_object();

    json_set_str(path, kinds[m->path.kind], m->path.value ? m->path.value : "");
    json_set(o, "path", path);
    set_unless_empty(o, "method", m->method);
    struct json *headers = json_make_array(o, "headers");
    for (size_t i = 0; i < m->header_count; i++) {
        json_append_str(headers, m->headers[i].name);
    }
    struct json *query = json_make_array(o, "query");
    for (size_t i = 0; i < m->query_count; i++) {
        json_append_str(query, m->query[i].name);
    }
    return o;
}

static struct json *backends_json(const struct l7_route *r)
{
    struct json *all = json_new_array();

    for (size_t i = 0; i < r->backend_count; i++) {
        struct json *o = json_new_object();
        json_set_str(o, "service", r->backends[i].key);
        json_set_int(o, "port", r->backends[i].port);
        json_set_int(o, "weight", r->backends[i].weight);
        set_unless_empty(o, "invalid", r->backends[i].invalid);
        json_append(all, o);
    }
    return all;
}

static struct json *entry_json(const struct l7_entry *e)
{
    const struct l7_route *r = e->route;
    struct json *o = json_new_object();

    json_set_str(o, "rule", r->label);
    json_set_str(o, "route", r->route_name);
    json_set_str(o, "routeNamespace", r->route_ns);
    json_set(o, "match", match_json(e->match));
    json_set(o, "backends", backends_json(r));
    json_set_int(o, "timeoutMs", (int64_t)r->request_timeout_ms);
    if (r->retry.set) {
        json_set_int(o, "retries", r->retry.attempts);
    }
    set_unless_empty(o, "invalid", r->invalid);
    return o;
}

static struct json *port_json(const struct l7_port *p)
{
    struct json *o = json_new_object();
    const struct l7_entry *e = NULL;

    json_set_int(o, "port", p->port);
    json_set_str(o, "protocol", l7_protocol_name(p->protocol));
    if (p->table) {
        struct json *rules = json_make_array(o, "rules");
        for (size_t i = 0; (e = l7_table_entry(p->table, i)) != NULL; i++) {
            json_append(rules, entry_json(e));
        }
    }
    if (p->tcp) {
        json_set(o, "tcpBackends", backends_json(p->tcp));
    }
    return o;
}

static void set_policies(struct json *o, const char *key, struct l7_policies all)
{
    struct json *list = json_make_array(o, key);

    for (size_t i = 0; i < all.count; i++) {
        const struct l7_policy *p = all.at[i].policy;
        struct json *x = json_new_object();
        json_set_str(x, "namespace", p->ns);
        json_set_str(x, "name", p->name);
        json_set_bool(x, "broken", p->broken);
        set_unless_empty(x, "flaw", p->flaw);
        json_append(list, x);
    }
}

void dump_l7(struct json *into, const struct l7 *w)
{
    struct json *bound = json_make_array(into, "bound");
    struct l7_cursor c = {0};

    for (const struct l7_service *s; (s = l7_each_service(w, &c));) {
        struct json *o = json_new_object();
        json_set_str(o, "service", s->key);
        json_set_bool(o, "served", s->binding != NULL);
        struct json *ports = json_make_array(o, "ports");
        for (size_t i = 0; i < s->port_count; i++) {
            json_append(ports, port_json(&s->ports[i]));
        }
        set_policies(o, "authorization", s->authorization);
        set_policies(o, "authentication", s->authentication);
        json_append(bound, o);
    }
    set_policies(into, "waypointAuthorization", l7_authorization(w));
    set_policies(into, "waypointAuthentication", l7_authentication(w));
}
