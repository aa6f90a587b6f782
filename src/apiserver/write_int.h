/* SPDX-License-Identifier: Apache-2.0 */
/* A write on its way, shared by the three verbs that end in a whole new object. */
#pragma once

#include "apiserver/call_int.h"

enum validation { VALIDATE_IGNORE, VALIDATE_WARN, VALIDATE_STRICT };

struct unknown_fields;

struct write {
    struct call *c;
    struct json *object;    /* what shall be */
    const struct json *old; /* what is; NULL: it is being created */
    bool is_status;
    bool dry_run;
    bool is_applied; /* server-side apply has settled the managed fields */
    enum validation validation;
};

/* Permission, options, room in the store. */
int write_begin(struct write *w, const char *verb, const char *options);
/* The body as an object of this kind and place. */
int write_read_body(struct write *w, struct json **out);
int write_check_kind(struct call *c, struct json *object);
int write_check_place(struct call *c, struct json *object);
/* What fieldValidation says to do about fields that the schema does not know. */
int write_judge_unknown(struct write *w, const struct unknown_fields *u);
/* A built-in kind is decoded into a type: what does not fit it is a bad request. */
int write_judge_types(struct write *w, const struct faults *f);
/* A client's uid and resourceVersion, if it sends them, must be the object's. */
int write_check_identity(struct write *w, const struct json *object, bool is_patch);
int write_conflict(struct call *c, const char *reason, const char *name, const char *text);
/* w->object is what shall be created, or what a client made of w->old: settle, check, store, answer. */
int write_store_new(struct write *w);
int write_store_changed(struct write *w);
