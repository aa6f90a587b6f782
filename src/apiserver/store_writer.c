/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/store_writer.h"

#include "apiserver/disk.h"
#include "apiserver/kind.h"
#include "apiserver/object.h"
#include "apiserver/store.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/num.h"
#include "io/jobs.h"
#include "io/loop.h"

static struct log_scope scope = LOG_SCOPE("apiserver");

/* One transaction and the file it goes to: what the job may touch. */
struct commit {
    struct job job;
    struct disk *disk;
    char **resources; /* "pods", one a kind: the writes borrow them */
    struct disk_write writes[STORE_WRITER_BATCH];
    struct object *objects[STORE_WRITER_BATCH]; /* what the writes point into */
    size_t count;
    uint64_t rv;
    int result;
    struct diag diag;
};

enum store_writer_step {
    STORE_WRITER_OPEN,    /* the store is filled, nothing is written yet */
    STORE_WRITER_IDLE,    /* everything is durable */
    STORE_WRITER_WRITING, /* the job has the commit */
    STORE_WRITER_RETRY,   /* it failed; the timer runs */
};

struct store_writer {
    struct task task;
    struct timer timer;
    struct store *store;
    struct jobs *jobs;
    struct commit *commit;
    enum store_writer_step step;
    bool failing;
};

static void commit_clear(struct commit *c)
{
    for (size_t i = 0; i < c->count; i++) {
        object_unref(c->objects[i]);
    }
    c->count = 0;
}

static void commit_free(struct commit *c)
{
    if (c) {
        commit_clear(c);
        disk_close(c->disk);
        for (size_t i = 0; i < kind_count; i++) {
            mem_free(c->resources[i]);
        }
        mem_free(c->resources);
        mem_free(c);
    }
}

static void commit_work(struct job *j)
{
    struct commit *c = container_of(j, struct commit, job);

    c->result = disk_commit_blocking(c->disk, c->writes, c->count, c->rv, &c->diag);
}

static void commit_abandoned(struct job *j)
{
    commit_free(container_of(j, struct commit, job));
}

static struct commit *commit_new(struct disk *take_disk)
{
    struct commit *c = mem_new(struct commit);

    c->disk = take_disk;
    c->job.work = commit_work;
    c->job.abandoned = commit_abandoned;
    c->resources = mem_array(kind_count, sizeof(char *));
    for (size_t i = 0; i < kind_count; i++) {
        struct strbuf name = {0};
        kind_resource(&kind_list[i], &name);
        c->resources[i] = strbuf_take(&name);
    }
    return c;
}

static int load(struct disk *disk, struct store *store, struct diag *why)
{
    AUTO(disk_scan) struct disk_scan *scan = NULL;
    struct disk_row row;
    int r = disk_scan_open(disk, why, &scan);

    while (r == 0 && (r = disk_scan_next_blocking(scan, why, &row)) == 1) {
        const struct kind *kind = kind_stored(row.resource);
        struct object *o = NULL;
        r = kind ? object_load(kind, row.rv, row.text, &o) : -ERR_VERSION;
        r = r == 0 ? store_load(store, o) : r;
        if (r < 0) {
            return FAIL(why, r, "the store holds %s %s/%s, which cannot be read", row.resource,
                        row.ns, row.name);
        }
    }
    if (r == 0) {
        store_loaded(store, disk_rv(disk));
    }
    return r;
}

int store_writer_open_blocking(const char *path, struct store *store, struct diag *why,
                               struct store_writer **out)
{
    AUTO(disk) struct disk *disk = NULL;
    int r = disk_open_blocking(path, why, &disk);

    if (r == 0) {
        r = load(disk, store, why);
    }
    if (r < 0) {
        return r;
    }
    struct store_writer *w = mem_new(struct store_writer);
    w->store = store;
    w->commit = commit_new(MOVE(disk));
    *out = w;
    return 0;
}

static void add_change(struct store_writer *w, const struct store_change *c)
{
    struct commit *commit = w->commit;
    struct object *o = object_ref(c->now);

    commit->writes[commit->count] = (struct disk_write){
        .resource = commit->resources[kind_index(o->kind)],
        .ns = o->ns,
        .name = o->name,
        .rv = o->rv,
        .text = c->deleted ? (struct slice){NULL, 0} : o->text,
    };
    commit->objects[commit->count++] = o;
    commit->rv = c->rv;
}

static void gather(struct store_writer *w)
{
    uint64_t last = MIN_OF(store_rv(w->store), store_durable(w->store) + STORE_WRITER_BATCH);

    for (uint64_t rv = store_durable(w->store) + 1; rv <= last; rv++) {
        add_change(w, store_change(w->store, rv));
    }
}

static void submit(struct store_writer *w)
{
    w->step = STORE_WRITER_WRITING;
    if (jobs_submit(w->jobs, &w->commit->job, (uint64_t)(uintptr_t)w, &w->task) < 0) {
        w->step = STORE_WRITER_RETRY; /* the pool is full: not a failure of the disk */
        timer_set(&w->timer, &w->task, STORE_WRITER_RETRY_MS);
    }
}

static void on_result(struct store_writer *w)
{
    struct commit *c = w->commit;

    if (c->result < 0) {
        if (!w->failing) {
            log_error(&scope, "cannot write the store; retrying", F_DIAG(&c->diag));
        }
        w->failing = true;
        w->step = STORE_WRITER_RETRY;
        timer_set(&w->timer, &w->task, STORE_WRITER_RETRY_MS);
        return;
    }
    if (w->failing) {
        log_info(&scope, "the store is written again", F_U64("version", c->rv));
    }
    w->failing = false;
    w->step = STORE_WRITER_IDLE;
    commit_clear(c);
    store_set_durable(w->store, c->rv);
}

static void run(struct task *t, unsigned why)
{
    struct store_writer *w = container_of(t, struct store_writer, task);

    (void)why; /* the steps tell */
    if (w->step == STORE_WRITER_WRITING && job_is_done(&w->commit->job)) {
        on_result(w);
    }
    if (w->step == STORE_WRITER_RETRY && timer_is_due(&w->timer)) {
        submit(w);
    }
    if (w->step == STORE_WRITER_IDLE && store_rv(w->store) > store_durable(w->store)) {
        gather(w);
        submit(w);
    }
}

void store_writer_start(struct store_writer *w, struct loop *l, struct jobs *jobs)
{
    w->jobs = jobs;
    w->step = STORE_WRITER_IDLE;
    task_init(&w->task, l, "store writer", run);
    store_set_writer(w->store, &w->task);
    task_wake(&w->task, WAKE_START);
}

bool store_writer_is_failing(const struct store_writer *w)
{
    return w->failing;
}

void store_writer_close(struct store_writer *w)
{
    if (!w) {
        return;
    }
    store_set_writer(w->store, NULL);
    timer_clear(&w->timer);
    if (w->step == STORE_WRITER_WRITING) {
        job_abandon(&w->commit->job); /* the commit frees itself */
    } else {
        commit_free(w->commit);
    }
    if (w->step != STORE_WRITER_OPEN) {
        task_fini(&w->task);
    }
    mem_free(w);
}
