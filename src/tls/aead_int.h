/* SPDX-License-Identifier: Apache-2.0 */
/* What a back end gives to aead.c. */
#pragma once

#include "tls/aead.h"

struct aead_ops {
    void (*free)(struct aead *a);
    int (*seal)(struct aead *a, const struct aead_text *text, uint8_t tag[AEAD_TAG_BYTES]);
    int (*open)(struct aead *a, const struct aead_text *text, const uint8_t tag[AEAD_TAG_BYTES]);
};

struct aead { /* first in each back end's own struct */
    const struct aead_ops *ops;
};

static inline const uint8_t *aead_from(const struct aead_text *t)
{
    return t->from ? t->from : t->data;
}

MUST_USE int aead_evp_new(struct aead **out, enum aead_kind kind, const uint8_t *key,
                          struct diag *why);
/* -ERR_UNSUPPORTED where the CPU lacks what makes it fast and free of secret-dependent timing. */
MUST_USE int aead_ipsecmb_new(struct aead **out, enum aead_kind kind, const uint8_t *key,
                              struct diag *why);
