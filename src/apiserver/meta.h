/* SPDX-License-Identifier: Apache-2.0 */
/* The metadata that every object has: what it may look like, and what the server writes into it. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "apiserver/kind.h"
#include "base/str.h"

struct faults;
struct json;

enum {
    ANNOTATIONS_BYTES = 256 << 10, /* of all keys and values */
    TIME_TEXT = 24,
};

/* Name, namespace, labels, annotations, finalizers. */
void meta_check(const struct kind *kind, const struct json *object, struct faults *faults);

/* A random version-4 UUID; buf holds at least 37 bytes. */
void meta_new_uid(char *buf, size_t len);
/* prefix and five random letters; prefix is cut to what a name may hold. */
char *meta_generate_name(const char *prefix);
/* "2026-11-25T14:26:00Z" into buf of TIME_TEXT bytes. */
void meta_format_time(int64_t unix_s, char *buf, size_t len);
/* Seconds since 1970; -1: not such a time. Fractions of a second are accepted and dropped. */
int64_t meta_parse_time(const char *text);
