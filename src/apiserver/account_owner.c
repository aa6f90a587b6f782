/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/account_owner.h"

#include <string.h>

#include "apiserver/api_status.h"
#include "apiserver/call_int.h"
#include "apiserver/change.h"
#include "apiserver/object.h"
#include "apiserver/permit.h"
#include "apiserver/store.h"
#include "codec/json.h"

#define ALLOWED_NODES "ambit.io/allowed-nodes"

struct holders {
    struct strbuf nodes; /* "n1,n2" */
    bool is_stated;      /* by an annotation; otherwise these run pods of it */
};

static bool lists(const struct holders *h, const char *node)
{
    struct slice part;
    struct slice rest = slice_of(strbuf_text(&h->nodes));
    bool more = rest.len > 0;

    while (more) {
        more = slice_cut(rest, ',', &part, &rest);
        part = slice_trim(part);
        if (slice_is(part, node) || (h->is_stated && slice_is(part, "*"))) {
            return true;
        }
    }
    return false;
}

static void add_holder(struct holders *h, const char *node)
{
    if (node[0] != '\0' && !lists(h, node)) {
        strbuf_printf(&h->nodes, "%s%s", h->nodes.len > 0 ? "," : "", node);
    }
}

static void read_annotation(struct holders *h, const struct json *object)
{
    const char *said =
        json_str(json_get(json_at(object, "metadata.annotations"), ALLOWED_NODES), NULL);

    if (said && !h->is_stated) {
        h->is_stated = true;
        strbuf_puts(&h->nodes, said);
    }
}

/* Those of pods that an administrator made, or that are older than this rule. */
static void find_running(const struct call *c, const char *account, struct holders *h)
{
    struct cursor at;
    struct object *o = NULL;

    if (cursor_init(&at, c->api->store, kind_named("", "Pod"), c->ns, 0) < 0) {
        return; /* the newest state is always there */
    }
    while ((o = cursor_next(&at)) != NULL) {
        if (strcmp(o->fields[2], account) == 0) { /* spec.serviceAccountName */
            add_holder(h, o->fields[0]);          /* spec.nodeName */
        }
    }
    cursor_fini(&at);
}

static void find_stated(const struct call *c, const char *ns, const char *account,
                        struct holders *out)
{
    AUTO(json) struct json *object = call_find(c, "ServiceAccount", ns, account);
    AUTO(json) struct json *space = call_find(c, "Namespace", "", ns);

    read_annotation(out, object);
    read_annotation(out, space);
    out->is_stated |= !object || !space; /* what cannot be read is nobody's */
}

static void find_holders(const struct call *c, const char *account, struct holders *out)
{
    find_stated(c, c->ns, account, out);
    if (!out->is_stated) {
        find_running(c, account, out);
    }
}

static bool is_nobodys(const char *account)
{
    return strcmp(account, "default") == 0;
}

/* Clients cut long sentences: what matters comes first. */
static int refuse_account(struct call *c, const char *account, const struct holders *h)
{
    const char *node = c->rq->user->node;
    const char *nodes = strbuf_text(&h->nodes);
    AUTO(strbuf) struct strbuf text = {0};

    strbuf_printf(
        &text, "node %s may not run account %s/%s, only %s may: ambit allow-node %s %s -n %s", node,
        c->ns, account, nodes[0] != '\0' ? nodes : "an administrator", node, account, c->ns);
    struct json *s = api_status_failure(403, "Forbidden", strbuf_text(&text));
    api_status_about(s, c->kind, c->name);
    return call_refuse_status(c, s);
}

static bool is_pod_of_node(const struct call *c)
{
    return strcmp(c->kind->name, "Pod") == 0 && permit_is_node(c->rq->user);
}

static const char *account_of(const struct json *pod)
{
    return json_str_at(pod, "spec.serviceAccountName", "default");
}

int account_owner_check(struct call *c, const struct json *pod)
{
    struct holders h = {.is_stated = false};
    const char *account = account_of(pod);

    if (!is_pod_of_node(c)) {
        return 0;
    }
    find_holders(c, account, &h);
    bool is_free = !h.is_stated && (is_nobodys(account) || h.nodes.len == 0);
    int r = is_free || lists(&h, c->rq->user->node) ? 0 : refuse_account(c, account, &h);
    strbuf_fini(&h.nodes);
    return r;
}

void account_owner_note(struct call *c, const struct json *pod)
{
    struct holders h = {.is_stated = false};
    const char *name = account_of(pod);
    AUTO(json) struct json *account = NULL;

    if (!is_pod_of_node(c) || is_nobodys(name)) {
        return;
    }
    account = call_find(c, "ServiceAccount", c->ns, name);
    find_holders(c, name, &h);
    if (account && !h.is_stated) {
        add_holder(&h, c->rq->user->node);
        json_set_str(json_make_object(account, "metadata.annotations"), ALLOWED_NODES,
                     strbuf_text(&h.nodes));
        /* the answer is about the pod */
        (void)change_put(c->api, kind_named("", "ServiceAccount"), account);
    }
    strbuf_fini(&h.nodes);
}

/* ---- policies that let nobody in particular in */

static void warn_default(struct call *c, const char *field, struct slice ns)
{
    AUTO(strbuf) struct strbuf name = {0};
    AUTO(strbuf) struct strbuf text = {0};
    struct holders h = {.is_stated = false};

    strbuf_add(&name, ns.p, ns.len);
    find_stated(c, strbuf_text(&name), "default", &h);
    if (!h.is_stated) {
        strbuf_printf(&text,
                      "%s: every node may run pods of account %s/default, unless " ALLOWED_NODES
                      " of the account or its namespace says which",
                      field, strbuf_text(&name));
        call_warn(c, strbuf_text(&text));
    }
    strbuf_fini(&h.nodes);
}

/* "cluster.local/ns/shop/sa/default", "shop/default", "default" */
static bool is_default(struct slice who, const char *own_ns, struct slice *out_ns)
{
    struct slice part;

    *out_ns = slice_of(own_ns);
    while (slice_cut(who, '/', &part, &who)) {
        *out_ns = slice_is(part, "sa") ? *out_ns : part;
    }
    return slice_is(part, "default");
}

/* A namespace lets its account "default" in: nothing to warn about while there is no second node. */
static void warn_source(struct call *c, const struct json *source, const char *field)
{
    enum { NAMESPACES = 2 };
    static const char *const lists[] = {"principals", "serviceAccounts", "namespaces"};
    bool is_alone = store_count(c->api->store, kind_named("", "Node")) < 2;

    for (size_t k = 0; k < ARRAY_LEN(lists); k++) {
        const struct json *all = json_get(source, lists[k]);
        for (size_t i = 0; i < json_count(all); i++) {
            AUTO(strbuf) struct strbuf path = {0};
            struct slice who = slice_of(json_str(json_item(all, i), ""));
            struct slice ns = who;
            bool lets_in = k == NAMESPACES ? !is_alone : is_default(who, c->ns, &ns);
            strbuf_printf(&path, "%s.%s[%zu]", field, lists[k], i);
            if (lets_in) {
                warn_default(c, strbuf_text(&path), ns);
            }
        }
    }
}

void account_owner_warn(struct call *c, const struct json *policy)
{
    const struct json *rules = json_array_at(policy, "spec.rules");

    if (strcmp(c->kind->name, "AuthorizationPolicy") != 0 ||
        strcmp(json_str_at(policy, "spec.action", "ALLOW"), "ALLOW") != 0) {
        return;
    }
    for (size_t i = 0; i < json_count(rules); i++) {
        const struct json *from = json_get(json_item(rules, i), "from");
        for (size_t k = 0; k < json_count(from); k++) {
            AUTO(strbuf) struct strbuf field = {0};
            strbuf_printf(&field, "spec.rules[%zu].from[%zu].source", i, k);
            warn_source(c, json_get(json_item(from, k), "source"), strbuf_text(&field));
        }
    }
}
