/* SPDX-License-Identifier: Apache-2.0 */
#include "control/voice.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"

void voice_init(struct voice *v)
{
    *v = (struct voice){.word = {.body = NULL}};
    list_init(&v->unsaid);
}

void voice_hush(struct voice *v)
{
    list_remove(&v->unsaid);
    v->word.body = json_unref(v->word.body);
}

void voice_fini(struct voice *v)
{
    voice_hush(v);
}

void voice_say(struct list *queue, struct voice *v, struct index_write take_w)
{
    voice_hush(v);
    v->word = take_w;
    list_append(queue, &v->unsaid);
}

bool voice_take(struct list *queue, struct index_write *out)
{
    struct list *n = list_take_first(queue);

    if (!n) {
        return false;
    }
    struct voice *v = container_of(n, struct voice, unsaid);
    *out = v->word;
    v->word.body = NULL;
    if (v->is_once) {
        mem_free(v);
    }
    return true;
}

void voice_once(struct list *queue, struct index_write take_w)
{
    struct voice *v = mem_new(struct voice);

    voice_init(v);
    v->is_once = true;
    voice_say(queue, v, take_w);
}

void voices_drop(struct list *queue)
{
    struct index_write w;

    while (voice_take(queue, &w)) {
        json_unref(w.body);
    }
}

/* ---- conditions */

static const struct json *find_condition(const struct json *list, const char *type)
{
    for (size_t i = 0; i < json_count(list); i++) {
        if (strcmp(json_str_at(json_item(list, i), "type", ""), type) == 0) {
            return json_item(list, i);
        }
    }
    return NULL;
}

static void set_time(struct json *c, const struct json *had)
{
    char text[CLOCK_TEXT];

    if (had && strcmp(json_str_at(had, "status", ""), json_str_at(c, "status", "")) == 0 &&
        json_str_at(had, "lastTransitionTime", "")[0] != '\0') {
        json_set_str(c, "lastTransitionTime", json_str_at(had, "lastTransitionTime", ""));
        return;
    }
    clock_format(clock_wall_ns() / 1000000000u * 1000000000u, text, sizeof(text));
    (void)snprintf(text + 19, sizeof(text) - 19, "Z"); /* Kubernetes' times have whole seconds */
    json_set_str(c, "lastTransitionTime", text);
}

struct json *condition_new(const struct condition *c, const struct json *had)
{
    struct json *j = json_new_object();
    char text[24];

    json_set_str(j, "type", c->type);
    json_set_str(j, "status", c->status ? "True" : "False");
    json_set_str(j, "reason", c->reason);
    if (*c->message) {
        json_set_str(j, "message", c->message);
    }
    if (c->as_text) {
        (void)snprintf(text, sizeof(text), "%lld", (long long)c->generation); /* fits */
        json_set_str(j, "observedGeneration", text);
    } else if (c->generation > 0) {
        json_set_int(j, "observedGeneration", c->generation);
    }
    set_time(j, find_condition(had, c->type));
    return j;
}

/* ---- comparing */

static bool covers_list(const struct json *have, const struct json *want)
{
    bool by_type = json_get(json_item(want, 0), "type") && json_get(json_item(want, 0), "status");

    if (json_count(have) < json_count(want) || (!by_type && json_count(have) != json_count(want))) {
        return false;
    }
    for (size_t i = 0; i < json_count(want); i++) {
        const struct json *w = json_item(want, i);
        const struct json *h =
            by_type ? find_condition(have, json_str_at(w, "type", "")) : json_item(have, i);
        if (!h || !json_covers(h, w)) {
            return false;
        }
    }
    return true;
}

bool json_covers(const struct json *have, const struct json *want)
{
    if (json_is_arr(want)) {
        return json_is_arr(have) && covers_list(have, want);
    }
    if (!json_is_obj(want)) {
        return json_same(have, want);
    }
    for (struct json_iter it = {0}; json_each(want, &it);) {
        if (strcmp(it.key, "lastTransitionTime") != 0 &&
            !json_covers(json_get(have, it.key), it.value)) {
            return false;
        }
    }
    return json_is_obj(have);
}

struct json *written_object(const char *api_version, const char *kind, const char *ns,
                            const char *name)
{
    struct json *o = json_new_object();
    struct json *meta = json_make_object(o, "metadata");

    json_set_str(o, "apiVersion", api_version);
    json_set_str(o, "kind", kind);
    if (*ns) {
        json_set_str(meta, "namespace", ns);
    }
    json_set_str(meta, "name", name);
    return o;
}
