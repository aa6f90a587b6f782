/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is kept of a local workload in its folder RUN_DIR/local/NAMESPACE.NAME, so that a new agent
 * can take it over: record.json {"version": 1, "runDir": "/run/ambit", "spec": {...}, "uid": "...",
 * "ips": [...], "pid": 2, "shim": 1, "startTime": 7, "restarts": 0}. A newer version is refused. Its network
 * namespace is a mount on RUN_DIR/netns/UID, its secrets are in RUN_DIR/secrets/UID. Blocking: job threads, and the shim.
 */
#pragma once

#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/ip.h"
#include "codec/json.h"
#include "node/local_spec.h"
#include "node/pod.h"

enum {
    LOCAL_RECORD_VERSION = 1,
    LOCAL_RUN_DIR_MAX = 64,
    LOCAL_PATH_MAX = 256,
    LOCAL_LOG_MAX = LOCAL_PATH_MAX + 8,
    LOCAL_LAST_MAX = 256,
    LOCAL_RECORD_BYTES_MAX = 1 << 20
};

struct local_record {
    struct json *json; /* owns what spec borrows */
    struct local_spec spec;
    char run_dir[LOCAL_RUN_DIR_MAX];
    char *uid; /* "" until the pod object exists */
    struct ip ips[POD_IPS_MAX];
    unsigned ip_count;
    pid_t command;       /* 0: not started */
    pid_t shim;          /* 0: does not run */
    uint64_t start_time; /* of the shim, in the kernel's ticks: pids are used again */
    unsigned restarts;
};

struct local_exit {
    int code;                  /* when signal is 0 */
    int signal;                /* 0: it ended by itself */
    char last[LOCAL_LAST_MAX]; /* line of its log; "": it has none */
};

/* The caller's. "ended with status 1, is started again" */
struct json *local_exit_text(const struct local_exit *e);

void local_record_fini(struct local_record *r);
/* The folder of a workload, and the file in it that its output goes to. */
void local_record_dir(const struct local_record *r, char out[static LOCAL_PATH_MAX]);
void local_record_log(const struct local_record *r, char out[static LOCAL_LOG_MAX]);
/* -ERR_SYNTAX: the uid, which the API gave, is no file name. */
MUST_USE int local_record_netns(const struct local_record *r, char out[static LOCAL_PATH_MAX]);
/* The folder of its secrets, which its user may read and nobody else but root. Likewise. */
MUST_USE int local_record_secrets(const struct local_record *r, char out[static LOCAL_PATH_MAX]);
/* Pure: json is referenced. */
MUST_USE int local_record_read(const struct json *json, struct local_record *out, struct diag *why);
/* A value of the caller's. */
struct json *local_record_to_json(const struct local_record *r);

MUST_USE int local_record_load_blocking(const char *dir, struct local_record *out,
                                        struct diag *why);
MUST_USE int local_record_save_blocking(const char *dir, const struct json *record,
                                        struct diag *why);
MUST_USE int local_exit_load_blocking(const char *dir, struct local_exit *out, struct diag *why);
MUST_USE int local_exit_save_blocking(const char *dir, const struct local_exit *e,
                                      struct diag *why);
