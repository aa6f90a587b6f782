/* SPDX-License-Identifier: Apache-2.0 */
/* Finishing an object for the store: the one place that gives out resource versions. */
#pragma once

#include <stdint.h>

struct api;
struct json;
struct kind;
struct object;

/* uid, creationTimestamp and the first generation into a new object's metadata. */
void change_stamp(const struct kind *kind, struct json *body, int64_t now_s);
/* Writes the version that the next change will have into body, and returns it. Taken by nothing but
 * that change: whoever gives up has used none. */
uint64_t change_version(struct api *a, struct json *body);
/* Gives body its version and stores it. Borrowed, until the next change. */
struct object *change_put(struct api *a, const struct kind *kind, struct json *body);
/* Removes the object; body is its last content (it gets the deletion's version). The caller's. */
struct object *change_remove(struct api *a, const struct kind *kind, struct json *body);
