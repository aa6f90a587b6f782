/* SPDX-License-Identifier: Apache-2.0 */
#include <signal.h>
#include <stdio.h>

#include "io/thread_int.h"

/* Raised by what the thread itself did: a blocked one would kill without a report. */
static const int own_faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};

int thread_start(pthread_t *out, const char *name, void *(*main_fn)(void *), void *arg,
                 struct diag *why)
{
    char cut[THREAD_NAME];
    sigset_t all;
    sigset_t before;

    (void)sigfillset(&all);
    for (size_t i = 0; i < ARRAY_LEN(own_faults); i++) {
        (void)sigdelset(&all, own_faults[i]);
    }
    (void)pthread_sigmask(SIG_SETMASK, &all, &before); /* what is created inherits the mask */
    int r = pthread_create(out, NULL, main_fn, arg);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (r != 0) {
        return FAIL(why, -r, "start thread %s", name);
    }
    (void)snprintf(cut, sizeof(cut), "%s", name);
    (void)pthread_setname_np(*out, cut); /* a name is a convenience */
    return 0;
}
