/* SPDX-License-Identifier: Apache-2.0 */
/* An HTTP server in a thread of its own that answers by a table and remembers what it was asked. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct script_line {
    const char *method;
    const char *path; /* how the request's target begins, or a piece of it after '*' */
    int status;
    const char *body; /* NULL: nothing more is said and the connection stays open (a watch) */
};

struct script_server {
    const struct script_line *lines; /* the first that fits answers; method NULL at the end */
    int fd;
    uint16_t port;
    pthread_t thread;
    atomic_bool stop;
    pthread_mutex_t lock;
    char asked[6000]; /* request lines and bodies, one after another */
    size_t asked_len;
};

void script_server_start(struct script_server *s, const struct script_line *lines);
void script_server_stop(struct script_server *s);
/* Was something like this asked? */
bool script_server_was_asked(struct script_server *s, const char *text);
