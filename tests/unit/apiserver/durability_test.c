/* SPDX-License-Identifier: Apache-2.0 */
/* kill -9 at any moment loses nothing that was acknowledged; and what the file refuses. */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "apiserver/api.h"
#include "apiserver/kind.h"
#include "apiserver/store.h"
#include "apiserver/store_writer.h"
#include "base/mem.h"
#include "base/rand.h"
#include "io/jobs.h"
#include "io/loop.h"
#include "t.h"

enum { WAIT_TURNS = 3000 }; /* of 10 ms, while a thread writes */

struct place {
    char dir[64];
    char path[96];
};

static void place_make(struct place *p)
{
    snprintf(p->dir, sizeof(p->dir), "/tmp/apiserver-test-XXXXXX");
    if (!mkdtemp(p->dir)) {
        abort();
    }
    snprintf(p->path, sizeof(p->path), "%s/store.db", p->dir);
}

static void place_remove(struct place *p)
{
    static const char *const suffixes[] = {"", "-wal", "-shm", "-journal"};
    char file[128];

    for (size_t i = 0; i < ARRAY_LEN(suffixes); i++) {
        snprintf(file, sizeof(file), "%s%s", p->path, suffixes[i]);
        unlink(file);
    }
    rmdir(p->dir);
}

/* A server with a disk, without a network. */
struct server {
    struct loop *loop;
    struct jobs *jobs;
    struct store *store;
    struct store_writer *writer;
    struct api *api;
};

static int server_start(struct server *s, const char *path, struct diag *why)
{
    struct api_config config = {0};

    *s = (struct server){.store = store_new()};
    int r = store_writer_open_blocking(path, s->store, why, &s->writer);
    if (r == 0) {
        r = api_new(s->store, &config, why, &s->api);
    }
    if (r < 0) {
        return r;
    }
    s->loop = loop_new(why);
    loop_stop_clock(s->loop);
    s->jobs = jobs_new(1, 16, 16, why);
    store_writer_start(s->writer, s->loop, s->jobs);
    return 0;
}

static void server_stop(struct server *s)
{
    store_writer_close(s->writer);
    api_free(s->api);
    store_free(s->store);
    jobs_free(s->jobs);
    if (s->loop) {
        loop_turn(s->loop, 0);
    }
    loop_free(s->loop);
}

static unsigned server_call(struct server *s, const char *method, const char *target,
                            const char *body)
{
    struct api_user admin = {.name = "admin", .is_admin = true};
    struct api_request rq = {.method = slice_of(method),
                             .target = slice_of(target),
                             .body = slice_of(body),
                             .user = &admin,
                             .now_ns = 1000000000u};
    struct api_response out = {0};

    api_handle(s->api, &rq, &out);
    while (store_durable(s->store) < out.rests_on) {
        loop_turn(s->loop, 1000);
    }
    unsigned status = out.status;
    api_response_fini(&out);
    return status;
}

/* Writes until it is killed, and says each name once it is acknowledged. */
static void write_for_ever(const char *path, int say)
{
    struct server s;
    struct diag why = {0};

    if (server_start(&s, path, &why) < 0) {
        dprintf(say, "! %s\n", why.text);
        _exit(1);
    }
    server_call(&s, "POST", "/api/v1/namespaces", "{\"metadata\":{\"name\":\"n\"}}");
    for (unsigned i = 0;; i++) {
        char body[64];
        uint64_t id = rand_u64();
        snprintf(body, sizeof(body), "{\"metadata\":{\"name\":\"c%016llx\"}}",
                 (unsigned long long)id);
        if (server_call(&s, "POST", "/api/v1/namespaces/n/configmaps", body) == 201) {
            dprintf(say, "c%016llx\n", (unsigned long long)id);
        }
    }
}

static unsigned read_names(int fd, char ***out)
{
    FILE *f = fdopen(fd, "r");
    char line[64];
    unsigned n = 0;
    char **names = NULL;

    while (fgets(line, sizeof(line), f)) {
        if (strchr(line, '\n') && line[0] == 'c') { /* the last line may be torn: not heard */
            line[strcspn(line, "\n")] = '\0';
            names = mem_resize(names, (n + 1) * sizeof(*names));
            names[n++] = mem_strdup(line);
        }
    }
    fclose(f);
    *out = names;
    return n;
}

static unsigned count_lost(const char *path, char **names, unsigned n, uint64_t *out_rv)
{
    struct store *store = store_new();
    struct store_writer *writer = NULL;
    struct diag why = {0};
    unsigned lost = 0;

    if (store_writer_open_blocking(path, store, &why, &writer) < 0) {
        printf("# %s\n", why.text);
        store_free(store);
        return n + 1;
    }
    for (unsigned i = 0; i < n; i++) {
        lost += !store_find(store, kind_named("", "ConfigMap"), "n", names[i]);
    }
    *out_rv = store_rv(store);
    store_writer_close(writer);
    store_free(store);
    return lost;
}

TEST(kill_9_loses_nothing_that_was_acknowledged)
{
    struct place p;
    char **names = NULL;
    unsigned count = 0;
    unsigned lost = 0;
    uint64_t before = 0;

    place_make(&p);
    for (int round = 0; round < 12; round++) {
        int pipes[2];
        char **more = NULL;
        uint64_t rv = 0;
        CHECK_INT(pipe(pipes), 0);
        pid_t child = fork();
        if (child == 0) {
            close(pipes[0]);
            write_for_ever(p.path, pipes[1]);
        }
        close(pipes[1]);
        struct pollfd said = {.fd = pipes[0], .events = POLLIN};
        if (round % 2 == 0) { /* every other life gets far enough, however slow the machine is */
            CHECK(poll(&said, 1, 30000) == 1);
        }
        usleep(20000 + (useconds_t)(rand_u64() % 60000));
        kill(child, SIGKILL);
        CHECK(waitpid(child, NULL, 0) == child);
        unsigned n = read_names(pipes[0], &more);
        names = mem_resize(names, (count + n + 1) * sizeof(*names));
        for (unsigned i = 0; i < n; i++) {
            names[count++] = more[i];
        }
        mem_free(more);
        lost += count_lost(p.path, names, count, &rv);
        CHECK(rv >= before); /* versions never go back */
        before = rv;
    }
    printf("# %u objects acknowledged over 12 lives, %u lost\n", count, lost);
    char absent[] = "cnever";
    char *lie = absent;
    uint64_t rv = 0;
    unsigned noticed = count_lost(p.path, &lie, 1, &rv); /* the test of the test */
    for (unsigned i = 0; i < count; i++) {
        mem_free(names[i]);
    }
    mem_free(names);
    place_remove(&p);
    CHECK_INT(noticed, 1);
    CHECK_INT(lost, 0);
    CHECK(count >= 6);
}

TEST(the_file_is_for_its_owner_alone)
{
    struct place p;
    struct stat st = {0};
    struct server s;
    struct diag why = {0};

    place_make(&p);
    CHECK_INT(server_start(&s, p.path, &why), 0);
    CHECK_INT(server_call(&s, "POST", "/api/v1/namespaces", "{\"metadata\":{\"name\":\"n\"}}"),
              201);
    CHECK_INT(stat(p.path, &st), 0);
    server_stop(&s);
    place_remove(&p);
    CHECK_INT(st.st_mode & 0777, 0600);
}

TEST(a_second_server_on_the_same_file_is_refused)
{
    struct place p;
    struct server s;
    struct diag why = {0};
    struct store_writer *second = NULL;

    place_make(&p);
    CHECK_INT(server_start(&s, p.path, &why), 0);
    CHECK_INT(server_call(&s, "POST", "/api/v1/namespaces", "{\"metadata\":{\"name\":\"n\"}}"),
              201);
    struct store *store = store_new();
    int r = store_writer_open_blocking(p.path, store, &why, &second);
    store_free(store);
    server_stop(&s);
    place_remove(&p);
    CHECK_INT(r, -EBUSY);
}

static int open_after(const char *sql, struct diag *why)
{
    struct place p;
    struct server s;
    sqlite3 *db = NULL;
    struct store_writer *w = NULL;

    place_make(&p);
    int r = server_start(&s, p.path, why);
    server_call(&s, "POST", "/api/v1/namespaces", "{\"metadata\":{\"name\":\"n\"}}");
    server_stop(&s);
    sqlite3_open(p.path, &db);
    r = r == 0 && sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : -EIO;
    sqlite3_close(db);
    struct store *store = store_new();
    r = r == 0 ? store_writer_open_blocking(p.path, store, why, &w) : r;
    store_writer_close(w);
    store_free(store);
    place_remove(&p);
    return r;
}

TEST(a_file_that_is_not_ours_or_newer_is_refused_with_a_reason)
{
    struct diag why = {0};

    CHECK_INT(open_after("SELECT 1", &why), 0);
    CHECK_INT(open_after("PRAGMA user_version = 2", &why), -ERR_VERSION);
    CHECK_STR(why.text, "the store has format 2, this program knows 1");
    CHECK_INT(open_after("PRAGMA application_id = 7", &why), -ERR_SYNTAX);
    CHECK_INT(open_after("UPDATE objects SET body = '{}'", &why), -ERR_SYNTAX);
    CHECK_INT(open_after("UPDATE objects SET resource = 'unheard.of'", &why), -ERR_VERSION);
    CHECK_INT(open_after("UPDATE counter SET rv = -4", &why), -ERR_SYNTAX);
    CHECK_INT(open_after("DROP TABLE counter", &why), -EIO);
}

/* No file of this process may grow: to SQLite the disk is full. */
static void fill_disk(bool full)
{
    struct rlimit l;

    signal(SIGXFSZ, full ? SIG_IGN : SIG_DFL);
    getrlimit(RLIMIT_FSIZE, &l);
    l.rlim_cur = full ? 4096 : l.rlim_max;
    setrlimit(RLIMIT_FSIZE, &l);
}

TEST(changes_wait_while_the_disk_is_full_and_are_written_afterwards)
{
    static const char target[] = "/api/v1/namespaces/n/configmaps";
    struct place p;
    struct server s;
    struct diag why = {0};
    struct api_user admin = {.name = "admin", .is_admin = true};
    struct api_request rq = {.method = slice_of("POST"),
                             .target = slice_of(target),
                             .body = slice_of("{\"metadata\":{\"name\":\"late\"}}"),
                             .user = &admin};
    struct api_response out = {0};

    place_make(&p);
    CHECK_INT(server_start(&s, p.path, &why), 0);
    CHECK_INT(server_call(&s, "POST", "/api/v1/namespaces", "{\"metadata\":{\"name\":\"n\"}}"),
              201);
    fill_disk(true);
    api_handle(s.api, &rq, &out);
    for (int i = 0; i < WAIT_TURNS && !store_writer_is_failing(s.writer); i++) {
        loop_turn(s.loop, 10);
    }
    bool failed = store_writer_is_failing(s.writer);
    bool held = store_durable(s.store) < out.rests_on;
    fill_disk(false);
    for (int i = 0; i < WAIT_TURNS && store_durable(s.store) < out.rests_on; i++) {
        loop_advance(s.loop, STORE_WRITER_RETRY_MS);
        loop_turn(s.loop, 10);
    }
    bool written = store_durable(s.store) >= out.rests_on && !store_writer_is_failing(s.writer);
    CHECK_INT(out.status, 201);
    api_response_fini(&out);
    server_stop(&s);
    char name[] = "late";
    char *names[] = {name};
    uint64_t rv = 0;
    unsigned lost = count_lost(p.path, names, 1, &rv);
    place_remove(&p);
    CHECK(failed && held);
    CHECK(written);
    CHECK_INT(lost, 0);
}
