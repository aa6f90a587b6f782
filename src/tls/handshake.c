/* SPDX-License-Identifier: Apache-2.0 */
#include "tls/handshake.h"

#include <openssl/err.h>
#include <string.h>

#include "base/mem.h"
#include "tls/handshake_int.h"
#include "tls/ossl_int.h"
#include "tls/record_int.h"
#include "tls/tls_ctx_int.h"

enum { SUITE_AES_128 = 0x1301, SUITE_AES_256 = 0x1302 }; /* RFC 8446 B.4 */

void tls_peer_fini(struct tls_peer *p)
{
    mem_free(p->identity);
    mem_free(p->subject);
    mem_free(p->serial_hex);
    *p = (struct tls_peer){0};
}

static int copy_alpn(struct handshake *h, const struct handshake_spec *spec, struct diag *why)
{
    for (unsigned i = 0; i < spec->alpn_count; i++) {
        size_t len = strlen(spec->alpn[i]);
        if (len == 0 || len >= sizeof(h->peer.alpn) || i == HANDSHAKE_ALPN_MAX) {
            return FAIL(why, -ERR_RANGE, "use ALPN name %s", spec->alpn[i]);
        }
        h->alpn[h->alpn_len++] = (uint8_t)len;
        memcpy(h->alpn + h->alpn_len, spec->alpn[i], len);
        h->alpn_len += (unsigned)len;
    }
    return 0;
}

static void copy_expect(struct handshake *h, const struct handshake_spec *spec)
{
    h->expect = mem_array(spec->expect_count, sizeof(*h->expect));
    for (; h->expect_count < spec->expect_count; h->expect_count++) {
        h->expect[h->expect_count] = mem_strdup(spec->expect[h->expect_count]);
    }
}

static int check_mesh(const struct handshake_spec *spec, struct diag *why)
{
    if (!spec->credential || !credential_identity(spec->credential)) {
        return FAIL(why, -ERR_CERTIFICATE, "join the mesh without a SPIFFE name of our own");
    }
    if (spec->role == TLS_MESH_CLIENT &&
        (spec->expect_count == 0 || spec->expect_count > HANDSHAKE_EXPECT_MAX)) {
        return FAIL(why, -ERR_RANGE, "expect %u identities, 1 to %d", spec->expect_count,
                    HANDSHAKE_EXPECT_MAX);
    }
    return 0;
}

static int check_spec(const struct handshake_spec *spec, struct diag *why)
{
    switch (spec->role) {
    case TLS_MESH_CLIENT:
    case TLS_MESH_SERVER:
        return check_mesh(spec, why);
    case TLS_HOST_CLIENT:
        return spec->host && spec->trust
                   ? 0
                   : FAIL(why, -ERR_RANGE, "verify a server without its name or root");
    case TLS_HOST_SERVER:
        break;
    }
    return spec->credential ? 0 : FAIL(why, -ERR_RANGE, "serve TLS without a certificate");
}

static struct trust *trust_for(const struct handshake_spec *spec)
{
    bool host = spec->role == TLS_HOST_CLIENT || spec->role == TLS_HOST_SERVER;
    struct trust *t = host ? spec->trust : credential_trust(spec->credential);

    return t ? trust_ref(t) : NULL;
}

int handshake_new(struct handshake **out, struct tls_ctx *ctx, const struct handshake_spec *spec,
                  struct diag *why)
{
    int r = check_spec(spec, why);

    if (r < 0) {
        return r;
    }
    AUTO(handshake) struct handshake *h = mem_new(struct handshake);
    h->ctx = ctx;
    h->role = spec->role;
    h->credential = spec->credential ? credential_ref(spec->credential) : NULL;
    h->trust = trust_for(spec);
    h->host = spec->host ? mem_strdup(spec->host) : NULL;
    h->server_name = spec->server_name ? mem_strdup(spec->server_name) : NULL;
    copy_expect(h, spec);
    r = copy_alpn(h, spec, why);
    if (r < 0) {
        return r;
    }
    *out = MOVE(h);
    return 0;
}

void handshake_free(struct handshake *h)
{
    if (!h) {
        return;
    }
    SSL_free(h->ssl);
    h->credential = credential_unref(h->credential);
    h->trust = trust_unref(h->trust);
    for (unsigned i = 0; i < h->expect_count; i++) {
        mem_free(h->expect[i]);
    }
    mem_free(h->expect);
    mem_free(h->host);
    mem_free(h->server_name);
    tls_peer_fini(&h->peer);
    mem_free_secret(h, sizeof(*h));
}

static enum handshake_state failed(struct handshake *h, int r)
{
    h->state = HANDSHAKE_FAILED;
    h->error = r;
    return h->state;
}

/* What libssl stopped at: the peer was refused, the peer refused us, or something else. */
static int explain(struct handshake *h, struct diag *why)
{
    int reason = ERR_GET_REASON(ERR_peek_error());

    if (h->verify_error < 0) {
        ERR_clear_error();
        return FAIL(why, h->verify_error, "%s", h->verify_diag.text);
    }
    if (reason > SSL_AD_REASON_OFFSET) {
        int alert = reason - SSL_AD_REASON_OFFSET;
        ERR_clear_error();
        return FAIL(why, -ERR_TLS_ALERT, "peer sent TLS alert %d (%s)", alert,
                    SSL_alert_desc_string_long(alert));
    }
    return ossl_fail(why, -ERR_TLS, "TLS handshake");
}

/* A server may answer only what was offered (RFC 7301 3.1); libssl does not check. */
static bool was_offered(const struct handshake *h, const unsigned char *name, unsigned len)
{
    for (unsigned at = 0; at < h->alpn_len; at += 1u + h->alpn[at]) {
        if (h->alpn[at] == len && memcmp(h->alpn + at + 1, name, len) == 0) {
            return true;
        }
    }
    return false;
}

static int note_alpn(struct handshake *h, struct diag *why)
{
    const unsigned char *name = NULL;
    unsigned len = 0;

    SSL_get0_alpn_selected(h->ssl, &name, &len);
    if (len > 0 && (len >= sizeof(h->peer.alpn) || !was_offered(h, name, len))) {
        return FAIL(why, -ERR_TLS, "peer chose an ALPN name that was not offered");
    }
    if (len > 0) {
        memcpy(h->peer.alpn, name, len);
    }
    return 0;
}

static enum aead_kind kind_of(const struct handshake *h)
{
    uint16_t id = SSL_CIPHER_get_protocol_id(SSL_get_current_cipher(h->ssl));

    return id == SUITE_AES_128 ? AEAD_AES_128_GCM : AEAD_AES_256_GCM;
}

static int conclude(struct handshake *h, struct diag *why)
{
    const SSL_CIPHER *suite = SSL_get_current_cipher(h->ssl);
    uint16_t id = SSL_CIPHER_get_protocol_id(suite);
    size_t want = record_secret_bytes(kind_of(h));

    h->peer.suite = SSL_CIPHER_standard_name(suite);
    if ((id != SUITE_AES_128 && id != SUITE_AES_256) || h->client_secret_len != want ||
        h->server_secret_len != want || SSL_has_pending(h->ssl)) {
        return FAIL(why, -ERR_TLS, "take the session of suite %s over", h->peer.suite);
    }
    return note_alpn(h, why);
}

static enum handshake_state advance(struct handshake *h, struct diag *why)
{
    ERR_clear_error();
    int r = SSL_do_handshake(h->ssl);
    if (r != 1) {
        bool later = SSL_get_error(h->ssl, r) == SSL_ERROR_WANT_READ;
        return later ? HANDSHAKE_WANTS_INPUT : failed(h, explain(h, why));
    }
    r = conclude(h, why);
    if (r < 0) {
        (void)BIO_reset(
            h->out); /* our side of it must not look finished; a memory BIO's never fails */
        return failed(h, r);
    }
    h->state = HANDSHAKE_DONE;
    return h->state;
}

/* Text of another protocol is told so at once (recorded: decode_error); libssl would say nothing. */
static bool is_foreign(const struct handshake *h, const uint8_t *in, size_t len)
{
    return h->input_bytes == 0 && len > 0 && in[0] != CONTENT_HANDSHAKE && in[0] != CONTENT_ALERT;
}

static enum handshake_state refuse_foreign(struct handshake *h, struct diag *why)
{
    static const char alert[] = {CONTENT_ALERT, 3, 3, 0, 2, 2, TLS_ALERT_DECODE_ERROR};

    h->alert = (struct slice){alert, sizeof(alert)};
    return failed(h, FAIL(why, -ERR_TLS, "peer does not speak TLS"));
}

static int feed(struct handshake *h, const uint8_t *in, size_t len, struct diag *why)
{
    h->input_bytes += len;
    if (h->input_bytes > HANDSHAKE_INPUT_MAX || ++h->steps > HANDSHAKE_STEPS_MAX) {
        return FAIL(why, -ERR_TOO_LARGE, "TLS handshake is longer than %d bytes or %d steps",
                    HANDSHAKE_INPUT_MAX, HANDSHAKE_STEPS_MAX);
    }
    if (len > 0 && BIO_write(h->in, in, (int)len) != (int)len) {
        return FAIL(why, -ENOMEM, "TLS handshake");
    }
    return 0;
}

enum handshake_state handshake_step_blocking(struct handshake *h, const void *in, size_t len,
                                             struct diag *why)
{
    int r = 0;

    if (h->state != HANDSHAKE_WANTS_INPUT) {
        return h->state;
    }
    if (is_foreign(h, in, len)) {
        return refuse_foreign(h, why);
    }
    if (!h->ssl) {
        r = handshake_setup(h, why);
    } else {
        (void)BIO_reset(h->out); /* sent since the last step; a memory BIO's never fails */
    }
    if (r == 0) {
        r = feed(h, in, len, why);
    }
    return r < 0 ? failed(h, r) : advance(h, why);
}

int handshake_error(const struct handshake *h)
{
    return h->error;
}

static struct slice content(BIO *b)
{
    char *p = NULL;
    long len = b ? BIO_get_mem_data(b, &p) : 0;

    return (struct slice){p, len > 0 ? (size_t)len : 0};
}

struct slice handshake_output(const struct handshake *h)
{
    return h->alert.p ? h->alert : content(h->out);
}

struct slice handshake_leftover(const struct handshake *h)
{
    return content(h->in);
}

int handshake_take_record(struct handshake *h, struct record **out, struct diag *why)
{
    bool client = role_is_client(h->role);
    struct record_setup setup = {
        .kind = kind_of(h),
        .backend = h->ctx->backend,
        .seal_secret = client ? h->client_secret : h->server_secret,
        .open_secret = client ? h->server_secret : h->client_secret,
        .limits = h->ctx->limits,
    };

    return record_new(out, &setup, why);
}

void handshake_take_peer(struct handshake *h, struct tls_peer *out)
{
    *out = h->peer;
    h->peer = (struct tls_peer){0};
}
