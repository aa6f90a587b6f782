/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the control loops of both proxies stand on: the loop with its task, signals, the link to the
 * control plane, workers with a world each, discovery, readiness and the admin endpoints. Embedded in
 * the proxy's own control; the control loop's thread, but for what runs on the workers.
 *
 * Built in the order of the functions below; taken down in theirs, at any stage of the building.
 */
#pragma once

#include "ca/control_link.h"
#include "io/process.h"
#include "io/spare_memory.h"
#include "io/worker.h"
#include "obs/admin.h"
#include "obs/part_meter.h"
#include "proxy/settings.h"
#include "xds/ads_client.h"

struct proxy {          /* zeroed is closed */
    struct task task;   /* the owner's steps */
    struct timer limit; /* of the owner's step */
    struct loop *loop;
    const struct proxy_settings *settings;
    const char *title;
    const char *name;
    struct metrics *metrics;
    struct metrics_shard *shard; /* the control loop's */
    struct quit_signals signals;
    bool quit; /* POST /quitquitquit */
    struct control_link link;
    struct snap_slot *worlds; /* one a worker, as everything below */
    struct loop **loops;      /* NULL-terminated */
    struct worker **workers;
    unsigned worker_count;
    struct ads_client *ads;   /* NULL: no discovery */
    struct ads_stats counted; /* of it so far */
    struct readiness *readiness;
    struct admin *admin;
    struct gather_source *gathered; /* one a worker, for each page in turn */
    struct spare_memory spare;
    struct part_meter meter; /* of the control loop */
};

/* What blocks readiness until discovery is synced (contract 1.8). */
extern const char proxy_state_manager[];

struct proxy_options { /* outliving the proxy */
    const struct proxy_settings *settings;
    task_fn *run;                         /* of the task */
    const char *title;                    /* of the program: "ambit-ztunnel" */
    const char *name;                     /* of its threads: "ztunnel" */
    const char *component;                /* as metrics name it */
    const struct metric_set *const *sets; /* every family that there is */
    unsigned set_count;
};

/* Loop, task, metrics, readiness, signals. After a failure proxy_close is due all the same, here and
 * below. */
MUST_USE int proxy_open(struct proxy *p, const struct proxy_options *options, struct diag *why);
/* impersonate: ask for the identities of others. */
MUST_USE int proxy_open_link(struct proxy *p, bool impersonate, struct diag *why);
/* One loop each; they do not run yet. */
MUST_USE int proxy_make_workers(struct proxy *p, struct diag *why);
MUST_USE int proxy_start_workers(struct proxy *p, struct diag *why);
/* Discovery, where there is a control plane for it. interest: see struct ads_config; NULL: none. */
void proxy_discover(struct proxy *p, const char *node_id, const struct ads_interest *interest);

struct proxy_page { /* a JSON array, gathered from what runs on the workers */
    const char *path;
    const char *what;
    void (*render)(void *part, struct strbuf *out);
};

/* The admin with its pages; parts[i] runs on worker i. The pages' sources are p->gathered. */
void proxy_make_admin(struct proxy *p, const struct proxy_page *pages, size_t count,
                      void *const *parts);
/* Admin on loopback, stats and readiness on every address. */
MUST_USE int proxy_open_admin(struct proxy *p, struct diag *why);

/* Brings the metrics up to how discovery stands: p->counted. */
void proxy_count(struct proxy *p);

/* Admin and workers end; what ran on the workers is the caller's to free. */
void proxy_stop(struct proxy *p);
/* Hears what the workers said last; only then what they spoke to may go. Discovery still publishes. */
void proxy_settle(struct proxy *p);
/* And what the workers held of it. */
void proxy_end_discovery(struct proxy *p);
/* The rest, the loop too. */
void proxy_close(struct proxy *p);
