/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Server-side apply. Input: two configurations, a line feed between them. Oracles: applying the same
 * again changes nothing; what a forced apply wants is there afterwards; a manager that wants nothing
 * any more leaves the object as the other one wants it, also when fields had been taken over; without force either nothing the other
 * manager owns changes, or there is a conflict.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "apiserver/apply.h"
#include "apiserver/check.h"
#include "apiserver/fieldset.h"
#include "apiserver/managed.h"
#include "apiserver/schema.h"
#include "base/mem.h"
#include "codec/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char shape[] =
    "kind apiVersion metadata:any "
    "spec:{ports:[{name port:int protocol=TCP}]@port+protocol set:[string]@* args:[string] "
    "m:<string> whole:<string>~ o:{a b:{c}}}";

static void must(bool truth)
{
    if (!truth) {
        abort();
    }
}

/* Lists that name a key twice are refused before they get here. */
static bool has_twins(const struct schema *s, const struct json *v)
{
    bool twins = false;

    if (fieldset_is_keyed(s, v)) {
        for (size_t i = 0; i < json_count(v); i++) {
            AUTO(text) char *a = s->is_set ? NULL : fieldset_item_key(s, json_item(v, i));
            twins = twins || (!s->is_set && !a);
            for (size_t j = 0; j < i; j++) {
                AUTO(text) char *b = s->is_set ? NULL : fieldset_item_key(s, json_item(v, j));
                twins = twins || (s->is_set ? json_same(json_item(v, i), json_item(v, j))
                                            : a && b && strcmp(a, b) == 0);
            }
        }
    }
    for (struct json_iter it = {0}; json_is_obj(v) && json_each(v, &it);) {
        twins = twins || has_twins(schema_child(s, it.key), it.value);
    }
    return twins;
}

static struct json *read_config(const struct schema *s, struct slice text)
{
    AUTO(json) struct json *o = NULL;
    AUTO(json) struct json *config = json_new_object();
    struct faults faults = {0};

    if (json_parse(&o, text.p ? text.p : "", text.len, NULL, NULL) < 0 || !json_is_obj(o)) {
        return NULL;
    }
    json_set(config, "spec",
             json_is_obj(json_get(o, "spec")) ? json_clone(json_get(o, "spec"))
                                              : json_new_object());
    check_object(s, config, CHECK_PARTIAL, NULL, &faults);
    size_t wrong = faults.count;
    faults_fini(&faults);
    return wrong > 0 || has_twins(s, config) ? NULL : MOVE(config);
}

/* Everything that small says, big says too. */
static bool says(const struct schema *s, const struct json *big, const struct json *small)
{
    if (fieldset_is_keyed(s, small)) {
        for (size_t i = 0; i < json_count(small); i++) {
            const struct json *item = json_item(small, i);
            AUTO(text) char *key = s->is_set ? NULL : fieldset_item_key(s, item);
            bool found = false;
            for (size_t j = 0; j < json_count(big); j++) {
                found = found || (s->is_set && json_same(json_item(big, j), item));
            }
            const struct json *is = key ? fieldset_child(big, key) : NULL;
            if (s->is_set ? !found : !is || !says(s->items, is, item)) {
                return false;
            }
        }
        return true;
    }
    if (!json_is_obj(small) || !s || s->atomic || s->type == SCHEMA_ANY) {
        return json_same(big, small);
    }
    for (struct json_iter it = {0}; json_each(small, &it);) {
        if (!says(schema_child(s, it.key), json_get(big, it.key), it.value)) {
            return false;
        }
    }
    return json_is_obj(big);
}

/* The same of the part that is not the server's own; a spec that is gone says nothing. */
static bool spec_says(const struct schema *s, const struct json *big, const struct json *small)
{
    const struct json *spec = json_get(small, "spec");

    return !spec || says(schema_field(s, "spec"), json_get(big, "spec"), spec);
}

static struct json *apply(const struct schema *s, const struct json *old, const struct json *config,
                          const char *manager, bool force)
{
    struct managed_by by = {.manager = manager, .subresource = ""};
    struct json *out = NULL;
    struct json *conflicts = NULL;

    apply_merge(s, old, config, &by, force, &out, &conflicts);
    must((out == NULL) != (conflicts == NULL));
    must(!force || out);
    json_unref(conflicts);
    return out;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    AUTO(schema) struct schema *s = NULL;
    struct slice first;
    struct slice second;
    struct diag why = {0};
    struct managed_by one = {.manager = "one", .subresource = ""};

    slice_cut((struct slice){(const char *)data, size}, '\n', &first, &second);
    must(schema_parse(shape, &why, &s) == 0);
    AUTO(json) struct json *a = read_config(s, first);
    AUTO(json) struct json *b = read_config(s, second);
    if (!a || !b) {
        return 0;
    }
    AUTO(json) struct json *made = apply_create(s, a, &one);
    must(says(s, made, a));
    AUTO(json) struct json *again = apply(s, made, a, "one", false);
    must(again && json_same(json_get(again, "spec"), json_get(made, "spec")));
    AUTO(json) struct json *polite = apply(s, made, b, "two", false);
    must(!polite || says(s, polite, a));
    AUTO(json) struct json *forced = apply(s, made, b, "two", true);
    must(says(s, forced, b));
    AUTO(json) struct json *forced_again = apply(s, forced, b, "two", false);
    must(forced_again && json_same(json_get(forced_again, "spec"), json_get(forced, "spec")));
    AUTO(json) struct json *nothing = json_new_object();
    AUTO(json) struct json *left = apply(s, forced, nothing, "one", false);
    must(left && says(s, left, b) && spec_says(s, b, left)); /* the other's wishes, and no more */
    AUTO(json) struct json *back = apply(s, forced, nothing, "two", false);
    must(back && spec_says(s, a, back)); /* what "two" had taken over belongs to nobody now */
    return 0;
}
