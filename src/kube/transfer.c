/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>
#include <sys/socket.h>

#include "base/bytes.h"
#include "base/mem.h"
#include "base/num.h"
#include "kube/client.h"
#include "kube/client_int.h"
#include "kube/transfer_int.h"

struct transfer {
    struct kube_client *client;
    struct task *owner;
    struct timer stall;
    CURL *easy;
    struct curl_slist *headers;
    char *body;
    size_t body_len;
    struct bytes in;
    bool is_stream;
    bool paused;
    bool overflow;
    int result;  /* -EAGAIN while it runs */
    long status; /* 0: no head yet */
    uint64_t stall_ms;
    struct diag diag;
    char error[CURL_ERROR_SIZE];
};

static int code_of(CURLcode code)
{
    static const struct {
        CURLcode curl;
        int ours;
    } codes[] = {
        {CURLE_COULDNT_RESOLVE_HOST, -EHOSTUNREACH},
        {CURLE_COULDNT_CONNECT, -ECONNREFUSED},
        {CURLE_OPERATION_TIMEDOUT, -ERR_DEADLINE},
        {CURLE_SSL_CONNECT_ERROR, -ERR_TLS},
        {CURLE_PEER_FAILED_VERIFICATION, -ERR_CERTIFICATE},
        {CURLE_SSL_CERTPROBLEM, -ERR_CERTIFICATE},
        {CURLE_SSL_CACERT_BADFILE, -ERR_CERTIFICATE},
        {CURLE_PARTIAL_FILE, -ERR_TRUNCATED},
        {CURLE_GOT_NOTHING, -ERR_TRUNCATED},
        {CURLE_RECV_ERROR, -ECONNRESET},
        {CURLE_SEND_ERROR, -ECONNRESET},
        {CURLE_HTTP2, -ERR_H2_PROTOCOL},
        {CURLE_HTTP2_STREAM, -ERR_H2_RESET},
        {CURLE_OUT_OF_MEMORY, -ENOMEM},
    };

    for (size_t i = 0; i < ARRAY_LEN(codes); i++) {
        if (codes[i].curl == code) {
            return codes[i].ours;
        }
    }
    return -EIO;
}

static void tell(struct transfer *t)
{
    if (t->owner) {
        task_wake(t->owner, WAKE_CHILD);
    }
}

static void finish(struct transfer *t, int result, const char *text)
{
    t->result = result;
    timer_clear(&t->stall);
    if (result < 0) {
        (void)diag_note(&t->diag, result, "%s", text); /* the code is in result */
    }
    tell(t);
}

void transfer_finish(CURL *easy, CURLcode code)
{
    struct transfer *t = NULL;

    if (curl_easy_getinfo(easy, CURLINFO_PRIVATE, (char **)&t) != CURLE_OK || !t) {
        return;
    }
    if (t->overflow) {
        finish(t, -ERR_TOO_LARGE, "the answer is too large");
    } else if (code != CURLE_OK) {
        finish(t, code_of(code), t->error[0] != '\0' ? t->error : curl_easy_strerror(code));
    } else {
        finish(t, 0, "");
    }
}

static void touch(struct transfer *t)
{
    if (t->stall_ms > 0 && t->owner) {
        timer_set(&t->stall, t->owner, t->stall_ms);
    }
}

static size_t on_write(char *data, size_t size, size_t count, void *user)
{
    struct transfer *t = user;
    size_t len = size * count; /* size is 1 */

    touch(t);
    if (bytes_add(&t->in, data, len) == 0) {
        tell(t);
        return len;
    }
    if (t->is_stream && t->in.len > 0) {
        t->paused = true; /* libcurl keeps this piece and offers it again */
        tell(t);
        return CURL_WRITEFUNC_PAUSE;
    }
    t->overflow = true;
    return 0;
}

static size_t on_header(char *line, size_t size, size_t count, void *user)
{
    struct transfer *t = user;
    long status = 0;

    (void)line;
    touch(t);
    if (curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status) == CURLE_OK && status >= 200) {
        t->status = status;
    }
    return size * count;
}

static void add_header(struct transfer *t, const char *name, const char *value)
{
    AUTO(strbuf) struct strbuf line = {0};

    strbuf_printf(&line, "%s: %s", name, value);
    struct curl_slist *longer = curl_slist_append(t->headers, strbuf_text(&line));
    mem_wipe(line.p, line.len); /* it may have held a token */
    if (longer) {
        t->headers = longer;
    }
}

/* Options of the right type cannot fail but for memory; the transfer then fails by itself. */
static void set_text(struct transfer *t, CURLoption option, const char *text)
{
    if (text) {
        (void)curl_easy_setopt(t->easy, option, text);
    }
}

static void set_blob(struct transfer *t, CURLoption option, const char *pem)
{
    if (pem) {
        struct curl_blob blob = {.data = (void *)(uintptr_t)pem, .len = strlen(pem)};
        (void)curl_easy_setopt(t->easy, option, &blob);
    }
}

static void set_security(struct transfer *t)
{
    const struct kube_client *c = t->client;

    set_blob(t, CURLOPT_CAINFO_BLOB, c->ca_pem);
    set_blob(t, CURLOPT_SSLCERT_BLOB, c->cert_pem);
    set_blob(t, CURLOPT_SSLKEY_BLOB, c->key_pem);
    set_text(t, CURLOPT_PROXY, c->proxy_url);
    set_text(t, CURLOPT_USERNAME, c->username);
    set_text(t, CURLOPT_PASSWORD, c->password);
    if (c->insecure) {
        (void)curl_easy_setopt(t->easy, CURLOPT_SSL_VERIFYPEER, 0L);
        (void)curl_easy_setopt(t->easy, CURLOPT_SSL_VERIFYHOST, 0L);
    }
    if (c->token) {
        AUTO(strbuf) struct strbuf bearer = {0};
        strbuf_printf(&bearer, "Bearer %s", c->token);
        add_header(t, "Authorization", strbuf_text(&bearer));
        mem_wipe(bearer.p, bearer.len);
    }
}

static void set_target(struct transfer *t, const char *target)
{
    AUTO(strbuf) struct strbuf url = {0};

    strbuf_puts(&url, t->client->server);
    strbuf_puts(&url, target);
    set_text(t, CURLOPT_URL, strbuf_text(&url));
    if (t->client->connect_to) {
        (void)curl_easy_setopt(t->easy, CURLOPT_CONNECT_TO, t->client->connect_to);
    }
}

static void set_body(struct transfer *t, const struct transfer_request *rq)
{
    if (rq->content_type) {
        t->body = mem_dup(rq->body.p ? rq->body.p : "", rq->body.len);
        t->body_len = rq->body.len;
        (void)curl_easy_setopt(t->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)rq->body.len);
        set_text(t, CURLOPT_POSTFIELDS, t->body); /* not copied: ours until transfer_free */
        add_header(t, "Content-Type", rq->content_type);
    }
    set_text(t, CURLOPT_CUSTOMREQUEST, rq->method);
    add_header(t, "Accept", "application/json");
    add_header(t, "Expect", ""); /* no 100-continue round trip */
}

static void set_limits(struct transfer *t, const struct transfer_request *rq)
{
    (void)curl_easy_setopt(t->easy, CURLOPT_CONNECTTIMEOUT_MS, (long)KUBE_CONNECT_MS);
    (void)curl_easy_setopt(t->easy, CURLOPT_TIMEOUT_MS, (long)rq->limit_ms);
    (void)curl_easy_setopt(t->easy, CURLOPT_BUFFERSIZE, 65536L);
    (void)curl_easy_setopt(t->easy, CURLOPT_FOLLOWLOCATION, 0L);
    (void)curl_easy_setopt(t->easy, CURLOPT_PROTOCOLS_STR, "http,https");
    (void)curl_easy_setopt(t->easy, CURLOPT_NOSIGNAL, 1L);
    (void)curl_easy_setopt(t->easy, CURLOPT_TCP_KEEPALIVE, 1L); /* dead peers of idle watches */
    (void)curl_easy_setopt(t->easy, CURLOPT_TCP_KEEPIDLE, 30L);
    (void)curl_easy_setopt(t->easy, CURLOPT_TCP_KEEPINTVL, 10L);
}

/* libcurl's own sockets would be inherited by every program that is started. */
static curl_socket_t open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *at)
{
    (void)arg; /* all are alike */
    (void)purpose;
    return socket(at->family, at->socktype | SOCK_CLOEXEC, at->protocol);
}

static void set_callbacks(struct transfer *t)
{
    (void)curl_easy_setopt(t->easy, CURLOPT_OPENSOCKETFUNCTION, open_socket);
    (void)curl_easy_setopt(t->easy, CURLOPT_PRIVATE, t);
    (void)curl_easy_setopt(t->easy, CURLOPT_ERRORBUFFER, t->error);
    (void)curl_easy_setopt(t->easy, CURLOPT_WRITEFUNCTION, on_write);
    (void)curl_easy_setopt(t->easy, CURLOPT_WRITEDATA, t);
    (void)curl_easy_setopt(t->easy, CURLOPT_HEADERFUNCTION, on_header);
    (void)curl_easy_setopt(t->easy, CURLOPT_HEADERDATA, t);
    set_text(t, CURLOPT_USERAGENT, t->client->user_agent);
}

struct transfer *transfer_start(struct kube_client *c, const struct transfer_request *rq,
                                struct task *owner)
{
    struct transfer *t = mem_new(struct transfer);

    t->client = c;
    t->owner = owner;
    t->result = -EAGAIN;
    t->is_stream = rq->is_stream;
    t->stall_ms = rq->stall_ms;
    bytes_init(&t->in, rq->room);
    t->easy = curl_easy_init();
    if (!t->easy) {
        finish(t, -ENOMEM, "start a request");
        return t;
    }
    set_callbacks(t);
    set_target(t, rq->target);
    set_security(t);
    set_limits(t, rq);
    set_body(t, rq);
    (void)curl_easy_setopt(t->easy, CURLOPT_HTTPHEADER, t->headers);
    touch(t);
    CURLMcode r = curl_multi_add_handle(c->multi, t->easy);
    if (r != CURLM_OK) {
        finish(t, -ENOMEM, curl_multi_strerror(r));
    }
    client_poke(c);
    return t;
}

void transfer_free(struct transfer *t)
{
    if (!t) {
        return;
    }
    timer_clear(&t->stall);
    if (t->easy) {
        (void)curl_multi_remove_handle(t->client->multi,
                                       t->easy); /* fine when it was never added */
        curl_easy_cleanup(t->easy);
        client_poke(t->client);
    }
    curl_slist_free_all(t->headers);
    bytes_fini(&t->in);
    mem_free(t->body);
    mem_free(t);
}

int transfer_status(const struct transfer *t)
{
    if (t->status > 0) {
        return (int)t->status;
    }
    return t->result == 0 ? -ERR_TRUNCATED : t->result;
}

int transfer_result(const struct transfer *t)
{
    if (t->result == -EAGAIN && timer_is_due(&t->stall)) {
        return -ERR_DEADLINE;
    }
    return t->result;
}

uint64_t transfer_retry_after(const struct transfer *t)
{
    curl_off_t s = 0;

    if (!t->easy || curl_easy_getinfo(t->easy, CURLINFO_RETRY_AFTER, &s) != CURLE_OK || s < 0) {
        return 0;
    }
    return (uint64_t)s;
}

const char *transfer_header(const struct transfer *t, const char *name, size_t index)
{
    struct curl_header *h = NULL;

    return t->easy && curl_easy_header(t->easy, name, index, CURLH_HEADER, -1, &h) == CURLHE_OK
               ? h->value
               : NULL;
}

const struct diag *transfer_diag(const struct transfer *t)
{
    return &t->diag;
}

struct slice transfer_data(const struct transfer *t)
{
    return (struct slice){(const char *)bytes_peek(&t->in), t->in.len};
}

void transfer_take(struct transfer *t, size_t len)
{
    bytes_skip(&t->in, len);
    if (t->in.len == 0) {
        bytes_shrink(&t->in);
    }
    if (t->paused && t->in.len < t->in.limit / 2) {
        t->paused = false;
        (void)curl_easy_pause(t->easy, CURLPAUSE_CONT); /* what fails shows in the transfer */
        client_poke(t->client);
    }
}

bool transfer_is_full(const struct transfer *t)
{
    return t->paused;
}
