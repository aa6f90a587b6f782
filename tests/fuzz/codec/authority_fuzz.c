/* SPDX-License-Identifier: Apache-2.0 */
/* What is accepted is put together again: the same text for an address, the same parts for a
 * name. */
#include <assert.h>
#include <string.h>

#include "codec/authority.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;
    struct authority a, b;
    char buf[AUTHORITY_TEXT], host[256];

    if (authority_parse(&a, text, size) < 0) {
        return 0;
    }
    assert(a.host.len == 0 || (a.host.p >= text && a.host.p + a.host.len <= text + size));
    /* Everything behind the host is ":" and digits. */
    assert(a.host.len == 0 || a.host.p[a.host.len] == ':');
    assert(!memchr(a.host.p, '@', a.host.len) && !memchr(a.host.p, '/', a.host.len));
    /* A name behind userinfo may look like an address. */
    if (a.host.len >= sizeof(host) || memchr(text, '@', size)) {
        return 0;
    }
    memcpy(host, a.host.p, a.host.len);
    host[a.host.len] = '\0';
    if (a.ip.family != IP_NONE) {
        (void)ip_format(&a.ip, host);
    }
    authority_format(host, a.port, buf);
    assert(authority_parse(&b, buf, strlen(buf)) == 0);
    assert(a.port == b.port);
    if (a.ip.family != IP_NONE) {
        assert(ip_equal(&a.ip, &b.ip));
    } else {
        assert(slice_equal(a.host, b.host));
    }
    return 0;
}
