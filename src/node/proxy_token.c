/* SPDX-License-Identifier: Apache-2.0 */
#include "node/proxy_token.h"

#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/num.h"
#include "base/str.h"
#include "codec/json.h"
#include "io/file.h"
#include "io/jobs.h"
#include "kube/call.h"
#include "kube/client.h"
#include "kube/resource.h"

static struct log_scope scope = LOG_SCOPE("token");

static const char account[] = "ztunnel";
static const char audience[] = "istio-ca";
static const struct kube_resource accounts = {"", "v1", "serviceaccounts", true};

enum { LIFE_MAX_S = 366 * 24 * 3600 };

enum step {
    ASK,   /* the API was asked for a token */
    WRITE, /* a job writes it into the file */
    REST   /* until it is renewed, or asked for again */
};

/* A token on its way into the file. */
struct writing {
    struct job job;
    char *path;
    char *token;
    int result;
    struct diag why;
};

struct proxy_token {
    struct task task;
    struct timer rest;
    struct kube_client *client;
    struct jobs *jobs;
    char *path;
    char *namespace;
    char *pod;
    enum step step;
    struct kube_call *call;
    struct writing *writing;
    uint64_t renew_ms; /* after it was written */
    uint64_t retry_ms;
};

/* ---- the file */

static void writing_free(struct writing *w)
{
    mem_free(w->path);
    mem_free_secret(w->token, strlen(w->token));
    mem_free(w);
}

static void abandoned(struct job *j)
{
    writing_free(container_of(j, struct writing, job));
}

/* In a pool thread. */
static void write_file(struct job *j)
{
    struct writing *w = container_of(j, struct writing, job);

    w->result = file_write_blocking(w->path, w->token, strlen(w->token), 0600, &w->why);
}

/* ---- steps */

static void enter_rest(struct proxy_token *p, uint64_t for_ms)
{
    p->step = REST;
    timer_set(&p->rest, &p->task, for_ms);
}

static void failed(struct proxy_token *p, const struct diag *why)
{
    log_warn(&scope, "no new token for the node proxy", F_STR("pod", p->pod), F_DIAG(why),
             F_U64("retry_in_ms", p->retry_ms));
    enter_rest(p, p->retry_ms);
    p->retry_ms = MIN_OF(p->retry_ms * 2, (uint64_t)PROXY_TOKEN_RETRY_MAX_MS);
}

static void enter_ask(struct proxy_token *p)
{
    AUTO(json) struct json *body = json_new_object();
    struct json *spec = json_make_object(body, "spec");
    struct json *bound = json_make_object(spec, "boundObjectRef");
    struct kube_ask ask = {.verb = KUBE_CREATE,
                           .resource = &accounts,
                           .ns = p->namespace,
                           .name = account,
                           .sub = "token",
                           .body = body};

    json_set_str(body, "apiVersion", "authentication.k8s.io/v1");
    json_set_str(body, "kind", "TokenRequest");
    json_append_str(json_make_array(spec, "audiences"), audience);
    json_set_int(spec, "expirationSeconds", PROXY_TOKEN_LIFE_S);
    json_set_str(bound, "apiVersion", "v1");
    json_set_str(bound, "kind", "Pod");
    json_set_str(bound, "name", p->pod);
    p->step = ASK;
    p->call = kube_call_new(p->client, &ask, &p->task);
}

static void enter_write(struct proxy_token *p, const char *token)
{
    struct writing *w = mem_new(struct writing);

    w->path = mem_strdup(p->path);
    w->token = mem_strdup(token);
    w->job.work = write_file;
    w->job.abandoned = abandoned;
    int r = jobs_submit(p->jobs, &w->job, (uint64_t)(uintptr_t)p, &p->task);
    if (r < 0) {
        struct diag why = {0};
        (void)diag_note(&why, r, "too many jobs are waiting");
        writing_free(w);
        failed(p, &why);
        return;
    }
    p->writing = w;
    p->step = WRITE;
}

/* The server may give less than it was asked for. A fifth of the life is left for retries. */
static void take_answer(struct proxy_token *p, const struct json *body)
{
    const char *token = json_str_at(body, "status.token", "");
    int64_t life_s = json_int_at(body, "spec.expirationSeconds", PROXY_TOKEN_LIFE_S);

    if (token[0] == '\0' || life_s <= 0 || life_s > LIFE_MAX_S) {
        struct diag why = {0};
        (void)diag_note(&why, -ERR_SYNTAX, "the answer has no token, or no life");
        failed(p, &why);
        return;
    }
    p->renew_ms = (uint64_t)life_s * 800;
    enter_write(p, token);
}

static void step_ask(struct proxy_token *p)
{
    struct kube_answer answer = {0};
    struct diag why = {0};
    int r = kube_call_take(p->call, &answer, &why);

    if (r == -EAGAIN) {
        return;
    }
    kube_call_free(MOVE(p->call));
    if (r == 0) {
        r = kube_answer_error(&answer, &why);
    }
    if (r < 0) {
        failed(p, &why);
    } else {
        take_answer(p, answer.body);
    }
    kube_answer_fini(&answer);
}

static void step_write(struct proxy_token *p)
{
    struct writing *w = p->writing;

    if (!job_is_done(&w->job)) {
        return;
    }
    p->writing = NULL;
    if (w->result < 0) {
        failed(p, &w->why);
    } else {
        log_debug(&scope, "the node proxy has a new token", F_U64("renew_in_ms", p->renew_ms));
        p->retry_ms = PROXY_TOKEN_RETRY_MIN_MS;
        enter_rest(p, p->renew_ms);
    }
    writing_free(w);
}

static void run(struct task *t, unsigned why)
{
    struct proxy_token *p = container_of(t, struct proxy_token, task);

    (void)why; /* the step knows what it waits for */
    switch (p->step) {
    case ASK:
        step_ask(p);
        break;
    case WRITE:
        step_write(p);
        break;
    case REST:
        if (timer_is_due(&p->rest)) {
            enter_ask(p);
        }
        break;
    }
}

struct proxy_token *proxy_token_new(const struct proxy_token_config *config)
{
    struct proxy_token *p = mem_new(struct proxy_token);
    struct strbuf pod = {0};

    strbuf_printf(&pod, "ztunnel-%s", config->node);
    p->client = config->client;
    p->jobs = config->jobs;
    p->path = mem_strdup(config->path);
    p->namespace = mem_strdup(config->namespace);
    p->pod = strbuf_take(&pod);
    p->retry_ms = PROXY_TOKEN_RETRY_MIN_MS;
    task_init(&p->task, kube_client_loop(config->client), "proxy token", run);
    enter_ask(p);
    return p;
}

void proxy_token_free(struct proxy_token *p)
{
    if (!p) {
        return;
    }
    kube_call_free(p->call);
    if (p->writing) {
        job_abandon(&p->writing->job); /* frees it, now or when the job returns */
    }
    timer_clear(&p->rest);
    task_fini(&p->task);
    mem_free(p->path);
    mem_free(p->namespace);
    mem_free(p->pod);
    mem_free(p);
}
