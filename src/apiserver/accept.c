/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/accept.h"

#include <stdbool.h>

struct range {
    bool is_json; /* application/json, or a wildcard that covers it */
    struct slice as;
    struct slice group;
    struct slice version;
    unsigned q; /* thousandths */
};

/* "1", "0.5", "0.123": anything else counts as 1, as a missing q does. */
static unsigned parse_q(struct slice s)
{
    unsigned q = 0;
    unsigned scale = 1000;

    if (s.len == 0 || s.p[0] != '0') {
        return 1000;
    }
    for (size_t i = 2; i < s.len && scale > 1; i++) {
        if (s.p[i] < '0' || s.p[i] > '9') {
            return 1000;
        }
        scale /= 10;
        q += scale * (unsigned)(s.p[i] - '0');
    }
    return q;
}

static struct range parse_range(struct slice text)
{
    struct range r = {.q = 1000};
    struct slice part;
    struct slice rest;
    bool more = slice_cut(text, ';', &part, &rest);

    part = slice_trim(part);
    r.is_json = slice_is_any_case(part, "application/json") ||
                slice_is_any_case(part, "application/*") || slice_is_any_case(part, "*/*");
    while (more) {
        struct slice key;
        struct slice value;
        more = slice_cut(rest, ';', &part, &rest);
        (void)slice_cut(slice_trim(part), '=', &key, &value); /* without '=': the value is empty */
        if (slice_is(key, "as")) {
            r.as = value;
        } else if (slice_is(key, "g")) {
            r.group = value;
        } else if (slice_is(key, "v")) {
            r.version = value;
        } else if (slice_is(key, "q")) {
            r.q = parse_q(value);
        }
    }
    return r;
}

/* 0, or why not. */
static int form_of(const struct range *r, unsigned offered, enum form *out)
{
    static const struct {
        const char *as;
        const char *group;
        const char *version;
        enum form form;
    } forms[] = {
        {"Table", "meta.k8s.io", "v1", FORM_TABLE},
        {"PartialObjectMetadata", "meta.k8s.io", "v1", FORM_METADATA},
        {"PartialObjectMetadataList", "meta.k8s.io", "v1", FORM_METADATA},
        {"APIGroupDiscoveryList", "apidiscovery.k8s.io", "v2", FORM_DISCOVERY},
    };

    if (!r->is_json || r->q == 0) {
        return -ERR_NOT_FOUND;
    }
    if (r->as.len == 0) {
        *out = FORM_OBJECT;
        return 0;
    }
    for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
        if (slice_is(r->as, forms[i].as) && slice_is(r->group, forms[i].group) &&
            slice_is(r->version, forms[i].version) && (offered & forms[i].form)) {
            *out = forms[i].form;
            return 0;
        }
    }
    return -ERR_VERSION;
}

int accept_choose(struct slice header, unsigned offered, enum form *out)
{
    unsigned best_q = 0;
    int failure = -ERR_NOT_FOUND;
    struct slice part;
    struct slice rest = header;
    bool more = true;

    if (slice_trim(header).len == 0) {
        *out = FORM_OBJECT;
        return 0;
    }
    while (more) {
        more = slice_cut(rest, ',', &part, &rest);
        struct range range = parse_range(part);
        enum form form = FORM_OBJECT;
        int r = form_of(&range, offered, &form);
        if (r == 0 && range.q > best_q) {
            best_q = range.q;
            *out = form;
        }
        failure = r == -ERR_VERSION ? r : failure;
    }
    return best_q > 0 ? 0 : failure;
}
