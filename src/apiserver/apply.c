/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/apply.h"

#include <string.h>

#include "apiserver/api_status.h"
#include "apiserver/fieldset.h"
#include "apiserver/managed.h"
#include "apiserver/schema.h"
#include "base/mem.h"
#include "base/str.h"
#include "codec/json.h"

enum { CONFLICTS_MAX = 64 };

/* ---- merging what is wanted into what is */

static void merge(const struct schema *s, struct json *into, const struct json *config);

static void merge_list(const struct schema *s, struct json *into, const struct json *config)
{
    for (size_t i = 0; i < json_count(config); i++) {
        const struct json *item = json_item(config, i);
        AUTO(text) char *key = s->is_set ? NULL : fieldset_item_key(s, item);
        struct json *is = key ? fieldset_child(into, key) : NULL;
        bool there = false;
        for (size_t j = 0; s->is_set && j < json_count(into); j++) {
            there = there || json_same(json_item(into, j), item);
        }
        if (is) {
            merge(s->items, is, item);
        } else if (!there) {
            json_append(into, json_clone(item));
        }
    }
}

static void merge_field(const struct schema *f, struct json *into, const char *name,
                        const struct json *want)
{
    struct json *is = json_get(into, name);

    if (fieldset_is_keyed(f, want) && fieldset_is_keyed(f, is)) {
        merge_list(f, is, want);
    } else if (json_is_obj(want) && json_is_obj(is) && f && !f->atomic && f->type != SCHEMA_ANY) {
        merge(f, is, want);
    } else {
        json_set(into, name, json_clone(want));
    }
}

static void merge(const struct schema *s, struct json *into, const struct json *config)
{
    for (struct json_iter it = {0}; json_each(config, &it);) {
        merge_field(schema_child(s, it.key), into, it.key, it.value);
    }
}

/* ---- taking out what nobody wants any more */

struct claims { /* what keeps a field: the new configuration and the other managers */
    const struct json *sets[MANAGERS_MAX + 1];
    size_t count;
};

static struct claims claims_below(const struct claims *c, const char *key)
{
    struct claims below = {.count = 0};

    for (size_t i = 0; i < c->count; i++) {
        const struct json *child = json_get(c->sets[i], key);
        if (child) {
            below.sets[below.count++] = child;
        }
    }
    return below;
}

static void remove_child(struct json *value, const char *key, const struct json *child)
{
    if (strncmp(key, "f:", 2) == 0) {
        (void)json_remove(value, key + 2); /* it is there */
        return;
    }
    for (size_t i = 0; i < json_count(value); i++) {
        if (json_item(value, i) == child) {
            (void)json_remove_item(value, i); /* it is there */
            return;
        }
    }
}

/* A leaf that has children now is the container alone: whoever claims it does not claim them. */
static void prune(struct json *value, const struct json *had, const struct claims *claims)
{
    for (struct json_iter it = {0}; json_each(had, &it);) {
        struct json *child = strcmp(it.key, ".") != 0 ? fieldset_child(value, it.key) : NULL;
        struct claims below = claims_below(claims, it.key);
        bool whole = fieldset_is_leaf(it.value);
        bool claimed = below.count > 0;
        if (!child || (whole && claimed)) {
            continue;
        }
        if (!claimed && (whole || it.key[0] == 'k')) {
            remove_child(value, it.key, child);
            continue;
        }
        prune(child, it.value, &below);
        if (!claimed && json_count(child) == 0 && (json_is_obj(child) || json_is_arr(child))) {
            remove_child(value, it.key, child);
        }
    }
}

/* ---- conflicts */

struct conflicts {
    struct json *status; /* NULL: none yet */
    size_t count;
    const char *manager; /* as it is printed */
    struct strbuf path;
    struct strbuf text; /* "conflicts with ...", one manager after the other */
    char *last_manager;
};

static void note_conflict(struct conflicts *c)
{
    AUTO(strbuf) struct strbuf message = {0};

    if (c->count++ >= CONFLICTS_MAX) {
        return;
    }
    if (!c->status) {
        c->status = api_status_failure(409, "Conflict", "");
    }
    strbuf_printf(&message, "conflict with %s", c->manager);
    api_status_add_cause(c->status, "FieldManagerConflict", strbuf_text(&message),
                         strbuf_text(&c->path));
    if (!c->last_manager || strcmp(c->last_manager, c->manager) != 0) {
        strbuf_printf(&c->text, "%sconflicts with %s:", c->text.len > 0 ? "\n" : "", c->manager);
        mem_free(c->last_manager);
        c->last_manager = mem_strdup(c->manager);
    }
    strbuf_printf(&c->text, "\n- %s", strbuf_text(&c->path));
}

/* Where both sets name a field and its value is about to change. */
static void find_conflicts(struct conflicts *c, const struct json *mine, const struct json *its,
                           const struct json *is, const struct json *will)
{
    for (struct json_iter it = {0}; json_each(mine, &it);) {
        const struct json *other = strcmp(it.key, ".") != 0 ? json_get(its, it.key) : NULL;
        if (!other) {
            continue;
        }
        size_t was = c->path.len;
        const struct json *now = fieldset_child(is, it.key);
        const struct json *then = fieldset_child(will, it.key);
        fieldset_print_key(it.key, &c->path);
        bool containers =
            (json_is_obj(now) && json_is_obj(then)) || (json_is_arr(now) && json_is_arr(then));
        bool whole = fieldset_is_leaf(it.value);
        if (!whole && !fieldset_is_leaf(other)) {
            find_conflicts(c, it.value, other, now, then);
        } else if (!(containers && whole != fieldset_is_leaf(other)) && !json_same(now, then)) {
            note_conflict(c); /* but to fill a container that somebody else made is none */
        }
        c->path.len = was;
        if (c->path.p) {
            c->path.p[was] = '\0';
        }
    }
}

static struct json *finish_conflicts(struct conflicts *c)
{
    AUTO(strbuf) struct strbuf text = {0};

    if (c->status && c->count == 1) {
        strbuf_printf(&text, "Apply failed with 1 conflict: conflict with %s: %s", c->last_manager,
                      json_str_at(json_item(json_at(c->status, "details.causes"), 0), "field", ""));
    } else if (c->status) {
        strbuf_printf(&text, "Apply failed with %zu conflicts: %s", c->count,
                      strbuf_text(&c->text));
    }
    if (c->status) {
        json_set_str(c->status, "message", strbuf_text(&text));
    }
    strbuf_fini(&c->path);
    strbuf_fini(&c->text);
    mem_free(c->last_manager);
    return c->status;
}

/* ---- the whole */

static bool is_mine(const struct json *entry, const struct json *mine)
{
    return entry == mine;
}

/* What the others own of set is theirs no more. */
static void take_over(struct json *entries, const struct json *mine, const struct json *is,
                      const struct json *will, const struct schema *s)
{
    AUTO(json) struct json *changed = fieldset_changed(s, is, will);

    for (size_t i = 0; i < json_count(entries); i++) {
        struct json *e = json_item(entries, i);
        if (!is_mine(e, mine)) {
            fieldset_subtract(json_get(e, "fieldsV1"), changed);
        }
    }
}

static char *print_manager(const struct json *entry)
{
    struct strbuf b = {0};
    const char *subresource = json_str_at(entry, "subresource", "");

    strbuf_printf(&b, "\"%s\"", json_str_at(entry, "manager", ""));
    if (*subresource) {
        strbuf_printf(&b, " with subresource \"%s\"", subresource);
    }
    if (strcmp(json_str_at(entry, "operation", ""), "Update") == 0) {
        strbuf_printf(&b, " using %s", json_str_at(entry, "apiVersion", ""));
    }
    return strbuf_take(&b);
}

static struct json *conflicts_with(const struct json *entries, const struct json *mine,
                                   const struct json *set, const struct json *is,
                                   const struct json *will)
{
    struct conflicts c = {0};

    for (size_t i = 0; i < json_count(entries); i++) {
        const struct json *e = json_item(entries, i);
        AUTO(text) char *manager = print_manager(e);
        c.manager = manager;
        if (!is_mine(e, mine)) {
            find_conflicts(&c, set, json_get(e, "fieldsV1"), is, will);
        }
    }
    return finish_conflicts(&c);
}

static void prune_unwanted(struct json *object, const struct json *entries, const struct json *mine,
                           const struct json *set)
{
    struct claims claims = {.sets = {set}, .count = 1};

    for (size_t i = 0; i < json_count(entries) && claims.count <= MANAGERS_MAX; i++) {
        const struct json *e = json_item(entries, i);
        if (!is_mine(e, mine)) {
            claims.sets[claims.count++] = json_get(e, "fieldsV1");
        }
    }
    if (mine) {
        prune(object, json_get(mine, "fieldsV1"), &claims);
    }
}

static void set_entries(struct json *object, struct json *take_entries)
{
    struct json *meta = json_make_object(object, "metadata");

    for (size_t i = json_count(take_entries); i > 0; i--) {
        if (fieldset_is_empty(json_get(json_item(take_entries, i - 1), "fieldsV1"))) {
            (void)json_remove_item(take_entries, i - 1); /* it is there */
        }
    }
    if (json_count(take_entries) > 0) {
        json_set(meta, "managedFields", take_entries);
    } else {
        (void)json_remove(meta, "managedFields"); /* absent is fine */
        json_unref(take_entries);
    }
}

struct json *apply_create(const struct schema *s, const struct json *config,
                          const struct managed_by *by)
{
    AUTO(json) struct json *wanted = managed_subject(config);
    struct json *object = json_clone(config);
    struct json *entries = json_new_array();

    managed_put(entries, "Apply", json_str_at(config, "apiVersion", ""), by,
                fieldset_of(s, wanted));
    set_entries(object, entries);
    return object;
}

void apply_merge(const struct schema *s, const struct json *old, const struct json *config,
                 const struct managed_by *by, bool force, struct json **out,
                 struct json **out_conflicts)
{
    AUTO(json) struct json *wanted = managed_subject(config);
    AUTO(json) struct json *set = fieldset_of(s, wanted);
    AUTO(json) struct json *object = json_clone(old);
    AUTO(json) struct json *entries = json_clone(json_at(old, "metadata.managedFields"));

    if (!json_is_arr(entries)) {
        json_unref(entries);
        entries = json_new_array();
    }
    const struct json *mine = managed_find(entries, "Apply", by);
    merge(s, object, wanted);
    struct json *conflicts = force ? NULL : conflicts_with(entries, mine, set, old, object);
    if (conflicts) {
        *out_conflicts = conflicts;
        return;
    }
    take_over(entries, mine, old, object, s);
    prune_unwanted(object, entries, mine, set);
    managed_put(entries, "Apply", json_str_at(config, "apiVersion", ""), by, MOVE(set));
    set_entries(object, MOVE(entries));
    *out = MOVE(object);
}
