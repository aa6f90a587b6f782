/* SPDX-License-Identifier: Apache-2.0 */
/* The Kubernetes API for commands: one request at a time, waited for. Blocks; shows on standard error
 * that it does when it takes long. */
#pragma once

#include "base/err.h"
#include "cli/command.h"
#include "kube/call.h"

struct api;
struct cli;
struct json;

void api_free(struct api *a);
/* As options_kube says. */
MUST_USE int api_open_blocking(struct cli *c, struct api **out, struct diag *why);
/* With the credentials of that file. */
MUST_USE int api_open_file_blocking(struct cli *c, const char *path, struct api **out,
                                    struct diag *why);
AUTO_DEFINE(api, struct api *, api_free);

/* That it could not be opened: without credentials that the user named, a mesh may be all that is missing. */
enum answer api_fail(struct cli *c, const struct diag *why);

/* The namespace that the command names (-n), else the context's. */
const char *api_namespace(const struct api *a);

/* The body of a good answer, the caller's; it may be NULL. A bad one is its error, with the server's
 * sentence. What the server warns of is said on standard error. */
MUST_USE int api_call_blocking(struct api *a, const struct kube_ask *ask, struct json **out,
                               struct diag *why);
/* All items, page by page; the caller's. ask says what to list. */
MUST_USE int api_list_blocking(struct api *a, const struct kube_ask *ask, struct json **out,
                               struct diag *why);
