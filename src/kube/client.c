/* SPDX-License-Identifier: Apache-2.0 */
#include "kube/client.h"

#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/str.h"
#include "codec/url.h"
#include "io/file.h"
#include "kube/client_int.h"
#include "kube/config.h"

enum { EVENTS_A_CALL = 16, CALLS_A_RUN = 32 };

/* ---- the token file */

struct token_job {
    struct job job;
    char *path;
    char *token; /* NULL: it could not be read */
};

static void token_job_free(struct token_job *t)
{
    if (t) {
        if (t->token) {
            mem_free_secret(t->token, strlen(t->token));
        }
        mem_free(t->path);
        mem_free(t);
    }
}

static void trim_end(char *text)
{
    size_t n = strlen(text);

    while (n > 0 && (text[n - 1] == '\n' || text[n - 1] == '\r' || text[n - 1] == ' ')) {
        text[--n] = '\0';
    }
}

static void read_token(struct job *j)
{
    struct token_job *t = container_of(j, struct token_job, job);

    t->token = NULL;
    if (file_read_blocking(t->path, &t->token, NULL, NULL) == 0) {
        trim_end(t->token);
    }
}

static void token_abandoned(struct job *j)
{
    token_job_free(container_of(j, struct token_job, job));
}

/* A file that cannot be read for a moment leaves the old token in place. */
static void adopt_token(struct kube_client *c)
{
    if (c->token_job->token) {
        if (c->token) {
            mem_free_secret(c->token, strlen(c->token));
        }
        c->token = MOVE(c->token_job->token);
    }
    timer_set(&c->token_timer, &c->task, KUBE_TOKEN_MS);
}

static void start_token_job(struct kube_client *c)
{
    if (jobs_submit(c->jobs, &c->token_job->job, (uint64_t)(uintptr_t)c, &c->task) < 0) {
        timer_set(&c->token_timer, &c->task, KUBE_TOKEN_MS); /* the pool is full: later */
    }
}

/* ---- libcurl on the loop */

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *user, void *known)
{
    struct kube_client *c = user;
    struct epoll_event e = {.data.fd = fd};

    (void)easy;
    if (what == CURL_POLL_REMOVE) {
        (void)epoll_ctl(c->sockets, EPOLL_CTL_DEL, fd, NULL); /* it may be closed already */
        return 0;
    }
    e.events = (what & CURL_POLL_IN ? EPOLLIN : 0u) | (what & CURL_POLL_OUT ? EPOLLOUT : 0u);
    if (epoll_ctl(c->sockets, known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &e) < 0) {
        return -1;
    }
    (void)curl_multi_assign(c->multi, fd, c); /* only marks the socket as known */
    client_poke(c);
    return 0;
}

static int on_timer(CURLM *multi, long timeout_ms, void *user)
{
    struct kube_client *c = user;

    (void)multi;
    if (timeout_ms < 0) {
        timer_clear(&c->curl_timer);
    } else {
        timer_set(&c->curl_timer, &c->task, (uint64_t)timeout_ms);
    }
    return 0;
}

void client_poke(struct kube_client *c)
{
    if (!c->stopping) {
        task_wake(&c->task, WAKE_IO);
    }
}

static void reap(struct kube_client *c)
{
    CURLMsg *m = NULL;
    int left = 0;

    while ((m = curl_multi_info_read(c->multi, &left)) != NULL) {
        if (m->msg == CURLMSG_DONE) {
            transfer_finish(m->easy_handle, m->data.result);
        }
    }
}

/* True: there may be more. */
static bool pass_events(struct kube_client *c)
{
    struct epoll_event e[EVENTS_A_CALL];
    int running = 0;
    int n = epoll_wait(c->sockets, e, EVENTS_A_CALL, 0);

    for (int i = 0; i < n; i++) {
        int what = (e[i].events & (EPOLLIN | EPOLLHUP) ? CURL_CSELECT_IN : 0) |
                   (e[i].events & EPOLLOUT ? CURL_CSELECT_OUT : 0) |
                   (e[i].events & EPOLLERR ? CURL_CSELECT_ERR : 0);
        (void)curl_multi_socket_action(c->multi, e[i].data.fd, what, &running); /* transfers tell */
    }
    return n > 0;
}

static void run(struct task *t, unsigned why)
{
    struct kube_client *c = container_of(t, struct kube_client, task);
    int running = 0;
    int calls = 0;

    if (c->token_job && (why & WAKE_JOB) && job_is_done(&c->token_job->job)) {
        adopt_token(c);
    }
    if (c->token_job && timer_is_due(&c->token_timer)) {
        timer_clear(&c->token_timer);
        start_token_job(c);
    }
    if (timer_is_due(&c->curl_timer)) {
        timer_clear(&c->curl_timer);
        (void)curl_multi_socket_action(c->multi, CURL_SOCKET_TIMEOUT, 0,
                                       &running); /* transfers tell */
    }
    while (calls < CALLS_A_RUN && pass_events(c)) {
        calls++;
    }
    reap(c);
    if (calls == CALLS_A_RUN) {
        task_wake(t, WAKE_IO); /* others first */
    } else {
        fd_watch_blocked(&c->ready, FD_READABLE);
    }
}

/* ---- life */

static char *copy(const char *text)
{
    return text ? mem_strdup(text) : NULL;
}

static void take_config(struct kube_client *c, const struct kube_config *config, const char *name)
{
    struct strbuf agent = {0};

    c->ca_pem = copy(config->ca_pem);
    c->cert_pem = copy(config->client_cert_pem);
    c->key_pem = copy(config->client_key_pem);
    c->token = copy(config->token);
    c->token_file = copy(config->token_file);
    c->username = copy(config->username);
    c->password = copy(config->password);
    c->proxy_url = copy(config->proxy_url);
    c->namespace = mem_strdup(config->namespace);
    c->insecure = config->insecure;
    strbuf_printf(&agent, "%s/%s", name, AMBIT_VERSION);
    c->user_agent = strbuf_take(&agent);
}

/* The server may be known to its certificate by another name: URLs then carry that name, and
 * connections for it go to the server. */
static int take_server(struct kube_client *c, const struct kube_config *config, struct diag *why)
{
    struct url u;
    struct strbuf base = {0};
    AUTO(strbuf) struct strbuf to = {0};
    int r = url_parse(&u, config->server, strlen(config->server), why);

    if (r < 0 || !config->tls_server_name) {
        c->server = mem_strdup(config->server);
        return r;
    }
    unsigned port = u.port > 0 ? u.port : 443;
    bool is_v6 = memchr(u.host.p, ':', u.host.len) != NULL;
    strbuf_printf(&base, "https://%s:%u%.*s", config->tls_server_name, port, (int)u.path.len,
                  u.path.len > 0 ? u.path.p : "");
    strbuf_printf(&to, is_v6 ? "::[%.*s]:%u" : "::%.*s:%u", (int)u.host.len, u.host.p, port);
    c->server = strbuf_take(&base);
    c->connect_to = curl_slist_append(NULL, strbuf_text(&to));
    return c->connect_to ? 0 : FAIL(why, -ENOMEM, "start libcurl");
}

static int start_curl(struct kube_client *c, struct diag *why)
{
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        return FAIL(why, -ENOMEM, "start libcurl");
    }
    c->multi = curl_multi_init();
    c->sockets = epoll_create1(EPOLL_CLOEXEC);
    if (!c->multi || c->sockets < 0) {
        return FAIL(why, c->multi ? neg_errno() : -ENOMEM, "start libcurl");
    }
    /* These cannot fail for values of the right type. */
    (void)curl_multi_setopt(c->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    (void)curl_multi_setopt(c->multi, CURLMOPT_SOCKETDATA, c);
    (void)curl_multi_setopt(c->multi, CURLMOPT_TIMERFUNCTION, on_timer);
    (void)curl_multi_setopt(c->multi, CURLMOPT_TIMERDATA, c);
    (void)curl_multi_setopt(c->multi, CURLMOPT_PIPELINING, CURLPIPE_MULTIPLEX);
    return 0;
}

static int start_token(struct kube_client *c, struct diag *why)
{
    if (!c->token_file) {
        return 0;
    }
    c->token_job = mem_new(struct token_job);
    c->token_job->path = mem_strdup(c->token_file);
    c->token_job->job.work = read_token;
    c->token_job->job.abandoned = token_abandoned;
    read_token(&c->token_job->job); /* the first time at once: nothing works without it */
    if (!c->token_job->token) {
        return FAIL(why, -ENOENT, "read the token file %s", c->token_file);
    }
    adopt_token(c);
    return 0;
}

int kube_client_new(struct loop *l, struct jobs *jobs, const struct kube_config *config,
                    const char *name, struct diag *why, struct kube_client **out)
{
    AUTO(kube_client) struct kube_client *c = mem_new(struct kube_client);

    c->loop = l;
    c->jobs = jobs;
    c->sockets = -1;
    task_init(&c->task, l, "kubernetes client", run);
    take_config(c, config, name);
    int r = start_curl(c, why);
    if (r == 0) {
        r = take_server(c, config, why);
    }
    if (r == 0) {
        r = fd_watch_start(&c->ready, l, &c->task, c->sockets);
        r = r < 0 ? FAIL(why, r, "watch libcurl's sockets") : 0;
    }
    if (r == 0) {
        r = start_token(c, why);
    }
    if (r < 0) {
        return r;
    }
    *out = MOVE(c);
    return 0;
}

static void free_config(struct kube_client *c)
{
    char *const secrets[] = {c->key_pem, c->token, c->password};

    for (size_t i = 0; i < ARRAY_LEN(secrets); i++) {
        if (secrets[i]) {
            mem_free_secret(secrets[i], strlen(secrets[i]));
        }
    }
    mem_free(c->server);
    curl_slist_free_all(c->connect_to);
    mem_free(c->ca_pem);
    mem_free(c->cert_pem);
    mem_free(c->token_file);
    mem_free(c->username);
    mem_free(c->proxy_url);
    mem_free(c->namespace);
    mem_free(c->user_agent);
}

void kube_client_free(struct kube_client *c)
{
    if (!c) {
        return;
    }
    c->stopping = true;
    if (c->multi) {
        (void)curl_multi_cleanup(c->multi); /* no transfer is left in it */
    }
    fd_watch_stop(&c->ready);
    if (c->sockets >= 0) {
        (void)close(c->sockets); /* an epoll set holds no data */
    }
    timer_clear(&c->curl_timer);
    timer_clear(&c->token_timer);
    if (c->token_job && c->token_job->job.task) {
        job_abandon(&c->token_job->job);
    } else {
        token_job_free(c->token_job);
    }
    task_fini(&c->task);
    free_config(c);
    mem_free(c);
}

struct loop *kube_client_loop(struct kube_client *c)
{
    return c->loop;
}

const char *kube_client_namespace(const struct kube_client *c)
{
    return c->namespace;
}
