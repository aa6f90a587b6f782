/* SPDX-License-Identifier: Apache-2.0 */
#include "ca/ca_service.h"

#include <string.h>

#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "ca/message.h"
#include "tls/csr.h"

static struct log_scope scope = LOG_SCOPE("ca");

enum { RESPONSE_BYTES = 1 << 20 };

/* What the pool works on; it outlives the call when that is cut. */
struct signing {
    struct job job;
    const struct authority *authority;
    const struct identity *identity;
    struct cert_request request;
    struct bytes response;
    unsigned code; /* enum grpc_code */
    struct strbuf text;
};

enum issue_step { ISSUE_RECEIVE, ISSUE_SIGN, ISSUE_SEND, ISSUE_DONE };

struct issue {
    struct task task;
    struct timer limit;
    struct ca_service *service;
    struct list in_service;
    struct grpc_call *call;
    enum issue_step step;
    struct bytes message;
    struct signing *signing;
    char *ns;
    char *account;
    char *pod_name;
    char *pod_uid;
    bool has_cluster;
};

struct ca_service {
    struct task task;
    struct loop *loop;
    struct ca_service_config c;
    struct list open;
    struct list done;
    struct ca_service_stats stats;
};

/* ---- in the pool */

static void refuse_csr(struct signing *s, const char *why)
{
    s->code = GRPC_INVALID_ARGUMENT;
    strbuf_printf(&s->text, "CSR signing error (%s)", why);
}

static const char *csr_fault(const struct cert_request *q, int r)
{
    if (!strstr(q->csr_pem, "-----BEGIN ")) {
        return "certificate signing request is not properly encoded";
    }
    return r == -ERR_CERTIFICATE ? "x509: the request's key is too weak or its signature is wrong"
                                 : "failed to parse X.509 certificate signing request";
}

/* As a duration of the protocol's usual implementation is written: 2160h0m1s. */
static void refuse_ttl(struct signing *s, int64_t ttl_s)
{
    AUTO(strbuf) struct strbuf why = {0};

    strbuf_printf(&why, "requested TTL %lldh%lldm%llds is greater than the max allowed TTL %dh0m0s",
                  (long long)(ttl_s / 3600), (long long)(ttl_s / 60 % 60), (long long)(ttl_s % 60),
                  CA_LEAF_MAX_S / 3600);
    refuse_csr(s, strbuf_text(&why));
}

/* The order of the checks is part of the contract: the request, then its lifetime. */
static void sign(struct signing *s)
{
    AUTO(csr) struct csr *csr = NULL;
    struct diag why = {0};
    int64_t ttl_s = s->request.ttl_s > 0 ? s->request.ttl_s : 0;
    int r = csr_parse(&csr, slice_of(s->request.csr_pem), &why);

    if (r < 0) {
        refuse_csr(s, csr_fault(&s->request, r));
        return;
    }
    if (ttl_s > CA_LEAF_MAX_S) {
        refuse_ttl(s, ttl_s);
        return;
    }
    r = authority_sign(s->authority, s->request.csr_pem, s->identity, ttl_s, &s->response, &why);
    if (r < 0) {
        s->code = GRPC_INTERNAL;
        strbuf_printf(&s->text, "CSR signing error (%s)", why.text);
    }
}

static void work(struct job *j)
{
    sign(container_of(j, struct signing, job));
}

static void signing_free(struct signing *s)
{
    if (s) {
        identity_unref(s->identity);
        cert_request_fini(&s->request);
        bytes_fini(&s->response);
        strbuf_fini(&s->text);
        mem_free(s);
    }
}

static void abandoned(struct job *j)
{
    signing_free(container_of(j, struct signing, job));
}

/* ---- a call */

static void enter(struct issue *i, enum issue_step next)
{
    i->step = next;
    if (next == ISSUE_DONE) {
        timer_clear(&i->limit);
        list_remove(&i->in_service);
        list_append(&i->service->done, &i->in_service);
        task_wake(&i->service->task, WAKE_CHILD);
    }
}

static void end(struct issue *i, unsigned code, const char *text)
{
    struct grpc_call *call = i->call;

    i->call = NULL;
    if (call) {
        grpc_call_own(call, NULL);
        grpc_call_refuse(call, code, text);
    }
    enter(i, ISSUE_DONE);
}

static void fail(struct issue *i, unsigned code, const char *text)
{
    i->service->stats.failed++;
    end(i, code, text);
}

static struct ca_caller caller_of(const struct issue *i)
{
    return (struct ca_caller){i->ns, i->account, i->pod_name, i->pod_uid, i->has_cluster};
}

/* Why not is for our log alone: the caller may be probing. */
static int check_impersonation(struct issue *i, const char *wanted, const struct identity **out)
{
    struct ca_caller caller = caller_of(i);
    AUTO(identity) const struct identity *id = NULL;
    struct diag why = {0};
    int r = identity_parse(&id, wanted, strlen(wanted), &why);

    if (r == 0 && strcmp(id->trust_domain, i->service->c.trust_domain) != 0) {
        r = FAIL(&why, -ERR_DENIED, "%.80s is of another trust domain", wanted);
    }
    if (r == 0 && !caller.has_cluster) {
        r = FAIL(&why, -ERR_DENIED, "the caller names no cluster");
    }
    if (r == 0 && !i->service->c.may_impersonate(i->service->c.arg, &caller, id)) {
        r = FAIL(&why, -ERR_DENIED, "%.80s is not on the caller's node", wanted);
    }
    if (r < 0) {
        log_warn(&scope, "a certificate was refused", F_STR("wanted", wanted),
                 F_STR("namespace", i->ns), F_STR("account", i->account), F_STR("pod", i->pod_name),
                 F_DIAG(&why));
        return r;
    }
    *out = MOVE(id);
    return 0;
}

/* The identity to certify: the caller's own, or the one it may ask for. */
static int choose_identity(struct issue *i, const struct cert_request *q,
                           const struct identity **out)
{
    if (q->impersonate && *q->impersonate) {
        return check_impersonation(i, q->impersonate, out);
    }
    *out = identity_new(i->service->c.trust_domain, i->ns, i->account);
    return 0;
}

static void begin_signing(struct issue *i, struct cert_request *take_q, const struct identity *take)
{
    struct signing *s = mem_new(struct signing);

    s->job = (struct job){.work = work, .abandoned = abandoned};
    s->authority = i->service->c.authority;
    s->request = *take_q;
    s->identity = take;
    bytes_init(&s->response, RESPONSE_BYTES);
    *take_q = (struct cert_request){.ttl_s = 0};
    if (jobs_submit(i->service->c.jobs, &s->job, map_hash_str(i->pod_name), &i->task) < 0) {
        signing_free(s);
        fail(i, GRPC_UNAVAILABLE, "too many certificates are being signed");
        return;
    }
    i->signing = s;
    enter(i, ISSUE_SIGN);
}

static int step_receive(struct issue *i)
{
    AUTO(cert_request) struct cert_request q = {.ttl_s = 0};
    const struct identity *id = NULL;
    struct diag why = {0};
    int r = grpc_call_recv(i->call, &i->message);

    if (r == -EAGAIN) {
        return r;
    }
    if (r != 1) {
        fail(i, GRPC_INVALID_ARGUMENT, "no request came");
        return 0;
    }
    i->service->stats.requests++;
    if (cert_request_unpack(&q, bytes_peek(&i->message), i->message.len, &why) < 0) {
        fail(i, GRPC_INVALID_ARGUMENT, why.text);
        return 0;
    }
    if (choose_identity(i, &q, &id) < 0) {
        i->service->stats.denied++;
        end(i, GRPC_UNAUTHENTICATED, "request impersonation authentication failure");
        return 0;
    }
    begin_signing(i, &q, id);
    return 0;
}

static int step_sign(struct issue *i)
{
    struct signing *s = i->signing;

    if (!job_is_done(&s->job)) {
        return -EAGAIN;
    }
    if (s->code == GRPC_OK && s->response.len > 0) {
        enter(i, ISSUE_SEND);
    } else {
        fail(i, s->code == GRPC_OK ? (unsigned)GRPC_UNAVAILABLE : s->code, strbuf_text(&s->text));
    }
    return 0;
}

static int step_send(struct issue *i)
{
    const struct bytes *response = &i->signing->response;
    int r = grpc_call_send(i->call, bytes_peek(response), response->len);

    if (r == -EAGAIN) {
        return r;
    }
    if (r < 0) {
        fail(i, GRPC_UNAVAILABLE, NULL);
        return 0;
    }
    i->service->stats.issued++;
    end(i, GRPC_OK, NULL);
    return 0;
}

static int step(struct issue *i)
{
    switch (i->step) {
    case ISSUE_RECEIVE:
        return step_receive(i);
    case ISSUE_SIGN:
        return step_sign(i);
    case ISSUE_SEND:
        return step_send(i);
    case ISSUE_DONE:
        break;
    }
    return -EAGAIN;
}

static void run(struct task *t, unsigned why)
{
    struct issue *i = container_of(t, struct issue, task);

    if ((why & WAKE_TIMER) && i->step != ISSUE_DONE && timer_is_due(&i->limit)) {
        fail(i, GRPC_DEADLINE_EXCEEDED, "the request took too long");
        return;
    }
    while (step(i) == 0) {
    }
}

static void issue_free(struct issue *i)
{
    timer_clear(&i->limit);
    list_remove(&i->in_service);
    if (i->call) {
        grpc_call_own(i->call, NULL);
        grpc_call_close(i->call);
    }
    if (i->signing) {
        job_abandon(&i->signing->job);
    }
    bytes_fini(&i->message);
    mem_free(i->ns);
    mem_free(i->account);
    mem_free(i->pod_name);
    mem_free(i->pod_uid);
    task_fini(&i->task);
    mem_free(i);
}

/* ---- the service */

static void run_service(struct task *t, unsigned why)
{
    struct ca_service *s = container_of(t, struct ca_service, task);
    struct list *n;

    (void)why; /* only ended calls wake it */
    while ((n = list_take_first(&s->done))) {
        issue_free(container_of(n, struct issue, in_service));
        s->stats.open--;
    }
}

struct ca_service *ca_service_new(struct loop *l, const struct ca_service_config *config)
{
    struct ca_service *s = mem_new(struct ca_service);

    s->loop = l;
    s->c = *config;
    list_init(&s->open);
    list_init(&s->done);
    task_init(&s->task, l, "certificate authority", run_service);
    return s;
}

void ca_service_free(struct ca_service *s)
{
    if (!s) {
        return;
    }
    list_for_each_safe (n, &s->open) {
        issue_free(container_of(n, struct issue, in_service));
    }
    list_for_each_safe (n, &s->done) {
        issue_free(container_of(n, struct issue, in_service));
    }
    task_fini(&s->task);
    mem_free(s);
}

void ca_service_add(struct ca_service *s, struct grpc_call *take_call,
                    const struct ca_caller *caller)
{
    if (s->stats.open >= CA_CALLS_MAX) {
        s->stats.failed++;
        grpc_call_refuse(take_call, GRPC_RESOURCE_EXHAUSTED, "too many requests");
        return;
    }
    struct issue *i = mem_new(struct issue);
    i->service = s;
    i->call = take_call;
    i->ns = mem_strdup(caller->ns);
    i->account = mem_strdup(caller->account);
    i->pod_name = mem_strdup(caller->pod_name);
    i->pod_uid = mem_strdup(caller->pod_uid);
    i->has_cluster = caller->has_cluster;
    bytes_init(&i->message, CA_REQUEST_BYTES);
    list_append(&s->open, &i->in_service);
    s->stats.open++;
    task_init(&i->task, s->loop, "certificate", run);
    grpc_call_own(take_call, &i->task);
    timer_set(&i->limit, &i->task, CA_CALL_MS);
    task_wake(&i->task, WAKE_START);
}

const struct ca_service_stats *ca_service_stats(const struct ca_service *s)
{
    return &s->stats;
}
