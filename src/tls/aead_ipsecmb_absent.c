/* SPDX-License-Identifier: Apache-2.0 */
/* In place of aead_ipsecmb.c where the library does not exist: other CPUs than x86-64. */
#include "tls/aead_int.h"

int aead_ipsecmb_new(struct aead **out UNUSED, enum aead_kind kind UNUSED,
                     const uint8_t *key UNUSED, struct diag *why)
{
    return FAIL(why, -ERR_UNSUPPORTED, "built without libipsec-mb");
}
