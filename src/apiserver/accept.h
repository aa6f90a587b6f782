/* SPDX-License-Identifier: Apache-2.0 */
/* Which form of an answer a client wants: content negotiation by the Accept header (RFC 9110 12.5.1)
 * with Kubernetes' parameters as=, g=, v=. Only JSON is spoken. */
#pragma once

#include "base/err.h"
#include "base/str.h"

enum form {
    FORM_OBJECT = 1u << 0,
    FORM_TABLE = 1u << 1,
    FORM_METADATA = 1u << 2,  /* PartialObjectMetadata and its list */
    FORM_DISCOVERY = 1u << 3, /* aggregated discovery */
};

/* The best of the offered forms. An empty header means anything.
 * -ERR_NOT_FOUND: nothing that we speak; -ERR_VERSION: a form in a version we do not know. */
MUST_USE int accept_choose(struct slice header, unsigned offered, enum form *out);
