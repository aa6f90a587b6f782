/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/secret.h"

bool secret_equal(struct slice a, struct slice b)
{
    unsigned differ = a.len != b.len;

    for (size_t i = 0; i < a.len && i < b.len; i++) {
        differ |= (unsigned)(unsigned char)(a.p[i] ^ b.p[i]);
    }
    return differ == 0;
}
