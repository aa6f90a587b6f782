/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/waypoint_ask.h"

#include <string.h>

#include "base/mem.h"
#include "cli/command.h"
#include "cli/runtime_client.h"
#include "codec/json.h"

const struct arg_option options_waypoint[] = {
    {"waypoint-admin", 0, ARG_TEXT, "ADDR:PORT", NULL,
     "ask the waypoint with this admin endpoint, instead of those that this machine runs"},
    {0}};

static struct endpoint own_admin(void)
{
    return (struct endpoint){{IP_V4, {127, 0, 0, 1}}, NODE_PORT_ADMIN};
}

void waypoint_places_fini(struct waypoint_places *p)
{
    for (unsigned i = 0; i < p->count; i++) {
        mem_free(p->at[i].node);
        mem_free(p->at[i].ns);
        mem_free(p->at[i].gateway);
        mem_free(p->at[i].pod);
        node_where_fini(&p->at[i].where);
    }
    p->count = 0;
}

/* The agent keeps namespaces of what it runs beside its socket. */
static char *netns_of(const struct node_where *n, const char *uid)
{
    const char *slash = strrchr(n->runtime, '/');
    struct strbuf path = {0};

    strbuf_add(&path, n->runtime, slash ? (size_t)(slash - n->runtime) : 0);
    strbuf_printf(&path, "/netns/%s", uid);
    return strbuf_take(&path);
}

static bool is_wanted(const struct json *w, const char *ns, const char *gateway)
{
    const char *name = json_str_at(w, "waypoint", "");

    return *name && strcmp(json_str_at(w, "state", ""), "running") == 0 &&
           (!ns || strcmp(json_str_at(w, "namespace", ""), ns) == 0) &&
           (!gateway || strcmp(name, gateway) == 0);
}

static void add(struct waypoint_places *out, const struct node_where *n, const struct json *w)
{
    struct waypoint_place *p = &out->at[out->count];

    if (out->count == WAYPOINTS_MAX) {
        return;
    }
    *p = (struct waypoint_place){
        .node = mem_strdup(n->name),
        .ns = mem_strdup(json_str_at(w, "namespace", "")),
        .gateway = mem_strdup(json_str_at(w, "waypoint", "")),
        .pod = mem_strdup(json_str_at(w, "name", "")),
        .where = {.name = mem_strdup(json_str_at(w, "name", "")),
                  .netns = netns_of(n, json_str_at(w, "uid", "")),
                  .admin = own_admin()},
    };
    out->count++;
}

static void add_of_node(const struct node_where *n, uint64_t limit_ms, const char *ns,
                        const char *gateway, struct waypoint_places *out)
{
    AUTO(json) struct json *answer = NULL;
    struct json *request = json_new_object();

    json_set_str(request, "op", "ps");
    int r = runtime_ask_blocking(n->runtime, request, limit_ms, &answer, NULL);
    if (r == -EACCES || r == -EPERM) {
        out->trouble = r;
    }
    if (r < 0) {
        return;
    }
    const struct json *all = json_get(answer, "workloads");
    for (size_t i = 0; i < json_count(all); i++) {
        if (is_wanted(json_item(all, i), ns, gateway)) {
            add(out, n, json_item(all, i));
        }
    }
}

static int add_named(const char *admin, const char *ns, const char *gateway,
                     struct waypoint_places *out, struct diag *why)
{
    struct endpoint at;

    if (endpoint_parse(&at, admin, strlen(admin)) < 0) {
        return FAIL(why, -ERR_SYNTAX, "--waypoint-admin: %s is no address:port", admin);
    }
    out->at[out->count++] = (struct waypoint_place){
        .node = mem_strdup("given"),
        .ns = mem_strdup(ns ? ns : ""),
        .gateway = mem_strdup(gateway ? gateway : ""),
        .pod = mem_strdup(admin),
        .where = {.name = mem_strdup(admin), .admin = at},
    };
    return 0;
}

int waypoints_find_blocking(struct cli *c, const char *ns, const char *gateway,
                            struct waypoint_places *out, struct diag *why)
{
    const char *admin = args_text(&c->args, "waypoint-admin");
    struct nodes nodes;

    out->count = 0;
    out->trouble = 0;
    if (admin) {
        return add_named(admin, ns, gateway, out, why);
    }
    int r = nodes_find_blocking(&c->args, &nodes, why);
    if (r < 0) {
        return r;
    }
    for (unsigned i = 0; i < nodes.count; i++) {
        add_of_node(&nodes.at[i], args_ms(&c->args, "timeout"), ns, gateway, out);
    }
    nodes_fini(&nodes);
    return 0;
}
