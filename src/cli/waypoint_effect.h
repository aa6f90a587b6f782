/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a change of the labels istio.io/use-waypoint and -namespace means, said before it is made:
 * whose traffic goes where, whether the waypoint is there, and what people forget (contract 3.4).
 * Pure.
 */
#pragma once

#include <stdbool.h>

struct json;
struct strbuf;

struct waypoint_effect {
    const char *kind;            /* "Namespace", "Service", ... of what is labelled */
    const char *ns;              /* its namespace; of a Namespace itself */
    const struct json *before;   /* labels */
    const struct json *after;    /* labels */
    const struct json *waypoint; /* waypoint_row of what `after` names; NULL: there is none */
    const struct json *services; /* of the namespace that is labelled; NULL otherwise */
};

/* Which waypoint these labels name, in which namespace; NULL: none. Borrowed. */
const char *waypoint_effect_named(const struct json *labels, const char *own_ns,
                                  const char **out_ns);
/* Sentences, a line each; nothing when nothing changes. */
void waypoint_effect_say(const struct waypoint_effect *e, struct strbuf *out);
