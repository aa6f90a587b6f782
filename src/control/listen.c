/* SPDX-License-Identifier: Apache-2.0 */
#include "control/listen.h"

#include <string.h>

#include "io/sock.h"

enum { BACKLOG = 1024 };

static int try_listen(const struct endpoint *at, int *out_fd, struct diag *why)
{
    int fd = sock_open((enum ip_family)at->ip.family, SOCK_TYPE_STREAM, why);
    int r = fd < 0 ? fd : sock_set_reuse_address(fd, why);

    if (r == 0 && at->ip.family == IP_V4 && ip_is_link_local(&at->ip)) {
        /* comes with the first pod's link */
        r = sock_set_freebind(fd, why);
    }
    if (r == 0) {
        r = sock_bind(fd, at, why);
    }
    if (r == 0) {
        r = sock_listen(fd, BACKLOG, why);
    }
    if (r < 0) {
        sock_close(&fd);
        return r;
    }
    *out_fd = fd;
    return 0;
}

int listen_at(const char *flag, const char *text, int *out_fd, struct endpoint *out_at,
              struct diag *why)
{
    struct endpoint at;
    int fd = -1;

    if (endpoint_parse(&at, text, strlen(text)) < 0) {
        return FAIL(why, -ERR_SYNTAX, "%s: %.80s is not address:port", flag, text);
    }
    int r = try_listen(&at, &fd, why);
    if ((r == -EAFNOSUPPORT || r == -EADDRNOTAVAIL) && at.ip.family == IP_V6 &&
        ip_is_unspecified(&at.ip)) {
        at.ip = (struct ip){.family = IP_V4};
        r = try_listen(&at, &fd, why);
    }
    if (r == 0) {
        r = sock_local(fd, &at);
    }
    if (r < 0) {
        sock_close(&fd);
        return FAIL(why, r, "%s: listen at %.80s: %s", flag, text, err_text(r));
    }
    *out_fd = fd;
    *out_at = at;
    return 0;
}
