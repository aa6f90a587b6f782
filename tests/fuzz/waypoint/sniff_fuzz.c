/* SPDX-License-Identifier: Apache-2.0 */
/* What a beginning was taken for, no continuation changes; what is HTTP/1.x starts like a request line. */
#include <stdlib.h>
#include <string.h>

#include "waypoint/sniff.h"

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
    const char *p = (const char *)data;
    enum sniffed before = SNIFF_MORE;

    for (size_t n = 0; n <= size && n < 256; n++) {
        enum sniffed now = sniff(p, n);
        if (before != SNIFF_MORE && now != before) {
            abort();
        }
        if (now == SNIFF_H1 && !memmem(p, n, " HTTP/1.", 8)) {
            abort();
        }
        if (now == SNIFF_H2 && sniff_http(p, n) != SNIFF_H2) {
            abort();
        }
        if (sniff_http(p, n) == SNIFF_TCP) {
            abort();
        }
        before = now;
    }
    return 0;
}
