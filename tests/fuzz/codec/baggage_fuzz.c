/* SPDX-License-Identifier: Apache-2.0 */
/* The parser against the rule written the long way: of all items with a key, the last one whose
 * text between the first and second '=' is not empty. And what was read writes and reads back. */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "codec/baggage.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const keys[BAGGAGE_KEYS] = {
    "k8s.cluster.name", "k8s.namespace.name",     NULL, "service.name", "service.version",
    "cloud.region",     "cloud.availability_zone"};

/* From the last item backwards. */
static struct slice find(const char *text, size_t size, const char *key)
{
    size_t end = size;

    for (;;) {
        size_t start = end;
        while (start > 0 && text[start - 1] != ',') {
            start--;
        }
        size_t at = start;
        while (at < end && text[at] != '=') {
            at++;
        }
        size_t value = at < end ? at + 1 : end;
        size_t stop = value;
        while (stop < end && text[stop] != '=') {
            stop++;
        }
        if (stop > value && at - start == strlen(key) &&
            memcmp(text + start, key, at - start) == 0) {
            return (struct slice){text + value, stop - value};
        }
        if (start == 0) {
            return (struct slice){NULL, 0};
        }
        end = start - 1;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;
    struct baggage b = {0}, again = {0};
    AUTO(strbuf) struct strbuf out = {0};

    if (baggage_parse(&b, text, size) < 0) {
        return 0;
    }
    for (int k = 0; k < BAGGAGE_KEYS; k++) {
        assert(!keys[k] || slice_equal(b.value[k], find(text, size, keys[k])));
    }
    baggage_format(&out, &b);
    assert(baggage_parse(&again, strbuf_text(&out), out.len) == 0);
    for (int k = 0; k < BAGGAGE_KEYS; k++) {
        /* A tab may not stand in a header that we write. */
        assert(slice_equal(b.value[k], again.value[k]) ||
               memchr(b.value[k].p, '\t', b.value[k].len));
    }
    return 0;
}
