/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a mutual handshake costs, without sockets: `bench_shake COUNT` does so many of them, a client
 * and a server each under a chain of leaf, intermediate and root, and prints microseconds of CPU of
 * each side. For instructions, which other work on the machine does not change:
 * `valgrind --tool=callgrind bench_shake 20` and `bench_shake 120`, a hundredth of the difference.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "pki.h"
#include "tls/handshake.h"

static const char SERVER[] = "spiffe://cluster.local/ns/shop/sa/server";
static const char *const alpn[] = {"h2"};
static const char *const expect[] = {SERVER};

struct side {
    struct handshake *h;
    enum handshake_state state;
    double us;
};

static double cpu_us(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static void step(struct side *s, struct slice in)
{
    struct diag why = {.code = 0};
    double from = cpu_us();

    s->state = handshake_step_blocking(s->h, in.p, in.len, &why);
    s->us += cpu_us() - from;
    if (s->state == HANDSHAKE_FAILED) {
        (void)fprintf(stderr, "handshake: %s\n", why.text);
        exit(1);
    }
}

static void start(struct side *s, struct tls_ctx *ctx, const struct handshake_spec *spec)
{
    double from = cpu_us();

    if (handshake_new(&s->h, ctx, spec, NULL) < 0) {
        exit(1);
    }
    s->us += cpu_us() - from;
}

static void finish(struct side *s)
{
    struct record *r = NULL;
    struct tls_peer peer;
    double from = cpu_us();

    handshake_take_peer(s->h, &peer);
    if (handshake_take_record(s->h, &r, NULL) < 0) {
        exit(1);
    }
    record_free(r);
    tls_peer_fini(&peer);
    handshake_free(s->h);
    s->us += cpu_us() - from;
}

static void run_one(struct tls_ctx *ctx, const struct handshake_spec spec[2], struct side side[2])
{
    struct side *client = &side[0];
    struct side *server = &side[1];

    start(client, ctx, &spec[0]);
    start(server, ctx, &spec[1]);
    step(client, (struct slice){NULL, 0});
    while (server->state != HANDSHAKE_DONE || client->state != HANDSHAKE_DONE) {
        step(server, handshake_output(client->h));
        if (client->state != HANDSHAKE_DONE) {
            step(client, handshake_output(server->h));
        }
    }
    finish(client);
    finish(server);
    client->state = server->state = HANDSHAKE_WANTS_INPUT;
}

static struct credential *credential_of(const char *san, const struct pki_cert *root,
                                        const struct pki_cert *middle)
{
    struct pki_cert leaf = pki_make(&(struct pki_spec){.san = san}, middle);
    char *chain = NULL;
    struct credential *c = NULL;

    if (asprintf(&chain, "%s%s", leaf.cert, middle->cert) < 0 ||
        credential_new(&c,
                       &(struct credential_source){.chain_pem = slice_of(chain),
                                                   .roots_pem = slice_of(root->cert),
                                                   .key_pem = slice_of(leaf.key)},
                       NULL) < 0) {
        exit(1);
    }
    free(chain);
    pki_free(&leaf);
    return c;
}

int main(int argc, char **argv)
{
    long count = argc == 2 ? strtol(argv[1], NULL, 10) : 0;
    struct pki_cert root = pki_root(PKI_P256);
    struct pki_cert middle =
        pki_make(&(struct pki_spec){.subject = "middle", .is_ca = true}, &root);
    struct credential *client =
        credential_of("URI:spiffe://cluster.local/ns/shop/sa/client", &root, &middle);
    struct credential *server =
        credential_of("URI:spiffe://cluster.local/ns/shop/sa/server", &root, &middle);
    AUTO(tls_ctx) struct tls_ctx *ctx = NULL;
    const struct handshake_spec spec[2] = {
        {.role = TLS_MESH_CLIENT,
         .credential = client,
         .expect = expect,
         .expect_count = 1,
         .alpn = alpn,
         .alpn_count = 1},
        {.role = TLS_MESH_SERVER, .credential = server, .alpn = alpn, .alpn_count = 1}};
    struct side side[2] = {0};

    if (count < 1 || tls_ctx_new(&ctx, NULL, &(struct diag){.code = 0}) < 0) {
        (void)fprintf(stderr, "usage: bench_shake COUNT\n");
        return 2;
    }
    for (long i = 0; i < count; i++) {
        run_one(ctx, spec, side);
    }
    (void)printf("us of CPU per handshake: client %.1f, server %.1f\n", side[0].us / (double)count,
                 side[1].us / (double)count);
    credential_unref(client);
    credential_unref(server);
    pki_free(&root);
    pki_free(&middle);
    return 0;
}
