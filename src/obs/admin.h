/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The three HTTP endpoints of a program: readiness (contract 1.8), stats (9.1), admin (9.5). One
 * object, one loop. What a program knows is plugged in as pages: a page answers on the admin's loop
 * from immutable data, or is gathered from several loops (obs/gather.h).
 */
#pragma once

#include "http/http_server.h"
#include "obs/gather.h"
#include "obs/metrics.h"

enum { READY_BLOCKERS_MAX = 32, ADMIN_PAGES_MAX = 24 };

/* Why the program is not ready yet: names, for as long as they are held. Any thread. */
struct readiness;
struct readiness *readiness_new(void);
void readiness_free(struct readiness *r);
AUTO_DEFINE(readiness, struct readiness *, readiness_free);
/* name is static text, at most READY_BLOCKERS_MAX different ones. */
void readiness_block(struct readiness *r, const char *name);
void readiness_clear(struct readiness *r, const char *name);
bool readiness_is_ready(struct readiness *r);
/* "state manager, workload proxy manager": sorted; empty when ready. */
void readiness_write(struct readiness *r, struct strbuf *out);

struct admin_page {           /* static or outliving the admin */
    const char *path;         /* exact */
    const char *what;         /* one line for the index */
    const char *content_type; /* of a 200 */
    /* render or sources. render: *status is 200 when it is called. */
    void (*render)(void *arg, struct slice query, unsigned *status, struct strbuf *out);
    const struct gather_source *sources; /* their texts are joined as elements of one JSON array */
    unsigned source_count;
    /* With sources: makes the page of what was gathered; NULL: the array is the page. */
    void (*compose)(void *arg, const struct strbuf *gathered, struct strbuf *out);
    void *arg;
};

struct admin_options {
    const char *title;           /* of the index page */
    struct metrics *metrics;     /* NULL: no stats endpoint */
    struct readiness *readiness; /* NULL: no readiness endpoint */
    const char *log_directives;  /* what /logging?reset restores */
    /* POST /quitquitquit: flips this and wakes the task with WAKE_DRAIN. NULL: 404. */
    bool *quit;
    struct task *quit_task;
};

struct admin;

/* Everything in options is borrowed. */
struct admin *admin_new(struct loop *l, const struct admin_options *options);
void admin_page(struct admin *a, const struct admin_page *page);
enum admin_door { ADMIN_DOOR, ADMIN_STATS, ADMIN_READINESS };
/* Listens at an address text. */
MUST_USE int admin_open(struct admin *a, enum admin_door door, const char *address, uint16_t port,
                        struct diag *why);
/* Each takes a listening non-blocking socket. */
MUST_USE int admin_listen(struct admin *a, int take_fd, struct diag *why);
MUST_USE int admin_listen_stats(struct admin *a, int take_fd, struct diag *why);
MUST_USE int admin_listen_readiness(struct admin *a, int take_fd, struct diag *why);
void admin_free(struct admin *a);
AUTO_DEFINE(admin, struct admin *, admin_free);
