/* SPDX-License-Identifier: Apache-2.0 */
#include "waypoint/config.h"

#include <string.h>

#include "base/mem.h"
#include "t.h"
#include "waypoint/routes_sink.h"
#include "xds/resource.h"
#include "xds/waypoint.h"

TEST(the_least_that_is_needed_and_what_the_rest_is_then)
{
    char *env[] = {(char *)(uintptr_t) "GATEWAY=gate", (char *)(uintptr_t) "NAMESPACE=shop",
                   (char *)(uintptr_t) "CA_ADDRESS=ca:15012", NULL};
    struct config c;
    struct diag why = {0};

    CHECK_INT(config_read(&c, env, &why), 0);
    CHECK_STR(c.service_account, "gate");
    CHECK_STR(c.hostname, "gate.shop.svc.cluster.local");
    CHECK_STR(c.common.ca_address, "https://ca:15012");
    CHECK_STR(c.common.trust_domain, "cluster.local");
    CHECK(c.common.workers >= 1 && c.drain_ms == 30000 && c.sniff_ms == 100 && !c.xfcc);
    CHECK_INT(c.head_rate, 500);
    AUTO(text) char *id = config_node_id(&c);
    CHECK_STR(id, "waypoint~0.0.0.0~gate.shop~shop.svc.cluster.local");
    config_fini(&c);
}

TEST(unusable_values_name_their_variable)
{
    static const struct {
        const char *value;
        const char *named;
    } rows[] = {{"GATEWAY=", "GATEWAY"},
                {"HBONE_PORT=70000", "HBONE_PORT"},
                {"XFCC_INCLUDE_CLIENT_IDENTITY=yes", "XFCC_INCLUDE_CLIENT_IDENTITY"},
                {"PATH_NORMALIZATION=base", "PATH_NORMALIZATION"},
                {"PLAIN_LISTENERS=1.2.3.4:80", "PLAIN_LISTENERS"},
                {"PLAIN_LISTENERS=1.2.3.4:80=10.0.0.1:81", "loopback"},
                {"PLAIN_LISTENERS=127.0.0.1:80=10.0.0.1:81,0.0.0.0:82=10.0.0.1:81", "loopback"},
                {"WAYPOINT_WORKER_THREADS=257", "WAYPOINT_WORKER_THREADS"},
                {"HEADERS_WITH_UNDERSCORES=deny", "HEADERS_WITH_UNDERSCORES"},
                {"WAYPOINT_MEMORY_LIMIT=64Mi", "WAYPOINT_MEMORY_LIMIT"},
                {"HTTP2_STREAM_WINDOW_SIZE=2147483648", "HTTP2_STREAM_WINDOW_SIZE"},
                {"TERMINATION_DRAIN_DURATION=x", "TERMINATION_DRAIN_DURATION"},
                {"TERMINATION_GRACE_PERIOD_SECONDS=-1", "TERMINATION_GRACE_PERIOD_SECONDS"},
                {"XDS_HEADER_X=a\tb\n", "XDS_HEADER_X"}};

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char *env[] = {(char *)(uintptr_t)rows[i].value, (char *)(uintptr_t) "GATEWAY=gate",
                       (char *)(uintptr_t) "NAMESPACE=shop", NULL};
        struct config c;
        struct diag why = {0};
        CHECK(config_read(&c, env, &why) < 0);
        CHECK(strstr(why.text, rows[i].named));
    }
}

TEST(plain_listeners)
{
    char *env[] = {
        (char *)(uintptr_t) "GATEWAY=gate", (char *)(uintptr_t) "NAMESPACE=shop",
        (char *)(uintptr_t) "PLAIN_LISTENERS=127.0.0.1:80=10.0.0.1:81,[::1]:82=[fd00::1]:83", NULL};
    struct config c;
    struct diag why = {0};

    CHECK_INT(config_read(&c, env, &why), 0);
    CHECK(c.plain_count == 2 && c.plain[0].at.port == 80 && c.plain[0].to.port == 81 &&
          c.plain[1].at.ip.family == IP_V6 && c.plain[1].to.port == 83);
    config_fini(&c);
}

static unsigned place_of(const struct ads_interest *i, const char *type)
{
    unsigned at = 0;

    while (at < i->type_count && strcmp(i->types[at], type) != 0) {
        at++;
    }
    return at;
}

/* Answers come in the order of the questions, and each is in force at once. */
TEST(policies_are_asked_for_before_routes_and_these_before_what_is_served)
{
    struct snap_slot slot = {NULL};
    struct routes_sink *s = routes_sink_new(&slot, 1);
    const struct ads_interest *i = routes_sink_interest(s);

    CHECK(place_of(i, XDS_TYPE_L7_BINDING) < i->type_count);
    CHECK(place_of(i, XDS_TYPE_L7_POLICY) < place_of(i, XDS_TYPE_L7_ROUTE));
    CHECK(place_of(i, XDS_TYPE_L7_TRAFFIC) < place_of(i, XDS_TYPE_L7_BINDING));
    CHECK(place_of(i, XDS_TYPE_L7_ROUTE) < place_of(i, XDS_TYPE_L7_BINDING));
    snap_slot_fini(&slot);
    routes_sink_free(s);
}
