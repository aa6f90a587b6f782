/* SPDX-License-Identifier: Apache-2.0 */
/* What main() of a proxy does: verbs, settings, the log, the exit status. */
#pragma once

#include "base/log.h"
#include "proxy/settings.h"

struct proxy_program {
    const char *name;      /* "ambit-ztunnel" */
    const char *what;      /* one line of the usage */
    const char *variables; /* whose environment it takes */
    struct log_scope *scope;
    const struct proxy_settings *settings; /* filled by read */
    int (*read)(char *const *env, struct diag *why);
    /* Serves until the process is to end: its exit status, or an error of the start. */
    int (*serve)(struct diag *why);
    void (*fini)(void); /* of what read made */
};

/* The exit status. */
int proxy_main(const struct proxy_program *p, int argc, char **argv, char **env);
