/* SPDX-License-Identifier: Apache-2.0 */
/*
 * EndpointSlices out of Services and Pods. endpoints_of is the pure part: the slices that a service
 * shall have. The rest follows the store's changes and writes what differs, for services with a
 * selector only; slices that others made are left alone (they carry another managed-by label).
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct api;
struct endpoints;
struct json;
struct loop;

enum {
    ENDPOINTS_A_SLICE = 1000, /* as many as Kubernetes allows in one */
    ENDPOINTS_SERVICES = 64,  /* services brought up to date in one run */
    ENDPOINTS_CHANGES = 64,   /* and changes looked at */
};

/* An array of EndpointSlices, whole but for what the server adds. service: with a selector. pods: an
 * array of those that it selects. Names are the service's and a suffix, the same for the same input.
 * The caller's. */
struct json *endpoints_of(const struct json *service, const struct json *pods);

/* Begins with a pass over all services. api must outlive it. */
struct endpoints *endpoints_new(struct api *api, struct loop *l);
void endpoints_free(struct endpoints *e);
