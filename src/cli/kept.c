/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/kept.h"

#include <string.h>

#include "cli/command.h"
#include "cli/node_where.h"
#include "cli/runtime_client.h"
#include "cli/tcp_sockets.h"
#include "codec/json.h"

static void set_address(struct json *row, const char *key, const struct endpoint *e)
{
    char text[ENDPOINT_TEXT];

    json_set_str(row, key, endpoint_format(e, text));
}

static void add_name(struct strbuf *out, const struct json *workload)
{
    strbuf_printf(out, "%s/%s", json_str_at(workload, "namespace", ""),
                  json_str_at(workload, "name", ""));
}

/* "shop/cart" when it is one of these, else the address. */
static void add_party(struct strbuf *out, const struct json *workloads, const struct endpoint *e)
{
    char text[ENDPOINT_TEXT];

    for (size_t i = 0; i < json_count(workloads); i++) {
        if (json_has_str(json_get(json_item(workloads, i), "ips"), ip_format(&e->ip, text))) {
            add_name(out, json_item(workloads, i));
            return;
        }
    }
    strbuf_puts(out, endpoint_format(e, text));
}

static struct json *make_row(const struct tcp_socket *s, bool accepted, const char *own,
                             const char *other)
{
    struct json *row = json_new_object();

    json_set_str(row, "secured", "PLAINTEXT");
    json_set_str(row, "direction", accepted ? "inbound" : "outbound");
    json_set_str(row, "source", accepted ? other : own);
    json_set_str(row, "destination", accepted ? own : other);
    set_address(row, "source_address", accepted ? &s->remote : &s->local);
    set_address(row, "destination_address", accepted ? &s->local : &s->remote);
    json_set_str(row, "note", "older than the mesh");
    return row;
}

void kept_of_sockets(const struct tcp_sockets *all, const struct json *workload,
                     const struct json *workloads, const char *node, struct json *into)
{
    AUTO(strbuf) struct strbuf own = {0};

    add_name(&own, workload);
    for (unsigned i = 0; i < all->count; i++) {
        const struct tcp_socket *s = &all->at[i];
        AUTO(strbuf) struct strbuf other = {0};
        if (!tcp_socket_is_direct(all, s)) {
            continue;
        }
        add_party(&other, workloads, &s->remote);
        struct json *row =
            make_row(s, tcp_socket_is_accepted(all, s), strbuf_text(&own), strbuf_text(&other));
        json_set_str(row, "node", node);
        json_append(into, row);
    }
}

/* The folder that the agent's socket is in. */
static void add_netns_path(const struct node_where *n, const struct json *workload,
                           struct strbuf *out)
{
    const char *slash = strrchr(n->runtime, '/');

    strbuf_add(out, n->runtime, slash ? (size_t)(slash - n->runtime) : 0);
    strbuf_printf(out, "/netns/%s", json_str_at(workload, "uid", ""));
}

int kept_of_node_blocking(const struct node_where *n, const struct json *workloads,
                          struct json *into, struct diag *why)
{
    for (size_t i = 0; i < json_count(workloads); i++) {
        const struct json *w = json_item(workloads, i);
        AUTO(strbuf) struct strbuf path = {0};
        struct tcp_sockets all;
        if (strcmp(json_str_at(w, "mesh", ""), "in") != 0) {
            continue;
        }
        add_netns_path(n, w, &path);
        int r = tcp_sockets_list_blocking(strbuf_text(&path), &all, why);
        if (r < 0) {
            return r;
        }
        kept_of_sockets(&all, w, workloads, n->name, into);
        tcp_sockets_fini(&all);
    }
    return 0;
}

static int ask_one(const struct cli *c, const struct node_where *n, struct json *into,
                   struct diag *why)
{
    AUTO(json) struct json *answer = NULL;
    struct json *request = json_new_object();

    json_set_str(request, "op", "ps");
    int r = runtime_ask_blocking(n->runtime, request, args_ms(&c->args, "timeout"), &answer, why);
    if (r == -ENOENT) {
        return 0; /* this node runs no workloads of its own */
    }
    return r < 0 ? r : kept_of_node_blocking(n, json_get(answer, "workloads"), into, why);
}

enum answer kept_of_nodes_blocking(struct cli *c, struct json *into)
{
    enum answer answer = ANSWER_YES;
    struct diag why = {0};
    struct nodes nodes;

    if (nodes_find_blocking(&c->args, &nodes, &why) < 0) {
        return ANSWER_UNKNOWN; /* said when the proxies were asked */
    }
    for (unsigned i = 0; i < nodes.count; i++) {
        if (ask_one(c, &nodes.at[i], into, &why) < 0) {
            answer = cli_fail(c, ANSWER_UNKNOWN, cli_fix(c, why.code, "ambit status"),
                              "node %s: connections older than the mesh: %s", nodes.at[i].name,
                              why.text);
        }
    }
    nodes_fini(&nodes);
    return answer;
}
