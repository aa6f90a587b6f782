/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a change of labels means for the mesh, said before it is made: which pods join or leave
 * (eligibility: node contract A2.1). Where traffic will go is waypoint_effect.h's. Pure.
 */
#pragma once

#include "base/str.h"

struct json;
struct resource_kind;

/* Is this pod captured when namespace_labels are its namespace's and labels its own? */
bool mesh_captures(const struct json *namespace_labels, const struct json *labels,
                   const struct json *pod);
/* Sentences for people, a line each; nothing when nothing changes for the mesh. object is what is
 * labelled, labels what it will have, pods those of the namespace (of a pod: itself alone),
 * namespace_labels those of its namespace. */
void mesh_effect_say(const struct resource_kind *k, const struct json *object,
                     const struct json *labels, const struct json *namespace_labels,
                     const struct json *pods, struct strbuf *out);
