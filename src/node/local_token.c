/* SPDX-License-Identifier: Apache-2.0 */
#include "node/local_token.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/num.h"
#include "io/file.h"
#include "node/local_pod.h"
#include "node/pod_source.h"

static struct log_scope scope = LOG_SCOPE("local");

enum { RETRY_FIRST_MS = 1000, RETRY_LAST_MS = 60000, ASK_LIMIT_MS = 15000, LIFE_MIN_S = 2 };

enum step {
    ASK,   /* the API is asked */
    WRITE, /* the file is being written */
    HOLD,  /* it is good for a while */
    AGAIN  /* an attempt failed; the next one is due later */
};

static const unsigned may_go[] = {
    [ASK] = BIT(WRITE) | BIT(AGAIN),
    [WRITE] = BIT(HOLD) | BIT(AGAIN),
    [HOLD] = BIT(ASK),
    [AGAIN] = BIT(ASK),
};

struct secret_file {
    struct job job;
    char folders[2][LOCAL_PATH_MAX]; /* the common one, and its own in it */
    char *text;
    gid_t group;
    int result;
    struct diag why;
};

struct local_token {
    const struct local_env *env;
    const struct local_record *record;
    struct task task;
    struct task *owner;
    struct timer limit;
    enum step step;
    struct pod_write *write;
    struct secret_file *file;
    unsigned life_s;
    unsigned retry_ms;
    bool is_there;
    struct diag trouble;
};

/* ---- the file, in a job */

/* Whoever makes a file gives it the group that it has for the file system. */
static int make_folder(const char *path, mode_t mode, struct diag *why)
{
    if ((mkdir(path, mode) < 0 && errno != EEXIST) || chmod(path, mode) < 0) {
        return FAIL(why, neg_errno(), "make %s", path);
    }
    return 0;
}

static int write_secret(const struct secret_file *f, struct diag *why)
{
    AUTO(strbuf) struct strbuf path = {0};
    int r = make_folder(f->folders[1], 0750, why);

    strbuf_printf(&path, "%s/" LOCAL_TOKEN_FILE, f->folders[1]);
    if (r == 0) {
        r = file_write_blocking(strbuf_text(&path), f->text, strlen(f->text), 0640, why);
    }
    if (r == 0 && chmod(strbuf_text(&path), 0640) < 0) { /* whatever our umask is */
        r = FAIL(why, neg_errno(), "open %s to its reader", strbuf_text(&path));
    }
    return r;
}

static void secret_work(struct job *j)
{
    struct secret_file *f = container_of(j, struct secret_file, job);

    f->result = make_folder(f->folders[0], 0711, &f->why); /* its members are not listed */
    if (f->result == 0) {
        (void)setfsgid(
            f->group); /* of this thread alone; what fails shows as a file not readable */
        f->result = write_secret(f, &f->why);
        (void)setfsgid(getegid());
    }
}

static void secret_free(struct secret_file *f)
{
    mem_free_secret(f->text, strlen(f->text));
    mem_free(f);
}

static void secret_abandoned(struct job *j)
{
    secret_free(container_of(j, struct secret_file, job));
}

int local_token_path(const struct local_record *r, struct strbuf *out)
{
    char dir[LOCAL_PATH_MAX];
    int result = local_record_secrets(r, dir);

    if (result == 0) {
        strbuf_printf(out, "%s/" LOCAL_TOKEN_FILE, dir);
    }
    return result;
}

/* "uid:gid": waypoints run as nobody that has a name. */
static int group_of(const struct local_spec *s, gid_t *out, struct diag *why)
{
    struct slice uid;
    struct slice gid;
    uint32_t number;

    if (!slice_cut(slice_of(s->user), ':', &uid, &gid) ||
        num_parse_u32(gid.p, gid.len, INT32_MAX, &number) < 0 || number == 0) {
        return FAIL(why, -ERR_SYNTAX, "user %s of a waypoint is no UID:GID", s->user);
    }
    *out = number;
    return 0;
}

static int start_file(struct local_token *t, const char *text, struct diag *why)
{
    struct secret_file *f = mem_new(struct secret_file);
    const struct local_record *r = t->record;
    int result = local_record_secrets(r, f->folders[1]);

    f->job = (struct job){.work = secret_work, .abandoned = secret_abandoned};
    f->text = mem_strdup(text);
    (void)snprintf(f->folders[0], sizeof(f->folders[0]), "%s/secrets", r->run_dir); /* fits */
    if (result == 0) {
        result = group_of(&r->spec, &f->group, why);
    }
    if (result == 0) {
        result = jobs_submit(t->env->jobs, &f->job, (uint64_t)(uintptr_t)&t->task, &t->task);
    }
    if (result < 0) {
        secret_free(f);
        return FAIL(why, result, "write token");
    }
    t->file = f;
    return 0;
}

int local_token_remove_blocking(const struct local_record *r, struct diag *why)
{
    static const char *const names[] = {"/" LOCAL_TOKEN_FILE, "/" LOCAL_TOKEN_FILE ".new"};
    char dir[LOCAL_PATH_MAX];
    char path[LOCAL_PATH_MAX + 16];

    if (local_record_secrets(r, dir) < 0) {
        return 0; /* it never had any */
    }
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        (void)snprintf(path, sizeof(path), "%s%s", dir, names[i]); /* fits */
        if (unlink(path) < 0 && errno != ENOENT) {
            return FAIL(why, neg_errno(), "remove %s", path);
        }
    }
    return rmdir(dir) < 0 && errno != ENOENT ? FAIL(why, neg_errno(), "remove %s", dir) : 0;
}

/* ---- the steps */

static void drop(struct local_token *t)
{
    if (t->write) {
        t->env->source->ops->drop(MOVE(t->write));
    }
    if (t->file) {
        struct secret_file *f = MOVE(t->file);
        job_abandon(&f->job);
    }
}

static void enter(struct local_token *t, enum step next, uint64_t limit_ms)
{
    assert(may_go[t->step] & BIT(next));
    t->step = next;
    timer_set(&t->limit, &t->task, limit_ms);
}

static int fail(struct local_token *t, const struct diag *why)
{
    log_warn(&scope, "a waypoint gets no token", F_STR("namespace", t->record->spec.namespace),
             F_STR("name", t->record->spec.name), F_DIAG(why));
    drop(t);
    t->trouble = *why;
    t->retry_ms =
        t->retry_ms > 0 ? MIN_OF(t->retry_ms * 2, RETRY_LAST_MS) : (unsigned)RETRY_FIRST_MS;
    enter(t, AGAIN, t->retry_ms);
    return 0;
}

static int step_ask(struct local_token *t)
{
    const struct pod_source_ops *ops = t->env->source->ops;
    struct pod_spec spec = {.namespace = t->record->spec.namespace,
                            .name = t->record->spec.name,
                            .service_account = t->record->spec.service_account,
                            .node = t->env->node};
    struct diag why = {0};

    if (!t->write) {
        t->write = ops->token(t->env->source, &t->task, &spec, t->record->uid);
    }
    int r = ops->result(t->write, &why);
    if (r == -EAGAIN) {
        return r;
    }
    const char *text = r == 0 ? ops->secret(t->write, &t->life_s) : "";
    if (r == 0 && *text == '\0') {
        r = FAIL(&why, -ERR_SYNTAX, "the API's answer holds no token");
    }
    if (r == 0) {
        r = start_file(t, text, &why);
    }
    if (r < 0) {
        return fail(t, &why);
    }
    ops->drop(MOVE(t->write));
    enter(t, WRITE, ASK_LIMIT_MS);
    return 0;
}

static int step_write(struct local_token *t)
{
    if (!job_is_done(&t->file->job)) {
        return -EAGAIN;
    }
    struct diag why = t->file->why;
    int r = t->file->result;
    secret_free(MOVE(t->file));
    if (r < 0) {
        return fail(t, &why);
    }
    t->is_there = true;
    t->retry_ms = 0;
    t->trouble = (struct diag){0};
    enter(t, HOLD, (uint64_t)MAX_OF(t->life_s, (unsigned)LIFE_MIN_S) * 1000 / 2);
    task_wake(t->owner, WAKE_CHILD);
    return 0;
}

static int expire(struct local_token *t)
{
    struct diag why = {0};

    timer_clear(&t->limit);
    if (t->step == HOLD || t->step == AGAIN) {
        enter(t, ASK, ASK_LIMIT_MS);
        return 0;
    }
    (void)FAIL(&why, -ERR_DEADLINE, "token: no answer"); /* fail says it */
    return fail(t, &why);
}

static int step(struct local_token *t)
{
    if (timer_is_due(&t->limit)) {
        return expire(t);
    }
    return t->step == ASK ? step_ask(t) : t->step == WRITE ? step_write(t) : -EAGAIN;
}

static void run(struct task *task, unsigned why)
{
    struct local_token *t = container_of(task, struct local_token, task);

    (void)why; /* the step knows what it waits for */
    while (step(t) == 0) {
    }
}

struct local_token *local_token_new(const struct local_env *env, const struct local_record *record,
                                    struct task *owner)
{
    struct local_token *t = mem_new(struct local_token);

    t->env = env;
    t->record = record;
    t->owner = owner;
    task_init(&t->task, env->loop, "waypoint token", run);
    timer_set(&t->limit, &t->task, ASK_LIMIT_MS);
    task_wake(&t->task, WAKE_START);
    return t;
}

void local_token_free(struct local_token *t)
{
    if (!t) {
        return;
    }
    drop(t);
    timer_clear(&t->limit);
    task_fini(&t->task);
    mem_free(t);
}

bool local_token_is_there(const struct local_token *t)
{
    return t->is_there;
}

const struct diag *local_token_trouble(const struct local_token *t)
{
    return &t->trouble;
}
