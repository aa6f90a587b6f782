/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/permit.h"

#include <string.h>

#include "apiserver/api_status.h"
#include "apiserver/call_int.h"
#include "base/str.h"
#include "codec/json.h"

enum scope {
    SCOPE_ANY,
    SCOPE_OWN_NODE, /* the Node of that name; pods on it, which the object tells */
    SCOPE_NAMED,    /* the one object called so */
};

struct rule {
    const char *group;
    const char *resource;
    const char *sub; /* "*" = with or without */
    const char *verbs;
    enum scope scope;
    const char *name;
};

#define READ "get list watch"

static const struct rule node_rules[] = {
    {"", "namespaces", "", READ, SCOPE_ANY, NULL},
    {"", "services", "", READ, SCOPE_ANY, NULL},
    {"", "nodes", "", READ, SCOPE_ANY, NULL},
    {"", "serviceaccounts", "", READ, SCOPE_ANY, NULL},
    {"discovery.k8s.io", "endpointslices", "", READ, SCOPE_ANY, NULL},
    {"", "configmaps", "", "get", SCOPE_NAMED, "istio-ca-root-cert"},
    {"", "nodes", "*", "create update patch", SCOPE_OWN_NODE, NULL},
    {"", "pods", "*", "get list watch create update patch delete", SCOPE_OWN_NODE, NULL},
    {"", "serviceaccounts", "token", "create", SCOPE_ANY, NULL}, /* bound to a pod of that node */
    {"coordination.k8s.io", "leases", "", "get create update patch", SCOPE_OWN_NODE, NULL},
};

/* Anybody who is somebody. */
static const struct rule common_rules[] = {
    {"authentication.k8s.io", "selfsubjectreviews", "", "create", SCOPE_ANY, NULL},
    {"authorization.k8s.io", "selfsubjectaccessreviews", "", "create", SCOPE_ANY, NULL},
    {"authorization.k8s.io", "selfsubjectrulesreviews", "", "create", SCOPE_ANY, NULL},
};

static bool is_listed(const char *words, const char *word)
{
    struct slice part;
    struct slice rest = slice_of(words);
    bool more = true;

    while (more) {
        more = slice_cut(rest, ' ', &part, &rest);
        if (slice_is(part, word)) {
            return true;
        }
    }
    return false;
}

static bool is_pods(const struct permit_question *q)
{
    return strcmp(q->resource, "pods") == 0 && q->group[0] == '\0';
}

static bool in_scope(const struct rule *r, const struct api_user *user,
                     const struct permit_question *q)
{
    switch (r->scope) {
    case SCOPE_ANY:
        return true;
    case SCOPE_NAMED:
        return strcmp(q->name, r->name) == 0;
    case SCOPE_OWN_NODE:
        break;
    }
    if (strcmp(q->resource, "leases") == 0 && strcmp(q->ns, "kube-node-lease") != 0) {
        return false; /* elsewhere a lease of that name may elect somebody */
    }
    if (!is_pods(q)) { /* POST names nothing in its path: the object is asked afterwards */
        return strcmp(q->name, user->node) == 0 || strcmp(q->verb, "create") == 0;
    }
    bool many = strcmp(q->verb, "list") == 0 || strcmp(q->verb, "watch") == 0;
    return !many || (q->node && strcmp(q->node, user->node) == 0);
}

static bool rules_allow(const struct rule *rules, size_t count, const struct api_user *user,
                        const struct permit_question *q)
{
    for (size_t i = 0; i < count; i++) {
        const struct rule *r = &rules[i];
        bool sub = r->sub[0] == '*' || strcmp(r->sub, q->sub) == 0;
        if (sub && strcmp(r->group, q->group) == 0 && strcmp(r->resource, q->resource) == 0 &&
            is_listed(r->verbs, q->verb) && in_scope(r, user, q)) {
            return true;
        }
    }
    return false;
}

bool permit_allows(const struct api_user *user, const struct permit_question *q)
{
    if (user->is_anonymous) {
        return false;
    }
    return user->is_admin || rules_allow(common_rules, ARRAY_LEN(common_rules), user, q) ||
           (user->node && rules_allow(node_rules, ARRAY_LEN(node_rules), user, q));
}

bool permit_is_node(const struct api_user *user)
{
    return user->node && !user->is_admin;
}

bool permit_allows_pod_of(const struct api_user *user, const char *node)
{
    return user->is_admin || (user->node && node && strcmp(user->node, node) == 0);
}

/* ---- for calls */

static int forbidden(struct call *c, const char *verb, const char *why)
{
    AUTO(strbuf) struct strbuf text = {0};

    kind_resource(c->kind, &text);
    if (c->name[0] != '\0') {
        strbuf_printf(&text, " \"%s\"", c->name);
    }
    strbuf_printf(&text,
                  " is forbidden: User \"%s\" cannot %s resource \"%s%s%s\" in API group \"%s\"",
                  c->rq->user->name, verb, c->kind->plural, c->sub[0] != '\0' ? "/" : "", c->sub,
                  c->kind->group);
    if (c->ns[0] != '\0') {
        strbuf_printf(&text, " in the namespace \"%s\"", c->ns);
    } else if (kind_is(c->kind, KIND_NAMESPACED)) {
        strbuf_puts(&text, " at the cluster scope");
    }
    strbuf_puts(&text, why);
    struct json *s = api_status_failure(403, "Forbidden", strbuf_text(&text));
    api_status_about(s, c->kind, c->name);
    return call_refuse_status(c, s);
}

int permit_check_list(struct call *c, const char *verb, const char *node)
{
    struct permit_question q = {.verb = verb,
                                .group = c->kind->group,
                                .resource = c->kind->plural,
                                .sub = c->sub,
                                .ns = c->ns,
                                .name = c->name,
                                .node = node};

    if (permit_allows(c->rq->user, &q)) {
        return 0;
    }
    bool needs_selector = c->rq->user->node && is_pods(&q);
    return forbidden(
        c, verb,
        needs_selector ? ": a node may only read its own pods (fieldSelector spec.nodeName)" : "");
}

int permit_check(struct call *c, const char *verb)
{
    return permit_check_list(c, verb, NULL);
}

int permit_check_object(struct call *c, const char *verb, const struct json *object)
{
    const struct api_user *user = c->rq->user;
    const char *kind = c->kind->name;
    bool own = true;

    if (!permit_is_node(user)) {
        return 0;
    }
    if (strcmp(kind, "Pod") == 0) {
        own = permit_allows_pod_of(user, json_str_at(object, "spec.nodeName", ""));
    } else if (strcmp(kind, "Node") == 0 || strcmp(kind, "Lease") == 0) {
        own = strcmp(verb, "get") == 0 ||
              strcmp(json_str_at(object, "metadata.name", ""), user->node) == 0;
    }
    return own ? 0 : forbidden(c, verb, ": it belongs to another node");
}
