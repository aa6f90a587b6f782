/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>
#include <strings.h>

#include "base/str.h"
#include "control/service_facts.h"
#include "model/l7_binding.h"
#include "xds/resource.h"

static const struct {
    const char *name;
    uint8_t app;
} known[] = {
    {"http", APP_HTTP11},
    {"http2", APP_HTTP2},
    {"grpc", APP_GRPC},
    {"https", APP_TLS},
    {"tls", APP_TLS},
    {"tcp", APP_TCP},
    {"kubernetes.io/h2c", APP_HTTP2},
    {"kubernetes.io/ws", APP_HTTP11},
    {"kubernetes.io/wss", APP_TLS},
    /* Protocols that have names of their own and mean nothing to the node proxy. */
    {"grpc-web", APP_UNKNOWN},
    {"mongo", APP_UNKNOWN},
    {"redis", APP_UNKNOWN},
    {"mysql", APP_UNKNOWN},
    {"hbone", APP_UNKNOWN},
    {"udp", APP_UNKNOWN},
};

static bool look_up(struct slice name, uint8_t *out)
{
    for (size_t i = 0; i < ARRAY_LEN(known); i++) {
        if (slice_is_any_case(name, known[i].name)) {
            *out = known[i].app;
            return true;
        }
    }
    return false;
}

/* What such a server says comes first on the wire: nothing is to be guessed there. */
static bool server_speaks_first(uint16_t port)
{
    return port == 25 || port == 53 || port == 3306 || port == 27017;
}

/* Whose servers may speak first, or that are no HTTP: they are not to be sniffed. */
static bool is_plain_tcp(struct slice name)
{
    static const char *const names[] = {"mongo", "redis", "mysql",    "postgres",
                                        "kafka", "smtp",  "memcached"};

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (slice_is_any_case(name, names[i])) {
            return true;
        }
    }
    return false;
}

uint8_t l7_protocol_of(const char *app_protocol, const char *name, uint8_t app)
{
    static const uint8_t same[] = {
        [APP_UNKNOWN] = L7_UNKNOWN, [APP_HTTP11] = L7_HTTP, [APP_HTTP2] = L7_HTTP2,
        [APP_GRPC] = L7_GRPC,       [APP_TCP] = L7_TCP,     [APP_TLS] = L7_TLS,
    };
    struct slice head = slice_of(app_protocol ? app_protocol : name);
    struct slice rest;

    if (head.len >= 8 && strncasecmp(head.p, "grpc-web", 8) == 0) {
        return L7_HTTP;
    }
    if (!app_protocol) {
        (void)slice_cut(head, '-', &head, &rest); /* without one, all of it is the head */
    }
    return is_plain_tcp(head) ? L7_TCP : same[app];
}

uint8_t app_protocol_of(const char *protocol, const char *app_protocol, const char *name,
                        uint16_t port)
{
    struct slice head = slice_of(app_protocol ? app_protocol : name);
    struct slice rest;
    uint8_t app = APP_UNKNOWN;

    if (strcmp(protocol, "UDP") == 0) {
        return APP_UNKNOWN;
    }
    bool is_web = !app_protocol && head.len >= 8 && strncasecmp(head.p, "grpc-web", 8) == 0;
    if (is_web) {
        head.len = 8;
    } else if (!app_protocol) {
        (void)slice_cut(head, '-', &head, &rest); /* without one, all of it is the head */
    }
    if (look_up(head, &app)) {
        return app;
    }
    return server_speaks_first(port) ? APP_TCP : APP_UNKNOWN;
}
