/* SPDX-License-Identifier: Apache-2.0 */
#include "rpc/uplink.h"

#include <string.h>

#include "base/mem.h"
#include "base/num.h"
#include "io/file.h"
#include "io/name_lookup.h"
#include "io/sock.h"
#include "io/tcp_stream.h"

static const char system_roots[] = "/etc/ssl/certs/ca-certificates.crt";

/* What a pool thread finds out. Its own object, so that the uplink can go while it runs. */
struct inquiry {
    struct job job;
    char *host;
    char *roots;
    char *token;
    struct trust *trust;
    char *token_text;
    struct ip ips[UPLINK_ADDRESSES_MAX];
    unsigned ip_count;
    int result;
    struct diag why;
};

enum uplink_step {
    UPLINK_IDLE,
    UPLINK_INQUIRE, /* files are read, the name is looked up */
    UPLINK_SECURE,  /* TCP and TLS to one address */
    UPLINK_FAILED
};

struct uplink {
    struct task task;
    struct timer limit; /* of the whole attempt */
    struct grpc_dialer dialer;
    struct task *wake;
    struct uplink_config config;
    char *host;
    uint16_t port;
    char *authority;
    char *alt_host;
    char *roots;
    char *token;
    char *cluster_id;
    struct message extra;
    enum uplink_step step;
    struct inquiry *inquiry;
    struct trust *trust;
    struct message metadata;
    struct endpoint addresses[UPLINK_ADDRESSES_MAX];
    unsigned address_count;
    unsigned address_at;
    bool use_alt; /* the alternative name is the one that works */
    bool tried_alt;
    struct stream *tls;
    struct diag why;
};

static void inquiry_free(struct inquiry *q)
{
    if (q) {
        trust_unref(q->trust);
        mem_free(q->host);
        mem_free(q->roots);
        mem_free(q->token);
        if (q->token_text) {
            mem_free_secret(q->token_text, strlen(q->token_text));
        }
        mem_free(q);
    }
}

static void inquiry_abandoned(struct job *j)
{
    inquiry_free(container_of(j, struct inquiry, job));
}

static int read_roots(struct inquiry *q)
{
    AUTO(text) char *pem = NULL;
    const char *path = strcmp(q->roots, "SYSTEM") == 0 ? system_roots : q->roots;
    int r = 0;

    if (strstr(q->roots, "-----BEGIN")) {
        pem = mem_strdup(q->roots);
    } else {
        r = file_read_blocking(path, &pem, NULL, &q->why);
    }
    return r < 0 ? r : trust_new(&q->trust, slice_of(pem), &q->why);
}

/* No token begins like that. Sent as one, the name of a missing file would go over the wire, and the
 * peer's refusal would not say what is wrong. */
static bool is_path_only(const char *token)
{
    return token[0] == '/' || strncmp(token, "./", 2) == 0;
}

static int read_token(struct inquiry *q)
{
    if (!q->token) {
        return 0;
    }
    if (!is_path_only(q->token) && !file_exists_blocking(q->token)) {
        q->token_text = mem_strdup(q->token);
        return 0;
    }
    int r = file_read_blocking(q->token, &q->token_text, NULL, NULL);
    if (r < 0) {
        return FAIL(&q->why, r, "AUTH_TOKEN: cannot read token file %.120s: %s", q->token,
                    err_text(r));
    }
    q->token_text[strcspn(q->token_text, "\r\n")] = '\0';
    return q->token_text[0]
               ? 0
               : FAIL(&q->why, -ERR_NOT_FOUND, "AUTH_TOKEN: token file %.120s is empty", q->token);
}

/* In a pool thread. */
static void inquire(struct job *j)
{
    struct inquiry *q = container_of(j, struct inquiry, job);

    q->result = read_roots(q);
    if (q->result == 0) {
        q->result = read_token(q);
    }
    if (q->result == 0) {
        int n = name_lookup_blocking(q->host, q->ips, UPLINK_ADDRESSES_MAX, &q->why);
        q->ip_count = n > 0 ? (unsigned)n : 0;
        q->result = n > 0 ? 0 : n;
    }
}

static void drop_attempt(struct uplink *c)
{
    timer_clear(&c->limit);
    if (c->inquiry) {
        job_abandon(&c->inquiry->job);
        c->inquiry = NULL;
    }
    stream_close(c->tls, -ERR_CANCELLED);
    c->tls = NULL;
    c->trust = trust_unref(c->trust);
}

static void enter(struct uplink *c, enum uplink_step next)
{
    c->step = next;
    if (next == UPLINK_FAILED) {
        drop_attempt(c);
        task_wake(c->wake, WAKE_CHILD);
    }
}

static void fill_metadata(struct uplink *c, const char *token)
{
    AUTO(strbuf) struct strbuf bearer = {0};

    message_clear(&c->metadata);
    for (unsigned i = 0; i < c->extra.count; i++) {
        struct message_field f = message_field(&c->extra, i);
        message_add(&c->metadata, f.name, f.value);
    }
    if (token) {
        strbuf_printf(&bearer, "Bearer %s", token);
        message_puts(&c->metadata, "authorization", strbuf_text(&bearer));
        message_puts(&c->metadata, "clusterid", c->cluster_id);
    }
}

static void open_next(struct uplink *c)
{
    static const char *const alpn[] = {"h2"};
    const struct endpoint *to = &c->addresses[c->address_at];
    struct handshake_spec spec = {.role = TLS_HOST_CLIENT,
                                  .trust = c->trust,
                                  .host = c->use_alt ? c->alt_host : c->host,
                                  .server_name = c->use_alt ? c->host : NULL,
                                  .alpn = alpn,
                                  .alpn_count = 1};
    int fd = sock_open((enum ip_family)to->ip.family, SOCK_TYPE_STREAM, &c->why);
    struct sock_keepalive keepalive = {.idle_s = 300, .interval_s = 75, .count = 9};

    if (fd < 0) {
        c->why.code = surely_negative(fd);
        enter(c, UPLINK_FAILED);
        return;
    }
    (void)sock_set_nodelay(fd);               /* a socket without it still works */
    (void)sock_set_keepalive(fd, &keepalive); /* likewise */
    struct stream *tcp = tcp_stream_connect(c->task.loop, fd, to, UPLINK_CONNECT_MS);
    c->tls = tls_stream_new(c->config.tls, tcp, &spec, (uint64_t)(uintptr_t)c);
    stream_own(c->tls, &c->task);
    enter(c, UPLINK_SECURE);
    task_wake(&c->task, WAKE_IO);
}

static void inquired(struct uplink *c)
{
    struct inquiry *q = c->inquiry;

    if (!job_is_done(&q->job)) {
        return;
    }
    c->inquiry = NULL;
    if (q->result < 0) {
        c->why = q->why;
        c->why.code = q->result;
        inquiry_free(q);
        enter(c, UPLINK_FAILED);
        return;
    }
    fill_metadata(c, q->token_text);
    c->trust = MOVE(q->trust);
    c->address_count = q->ip_count;
    for (unsigned i = 0; i < q->ip_count; i++) {
        c->addresses[i] = (struct endpoint){.ip = q->ips[i], .port = c->port};
    }
    c->address_at = 0;
    c->tried_alt = false;
    inquiry_free(q);
    open_next(c);
}

/* One address or name did not work: is there another to try? */
static bool try_other(struct uplink *c, int r)
{
    if (r == -ERR_IDENTITY && c->alt_host && !c->tried_alt) {
        c->tried_alt = true;
        c->use_alt = !c->use_alt;
        return true;
    }
    return ++c->address_at < c->address_count;
}

/* -EAGAIN while the handshake runs; 0: open. */
static int secured(struct uplink *c)
{
    int r = stream_flush(c->tls);

    if (r == 0 && !tls_stream_peer(c->tls)) {
        r = -EAGAIN;
    }
    if (r < 0 && r != -EAGAIN) {
        c->why = *stream_diag(c->tls);
        c->why.code = r;
        stream_close(c->tls, r);
        c->tls = NULL;
        if (try_other(c, r)) {
            open_next(c);
        } else {
            enter(c, UPLINK_FAILED);
        }
        return -EAGAIN;
    }
    return r;
}

static void run(struct task *t, unsigned why)
{
    struct uplink *c = container_of(t, struct uplink, task);

    (void)why; /* every wake is a hint */
    if (timer_is_due(&c->limit)) {
        (void)diag_note(&c->why, -ERR_DEADLINE, "connect to %.80s: %s", c->authority,
                        err_text(-ERR_DEADLINE));
        enter(c, UPLINK_FAILED);
    } else if (c->step == UPLINK_INQUIRE) {
        inquired(c);
    } else if (c->step == UPLINK_SECURE && secured(c) == 0) {
        task_wake(c->wake, WAKE_CHILD);
    }
}

static struct uplink *of(struct grpc_dialer *d)
{
    return container_of(d, struct uplink, dialer);
}

static void uplink_start(struct grpc_dialer *d, struct task *wake)
{
    struct uplink *c = of(d);
    struct inquiry *q = mem_new(struct inquiry);

    drop_attempt(c);
    c->wake = wake;
    q->host = mem_strdup(c->host);
    q->roots = mem_strdup(c->roots);
    q->token = c->token ? mem_strdup(c->token) : NULL;
    q->job.work = inquire;
    q->job.abandoned = inquiry_abandoned;
    int r = jobs_submit(c->config.jobs, &q->job, (uint64_t)(uintptr_t)c, &c->task);
    if (r < 0) {
        inquiry_free(q);
        (void)diag_note(&c->why, r, "too many jobs are waiting");
        enter(c, UPLINK_FAILED);
        return;
    }
    c->inquiry = q;
    enter(c, UPLINK_INQUIRE);
    timer_set(&c->limit, &c->task, UPLINK_ATTEMPT_MS);
}

static int uplink_poll(struct grpc_dialer *d, struct task *owner, struct grpc_client **out,
                       const struct message **out_metadata, struct diag *why)
{
    struct uplink *c = of(d);

    if (c->step == UPLINK_FAILED) {
        c->step = UPLINK_IDLE;
        return FAIL(why, c->why.code, "%s", c->why.text);
    }
    if (c->step != UPLINK_SECURE || !c->tls || !tls_stream_peer(c->tls)) {
        return -EAGAIN;
    }
    *out = grpc_client_new(c->task.loop, MOVE(c->tls), c->authority, NULL, owner);
    *out_metadata = &c->metadata;
    drop_attempt(c);
    c->step = UPLINK_IDLE;
    return 0;
}

static void uplink_stop(struct grpc_dialer *d)
{
    drop_attempt(of(d));
    of(d)->step = UPLINK_IDLE;
}

static int parse_address(struct uplink *c, const char *address, struct diag *why)
{
    static const char scheme[] = "https://";
    const char *rest = address + strlen(scheme);
    const char *colon = strrchr(address, ':');

    if (strncmp(address, scheme, strlen(scheme)) != 0 || !colon || colon <= rest ||
        num_parse_port(colon + 1, strcspn(colon + 1, "/"), &c->port) < 0) {
        return FAIL(why, -ERR_SYNTAX, "'%.80s' is not https://host:port", address);
    }
    size_t len = (size_t)(colon - rest);
    c->authority = mem_dup(rest, len + 1 + strcspn(colon + 1, "/"));
    bool bracketed = len > 2 && rest[0] == '[' && rest[len - 1] == ']';
    c->host = bracketed ? mem_dup(rest + 1, len - 2) : mem_dup(rest, len);
    return 0;
}

int uplink_new(struct uplink **out, const struct uplink_config *config, struct diag *why)
{
    AUTO(uplink) struct uplink *c = mem_new(struct uplink);

    task_init(&c->task, config->loop, "uplink", run);
    c->config = *config;
    c->dialer =
        (struct grpc_dialer){.start = uplink_start, .poll = uplink_poll, .stop = uplink_stop};
    message_init(&c->metadata, 0);
    message_init(&c->extra, 0);
    int r = parse_address(c, config->address, why);
    if (r < 0) {
        return r;
    }
    c->roots = mem_strdup(config->roots);
    c->alt_host = config->alt_host ? mem_strdup(config->alt_host) : NULL;
    c->token = config->token ? mem_strdup(config->token) : NULL;
    c->cluster_id = mem_strdup(config->cluster_id ? config->cluster_id : "");
    for (unsigned i = 0; config->extra && i < config->extra->count; i++) {
        struct message_field f = message_field(config->extra, i);
        message_add(&c->extra, f.name, f.value);
    }
    *out = MOVE(c);
    return 0;
}

void uplink_free(struct uplink *c)
{
    if (!c) {
        return;
    }
    drop_attempt(c);
    task_fini(&c->task);
    message_fini(&c->metadata);
    message_fini(&c->extra);
    mem_free(c->host);
    mem_free(c->authority);
    mem_free(c->alt_host);
    mem_free(c->roots);
    if (c->token) {
        mem_free_secret(c->token, strlen(c->token));
    }
    mem_free(c->cluster_id);
    mem_free(c);
}

struct grpc_dialer *uplink_dialer(struct uplink *c)
{
    return &c->dialer;
}
