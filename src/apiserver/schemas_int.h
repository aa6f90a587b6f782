/* SPDX-License-Identifier: Apache-2.0 */
/* Schemas (schema.h) that are long enough for files of their own; kinds.c lists who has them. */
#pragma once

#define SCHEMA_LABELS "<string>"
#define SCHEMA_PORT   "int(1..65535)"
#define SCHEMA_CONDITION                                                                           \
    "type! status!:(True|False|Unknown) reason message lastTransitionTime observedGeneration:int"
#define SCHEMA_CONDITIONS "conditions:[{" SCHEMA_CONDITION "}]@type"
/* Of kinds whose conditions have a time more, which is given. */
#define SCHEMA_CONDITIONS_TIMED(time) "conditions:[{" SCHEMA_CONDITION " " time "}]@type"
#define SCHEMA_PROTOCOL               "protocol:(TCP|UDP|SCTP)=TCP"
#define SCHEMA_LOCAL_REF              "{name}"
/* What every object has, and a template of objects. */
#define SCHEMA_METADATA                                                                            \
    "metadata:{name generateName namespace selfLink uid resourceVersion generation:int "           \
    "creationTimestamp deletionTimestamp deletionGracePeriodSeconds:int labels:" SCHEMA_LABELS     \
    " annotations:<string> ownerReferences:[{apiVersion! kind! name! uid! controller:bool "        \
    "blockOwnerDeletion:bool}]@uid finalizers:[string]@* managedFields:any}"

/* Gateway API 1.6: the standard channel, and retries and external authorization of the other. */
extern const char schema_http_route[];
extern const char schema_grpc_route[];
extern const char schema_tcp_route[];
extern const char schema_reference_grant[];

/* Istio 1.32. */
extern const char schema_destination_rule[];

/* Kubernetes 1.35. */
extern const char schema_pod[];
extern const char schema_deployment[];
