/* SPDX-License-Identifier: Apache-2.0 */
#include "tls/spiffe.h"

#include <string.h>

static const char scheme[] = "spiffe://";

int spiffe_parse(struct spiffe *out, struct slice uri)
{
    struct slice part[5];
    struct slice rest = uri;

    if (uri.len > SPIFFE_URI_MAX || !slice_has_prefix(uri, scheme) ||
        memchr(uri.p, '\0', uri.len)) {
        return -ERR_SYNTAX;
    }
    rest.p += sizeof(scheme) - 1;
    rest.len -= sizeof(scheme) - 1;
    for (unsigned i = 0; i < 4; i++) {
        if (!slice_cut(rest, '/', &part[i], &rest)) {
            return -ERR_SYNTAX;
        }
    }
    if (slice_cut(rest, '/', &part[4], &rest) || !slice_is(part[1], "ns") ||
        !slice_is(part[3], "sa")) {
        return -ERR_SYNTAX;
    }
    *out = (struct spiffe){.trust_domain = part[0], .ns = part[2], .sa = part[4]};
    return 0;
}
