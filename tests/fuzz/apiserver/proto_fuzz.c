/* SPDX-License-Identifier: Apache-2.0 */
/* Protobuf bodies. Oracle: what decodes is an object that says its kind, prints, and parses again to
 * the same. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "apiserver/proto.h"
#include "codec/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    AUTO(json) struct json *o = NULL;
    AUTO(json) struct json *again = NULL;
    AUTO(strbuf) struct strbuf text = {0};
    struct diag why = {0};

    if (proto_decode((struct slice){(const char *)data, size}, &why, &o) < 0) {
        return 0;
    }
    json_print(o, 0, &text);
    if (json_str_at(o, "kind", "")[0] == '\0' ||
        json_parse(&again, strbuf_text(&text), text.len, NULL, NULL) < 0 || !json_same(o, again)) {
        abort();
    }
    return 0;
}
