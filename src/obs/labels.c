/* SPDX-License-Identifier: Apache-2.0 */
#include "obs/labels.h"

#include "base/mem.h"

struct slice label_or_unknown(const char *text)
{
    return slice_of(text && *text ? text : "unknown");
}

void side_labels(struct slice out[static SIDE_LABELS], const struct access_side *s)
{
    out[SIDE_WORKLOAD] = label_or_unknown(s->workload);
    out[SIDE_SERVICE] = label_or_unknown(s->canonical_service);
    out[SIDE_REVISION] = label_or_unknown(s->canonical_revision);
    out[SIDE_NAMESPACE] = label_or_unknown(s->namespace_);
    out[SIDE_PRINCIPAL] = label_or_unknown(s->principal);
    out[SIDE_APP] = label_or_unknown(s->app ? s->app : s->canonical_service);
    out[SIDE_VERSION] = label_or_unknown(s->version ? s->version : s->canonical_revision);
    out[SIDE_CLUSTER] = label_or_unknown(s->cluster);
}

void side_from_workload(struct access_side *side, const struct workload *w)
{
    if (!w) {
        return;
    }
    side->pod = w->name;
    side->workload = w->workload_name;
    side->canonical_service = w->canonical_name;
    side->canonical_revision = w->canonical_revision;
    side->namespace_ = w->identity->ns;
    side->app = NULL;
    side->version = NULL;
    side->cluster = w->cluster_id;
    side->region = w->region;
    side->zone = w->zone;
}

void workload_baggage(struct strbuf *out, const struct workload *w)
{
    struct baggage b = {.workload_type = slice_of(workload_type_name(w))};

    b.value[BAGGAGE_CLUSTER] = slice_of(w->cluster_id);
    b.value[BAGGAGE_NAMESPACE] = slice_of(w->identity->ns);
    b.value[BAGGAGE_WORKLOAD] = slice_of(w->workload_name);
    b.value[BAGGAGE_SERVICE] = slice_of(w->canonical_name);
    b.value[BAGGAGE_REVISION] = slice_of(w->canonical_revision);
    b.value[BAGGAGE_REGION] = slice_of(w->region);
    b.value[BAGGAGE_ZONE] = slice_of(w->zone);
    baggage_format(out, &b);
}

void baggage_side_set(struct baggage_side *b, struct slice header)
{
    struct baggage parsed = {0};

    if (!header.p || baggage_parse(&parsed, header.p, header.len) < 0) {
        return; /* treated as empty: contract 2.5 */
    }
    for (unsigned i = 0; i < BAGGAGE_KEYS; i++) {
        if (parsed.value[i].len > 0 && parsed.value[i].len <= BAGGAGE_VALUE_MAX) {
            mem_free(b->value[i]);
            b->value[i] = mem_dup(parsed.value[i].p, parsed.value[i].len);
        }
    }
}

void baggage_side_fill(const struct baggage_side *b, struct access_side *side)
{
    side->workload = b->value[BAGGAGE_WORKLOAD];
    side->app = b->value[BAGGAGE_WORKLOAD]; /* as recorded: app is the workload's name here */
    side->canonical_service = b->value[BAGGAGE_SERVICE];
    side->canonical_revision = b->value[BAGGAGE_REVISION];
    side->namespace_ = b->value[BAGGAGE_NAMESPACE];
    side->cluster = b->value[BAGGAGE_CLUSTER];
    side->region = b->value[BAGGAGE_REGION];
    side->zone = b->value[BAGGAGE_ZONE];
}

void baggage_side_fini(struct baggage_side *b)
{
    for (unsigned i = 0; i < BAGGAGE_KEYS; i++) {
        mem_free(b->value[i]);
        b->value[i] = NULL;
    }
}
