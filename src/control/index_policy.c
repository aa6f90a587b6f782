/* SPDX-License-Identifier: Apache-2.0 */
/* AuthorizationPolicies and PeerAuthentications, and whom they bind. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "control/index_int.h"

static void publish(struct index *x, const struct policy *p)
{
    AUTO(strbuf) struct strbuf key = {0};

    strbuf_printf(&key, "%s/%s", p->ns, p->name);
    strbuf_clear(&x->wire);
    xds_policy_encode(&x->wire, p);
    (void)catalog_put(x->policies, strbuf_text(&key), (struct slice){x->wire.p, x->wire.len});
}

static void unpublish(struct index *x, const char *ns, const char *name)
{
    AUTO(strbuf) struct strbuf key = {0};

    strbuf_printf(&key, "%s/%s", ns, name);
    (void)catalog_remove(x->policies, strbuf_text(&key)); /* it may never have been published */
}

/* ---- AuthorizationPolicy */

static struct policy_item *policy_find(const struct index *x, const char *ns, const char *name)
{
    struct map_node *n = map_find(&x->authorizations, index_hash(ns, name));

    for (; n; n = map_find_next(n)) {
        struct policy_item *p = container_of(n, struct policy_item, by_name);
        if (strcmp(p->space->name, ns) == 0 && strcmp(p->name, name) == 0) {
            return p;
        }
    }
    return NULL;
}

static struct policy_item *policy_item_new(struct index *x, const char *ns, const char *name)
{
    AUTO(strbuf) struct strbuf key = {0};
    struct policy_item *p = mem_new(struct policy_item);

    strbuf_printf(&key, "%s/%s", ns, name);
    p->name = intern_text(x->pool, name);
    p->key = intern_text(x->pool, strbuf_text(&key));
    p->space = space_use(x, ns);
    list_init(&p->unsaid);
    list_append(&p->space->policies, &p->in_space);
    map_insert(&x->authorizations, &p->by_name, index_hash(ns, name));
    return p;
}

/* Those it may bind: of its namespace, or of all of them where it is for everyone. */
static void mark_bound(struct index *x, const struct policy_item *p)
{
    if (!p->is_named) {
        return;
    }
    if (strcmp(p->space->name, x->mesh->root_ns) != 0) {
        mark_matching(x, p->space, &p->selector);
        return;
    }
    map_for_each (n, &x->spaces) {
        mark_matching(x, container_of(n, struct space, by_name), &p->selector);
    }
}

/* Whether the object's status says already what we would say. */
static bool is_said(const struct json *object, const struct policy_condition *c)
{
    const struct json *all = json_array_at(object, "status.conditions");
    int64_t generation = json_int_at(object, "metadata.generation", 0);
    char number[24];

    (void)snprintf(number, sizeof(number), "%lld", (long long)generation);
    for (size_t i = 0; i < json_count(all); i++) {
        const struct json *had = json_item(all, i);
        if (strcmp(json_str_at(had, "type", ""), "ZtunnelAccepted") == 0) {
            return strcmp(json_str_at(had, "status", ""), c->status ? "True" : "False") == 0 &&
                   strcmp(json_str_at(had, "reason", ""), c->reason) == 0 &&
                   strcmp(json_str_at(had, "message", ""), c->message) == 0 &&
                   strcmp(json_str_at(had, "observedGeneration", ""), number) == 0;
        }
    }
    return false;
}

static void set_condition(struct index *x, struct policy_item *p, const struct json *object,
                          const struct policy_condition *c)
{
    mem_free(p->reason);
    mem_free(p->message);
    p->reason = c->is_set ? mem_strdup(c->reason) : NULL;
    p->message = c->is_set ? mem_strdup(c->message) : NULL;
    p->status = c->status;
    p->generation = json_int_at(object, "metadata.generation", 0);
    list_remove(&p->unsaid);
    if (c->is_set && !is_said(object, c)) {
        list_append(&x->unsaid, &p->unsaid);
    }
}

static void set_selector(struct index *x, struct policy_item *p, const struct policy *policy,
                         const struct json *object)
{
    struct labels selector;
    bool is_named = policy && policy->scope == SCOPED_WORKLOAD;

    labels_read(&selector, json_object_at(object, "spec.selector.matchLabels"), x->pool);
    if (is_named != p->is_named || !labels_equal(&selector, &p->selector)) {
        mark_bound(x, p);
        labels_fini(&p->selector);
        p->selector = selector;
        p->is_named = is_named;
        mark_bound(x, p);
    } else {
        labels_fini(&selector);
    }
}

void index_put_authorization(struct index *x, const struct json *object)
{
    AUTO(arena) struct arena a = {0};
    const char *ns = json_str_at(object, "metadata.namespace", "");
    const char *name = json_str_at(object, "metadata.name", "");
    struct policy_condition condition;
    struct policy policy;

    if (!revision_is_ours(object, x->mesh)) {
        index_remove_authorization(x, ns, name);
        return;
    }
    bool is_published = translate_policy(&policy, &condition, object, x->mesh, &a);
    struct policy_item *p = policy_find(x, ns, name);
    if (!p) {
        p = policy_item_new(x, ns, name);
    }
    if (is_published) {
        publish(x, &policy);
    } else {
        unpublish(x, ns, name);
    }
    set_selector(x, p, is_published ? &policy : NULL, object);
    set_condition(x, p, object, &condition);
    l7_policy_put(x, L7_AUTHORIZATION, object);
}

void policy_item_free(struct index *x, struct policy_item *p)
{
    map_remove(&x->authorizations, &p->by_name);
    list_remove(&p->in_space);
    list_remove(&p->unsaid);
    labels_fini(&p->selector);
    text_unref(p->name);
    text_unref(p->key);
    mem_free(p->reason);
    mem_free(p->message);
    space_unuse(x, p->space);
    mem_free(p);
}

void index_remove_authorization(struct index *x, const char *ns, const char *name)
{
    struct policy_item *p = policy_find(x, ns, name);

    if (!p) {
        return;
    }
    unpublish(x, ns, name);
    mark_bound(x, p);
    l7_policy_remove(x, L7_AUTHORIZATION, ns, name);
    policy_item_free(x, p);
}

/* ---- PeerAuthentication */

static struct peer_item *peer_find(const struct index *x, const char *ns, const char *name)
{
    for (struct map_node *n = map_find(&x->peers, index_hash(ns, name)); n; n = map_find_next(n)) {
        struct peer_item *p = container_of(n, struct peer_item, by_name);
        if (strcmp(p->f.ns, ns) == 0 && strcmp(p->f.name, name) == 0) {
            return p;
        }
    }
    return NULL;
}

enum peer_mode index_inherited(const struct index *x, const struct space *s)
{
    const struct space *root = space_find(x, x->mesh->root_ns);

    return peer_inherited(root ? root->peer : NULL, s == root ? NULL : s->peer);
}

/* The oldest that holds for all of the namespace (of the root namespace: of the mesh). */
static void elect(struct space *s)
{
    s->peer = NULL;
    list_for_each (n, &s->peers) {
        const struct peer_facts *f = &container_of(n, struct peer_item, in_space)->f;
        if ((f->level == PEER_NAMESPACE || f->level == PEER_MESH) &&
            (!s->peer || peer_facts_before(f, s->peer))) {
            s->peer = f;
        }
    }
}

static void mark_space(struct index *x, const struct space *s)
{
    const struct labels all = {.at = NULL};

    mark_matching(x, s, &all);
    list_for_each (n, &s->peers) {
        mark_peer(x, container_of(n, struct peer_item, in_space));
    }
}

static void mark_inheriting(struct index *x, const struct space *s)
{
    if (strcmp(s->name, x->mesh->root_ns) != 0) {
        mark_space(x, s);
        return;
    }
    map_for_each (n, &x->spaces) {
        mark_space(x, container_of(n, struct space, by_name));
    }
}

/* After a policy of the space came, changed or went. */
static void space_decide(struct index *x, struct space *s, enum peer_mode before)
{
    elect(s);
    if (index_inherited(x, s) != before) {
        mark_inheriting(x, s);
    }
}

static void publish_static(struct index *x)
{
    struct policy p;

    peer_static_policy(&p, x->mesh);
    if (x->peers.count > 0) {
        publish(x, &p);
    } else {
        unpublish(x, p.ns, p.name);
    }
}

static void mark_own(struct index *x, struct peer_item *p)
{
    if (p->f.level == PEER_WORKLOAD) {
        mark_matching(x, p->space, &p->f.selector);
    }
}

void index_put_peer(struct index *x, const struct json *object)
{
    struct peer_facts f;

    if (!revision_is_ours(object, x->mesh)) {
        index_remove_peer(x, json_str_at(object, "metadata.namespace", ""),
                          json_str_at(object, "metadata.name", ""));
        return;
    }
    peer_facts_read(&f, object, x->mesh, x->pool);
    struct peer_item *p = peer_find(x, f.ns, f.name);
    if (!p) {
        p = mem_new(struct peer_item);
        p->space = space_use(x, f.ns);
        list_init(&p->dirty);
        list_append(&p->space->peers, &p->in_space);
        map_insert(&x->peers, &p->by_name, index_hash(f.ns, f.name));
        p->f.level = PEER_IGNORED;
    }
    enum peer_mode before = index_inherited(x, p->space);
    mark_own(x, p);
    peer_facts_fini(&p->f);
    p->f = f;
    mark_own(x, p);
    space_decide(x, p->space, before);
    mark_peer(x, p);
    publish_static(x);
}

void peer_item_free(struct index *x, struct peer_item *p)
{
    map_remove(&x->peers, &p->by_name);
    list_remove(&p->in_space);
    list_remove(&p->dirty);
    space_unuse(x, p->space);
    peer_facts_fini(&p->f);
    mem_free(p);
}

static void unpublish_converted(struct index *x, const struct peer_item *p)
{
    AUTO(arena) struct arena a = {0};

    unpublish(x, p->f.ns, peer_converted_name(&p->f, &a));
}

void index_remove_peer(struct index *x, const char *ns, const char *name)
{
    struct peer_item *p = peer_find(x, ns, name);

    if (!p) {
        return;
    }
    struct space *s = space_use(x, ns); /* while it is decided anew */
    enum peer_mode before = index_inherited(x, s);
    mark_own(x, p);
    unpublish_converted(x, p);
    s->peer = NULL;
    peer_item_free(x, p);
    space_decide(x, s, before);
    space_unuse(x, s);
    publish_static(x);
}

void settle_peer(struct index *x, struct peer_item *p)
{
    AUTO(arena) struct arena a = {0};
    struct policy policy;

    if (peer_convert(&policy, &p->f, index_inherited(x, p->space), &a)) {
        publish(x, &policy);
    } else {
        unpublish_converted(x, p);
    }
}
