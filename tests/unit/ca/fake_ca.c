/* SPDX-License-Identifier: Apache-2.0 */
#include "fake_ca.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"

static struct fake_ca *of(struct grpc_dialer *d)
{
    return container_of(d, struct fake_ca, dialer);
}

static void dial(struct grpc_dialer *d, struct task *wake)
{
    of(d)->wake = wake;
    task_wake(wake, WAKE_CHILD);
}

static int poll_dialer(struct grpc_dialer *d, struct task *owner, struct grpc_client **out,
                       const struct message **out_metadata, struct diag *why)
{
    struct fake_ca *f = of(d);
    struct stream *ends[2];

    f->dials++;
    if (f->is_away) {
        return FAIL(why, -ECONNREFUSED, "CA is away");
    }
    mempipe_pair(ends, 4096, &f->fault);
    grpc_server_add(f->server, ends[0]);
    *out = grpc_client_new(f->loop, ends[1], "ca:1", NULL, owner);
    message_clear(&f->metadata);
    message_puts(&f->metadata, "authorization", f->token);
    *out_metadata = &f->metadata;
    return 0;
}

static void stop_dialer(struct grpc_dialer *d)
{
    (void)d;
}

static bool is_taken(const struct fake_ca *f, const struct grpc_call *c)
{
    const struct message *m = grpc_call_metadata(c);

    for (unsigned i = 0; i < m->count; i++) {
        struct message_field x = message_field(m, i);
        if (slice_is(x.name, "authorization")) {
            return slice_is(x.value, f->takes);
        }
    }
    return false;
}

static void serve(struct task *t, unsigned why)
{
    struct fake_ca *f = container_of(t, struct fake_ca, task);
    static const struct ca_caller caller = {
        .ns = "node", .account = "proxy", .pod_name = "", .pod_uid = "", .has_cluster = true};
    struct grpc_call *call;

    (void)why;
    while (grpc_server_next(f->server, &call) == 1) {
        f->calls++;
        if (is_taken(f, call)) {
            ca_service_add(f->service, call, &caller);
        } else {
            f->refused++;
            grpc_call_refuse(call, GRPC_UNAUTHENTICATED, "token has expired");
        }
    }
}

static bool may(void *arg, const struct ca_caller *caller, const struct identity *id)
{
    (void)arg, (void)caller;
    return strcmp(id->service_account, "forbidden") != 0;
}

void fake_ca_start(struct fake_ca *f, struct loop *l, struct jobs *take_jobs)
{
    *f = (struct fake_ca){.loop = l,
                          .jobs = take_jobs,
                          .dialer = {.start = dial, .poll = poll_dialer, .stop = stop_dialer},
                          .folder = "/tmp/fake-ca-XXXXXX",
                          .fault = {.countdown = -1, .code = -EIO},
                          .token = "first",
                          .takes = "first"};
    if (!mkdtemp(f->folder) ||
        authority_open_blocking(&f->authority, f->folder, "cluster.local", NULL) < 0) {
        printf("Bail out! no authority\n");
        exit(1);
    }
    struct ca_service_config config = {.jobs = take_jobs,
                                       .authority = f->authority,
                                       .trust_domain = "cluster.local",
                                       .may_impersonate = may};
    struct grpc_server_options options = {.message_bytes = CA_REQUEST_BYTES};
    message_init(&f->metadata, 0);
    task_init(&f->task, l, "fake CA", serve);
    f->server = grpc_server_new(l, &options, &f->task);
    f->service = ca_service_new(l, &config);
}

void fake_ca_stop(struct fake_ca *f)
{
    char path[64];

    ca_service_free(f->service);
    grpc_server_free(f->server);
    task_fini(&f->task);
    message_fini(&f->metadata);
    loop_end_orphans(f->loop);
    jobs_free(f->jobs); /* they sign */
    authority_free(f->authority);
    (void)snprintf(path, sizeof(path), "%s/ca-cert.pem", f->folder);
    (void)unlink(path);
    (void)snprintf(path, sizeof(path), "%s/ca-key.pem", f->folder);
    (void)unlink(path);
    (void)rmdir(f->folder);
}
