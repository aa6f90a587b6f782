/* SPDX-License-Identifier: Apache-2.0 */
#include "tls/aead.h"

#include "base/mem.h"
#include "tls/aead_int.h"

int aead_new(struct aead **out, enum aead_kind kind, enum aead_backend backend, const uint8_t *key,
             struct diag *why)
{
    int r = 0;

    switch (backend) {
    case AEAD_EVP:
        return aead_evp_new(out, kind, key, why);
    case AEAD_IPSECMB:
        return aead_ipsecmb_new(out, kind, key, why);
    case AEAD_AUTO:
        r = aead_ipsecmb_new(out, kind, key, NULL);
        return r == -ERR_UNSUPPORTED ? aead_evp_new(out, kind, key, why) : r;
    }
    return FAIL(why, -ERR_UNSUPPORTED, "AEAD back end %d", (int)backend);
}

void aead_free(struct aead *a)
{
    if (a) {
        a->ops->free(a);
    }
}

int aead_seal(struct aead *a, const struct aead_text *text, uint8_t tag[AEAD_TAG_BYTES])
{
    return a->ops->seal(a, text, tag);
}

int aead_open(struct aead *a, const struct aead_text *text, const uint8_t tag[AEAD_TAG_BYTES])
{
    int r = a->ops->open(a, text, tag);

    if (r < 0) {
        mem_wipe(text->data, text->len);
    }
    return r;
}
