/* SPDX-License-Identifier: Apache-2.0 */
/* The encoder for stored text: composes answers out of it without parsing it again. Appends. */
#pragma once

#include <stdint.h>

#include "base/str.h"

struct kind;
struct object;

void render_object(struct strbuf *out, const struct object *o, const char *version);
/* As an item of a list: built-in kinds without kind and apiVersion, custom ones with them. */
void render_item(struct strbuf *out, const struct object *o, const char *version);
/* As PartialObjectMetadata. */
void render_metadata(struct strbuf *out, const struct object *o);
/* {"kind":"PodList",...,"items":[ */
void render_list_open(struct strbuf *out, const char *api_version, const char *list_kind);
struct list_end {
    uint64_t rv;
    const char *token; /* NULL: this is the end of the list */
    uint64_t remaining;
    bool has_remaining;
};
void render_list_close(struct strbuf *out, const struct list_end *end);
/* {"type":"ADDED","object": ... } and a line feed. */
void render_event_open(struct strbuf *out, const char *type);
void render_event_close(struct strbuf *out);
/* The whole event. initial_end: the bookmark that says that the synthetic events are over. */
void render_bookmark(struct strbuf *out, const struct kind *kind, const char *version, uint64_t rv,
                     bool initial_end);
