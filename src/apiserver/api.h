/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The API server without its sockets: a request goes in, a response comes out, at once. It reads and
 * changes the store; it blocks on nothing, and knows neither HTTP framing nor TLS. serve.h puts it on
 * the network. One thread.
 *
 * A response rests on a version of the store: whoever sends it waits until store_durable has reached
 * that version, so that nothing a client has heard of can be lost.
 *
 * What is served is the part of the Kubernetes API that a mesh needs, answered as kube-apiserver 1.35
 * answers (tests/vectors/apiserver holds recordings).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/ip.h"
#include "base/str.h"

struct api;
struct store;
struct watch;

enum {
    API_BODY_BYTES = 3 << 20,    /* larger requests: 413 */
    API_OBJECT_BYTES = 3 << 20,  /* larger objects, however patches made them so: likewise */
    API_OBJECT_VALUES = 1 << 17, /* in an object or a body: each is walked and cloned many times */
    API_OBJECT_DEPTH = 56,       /* a list or an event around it still parses (JSON_DEPTH_MAX) */
    API_PAGE_BYTES = 8 << 20,    /* a page of objects ends behind it, fewer than were asked for */
    API_WARNINGS_MAX = 16,
    API_PATH_BYTES = 2048,
};

struct api_config {
    /* Cluster addresses are given out of these; a zeroed family has none. */
    struct ip_prefix service_cidr4;
    struct ip_prefix service_cidr6;
    const char
        *audience; /* of tokens asked for without one; NULL = "https://kubernetes.default.svc" */
};

/* Who asks, as the transport has found out. */
struct api_user {
    const char *name; /* "system:anonymous" for nobody */
    const char *uid;
    const char *const *groups; /* NULL-terminated */
    const char *node;          /* an agent's credential: the node it stands for; else NULL */
    bool is_admin;
    bool is_anonymous;
};

struct api_header {
    struct slice name; /* any case */
    struct slice value;
};

struct api_request {
    struct slice method;
    struct slice target; /* path and query, as sent */
    const struct api_header *headers;
    size_t header_count;
    struct slice body;
    const struct api_user *user;
    uint64_t now_ns; /* wall clock */
};

struct api_response {
    unsigned status;
    const char *content_type; /* static */
    struct strbuf body;
    char *warnings[API_WARNINGS_MAX]; /* texts for Warning: 299 - "..." */
    size_t warning_count;
    char etag[40]; /* with its quotes; "" = none */
    unsigned retry_after_s;
    struct watch *watch; /* the body goes on for ever: watch.h; owned by the response */
    uint64_t rests_on;   /* a version of the store */
};

/* The store must outlive it and be loaded. */
MUST_USE int api_new(struct store *store, const struct api_config *config, struct diag *why,
                     struct api **out);
void api_free(struct api *a);
struct store *api_store(struct api *a);

/* out must be zeroed; fill and release it once. Never fails: failure is a response. */
void api_handle(struct api *a, const struct api_request *rq, struct api_response *out);
void api_response_fini(struct api_response *out);
/* The answer to a body that was larger than API_BODY_BYTES and was not read. */
void api_refuse_large(struct api *a, struct api_response *out);
/* A failure that whoever stands before the API has found: code and a sentence. */
void api_refuse(struct api *a, unsigned code, const char *text, struct api_response *out);
/* The answer that takes the place of out's when its version does not become durable in time. */
void api_refuse_late(struct api *a, struct api_response *out);

/* What goes on without a request: namespaces that are going away, expired tokens. Call every second
 * or so. */
void api_tick(struct api *a, uint64_t now_ns);

AUTO_DEFINE(api, struct api *, api_free);
