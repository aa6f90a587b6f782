/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/extra.h"

#include <string.h>

#include "io/loop.h"
#include "io/task.h"
#include "t.h"

/* Both loops are turned by this thread: what is posted waits for its turn. */
struct lab {
    struct loop *home;
    struct loop *other;
    struct extra extra;
    struct list all;
    struct task owner;
    unsigned woken;
    unsigned rendered;
    size_t bytes; /* of an answer */
};

static void on_wake(struct task *t, unsigned why)
{
    struct lab *lab = container_of(t, struct lab, owner);

    lab->woken += (why & WAKE_JOB) != 0;
}

static void render(void *arg, const char *path, unsigned *status, struct strbuf *out)
{
    struct lab *lab = arg;

    lab->rendered++;
    *status = strcmp(path, "none") == 0 ? 404 : 200;
    strbuf_puts(out, path);
    for (size_t i = 0; i < lab->bytes; i += 1024) {
        static const char block[1024];
        strbuf_add(out, block, sizeof(block));
    }
}

static void begin(struct lab *lab)
{
    *lab = (struct lab){.home = loop_new(NULL), .other = loop_new(NULL)};
    lab->extra = (struct extra){"/apis/x/v1/", lab->other, render, lab};
    list_init(&lab->all);
    task_init(&lab->owner, lab->home, "owner", on_wake);
}

static void end(struct lab *lab)
{
    task_fini(&lab->owner);
    loop_free(lab->home);
    loop_free(lab->other);
}

static struct extra_ask *ask(struct lab *lab, const char *target)
{
    return extra_ask_new(&lab->extra, slice_of(target), &lab->all, lab->home, &lab->owner);
}

static void turn(struct loop *l)
{
    (void)loop_turn(l, 0); /* how much ran is of no interest */
}

TEST(paths_that_are_its_own)
{
    struct extra e = {.prefix = "/apis/x/v1/"};
    struct extra none = {.prefix = NULL};

    CHECK(extra_owns(&e, slice_of("/apis/x/v1/a?b")));
    CHECK(!extra_owns(&e, slice_of("/apis/x/v1")));
    CHECK(!extra_owns(&none, slice_of("/apis/x/v1/a")));
}

TEST(the_other_loop_answers)
{
    static const struct {
        const char *target;
        unsigned status;
        const char *text;
    } rows[] = {{"/apis/x/v1/a/b?c=d", 200, "a/b"}, {"/apis/x/v1/none", 404, "none"}};
    struct lab lab;

    begin(&lab);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        AUTO(strbuf) struct strbuf text = {0};
        struct extra_ask *a = ask(&lab, rows[i].target);
        turn(lab.home);
        CHECK(!extra_ask_is_done(a));
        turn(lab.other);
        turn(lab.home);
        CHECK(extra_ask_is_done(a));
        CHECK_INT(lab.woken, i + 1);
        CHECK_INT(extra_ask_take(a, &text), rows[i].status);
        CHECK_STR(strbuf_text(&text), rows[i].text);
        CHECK(list_is_empty(&lab.all));
    }
    end(&lab);
}

TEST(an_answer_has_a_limit)
{
    AUTO(strbuf) struct strbuf text = {0};
    struct lab lab;

    begin(&lab);
    lab.bytes = EXTRA_BYTES_MAX;
    struct extra_ask *a = ask(&lab, "/apis/x/v1/a");
    turn(lab.other);
    turn(lab.home);
    CHECK_INT(extra_ask_take(a, &text), 413);
    end(&lab);
}

/* Whoever asked may go at any time, and the server as well; sanitizers tell what is left or used. */
TEST(nobody_has_to_wait)
{
    struct lab lab;

    begin(&lab);
    struct extra_ask *early = ask(&lab, "/apis/x/v1/a");
    extra_ask_abandon(early);
    struct extra_ask *late = ask(&lab, "/apis/x/v1/a");
    turn(lab.other);
    CHECK_INT(lab.rendered, 2);
    turn(lab.home);
    CHECK(list_is_empty(&lab.all));
    CHECK_INT(lab.woken, 1);
    extra_ask_abandon(late);
    extra_ask_abandon(NULL);

    struct extra_ask *answered = ask(&lab, "/apis/x/v1/a");
    turn(lab.other);
    (void)answered;
    struct extra_ask *unasked = ask(&lab, "/apis/x/v1/a");
    (void)unasked;
    extra_end_all(&lab.all);
    end(&lab); /* what was posted is delivered here */
    CHECK_INT(lab.rendered, 3);
    CHECK_INT(lab.woken, 1);
}
