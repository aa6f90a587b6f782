/* SPDX-License-Identifier: Apache-2.0 */
/* Who is who in records and in baggage: from workloads to log fields and labels (contract 2.5, 9.2). */
#pragma once

#include "base/str.h"
#include "codec/baggage.h"
#include "model/workload.h"
#include "obs/access.h"

/* Metric labels of one side of a connection or request, in the order of Istio's metrics (contract 9.2). */
enum side_label {
    SIDE_WORKLOAD,
    SIDE_SERVICE,
    SIDE_REVISION,
    SIDE_NAMESPACE,
    SIDE_PRINCIPAL,
    SIDE_APP,
    SIDE_VERSION,
    SIDE_CLUSTER,
    SIDE_LABELS
};
#define SIDE_LABEL_NAMES(side)                                                                     \
    side "_workload", side "_canonical_service", side "_canonical_revision",                       \
        side "_workload_namespace", side "_principal", side "_app", side "_version",               \
        side "_cluster"
/* Borrowed from side; what is not known is "unknown". */
void side_labels(struct slice out[static SIDE_LABELS], const struct access_side *side);
struct slice label_or_unknown(const char *text);

/* Fills side from what the control plane says; identity and principal are left alone. w may be NULL. */
void side_from_workload(struct access_side *side, const struct workload *w);
/* The text of a workload's baggage header, appended. */
void workload_baggage(struct strbuf *out, const struct workload *w);

enum { BAGGAGE_VALUE_MAX = 253 /* the longest name that Kubernetes has */ };

/* Labels of a peer that is known by its baggage only. The texts are copied, for as long as its connection
 * lasts; what is no name is left out. */
struct baggage_side {
    char *value[BAGGAGE_KEYS];
};
void baggage_side_set(struct baggage_side *b, struct slice header);
void baggage_side_fill(const struct baggage_side *b, struct access_side *side);
void baggage_side_fini(struct baggage_side *b);
