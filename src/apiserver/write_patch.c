/* SPDX-License-Identifier: Apache-2.0 */
/* PATCH: the four forms, each of which makes a whole object out of the old one. */

#include "apiserver/api_status.h"
#include "apiserver/apply.h"
#include "apiserver/check.h"
#include "apiserver/fault.h"
#include "apiserver/managed.h"
#include "apiserver/object.h"
#include "apiserver/patch.h"
#include "apiserver/store.h"
#include "apiserver/write_int.h"
#include "codec/json.h"

static int unsupported_patch(struct call *c)
{
    return call_refuse(c, 415, "UnsupportedMediaType",
                       "the body of the request was in an unknown format - accepted media types "
                       "include: application/json-patch+json, application/merge-patch+json, %s"
                       "application/apply-patch+yaml",
                       kind_is(c->kind, KIND_CUSTOM) ? ""
                                                     : "application/strategic-merge-patch+json, ");
}

static int bad_patch(struct call *c, int code, const struct diag *why)
{
    if (code == -ERR_CONFLICT || code == -ERR_LIMIT) { /* it reads well, and cannot be done */
        struct json *s = api_status_failure(
            422, "Invalid", "the server rejected our request due to an error in our request");
        json_set(s, "details", json_new_object());
        return call_refuse_status(c, s);
    }
    return call_refuse(c, 400, "BadRequest", "error decoding patch: %s", why->text);
}

/* Everything but server-side apply: a function of the old object and the patch. */
static int patch_object(struct write *w, enum patch_type type, struct json **out)
{
    struct call *c = w->c;
    struct diag why = {0};
    AUTO(json) struct json *patch = NULL;
    int r = json_parse(&patch, c->rq->body.p ? c->rq->body.p : "", c->rq->body.len, NULL, &why);

    if (r < 0) {
        return bad_patch(c, r, &why);
    }
    r = body_check_shape(c, patch);
    if (r < 0) {
        return r;
    }
    r = patch_apply(type, call_schema(c), w->old, patch, &why, out);
    return r < 0 ? bad_patch(c, r, &why) : 0;
}

static int patch_existing(struct write *w, enum patch_type type)
{
    AUTO(json) struct json *object = NULL;
    int r = patch_object(w, type, &object);

    if (r == 0) {
        r = write_check_kind(w->c, object);
    }
    if (r == 0) {
        r = write_check_place(w->c, object);
    }
    if (r == 0) {
        r = write_check_identity(w, object, true);
    }
    if (r < 0) {
        return r;
    }
    w->object = object;
    return write_store_changed(w);
}

static int apply_absent(struct write *w, struct json *config, const struct managed_by *by)
{
    const char *uid = json_str_at(config, "metadata.uid", "");
    AUTO(json) struct json *object = NULL;

    if (w->is_status) {
        return call_not_found(w->c, w->c->kind, w->c->name);
    }
    if (uid[0] != '\0') {
        AUTO(strbuf) struct strbuf text = {0};
        strbuf_printf(&text,
                      ": uid mismatch: the provided object specified uid %.64s, and no existing "
                      "object was found",
                      uid);
        return write_conflict(w->c, "Conflict", w->c->name, strbuf_text(&text));
    }
    object = apply_create(call_schema(w->c), config, by);
    w->object = object;
    w->is_applied = true;
    return write_store_new(w);
}

static int apply_existing(struct write *w, struct json *config, const struct managed_by *by)
{
    AUTO(json) struct json *object = NULL;
    AUTO(json) struct json *conflicts = NULL;
    int r = write_check_identity(w, config, true);

    if (r < 0) {
        return r;
    }
    apply_merge(call_schema(w->c), w->old, config, by, w->c->q.force, &object, &conflicts);
    if (conflicts) {
        return call_refuse_status(w->c, MOVE(conflicts));
    }
    w->object = object;
    w->is_applied = true;
    return write_store_changed(w);
}

static int check_apply_options(struct write *w, const struct json *config)
{
    struct faults f = {0};

    if (w->c->q.field_manager[0] == '\0') {
        faults_add(&f, FAULT_REQUIRED, "fieldManager", "is required for apply patch");
        int r = call_refuse_options(w->c, "PatchOptions", &f);
        faults_fini(&f);
        return r;
    }
    if (json_count(json_at(config, "metadata.managedFields")) > 0) {
        return call_refuse(w->c, 400, "BadRequest", "metadata.managedFields must be nil");
    }
    return 0;
}

static int judge_config(struct write *w, struct json *config)
{
    struct unknown_fields unknown = {0};
    struct faults f = {0};

    check_object(call_schema(w->c), config, CHECK_PARTIAL, &unknown, &f);
    int r = write_judge_unknown(w, &unknown);
    if (r == 0) {
        r = write_judge_types(w, &f);
    }
    if (r == 0 && f.count > 0) {
        r = call_refuse_faults(w->c, w->c->name, &f);
    }
    unknown_fields_fini(&unknown);
    faults_fini(&f);
    return r;
}

static int patch_by_apply(struct write *w)
{
    AUTO(json) struct json *config = NULL;
    int r = write_read_body(w, &config);

    if (r == 0) {
        r = check_apply_options(w, config);
    }
    if (r == 0) {
        r = judge_config(w, config);
    }
    if (r < 0) {
        return r;
    }
    struct managed_by by = {
        .manager = w->c->q.field_manager, .subresource = w->c->sub, .now_s = call_now_s(w->c)};
    return w->old ? apply_existing(w, config, &by) : apply_absent(w, config, &by);
}

int write_patch(struct call *c)
{
    struct write w = {.c = c};
    enum patch_type type = patch_type_of(call_header(c, "content-type"));
    AUTO(json) struct json *old = NULL;
    int r = write_begin(&w, "patch", "PatchOptions");

    if (r < 0) {
        return r;
    }
    if (type == PATCH_UNKNOWN || (type == PATCH_STRATEGIC && kind_is(c->kind, KIND_CUSTOM))) {
        return unsupported_patch(c);
    }
    if (type != PATCH_APPLY || store_find(c->api->store, c->kind, c->ns, c->name)) {
        r = call_load(c, &old);
    }
    w.old = old;
    if (r == 0 && old) {
        r = permit_check_object(c, "patch", old);
    }
    if (r < 0) {
        return r;
    }
    return type == PATCH_APPLY ? patch_by_apply(&w) : patch_existing(&w, type);
}
