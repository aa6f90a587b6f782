/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What `ambit up` runs: three programs, how each is called, where it can be asked whether it is
 * ready, and which files belong to it. Pure, but for the file that remembers what was started.
 */
#pragma once

#include "base/err.h"
#include "cli/args.h"
#include "cli/daemon.h"

struct json;

enum up_part { UP_CONTROL, UP_AGENT, UP_PROXY, UP_PARTS };
enum { UP_STATE_VERSION = 1 };
enum { UP_PORT_AGENT_READY = 15022, UP_PORT_CONTROL_READY = 15023 };

extern const struct arg_option options_up_where[]; /* run-dir, data, log-dir: of `down` as well */
extern const struct arg_option options_up[];

struct up_config {
    const char *run_dir;   /* borrowed of the arguments */
    struct json *settings; /* up_settings.h; these are in it: */
    const char *data;
    const char *log_dir;
    const char *node;
    const char *listen;
    const char *trust_domain;
    char *programs; /* folder */
};

/* state: what is up already, NULL: nothing. -ERR_SYNTAX: an argument is unusable. */
MUST_USE int up_config_read(const struct args *a, const struct json *state, struct up_config *out,
                            struct diag *why);
void up_config_fini(struct up_config *c);

const char *up_part_name(enum up_part p);
/* Arrays of strings, the caller's. */
struct json *up_pod_ranges(const struct up_config *c); /* addresses of workloads */
struct json *up_argv(const struct up_config *c, enum up_part p);
struct json *up_env(const struct up_config *c, enum up_part p);
/* RUN-DIR/name and the like, the caller's. */
char *up_path(const char *dir, const char *name, const char *ending);
/* The description of this node for every other command (node_where.h); the caller's. */
struct json *up_node_file(const struct up_config *c);

/* RUN-DIR/up.json: {"version", "parts": {NAME: {"pid", "startTime"}}} and the settings. -ENOENT: nothing is up. */
MUST_USE int up_state_load_blocking(const char *run_dir, struct json **out, struct diag *why);
MUST_USE int up_state_save_blocking(const char *run_dir, const struct json *state,
                                    struct diag *why);
/* What an `up` that came to nothing has made of the folder. */
void up_state_forget_blocking(const char *run_dir);
struct daemon up_state_daemon(const struct json *state, enum up_part p);
void up_state_set_daemon(struct json *state, enum up_part p, const struct daemon *d);
