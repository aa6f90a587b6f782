/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Nothing is decoded and nothing trimmed: both ends of a tunnel must read the same bytes alike, and
 * the other end may be a program that does exactly this (contract 2.5).
 */
#include "codec/baggage.h"

/* In the order of the wire; BAGGAGE_WORKLOAD's key depends on the type. */
static const char *const names[BAGGAGE_KEYS] = {
    [BAGGAGE_CLUSTER] = "k8s.cluster.name", [BAGGAGE_NAMESPACE] = "k8s.namespace.name",
    [BAGGAGE_SERVICE] = "service.name",     [BAGGAGE_REVISION] = "service.version",
    [BAGGAGE_REGION] = "cloud.region",      [BAGGAGE_ZONE] = "cloud.availability_zone",
};
static const struct {
    const char *key, *type;
} workload_names[] = {
    {"k8s.deployment.name", "deployment"},
    {"k8s.cronjob.name", "cronjob"},
    {"k8s.pod.name", "pod"},
    {"k8s.job.name", "job"},
};

static void add_value(struct strbuf *out, struct slice s)
{
    for (size_t i = 0; i < s.len; i++) {
        char c = s.p[i];
        strbuf_putc(out, c < ' ' || c == 0x7f ? '?' : c);
    }
}

static void add_item(struct strbuf *out, const char *key, struct slice value, size_t start)
{
    if (value.len > 0) {
        strbuf_puts(out, out->len > start ? "," : "");
        strbuf_puts(out, key);
        strbuf_putc(out, '=');
        add_value(out, value);
    }
}

static const char *workload_key(struct slice type)
{
    for (size_t i = 0; i < ARRAY_LEN(workload_names); i++) {
        if (slice_is(type, workload_names[i].type)) {
            return workload_names[i].key;
        }
    }
    return workload_names[0].key;
}

void baggage_format(struct strbuf *out, const struct baggage *b)
{
    size_t start = out->len;

    for (int k = 0; k < BAGGAGE_KEYS; k++) {
        const char *key = k == BAGGAGE_WORKLOAD ? workload_key(b->workload_type) : names[k];
        add_item(out, key, b->value[k], start);
    }
}

static void keep(struct baggage *b, struct slice key, struct slice value)
{
    for (size_t i = 0; i < ARRAY_LEN(workload_names); i++) {
        if (slice_is(key, workload_names[i].key)) {
            b->value[BAGGAGE_WORKLOAD] = value;
            b->workload_type = slice_of(workload_names[i].type);
            return;
        }
    }
    for (int k = 0; k < BAGGAGE_KEYS; k++) {
        if (names[k] && slice_is(key, names[k])) {
            b->value[k] = value;
            return;
        }
    }
}

static bool is_ascii(struct slice s)
{
    for (size_t i = 0; i < s.len; i++) {
        if ((unsigned char)s.p[i] > 0x7e || ((unsigned char)s.p[i] < ' ' && s.p[i] != '\t')) {
            return false;
        }
    }
    return true;
}

int baggage_parse(struct baggage *b, const char *text, size_t len)
{
    struct slice rest = {text, len};

    if (len > BAGGAGE_MAX) {
        return -ERR_TOO_LARGE;
    }
    if (!is_ascii(rest)) {
        return -ERR_SYNTAX;
    }
    while (rest.len > 0) {
        struct slice item, behind, key, value;
        (void)slice_cut(rest, ',', &item, &behind); /* without one it is the last item */
        (void)slice_cut(item, '=', &key, &value);   /* without one the value is empty: absent */
        /* Only what stands between the first and the second '=' is the value. */
        struct slice first, more;
        (void)slice_cut(value, '=', &first, &more); /* without one it is all */
        if (first.len > 0) {
            keep(b, key, first);
        }
        rest = behind;
    }
    return 0;
}
