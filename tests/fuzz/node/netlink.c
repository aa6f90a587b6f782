/* SPDX-License-Identifier: Apache-2.0 */
/* Answers of a kernel. Oracle: what is read lies within what was given, in order and without overlap;
 * what is written again reads the same; a rule says what itself says. */
#include <assert.h>
#include <linux/netlink.h>
#include <string.h>

#include "node/nl_batch.h"
#include "node/nl_read.h"
#include "node/rules_set.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_within(const uint8_t *data, size_t size, const struct nl_reader *r)
{
    assert(r->p >= data && r->p <= data + size && r->left <= (size_t)(data + size - r->p));
}

static void check_attrs(const uint8_t *data, size_t size, struct nl_reader r)
{
    AUTO(nl_batch) struct nl_batch again;
    struct nl_reader first = r;
    struct nl_attr a;
    unsigned count = 0;

    nl_batch_init(&again);
    nl_message(&again, 1, 0, "", 0);
    while (nl_read_attr(&r, &a) > 0) {
        check_within(data, size, &a.value);
        nl_put(&again, a.type, a.value.p, a.value.left);
        count++;
    }
    if (!nl_batch_is_whole(&again)) {
        return;
    }
    struct nl_reader bytes = nl_reader_of(again.bytes.p, again.bytes.len);
    struct nl_view v;
    int n = nl_read_message(&bytes, &v);
    assert(n == 1 && bytes.left == 0);
    struct nl_attr b;
    for (unsigned i = 0; i < count; i++) {
        n = nl_read_attr(&first, &a);
        assert(n == 1);
        n = nl_read_attr(&v.body, &b);
        assert(n == 1 && a.type == b.type && a.value.left == b.value.left &&
               memcmp(a.value.p, b.value.p, a.value.left) == 0);
    }
    assert(v.body.left == 0);
}

/* Deeper than anything of ours, the comparison gives up and says no. */
static bool is_flat(struct nl_reader r)
{
    struct nl_attr a;

    while (nl_read_attr(&r, &a) > 0) {
        if (a.nested) {
            return false;
        }
    }
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct nl_reader r = nl_reader_of(data, size);
    const uint8_t *last = data;
    struct nl_verdict verdict;
    struct nl_view v;

    while (nl_read_message(&r, &v) > 0) {
        check_within(data, size, &v.body);
        assert(v.body.p > last);
        last = v.body.p;
        check_attrs(data, size, v.body);
        assert(!is_flat(v.body) || rules_set_says(v.body, v.body));
        (void)rules_set_says(v.body, nl_reader_of(data, size));
        if (v.type == NLMSG_ERROR && nl_read_verdict(&v, &verdict) == 0) {
            assert(verdict.code <= 0);
            struct nl_reader words = nl_reader_of(verdict.words.p, verdict.words.len);
            if (verdict.words.len > 0) {
                check_within(data, size, &words);
            }
        }
    }
    return 0;
}
