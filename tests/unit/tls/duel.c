/* SPDX-License-Identifier: Apache-2.0 */
#include "duel.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdlib.h>
#include <string.h>

#include "base/num.h"

static const char *const alpn_h2[] = {"h2"};
static const char *const expect_server[] = {DUEL_SERVER};

static struct mesh mesh;

struct mesh *the_mesh(void)
{
    if (!mesh.ctx) {
        if (tls_ctx_new(&mesh.ctx, NULL, NULL) < 0) {
            abort();
        }
        mesh.root = pki_root(PKI_P256);
        mesh.server = pki_credential(&mesh.root, "server");
        mesh.client = pki_credential(&mesh.root, "client");
    }
    return &mesh;
}

__attribute__((destructor)) static void free_mesh(void)
{
    tls_ctx_free(mesh.ctx);
    pki_free(&mesh.root);
    mesh.server = credential_unref(mesh.server);
    mesh.client = credential_unref(mesh.client);
}

struct handshake_spec duel_client(void)
{
    return (struct handshake_spec){.role = TLS_MESH_CLIENT,
                                   .credential = the_mesh()->client,
                                   .expect = expect_server,
                                   .expect_count = 1,
                                   .alpn = alpn_h2,
                                   .alpn_count = 1};
}

struct handshake_spec duel_server(void)
{
    return (struct handshake_spec){.role = TLS_MESH_SERVER,
                                   .credential = the_mesh()->server,
                                   .alpn = alpn_h2,
                                   .alpn_count = 1};
}

static void step(struct side *s, const void *in, size_t len)
{
    s->state = handshake_step_blocking(s->h, in, len, &s->why);
}

static void take(struct side *s)
{
    if (s->state == HANDSHAKE_DONE) {
        handshake_take_peer(s->h, &s->peer);
        if (handshake_take_record(s->h, &s->record, NULL) < 0) {
            abort();
        }
    }
}

/* The server's output once the client is done belongs to the client's record layer. */
static void read_late(struct duel *d)
{
    struct slice out = handshake_output(d->server.h);
    uint8_t copy[4096];
    struct iovec iov[4];
    struct record_run run = {.iov = iov, .iov_max = 4};

    if (d->client.record && d->server.state == HANDSHAKE_FAILED && out.len <= sizeof(copy)) {
        memcpy(copy, out.p, out.len);
        d->late_alert = record_open(d->client.record, copy, out.len, &run, &d->late_why);
    }
}

int duel_run(struct duel *d, const struct handshake_spec *client,
             const struct handshake_spec *server, size_t cut)
{
    *d = (struct duel){0};
    if (handshake_new(&d->client.h, the_mesh()->ctx, client, &d->client.why) < 0 ||
        handshake_new(&d->server.h, the_mesh()->ctx, server, &d->server.why) < 0) {
        return -ERR_TLS;
    }
    step(&d->client, NULL, 0);
    for (int turn = 0; turn < 8; turn++) {
        struct slice out = handshake_output(d->client.h);
        size_t part = cut ? cut : out.len;
        for (size_t at = 0; at < out.len; at += part) {
            step(&d->server, out.p + at, MIN_OF(part, out.len - at));
        }
        if (d->client.state != HANDSHAKE_WANTS_INPUT || d->server.state == HANDSHAKE_DONE) {
            break;
        }
        out = handshake_output(d->server.h);
        step(&d->client, out.p, out.len);
    }
    take(&d->client);
    take(&d->server);
    read_late(d);
    return 0;
}

static void side_stop(struct side *s)
{
    handshake_free(s->h);
    record_free(s->record);
    tls_peer_fini(&s->peer);
}

void duel_stop(struct duel *d)
{
    side_stop(&d->client);
    side_stop(&d->server);
}

bool duel_done(const struct duel *d)
{
    return d->client.state == HANDSHAKE_DONE && d->server.state == HANDSHAKE_DONE;
}

bool duel_flows(const struct duel *d)
{
    struct record *from[] = {d->client.record, d->server.record};

    for (int i = 0; i < 2; i++) {
        uint8_t run[64] = {0};
        struct iovec iov[1];
        struct record_run got = {.iov = iov, .iov_max = 1};
        memcpy(run + RECORD_HEAD, "hello", 5);
        if (record_seal(from[i], run, 5, NULL) < 0 ||
            record_open(from[1 - i], run, record_run_bytes(5), &got, NULL) < 0 || got.bytes != 5 ||
            memcmp(iov[0].iov_base, "hello", 5) != 0) {
            return false;
        }
    }
    return true;
}
void foreign_start(struct foreign *f, const struct pki_cert *leaf, bool client)
{
    f->ctx = SSL_CTX_new(TLS_method());
    if (leaf) {
        BIO *b = BIO_new_mem_buf(leaf->cert, -1);
        X509 *x = PEM_read_bio_X509(b, NULL, NULL, NULL);
        BIO_free(b);
        b = BIO_new_mem_buf(leaf->key, -1);
        EVP_PKEY *k = PEM_read_bio_PrivateKey(b, NULL, NULL, NULL);
        BIO_free(b);
        if (SSL_CTX_use_certificate(f->ctx, x) != 1 || SSL_CTX_use_PrivateKey(f->ctx, k) != 1) {
            abort();
        }
        X509_free(x);
        EVP_PKEY_free(k);
    }
    f->ssl = SSL_new(f->ctx);
    f->in = BIO_new(BIO_s_mem());
    f->out = BIO_new(BIO_s_mem());
    (void)BIO_set_mem_eof_return(f->in, -1);
    SSL_set_bio(f->ssl, f->in, f->out);
    if (client) {
        SSL_set_connect_state(f->ssl);
    } else {
        SSL_set_accept_state(f->ssl);
    }
}

void foreign_stop(struct foreign *f)
{
    SSL_free(f->ssl);
    SSL_CTX_free(f->ctx);
}

enum handshake_state foreign_meet(struct foreign *f, struct handshake *h, struct diag *why)
{
    enum handshake_state state = HANDSHAKE_WANTS_INPUT;
    static char buf[16384];
    char byte;

    for (int turn = 0; turn < 8; turn++) {
        f->result = SSL_do_handshake(f->ssl);
        if (f->result == 1) {
            f->result = SSL_read(f->ssl, &byte, 1); /* a late alert */
        }
        int n = BIO_read(f->out, buf, sizeof(buf));
        if (n <= 0 && (turn > 0 || SSL_in_connect_init(f->ssl))) {
            break;
        }
        state = handshake_step_blocking(h, buf, n > 0 ? (size_t)n : 0, why);
        struct slice out = handshake_output(h);
        (void)BIO_write(f->in, out.p, (int)out.len);
    }
    return state;
}

int foreign_alert(void)
{
    unsigned long e = 0;
    int alert = 0;

    while ((e = ERR_get_error()) != 0) {
        if (ERR_GET_LIB(e) == ERR_LIB_SSL && ERR_GET_REASON(e) > SSL_AD_REASON_OFFSET) {
            alert = ERR_GET_REASON(e) - SSL_AD_REASON_OFFSET;
        }
    }
    return alert;
}
