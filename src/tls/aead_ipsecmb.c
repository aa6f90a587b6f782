/* SPDX-License-Identifier: Apache-2.0 */
/* libipsec-mb's AES-GCM through its direct calls, which keep no state outside their arguments. */
#include <intel-ipsec-mb.h>
#include <openssl/crypto.h>
#include <pthread.h>
#include <stdint.h>

#include "base/mem.h"
#include "tls/aead_int.h"

/* A fact about the CPU, found once and constant afterwards: the library hands its functions out
 * through a manager of hundreds of KiB, which is not kept. */
struct gcm_calls {
    bool usable;
    aes_gcm_pre_t expand[2];
    aes_gcm_enc_dec_t seal[2];
    aes_gcm_enc_dec_t open[2];
};
static struct gcm_calls calls;
static pthread_once_t calls_once = PTHREAD_ONCE_INIT;

struct aead_mb {
    struct aead base;
    void *block; /* what to free: the key tables want 64-byte alignment */
    aes_gcm_enc_dec_t seal;
    aes_gcm_enc_dec_t open;
    struct gcm_key_data key;
};

enum { ALIGN = 64, BLOCK_BYTES = sizeof(struct aead_mb) + ALIGN };

static void find_calls(void)
{
    const uint64_t needed = IMB_FEATURE_AESNI | IMB_FEATURE_PCLMULQDQ | IMB_FEATURE_AVX;
    MB_MGR *m = alloc_mb_mgr(0);

    if (!m) {
        return;
    }
    /* Without these the library falls back to tables in memory, which is slow and leaks by timing. */
    if ((m->features & needed) == needed) {
        init_mb_mgr_auto(m, NULL);
        calls = (struct gcm_calls){
            .usable = imb_get_errno(m) == 0,
            .expand = {m->gcm128_pre, m->gcm256_pre},
            .seal = {m->gcm128_enc, m->gcm256_enc},
            .open = {m->gcm128_dec, m->gcm256_dec},
        };
    }
    free_mb_mgr(m);
}

static struct aead_mb *of(struct aead *a)
{
    return container_of(a, struct aead_mb, base);
}

static void mb_free(struct aead *a)
{
    mem_free_secret(of(a)->block, BLOCK_BYTES);
}

static int mb_seal(struct aead *a, const struct aead_text *t, uint8_t tag[AEAD_TAG_BYTES])
{
    struct gcm_context_data ctx;

    of(a)->seal(&of(a)->key, &ctx, t->data, aead_from(t), t->len, t->nonce, t->aad, t->aad_len, tag,
                AEAD_TAG_BYTES);
    return 0;
}

static int mb_open(struct aead *a, const struct aead_text *t, const uint8_t tag[AEAD_TAG_BYTES])
{
    uint8_t computed[AEAD_TAG_BYTES];
    struct gcm_context_data ctx;

    of(a)->open(&of(a)->key, &ctx, t->data, aead_from(t), t->len, t->nonce, t->aad, t->aad_len,
                computed, AEAD_TAG_BYTES);
    int differs = CRYPTO_memcmp(computed, tag, AEAD_TAG_BYTES);
    mem_wipe(computed, sizeof(computed)); /* the right tag of a forgery is not to be left around */
    return differs ? -ERR_TLS_RECORD : 0;
}

static const struct aead_ops mb_ops = {.free = mb_free, .seal = mb_seal, .open = mb_open};

int aead_ipsecmb_new(struct aead **out, enum aead_kind kind, const uint8_t *key, struct diag *why)
{
    unsigned at = kind == AEAD_AES_128_GCM ? 0 : 1;

    (void)pthread_once(&calls_once, find_calls); /* fails only for a bad argument */
    if (!calls.usable) {
        return FAIL(why, -ERR_UNSUPPORTED, "this CPU has no AES-NI, PCLMULQDQ or AVX");
    }
    void *block = mem_alloc(BLOCK_BYTES);
    uintptr_t skip = (ALIGN - (uintptr_t)block % ALIGN) % ALIGN;
    struct aead_mb *m = (void *)((char *)block + skip);
    m->base.ops = &mb_ops;
    m->block = block;
    m->seal = calls.seal[at];
    m->open = calls.open[at];
    calls.expand[at](key, &m->key);
    *out = &m->base;
    return 0;
}
