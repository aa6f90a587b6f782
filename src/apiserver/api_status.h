/* SPDX-License-Identifier: Apache-2.0 */
/* The Status object: how the API says that something failed, or that a deletion succeeded. */
#pragma once

#include <stddef.h>

struct faults;
struct json;
struct kind;

/* reason NULL: none. The caller's. */
struct json *api_status_failure(unsigned code, const char *reason, const char *message);
/* Names the object: the plural in details.kind; name "" and kind NULL are left out. */
void api_status_about(struct json *status, const struct kind *kind, const char *name);
void api_status_add_cause(struct json *status, const char *reason, const char *message,
                          const char *field);
/* 422: the Kind in details.kind, one cause a fault. */
struct json *api_status_invalid(const char *group, const char *kind_name, const char *name,
                                const struct faults *faults);
struct json *api_status_deleted(const struct kind *kind, const char *name, const char *uid);
