/* SPDX-License-Identifier: Apache-2.0 */
#include "test_netns.h"

#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "t.h"

/* In a thread of its own, so that nobody else moves. */
static void *make(void *arg)
{
    struct netns **out = arg;

    if (test_network_new()) {
        (void)(netns_from_thread(out, NULL) == 0);
    }
    return NULL;
}

struct netns *test_netns_new(void)
{
    struct netns *n = NULL;
    pthread_t maker;

    if (pthread_create(&maker, NULL, make, &n) == 0) {
        (void)pthread_join(maker, NULL);
    }
    if (!n) {
        printf("Bail out! cannot make a network namespace\n");
        exit(EXIT_FAILURE);
    }
    return n;
}

int test_netns_run(struct netns *n, const char *const argv[])
{
    pid_t child = fork();
    int status = -1;

    if (child == 0) {
        if (netns_enter(n, NULL) == 0) {
            execvp(argv[0], (char *const *)(uintptr_t)argv);
        }
        _exit(127);
    }
    (void)waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}
