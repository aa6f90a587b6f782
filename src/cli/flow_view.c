/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/flow_view.h"

#include <string.h>

#include "base/str.h"
#include "cli/span.h"
#include "cli/term.h"
#include "codec/json.h"

static const char *text_at(const struct json *j, const char *key)
{
    return json_str(json_get(j, key), "");
}

static bool is_failure(int64_t status)
{
    return status == 0 || status >= 500;
}

/* 403 and 401 that the waypoint made itself are policy's; its details say so. */
static const char *verdict_of(const struct json *r)
{
    int64_t status = json_int(json_get(r, "status"), 0);
    const char *details = text_at(r, "details");

    if (strncmp(details, "rbac_access_denied", 18) == 0 || strncmp(details, "jwt_authn", 9) == 0) {
        return "DENIED";
    }
    return is_failure(status) ? "FAILED" : "ok";
}

static struct json *request_row(const struct json *r, const char *waypoint)
{
    static const char *const texts[] = {"method",  "path",     "authority",   "route",
                                        "details", "source",   "destination", "source_identity",
                                        "service", "upstream", "time",        "flags"};
    struct json *row = json_new_object();

    json_set_str(row, "layer", "L7");
    json_set_str(row, "node", waypoint);
    json_set_str(row, "direction", "waypoint");
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        json_set_str(row, texts[i], text_at(r, texts[i]));
    }
    json_set_str(row, "secured",
                 json_bool(json_get(r, "mutual_tls"), false) ? "mTLS" : "PLAINTEXT");
    json_set_int(row, "status", json_int(json_get(r, "status"), 0));
    json_set_int(row, "duration_us", json_int(json_get(r, "duration_us"), 0));
    json_set_int(row, "to_server", json_int(json_get(r, "bytes_received"), 0));
    json_set_int(row, "to_client", json_int(json_get(r, "bytes_sent"), 0));
    json_set_str(row, "verdict", verdict_of(r));
    return row;
}

void flow_view_requests(const struct json *records, const char *waypoint, struct json *into)
{
    for (size_t i = 0; i < json_count(records); i++) {
        json_append(into, request_row(json_item(records, i), waypoint));
    }
}

/* ---- a line */

/* What peers say must not move the cursor. */
static void put_text(struct strbuf *out, const char *text)
{
    for (; *text; text++) {
        bool is_control = (unsigned char)*text < ' ' || *text == 0x7f;
        strbuf_putc(out, is_control ? '?' : *text);
    }
}

/* Nobody in particular is "" or, of a namespace and a name that are both not known, "/". */
static void put_or_dash(struct strbuf *out, const char *text)
{
    put_text(out, *text && strcmp(text, "/") != 0 ? text : "-");
}

static void put_request(const struct json *row, struct strbuf *out)
{
    put_text(out, text_at(row, "method"));
    strbuf_putc(out, ' ');
    put_text(out, text_at(row, "path"));
    strbuf_printf(out, " %lld", (long long)json_int(json_get(row, "status"), 0));
    if (*text_at(row, "route")) {
        strbuf_puts(out, " by ");
        put_text(out, text_at(row, "route"));
    }
}

static void put_connection(const struct json *row, struct strbuf *out)
{
    strbuf_printf(out, "%s ", text_at(row, "direction"));
    span_bytes((uint64_t)json_int(json_get(row, "to_server"), 0), out);
    strbuf_puts(out, " sent, ");
    span_bytes((uint64_t)json_int(json_get(row, "to_client"), 0), out);
    strbuf_puts(out, " received");
}

void flow_view_line(const struct json *row, bool colour, struct strbuf *out)
{
    bool l7 = strcmp(text_at(row, "layer"), "L7") == 0;
    const char *verdict = text_at(row, "verdict");
    const char *service = text_at(row, "service");
    const char *reason = text_at(row, l7 ? "details" : "error");
    AUTO(strbuf) struct strbuf line = {0};

    style_put(&line, colour, strcmp(verdict, "ok") == 0 ? STYLE_GOOD : STYLE_BAD, verdict);
    strbuf_printf(&line, "%*s%s  ", (int)(strlen(verdict) < 8 ? 8 - strlen(verdict) : 1), "",
                  l7 ? "L7" : "L4");
    put_or_dash(&line, text_at(row, "source"));
    strbuf_puts(&line, " -> ");
    put_or_dash(&line, text_at(row, "destination"));
    strbuf_puts(&line, *service ? " as " : "");
    put_text(&line, service);
    strbuf_puts(&line, "  ");
    if (l7) {
        put_request(row, &line);
    } else {
        put_connection(row, &line);
    }
    strbuf_printf(&line, ", %.1f ms", (double)json_int(json_get(row, "duration_us"), 0) / 1000);
    if (strcmp(verdict, "ok") != 0 && *reason) {
        strbuf_puts(&line, "  ");
        put_text(&line, reason);
    }
    strbuf_printf(out, "%s  %s  %s\n", text_at(row, "time"), text_at(row, "node"),
                  strbuf_text(&line));
}
