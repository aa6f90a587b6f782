/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/render.h"

#include <inttypes.h>

#include "apiserver/kind.h"
#include "apiserver/object.h"
#include "codec/json.h"

void render_object(struct strbuf *out, const struct object *o, const char *version)
{
    strbuf_puts(out, "{\"kind\":\"");
    strbuf_puts(out, o->kind->name);
    strbuf_puts(out, "\",\"apiVersion\":\"");
    kind_api_version(o->kind, version, out);
    strbuf_puts(out, "\",");
    strbuf_add(out, o->text.p + 1, o->text.len - 1); /* behind its opening brace; never empty */
}

void render_item(struct strbuf *out, const struct object *o, const char *version)
{
    if (kind_is(o->kind, KIND_CUSTOM)) {
        render_object(out, o, version);
    } else {
        strbuf_add(out, o->text.p, o->text.len);
    }
}

void render_metadata(struct strbuf *out, const struct object *o)
{
    AUTO(json) struct json *whole = object_parse(o, o->kind->versions[0]);
    AUTO(json) struct json *part = json_new_object();

    json_set_str(part, "kind", "PartialObjectMetadata");
    json_set_str(part, "apiVersion", "meta.k8s.io/v1");
    json_set(part, "metadata", json_ref(json_get(whole, "metadata")));
    json_print(part, 0, out);
}

/* Metadata comes last: the version and the token are known when the items are. */
void render_list_open(struct strbuf *out, const char *api_version, const char *list_kind)
{
    strbuf_puts(out, "{\"kind\":\"");
    strbuf_puts(out, list_kind);
    strbuf_puts(out, "\",\"apiVersion\":\"");
    strbuf_puts(out, api_version);
    strbuf_puts(out, "\",\"items\":[");
}

void render_list_close(struct strbuf *out, const struct list_end *end)
{
    strbuf_printf(out, "],\"metadata\":{\"resourceVersion\":\"%" PRIu64 "\"", end->rv);
    if (end->token) {
        strbuf_printf(out, ",\"continue\":\"%s\"", end->token);
    }
    if (end->token && end->has_remaining) {
        strbuf_printf(out, ",\"remainingItemCount\":%" PRIu64, end->remaining);
    }
    strbuf_puts(out, "}}\n");
}

void render_event_open(struct strbuf *out, const char *type)
{
    strbuf_printf(out, "{\"type\":\"%s\",\"object\":", type);
}

void render_event_close(struct strbuf *out)
{
    strbuf_puts(out, "}\n");
}

void render_bookmark(struct strbuf *out, const struct kind *kind, const char *version, uint64_t rv,
                     bool initial_end)
{
    render_event_open(out, "BOOKMARK");
    strbuf_printf(out, "{\"kind\":\"%s\",\"apiVersion\":\"", kind->name);
    kind_api_version(kind, version, out);
    strbuf_printf(out, "\",\"metadata\":{\"resourceVersion\":\"%" PRIu64 "\"", rv);
    if (initial_end) {
        strbuf_puts(out, ",\"annotations\":{\"k8s.io/initial-events-end\":\"true\"}");
    }
    strbuf_puts(out, "}}");
    render_event_close(out);
}
