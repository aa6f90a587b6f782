/* SPDX-License-Identifier: Apache-2.0 */
#include "obs/access.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "obs/labels.h"
#include "t.h"
#include "text.h"

/* The log of what run() does, as text. */
static char *logged(enum log_format format, void (*run)(void *arg), void *arg)
{
    FILE *f = tmpfile();
    char *text = NULL;

    if (!f || log_start(fileno(f), format, NULL) < 0) {
        abort();
    }
    run(arg);
    log_stop();
    long len = lseek(fileno(f), 0, SEEK_END);
    text = mem_alloc((size_t)len + 1);
    if (pread(fileno(f), text, (size_t)len, 0) != len) {
        abort();
    }
    (void)fclose(f);
    return text;
}

struct rig {
    struct metrics *metrics;
    struct recorder *recorder;
};

static void rig_start_with(struct rig *g, const struct recorder_options *o)
{
    static const struct metric_set *const sets[] = {&access_metrics, &failure_metrics};

    g->metrics = metrics_new(sets, ARRAY_LEN(sets));
    g->recorder = recorder_new(metrics_shard_new(g->metrics), o);
}

static void rig_stop(struct rig *g)
{
    recorder_free(g->recorder);
    metrics_free(g->metrics);
}

static uint64_t number(const struct pairs *p, const char *key)
{
    const char *text = pairs_find(p, key);

    return text ? strtoull(text, NULL, 10) : 0;
}

/* A record and what it says of itself. */
struct told {
    struct access access;
    struct access_facts facts;
};

static void tell(const struct access *a, struct access_facts *out)
{
    *out = container_of((struct access *)(uintptr_t)a, struct told, access)->facts;
}

/* An address, or a name and a port. */
static void record_authority(struct access_facts *a, const char *text)
{
    static char host[256];
    const char *colon = text ? strrchr(text, ':') : NULL;

    if (colon && endpoint_parse(&a->hbone_at, text, strlen(text)) < 0) {
        (void)snprintf(host, sizeof(host), "%s", text);
        host[colon - text] = '\0';
        a->hbone_host = host;
        a->hbone_at.port = (uint16_t)atoi(colon + 1);
    }
}

/* The facts of a recorded line. */
static void record_of(struct access_facts *a, const struct pairs *p)
{
    const char *src = pairs_find(p, "src.addr");
    const char *dst = pairs_find(p, "dst.addr");

    *a = (struct access_facts){.reporter = strcmp(pairs_find(p, "direction"), "outbound") == 0
                                               ? ACCESS_SOURCE
                                               : ACCESS_DESTINATION,
                               .mutual_tls = pairs_find(p, "src.identity") != NULL,
                               .service = pairs_find(p, "dst.service"),
                               .src = {.pod = pairs_find(p, "src.workload"),
                                       .namespace_ = pairs_find(p, "src.namespace"),
                                       .identity = pairs_find(p, "src.identity"),
                                       .cluster = pairs_find(p, "src.cluster")},
                               .dst = {.pod = pairs_find(p, "dst.workload"),
                                       .namespace_ = pairs_find(p, "dst.namespace"),
                                       .identity = pairs_find(p, "dst.identity"),
                                       .cluster = pairs_find(p, "dst.cluster")}};
    if (endpoint_parse(&a->src_addr, src, strlen(src)) < 0 ||
        endpoint_parse(&a->dst_addr, dst, strlen(dst)) < 0) {
        abort();
    }
    record_authority(a, pairs_find(p, "dst.hbone_addr"));
}

/* What the recording says happened, done with our record. */
static void replay(char *line, struct recorder *recorder)
{
    char *columns[5] = {line};
    struct pairs p;
    struct told x;
    const struct access_facts *a = &x.facts;

    for (int i = 1; i < 5; i++) {
        columns[i] = strchr(columns[i - 1], '\t') + 1;
        columns[i][-1] = '\0';
    }
    pairs_cut(&p, columns[4]);
    record_of(&x.facts, &p);
    const char *error = pairs_find(&p, "error");
    if (strcmp(columns[3], "connection failed") == 0) {
        access_refused(recorder, a->reporter, &a->src_addr, &a->dst_addr, -ERR_UNAVAILABLE, error);
        return;
    }
    access_open(&x.access, recorder, tell);
    uint64_t sent = number(&p, "bytes_sent");
    uint64_t received = number(&p, "bytes_recv");
    access_bytes(&x.access, a->reporter == ACCESS_SOURCE ? sent : received,
                 a->reporter == ACCESS_SOURCE ? received : sent);
    access_end(&x.access, error ? ACCESS_CONNECT : ACCESS_OK, -ECONNREFUSED, error);
}

/* Run under logged(). */
static void replay_all(void *arg)
{
    struct lines *lines = arg;
    struct rig g;

    rig_start_with(&g, NULL);
    for (size_t i = 0; i < lines->count; i++) {
        replay(lines->at[i], g.recorder);
    }
    rig_stop(&g);
}

/* Times, durations and the ports that differ between the two recordings become fixed. */
static void blank(char *line)
{
    static const char *const keys[] = {"duration=\"", "\"duration\":\"", "\"time\":\""};

    if (line[0] != '{') {
        memset(line, 'T', strcspn(line, "\t"));
    }
    for (unsigned i = 0; i < ARRAY_LEN(keys); i++) {
        char *at = strstr(line, keys[i]);
        if (at) {
            at += strlen(keys[i]);
            size_t len = strcspn(at, "\"");
            memmove(at, at + len, strlen(at + len) + 1);
        }
    }
}

static void blank_port(char *line)
{
    char *at = strstr(line, "\"src.addr\":\"");

    if (at) {
        at = strchr(at + 12, ':') + 1;
        memmove(at, at + strcspn(at, "\""), strlen(at + strcspn(at, "\"")) + 1);
    }
}

TEST(plain_lines_are_the_recorded_ones)
{
    size_t len;
    AUTO(text) char *recording = test_vector("obs/sequence-plain.txt", &len);
    AUTO(text) char *input = mem_dup(recording, len);
    static struct lines want;
    static struct lines script;
    static struct lines got;

    lines_cut(&want, recording);
    lines_cut(&script, input);
    CHECK_INT(want.count, 9);
    AUTO(text) char *text = logged(LOG_PLAIN, replay_all, &script);
    lines_cut(&got, text);
    CHECK_INT(got.count, 9);
    for (size_t i = 0; i < 9; i++) {
        blank(got.at[i]);
        blank(want.at[i]);
        CHECK_STR(got.at[i], want.at[i]);
    }
}

TEST(json_lines_are_the_recorded_ones)
{
    size_t len;
    AUTO(text) char *recording = test_vector("obs/sequence-json.txt", &len);
    AUTO(text) char *input = test_vector("obs/sequence-plain.txt", &len);
    static struct lines want;
    static struct lines script;
    static struct lines got;

    lines_cut(&want, recording);
    lines_cut(&script, input);
    AUTO(text) char *text = logged(LOG_JSON, replay_all, &script);
    lines_cut(&got, text);
    CHECK_INT(got.count, 9);
    for (size_t i = 0; i < 9; i++) {
        blank(got.at[i]);
        blank_port(got.at[i]);
        blank(want.at[i]);
        blank_port(want.at[i]);
        CHECK_STR(got.at[i], want.at[i]);
    }
}

/* Metrics: every recorded connection again, by its labels. */

static const struct {
    const char *text;
    enum access_flag flag;
} flags[] = {{"-", ACCESS_OK}, {"DENY", ACCESS_DENY}, {"CONNECT", ACCESS_CONNECT}};

static void side_of(struct access_side *s, const struct pairs *p, const char *prefix)
{
    static const char *const names[] = {"workload",
                                        "canonical_service",
                                        "canonical_revision",
                                        "workload_namespace",
                                        "principal",
                                        "app",
                                        "version",
                                        "cluster",
                                        "region",
                                        "zone"};
    const char **places[] = {&s->workload,   &s->canonical_service, &s->canonical_revision,
                             &s->namespace_, &s->principal,         &s->app,
                             &s->version,    &s->cluster,           &s->region,
                             &s->zone};

    for (unsigned i = 0; i < ARRAY_LEN(names); i++) {
        char key[64];
        (void)snprintf(key, sizeof(key), "%s_%s", prefix, names[i]);
        *places[i] = pairs_find(p, key);
    }
}

/* The value of the family's sample with these labels and flag "-"; 0: none. */
static uint64_t bytes_of(const struct lines *page, const char *family, const char *labels)
{
    for (size_t i = 0; i < page->count; i++) {
        const char *line = page->at[i];
        if (strncmp(line, family, strlen(family)) == 0 && strstr(line, labels)) {
            return strtoull(strrchr(line, ' ') + 1, NULL, 10);
        }
    }
    return 0;
}

static void replay_closed(struct recorder *r, char *line, const struct lines *page)
{
    AUTO(text) char *labels = mem_strdup(strchr(line, '{') + 1);
    uint64_t times = strtoull(strrchr(line, ' ') + 1, NULL, 10);
    struct pairs p;
    struct access_facts a = {.src_addr.port = 1};
    AUTO(text) char *whole = mem_strdup(labels);

    *strrchr(labels, '}') = '\0';
    *strrchr(whole, '}') = '\0';
    pairs_cut(&p, labels);
    a.reporter =
        strcmp(pairs_find(&p, "reporter"), "source") == 0 ? ACCESS_SOURCE : ACCESS_DESTINATION;
    a.mutual_tls = strcmp(pairs_find(&p, "connection_security_policy"), "mutual_tls") == 0;
    a.located = pairs_find(&p, "source_region") != NULL;
    a.service = pairs_find(&p, "destination_service");
    a.service_namespace = pairs_find(&p, "destination_service_namespace");
    a.service_name = pairs_find(&p, "destination_service_name");
    side_of(&a.src, &p, "source");
    side_of(&a.dst, &p, "destination");
    for (unsigned i = 0; i < ARRAY_LEN(flags); i++) {
        if (strcmp(flags[i].text, pairs_find(&p, "response_flags")) != 0) {
            continue;
        }
        for (uint64_t n = 0; n < times; n++) {
            struct told one = {.facts = a};
            access_open(&one.access, r, tell);
            if (flags[i].flag == ACCESS_OK && n == 0) {
                access_bytes(&one.access, bytes_of(page, "istio_tcp_received_bytes_total", whole),
                             bytes_of(page, "istio_tcp_sent_bytes_total", whole));
            }
            access_end(&one.access, flags[i].flag, -ERR_TLS,
                       flags[i].flag == ACCESS_OK ? NULL : "x");
        }
    }
}

static void traffic_of(struct lines *l, char *text)
{
    lines_cut(l, text);
    lines_keep(l, "istio_tcp_");
    size_t kept = 0;
    for (size_t i = 0; i < l->count; i++) {
        if (!strstr(l->at[i], "sockets_open")) {
            l->at[kept++] = l->at[i];
        }
    }
    l->count = kept;
}

static void check_metrics(struct test *t, const char *vector)
{
    size_t len;
    AUTO(text) char *recording = test_vector(vector, &len);
    static struct lines want;
    static struct lines got;
    struct strbuf page = {0};
    struct rig g;

    traffic_of(&want, recording);
    rig_start_with(&g, NULL);
    for (size_t i = 0; i < want.count; i++) {
        if (strncmp(want.at[i], "istio_tcp_connections_closed_total{", 35) == 0) {
            replay_closed(g.recorder, want.at[i], &want);
        }
    }
    metrics_write(g.metrics, &page);
    rig_stop(&g);
    AUTO(text) char *text = strbuf_take(&page);
    traffic_of(&got, text);
    lines_sort(&want);
    lines_sort(&got);
    CHECK(want.count > 20);
    CHECK_INT(got.count, want.count);
    for (size_t i = 0; i < want.count; i++) {
        CHECK_STR(got.at[i], want.at[i]);
    }
}

TEST(traffic_metrics_are_the_recorded_ones)
{
    check_metrics(t, "obs/metrics-after-node1.txt");
    check_metrics(t, "obs/metrics-after-node2.txt");
}

/* Ring, edges, open connections. */

static struct told sample(const char *from, const char *to)
{
    return (struct told){.facts = {.reporter = ACCESS_SOURCE,
                                   .src = {.workload = from, .namespace_ = "a"},
                                   .dst = {.workload = to, .namespace_ = "b"}}};
}

static unsigned count_of(const char *text, const char *word)
{
    unsigned n = 0;

    for (const char *p = text; (p = strstr(p, word)); p += strlen(word)) {
        n++;
    }
    return n;
}

static char *say(const struct recorder *r, void (*write)(const struct recorder *, struct strbuf *))
{
    struct strbuf out = {0};

    write(r, &out);
    return strbuf_take(&out);
}

TEST(the_ring_keeps_the_newest_in_order)
{
    struct recorder_options o = {.recent = 3};
    struct rig g;

    rig_start_with(&g, &o);
    for (int i = 0; i < 5; i++) {
        char name[8];
        (void)snprintf(name, sizeof(name), "w%d", i);
        struct told a = sample(name, "x");
        access_open(&a.access, g.recorder, tell);
        access_end(&a.access, ACCESS_OK, 0, NULL);
    }
    AUTO(text) char *text = say(g.recorder, recorder_write_recent);
    rig_stop(&g);
    CHECK(!strstr(text, "\"w0\"") && !strstr(text, "\"w1\""));
    const char *two = strstr(text, "\"w2\"");
    const char *three = strstr(text, "\"w3\"");
    const char *four = strstr(text, "\"w4\"");
    CHECK(two && three && four && two < three && three < four);
}

TEST(edges_add_up_and_are_bounded)
{
    struct recorder_options o = {.edges = 4};
    struct rig g;

    rig_start_with(&g, &o);
    for (int i = 0; i < 100; i++) {
        char name[8];
        (void)snprintf(name, sizeof(name), "w%d", i % 10);
        struct told a = sample(name, "x");
        access_open(&a.access, g.recorder, tell);
        access_bytes(&a.access, 5, 7);
        access_end(&a.access, i % 10 == 0 ? ACCESS_DENY : ACCESS_OK, 0, NULL);
    }
    AUTO(text) char *text = say(g.recorder, recorder_write_edges);
    rig_stop(&g);
    CHECK_INT(count_of(text, "\"connections\":"), 5);
    CHECK_INT(count_of(text, "\"connections\":10,"), 4);
    CHECK_INT(count_of(text, "\"connections\":60,"), 1);
    CHECK_INT(count_of(text, "\"denied\":10,"), 1);
    CHECK_INT(count_of(text, "\"to_server\":50,\"to_client\":70,"), 4);
}

TEST(a_failure_is_counted_by_whose_doing_it_was)
{
    static const struct {
        int code;
        const char *line;
    } rows[] = {
        {-ERR_DENIED, "ambit_connection_failures_total{reporter=\"source\",class=\"policy\"} 1\n"},
        {-ERR_TLS, "ambit_connection_failures_total{reporter=\"source\",class=\"peer\"} 2\n"},
        {-ECONNREFUSED, NULL},
        {-ENOSPC, "ambit_connection_failures_total{reporter=\"source\",class=\"local\"} 1\n"},
        {-ERR_DRAINED, "ambit_connection_failures_total{reporter=\"source\",class=\"benign\"} 1\n"},
    };
    struct endpoint nobody = {.port = 0};
    AUTO(strbuf) struct strbuf page = {0};
    struct rig g;

    rig_start_with(&g, NULL);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct told a = sample("w", "x");
        access_open(&a.access, g.recorder, tell);
        access_end(&a.access, ACCESS_CONNECT, rows[i].code, "failed");
    }
    struct told fine = sample("w", "x");
    access_open(&fine.access, g.recorder, tell);
    access_end(&fine.access, ACCESS_OK, 0, NULL);
    access_refused(g.recorder, ACCESS_WAYPOINT, &nobody, &nobody, -ERR_LIMIT, "full");
    metrics_write(g.metrics, &page);
    rig_stop(&g);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        CHECK(!rows[i].line || strstr(strbuf_text(&page), rows[i].line));
    }
    CHECK(strstr(strbuf_text(&page),
                 "ambit_connection_failures_total{reporter=\"waypoint\",class=\"local\"} 1\n"));
    CHECK_INT(count_of(strbuf_text(&page), "ambit_connection_failures_total{"), 5);
}

TEST(open_connections_are_listed_while_they_are_open)
{
    struct told one = sample("one", "x");
    struct told two = sample("two", "x");
    struct rig g;

    rig_start_with(&g, NULL);
    access_open(&one.access, g.recorder, tell);
    access_open(&two.access, g.recorder, tell);
    access_bytes(&two.access, 0, 2);
    access_moved(&two.access, 1, 2);
    AUTO(text) char *both = say(g.recorder, recorder_write_open);
    access_end(&one.access, ACCESS_OK, 0, NULL);
    access_end(&one.access, ACCESS_DENY, -ERR_DENIED, "twice"); /* the second end is none */
    access_bytes(&one.access, 1, 1);
    AUTO(text) char *rest = say(g.recorder, recorder_write_open);
    access_end(&two.access, ACCESS_OK, 0, NULL);
    AUTO(text) char *none = say(g.recorder, recorder_write_open);
    AUTO(text) char *recent = say(g.recorder, recorder_write_recent);
    rig_stop(&g);
    CHECK(strstr(both, "\"one\"") && strstr(both, "\"two\""));
    CHECK(!strstr(rest, "\"one\"") && strstr(rest, "\"to_server\":1,\"to_client\":2,"));
    CHECK_STR(none, "");
    CHECK(!strstr(recent, "twice"));
}

TEST(what_a_peer_says_cannot_break_a_line)
{
    struct lines script = {.count = 0};
    static struct lines got;
    char line[] =
        "t\tinfo\taccess\tconnection complete\tsrc.addr=1.2.3.4:5 src.workload=\"x\" "
        "dst.addr=1.2.3.4:6 dst.hbone_addr=a\x01\x7f:80 direction=\"outbound\" bytes_sent=0 "
        "bytes_recv=0 duration=\"0ms\"";

    script.at[script.count++] = line;
    AUTO(text) char *text = logged(LOG_PLAIN, replay_all, &script);
    lines_cut(&got, text);
    CHECK_INT(got.count, 1);
    CHECK(!strchr(got.at[0], '\x01'));
    CHECK(strstr(got.at[0], "dst.hbone_addr=\"a\\u0001\\u007f:80\""));
}

TEST(of_a_peers_baggage_only_what_may_be_a_name_is_kept)
{
    struct baggage_side kept = {0};
    struct access_side side = {0};
    char header[400] = "k8s.namespace.name=shop,k8s.deployment.name=";

    memset(header + strlen(header), 'w', 300);
    baggage_side_set(&kept, slice_of(header));
    baggage_side_fill(&kept, &side);
    CHECK_STR(side.namespace_, "shop");
    CHECK(!side.workload);
    header[strlen(header) - 300 + 253] = '\0';
    baggage_side_set(&kept, slice_of(header));
    baggage_side_fill(&kept, &side);
    CHECK(side.workload && strlen(side.workload) == 253);
    baggage_side_fini(&kept);
}
