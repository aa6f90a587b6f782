/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzz: what a peer sends in a handshake, to either role, in any cuts. Oracle: nobody gets in (no
 * input can hold a signature by our root's leaf over a transcript with fresh randoms), a failure has
 * a code and a text, and what is answered is made of TLS records.
 */
#include "tls/handshake.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/num.h"
#include "pki.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const expected[] = {"spiffe://cluster.local/ns/shop/sa/server"};
static const char *const alpn[] = {"h2"};
static struct tls_ctx *ctx;
static struct credential *credential;

static void prepare(void)
{
    struct pki_cert root = pki_root(PKI_P256);

    credential = pki_credential(&root, "server");
    pki_free(&root);
    if (tls_ctx_new(&ctx, NULL, NULL) < 0) {
        abort();
    }
}

static void check_output(struct slice out)
{
    while (out.len > 0) {
        assert(out.len >= 5);
        uint8_t type = (uint8_t)out.p[0];
        size_t len = 5u + be16_get((const uint8_t *)out.p + 3);
        assert(type >= 20 && type <= 23 && len <= out.len);
        out.p += len;
        out.len -= len;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct handshake *h = NULL;
    struct diag why = {0};

    if (!ctx) {
        prepare();
    }
    if (size < 2) {
        return 0;
    }
    bool client = data[0] & 1;
    size_t piece = 1u + data[1] * 8u;
    struct handshake_spec spec = {.role = client ? TLS_MESH_CLIENT : TLS_MESH_SERVER,
                                  .credential = credential,
                                  .expect = expected,
                                  .expect_count = 1,
                                  .alpn = alpn,
                                  .alpn_count = 1};
    if (handshake_new(&h, ctx, &spec, NULL) < 0) {
        abort();
    }
    enum handshake_state state =
        client ? handshake_step_blocking(h, NULL, 0, &why) : HANDSHAKE_WANTS_INPUT;
    for (size_t at = 2; at < size && state == HANDSHAKE_WANTS_INPUT; at += piece) {
        state = handshake_step_blocking(h, data + at, MIN_OF(piece, size - at), &why);
        check_output(handshake_output(h));
    }
    assert(state != HANDSHAKE_DONE);
    assert(state == HANDSHAKE_WANTS_INPUT || (handshake_error(h) < 0 && why.text[0]));
    handshake_free(h);
    return 0;
}
