/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pods and namespaces of the Kubernetes API (core/v1) to and from what the agent knows of them. Pure.
 * Labels and annotations: contract of the agent, A2.1.
 */
#pragma once

#include "codec/json.h"
#include "node/pod_source.h"

struct pod_json_options {
    bool dns;                   /* capture DNS unless a pod's annotation says otherwise */
    const char *mesh_namespace; /* where node proxies run: "istio-system" */
};

/* A value of the caller's; -ERR_SYNTAX without a uid, name or namespace. */
MUST_USE int pod_from_json(const struct json *object, const struct pod_json_options *o,
                           struct pod **out);
/* Name and mode of a namespace, into the event. -ERR_SYNTAX without a name; one that is too long to be
 * a namespace's too. */
MUST_USE int pod_namespace_from_json(const struct json *object, struct pod_event *out);

/* Bodies of requests; values of the caller's. */
struct json *pod_create_body(const struct pod_spec *spec);
/* A merge patch of pods/status. */
struct json *pod_status_patch(const struct pod_spec *spec, enum pod_phase phase, bool ready);
/* A merge patch of pods/status (which needs fewer rights than one of the pod). A pod of that name with
 * another uid is left alone: the server sees a conflict. */
struct json *pod_announce_patch(const char *uid, bool enabled);
/* A TokenRequest (authentication.k8s.io/v1) for the pod's account: good for the mesh's CA alone, and
 * only while the pod with that uid exists. */
enum { POD_TOKEN_LIFE_S = 12 * 3600 };
struct json *pod_token_body(const struct pod_spec *spec, const char *uid);
/* Nobody but us ends a local pod, so there is nothing to wait for. */
struct json *pod_delete_body(void);
