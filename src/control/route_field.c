/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a waypoint calls the fields of a rule (proto/waypoint.proto), as the route calls them: whoever
 * wrote the route has never seen the other names.
 */
#include <string.h>

#include "base/ascii.h"
#include "control/route_status.h"

static const struct {
    const char *type;
    const char *member;
} filters[] = {{"RequestHeaderModifier", "requestHeaderModifier"},
               {"ResponseHeaderModifier", "responseHeaderModifier"},
               {"RequestRedirect", "requestRedirect"},
               {"URLRewrite", "urlRewrite"},
               {"RequestMirror", "requestMirror"},
               {"CORS", "cors"}};

static const char *member_of(const struct json *filter)
{
    for (size_t i = 0; i < ARRAY_LEN(filters); i++) {
        if (strcmp(json_str_at(filter, "type", ""), filters[i].type) == 0) {
            return filters[i].member;
        }
    }
    return NULL;
}

/* Filters that nobody follows are left out, but for the count in the route. */
static size_t filter_place(const struct json *list, size_t nth)
{
    for (size_t i = 0; i < json_count(list); i++) {
        if (member_of(json_item(list, i)) && nth-- == 0) {
            return i;
        }
    }
    return 0;
}

/* "name[12]" at the beginning of the text is taken off it. */
static bool take_item(const char **text, const char *name, size_t *index)
{
    size_t n = strlen(name);
    const char *c = *text + n;

    if (strncmp(*text, name, n) != 0 || *c != '[') {
        return false;
    }
    *index = 0;
    for (c++; ascii_is_digit(*c); c++) {
        *index = *index * 10 + (size_t)(*c - '0');
    }
    *text = c + (*c == ']');
    *text += **text == '.';
    return true;
}

static bool take(const char **text, const char *name)
{
    bool is_there = slice_has_prefix(slice_of(*text), name);

    *text += is_there ? strlen(name) : 0;
    return is_there;
}

static void write_path_change(const struct json *path, const char **text, struct strbuf *out)
{
    bool is_prefix = strcmp(json_str_at(path, "type", ""), "ReplacePrefixMatch") == 0;

    if (take(text, "path.value")) {
        strbuf_puts(out, is_prefix ? "path.replacePrefixMatch" : "path.replaceFullPath");
    } else if (take(text, "path: PREFIX")) {
        strbuf_puts(out, "path: ReplacePrefixMatch");
    }
}

static void write_filter(const struct json *list, size_t nth, const char **text, struct strbuf *out)
{
    size_t place = filter_place(list, nth);
    const struct json *filter = json_item(list, place);
    const char *member = member_of(filter);

    strbuf_printf(out, "filters[%zu]", place);
    if (!member || **text == ':') {
        return;
    }
    strbuf_printf(out, ".%s", member);
    if (take(text, "mirror")) {
        strbuf_puts(out, json_at(filter, "requestMirror.fraction") ? ".fraction" : ".percent");
        return;
    }
    strbuf_puts(out, ".");
    if (strcmp(member, "requestMirror") == 0) {
        strbuf_puts(out, "backendRef.");
    } else if (take(text, "status")) {
        strbuf_puts(out, "statusCode");
    } else if (take(text, "allow_origins")) {
        strbuf_puts(out, "allowOrigins");
    } else {
        write_path_change(json_get(json_get(filter, member), "path"), text, out);
    }
}

static void write_match(enum l7_route_kind kind, const char **text, struct strbuf *out)
{
    if (kind == L7_GRPC_ROUTE && take(text, "path.value")) {
        strbuf_puts(out, "method");
    } else if (take(text, "query[")) {
        strbuf_puts(out, "queryParams[");
    }
}

void route_field_write(enum l7_route_kind kind, const struct json *rule, const char *text,
                       struct strbuf *out)
{
    const struct json *list = json_get(rule, "filters");
    size_t i;

    if (take_item(&text, "matches", &i)) {
        strbuf_printf(out, "matches[%zu].", i);
        write_match(kind, &text, out);
    } else if (take_item(&text, "backends", &i)) {
        strbuf_printf(out, "backendRefs[%zu].", i);
        list = json_get(json_item(json_get(rule, "backendRefs"), i), "filters");
    } else if (take(&text, "backends:")) {
        strbuf_puts(out, "backendRefs:");
    }
    if (take_item(&text, "filters", &i)) {
        write_filter(list, i, &text, out);
    }
    strbuf_puts(out, text);
}
