/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/why_ask.h"

#include <string.h>

#include "base/clock.h"
#include "base/num.h"
#include "cli/command.h"
#include "cli/http_get.h"
#include "cli/node_where.h"
#include "cli/published.h"
#include "cli/waypoint_ask.h"
#include "codec/json.h"
#include "codec/url.h"
#include "model/identity.h"
#include "obs/l7_why.h"
#include "obs/why.h"

enum { SPACES_MAX = 4 };

/* Namespaces that have a part in the question. all: more than can be told from its words. */
struct spaces {
    struct strbuf names[SPACES_MAX];
    size_t count;
    bool all;
};

struct asking {
    struct cli *cli;
    const char *request;
    struct strbuf l4_query;
    struct spaces spaces;
    struct published *published; /* NULL: not read yet */
    struct why_asked *out;
};

void why_asked_fini(struct why_asked *a)
{
    a->l4 = json_unref(a->l4);
    a->l7 = json_unref(a->l7);
    strbuf_fini(&a->l4_trouble);
    strbuf_fini(&a->l7_trouble);
    strbuf_fini(&a->l4_source);
    strbuf_fini(&a->l7_source);
}

static void asking_fini(struct asking *a)
{
    for (size_t i = 0; i < a->spaces.count; i++) {
        strbuf_fini(&a->spaces.names[i]);
    }
    strbuf_fini(&a->l4_query);
    published_free(a->published);
}

/* ---- questions */

static void put_target(struct strbuf *query, const char *name, size_t len, const char *port)
{
    AUTO(strbuf) struct strbuf text = {0};

    strbuf_add(&text, name, len);
    url_query_add(query, "to", strbuf_text(&text));
    url_query_add(query, "port", port);
}

int why_check_target(const char *word, struct diag *why)
{
    const char *colon = strchr(word, ':');
    uint32_t port;

    return colon && !strchr(colon + 1, ':') &&
                   num_parse_u32(colon + 1, strlen(colon + 1), UINT16_MAX, &port) < 0
               ? FAIL(why, -ERR_SYNTAX, "%.50s: %.20s is no port", word, colon + 1)
               : 0;
}

/* "shop/cart:80" is name and port; an IPv6 address with a port stands in brackets. */
static void add_target(const char *word, struct strbuf *query)
{
    const char *colon = strrchr(word, ':');
    struct endpoint e;
    uint32_t port;
    char text[IP_TEXT];

    if (endpoint_parse(&e, word, strlen(word)) == 0) {
        AUTO(strbuf) struct strbuf number = {0};
        strbuf_printf(&number, "%u", e.port);
        (void)ip_format(&e.ip, text); /* it is text */
        put_target(query, text, strlen(text), strbuf_text(&number));
    } else if (colon && strchr(word, ':') == colon &&
               num_parse_u32(colon + 1, strlen(colon + 1), UINT16_MAX, &port) == 0) {
        put_target(query, word, (size_t)(colon - word), colon + 1);
    } else {
        url_query_add(query, "to", word);
    }
}

static void l4_query(struct cli *c, struct strbuf *query)
{
    const char *ns = args_text(&c->args, "namespace");

    url_query_add(query, "from", c->args.operands[0]);
    add_target(c->args.operands[1], query);
    if (ns) {
        url_query_add(query, "ns", ns);
    }
}

static void add_number(struct strbuf *query, const char *name, int64_t n)
{
    AUTO(strbuf) struct strbuf text = {0};

    strbuf_printf(&text, "%lld", (long long)n);
    url_query_add(query, name, strbuf_text(&text));
}

/* What the waypoint is asked: the request as it would come to it. */
static void l7_query(const struct json *l4, const char *request, struct strbuf *query)
{
    AUTO(strbuf) struct strbuf to = {0};

    strbuf_printf(&to, "%s/%s", json_str_at(l4, "to.namespace", ""),
                  json_str_at(l4, "to.hostname", ""));
    url_query_add(query, "to", strbuf_text(&to));
    add_number(query, "port", json_int_at(l4, "to.port", 0));
    url_query_add(query, "identity", json_str_at(l4, "from.identity", ""));
    url_query_add(query, "source_ip", json_str_at(l4, "from.address", ""));
    strbuf_printf(query, "%s%s", *request ? "&" : "", request);
}

/* ---- namespaces */

static void add_space(struct spaces *s, struct slice name)
{
    for (size_t i = 0; i < s->count; i++) {
        if (slice_is(name, strbuf_text(&s->names[i]))) {
            return;
        }
    }
    if (name.len == 0 || s->count == SPACES_MAX) {
        s->all = true;
        return;
    }
    s->names[s->count] = (struct strbuf){0};
    strbuf_add(&s->names[s->count++], name.p, name.len);
}

/* "ns/name", "name.ns", "name.ns.svc.domain", an identity; of anything else: not from its words. */
static void add_space_of(struct spaces *s, const char *word)
{
    const struct identity *id = NULL;
    struct endpoint e;
    struct ip ip;
    struct slice head;
    struct slice rest;

    if (identity_parse(&id, word, strlen(word), NULL) == 0) {
        add_space(s, slice_of(id->ns));
        (void)identity_unref(id); /* NULL */
    } else if (ip_parse(&ip, word, strlen(word)) == 0 ||
               endpoint_parse(&e, word, strlen(word)) == 0) {
        s->all = true;
    } else if (slice_cut(slice_of(word), '/', &head, &rest)) {
        add_space(s, head);
    } else if (slice_cut(slice_of(word), '.', &head, &rest)) {
        (void)slice_cut(rest, '.', &head, &rest); /* without another dot, all of it */
        (void)slice_cut(head, ':', &head, &rest); /* without a port, likewise */
        add_space(s, head);
    } else {
        s->all = true;
    }
}

static void find_spaces(struct asking *a)
{
    const char *ns = args_text(&a->cli->args, "namespace");

    for (unsigned i = 0; i < 2; i++) {
        const char *word = a->cli->args.operands[i];
        if (ns && !strpbrk(word, "/.[")) {
            add_space(&a->spaces, slice_of(ns)); /* of a name without one */
        } else {
            add_space_of(&a->spaces, word);
        }
    }
}

/* ---- the programs themselves */

/* The answer, also where it says that the question makes no sense; -ERR_UNSUPPORTED: no such page. */
static int ask_one_blocking(struct cli *c, const struct node_where *n, const struct strbuf *query,
                            struct json **out, struct diag *why)
{
    AUTO(strbuf) struct strbuf path = {0};
    struct http_where where = {
        .netns = n->netns, .at = n->admin, .limit_ms = args_ms(&c->args, "timeout")};
    struct http_answer a;

    strbuf_printf(&path, "/why?%s", strbuf_text(query));
    int r = http_get_blocking(&where, strbuf_text(&path), &a, why);
    if (r < 0) {
        char at[ENDPOINT_TEXT];
        /* Its text has the whole question, tokens too. */
        return FAIL(why, r, "%s (%s): %s", n->name, endpoint_format(&n->admin, at), err_text(r));
    }
    r = json_parse(out, a.body, a.len, NULL, why);
    if (r < 0 || (a.status != 200 && !*json_str_at(*out, "error", ""))) {
        *out = json_unref(*out);
        r = FAIL(why, -ERR_UNSUPPORTED, "%s does not answer such questions (status %u)", n->name,
                 a.status);
    }
    http_answer_fini(&a);
    return r;
}

static int ask_nodes_blocking(struct asking *a, struct diag *why)
{
    struct nodes nodes;
    int r = nodes_find_blocking(&a->cli->args, &nodes, why);

    if (r < 0) {
        return r;
    }
    r = FAIL(why, -ERR_NOT_FOUND, "no node could be asked");
    for (unsigned i = 0; r < 0 && i < nodes.count; i++) {
        r = ask_one_blocking(a->cli, &nodes.at[i], &a->l4_query, &a->out->l4, why);
    }
    nodes_fini(&nodes);
    return r;
}

/* "shop/way" out of "shop/way.shop.svc.cluster.local". */
static void gateway_of(const char *waypoint, struct strbuf *ns, struct strbuf *name)
{
    struct slice head;
    struct slice tail;
    struct slice first;
    struct slice rest;

    if (slice_cut(slice_of(waypoint), '/', &head, &tail)) {
        (void)slice_cut(tail, '.', &first, &rest); /* without a dot, the whole is the name */
        strbuf_add(ns, head.p, head.len);
        strbuf_add(name, first.p, first.len);
    }
}

static int ask_replicas_blocking(struct asking *a, const char *ns, const char *name,
                                 struct diag *why)
{
    AUTO(strbuf) struct strbuf query = {0};
    struct waypoint_places places;
    int r = waypoints_find_blocking(a->cli, ns, name, &places, why);

    if (r < 0) {
        return r;
    }
    l7_query(a->out->l4, a->request, &query);
    r = FAIL(why, -ERR_NOT_FOUND, "none of its replicas runs on this machine");
    if (places.trouble < 0) {
        r = FAIL(why, places.trouble, "only root may ask whether its replicas run here");
    }
    for (unsigned i = 0; r < 0 && i < places.count; i++) {
        r = ask_one_blocking(a->cli, &places.at[i].where, &query, &a->out->l7, why);
    }
    waypoint_places_fini(&places);
    return r;
}

/* ---- their configuration */

static int read_published_blocking(struct asking *a, struct diag *why)
{
    const char *names[SPACES_MAX];

    for (size_t i = 0; i < a->spaces.count; i++) {
        names[i] = strbuf_text(&a->spaces.names[i]);
    }
    published_free(a->published);
    a->published = NULL;
    return published_read_blocking(a->cli, names, a->spaces.all ? 0 : a->spaces.count,
                                   &a->published, why);
}

static struct json *error_json(const struct diag *why)
{
    struct json *o = json_new_object();

    json_set_str(o, "error", why->text);
    return o;
}

static int judge_l4_blocking(struct asking *a, struct diag *why)
{
    struct slice query = {strbuf_text(&a->l4_query), a->l4_query.len};
    int r = read_published_blocking(a, why);

    if (r < 0) {
        return r;
    }
    a->out->l4 = why_answer(a->published->world, "", query, why);
    if (!a->out->l4 && why->code == -ERR_NOT_FOUND && !a->spaces.all) {
        a->spaces.all = true; /* it may be elsewhere */
        return judge_l4_blocking(a, why);
    }
    a->out->l4 = a->out->l4 ? a->out->l4 : error_json(why);
    published_layer4(a->published, &a->out->l4_source);
    return 0;
}

/* The waypoint's namespace may be one that was not read. True: now it is. */
static bool widen(struct asking *a, const char *waypoint)
{
    AUTO(strbuf) struct strbuf ns = {0};
    AUTO(strbuf) struct strbuf name = {0};
    size_t before = a->spaces.count;

    gateway_of(waypoint, &ns, &name);
    if (!a->spaces.all && ns.len > 0) {
        add_space(&a->spaces, (struct slice){ns.p, ns.len});
    }
    return a->spaces.count > before;
}

static int judge_l7_blocking(struct asking *a, const char *gateway, struct diag *why)
{
    AUTO(strbuf) struct strbuf query = {0};
    int r = 0;

    if (!a->published) {
        (void)widen(a, json_str_at(a->out->l4, "to.waypoint", "")); /* it is read below */
        r = read_published_blocking(a, why);
    }
    if (r < 0) {
        return r;
    }
    const struct published_gateway *g = published_gateway(a->published, gateway);
    if (!g) {
        return FAIL(why, -ERR_NOT_FOUND, "the control plane has nothing for waypoint %s", gateway);
    }
    l7_query(a->out->l4, a->request, &query);
    a->out->l7 =
        l7_why_answer(g->l7, (struct slice){strbuf_text(&query), query.len}, clock_wall_s(), why);
    published_replicas(g, &a->out->l7_source);
    a->out->l7 = a->out->l7 ? a->out->l7 : error_json(why);
    return 0;
}

/* ---- the whole */

static bool names_a_node(const struct cli *c)
{
    return args_has(&c->args, "node") || args_has(&c->args, "node-admin") ||
           args_has(&c->args, "netns");
}

static int ask_l4_blocking(struct asking *a)
{
    struct strbuf *trouble = &a->out->l4_trouble;
    struct diag why = {0};
    struct diag other = {0};
    int r = ask_nodes_blocking(a, &why);

    if (r == 0) {
        return r;
    }
    strbuf_puts(trouble, why.text);
    if (r == -ERR_SYNTAX || names_a_node(a->cli)) {
        return r;
    }
    int s = judge_l4_blocking(a, &other);
    if (s == 0 && widen(a, json_str_at(a->out->l4, "to.waypoint", ""))) {
        a->out->l4 = json_unref(a->out->l4);
        strbuf_clear(&a->out->l4_source);
        s = judge_l4_blocking(a, &other);
    }
    strbuf_printf(trouble, "; and the control plane: %s", other.text); /* for who reads it */
    return s;
}

static void ask_l7_blocking(struct asking *a)
{
    AUTO(strbuf) struct strbuf ns = {0};
    AUTO(strbuf) struct strbuf name = {0};
    AUTO(strbuf) struct strbuf gateway = {0};
    struct strbuf *trouble = &a->out->l7_trouble;
    bool named = args_has(&a->cli->args, "waypoint-admin");
    struct diag why = {0};

    gateway_of(json_str_at(a->out->l4, "to.waypoint", ""), &ns, &name);
    strbuf_printf(&gateway, "%s/%s", strbuf_text(&ns), strbuf_text(&name));
    if (a->out->l4_source.len == 0 || named) {
        if (ask_replicas_blocking(a, strbuf_text(&ns), strbuf_text(&name), &why) == 0) {
            return;
        }
        strbuf_puts(trouble, why.text);
        a->out->l7_code = why.code;
    }
    if (named) {
        return;
    }
    if (judge_l7_blocking(a, strbuf_text(&gateway), &why) == 0) {
        strbuf_clear(trouble);
    } else {
        strbuf_printf(trouble, "%sthe control plane: %s", trouble->len > 0 ? "; and " : "",
                      why.text);
    }
}

int why_ask_blocking(struct cli *c, const char *request, struct why_asked *out)
{
    struct asking a = {.cli = c, .request = request, .out = out};

    *out = (struct why_asked){0};
    l4_query(c, &a.l4_query);
    find_spaces(&a);
    int r = ask_l4_blocking(&a);
    if (r == 0 && strcmp(json_str_at(out->l4, "route.kind", ""), "waypoint") == 0) {
        ask_l7_blocking(&a);
    }
    asking_fini(&a);
    return r;
}
