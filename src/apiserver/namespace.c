/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/namespace.h"

#include <string.h>

#include "apiserver/api_status.h"
#include "apiserver/call_int.h"
#include "apiserver/change.h"
#include "apiserver/delete.h"
#include "apiserver/object.h"
#include "apiserver/store.h"
#include "base/mem.h"
#include "codec/json.h"

static const struct kind *namespaces(void)
{
    return kind_named("", "Namespace");
}

static bool is_terminating(const struct object *ns)
{
    return strcmp(ns->fields[0], "Terminating") == 0; /* selectable[0] is status.phase */
}

static int refuse_terminating(struct call *c, const char *ns, const char *name)
{
    AUTO(strbuf) struct strbuf text = {0};
    AUTO(strbuf) struct strbuf cause = {0};

    kind_resource(c->kind, &text);
    strbuf_printf(
        &text,
        " \"%s\" is forbidden: unable to create new content in namespace %s because it is "
        "being terminated",
        name, ns);
    struct json *s = api_status_failure(403, "Forbidden", strbuf_text(&text));
    api_status_about(s, c->kind, name);
    strbuf_printf(&cause, "namespace %s is being terminated", ns);
    api_status_add_cause(s, "NamespaceTerminating", strbuf_text(&cause), "metadata.namespace");
    return call_refuse_status(c, s);
}

int namespace_admits(struct call *c, const char *ns, const char *name)
{
    const struct object *o = ns[0] != '\0' ? store_find(c->api->store, namespaces(), "", ns) : NULL;

    if (ns[0] == '\0') {
        return 0;
    }
    if (!o) {
        return call_not_found(c, namespaces(), ns);
    }
    return is_terminating(o) ? refuse_terminating(c, ns, name) : 0;
}

void namespace_furnish(struct api *a, const char *ns, int64_t now_s)
{
    const struct kind *accounts = kind_named("", "ServiceAccount");
    const struct object *o = ns[0] != '\0' ? store_find(a->store, namespaces(), "", ns) : NULL;

    if (!o || is_terminating(o) || store_find(a->store, accounts, ns, "default")) {
        return;
    }
    AUTO(json) struct json *account = json_new_object();
    struct json *meta = json_make_object(account, "metadata");
    json_set_str(meta, "name", "default");
    json_set_str(meta, "namespace", ns);
    change_stamp(accounts, account, now_s);
    (void)change_put(a, accounts, account); /* the object itself is of no interest here */
}

/* One pass over what is in the namespace: how many objects remain afterwards. */
static size_t empty(struct api *a, const char *ns, int64_t now_s, unsigned *budget)
{
    size_t left = 0;

    for (size_t k = 0; k < kind_count; k++) {
        const struct kind *kind = &kind_list[k];
        struct cursor at;
        struct object *o = NULL;
        AUTO(text) char *after = NULL;

        while (kind_is(kind, KIND_NAMESPACED) && cursor_init(&at, a->store, kind, ns, 0) == 0) {
            if (after) {
                cursor_skip_to(&at, ns, after);
            }
            o = cursor_next(&at);
            cursor_fini(&at);
            if (!o) {
                break;
            }
            mem_free(after);
            after = mem_strdup(o->name);
            if (*budget == 0 || !store_accepts(a->store)) {
                return left + 1;
            }
            left += !delete_for_namespace(a, o, now_s, budget);
        }
    }
    return left;
}

static void sweep_one(struct api *a, struct object *ns, int64_t now_s, unsigned *budget)
{
    AUTO(object) struct object *hold = object_ref(ns); /* the shelf moves under us */

    if (empty(a, hold->name, now_s, budget) > 0 || *budget == 0) {
        return;
    }
    AUTO(json) struct json *body = object_parse(hold, "v1");
    if (body && json_count(json_at(body, "metadata.finalizers")) == 0) {
        json_remove(json_get(body, "spec"), "finalizers");
        object_unref(change_remove(a, hold->kind, body));
        (*budget)--;
    }
}

void namespace_sweep(struct api *a, int64_t now_s)
{
    AUTO(text) char *after = NULL;
    unsigned budget = NAMESPACE_SWEEP_CHANGES;

    while (budget > 0) {
        struct cursor at;
        struct object *o = NULL;
        if (cursor_init(&at, a->store, namespaces(), "", 0) < 0) {
            return; /* the newest state is always there */
        }
        if (after) {
            cursor_skip_to(&at, "", after);
        }
        do {
            o = cursor_next(&at);
        } while (o && !is_terminating(o));
        cursor_fini(&at);
        if (!o) {
            return;
        }
        mem_free(after);
        after = mem_strdup(o->name);
        sweep_one(a, o, now_s, &budget);
    }
}
