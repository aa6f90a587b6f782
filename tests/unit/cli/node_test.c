/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "cli/http_get.h"
#include "cli/kept.h"
#include "cli/node_where.h"
#include "cli/tcp_sockets.h"
#include "codec/json.h"
#include "t.h"

TEST(an_answer_ends_where_it_says_or_with_the_connection)
{
    static const struct {
        const char *text;
        unsigned status;
        const char *body;
    } rows[] = {
        {"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi", 200, "hi"},
        {"HTTP/1.0 200 OK\r\n\r\nhi there", 200, "hi there"},
        {"HTTP/1.1 500 x\r\nContent-Length: 0\r\n\r\n", 500, ""},
        {"HTTP/1.1 404 \r\nContent-Length: 1\r\n\r\nabc", 404, "a"},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct http_answer a;
        CHECK_INT(http_answer_read(rows[i].text, strlen(rows[i].text), &a, NULL), 0);
        bool same = a.status == rows[i].status && strcmp(a.body, rows[i].body) == 0 &&
                    a.len == strlen(rows[i].body);
        http_answer_fini(&a);
        CHECK(same);
    }
}

TEST(an_answer_that_is_cut_or_no_http_is_an_error)
{
    static const struct {
        const char *text;
        int code;
    } rows[] = {
        {"", -ERR_SYNTAX},
        {"HTTP/1.1 200 OK\r\n", -ERR_TRUNCATED},
        {"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhi", -ERR_TRUNCATED},
        {"SSH-2.0-x\r\n\r\n", -ERR_SYNTAX},
        {"HTTP/2 200\r\n\r\n", -ERR_SYNTAX},
        {"HTTP/1.1 2x0 OK\r\n\r\n", -ERR_SYNTAX},
        {"HTTP/1.1 200 OK\r\nno colon\r\n\r\n", -ERR_SYNTAX},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct http_answer a;
        struct diag why = {0};
        CHECK_INT(http_answer_read(rows[i].text, strlen(rows[i].text), &a, &why), rows[i].code);
        CHECK(why.text[0]);
    }
}

TEST(a_description_of_a_node_may_leave_everything_out)
{
    static const char least[] = "{\"version\":1}";
    static const char most[] =
        "{\"version\":1,\"name\":\"x\",\"netns\":\"/run/netns/x\","
        "\"admin\":\"127.0.0.2:1\",\"readiness\":\"[::1]:2\",\"runtime\":\"/r\"}";
    struct node_where n;
    char at[ENDPOINT_TEXT];

    CHECK_INT(node_where_read(least, strlen(least), "n1", "/run/ambit", &n, NULL), 0);
    CHECK_STR(n.name, "n1");
    CHECK(!n.netns);
    CHECK_STR(n.runtime, "/run/ambit/runtime.sock");
    CHECK_STR(endpoint_format(&n.admin, at), "127.0.0.1:15000");
    CHECK_STR(endpoint_format(&n.readiness, at), "127.0.0.1:15021");
    node_where_fini(&n);
    CHECK_INT(node_where_read(most, strlen(most), "n1", "/run/ambit", &n, NULL), 0);
    CHECK_STR(n.name, "x");
    CHECK_STR(n.netns, "/run/netns/x");
    CHECK_STR(n.runtime, "/r");
    CHECK_STR(endpoint_format(&n.admin, at), "127.0.0.2:1");
    CHECK_STR(endpoint_format(&n.readiness, at), "[::1]:2");
    node_where_fini(&n);
}

TEST(a_description_that_is_not_understood_is_refused)
{
    static const struct {
        const char *text;
        int code;
    } rows[] = {{"{}", -ERR_VERSION},
                {"{\"version\":2}", -ERR_VERSION},
                {"{\"version\":1,\"admin\":\"here\"}", -ERR_SYNTAX},
                {"{\"version\":1,\"readiness\":\"1.2.3.4\"}", -ERR_SYNTAX},
                {"{", -ERR_SYNTAX}};

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct node_where n;
        CHECK_INT(node_where_read(rows[i].text, strlen(rows[i].text), "n", "/r", &n, NULL),
                  rows[i].code);
    }
}

/* ---- sockets */

static struct tcp_socket socket_of(const char *local, const char *remote, uint32_t mark)
{
    struct tcp_socket s = {.mark = mark, .listens = !remote};

    if (endpoint_parse(&s.local, local, strlen(local)) < 0 ||
        (remote && endpoint_parse(&s.remote, remote, strlen(remote)) < 0)) {
        s.local.port = 1;
    }
    return s;
}

TEST(a_connection_past_the_proxy_has_no_other_end_in_its_namespace)
{
    struct tcp_socket all[] = {
        socket_of("10.0.0.1:4000", "10.0.0.9:80", 0),         /* 0: opened before the mesh */
        socket_of("10.0.0.1:4001", "10.0.0.9:80", 0),         /* 1: redirected to the proxy */
        socket_of("127.0.0.1:15001", "10.0.0.1:4001", 0x539), /* 2: the proxy's end of it */
        socket_of("10.0.0.1:4002", "10.0.0.9:15008", 0x539),  /* 3: the tunnel */
        socket_of("10.0.0.1:8080", "10.0.0.7:5000", 0),       /* 4: brought by the proxy */
        socket_of("10.0.0.7:5000", "10.0.0.1:8080", 0x1539),  /* 5: the proxy's end of it */
        socket_of("10.0.0.1:8080", "10.0.0.8:5001", 0),       /* 6: accepted before the mesh */
        socket_of("127.0.0.1:9000", "127.0.0.1:9001", 0),     /* 7: within the workload */
        socket_of("127.0.0.1:9001", "127.0.0.1:9000", 0),     /* 8: the other end of it */
        socket_of("0.0.0.0:8080", NULL, 0),                   /* 9: the listener */
        socket_of("10.0.0.9:80", "10.0.0.1:1", 0x111),        /* 10: a reply the proxy spoofs */
    };
    static const bool direct[] = {true, false, false, false, false, false,
                                  true, false, false, false, false};
    struct tcp_sockets s = {all, ARRAY_LEN(all)};

    for (unsigned i = 0; i < ARRAY_LEN(all); i++) {
        (void)printf("# socket %u\n", i);
        CHECK_INT(tcp_socket_is_direct(&s, &all[i]), direct[i]);
    }
    CHECK(!tcp_socket_is_accepted(&s, &all[0]));
    CHECK(tcp_socket_is_accepted(&s, &all[6]));
}

TEST(kept_connections_are_rows_that_say_so)
{
    struct tcp_socket all[] = {socket_of("10.0.0.1:4000", "10.0.0.9:80", 0),
                               socket_of("10.0.0.1:8080", "10.0.0.8:5001", 0),
                               socket_of("10.0.0.1:8080", NULL, 0)};
    struct tcp_sockets s = {all, ARRAY_LEN(all)};
    static const char list[] = "[{\"namespace\":\"shop\",\"name\":\"cart\",\"ips\":[\"10.0.0.1\"]},"
                               "{\"namespace\":\"shop\",\"name\":\"web\",\"ips\":[\"10.0.0.8\"]}]";
    AUTO(json) struct json *workloads = NULL;
    AUTO(json) struct json *rows = json_new_array();
    AUTO(strbuf) struct strbuf b = {0};

    CHECK_INT(json_parse(&workloads, list, strlen(list), NULL, NULL), 0);
    kept_of_sockets(&s, json_item(workloads, 0), workloads, "n1", rows);
    json_print(rows, JSON_PRINT_SORTED, &b);
    CHECK_STR(
        strbuf_text(&b),
        "[{\"destination\":\"10.0.0.9:80\",\"destination_address\":\"10.0.0.9:80\","
        "\"direction\":\"outbound\",\"node\":\"n1\",\"note\":\"older than the mesh\","
        "\"secured\":\"PLAINTEXT\",\"source\":\"shop/cart\",\"source_address\":\"10.0.0.1:4000\"},"
        "{\"destination\":\"shop/cart\",\"destination_address\":\"10.0.0.1:8080\","
        "\"direction\":\"inbound\",\"node\":\"n1\",\"note\":\"older than the mesh\","
        "\"secured\":\"PLAINTEXT\",\"source\":\"shop/web\","
        "\"source_address\":\"10.0.0.8:5001\"}]");
}
