/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One call while it is being answered: what was asked, taken apart, and the means to answer. Steps
 * return 0 or a negative value; with the latter the refusal already stands in the response.
 */
#pragma once

#include "apiserver/accept.h"
#include "apiserver/api.h"
#include "apiserver/kind.h"
#include "apiserver/query.h"

struct faults;
struct json;
struct object;
struct schema;

struct api {
    struct store *store;
    struct api_config config;
    struct schema **schemas; /* one a kind, metadata included */
    struct openapi_page *pages;
};

enum { CALL_SEGMENTS = 10 };

struct call {
    struct api *api;
    const struct api_request *rq;
    struct api_response *out;
    struct strbuf path; /* the decoded segments, each terminated */
    const char *segments[CALL_SEGMENTS];
    size_t segment_count;
    struct query q;
    const struct kind *kind;
    const char *version;
    const char *ns;   /* "" = none */
    const char *name; /* "" = the collection */
    const char *sub;  /* subresource, "" = none */
    enum form form;
    bool is_watch;
};

/* All of these answer -ERR_HTTP_STATUS, to be handed up. */
int call_refuse(struct call *c, unsigned code, const char *reason, const char *fmt, ...)
    PRINTF_LIKE(4, 5);
int call_refuse_status(struct call *c, struct json *take_status);
int call_refuse_faults(struct call *c, const char *name, const struct faults *f);
/* A parameter of the call itself is wrong: options is "CreateOptions" and the like. */
int call_refuse_options(struct call *c, const char *options, const struct faults *f);
int call_not_found(struct call *c, const struct kind *kind, const char *name);
int call_not_allowed(struct call *c);

void call_answer(struct call *c, unsigned code, const struct json *body);
/* Gives the answer's body a tag; a client that has it already is told so instead. */
void call_tag(struct call *c);
/* The stored object in the form asked for. */
void call_answer_object(struct call *c, unsigned code, const struct object *o);
void call_warn(struct call *c, const char *text);
/* Empty when absent. */
struct slice call_header(const struct call *c, const char *name);
bool call_is_method(const struct call *c, const char *method);
int64_t call_now_s(const struct call *c);
const struct schema *call_schema(const struct call *c);

/* Decodes a body: JSON, YAML or the protobuf of typed clients, by Content-Type. */
MUST_USE int body_decode(struct call *c, struct json **out);
/* Neither more values nor deeper nesting than an object may have: 0, or the refusal stands in c->out. */
MUST_USE int body_check_shape(struct call *c, const struct json *j);

/* The object named in the path; 404 when absent. */
MUST_USE int call_load(struct call *c, struct json **out);
/* An object of the core group; NULL when absent. The caller's. */
struct json *call_find(const struct call *c, const char *kind, const char *ns, const char *name);
/* 503 while the disk is behind by too much. */
MUST_USE int call_check_store(struct call *c);
MUST_USE int call_check_dry_run(struct call *c, const char *options, const char *value);

/* The verbs. */
int read_object(struct call *c);
int read_list(struct call *c);
int read_watch(struct call *c);
int write_create(struct call *c);
int write_update(struct call *c);
int write_patch(struct call *c);
int write_delete(struct call *c);
int write_delete_many(struct call *c);
int review_create(struct call *c);
int review_token_request(struct call *c);

/* Paths that are no resources. */
int discovery_answer(struct call *c);
int openapi_answer(struct call *c);
bool discovery_owns(const struct call *c);

/* May this user do this? 0, or the 403 is written. verb as in Kubernetes' RBAC. */
MUST_USE int permit_check(struct call *c, const char *verb);
/* For list and watch: node is the one that the field selector asks for, or NULL. */
MUST_USE int permit_check_list(struct call *c, const char *verb, const char *node);
/* The same question about the object itself, where rights depend on it: a node's own pods. */
MUST_USE int permit_check_object(struct call *c, const char *verb, const struct json *object);
