/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What capturing a pod costs: `bench_rules COUNT` installs the rules in a network namespace of its own
 * and removes them, so many times, and prints milliseconds of installing as JSON.
 */
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/num.h"
#include "node/rules.h"

enum { COUNT_MAX = 10000 };

static double now_ms(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static void need(int r, const struct diag *why)
{
    if (r < 0) {
        (void)fprintf(stderr, "bench_rules: %s\n", why->text);
        exit(1);
    }
}

/* With loopback, over which routes of the rules lead. */
static bool own_network(void)
{
    struct ifreq lo = {.ifr_name = "lo", .ifr_flags = IFF_UP};
    int fd = unshare(CLONE_NEWNET) < 0 ? -1 : socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    bool good = fd >= 0 && ioctl(fd, SIOCSIFFLAGS, &lo) == 0;

    if (fd >= 0) {
        close(fd);
    }
    return good;
}

int main(int argc, char **argv)
{
    static double ms[COUNT_MAX];
    struct rules rules = {.inbound = true, .dns = true};
    struct diag why = {.code = 0};
    uint32_t count = 0;

    if (argc != 2 || num_parse_u32(argv[1], strlen(argv[1]), COUNT_MAX, &count) < 0 || count == 0) {
        (void)fprintf(stderr, "usage: bench_rules COUNT\n");
        return 2;
    }
    if (!own_network()) {
        perror("bench_rules: a network namespace");
        return 1;
    }
    for (uint32_t i = 0; i < count; i++) {
        double from = now_ms();

        need(rules_install_blocking(&rules, &why), &why);
        ms[i] = now_ms() - from;
        need(rules_remove_blocking(&why), &why);
    }
    qsort(ms, count, sizeof(ms[0]), compare);
    printf("{\"p50_ms\": %.3f, \"p99_ms\": %.3f}\n", ms[count / 2], ms[count * 99 / 100]);
    return 0;
}
