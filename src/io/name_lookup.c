/* SPDX-License-Identifier: Apache-2.0 */
#include "io/name_lookup.h"

#include <netdb.h>
#include <string.h>

static void results_free(struct addrinfo *list)
{
    if (list) {
        freeaddrinfo(list);
    }
}
AUTO_DEFINE(results, struct addrinfo *, results_free);

int name_lookup_blocking(const char *host, struct ip *out, unsigned max, struct diag *why)
{
    AUTO(results) struct addrinfo *list = NULL;
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG};
    int count = 0;

    if (max > 0 && ip_parse(out, host, strlen(host)) == 0) {
        return 1;
    }
    int r = getaddrinfo(host, NULL, &hints, &list);
    if (r != 0) {
        return FAIL(why, -ERR_NOT_FOUND, "look up %.60s: %s", host, gai_strerror(r));
    }
    for (struct addrinfo *a = list; a && count < (int)max; a = a->ai_next) {
        struct sockaddr_storage ss = {0};
        struct endpoint e;
        memcpy(&ss, a->ai_addr, a->ai_addrlen < sizeof(ss) ? a->ai_addrlen : sizeof(ss));
        if (endpoint_from_sockaddr(&e, &ss) == 0) {
            out[count++] = e.ip;
        }
    }
    return count > 0 ? count : FAIL(why, -ERR_NOT_FOUND, "look up %.60s: no address", host);
}
