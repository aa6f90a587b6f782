/* SPDX-License-Identifier: Apache-2.0 */
#include "grpc_service.h"

#include "base/num.h"

static void served(struct serving *s, int why)
{
    task_wake(&s->in->task, WAKE_CHILD); /* a place is free */
    task_fini(&s->task);
    grpc_call_close(s->call);
    s->call = NULL;
    bytes_fini(&s->message);
    s->in->failure = why < 0 ? why : s->in->failure;
}

static bool is_path(struct serving *s, const char *path)
{
    return slice_is(grpc_call_path(s->call), path);
}

static int send_back(struct serving *s)
{
    if (!s->answers) {
        return 0;
    }
    int r = grpc_call_send(s->call, bytes_peek(&s->message), s->message.len);
    if (r == 0) {
        bytes_skip(&s->message, s->message.len);
        s->answers = false;
    }
    return r;
}

static int fill(struct serving *s)
{
    uint32_t n = 0;
    int r = num_parse_u32((const char *)bytes_peek(&s->message), s->message.len, 1u << 30, &n);

    bytes_skip(&s->message, s->message.len);
    for (uint32_t i = 0; i < n && r == 0; i++) {
        r = bytes_add(&s->message, "x", 1);
    }
    return r;
}

static int serve_one(struct serving *s)
{
    int r = send_back(s);

    if (r == 0 && is_path(s, "/t/Hang")) {
        r = grpc_call_flush(s->call);
        return r < 0 ? r : -EAGAIN;
    }
    if (r < 0) {
        return r;
    }
    if (is_path(s, "/t/Fail")) {
        return grpc_call_finish(s->call, GRPC_NOT_FOUND, "50% \xc3\xa9\n") < 0 ? -EIO : 1;
    }
    r = grpc_call_recv(s->call, &s->message);
    if (r == 1) {
        s->answers = true;
        return is_path(s, "/t/Count") ? fill(s) : 0;
    }
    if (r == 0) {
        r = grpc_call_finish(s->call, is_path(s, "/t/Half") ? GRPC_ABORTED : GRPC_OK, NULL);
        return r == 0 ? 1 : r;
    }
    return r;
}

static void serving_run(struct task *t, unsigned why)
{
    struct serving *s = container_of(t, struct serving, task);
    int r;

    (void)why;
    do {
        r = serve_one(s);
    } while (r == 0);
    if (r != -EAGAIN) {
        served(s, r);
    }
}

static struct serving *free_place(struct service *v)
{
    for (unsigned i = 0; i < SERVICE_CALLS; i++) {
        if (!v->at[i].call) {
            return &v->at[i];
        }
    }
    return NULL;
}

static void service_run(struct task *t, unsigned why)
{
    struct service *v = container_of(t, struct service, task);
    struct serving *s;
    struct grpc_call *call;

    (void)why;
    while ((s = free_place(v)) && grpc_server_next(v->server, &call) == 1) {
        if (slice_is(grpc_call_path(call), "/t/Unknown")) {
            grpc_call_refuse(call, GRPC_UNIMPLEMENTED, "no such method");
            continue;
        }
        *s = (struct serving){.in = v, .call = call};
        bytes_init(&s->message, 64 << 20);
        task_init(&s->task, t->loop, "serving", serving_run);
        grpc_call_own(call, &s->task);
        task_wake(&s->task, WAKE_START);
        v->calls++;
    }
}

void service_start(struct service *v, struct loop *l, const struct grpc_server_options *options)
{
    *v = (struct service){0};
    task_init(&v->task, l, "service", service_run);
    v->server = grpc_server_new(l, options, &v->task);
}

void service_stop(struct service *v)
{
    for (int i = 0; i < SERVICE_CALLS; i++) {
        if (v->at[i].call) {
            served(&v->at[i], -ERR_CANCELLED);
        }
    }
    task_fini(&v->task);
    grpc_server_free(v->server);
    v->server = NULL;
}
