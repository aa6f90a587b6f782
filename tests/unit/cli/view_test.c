/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/view.h"

#include <string.h>

#include "base/mem.h"
#include "cli/log_tail.h"
#include "cli/rows.h"
#include "codec/json.h"
#include "t.h"

enum { NOON_S = 1795694400 }; /* 2026-11-26T12:00:00Z, two hours before the recorded leaves end */

static struct json *read_json(const char *text)
{
    struct json *j = NULL;

    return json_parse(&j, text, strlen(text), NULL, NULL) < 0 ? NULL : j;
}

static struct json *recorded(void)
{
    size_t len;
    AUTO(text) char *text = test_vector("cli/config_dump-node1.json", &len);
    struct json *j = NULL;

    return json_parse(&j, text, len, NULL, NULL) < 0 ? NULL : j;
}

static const struct json *find(const struct json *rows, const char *key, const char *value)
{
    for (size_t i = 0; i < json_count(rows); i++) {
        if (strcmp(json_str_at(json_item(rows, i), key, ""), value) == 0) {
            return json_item(rows, i);
        }
    }
    return NULL;
}

static bool shows(const struct json *row, const char *want)
{
    AUTO(json) struct json *wanted = read_json(want);
    struct json_iter it = {0};

    while (json_each(wanted, &it)) {
        if (!json_same(json_get(row, it.key), it.value)) {
            AUTO(strbuf) struct strbuf b = {0};
            json_print(row, JSON_PRINT_INDENT, &b);
            (void)printf("# %s is not as wanted in %s\n", it.key, strbuf_text(&b));
            return false;
        }
    }
    return wanted != NULL;
}

TEST(recorded_workloads_are_shown_with_their_place_in_the_mesh)
{
    AUTO(json) struct json *dump = recorded();
    AUTO(json) struct json *by_uid = json_new_object();

    view_workloads(dump, by_uid);
    AUTO(json) struct json *rows = rows_values(by_uid);
    CHECK_INT(json_count(rows), 64);
    CHECK(shows(find(rows, "name", "pod11"),
                "{\"mesh\":\"in\",\"namespace\":\"shop\",\"node\":\"node1\",\"protocol\":\"HBONE\","
                "\"identity\":\"spiffe://cluster.local/ns/shop/sa/sa11\"}"));
    CHECK(shows(find(rows, "name", "pod21"), "{\"mesh\":\"remote\",\"status\":\"Healthy\"}"));
    CHECK(shows(find(rows, "name", "pod22"), "{\"mesh\":\"no\",\"protocol\":\"TCP\"}"));
}

TEST(a_workload_known_to_two_nodes_is_one_row_and_belongs_to_who_runs_it)
{
    static const char world[] = "{\"workloads\":[{\"uid\":\"u1\",\"name\":\"a\",\"namespace\":"
                                "\"s\",\"protocol\":\"HBONE\"}],"
                                "\"workloadState\":{%s}}";
    static const struct {
        const char *first;
        const char *second;
        const char *mesh;
    } rows[] = {
        {"", "", "remote"},
        {"\"k\":{\"state\":\"Up\",\"info\":{\"name\":\"a\",\"namespace\":\"s\"}}", "", "in"},
        {"", "\"k\":{\"state\":\"Up\",\"info\":{\"name\":\"a\",\"namespace\":\"s\"}}", "in"},
        {"", "\"k\":{\"state\":\"Pending\",\"info\":{\"name\":\"a\",\"namespace\":\"s\"}}",
         "pending"},
        {"", "\"k\":{\"state\":\"Up\",\"info\":{\"name\":\"a\",\"namespace\":\"other\"}}",
         "remote"},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        AUTO(json) struct json *by_uid = json_new_object();
        const char *const states[] = {rows[i].first, rows[i].second};
        for (size_t k = 0; k < ARRAY_LEN(states); k++) {
            AUTO(strbuf) struct strbuf text = {0};
            const char *hole = strstr(world, "%s");
            strbuf_add(&text, world, (size_t)(hole - world));
            strbuf_puts(&text, states[k]);
            strbuf_puts(&text, hole + 2);
            AUTO(json) struct json *dump = read_json(strbuf_text(&text));
            view_workloads(dump, by_uid);
        }
        CHECK_INT(json_count(by_uid), 1);
        CHECK_STR(json_str_at(json_get(by_uid, "u1"), "mesh", ""), rows[i].mesh);
    }
}

TEST(recorded_services_are_shown_with_addresses_ports_and_health)
{
    AUTO(json) struct json *dump = recorded();
    AUTO(json) struct json *by_host = json_new_object();

    view_services(dump, by_host);
    view_services(dump, by_host); /* the second node knows the same */
    AUTO(json) struct json *rows = rows_values(by_host);
    CHECK_INT(json_count(rows), 14);
    CHECK(shows(find(rows, "name", "web"), "{\"vips\":[\"10.96.0.10\",\"fd96::10\"],"
                                           "\"ports\":[\"80->9002\"],\"endpoints\":\"1/1\"}"));
    CHECK(shows(find(rows, "name", "many"), "{\"ports\":[\"80\"],\"endpoints\":\"60/60\"}"));
    CHECK(shows(find(rows, "name", "cidr"), "{\"vips\":[\"10.97.0.0/24\"]}"));
    CHECK(shows(find(rows, "name", "bare"), "{\"vips\":[],\"endpoints\":\"0/0\"}"));
}

TEST(recorded_certificates_are_judged_by_the_time_they_have_left)
{
    static const struct {
        int64_t now_s;
        const char *verdict;
    } rows[] = {{NOON_S - 86400, "valid"}, /* a day before */
                {NOON_S, "near its end"},
                {NOON_S + 86400, "expired"}};

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        AUTO(json) struct json *dump = recorded();
        AUTO(json) struct json *certs = json_new_array();
        view_certs(dump, "n1", rows[i].now_s, certs);
        CHECK_INT(json_count(certs), 4);
        CHECK_STR(json_str_at(find(certs, "kind", "leaf"), "verdict", ""), rows[i].verdict);
        CHECK_STR(json_str_at(find(certs, "kind", "root"), "verdict", ""), "valid");
        CHECK_INT(json_int_at(find(certs, "kind", "leaf"), "left_s", 0),
                  NOON_S + 8180 - rows[i].now_s);
    }
}

TEST(an_identity_without_certificate_is_a_missing_leaf)
{
    AUTO(json)
    struct json *dump = read_json("{\"certificates\":[{\"identity\":\"spiffe://d/ns/a/sa/"
                                  "b\",\"state\":\"Unavailable: no\"}]}");
    AUTO(json) struct json *certs = json_new_array();

    view_certs(dump, "n1", NOON_S, certs);
    CHECK_INT(json_count(certs), 1);
    CHECK(shows(json_item(certs, 0), "{\"kind\":\"leaf\",\"verdict\":\"missing\","
                                     "\"state\":\"Unavailable: no\",\"node\":\"n1\"}"));
}

TEST(a_fifth_of_its_life_is_near_the_end)
{
    CHECK(!view_is_near_end(0, 100, 80));
    CHECK(view_is_near_end(0, 100, 81));
    CHECK(view_is_near_end(0, 100, 99));
    CHECK(!view_is_near_end(0, 100, 100)); /* that is over */
}

static const char records[] =
    "[{\"source_namespace\":\"shop\",\"source_workload\":\"web\",\"src.pod\":\"web-1\","
    "\"destination_namespace\":\"shop\",\"destination_workload\":\"cart\",\"dst.pod\":\"cart-1\","
    "\"destination_service\":\"cart.shop.svc.cluster.local\",\"reporter\":\"source\","
    "\"mutual_tls\":true,\"src.addr\":\"10.0.0.1:4000\",\"dst.addr\":\"10.0.0.2:15008\","
    "\"src.identity\":\"spiffe://d/ns/shop/sa/web\",\"dst.identity\":\"spiffe://d/ns/shop/sa/"
    "cart\","
    "\"to_server\":10,\"to_client\":20,\"age_ms\":5000},"
    "{\"source_namespace\":\"unknown\",\"source_workload\":\"unknown\",\"src.pod\":\"unknown\","
    "\"destination_namespace\":\"shop\",\"destination_workload\":\"cart\",\"dst.pod\":\"unknown\","
    "\"destination_service\":\"unknown\",\"reporter\":\"destination\",\"mutual_tls\":false,"
    "\"src.addr\":\"192.0.2.9:999\",\"dst.addr\":\"10.0.0.2:80\",\"flags\":\"DENY\","
    "\"error\":\"denied\",\"time\":\"2026-11-25T15:00:00.000001Z\"},"
    "{\"reporter\":\"source\",\"mutual_tls\":false,\"source_namespace\":\"prod\",\"src.pod\":"
    "\"job\","
    "\"src.addr\":\"10.0.0.3:1\",\"dst.addr\":\"198.51.100.1:443\",\"flags\":\"-\"},"
    "{\"reporter\":\"source\",\"mutual_tls\":true,\"src.addr\":\"10.0.0.3:1\",\"flags\":"
    "\"CONNECT\"}]";

TEST(access_records_become_rows_with_names_for_who_is_known)
{
    AUTO(json) struct json *in = read_json(records);
    AUTO(json) struct json *rows = json_new_array();

    view_access(in, "n1", rows);
    CHECK_INT(json_count(rows), 4);
    CHECK(shows(json_item(rows, 0),
                "{\"secured\":\"mTLS\",\"direction\":\"outbound\",\"source\":\"shop/web-1\","
                "\"destination\":\"shop/cart-1\",\"service\":\"cart.shop.svc.cluster.local\","
                "\"source_identity\":\"spiffe://d/ns/shop/sa/web\",\"age_ms\":5000}"));
    CHECK(!json_get(json_item(rows, 0), "verdict"));
    CHECK(shows(json_item(rows, 1),
                "{\"secured\":\"PLAINTEXT\",\"direction\":\"inbound\",\"source\":\"192.0.2.9:999\","
                "\"destination\":\"shop/cart\",\"service\":\"\",\"verdict\":\"DENIED\","
                "\"error\":\"denied\",\"node\":\"n1\"}"));
    CHECK(shows(json_item(rows, 2), "{\"destination\":\"198.51.100.1:443\",\"verdict\":\"ok\"}"));
    CHECK(shows(json_item(rows, 3), "{\"source\":\"10.0.0.3:1\",\"verdict\":\"FAILED\"}"));
}

TEST(filters_keep_what_they_name)
{
    static char web[] = "web-1";
    static char cart[] = "shop/cart";
    static char address[] = "198.51.100.1";
    static char identity[] = "spiffe://d/ns/shop/sa/cart";
    static char other[] = "nobody";
    static char prefix[] = "10.0.0";
    static const struct {
        struct view_filter f;
        char *name;
        size_t kept;
    } rows[] = {
        {{0}, NULL, 4},
        {{.namespace = "shop"}, NULL, 2},
        {{.namespace = "prod"}, NULL, 1},
        {{.namespace = "sho"}, NULL, 0},
        {{.only_plain = true}, NULL, 2},
        {{.only_denied = true}, NULL, 1},
        {{.direction = "inbound"}, NULL, 1},
        {{.direction = "outbound", .only_plain = true}, NULL, 1},
        {{0}, web, 1},
        {{0}, cart, 1},
        {{0}, address, 1},
        {{0}, identity, 1},
        {{0}, other, 0},
        {{0}, prefix, 0},
    };
    AUTO(json) struct json *in = read_json(records);
    AUTO(json) struct json *all = json_new_array();

    view_access(in, "n1", all);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct view_filter f = rows[i].f;
        char *name = rows[i].name;
        f.names = &name;
        f.name_count = name ? 1 : 0;
        AUTO(json) struct json *kept = view_filtered(all, &f);
        CHECK_INT(json_count(kept), rows[i].kept);
    }
}

TEST(workloads_are_found_by_every_name_they_have)
{
    static char names[][48] = {"pod11", "shop/pod11", "spiffe://cluster.local/ns/shop/sa/sa11"};
    AUTO(json) struct json *dump = recorded();
    AUTO(json) struct json *by_uid = json_new_object();

    view_workloads(dump, by_uid);
    AUTO(json) struct json *rows = rows_values(by_uid);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        char *name = names[i];
        struct view_filter f = {.names = &name, .name_count = 1};
        AUTO(json) struct json *kept = view_filtered(rows, &f);
        CHECK_INT(json_count(kept), 1);
        CHECK_STR(json_str_at(json_item(kept, 0), "name", ""), "pod11");
    }
}

TEST(broken_policies_are_said_to_deny)
{
    AUTO(json)
    struct json *dump = read_json(
        "{\"policies\":[{\"name\":\"a\",\"namespace\":\"s\",\"action\":\"Deny\",\"rules\":[1]},"
        "{\"name\":\"b\",\"namespace\":\"s\",\"broken\":true}]}");
    AUTO(json) struct json *rows = json_new_array();

    view_policies(dump, rows);
    CHECK(shows(json_item(rows, 0), "{\"state\":\"ok\",\"rules\":1,\"action\":\"Deny\"}"));
    CHECK(shows(json_item(rows, 1), "{\"state\":\"broken: denies\"}"));
}

TEST(a_ring_asked_again_gives_only_what_is_new)
{
    AUTO(log_tail) struct log_tail *tail = log_tail_new();
    AUTO(json) struct json *one = read_json("[{\"n\":1},{\"n\":2}]");
    AUTO(json) struct json *two = read_json("[{\"n\":2},{\"n\":3}]");
    AUTO(json) struct json *far = read_json("[{\"n\":8},{\"n\":9}]");
    AUTO(json) struct json *a = log_tail_take(tail, "n1", one);
    AUTO(json) struct json *b = log_tail_take(tail, "n1", two);
    AUTO(json) struct json *other = log_tail_take(tail, "n2", two);
    AUTO(json) struct json *again = log_tail_take(tail, "n1", two);

    CHECK_INT(json_count(a), 2);
    CHECK_INT(json_count(b), 1);
    CHECK_INT(json_int_at(json_item(b, 0), "n", 0), 3);
    CHECK_INT(json_count(other), 2);
    CHECK_INT(json_count(again), 0);
    CHECK(!log_tail_has_lost(tail));
    AUTO(json) struct json *late = log_tail_take(tail, "n1", far);
    CHECK_INT(json_count(late), 2);
    CHECK(log_tail_has_lost(tail));
    CHECK(!log_tail_has_lost(tail));
}
