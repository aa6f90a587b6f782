/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/delete.h"

#include <string.h>

#include "apiserver/api_status.h"
#include "apiserver/call_int.h"
#include "apiserver/change.h"
#include "apiserver/meta.h"
#include "apiserver/namespace.h"
#include "apiserver/object.h"
#include "apiserver/render.h"
#include "apiserver/selector.h"
#include "apiserver/store.h"
#include "base/mem.h"
#include "base/num.h"
#include "codec/json.h"

enum {
    DELETE_MANY_MAX = 1024,
    GRACE_MAX_S = INT32_MAX /* beyond it the time of the end is none */
};

static bool is_pod(const struct kind *kind)
{
    return strcmp(kind->name, "Pod") == 0 && kind->group[0] == '\0';
}

static bool is_namespace(const struct kind *kind)
{
    return strcmp(kind->name, "Namespace") == 0 && kind->group[0] == '\0';
}

/* Seconds that a pod gets: none unless a node runs it. */
static int64_t grace_of(const struct kind *kind, const struct json *body, int64_t asked)
{
    const char *phase = json_str_at(body, "status.phase", "");
    bool over = strcmp(phase, "Succeeded") == 0 || strcmp(phase, "Failed") == 0;

    if (!is_pod(kind) || json_str_at(body, "spec.nodeName", "")[0] == '\0' || over) {
        return 0;
    }
    int64_t said = asked >= 0 ? asked : json_int_at(body, "spec.terminationGracePeriodSeconds", 30);
    return MIN_OF(said, (int64_t)GRACE_MAX_S);
}

/* What keeps a marked object: finalizers; of a namespace, being a namespace (the sweep ends it). */
static bool is_held(const struct kind *kind, const struct json *body)
{
    return is_namespace(kind) || json_count(json_at(body, "metadata.finalizers")) > 0;
}

bool delete_is_due(const struct kind *kind, const struct json *body)
{
    return json_at(body, "metadata.deletionTimestamp") && !is_held(kind, body) &&
           json_int_at(body, "metadata.deletionGracePeriodSeconds", 0) == 0;
}

/* False: it carries that mark already. A grace period only ever gets shorter. */
static bool mark(const struct kind *kind, struct json *body, int64_t grace_s, int64_t now_s)
{
    struct json *meta = json_make_object(body, "metadata");
    bool marked = json_get(meta, "deletionTimestamp") != NULL;
    char text[TIME_TEXT];

    if (marked && json_int_at(meta, "deletionGracePeriodSeconds", 0) <= grace_s) {
        return false;
    }
    meta_format_time(now_s + grace_s, text, sizeof(text));
    json_set_str(meta, "deletionTimestamp", text);
    if (is_namespace(kind)) {
        json_set_str(json_make_object(body, "status"), "phase", "Terminating");
        return true;
    }
    json_set_int(meta, "deletionGracePeriodSeconds", grace_s);
    if (!marked && kind_is(kind, KIND_GENERATION)) {
        json_set_int(meta, "generation", json_int_at(meta, "generation", 0) + 1);
    }
    return true;
}

/* Marks or removes. body is changed to what remains or what it was last. True: removed. */
static bool delete_object(struct api *a, const struct kind *kind, struct json *body,
                          const struct deletion *d)
{
    int64_t grace_s = grace_of(kind, body, d->grace_s);
    bool stays = is_held(kind, body) || grace_s > 0;
    bool changed = false;

    if (stays || is_pod(kind)) {
        changed = mark(kind, body, grace_s, d->now_s);
    }
    if (d->dry_run) {
        return !stays;
    }
    if (!stays) {
        object_unref(change_remove(a, kind, body));
    } else if (changed) {
        (void)change_put(a, kind, body); /* body has its new version */
    }
    return !stays;
}

bool delete_for_namespace(struct api *a, struct object *o, int64_t now_s, unsigned *budget)
{
    AUTO(object) struct object *hold = object_ref(o);
    AUTO(json) struct json *body = object_parse(hold, hold->kind->versions[0]);
    uint64_t before = store_rv(a->store);
    struct deletion d = {.grace_s = -1, .now_s = now_s};

    if (!body) {
        return false;
    }
    bool gone = delete_object(a, hold->kind, body, &d);
    *budget -= store_rv(a->store) > before;
    return gone;
}

/* ---- DELETE */

struct options {
    struct deletion how;
    char *uid; /* preconditions; NULL = none */
    char *rv;
};

static void options_fini(struct options *o)
{
    mem_free(o->uid);
    mem_free(o->rv);
}

static char *text_at(const struct json *j, const char *path)
{
    const char *s = json_str_at(j, path, NULL);

    return s ? mem_strdup(s) : NULL;
}

/* In the body, or as parameters; the body wins. */
static int read_options(struct call *c, struct options *o)
{
    AUTO(json) struct json *body = NULL;
    int r = c->rq->body.len > 0 ? body_decode(c, &body) : 0;

    if (r < 0) {
        return r;
    }
    const struct json *dry = json_get(body, "dryRun");
    o->how.now_s = call_now_s(c);
    o->how.grace_s = json_int_at(body, "gracePeriodSeconds", c->q.has_grace ? c->q.grace_s : -1);
    o->how.dry_run = json_count(dry) > 0 || c->q.dry_run[0] != '\0';
    o->uid = text_at(body, "preconditions.uid");
    o->rv = text_at(body, "preconditions.resourceVersion");
    const char *value = json_count(dry) > 0 ? json_str(json_item(dry, 0), "") : c->q.dry_run;
    return call_check_dry_run(c, "DeleteOptions", value);
}

/* In words and details that name the Kind, unlike other conflicts: as observed. */
static int precondition_failed(struct call *c, const char *text)
{
    struct json *s = api_status_failure(409, "Conflict", text);

    api_status_about(s, c->kind, c->name);
    json_set_str(json_get(s, "details"), "kind", c->kind->name);
    return call_refuse_status(c, s);
}

static int check_preconditions(struct call *c, const struct options *o, const struct json *body)
{
    const char *uid = json_str_at(body, "metadata.uid", "");
    const char *rv = json_str_at(body, "metadata.resourceVersion", "");
    AUTO(strbuf) struct strbuf text = {0};

    strbuf_printf(&text, "Operation cannot be fulfilled on %s \"%s\": ", c->kind->name, c->name);
    if (o->uid && strcmp(o->uid, uid) != 0) {
        strbuf_printf(
            &text,
            "the UID in the precondition (%.64s) does not match the UID in record (%s). The "
            "object might have been deleted and then recreated",
            o->uid, uid);
        return precondition_failed(c, strbuf_text(&text));
    }
    if (o->rv && strcmp(o->rv, rv) != 0) {
        strbuf_printf(&text,
                      "the ResourceVersion in the precondition (%.32s) does not match the "
                      "ResourceVersion in record (%s). The object might have been modified",
                      o->rv, rv);
        return precondition_failed(c, strbuf_text(&text));
    }
    return 0;
}

static int check_protected(struct call *c)
{
    static const char *const kept[] = {"default", "kube-system", "kube-public"};

    for (size_t i = 0; is_namespace(c->kind) && i < ARRAY_LEN(kept); i++) {
        if (strcmp(kept[i], c->name) == 0) {
            struct json *s = NULL;
            AUTO(strbuf) struct strbuf text = {0};
            strbuf_printf(&text,
                          "namespaces \"%s\" is forbidden: this namespace may not be deleted",
                          c->name);
            s = api_status_failure(403, "Forbidden", strbuf_text(&text));
            api_status_about(s, c->kind, c->name);
            return call_refuse_status(c, s);
        }
    }
    return 0;
}

/* The object where clients look at it, else a Status with its uid: as kube-apiserver does by kind. */
static void answer_deleted(struct call *c, const struct json *body, bool gone)
{
    c->out->rests_on = store_rv(c->api->store);
    if (kind_is(c->kind, KIND_SHOW_DELETED) || !gone) {
        call_answer(c, 200, body);
        return;
    }
    AUTO(json)
    struct json *s = api_status_deleted(c->kind, c->name, json_str_at(body, "metadata.uid", ""));
    call_answer(c, 200, s);
}

static int delete_one(struct call *c, struct json *body, const struct options *o)
{
    int r = permit_check_object(c, "delete", body);

    if (r == 0) {
        r = check_preconditions(c, o, body);
    }
    if (r == 0) {
        r = check_protected(c);
    }
    if (r < 0) {
        return r;
    }
    bool gone = delete_object(c->api, c->kind, body, &o->how);
    if (!o->how.dry_run) {
        namespace_furnish(c->api, c->ns, o->how.now_s);
        namespace_sweep(c->api, o->how.now_s);
    }
    answer_deleted(c, body, gone);
    return 0;
}

int write_delete(struct call *c)
{
    struct options o = {0};
    AUTO(json) struct json *body = NULL;
    int r = permit_check(c, "delete");

    if (r == 0) {
        r = call_check_store(c);
    }
    if (r == 0) {
        r = read_options(c, &o);
    }
    if (r == 0) {
        r = call_load(c, &body);
    }
    if (r == 0) {
        r = delete_one(c, body, &o);
    }
    options_fini(&o);
    return r;
}

/* References, because the shelf moves while they go. */
static size_t collect(struct call *c, struct object **found, struct selector *labels,
                      struct selector *fields)
{
    struct cursor at;
    struct object *o = NULL;
    size_t n = 0;

    if (cursor_init(&at, c->api->store, c->kind, c->ns, 0) < 0) {
        return 0; /* the newest state is always there */
    }
    while (n < DELETE_MANY_MAX && (o = cursor_next(&at)) != NULL) {
        if (selector_matches(labels, o) && selector_matches(fields, o)) {
            found[n++] = object_ref(o);
        }
    }
    cursor_fini(&at);
    return n;
}

static void delete_each(struct call *c, struct object **found, size_t n, const struct options *o)
{
    AUTO(strbuf) struct strbuf api_version = {0};
    AUTO(strbuf) struct strbuf list_kind = {0};

    kind_api_version(c->kind, c->version, &api_version);
    strbuf_printf(&list_kind, "%sList", c->kind->name);
    render_list_open(&c->out->body, strbuf_text(&api_version), strbuf_text(&list_kind));
    for (size_t i = 0; i < n; i++) {
        AUTO(json) struct json *body = object_parse(found[i], c->version);
        strbuf_puts(&c->out->body, i > 0 ? "," : "");
        render_item(&c->out->body, found[i], c->version);
        if (body) {
            (void)delete_object(c->api, c->kind, body, &o->how); /* marked or gone: both are fine */
        }
        object_unref(found[i]);
    }
    render_list_close(&c->out->body, &(struct list_end){.rv = store_rv(c->api->store)});
    c->out->status = 200;
    c->out->content_type = "application/json";
    c->out->rests_on = store_rv(c->api->store);
}

int write_delete_many(struct call *c)
{
    struct options o = {0};
    struct diag why = {0};
    AUTO(selector) struct selector *labels = NULL;
    AUTO(selector) struct selector *fields = NULL;
    int r = is_namespace(c->kind) ? call_not_allowed(c) : permit_check(c, "deletecollection");

    if (r == 0) {
        r = call_check_store(c);
    }
    if (r == 0) {
        r = read_options(c, &o);
    }
    if (r == 0 &&
        (selector_parse_labels(slice_of(c->q.label_selector), &why, &labels) < 0 ||
         selector_parse_fields(c->kind, slice_of(c->q.field_selector), &why, &fields) < 0)) {
        r = call_refuse(c, 400, "BadRequest", "%s", why.text);
    }
    if (r == 0) {
        struct object **found = mem_array(DELETE_MANY_MAX, sizeof(struct object *));
        delete_each(c, found, collect(c, found, labels, fields), &o);
        mem_free(found);
        namespace_furnish(c->api, c->ns, call_now_s(c));
    }
    options_fini(&o);
    return r;
}
