/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The first bytes of a connection: which HTTP, or whether it is HTTP at all. A port that says HTTP
 * waits for them as long as a head may take; one that says nothing only for a moment, because the
 * server may be meant to speak first.
 */
#pragma once

#include "waypoint/entry.h"

/* Takes the references in facts, and the stream. */
void opening_start(const struct entry *take_facts, struct stream *take_near);
