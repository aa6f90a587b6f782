/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "apiserver/kind.h"
#include "apiserver/object.h"
#include "base/mem.h"
#include "base/rand.h"
#include "codec/json.h"
#include "t.h"

static const struct kind *pods(void)
{
    return kind_named("", "Pod");
}

static struct object *pod(uint64_t rv, const char *ns, const char *name)
{
    AUTO(json) struct json *body = json_new_object();
    struct json *meta = json_make_object(body, "metadata");

    json_set_str(meta, "namespace", ns);
    json_set_str(meta, "name", name);
    json_set_int(body, "rv", (int64_t)rv);
    return object_new(pods(), rv, body);
}

static void put(struct store *s, const char *ns, const char *name)
{
    store_put(s, pod(store_rv(s) + 1, ns, name));
    store_set_durable(s, store_rv(s));
}

static void drop(struct store *s, const char *ns, const char *name)
{
    store_remove(s, pod(store_rv(s) + 1, ns, name));
    store_set_durable(s, store_rv(s));
}

/* "ns/name@rv ..." as of that version. The caller's. */
static char *walk(const struct store *s, const char *ns, uint64_t rv)
{
    struct strbuf text = {0};
    struct cursor c;
    struct object *o = NULL;

    if (cursor_init(&c, s, pods(), ns, rv) < 0) {
        return mem_strdup("gone");
    }
    while ((o = cursor_next(&c)) != NULL) {
        strbuf_printf(&text, "%s/%s@%u ", o->ns, o->name, (unsigned)o->rv);
    }
    cursor_fini(&c);
    return strbuf_take(&text);
}

#define CHECK_WALK(s, ns, rv, want)                                                                \
    do {                                                                                           \
        AUTO(text) char *seen = walk(s, ns, rv);                                                   \
        CHECK_STR(seen, want);                                                                     \
    } while (0)

TEST(objects_come_in_order_of_namespace_and_name)
{
    struct store *s = store_new();

    store_loaded(s, 1);
    put(s, "b", "x");
    put(s, "a", "z");
    put(s, "a", "a");
    put(s, "a", "z");
    CHECK_WALK(s, "", 0, "a/a@4 a/z@5 b/x@2 ");
    CHECK_WALK(s, "a", 0, "a/a@4 a/z@5 ");
    CHECK_WALK(s, "c", 0, "");
    CHECK_INT(store_count(s, pods()), 3);
    store_free(s);
}

TEST(an_older_state_is_seen_as_it_was)
{
    struct store *s = store_new();

    store_loaded(s, 1);
    put(s, "a", "one");  /* 2 */
    put(s, "a", "two");  /* 3 */
    put(s, "a", "one");  /* 4 */
    drop(s, "a", "two"); /* 5 */
    put(s, "a", "zero"); /* 6 */
    put(s, "a", "two");  /* 7 */
    CHECK_WALK(s, "", 1, "");
    CHECK_WALK(s, "", 2, "a/one@2 ");
    CHECK_WALK(s, "", 3, "a/one@2 a/two@3 ");
    CHECK_WALK(s, "", 4, "a/one@4 a/two@3 ");
    CHECK_WALK(s, "", 5, "a/one@4 ");
    CHECK_WALK(s, "", 6, "a/one@4 a/zero@6 ");
    CHECK_WALK(s, "", 7, "a/one@4 a/two@7 a/zero@6 ");
    CHECK_WALK(s, "", 8, "gone");
    store_free(s);
}

TEST(a_page_goes_on_behind_the_last_key_even_when_that_is_gone)
{
    struct store *s = store_new();
    struct cursor c;

    store_loaded(s, 1);
    put(s, "a", "1");
    put(s, "a", "2");
    put(s, "a", "3");
    uint64_t then = store_rv(s);
    drop(s, "a", "2");
    put(s, "a", "25");
    CHECK_INT(cursor_init(&c, s, pods(), "", then), 0);
    cursor_skip_to(&c, "a", "1");
    CHECK_STR(cursor_next(&c)->name, "2");
    CHECK_STR(cursor_next(&c)->name, "3");
    CHECK(!cursor_next(&c));
    cursor_fini(&c);
    CHECK_INT(cursor_init(&c, s, pods(), "", 0), 0);
    cursor_skip_to(&c, "a", "2");
    CHECK_STR(cursor_next(&c)->name, "25");
    cursor_fini(&c);
    store_free(s);
}

TEST(the_window_forgets_the_oldest_changes)
{
    struct store *s = store_new();

    store_loaded(s, 10);
    for (int i = 0; i < STORE_WINDOW + 100; i++) {
        put(s, "a", "same");
    }
    CHECK_INT(store_floor(s), 110);
    CHECK(!store_change(s, 110));
    CHECK_INT(store_change(s, 111)->rv, 111);
    CHECK_WALK(s, "", 109, "gone");
    CHECK_WALK(s, "", 110, "a/same@110 ");
    store_free(s);
}

TEST(changes_that_the_disk_has_not_seen_are_bounded)
{
    struct store *s = store_new();

    store_loaded(s, 1);
    while (store_accepts(s)) {
        store_put(s, pod(store_rv(s) + 1, "a", "x"));
    }
    CHECK_INT(store_rv(s) - store_durable(s), STORE_PENDING);
    CHECK_INT(store_floor(s), 1);
    store_set_durable(s, store_rv(s));
    CHECK(store_accepts(s));
    store_free(s);
}

/* An independent model: every state kept whole. */
enum { MODEL_KEYS = 12, MODEL_STEPS = 400 };

static char *model_state(const unsigned *state)
{
    struct strbuf text = {0};

    for (unsigned k = 0; k < MODEL_KEYS; k++) {
        if (state[k] > 0) {
            strbuf_printf(&text, "n/k%c@%u ", 'a' + (char)k, state[k]);
        }
    }
    return strbuf_take(&text);
}

TEST(random_histories_agree_with_a_model_that_keeps_every_state)
{
    static unsigned states[MODEL_STEPS + 2][MODEL_KEYS];
    struct store *s = store_new();
    struct rand_seq r;
    unsigned wrong = 0;
    unsigned shifted = 0; /* the test of the test: another version's state is seldom the same */

    rand_seq_init(&r, 7);
    store_loaded(s, 1);
    for (unsigned step = 2; step < MODEL_STEPS + 2; step++) {
        unsigned k = (unsigned)rand_seq_below(&r, MODEL_KEYS);
        char name[3] = {'k', (char)('a' + (char)k), '\0'};
        memcpy(states[step], states[step - 1], sizeof(states[0]));
        if (states[step][k] > 0 && rand_seq_below(&r, 3) == 0) {
            drop(s, "n", name);
            states[step][k] = 0;
        } else {
            put(s, "n", name);
            states[step][k] = step;
        }
    }
    for (unsigned rv = 2; rv < MODEL_STEPS + 1; rv++) {
        AUTO(text) char *is = walk(s, "n", rv);
        AUTO(text) char *want = model_state(states[rv]);
        AUTO(text) char *next = model_state(states[rv + 1]);
        wrong += strcmp(is, want) != 0;
        shifted += strcmp(is, next) == 0;
    }
    store_free(s);
    CHECK_INT(wrong, 0);
    CHECK_INT(shifted, 0);
}
