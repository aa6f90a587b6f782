/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/node_marks.h"

#include <string.h>

#include "apiserver/call_int.h"
#include "apiserver/fault.h"
#include "apiserver/permit.h"
#include "codec/json.h"

static void check_finalizers(const struct json *object, const struct json *old, struct faults *f)
{
    const struct json *is = json_at(object, "metadata.finalizers");
    const struct json *was = json_at(old, "metadata.finalizers");

    for (size_t i = 0; i < json_count(is); i++) {
        const char *name = json_str(json_item(is, i), "");
        if (!json_has_str(was, name)) {
            faults_addf(f, FAULT_FORBIDDEN, "metadata.finalizers",
                        "\"%.64s\": only an administrator adds one", name);
        }
    }
}

static const char *note(const struct json *pod, const char *key)
{
    return json_str(json_get(json_at(pod, "metadata.annotations"), key), "");
}

static bool is_replica(const struct json *pod)
{
    return note(pod, "ambit.io/program")[0] != '\0';
}

/* The labels say of which Gateway, the template of which state of it. */
static void check_replica(const struct json *pod, const struct json *old, struct faults *f)
{
    static const char *const notes[] = {"ambit.io/program", "ambit.io/template"};
    AUTO(strbuf) struct strbuf field = {0};

    if (!is_replica(pod) && !is_replica(old)) {
        return;
    }
    for (size_t i = 0; i < ARRAY_LEN(notes); i++) {
        if (strcmp(note(pod, notes[i]), note(old, notes[i])) != 0) {
            strbuf_printf(&field, "metadata.annotations[%s]", notes[i]);
            faults_add(f, FAULT_FORBIDDEN, strbuf_text(&field), "only the control plane says it");
            return;
        }
    }
    if (!json_same(json_at(pod, "metadata.labels"), json_at(old, "metadata.labels"))) {
        faults_add(f, FAULT_FORBIDDEN, "metadata.labels",
                   "of a waypoint's replica: only the control plane changes them");
    }
}

int node_marks_check(struct call *c, const struct json *object, const struct json *old)
{
    struct faults f = {0};
    int r = 0;

    if (!permit_is_node(c->rq->user)) {
        return 0;
    }
    check_finalizers(object, old, &f);
    if (strcmp(c->kind->name, "Pod") == 0) {
        check_replica(object, old, &f);
    }
    if (f.count > 0) {
        r = call_refuse_faults(c, json_str_at(object, "metadata.name", ""), &f);
    }
    faults_fini(&f);
    return r;
}
