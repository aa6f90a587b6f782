/* SPDX-License-Identifier: Apache-2.0 */
/* An answer that is taken is one whose body stands in the input, whole; a shorter input is never
 * taken for more than it is. */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "base/str.h"
#include "cli/http_get.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;
    struct http_answer whole;
    struct http_answer part;

    if (http_answer_read(text, size, &whole, NULL) < 0) {
        return 0;
    }
    assert(whole.status <= 999 && whole.len <= size);
    assert(whole.len == 0 || memmem(text, size, whole.body, whole.len));
    assert(whole.body[whole.len] == '\0');
    if (size > 0 && http_answer_read(text, size - 1, &part, NULL) == 0) {
        assert(part.status == whole.status && part.len <= whole.len);
        assert(part.len == 0 || memcmp(part.body, whole.body, part.len) == 0);
        http_answer_fini(&part);
    }
    http_answer_fini(&whole);
    return 0;
}
