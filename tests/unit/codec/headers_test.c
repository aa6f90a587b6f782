/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "base/mem.h"
#include "codec/baggage.h"
#include "codec/base64.h"
#include "codec/forwarded.h"
#include "codec/json.h"
#include "codec/proxyproto.h"
#include "codec/traceparent.h"
#include "t.h"

static const char recorded[] =
    "k8s.cluster.name=Kubernetes,k8s.namespace.name=shop,k8s.deployment.name=app11,"
    "service.name=app11,service.version=v1,cloud.region=r1,cloud.availability_zone=z1";

TEST(recorded_baggage_reads_and_writes_back)
{
    struct baggage b = {0};
    AUTO(strbuf) struct strbuf out = {0};

    CHECK_INT(baggage_parse(&b, recorded, strlen(recorded)), 0);
    CHECK(slice_is(b.value[BAGGAGE_WORKLOAD], "app11") && slice_is(b.workload_type, "deployment"));
    CHECK(slice_is(b.value[BAGGAGE_REGION], "r1"));
    baggage_format(&out, &b);
    CHECK_STR(out.p, recorded);
}

TEST(baggage_rules)
{
    static const struct {
        const char *text;
        int result;
        const char *ns, *workload, *type;
    } rows[] = {
        {"k8s.namespace.name=a,k8s.namespace.name=b", 0, "b", "", ""},
        {"k8s.namespace.name=a,k8s.namespace.name=", 0, "a", "", ""},
        {"k8s.namespace.name=~", 0, "~", "", ""},
        {"k8s.namespace.name=a\x7f", -ERR_SYNTAX, "", "", ""},
        {"k8s.namespace.name=a=c", 0, "a", "", ""},
        {" k8s.namespace.name=a", 0, "", "", ""},
        {"k8s.namespace.name= a ", 0, " a ", "", ""},
        {"k8s.namespace.name", 0, "", "", ""},
        {"k8s.pod.name=p,k8s.job.name=j", 0, "", "j", "job"},
        {"other=1,,=,k8s.cronjob.name=c", 0, "", "c", "cronjob"},
        {"", 0, "", "", ""},
        {"k8s.namespace.name=\xc3\xa9", -ERR_SYNTAX, "", "", ""},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct baggage b = {0};
        CHECK_INT(baggage_parse(&b, rows[i].text, strlen(rows[i].text)), rows[i].result);
        CHECK(slice_is(b.value[BAGGAGE_NAMESPACE], rows[i].ns));
        CHECK(slice_is(b.value[BAGGAGE_WORKLOAD], rows[i].workload));
        CHECK(slice_is(b.workload_type, rows[i].type));
    }
}

TEST(several_baggage_lines_merge)
{
    struct baggage b = {0};

    CHECK_INT(baggage_parse(&b, "service.name=a,cloud.region=r", 29), 0);
    CHECK_INT(baggage_parse(&b, "service.name=b", 14), 0);
    CHECK(slice_is(b.value[BAGGAGE_SERVICE], "b") && slice_is(b.value[BAGGAGE_REGION], "r"));
}

TEST(baggage_cannot_break_its_header)
{
    struct baggage b = {.value = {[BAGGAGE_CLUSTER] = slice_of("a\r\nx: y")}};
    AUTO(strbuf) struct strbuf out = {0};

    baggage_format(&out, &b);
    CHECK_STR(out.p, "k8s.cluster.name=a??x: y");
}

TEST(forwarded_is_written_as_recorded_and_read_back)
{
    static const struct {
        const char *client, *host, *want;
    } rows[] = {
        {"10.244.1.11:36534", NULL, "for=\"10.244.1.11:36534\""},
        {"10.244.1.11:60512", "viawp.shop.svc.cluster.local",
         "for=\"10.244.1.11:60512\";host=viawp.shop.svc.cluster.local"},
        {"[fd44:1::11]:1", "h", "for=\"[fd44:1::11]:1\";host=h"},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        AUTO(strbuf) struct strbuf out = {0};
        struct endpoint e;
        struct forwarded f;
        CHECK_INT(endpoint_parse(&e, rows[i].client, strlen(rows[i].client)), 0);
        forwarded_format(&out, &e, rows[i].host);
        CHECK_STR(out.p, rows[i].want);
        forwarded_parse(&f, out.p, out.len);
        CHECK(endpoint_equal(&f.client, &e));
        CHECK(slice_is(f.host, rows[i].host ? rows[i].host : ""));
    }
}

TEST(foreign_forms_of_forwarded_are_understood)
{
    static const struct {
        const char *text, *client, *host;
    } rows[] = {
        {"host=h;for=1.2.3.4", "1.2.3.4:0", "h"},
        {"For=\"[::1]\" ; Host=\"x\"", "[::1]:0", "x"},
        {"for=1.2.3.4:5, for=6.7.8.9", "1.2.3.4:5", ""},
        {"for=_hidden;proto=http", "", ""},
        {"for", "", ""},
        {"", "", ""},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct forwarded f;
        char text[ENDPOINT_TEXT] = "";
        forwarded_parse(&f, rows[i].text, strlen(rows[i].text));
        CHECK_STR(f.client.ip.family != IP_NONE ? endpoint_format(&f.client, text) : "",
                  rows[i].client);
        CHECK(slice_is(f.host, rows[i].host));
    }
}

TEST(traceparent_has_one_form)
{
    struct traceparent tp = {
        .trace_id = {0x2c, 0xb4, 0x0a, [15] = 0xff}, .parent_id = {0x68, [7] = 0x1c}, .flags = 1};
    char text[TRACEPARENT_TEXT];

    CHECK_STR(traceparent_format(&tp, text),
              "00-2cb40a000000000000000000000000ff-680000000000001c-01");
}

static void add_hex(struct strbuf *out, const uint8_t *p, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        strbuf_printf(out, "%02x", p[i]);
    }
}

/* The address part of an authority, or of the VIP that the recorded hostname stands for. */
static bool recorded_target(const char *authority, struct endpoint *out)
{
    if (strcmp(authority, "tun.shop.svc.cluster.local:80") == 0) {
        authority = "10.96.0.17:80";
    }
    return endpoint_parse(out, authority, strlen(authority)) == 0;
}

TEST(proxy_headers_are_those_of_the_recording)
{
    AUTO(json) struct json *all = NULL;
    size_t len;
    AUTO(text) char *text = test_vector("codec/proxy-protocol.json", &len);
    static const char longname[] = "spiffe://cluster.local/ns/a-rather-long-namespace-name/sa/"
                                   "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";

    CHECK_INT(json_parse(&all, text, len, NULL, NULL), 0);
    CHECK_INT(json_count(all), 6);
    for (size_t i = 0; i < json_count(all); i++) {
        struct json *c = json_item(all, i);
        const char *dst_text = json_str_at(c, "tunnel_destination", "");
        struct endpoint src = {.port = (uint16_t)json_int_at(c, "tunnel_source_port", 0)};
        struct endpoint dst;
        uint8_t header[PROXYPROTO_MAX];
        AUTO(strbuf) struct strbuf hex = {0};
        bool v6 = strchr(dst_text, ':') != NULL;
        bool is_long = strcmp(json_str_at(c, "name", ""), "proxy-long-id") == 0;
        CHECK_INT(ip_parse(&src.ip, v6 ? "fd44:2::12" : "10.244.2.12", v6 ? 10 : 11), 0);
        CHECK(recorded_target(json_str_at(c, "authority", ""), &dst));
        int n = proxyproto_write(header, &src, &dst,
                                 is_long ? longname : "spiffe://cluster.local/ns/shop/sa/client");
        CHECK(n > 0);
        add_hex(&hex, header, (size_t)n);
        strbuf_puts(&hex, "7061796c6f6164"); /* "payload" */
        CHECK_STR(hex.p, json_str_at(c, "application_received_hex", ""));
    }
}

TEST(a_proxy_header_without_identity_has_no_tlv)
{
    struct endpoint e;
    uint8_t header[PROXYPROTO_MAX];
    static char huge[PROXYPROTO_IDENTITY_MAX + 2];

    CHECK_INT(endpoint_parse(&e, "1.2.3.4:80", 10), 0);
    CHECK_INT(proxyproto_write(header, &e, &e, NULL), 28);
    CHECK_INT(header[15], 12);
    memset(huge, 'x', sizeof(huge) - 1);
    CHECK_INT(proxyproto_write(header, &e, &e, huge), -ERR_TOO_LARGE);
}

/* RFC 4648 section 10. */
TEST(base64_of_its_rfc)
{
    static const struct {
        const char *plain, *text;
    } rows[] = {{"", ""},
                {"f", "Zg=="},
                {"fo", "Zm8="},
                {"foo", "Zm9v"},
                {"foob", "Zm9vYg=="},
                {"fooba", "Zm9vYmE="},
                {"foobar", "Zm9vYmFy"}};

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        AUTO(strbuf) struct strbuf b = {0};
        AUTO(strbuf) struct strbuf u = {0};
        char back[16];
        base64_encode(&b, rows[i].plain, strlen(rows[i].plain));
        CHECK_STR(strbuf_text(&b), rows[i].text);
        CHECK_INT(b.len, base64_text_len(strlen(rows[i].plain)));
        CHECK_INT(base64_decode(back, sizeof(back), strbuf_text(&b), b.len), strlen(rows[i].plain));
        CHECK_MEM(back, rows[i].plain, strlen(rows[i].plain));
        base64url_encode(&u, rows[i].plain, strlen(rows[i].plain));
        CHECK_INT(base64url_decode(back, sizeof(back), strbuf_text(&u), u.len),
                  strlen(rows[i].plain));
    }
}

TEST(base64_that_is_not_canonical_is_refused)
{
    static const char *const bad[] = {"Z",     "Zg",       "Zg=",   "Zh==",   "Zm9=",
                                      "Zm9v=", "Z===",     "====",  "Zm9v\n", "Zm-v",
                                      "=Zm9",  "Zg==Zg==", "Zm9v!", "Zm 9"};
    char back[16];

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        printf("# %s\n", bad[i]);
        CHECK_INT(base64_decode(back, sizeof(back), bad[i], strlen(bad[i])), -ERR_SYNTAX);
    }
    CHECK_INT(base64_decode(back, 2, "Zm9v", 4), -ERR_TOO_LARGE);
    CHECK_INT(base64url_decode(back, sizeof(back), "_-8", 3), 2);
    CHECK_INT(base64url_decode(back, sizeof(back), "/+8", 3), -ERR_SYNTAX);
    CHECK_INT(base64url_decode(back, sizeof(back), "Zg==", 4), 1);
    CHECK_INT(base64url_decode(back, sizeof(back), "Zg=", 3), -ERR_SYNTAX);
}
