/* SPDX-License-Identifier: Apache-2.0 */
#include "t.h"

#include <dirent.h>
#include <net/if.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

static struct test *first;
static struct test **last = &first;

void test_register(struct test *t)
{
    *last = t;
    last = &t->next;
}

void test_fail(struct test *t, const char *file, int line, const char *what)
{
    t->failed = true;
    printf("# %s:%d: %s\n", file, line, what);
}

bool test_int(struct test *t, const char *file, int line, const char *what, long long got,
              long long want)
{
    char why[256];

    if (got == want) {
        return true;
    }
    (void)snprintf(why, sizeof(why), "%s is %lld, want %lld", what, got, want);
    test_fail(t, file, line, why);
    return false;
}

bool test_str(struct test *t, const char *file, int line, const char *what, const char *got,
              const char *want)
{
    char why[1024];

    if (got && strcmp(got, want) == 0) {
        return true;
    }
    (void)snprintf(why, sizeof(why), "%s is \"%s\", want \"%s\"", what, got ? got : "(null)", want);
    test_fail(t, file, line, why);
    return false;
}

bool test_mem(struct test *t, const char *file, int line, const char *what, const void *got,
              const void *want, size_t len)
{
    const unsigned char *g = got;
    const unsigned char *w = want;
    char why[256];

    for (size_t i = 0; i < len; i++) {
        if (g[i] != w[i]) {
            (void)snprintf(why, sizeof(why), "%s differs at byte %zu: %02x, want %02x", what, i,
                           g[i], w[i]);
            test_fail(t, file, line, why);
            return false;
        }
    }
    return true;
}

int test_fd_count(void)
{
    DIR *d = opendir("/proc/self/fd");
    int n = 0;

    if (!d) {
        return -1;
    }
    while (readdir(d)) {
        n++;
    }
    (void)closedir(d);
    return n;
}

bool test_network_new(void)
{
    struct ifreq r = {.ifr_name = "lo", .ifr_flags = IFF_UP};

    if (unshare(CLONE_NEWNET) < 0) {
        return false;
    }
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    bool up = ioctl(fd, SIOCSIFFLAGS, &r) == 0;
    (void)close(fd);
    return up;
}

/* Before there are threads or sockets, which would stay behind. */
__attribute__((constructor(102))) static void leave_the_network(void)
{
    if (!test_network_new()) {
        printf("Bail out! cannot make a network namespace\n");
        exit(EXIT_FAILURE);
    }
}

char *test_vector(const char *path, size_t *out_len)
{
    const char *root = getenv("TEST_VECTORS");
    char full[1024];
    char *data = NULL;
    size_t len = 0;

    (void)snprintf(full, sizeof(full), "%s/%s", root ? root : "tests/vectors", path);
    FILE *f = fopen(full, "rbe");
    if (!f) {
        printf("Bail out! no test data at %s\n", full);
        exit(EXIT_FAILURE);
    }
    for (;;) {
        data = realloc(data, len + 65536 + 1);
        if (!data) {
            abort();
        }
        size_t n = fread(data + len, 1, 65536, f);
        len += n;
        if (n == 0) {
            break;
        }
    }
    (void)fclose(f);
    data[len] = '\0';
    if (out_len) {
        *out_len = len;
    }
    return data;
}

int main(int argc, char **argv)
{
    int n = 0;
    int bad = 0;

    for (struct test *t = first; t; t = t->next) {
        if (argc > 1 && strcmp(argv[1], t->name) != 0) {
            continue;
        }
        t->fn(t);
        n++;
        bad += t->failed;
        printf("%s %d - %s\n", t->failed ? "not ok" : "ok", n, t->name);
        (void)fflush(stdout);
    }
    printf("1..%d\n", n);
    return bad > 0 || n == 0;
}
