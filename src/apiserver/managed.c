/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/managed.h"

#include <string.h>

#include "apiserver/fieldset.h"
#include "apiserver/meta.h"
#include "base/mem.h"
#include "base/num.h"
#include "codec/json.h"

enum { MANAGER_BYTES = 128 };

/* The user agent up to its first slash, as Kubernetes does. */
static char *manager_name(const struct managed_by *by)
{
    struct slice head;
    struct slice rest;

    if (by->manager[0] != '\0') {
        return mem_strdup(by->manager);
    }
    (void)slice_cut(by->user_agent, '/', &head, &rest); /* no slash: all of it */
    if (head.len == 0) {
        return mem_strdup("unknown");
    }
    return mem_dup(head.p, MIN_OF(head.len, (size_t)MANAGER_BYTES));
}

/* A new object with the same members, those named left out. The members are shared. */
static struct json *without(const struct json *object, const char *const *names, size_t count)
{
    struct json *some = json_new_object();

    for (struct json_iter it = {0}; json_each(object, &it);) {
        bool out = false;
        for (size_t i = 0; i < count && !out; i++) {
            out = strcmp(names[i], it.key) == 0;
        }
        if (!out) {
            json_set(some, it.key, json_ref(it.value));
        }
    }
    return some;
}

struct json *managed_subject(const struct json *object)
{
    static const char *const types[] = {"kind", "apiVersion", "metadata"};
    static const char *const identity[] = {"name",
                                           "namespace",
                                           "uid",
                                           "selfLink",
                                           "generateName",
                                           "resourceVersion",
                                           "generation",
                                           "managedFields",
                                           "creationTimestamp",
                                           "deletionTimestamp",
                                           "deletionGracePeriodSeconds"};
    struct json *subject = json_new_object();
    AUTO(json) struct json *rest = without(object, types, ARRAY_LEN(types));
    struct json *meta = without(json_get(object, "metadata"), identity, ARRAY_LEN(identity));

    if (json_count(meta) > 0) {
        json_set(subject, "metadata", meta);
    } else {
        json_unref(meta);
    }
    for (struct json_iter it = {0}; json_each(rest, &it);) {
        json_set(subject, it.key, json_ref(it.value));
    }
    return subject;
}

static bool is_entry(const struct json *e, const char *operation, const char *name,
                     const char *subresource)
{
    return strcmp(json_str_at(e, "manager", ""), name) == 0 &&
           strcmp(json_str_at(e, "operation", ""), operation) == 0 &&
           strcmp(json_str_at(e, "subresource", ""), subresource) == 0;
}

struct json *managed_find(const struct json *entries, const char *operation,
                          const struct managed_by *by)
{
    AUTO(text) char *name = manager_name(by);

    for (size_t i = 0; i < json_count(entries); i++) {
        if (is_entry(json_item(entries, i), operation, name, by->subresource)) {
            return json_item(entries, i);
        }
    }
    return NULL;
}

static struct json *new_entry(const char *operation, const char *api_version,
                              const struct managed_by *by)
{
    struct json *e = json_new_object();
    AUTO(text) char *name = manager_name(by);

    json_set_str(e, "manager", name);
    json_set_str(e, "operation", operation);
    json_set_str(e, "apiVersion", api_version);
    if (by->subresource[0] != '\0') {
        json_set_str(e, "subresource", by->subresource);
    }
    json_set_str(e, "fieldsType", "FieldsV1");
    return e;
}

void managed_put(struct json *entries, const char *operation, const char *api_version,
                 const struct managed_by *by, struct json *take_set)
{
    struct json *e = managed_find(entries, operation, by);
    char time[TIME_TEXT];

    if (!e) {
        if (json_count(entries) == MANAGERS_MAX) {
            (void)json_remove_item(entries, 0); /* there is one */
        }
        json_append(entries, new_entry(operation, api_version, by));
        e = managed_find(entries, operation, by);
    }
    if (!json_same(json_get(e, "fieldsV1"), take_set)) {
        meta_format_time(by->now_s, time, sizeof(time));
        json_set_str(e, "time", time);
    }
    json_set(e, "fieldsV1", take_set);
}

/* Entries that own nothing go. */
static void drop_empty(struct json *entries)
{
    for (size_t i = json_count(entries); i > 0; i--) {
        if (fieldset_is_empty(json_get(json_item(entries, i - 1), "fieldsV1"))) {
            (void)json_remove_item(entries, i - 1); /* it is there */
        }
    }
}

/* A client that sends a list with nothing in it wants to start over. */
static bool is_reset(const struct json *object)
{
    const struct json *sent = json_at(object, "metadata.managedFields");
    bool hollow = json_count(sent) == 1 && json_count(json_item(sent, 0)) == 0;

    return json_is_arr(sent) && (json_count(sent) == 0 || hollow);
}

static struct json *base_entries(const struct json *old, const struct json *object)
{
    struct json *entries =
        old && !is_reset(object) ? json_clone(json_at(old, "metadata.managedFields")) : NULL;

    return entries ? entries : json_new_array();
}

void managed_update(const struct schema *s, const struct json *old, struct json *object,
                    const struct managed_by *by)
{
    AUTO(json) struct json *before = managed_subject(old);
    AUTO(json) struct json *after = managed_subject(object);
    AUTO(json) struct json *changed = fieldset_changed(s, before, after);
    AUTO(json) struct json *gone = fieldset_changed(s, after, before);
    AUTO(json) struct json *entries = base_entries(old, object);
    bool reset = old && is_reset(object);

    for (size_t i = 0; i < json_count(entries); i++) {
        struct json *owned = json_get(json_item(entries, i), "fieldsV1");
        fieldset_subtract(owned, gone);
        fieldset_subtract(owned, changed);
    }
    if (!fieldset_is_empty(changed) && !reset) {
        const struct json *mine = managed_find(entries, "Update", by);
        struct json *set = json_clone(json_get(mine, "fieldsV1"));
        set = set ? set : json_new_object();
        fieldset_add(set, changed);
        managed_put(entries, "Update", json_str_at(object, "apiVersion", ""), by, set);
    }
    drop_empty(entries);
    struct json *meta = json_make_object(object, "metadata");
    if (json_count(entries) > 0) {
        json_set(meta, "managedFields", MOVE(entries));
    } else {
        (void)json_remove(meta, "managedFields"); /* absent is fine */
    }
}
