/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A recorded case as an API server would hold it: the objects of its input, with what a server fills
 * in, and an index that is told of them. Steps change the objects.
 */
#pragma once

#include "codec/json.h"
#include "control/index.h"
#include "xds/ads_type.h"

struct case_rig {
    struct json *objects; /* by "kind/ns/name" */
    struct mesh mesh;
    struct catalog *catalogs[ADS_TYPES];
    struct catalog *addresses;
    struct catalog *policies;
    struct index *index;
    int64_t now_s;
    unsigned uids;
};

/* folder is below tests/vectors/control/cases. */
void case_rig_open(struct case_rig *r, const char *folder, const char *trust_domain);
void case_rig_close(struct case_rig *r);
/* Applies one step (an array as the recording has it) and settles. */
void case_rig_step(struct case_rig *r, const struct json *step);
/* What may be put into an index of its own; false for kinds that no index knows. */
bool case_rig_kind(const char *name, enum index_kind *out);
/* The whole of a YAML or JSON file below tests/vectors/control/cases; the caller's. */
struct json *case_rig_file(const char *folder, const char *name);
