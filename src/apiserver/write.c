/* SPDX-License-Identifier: Apache-2.0 */
/* POST and PUT; PATCH is in write_patch.c. All three end in the same place: a whole new object that is
 * held against the schema, completed, checked, and stored if it differs from what is there. */
#include <string.h>

#include "apiserver/account_owner.h"
#include "apiserver/admit.h"
#include "apiserver/api_status.h"
#include "apiserver/call_int.h"
#include "apiserver/change.h"
#include "apiserver/check.h"
#include "apiserver/delete.h"
#include "apiserver/fault.h"
#include "apiserver/managed.h"
#include "apiserver/meta.h"
#include "apiserver/namespace.h"
#include "apiserver/node_marks.h"
#include "apiserver/node_range.h"
#include "apiserver/object.h"
#include "apiserver/store.h"
#include "apiserver/write_int.h"
#include "base/mem.h"
#include "codec/json.h"

int call_load(struct call *c, struct json **out)
{
    const struct object *o = store_find(c->api->store, c->kind, c->ns, c->name);

    if (!o) {
        c->out->rests_on = store_rv(c->api->store);
        return call_not_found(c, c->kind, c->name);
    }
    *out = object_parse(o, c->version);
    return *out ? 0 : call_refuse(c, 500, "InternalError", "out of memory");
}

struct json *call_find(const struct call *c, const char *kind, const char *ns, const char *name)
{
    const struct object *o = store_find(c->api->store, kind_named("", kind), ns, name);

    return o ? object_parse(o, "v1") : NULL;
}

int call_check_store(struct call *c)
{
    if (store_accepts(c->api->store)) {
        return 0;
    }
    c->out->retry_after_s = 1;
    return call_refuse(c, 503, "ServiceUnavailable", "the disk does not keep up with the changes");
}

static int refuse_option(struct call *c, const char *options, const char *field, const char *detail)
{
    struct faults f = {0};

    faults_add(&f, FAULT_UNSUPPORTED, field, detail);
    int r = call_refuse_options(c, options, &f);
    faults_fini(&f);
    return r;
}

int call_check_dry_run(struct call *c, const char *options, const char *value)
{
    AUTO(strbuf) struct strbuf detail = {0};

    if (value[0] == '\0' || strcmp(value, "All") == 0) {
        return 0;
    }
    strbuf_printf(&detail, "[\"%.40s\"]: supported values: \"All\"", value);
    return refuse_option(c, options, "dryRun", strbuf_text(&detail));
}

static int read_validation(struct call *c, const char *options, enum validation *out)
{
    static const struct {
        const char *name;
        enum validation value;
    } values[] = {{"", VALIDATE_WARN},
                  {"Warn", VALIDATE_WARN},
                  {"Strict", VALIDATE_STRICT},
                  {"Ignore", VALIDATE_IGNORE}};
    AUTO(strbuf) struct strbuf detail = {0};

    for (size_t i = 0; i < ARRAY_LEN(values); i++) {
        if (strcmp(c->q.field_validation, values[i].name) == 0) {
            *out = values[i].value;
            return 0;
        }
    }
    strbuf_printf(&detail, "\"%.40s\": supported values: \"\", \"Ignore\", \"Strict\", \"Warn\"",
                  c->q.field_validation);
    return refuse_option(c, options, "fieldValidation", strbuf_text(&detail));
}

int write_begin(struct write *w, const char *verb, const char *options)
{
    struct call *c = w->c;
    int r = permit_check(c, verb);

    if (r == 0) {
        r = call_check_store(c);
    }
    if (r == 0) {
        r = call_check_dry_run(c, options, c->q.dry_run);
    }
    if (r == 0) {
        r = read_validation(c, options, &w->validation);
    }
    w->dry_run = c->q.dry_run[0] != '\0';
    w->is_status = strcmp(c->sub, "status") == 0;
    return r;
}

/* ---- what a body must say about itself */

static int wrong_kind(struct call *c, const char *kind, const char *api_version)
{
    if (strcmp(kind, c->kind->name) != 0) {
        return call_refuse(c, 400, "BadRequest",
                           "%.100s in version \"%s\" cannot be handled as a %s", kind, c->version,
                           c->kind->name);
    }
    return call_refuse(
        c, 400, "BadRequest",
        "%s in version \"%s\" cannot be handled as a %s: no kind \"%s\" is registered "
        "for version \"%.100s\"",
        kind, c->version, c->kind->name, kind, api_version);
}

/* Built-in kinds may leave kind and apiVersion out; custom ones may not. */
int write_check_kind(struct call *c, struct json *object)
{
    AUTO(strbuf) struct strbuf own = {0};
    const char *kind = json_str_at(object, "kind", "");
    const char *api_version = json_str_at(object, "apiVersion", "");

    kind_api_version(c->kind, c->version, &own);
    if (kind_is(c->kind, KIND_CUSTOM) && (kind[0] == '\0' || api_version[0] == '\0')) {
        return call_refuse(
            c, 400, "BadRequest",
            "the object provided is unrecognized (must be of type %s): Object '%s' is "
            "missing",
            c->kind->name, kind[0] == '\0' ? "Kind" : "apiVersion");
    }
    if ((kind[0] != '\0' && strcmp(kind, c->kind->name) != 0) ||
        (api_version[0] != '\0' && strcmp(api_version, strbuf_text(&own)) != 0)) {
        return wrong_kind(c, kind[0] != '\0' ? kind : c->kind->name, api_version);
    }
    json_set_str(object, "kind", c->kind->name);
    json_set_str(object, "apiVersion", strbuf_text(&own));
    return 0;
}

int write_check_place(struct call *c, struct json *object)
{
    struct json *meta = json_make_object(object, "metadata");
    const char *ns = json_str_at(meta, "namespace", "");
    const char *name = json_str_at(meta, "name", "");

    if (ns[0] != '\0' && strcmp(ns, c->ns) != 0) {
        return call_refuse(
            c, 400, "BadRequest",
            "the namespace of the provided object does not match the namespace sent on "
            "the request");
    }
    if (c->name[0] != '\0' && name[0] != '\0' && strcmp(name, c->name) != 0) {
        return call_refuse(
            c, 400, "BadRequest",
            "the name of the object (%.256s) does not match the name on the URL (%.256s)", name,
            c->name);
    }
    if (c->ns[0] != '\0') {
        json_set_str(meta, "namespace", c->ns);
    }
    if (c->name[0] != '\0') {
        json_set_str(meta, "name", c->name);
    }
    return 0;
}

int write_read_body(struct write *w, struct json **out)
{
    AUTO(json) struct json *body = NULL;
    int r = body_decode(w->c, &body);

    if (r == 0) {
        r = write_check_kind(w->c, body);
    }
    if (r == 0) {
        r = write_check_place(w->c, body);
    }
    if (r == 0) {
        *out = MOVE(body);
    }
    return r;
}

/* ---- against the schema */

static int refuse_unknown(struct write *w, const struct unknown_fields *u)
{
    AUTO(strbuf) struct strbuf list = {0};
    struct call *c = w->c;

    for (size_t i = 0; i < u->count; i++) {
        strbuf_printf(&list, "%sunknown field \"%s\"", i > 0 ? ", " : "", u->at[i]);
    }
    return call_refuse(c, 400, "BadRequest",
                       "%s in version \"%s\" cannot be handled as a %s: strict decoding error: %s",
                       c->kind->name, c->version, c->kind->name, strbuf_text(&list));
}

int write_judge_unknown(struct write *w, const struct unknown_fields *u)
{
    if (u->count == 0 || w->validation == VALIDATE_IGNORE) {
        return 0;
    }
    if (w->validation == VALIDATE_STRICT) {
        return refuse_unknown(w, u);
    }
    for (size_t i = 0; i < u->count; i++) {
        AUTO(strbuf) struct strbuf text = {0};
        strbuf_printf(&text, "unknown field \"%s\"", u->at[i]);
        call_warn(w->c, strbuf_text(&text));
    }
    return 0;
}

/* A built-in kind is decoded into a type: what does not fit it is a bad request. */
int write_judge_types(struct write *w, const struct faults *f)
{
    struct call *c = w->c;

    for (size_t i = 0; i < f->count && !kind_is(c->kind, KIND_CUSTOM); i++) {
        if (f->at[i].kind == FAULT_TYPE) {
            return call_refuse(c, 400, "BadRequest",
                               "%s in version \"%s\" cannot be handled as a %s: json: %s",
                               c->kind->name, c->version, c->kind->name, f->at[i].message);
        }
    }
    return 0;
}

static int hold_against_schema(struct write *w, struct faults *f)
{
    struct unknown_fields unknown = {0};

    check_object(call_schema(w->c), w->object, CHECK_WHOLE, &unknown, f);
    int r = write_judge_unknown(w, &unknown);
    unknown_fields_fini(&unknown);
    return r < 0 ? r : write_judge_types(w, f);
}

static int admit(struct write *w, struct faults *f)
{
    struct admission a = {.api = w->c->api,
                          .kind = w->c->kind,
                          .object = w->object,
                          .old = w->old,
                          .faults = f,
                          .now_s = call_now_s(w->c)};

    if (f->count == 0 && a.kind->admit) {
        a.kind->admit(&a);
    }
    if (a.warning) {
        call_warn(w->c, a.warning);
    }
    if (a.refusal) {
        return call_refuse_status(w->c, a.refusal);
    }
    meta_check(a.kind, w->object, f);
    return f->count > 0 ? call_refuse_faults(w->c, json_str_at(w->object, "metadata.name", ""), f)
                        : 0;
}

/* Schema, then the kind's own rules. */
static int judge(struct write *w)
{
    struct faults f = {0};
    int r = hold_against_schema(w, &f);

    if (r == 0) {
        r = admit(w, &f);
    }
    if (r == 0) {
        account_owner_warn(w->c, w->object);
    }
    faults_fini(&f);
    return r;
}

/* ---- storing */

static void note_manager(struct write *w)
{
    struct managed_by by = {
        .manager = w->c->q.field_manager,
        .user_agent = call_header(w->c, "user-agent"),
        .subresource = w->c->sub,
        .now_s = call_now_s(w->c),
    };

    if (!w->is_applied) {
        managed_update(call_schema(w->c), w->old, w->object, &by);
    }
}

static int answer_stored(struct write *w, unsigned code, const struct object *o)
{
    struct call *c = w->c;

    call_answer_object(c, code, o);
    c->out->rests_on = store_rv(c->api->store);
    return 0;
}

int write_conflict(struct call *c, const char *reason, const char *fmt_name, const char *text)
{
    AUTO(strbuf) struct strbuf message = {0};

    strbuf_puts(&message,
                strcmp(reason, "Conflict") == 0 ? "Operation cannot be fulfilled on " : "");
    kind_resource(c->kind, &message);
    strbuf_printf(&message, " \"%s\"%s", fmt_name, text);
    struct json *s = api_status_failure(409, reason, strbuf_text(&message));
    api_status_about(s, c->kind, fmt_name);
    return call_refuse_status(c, s);
}

static int stale(struct call *c)
{
    return write_conflict(
        c, "Conflict", c->name,
        ": the object has been modified; please apply your changes to the latest version "
        "and try again");
}

/* ---- create */

/* What only the server may say, taken out of what a client sent. */
static int strip_for_create(struct write *w)
{
    static const char *const servers[] = {
        "uid",      "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds",
        "selfLink", "resourceVersion"};
    struct json *meta = json_get(w->object, "metadata");
    const char *rv = json_str_at(meta, "resourceVersion", "");

    if (rv[0] != '\0' && strcmp(rv, "0") != 0) {
        return call_refuse(w->c, 500, NULL,
                           "resourceVersion should not be set on objects to be created");
    }
    for (size_t i = 0; i < ARRAY_LEN(servers); i++) {
        (void)json_remove(meta, servers[i]); /* most are absent */
    }
    if (!w->is_applied) {
        (void)json_remove(meta, "managedFields"); /* likewise */
    }
    /* A node comes with its status; whatever else has one gets it through /status. */
    if (kind_is(w->c->kind, KIND_STATUS) && strcmp(w->c->kind->name, "Node") != 0) {
        (void)json_remove(w->object, "status"); /* likewise */
    }
    return 0;
}

static void name_it(struct write *w)
{
    struct json *meta = json_get(w->object, "metadata");
    const char *prefix = json_str_at(meta, "generateName", "");

    if (json_str_at(meta, "name", "")[0] == '\0' && prefix[0] != '\0') {
        AUTO(text) char *name = meta_generate_name(prefix);
        json_set_str(meta, "name", name);
    }
}

static int check_absent(struct write *w, const char *name)
{
    struct call *c = w->c;
    const struct object *there = store_find(c->api->store, c->kind, c->ns, name);

    if (!there) {
        return 0;
    }
    AUTO(json) struct json *is = object_parse(there, c->version);
    c->out->rests_on = there->rv;
    if (json_at(is, "metadata.deletionTimestamp")) {
        AUTO(strbuf) struct strbuf message = {0};
        strbuf_puts(&message, "object is being deleted: ");
        kind_resource(c->kind, &message);
        strbuf_printf(&message, " \"%s\" already exists", name);
        struct json *s = api_status_failure(409, "AlreadyExists", strbuf_text(&message));
        api_status_about(s, c->kind, name);
        return call_refuse_status(c, s);
    }
    return write_conflict(c, "AlreadyExists", name, " already exists");
}

/* What will be stored, the caller's. Patches add to what is there: without limits an object would
 * outgrow what its readers take. */
static int make_object(struct write *w, struct object **out)
{
    struct call *c = w->c;
    int r = body_check_shape(c, w->object);

    if (r < 0) {
        return r;
    }
    uint64_t rv = w->dry_run ? 0 : change_version(c->api, w->object);
    *out = object_new_within(c->kind, rv, w->object, API_OBJECT_BYTES);
    return *out ? 0
                : call_refuse(c, 413, "RequestEntityTooLarge",
                              "the object would be larger than %d bytes", API_OBJECT_BYTES);
}

static int store_new_object(struct write *w)
{
    struct call *c = w->c;

    change_stamp(c->kind, w->object, call_now_s(c));
    note_manager(w);
    if (!w->dry_run) {
        account_owner_note(c, w->object); /* first: nothing may part it from the pod */
    }
    AUTO(object) struct object *o = NULL;
    int r = make_object(w, &o);
    if (r < 0) {
        return r;
    }
    if (w->dry_run) {
        call_answer(c, 201, w->object);
        return 0;
    }
    store_put(c->api->store, object_ref(o));
    if (strcmp(c->kind->name, "Namespace") == 0) {
        namespace_furnish(c->api, o->name, call_now_s(c));
    }
    return answer_stored(w, 201, o);
}

int write_store_new(struct write *w)
{
    int r = strip_for_create(w);

    if (r == 0) {
        name_it(w);
        r = namespace_admits(w->c, w->c->ns, json_str_at(w->object, "metadata.name", ""));
    }
    if (r == 0) {
        r = judge(w);
    }
    if (r == 0) {
        r = permit_check_object(w->c, "create", w->object);
    }
    if (r == 0) {
        r = account_owner_check(w->c, w->object);
    }
    if (r == 0) {
        r = node_marks_check(w->c, w->object, NULL);
    }
    if (r == 0) {
        r = node_range_check(w->c, w->object, NULL);
    }
    if (r == 0) {
        r = check_absent(w, json_str_at(w->object, "metadata.name", ""));
    }
    return r < 0 ? r : store_new_object(w);
}

int write_create(struct call *c)
{
    struct write w = {.c = c};
    AUTO(json) struct json *object = NULL;
    int r = write_begin(&w, "create", "CreateOptions");

    if (r == 0) {
        r = write_read_body(&w, &object);
    }
    if (r < 0) {
        return r;
    }
    w.object = object;
    return write_store_new(&w);
}

/* ---- update */

static void keep(struct json *to, const struct json *from, const char *key)
{
    struct json *v = json_get(from, key);

    if (v) {
        json_set(to, key, json_clone(v));
    } else {
        (void)json_remove(to, key); /* neither has it */
    }
}

/* What an update cannot change comes from the old object. */
static void keep_servers_part(struct write *w)
{
    static const char *const servers[] = {
        "uid",          "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds",
        "generateName", "selfLink",          "resourceVersion"};
    struct json *meta = json_make_object(w->object, "metadata");
    const struct json *old_meta = json_get(w->old, "metadata");

    for (size_t i = 0; i < ARRAY_LEN(servers); i++) {
        keep(meta, old_meta, servers[i]);
    }
    if (kind_is(w->c->kind, KIND_GENERATION)) {
        keep(meta, old_meta, "generation");
    }
    if (kind_is(w->c->kind, KIND_STATUS)) {
        keep(w->object, w->old, "status");
    }
}

/* Through /status: the status, and of built-in kinds the metadata too (an agent annotates pods). */
static struct json *status_only(const struct json *old, const struct json *object, bool is_custom)
{
    static const char *const shared[] = {"labels", "annotations", "finalizers"};
    struct json *result = json_clone(old);
    struct json *meta = json_make_object(result, "metadata");

    keep(result, object, "status");
    for (size_t i = 0; i < ARRAY_LEN(shared) && !is_custom; i++) {
        keep(meta, json_get(object, "metadata"), shared[i]);
    }
    keep(meta, json_get(object, "metadata"), "managedFields");
    return result;
}

static bool is_one_of(const char *key, const char *const *keys)
{
    for (; *keys; keys++) {
        if (strcmp(*keys, key) == 0) {
            return true;
        }
    }
    return false;
}

static bool covers(const struct json *a, const struct json *b, const char *const *but)
{
    for (struct json_iter it = {0}; json_each(a, &it);) {
        if (!is_one_of(it.key, but) && !json_same(it.value, json_get(b, it.key))) {
            return false;
        }
    }
    return true;
}

/* Equal members, those named in but (NULL-terminated) left out. */
static bool same_but(const struct json *a, const struct json *b, const char *const *but)
{
    return covers(a, b, but) && covers(b, a, but);
}

/* Equal but for the times at which managers last wrote: then there is nothing to store. */
static bool same_stored(const struct json *a, const struct json *b)
{
    static const char *const meta[] = {"metadata", NULL};
    static const char *const managed[] = {"managedFields", NULL};
    static const char *const time[] = {"time", NULL};
    const struct json *x = json_at(a, "metadata.managedFields");
    const struct json *y = json_at(b, "metadata.managedFields");
    bool same = same_but(a, b, meta) &&
                same_but(json_get(a, "metadata"), json_get(b, "metadata"), managed) &&
                json_count(x) == json_count(y);

    for (size_t i = 0; same && i < json_count(x); i++) {
        same = same_but(json_item(x, i), json_item(y, i), time);
    }
    return same;
}

/* What was asked for: everything but metadata and status. */
static bool same_desire(const struct json *a, const struct json *b)
{
    static const char *const but[] = {"metadata", "status", NULL};

    return same_but(a, b, but);
}

int write_check_identity(struct write *w, const struct json *object, bool is_patch)
{
    const char *uid = json_str_at(object, "metadata.uid", "");
    const char *rv = json_str_at(object, "metadata.resourceVersion", "");
    const char *old_uid = json_str_at(w->old, "metadata.uid", "");
    struct faults f = {0};
    int r = 0;

    if (rv[0] != '\0' && strcmp(rv, json_str_at(w->old, "metadata.resourceVersion", "")) != 0) {
        return stale(w->c);
    }
    if (uid[0] != '\0' && strcmp(uid, old_uid) != 0) {
        if (!is_patch) {
            return write_conflict(w->c, "Conflict", w->c->name,
                                  ": Precondition failed: UID differs");
        }
        faults_addf(&f, FAULT_INVALID, "metadata.uid", "\"%.64s\": field is immutable", uid);
        r = call_refuse_faults(w->c, w->c->name, &f);
        faults_fini(&f);
    }
    return r;
}

static int store_update(struct write *w, const struct object *current)
{
    struct call *c = w->c;
    struct json *meta = json_get(w->object, "metadata");

    if (kind_is(c->kind, KIND_GENERATION) && !same_desire(w->object, w->old)) {
        json_set_int(meta, "generation", json_int_at(w->old, "metadata.generation", 0) + 1);
    }
    note_manager(w);
    if (same_stored(w->object, w->old)) {
        return answer_stored(w, 200, current);
    }
    AUTO(object) struct object *o = NULL;
    int r = make_object(w, &o);
    if (r < 0) {
        return r;
    }
    if (w->dry_run) {
        call_answer(c, 200, w->object);
    } else if (delete_is_due(c->kind, w->object)) {
        store_remove(c->api->store, object_ref(o));
        r = answer_stored(w, 200, o);
    } else {
        store_put(c->api->store, object_ref(o));
        r = answer_stored(w, 200, o);
    }
    return r;
}

/* w->object is what a client made of w->old: settle it and store it. */
int write_store_changed(struct write *w)
{
    struct call *c = w->c;
    const struct object *current = store_find(c->api->store, c->kind, c->ns, c->name);
    AUTO(json) struct json *object = NULL;

    if (w->is_status) {
        object = status_only(w->old, w->object, kind_is(c->kind, KIND_CUSTOM));
    } else {
        object = json_ref(w->object);
        keep_servers_part(w);
    }
    w->object = object;
    if (w->is_status) {
        json_set_str(json_get(object, "metadata"), "resourceVersion",
                     json_str_at(w->old, "metadata.resourceVersion", ""));
    }
    int r = judge(w);
    if (r == 0) {
        r = permit_check_object(c, "update", w->object);
    }
    if (r == 0) {
        r = node_marks_check(c, w->object, w->old);
    }
    if (r == 0) {
        r = node_range_check(c, w->object, w->old);
    }
    return r < 0 ? r : store_update(w, current);
}

static int put_absent(struct write *w)
{
    if (!kind_is(w->c->kind, KIND_PUT_CREATES) || w->is_status) {
        return call_not_found(w->c, w->c->kind, w->c->name);
    }
    return write_store_new(w);
}

static int check_version_given(struct write *w)
{
    struct faults f = {0};

    if (!kind_is(w->c->kind, KIND_CUSTOM) ||
        json_str_at(w->object, "metadata.resourceVersion", "")[0] != '\0') {
        return 0;
    }
    faults_add(&f, FAULT_INVALID, "metadata.resourceVersion", "0: must be specified for an update");
    int r = call_refuse_status(
        w->c, api_status_invalid(w->c->kind->group, w->c->kind->plural, w->c->name, &f));
    faults_fini(&f);
    return r;
}

int write_update(struct call *c)
{
    struct write w = {.c = c};
    AUTO(json) struct json *object = NULL;
    AUTO(json) struct json *old = NULL;
    int r = write_begin(&w, "update", "UpdateOptions");

    if (r == 0) {
        r = write_read_body(&w, &object);
    }
    if (r < 0) {
        return r;
    }
    w.object = object;
    if (!store_find(c->api->store, c->kind, c->ns, c->name)) {
        return put_absent(&w);
    }
    r = call_load(c, &old);
    w.old = old;
    if (r == 0) {
        r = permit_check_object(c, "update", old);
    }
    if (r == 0) {
        r = check_version_given(&w);
    }
    if (r == 0) {
        r = write_check_identity(&w, object, false);
    }
    return r < 0 ? r : write_store_changed(&w);
}
