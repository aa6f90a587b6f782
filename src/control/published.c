/* SPDX-License-Identifier: Apache-2.0 */
#include "control/published.h"

#include <string.h>

#include "codec/base64.h"
#include "codec/json.h"

/* Is word one of the parts of a resource's name? Names of all types have their namespaces among them, so
 * that more may be found than is meant, and never less. */
static bool has_part(const char *name, const char *word)
{
    struct slice rest = slice_of(name);
    struct slice part;
    bool more = true;

    while (more) {
        more = slice_cut(rest, '/', &part, &rest);
        if (slice_is(part, word)) {
            return true;
        }
    }
    return false;
}

static void put_text(struct strbuf *out, const char *key, const char *text)
{
    AUTO(json) struct json *value = json_new_str(text);

    strbuf_printf(out, "\"%s\":", key);
    json_print(value, 0, out);
}

static void put_entry(struct strbuf *out, const char *type, const struct catalog_entry *e)
{
    struct slice value = catalog_value(e);

    strbuf_puts(out, "{");
    put_text(out, "type", type);
    strbuf_puts(out, ",");
    put_text(out, "name", e->name);
    strbuf_puts(out, ",\"value\":\"");
    base64_encode(out, value.p, value.len);
    strbuf_puts(out, "\"}");
}

static bool is_wanted(const struct published_sources *s, const char *name, const char *ns)
{
    return *ns == '\0' || has_part(name, ns) || has_part(name, s->root_ns);
}

static void put_catalog(const struct published_sources *s, const struct catalog *c, const char *ns,
                        bool *any, struct strbuf *out)
{
    for (const struct catalog_entry *e = catalog_after(c, 0); e && !out->overflow;
         e = catalog_next(c, e)) {
        if (!catalog_is_gone(e) && is_wanted(s, e->name, ns)) {
            strbuf_puts(out, *any ? ",\n" : "\n");
            put_entry(out, catalog_type(c), e);
            *any = true;
        }
    }
}

struct replicas {
    struct strbuf *out;
    bool any;
};

static void put_replica(void *to, const struct ads_replica *r)
{
    struct replicas *all = to;

    strbuf_puts(all->out, all->any ? ",\n{" : "\n{");
    put_text(all->out, "gateway", r->gateway);
    strbuf_puts(all->out, ",");
    put_text(all->out, "id", r->id);
    strbuf_printf(all->out, ",\"current\":%s}", r->is_current ? "true" : "false");
    all->any = true;
}

/* False: there is no such path. ns is "" for all. */
static bool read_path(const char *path, struct strbuf *ns)
{
    struct slice parts[3];
    struct slice rest = slice_of(path);
    size_t n = 0;
    bool more = true;

    while (more && n < ARRAY_LEN(parts)) {
        more = slice_cut(rest, '/', &parts[n++], &rest);
    }
    if (more || !slice_is(parts[n - 1], "published")) {
        return false;
    }
    if (n == 3 && slice_is(parts[0], "namespaces") && parts[1].len > 0) {
        strbuf_add(ns, parts[1].p, parts[1].len);
    }
    return n == 1 || ns->len > 0;
}

void published_render(const struct published_sources *s, const char *path, unsigned *status,
                      struct strbuf *out)
{
    AUTO(strbuf) struct strbuf ns = {0};
    struct replicas replicas = {.out = out};
    bool any = false;

    if (!read_path(path, &ns)) {
        *status = 404;
        strbuf_puts(out, "the server could not find the requested resource");
        return;
    }
    strbuf_puts(out, "{\"kind\":\"Published\",\"apiVersion\":\"ambit.io/v1\",\"items\":[");
    for (unsigned t = 0; t < ADS_TYPES; t++) {
        put_catalog(s, s->catalogs[t], strbuf_text(&ns), &any, out);
    }
    strbuf_puts(out, "],\n\"replicas\":[");
    ads_server_each_replica(s->ads, put_replica, &replicas);
    strbuf_puts(out, "]}\n");
}
