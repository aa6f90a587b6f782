/* SPDX-License-Identifier: Apache-2.0 */
#include "ca/cert_fetch.h"

#include <string.h>

#include "base/bytes.h"
#include "base/mem.h"
#include "base/num.h"
#include "ca/message.h"
#include "tls/csr.h"

enum { RESPONSE_MAX_BYTES = 1 << 20, JOB_LANE = 1 };

static const char method[] = "/istio.v1.auth.IstioCertificateService/CreateCertificate";

enum fetch_step {
    FETCH_KEY,   /* a job makes key and CSR */
    FETCH_READY, /* the CSR waits for a connection */
    FETCH_CALL,  /* the call is under way; it has a deadline of its own */
    FETCH_CHECK, /* a job reads the answer */
    FETCH_DONE,
    FETCH_FAILED
};

struct cert_fetch {
    struct task task;
    struct job job;
    struct jobs *jobs;
    struct task *owner;
    enum fetch_step step;
    const struct identity *identity;
    int64_t ttl_s;
    bool impersonate;
    bool in_job;
    /* what a job reads and writes while it runs */
    char *csr_pem;
    char *key_pem;
    struct cert_chain_text chain;
    struct credential *credential;
    int result;
    struct diag why;
    /* the call */
    struct grpc_call *call;
    struct bytes request;
    struct bytes response;
    bool sent;
    bool unauthenticated;
};

static void enter(struct cert_fetch *f, enum fetch_step next)
{
    f->step = next;
    if (next == FETCH_READY || next == FETCH_DONE || next == FETCH_FAILED) {
        task_wake(f->owner, WAKE_CHILD);
    }
}

static void fail(struct cert_fetch *f, int r)
{
    grpc_call_close(f->call);
    f->call = NULL;
    f->result = surely_negative(r);
    enter(f, FETCH_FAILED);
}

static void destroy(struct cert_fetch *f)
{
    identity_unref(f->identity);
    credential_unref(f->credential);
    mem_free(f->csr_pem);
    if (f->key_pem) {
        mem_free_secret(f->key_pem, strlen(f->key_pem));
    }
    cert_chain_text_fini(&f->chain);
    bytes_fini(&f->request);
    bytes_fini(&f->response);
    mem_free(f);
}

static void job_abandoned(struct job *j)
{
    destroy(container_of(j, struct cert_fetch, job));
}

/* In a pool thread. */
static void work_key(struct job *j)
{
    struct cert_fetch *f = container_of(j, struct cert_fetch, job);

    f->result = csr_make(f->identity->uri, &f->csr_pem, &f->key_pem, &f->why);
}

static int check_answer(struct cert_fetch *f)
{
    struct credential_source source = {.chain_pem = slice_of(f->chain.chain_pem),
                                       .roots_pem = slice_of(f->chain.roots_pem),
                                       .key_pem = slice_of(f->key_pem)};
    AUTO(credential) struct credential *c = NULL;
    int r = credential_new(&c, &source, &f->why);

    if (r < 0) {
        return r;
    }
    const char *got = credential_identity(c);
    if (!got || strcmp(got, f->identity->uri) != 0) {
        return FAIL(&f->why, -ERR_IDENTITY, "the certificate is for %.60s instead of %.60s",
                    got ? got : "nobody", f->identity->uri);
    }
    f->credential = MOVE(c);
    return 0;
}

/* In a pool thread. */
static void work_check(struct job *j)
{
    struct cert_fetch *f = container_of(j, struct cert_fetch, job);

    f->result = cert_response_unpack(&f->chain, bytes_peek(&f->response), f->response.len, &f->why);
    if (f->result == 0) {
        f->result = check_answer(f);
    }
}

static void start_job(struct cert_fetch *f, void (*work)(struct job *j), enum fetch_step step)
{
    f->job.work = work;
    f->job.abandoned = job_abandoned;
    f->step = step;
    int r = jobs_submit(f->jobs, &f->job, JOB_LANE, &f->task);
    f->in_job = r == 0;
    if (r < 0) {
        (void)diag_note(&f->why, r, "too many jobs are waiting");
        fail(f, r);
    }
}

/* True when the job is done and went well. */
static bool job_went_well(struct cert_fetch *f)
{
    if (!job_is_done(&f->job)) {
        return false;
    }
    f->in_job = false;
    if (f->result < 0) {
        fail(f, f->result);
        return false;
    }
    return true;
}

static int call_failed(struct cert_fetch *f, int r)
{
    const struct grpc_status *s = grpc_call_status(f->call);

    f->unauthenticated = s->code == GRPC_UNAUTHENTICATED;
    if (r == -ERR_GRPC_STATUS) {
        return FAIL(&f->why, r, "CA refused: %s: %.80s", grpc_code_name(s->code), s->text);
    }
    const struct diag *d = grpc_call_diag(f->call);
    return FAIL(&f->why, r, "CA call: %.100s", d->text[0] ? d->text : err_text(r));
}

static int advance_call(struct cert_fetch *f)
{
    int r = 0;

    if (!f->sent) {
        r = grpc_call_send(f->call, bytes_peek(&f->request), f->request.len);
        f->sent = r == 0;
    }
    if (r == 0) {
        r = grpc_call_send_end(f->call);
    }
    if (r == 0 || r == -EAGAIN) {
        r = grpc_call_recv_only(f->call, &f->response);
    }
    return r;
}

static void step_call(struct cert_fetch *f)
{
    int r = advance_call(f);

    if (r == -EAGAIN) {
        return;
    }
    if (r < 0) {
        fail(f, call_failed(f, r));
        return;
    }
    grpc_call_close(f->call);
    f->call = NULL;
    start_job(f, work_check, FETCH_CHECK);
}

static void run(struct task *t, unsigned why)
{
    struct cert_fetch *f = container_of(t, struct cert_fetch, task);

    (void)why; /* every wake is a hint */
    switch (f->step) {
    case FETCH_KEY:
        if (job_went_well(f)) {
            enter(f, FETCH_READY);
        }
        break;
    case FETCH_CALL:
        step_call(f);
        break;
    case FETCH_CHECK:
        if (job_went_well(f)) {
            enter(f, FETCH_DONE);
        }
        break;
    case FETCH_READY:
    case FETCH_DONE:
    case FETCH_FAILED:
        break;
    }
}

struct cert_fetch *cert_fetch_new(struct loop *l, struct jobs *jobs,
                                  const struct cert_fetch_spec *spec, struct task *owner)
{
    struct cert_fetch *f = mem_new(struct cert_fetch);

    task_init(&f->task, l, "cert fetch", run);
    f->jobs = jobs;
    f->owner = owner;
    f->identity = identity_ref(spec->identity);
    f->ttl_s = spec->ttl_s;
    f->impersonate = spec->impersonate;
    bytes_init(&f->request, RESPONSE_MAX_BYTES);
    bytes_init(&f->response, RESPONSE_MAX_BYTES);
    start_job(f, work_key, FETCH_KEY);
    return f;
}

void cert_fetch_free(struct cert_fetch *f)
{
    if (!f) {
        return;
    }
    grpc_call_close(f->call);
    f->call = NULL;
    task_fini(&f->task);
    if (f->in_job) {
        job_abandon(&f->job); /* frees it, now or when the job returns */
    } else {
        destroy(f);
    }
}

bool cert_fetch_wants_connection(const struct cert_fetch *f)
{
    return f->step == FETCH_READY;
}

void cert_fetch_send(struct cert_fetch *f, struct grpc_client *client,
                     const struct message *metadata)
{
    int r = cert_request_pack(&f->request, f->csr_pem, f->ttl_s,
                              f->impersonate ? f->identity->uri : NULL);

    if (r < 0) {
        (void)diag_note(&f->why, r, "pack the request");
        fail(f, r);
        return;
    }
    f->call = grpc_client_call(client, method, metadata, CERT_CALL_MS);
    grpc_call_own(f->call, &f->task);
    f->step = FETCH_CALL;
    task_wake(&f->task, WAKE_START);
}

bool cert_fetch_was_unauthenticated(const struct cert_fetch *f)
{
    return f->unauthenticated;
}

void cert_fetch_refuse(struct cert_fetch *f, const struct diag *why)
{
    f->why = *why;
    fail(f, why->code);
}

int cert_fetch_result(struct cert_fetch *f, struct credential **out, struct diag *why)
{
    switch (f->step) {
    case FETCH_DONE:
        *out = MOVE(f->credential);
        return 0;
    case FETCH_FAILED:
        *why = f->why;
        return f->result;
    case FETCH_KEY:
    case FETCH_READY:
    case FETCH_CALL:
    case FETCH_CHECK:
        break;
    }
    return -EAGAIN;
}
