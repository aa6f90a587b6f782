/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One TLS session over loopback TCP by the code under test, for tests against foreign TLS programs:
 *
 *     tls_peer ROLE --chain F --key F --roots F [--listen | --connect PORT] [--echo | --send N] ...
 *
 * ROLE is mesh-client, mesh-server, host-client or host-server. --listen prints "port N" first. The
 * last line of output is one JSON object that says how it went; the exit status is 0 unless the
 * program was called wrongly.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/num.h"
#include "io/pump.h"
#include "io/tcp_stream.h"
#include "tls/tls_stream.h"

enum { LINE = 64, DEADLINE_MS = 20000 };

struct options {
    enum tls_role role;
    const char *chain, *key, *roots, *host, *suites, *groups;
    const char *expect[8];
    unsigned expect_count;
    const char *alpn[2];
    unsigned alpn_count;
    uint64_t update_records;
    enum aead_backend backend;
    int connect_port; /* 0: listen */
    bool echo, ask;
    size_t send;
};

struct session {
    struct task task;
    struct timer deadline;
    struct loop *loop;
    struct stream *s;
    struct options o;
    struct pump pump; /* echo: from the stream into itself */
    size_t sent, received;
    bool wrong, over;
    int result;
};

static void usage(const char *why)
{
    (void)fprintf(stderr, "tls_peer: %s\n", why);
    exit(2);
}

/* Lines of text, so that line-minded programs pass them on unchanged. */
static char pattern(size_t at)
{
    return (char)(at % LINE == LINE - 1 ? '\n' : 'a' + (char)(at / LINE * 7 + at) % 23);
}

static void finish(struct session *p, int result)
{
    p->over = true;
    p->result = result;
    loop_stop(p->loop);
}

static int send_more(struct session *p)
{
    struct iovec v[32];
    int r = 0;

    while (p->sent < p->o.send) {
        int count = stream_reserve(p->s, v, 32, p->o.send - p->sent);
        size_t n = 0;
        if (count < 0) {
            return count;
        }
        for (int i = 0; i < count; i++) {
            for (size_t b = 0; b < v[i].iov_len; b++, n++) {
                ((char *)v[i].iov_base)[b] = pattern(p->sent + n);
            }
        }
        stream_commit(p->s, n);
        p->sent += n;
        r = stream_flush(p->s);
        if (r < 0) {
            return r;
        }
    }
    return 0;
}

/* 0 once everything came back or the peer ended. */
static int receive(struct session *p)
{
    struct iovec v[32];

    while (p->received < p->o.send) {
        int count = stream_peek(p->s, v, 32);
        size_t n = 0;
        if (count <= 0) {
            return count < 0 ? count : -ERR_TRUNCATED;
        }
        for (int i = 0; i < count; i++) {
            for (size_t b = 0; b < v[i].iov_len; b++, n++) {
                p->wrong |= ((char *)v[i].iov_base)[b] != pattern(p->received + n);
            }
        }
        stream_skip(p->s, n);
        p->received += n;
    }
    return 0;
}

static void run(struct task *t, unsigned why)
{
    struct session *p = container_of(t, struct session, task);
    int r = 0;

    (void)why;
    if (timer_is_due(&p->deadline)) {
        finish(p, -ERR_DEADLINE);
        return;
    }
    if (p->o.echo) {
        r = pump_run(&p->pump, p->s, p->s, p->loop, 1 << 20);
        if (r == PUMP_AGAIN) {
            task_wake(t, WAKE_IO);
        }
        if (r == PUMP_FINISHED || r < 0) {
            finish(p, r < 0 ? r : 0);
        }
        return;
    }
    int out = send_more(p);
    int in = receive(p);
    r = in < 0 && in != -EAGAIN ? in : out < 0 && out != -EAGAIN ? out : in;
    if (r != -EAGAIN) {
        finish(p, r);
    }
}

static char *slurp(const char *path)
{
    char *text = mem_alloc(CERT_PEM_MAX);
    FILE *f = path ? fopen(path, "re") : NULL;

    if (!f) {
        usage("a file is missing or cannot be read");
    }
    text[fread(text, 1, CERT_PEM_MAX - 1, f)] = '\0';
    (void)fclose(f);
    return text;
}

static int take_socket(const struct options *o)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(a);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    a.sin_port = htons((uint16_t)o->connect_port);
    if (o->connect_port) {
        if (connect(fd, (struct sockaddr *)&a, len) < 0) {
            usage("cannot connect");
        }
    } else {
        if (bind(fd, (struct sockaddr *)&a, len) < 0 || listen(fd, 1) < 0 ||
            getsockname(fd, (struct sockaddr *)&a, &len) < 0) {
            usage("cannot listen");
        }
        printf("port %u\n", ntohs(a.sin_port));
        (void)fflush(stdout);
        int listener = fd;
        fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        (void)close(listener);
    }
    (void)fcntl(fd, F_SETFL, O_NONBLOCK);
    return fd;
}

static enum tls_role role_of(const char *s)
{
    static const char *const names[] = {"mesh-client", "mesh-server", "host-client", "host-server"};

    for (unsigned i = 0; i < ARRAY_LEN(names); i++) {
        if (strcmp(s, names[i]) == 0) {
            return (enum tls_role)i;
        }
    }
    usage("unknown role");
    return TLS_MESH_CLIENT;
}

static uint64_t number(const char *s)
{
    uint64_t n = 0;

    if (num_parse_u64(s, strlen(s), UINT64_MAX, &n) < 0) {
        usage("not a number");
    }
    return n;
}

static void take_option(struct options *o, int c)
{
    switch (c) {
    case 'c':
        o->chain = optarg;
        break;
    case 'k':
        o->key = optarg;
        break;
    case 'r':
        o->roots = optarg;
        break;
    case 'x':
        o->expect[o->expect_count++ % 8] = optarg;
        break;
    case 'h':
        o->host = optarg;
        break;
    case 'a':
        o->alpn[o->alpn_count++ % 2] = optarg;
        break;
    case 'u':
        o->update_records = number(optarg);
        break;
    case 's':
        o->suites = optarg;
        break;
    case 'g':
        o->groups = optarg;
        break;
    case 'b':
        o->backend = strcmp(optarg, "evp") == 0 ? AEAD_EVP : AEAD_IPSECMB;
        break;
    case 'p':
        o->connect_port = (int)number(optarg);
        break;
    case 'l':
        break;
    case 'e':
        o->echo = true;
        break;
    case 'n':
        o->send = number(optarg);
        break;
    case 'q':
        o->ask = true;
        break;
    default:
        usage("unknown option");
    }
}

static void parse(struct options *o, int argc, char **argv)
{
    static const struct option names[] = {
        {"chain", 1, NULL, 'c'},   {"key", 1, NULL, 'k'},     {"roots", 1, NULL, 'r'},
        {"expect", 1, NULL, 'x'},  {"host", 1, NULL, 'h'},    {"alpn", 1, NULL, 'a'},
        {"update", 1, NULL, 'u'},  {"suites", 1, NULL, 's'},  {"groups", 1, NULL, 'g'},
        {"backend", 1, NULL, 'b'}, {"connect", 1, NULL, 'p'}, {"listen", 0, NULL, 'l'},
        {"echo", 0, NULL, 'e'},    {"send", 1, NULL, 'n'},    {"ask", 0, NULL, 'q'},
        {NULL, 0, NULL, 0}};
    int c = 0;

    if (argc < 2) {
        usage("which role?");
    }
    o->role = role_of(argv[1]);
    optind = 2;
    while ((c = getopt_long(argc, argv, "", names, NULL)) != -1) {
        take_option(o, c);
    }
}

static void put_json(const char *key, const char *value)
{
    printf(", \"%s\": ", key);
    if (!value) {
        printf("null");
        return;
    }
    putchar('"');
    for (; *value; value++) {
        printf(*value == '"' || *value == '\\' ? "\\%c" : "%c", *value);
    }
    putchar('"');
}

static void report(const struct session *p)
{
    const struct tls_peer *peer = tls_stream_peer(p->s);
    struct record_stats stats;

    tls_stream_stats(p->s, &stats);
    printf("{\"result\": \"%s\"", p->result < 0 ? err_name(p->result) : "ok");
    put_json("text", p->result < 0 ? stream_diag(p->s)->text : "");
    put_json("identity", peer ? peer->identity : NULL);
    put_json("alpn", peer ? peer->alpn : NULL);
    put_json("suite", peer ? peer->suite : NULL);
    printf(", \"sent\": %zu, \"received\": %zu, \"wrong\": %s", p->sent, p->received,
           p->wrong ? "true" : "false");
    printf(", \"echoed\": %llu, \"updates_sent\": %llu, \"updates_received\": %llu, \"tickets\": "
           "%llu}\n",
           (unsigned long long)p->pump.moved, (unsigned long long)stats.key_updates_sent,
           (unsigned long long)stats.key_updates_received, (unsigned long long)stats.tickets);
}

struct material {
    char *chain, *key, *roots;
    struct credential *credential;
    struct trust *trust;
};

static void load(struct material *m, const struct options *o)
{
    struct diag why = {0};
    int r = 0;

    m->roots = slurp(o->roots);
    if (o->chain) {
        m->chain = slurp(o->chain);
        m->key = slurp(o->key);
        struct credential_source source = {.chain_pem = slice_of(m->chain),
                                           .key_pem = slice_of(m->key),
                                           .roots_pem = slice_of(m->roots)};
        r = credential_new(&m->credential, &source, &why);
    }
    if (r == 0 && (o->role == TLS_HOST_CLIENT || o->ask)) {
        r = trust_new(&m->trust, slice_of(m->roots), &why);
    }
    if (r < 0) {
        usage(why.text);
    }
}

static void unload(struct material *m)
{
    mem_free(m->chain);
    mem_free(m->key);
    mem_free(m->roots);
    m->credential = credential_unref(m->credential);
    m->trust = trust_unref(m->trust);
}

static struct handshake_spec spec_of(const struct session *p, const struct material *m)
{
    return (struct handshake_spec){.role = p->o.role,
                                   .credential = m->credential,
                                   .trust = m->trust,
                                   .expect = p->o.expect,
                                   .expect_count = p->o.expect_count,
                                   .host = p->o.host,
                                   .alpn = p->o.alpn,
                                   .alpn_count = p->o.alpn_count};
}

/* A clean close may have to linger. */
static void close_and_linger(struct session *p)
{
    bool clean = p->result == 0;

    pump_fini(&p->pump);
    timer_clear(&p->deadline);
    task_fini(&p->task);
    stream_close(p->s, clean ? 0 : p->result);
    for (int i = 0; clean && i < 100; i++) {
        (void)loop_turn(p->loop, 1);
    }
}

int main(int argc, char **argv)
{
    struct session p = {0};
    struct material m = {0};
    struct tls_ctx *ctx = NULL;

    parse(&p.o, argc, argv);
    load(&m, &p.o);
    struct tls_options options = {.backend = p.o.backend,
                                  .limits = {.update_records = p.o.update_records},
                                  .suites = p.o.suites,
                                  .groups = p.o.groups};
    if (tls_ctx_new(&ctx, &options, NULL) < 0) {
        usage("no such suite or group");
    }
    p.loop = loop_new(NULL);
    struct jobs *pool = jobs_new(1, 10, 10, NULL);
    struct tls_loop *tls = tls_loop_new(p.loop, pool, ctx, NULL);
    struct handshake_spec spec = spec_of(&p, &m);
    p.s = tls_stream_new(tls, tcp_stream_new(p.loop, take_socket(&p.o)), &spec, 1);
    pump_init(&p.pump, p.s, p.s);
    task_init(&p.task, p.loop, "peer", run);
    stream_own(p.s, &p.task);
    timer_set(&p.deadline, &p.task, DEADLINE_MS);
    task_wake(&p.task, WAKE_START);
    loop_run(p.loop);
    report(&p);
    close_and_linger(&p);
    tls_loop_free(tls);
    jobs_free(pool);
    tls_ctx_free(ctx);
    loop_free(p.loop);
    unload(&m);
    return 0;
}
