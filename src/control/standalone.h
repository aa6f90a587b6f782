/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The embedded Kubernetes API, for hosts without a cluster: store, server, EndpointSlices, and who may
 * come in. It has a thread and a job pool of its own; to the rest of the control plane it is an API
 * server like any other, reached over TLS.
 */
#pragma once

#include "apiserver/extra.h"
#include "base/err.h"
#include "base/ip.h"
#include "ca/authority.h"
#include "control/settings.h"
#include "tls/tls_ctx.h"

struct standalone;

/* Opens the store, makes the namespaces that have to be there, listens, writes the credentials'
 * files, starts its thread. What is passed outlives it; extra is copied, and its loop must not run any
 * more when this ends. */
MUST_USE int standalone_new_blocking(struct standalone **out, const struct settings *settings,
                                     const struct authority *authority, struct tls_ctx *tls,
                                     const struct extra *extra, struct diag *why);
void standalone_free(struct standalone *s);
AUTO_DEFINE(standalone, struct standalone *, standalone_free);

/* A kubeconfig for the control plane itself, good as long as this process runs. A secret. */
const char *standalone_kubeconfig(const struct standalone *s);
/* Where it really listens. */
struct endpoint standalone_address(const struct standalone *s);
