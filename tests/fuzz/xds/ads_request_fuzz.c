/* SPDX-License-Identifier: Apache-2.0 */
/* A request in pieces is the request in one piece, accepted or refused. The first octet is the size of
 * a piece. */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "base/mem.h"
#include "xds/ads_request.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool same_text(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

static int take(struct ads_request *q, const struct catalog *const *catalogs, const uint8_t *data,
                size_t size, size_t piece)
{
    struct diag why = {0};
    int r = 0;

    ads_request_init(q, catalogs);
    for (size_t at = 0; r == 0 && at < size; at += piece) {
        r = ads_request_feed(q, data + at, size - at < piece ? size - at : piece, &why);
    }
    r = r == 0 ? ads_request_end(q, &why) : r;
    assert(r == 0 || why.code == r);
    return r;
}

static bool same_names(const struct name_set *a, const struct name_set *b)
{
    bool same = a->by_name.count == b->by_name.count && a->bytes == b->bytes;

    name_set_for_each(n, a)
    {
        const struct name_item *i = container_of(n, struct name_item, by_name);
        same &= name_set_has(b, (struct slice){i->name, i->len});
    }
    return same;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    AUTO(catalog) struct catalog *addresses = catalog_new(XDS_TYPE_ADDRESS, true);
    AUTO(catalog) struct catalog *policies = catalog_new(XDS_TYPE_AUTHORIZATION, false);
    const struct catalog *catalogs[ADS_TYPES] = {addresses, policies, policies,
                                                 policies,  policies, policies};
    struct ads_request whole;
    struct ads_request parts;

    if (size < 2) {
        return 0;
    }
    (void)catalog_put(addresses, "a", slice_of("x"));
    (void)catalog_put(policies, "a", slice_of("x"));
    int r = take(&whole, catalogs, data + 1, size - 1, size);
    int p = take(&parts, catalogs, data + 1, size - 1, data[0] > 0 ? data[0] : 1);
    assert((r == 0) == (p == 0));
    if (r == 0) {
        assert(whole.type == parts.type && same_text(whole.type_url, parts.type_url) &&
               same_text(whole.nonce, parts.nonce) && same_text(whole.error, parts.error) &&
               same_text(whole.node.id, parts.node.id) && same_text(whole.node.ns, parts.node.ns) &&
               same_names(&whole.subscribe, &parts.subscribe) &&
               same_names(&whole.unsubscribe, &parts.unsubscribe) &&
               same_names(&whole.gone, &parts.gone));
    }
    ads_request_fini(&whole);
    ads_request_fini(&parts);
    return 0;
}
