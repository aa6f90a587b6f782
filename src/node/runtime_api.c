/* SPDX-License-Identifier: Apache-2.0 */
#include "node/runtime_api.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/log.h"
#include "base/mem.h"
#include "io/unix_sock.h"
#include "node/local_json.h"
#include "node/runtime.h"

static struct log_scope scope = LOG_SCOPE("local");

enum { OUT_LIMIT = 8 << 20, REQUEST_LIMIT_MS = 10000, EARLY_MS = 200, SIGNAL_MAX = 64 };

enum step {
    READ,     /* the request is not complete */
    START,    /* the workload is on its way */
    ATTACHED, /* it runs, and the client with it */
    EARLY,    /* it runs by itself; whether it ends at once is still told */
    STOP,     /* it is on its way out */
    FLUSH     /* everything is said; then the connection ends */
};

struct client {
    struct list in_api;
    struct runtime_api *api;
    struct task task;
    struct fd_watch watch;
    struct timer limit; /* armed in READ and EARLY */
    enum step step;
    struct bytes in;
    struct strbuf out;
    size_t sent; /* of out */
    int fds[LOCAL_STDIO];
    unsigned fd_count;
    struct local_pod *pod; /* in START, ATTACHED, EARLY and STOP */
    bool attach;
};

struct runtime_api {
    struct runtime *runtime;
    struct task task;
    struct fd_watch watch;
    struct list clients;
    unsigned count;
    char *path;
};

/* ---- saying */

static void say(struct client *c, const char *event, struct json *take)
{
    AUTO(json) struct json *j = take ? take : json_new_object();

    json_set_str(j, "event", event);
    json_print(j, 0, &c->out);
    strbuf_putc(&c->out, '\n');
}

static void say_failure(struct client *c, const char *event, int code, const char *text)
{
    struct json *j = json_new_object();

    json_set_str(j, "code", err_name(code));
    json_set_str(j, "error", text);
    say(c, event, j);
}

static void say_end(struct client *c, const char *event, const struct local_pod *p)
{
    const struct local_exit *e = local_pod_exit(p);
    struct json *j = json_new_object();

    json_set_int(j, "code", e ? e->code : 0);
    json_set_int(j, "signal", e ? e->signal : 0);
    json_set_str(j, "output", e ? e->last : "");
    say(c, event, j);
}

static int refuse(struct client *c, int r, const struct diag *why)
{
    say_failure(c, "error", r, why->text);
    c->step = FLUSH;
    return 0;
}

/* ---- requests */

static int do_run(struct client *c, const struct json *j)
{
    struct diag why = {0};
    int none[LOCAL_STDIO] = {-1, -1, -1};

    c->attach = json_bool(json_get(j, "attach"), false);
    if (c->attach && c->fd_count != LOCAL_STDIO) {
        (void)FAIL(&why, -ERR_SYNTAX, "attach needs three descriptors"); /* said by refuse */
        return refuse(c, -ERR_SYNTAX, &why);
    }
    int r =
        runtime_run(c->api->runtime, json_get(j, "spec"), c->attach ? c->fds : none, &c->pod, &why);
    if (r < 0) {
        say_failure(c, "failed", r, why.text);
        c->step = FLUSH;
        return 0;
    }
    if (c->attach) {
        c->fd_count = 0; /* the workload's now */
    }
    c->step = START;
    return 0;
}

static struct local_pod *find(const struct client *c, const struct json *j)
{
    return runtime_find(c->api->runtime, json_str(json_get(j, "namespace"), ""),
                        json_str(json_get(j, "name"), ""));
}

static int send_signal(struct client *c, struct local_pod *p, const struct json *j)
{
    int64_t number = json_int(json_get(j, "signal"), 0);
    struct diag why = {0};
    int r = number > 0 && number <= SIGNAL_MAX ? local_pod_signal(p, (int)number) : -ERR_RANGE;

    if (r < 0) {
        (void)FAIL(&why, r, "signal: %s", err_text(r)); /* said by refuse */
        return refuse(c, r, &why);
    }
    return 0;
}

static int do_signal(struct client *c, const struct json *j)
{
    struct local_pod *p = find(c, j);
    struct diag why = {0};

    if (!p) {
        (void)FAIL(&why, -ERR_NOT_FOUND, "no such workload"); /* said by refuse */
        return refuse(c, -ERR_NOT_FOUND, &why);
    }
    int r = send_signal(c, p, j);
    if (r == 0 && c->step == READ) {
        say(c, "signalled", NULL);
        c->step = FLUSH;
    }
    return r;
}

static int do_stop(struct client *c, const struct json *j)
{
    struct diag why = {0};

    c->pod = find(c, j);
    if (!c->pod) {
        (void)FAIL(&why, -ERR_NOT_FOUND, "no such workload"); /* said by refuse */
        return refuse(c, -ERR_NOT_FOUND, &why);
    }
    local_pod_stop(c->pod);
    c->step = STOP;
    return 0;
}

static int do_ps(struct client *c, const struct json *j)
{
    struct json *answer = json_new_object();

    (void)j; /* it has no options */
    json_set(answer, "workloads", runtime_list(c->api->runtime));
    say(c, "list", answer);
    c->step = FLUSH;
    return 0;
}

static int do_status(struct client *c, const struct json *j)
{
    (void)j; /* it has no options */
    say(c, "status", runtime_status(c->api->runtime));
    c->step = FLUSH;
    return 0;
}

static int do_hold(struct client *c, const struct json *j)
{
    (void)j; /* it has no options */
    runtime_hold(c->api->runtime);
    say(c, "held", NULL);
    c->step = FLUSH;
    return 0;
}

static int obey(struct client *c, const struct json *j)
{
    static const struct {
        const char *op;
        int (*act)(struct client *c, const struct json *j);
    } ops[] = {{"run", do_run}, {"stop", do_stop}, {"signal", do_signal},
               {"ps", do_ps},   {"hold", do_hold}, {"status", do_status}};
    const char *op = json_str(json_get(j, "op"), "");
    struct diag why = {0};

    for (size_t i = 0; i < ARRAY_LEN(ops); i++) {
        if (strcmp(op, ops[i].op) == 0) {
            return ops[i].act(c, j);
        }
    }
    (void)FAIL(&why, -ERR_UNSUPPORTED,
               "op: run, stop, signal, ps, hold or status"); /* said by refuse */
    return refuse(c, -ERR_UNSUPPORTED, &why);
}

/* While attached, a client may only signal its own workload; what fails is said and ends nothing. */
static int obey_attached(struct client *c, const struct json *j)
{
    const char *op = json_str(json_get(j, "op"), "");
    int64_t number = json_int(json_get(j, "signal"), 0);
    int r = strcmp(op, "signal") != 0            ? -ERR_UNSUPPORTED
            : number <= 0 || number > SIGNAL_MAX ? -ERR_RANGE
                                                 : local_pod_signal(c->pod, (int)number);

    if (r < 0) {
        say_failure(c, "error", r, err_text(r));
    }
    return 0;
}

/* ---- reading */

static void keep_fds(struct client *c, struct msghdr *m)
{
    for (struct cmsghdr *h = CMSG_FIRSTHDR(m); h; h = CMSG_NXTHDR(m, h)) {
        if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS) {
            continue;
        }
        size_t count = (h->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < count; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(h) + i * sizeof(fd), sizeof(fd));
            if (c->fd_count < LOCAL_STDIO) {
                c->fds[c->fd_count++] = fd;
            } else {
                close(fd);
            }
        }
    }
}

/* 1 = something came, 0 = the client has gone, -EAGAIN, or a failure. */
static int receive(struct client *c)
{
    union {
        struct cmsghdr head;
        char room[CMSG_SPACE(LOCAL_STDIO * sizeof(int))];
    } control;
    uint8_t *room = bytes_reserve(&c->in, 1);
    struct iovec piece = {room, c->in.room - c->in.head - c->in.len};
    struct msghdr m = {.msg_iov = &piece,
                       .msg_iovlen = 1,
                       .msg_control = &control,
                       .msg_controllen = sizeof(control)};

    if (!room) {
        return -ERR_TOO_LARGE;
    }
    ssize_t n = recvmsg(c->watch.fd, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (n < 0 && errno == EAGAIN) {
        fd_watch_blocked(&c->watch, FD_READABLE);
        return -EAGAIN;
    }
    if (n < 0) {
        return neg_errno();
    }
    keep_fds(c, &m);
    bytes_commit(&c->in, (size_t)n);
    return n > 0;
}

/* One line, if it is complete: 1, -EAGAIN; the client is told what does not parse. */
static int take_line(struct client *c, struct json **out)
{
    static const struct json_limits limits = {.bytes = RUNTIME_API_LINE_MAX, .depth = 8};
    const char *text = (const char *)bytes_peek(&c->in);
    const char *end = c->in.len > 0 ? memchr(text, '\n', c->in.len) : NULL;
    struct diag why = {0};

    if (!end) {
        return -EAGAIN;
    }
    size_t len = (size_t)(end - text);
    int r = json_parse(out, text, len, &limits, &why);
    bytes_skip(&c->in, len + 1);
    if (r < 0) {
        (void)refuse(c, r, &why); /* it only says so */
        return -EAGAIN;
    }
    return 1;
}

static void obey_lines(struct client *c)
{
    AUTO(json) struct json *j = NULL;

    while ((c->step == READ || c->step == ATTACHED) && take_line(c, &j) > 0) {
        (void)(c->step == READ ? obey(c, j) : obey_attached(c, j)); /* what fails has been said */
        j = json_unref(j);
    }
}

/* False: the client is gone, or talks too much. */
static bool listen_to(struct client *c)
{
    int r;

    while ((r = receive(c)) > 0) {
        obey_lines(c);
    }
    return r == -EAGAIN;
}

/* 0 = all is out. */
static int flush(struct client *c)
{
    while (c->sent < c->out.len) {
        ssize_t n = send(c->watch.fd, c->out.p + c->sent, c->out.len - c->sent,
                         MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN) {
            fd_watch_blocked(&c->watch, FD_WRITABLE);
            return -EAGAIN;
        }
        if (n < 0) {
            return neg_errno();
        }
        c->sent += (size_t)n;
    }
    strbuf_clear(&c->out);
    c->sent = 0;
    return 0;
}

/* ---- clients */

static void client_close(struct client *c)
{
    list_remove(&c->in_api);
    c->api->count--;
    for (unsigned i = 0; i < c->fd_count; i++) {
        close(c->fds[i]);
    }
    timer_clear(&c->limit);
    bytes_fini(&c->in);
    strbuf_fini(&c->out);
    int fd = c->watch.fd;
    fd_watch_stop(&c->watch);
    close(fd);
    task_fini(&c->task);
    mem_free(c);
}

/* A client that waits for its workload and goes away takes it along. */
static void lose(struct client *c)
{
    if (c->pod && c->attach && (c->step == START || c->step == ATTACHED)) {
        local_pod_stop(c->pod);
    }
    client_close(c);
}

static void run_client(struct task *t, unsigned why)
{
    struct client *c = container_of(t, struct client, task);

    (void)why; /* both ways are tried */
    if (timer_is_due(&c->limit) && c->step == READ) {
        client_close(c);
        return;
    }
    if (timer_is_due(&c->limit) && c->step == EARLY && local_pod_state(c->pod) != LOCAL_STOPPING) {
        c->pod = NULL;
        c->step = FLUSH;
    }
    bool there = listen_to(c);
    int r = flush(c);
    if (!there || (r < 0 && r != -EAGAIN)) {
        lose(c);
    } else if (c->step == FLUSH && r == 0) {
        client_close(c);
    }
}

static void client_start(struct runtime_api *a, int take_fd)
{
    struct client *c = mem_new(struct client);

    c->api = a;
    c->out.limit = OUT_LIMIT;
    bytes_init(&c->in, RUNTIME_API_LINE_MAX);
    task_init(&c->task, a->task.loop, "runtime client", run_client);
    if (fd_watch_start(&c->watch, a->task.loop, &c->task, take_fd) < 0) {
        close(take_fd);
        mem_free(c);
        return;
    }
    list_append(&a->clients, &c->in_api);
    a->count++;
    timer_set(&c->limit, &c->task, REQUEST_LIMIT_MS);
    task_wake(&c->task, WAKE_START);
}

/* ---- news of a workload */

static void on_started(struct client *c)
{
    say(c, "started", local_json(c->pod));
    c->step = c->attach ? ATTACHED : EARLY;
    if (!c->attach) {
        timer_set(&c->limit, &c->task, EARLY_MS);
    }
}

/* It is gone, or what is left of it has to wait, as when the API is away: nobody waits with it. */
static void on_over(struct client *c)
{
    const char *text;
    int failure = local_pod_failure(c->pod, &text);

    if (c->step != STOP && failure < 0) {
        say_failure(c, "failed", failure, text);
    } else if (c->step == STOP && local_pod_is_stuck(c->pod)) {
        say_failure(
            c, "error", -ERR_UNAVAILABLE,
            "it has ended; its Pod object or files cannot be removed yet, the agent goes on "
            "trying");
    } else {
        say_end(c, c->step == STOP ? "stopped" : "exited", c->pod);
    }
    c->pod = NULL;
    c->step = FLUSH;
}

void runtime_api_changed(struct runtime_api *a, const struct local_pod *p)
{
    list_for_each (n, &a->clients) {
        struct client *c = container_of(n, struct client, in_api);
        if (c->pod != p) {
            continue;
        }
        if (c->step == START && local_pod_has_started(p)) {
            on_started(c);
        }
        if (c->pod && (local_pod_state(p) == LOCAL_GONE || local_pod_is_stuck(p))) {
            on_over(c);
        }
        task_wake(&c->task, WAKE_CHILD);
    }
}

/* ---- listening */

static void run_listener(struct task *t, unsigned why)
{
    struct runtime_api *a = container_of(t, struct runtime_api, task);
    int fd;

    (void)why; /* there is one thing to do */
    while ((fd = unix_accept(&a->watch)) >= 0) {
        if (a->count == RUNTIME_API_CLIENTS_MAX) {
            log_warn(&scope, "too many clients", F_U64("limit", RUNTIME_API_CLIENTS_MAX));
            close(fd);
        } else {
            client_start(a, fd);
        }
    }
}

int runtime_api_new(struct loop *l, struct runtime *r, const char *path, struct runtime_api **out,
                    struct diag *why)
{
    AUTO(runtime_api) struct runtime_api *a = mem_new(struct runtime_api);

    a->runtime = r;
    a->watch.fd = -1;
    list_init(&a->clients);
    task_init(&a->task, l, "runtime listener", run_listener);
    int fd = unix_listen(path, SOCK_STREAM, why);
    if (fd < 0) {
        return fd;
    }
    a->path = mem_strdup(path);
    a->watch.fd = fd;
    int result = fd_watch_start(&a->watch, l, &a->task, fd);
    if (result < 0) {
        return FAIL(why, result, "watch %s", path);
    }
    task_wake(&a->task, WAKE_START);
    *out = MOVE(a);
    return 0;
}

void runtime_api_free(struct runtime_api *a)
{
    if (!a) {
        return;
    }
    while (!list_is_empty(&a->clients)) {
        client_close(container_of(a->clients.next, struct client, in_api));
    }
    int fd = a->watch.fd;
    fd_watch_stop(&a->watch);
    if (fd >= 0) {
        close(fd);
        (void)unlink(a->path); /* the next agent replaces what is left */
    }
    task_fini(&a->task);
    mem_free(a->path);
    mem_free(a);
}
