/* SPDX-License-Identifier: Apache-2.0 */
/* Statuses: names, text encoding, and what the errors of the layers below amount to. */
#include <string.h>

#include "base/ascii.h"
#include "base/num.h"
#include "rpc/grpc_int.h"

static const char *const names[] = {
    "OK",       "Cancelled",      "Unknown",          "InvalidArgument",   "DeadlineExceeded",
    "NotFound", "AlreadyExists",  "PermissionDenied", "ResourceExhausted", "FailedPrecondition",
    "Aborted",  "OutOfRange",     "Unimplemented",    "Internal",          "Unavailable",
    "DataLoss", "Unauthenticated"};

const char *grpc_code_name(unsigned code)
{
    return code < ARRAY_LEN(names) ? names[code] : "Unknown";
}

void grpc_status_set(struct grpc_status *s, unsigned code, struct slice text)
{
    size_t n = MIN_OF(text.len, sizeof(s->text) - 1);

    s->code = code;
    if (n > 0) {
        memcpy(s->text, text.p, n);
    }
    s->text[n] = '\0';
}

/* One octet of a percent-encoded text; a broken escape stands for itself. */
static char decode_one(struct slice *rest)
{
    const char *p = rest->p;
    int high = rest->len >= 3 && p[0] == '%' ? ascii_hex_value(p[1]) : -1;
    int low = high >= 0 ? ascii_hex_value(p[2]) : -1;
    size_t used = low >= 0 ? 3 : 1;

    *rest = (struct slice){p + used, rest->len - used};
    return low >= 0 ? (char)(high * 16 + low) : p[0];
}

void grpc_status_read(struct grpc_status *s, const struct message *m)
{
    struct slice code;
    struct slice text = {"", 0};
    uint32_t number = GRPC_UNKNOWN;
    size_t n = 0;

    if (!message_find(m, "grpc-status", &code)) {
        grpc_status_set(s, GRPC_INTERNAL, slice_of("the call ended without a status"));
        return;
    }
    if (num_parse_u32(code.p, code.len, UINT32_MAX, &number) < 0) {
        number = GRPC_UNKNOWN;
    }
    (void)message_find(m, "grpc-message", &text); /* optional */
    while (text.len > 0 && n < sizeof(s->text) - 1) {
        s->text[n++] = decode_one(&text);
    }
    s->text[n] = '\0';
    s->code = number;
}

/* gRPC over HTTP/2, "Responses": space to tilde but '%' as it is, the rest as %XX. */
static void put_text(struct message *m, const char *text)
{
    static const char digits[] = "0123456789ABCDEF";
    char out[3 * GRPC_STATUS_TEXT_MAX];
    size_t n = 0;

    for (const char *p = text; *p && n + 3 <= sizeof(out); p++) {
        unsigned char c = (unsigned char)*p;
        if (c >= 0x20 && c <= 0x7e && c != '%') {
            out[n++] = *p;
        } else {
            out[n++] = '%';
            out[n++] = digits[c >> 4];
            out[n++] = digits[c & 15];
        }
    }
    message_add(m, slice_of("grpc-message"), (struct slice){out, n});
}

void grpc_status_put(struct message *m, unsigned code, const char *text)
{
    message_put_u64(m, "grpc-status", code);
    if (text && *text) {
        put_text(m, text);
    }
}

/* The table "HTTP to gRPC Status Code Mapping". */
unsigned grpc_code_of_http(unsigned status)
{
    switch (status) {
    case 400:
        return GRPC_INTERNAL;
    case 401:
        return GRPC_UNAUTHENTICATED;
    case 403:
        return GRPC_PERMISSION_DENIED;
    case 404:
        return GRPC_UNIMPLEMENTED;
    case 429:
    case 502:
    case 503:
    case 504:
        return GRPC_UNAVAILABLE;
    default: /* an open set */
        return GRPC_UNKNOWN;
    }
}

/* The table of HTTP/2 error codes in gRPC over HTTP/2, "Errors". */
static unsigned code_of_reset(uint32_t reset)
{
    switch (reset) {
    case 0x7: /* REFUSED_STREAM */
        return GRPC_UNAVAILABLE;
    case 0x8: /* CANCEL */
        return GRPC_CANCELLED;
    case 0xb: /* ENHANCE_YOUR_CALM */
        return GRPC_RESOURCE_EXHAUSTED;
    case 0xc: /* INADEQUATE_SECURITY */
        return GRPC_PERMISSION_DENIED;
    default: /* an open set */
        return GRPC_INTERNAL;
    }
}

unsigned grpc_code_of_error(int why, uint32_t reset)
{
    switch (why) {
    case -ERR_H2_RESET:
        return code_of_reset(reset);
    case -ERR_DEADLINE:
        return GRPC_DEADLINE_EXCEEDED;
    case -ERR_TOO_LARGE:
        return GRPC_RESOURCE_EXHAUSTED;
    case -ERR_UNSUPPORTED:
        return GRPC_UNIMPLEMENTED;
    case -ERR_SYNTAX:
    case -ERR_H2_PROTOCOL:
        return GRPC_INTERNAL;
    case -ERR_CANCELLED:
        return GRPC_CANCELLED;
    default: /* what is left is some way of losing the connection */
        return GRPC_UNAVAILABLE;
    }
}

/* "100m": at most eight digits and a unit (gRPC over HTTP/2, "Timeout"). */
int grpc_timeout_parse(struct slice text, uint64_t *out_ms)
{
    static const struct {
        char unit;
        uint64_t ns;
    } units[] = {{'H', 3600000000000}, {'M', 60000000000}, {'S', 1000000000},
                 {'m', 1000000},       {'u', 1000},        {'n', 1}};
    uint64_t n = 0;

    if (text.len < 2 || text.len > 9 || num_parse_u64(text.p, text.len - 1, UINT64_MAX, &n) < 0) {
        return -ERR_SYNTAX;
    }
    for (unsigned i = 0; i < ARRAY_LEN(units); i++) {
        if (text.p[text.len - 1] == units[i].unit) {
            *out_ms = (n * (units[i].ns / 1000 > 0 ? units[i].ns / 1000 : 1) + 999) / 1000;
            return 0;
        }
    }
    return -ERR_SYNTAX;
}
