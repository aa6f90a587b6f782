/* SPDX-License-Identifier: Apache-2.0 */
#include "obs/metrics.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "t.h"
#include "text.h"

static const char *const none[] = {NULL};
static const char *const two_labels[] = {"who", "what"};
static const uint64_t bounds_us[] = {500, 1000, 10000, 100000, 1000000, 5000000};

static const struct metric_family plain[] = {
    {.name = "t_count", .help = "Counts.", .type = METRIC_COUNTER},
    {.name = "t_level", .help = "Level.", .type = METRIC_GAUGE},
    {.name = "t_bytes", .help = "Bytes.", .unit = "bytes", .type = METRIC_COUNTER},
    {.name = "t_time_seconds",
     .help = "Time.",
     .unit = "seconds",
     .type = METRIC_HISTOGRAM,
     .bounds_us = bounds_us,
     .bound_count = ARRAY_LEN(bounds_us)},
};
static const struct metric_set bare = {
    .families = plain, .family_count = 4, .labels = none, .label_count = 0};
static const struct metric_set labelled = {
    .families = plain, .family_count = 4, .labels = two_labels, .label_count = 2, .series_max = 10};

static int lines_with(const char *text, const char *word)
{
    int n = 0;

    for (const char *at = text; (at = strstr(at, word)) != NULL; at++) {
        n++;
    }
    return n;
}

static char *print(struct metrics *m)
{
    struct strbuf out = {0};

    metrics_write(m, &out);
    return strbuf_take(&out);
}

TEST(families_without_samples_are_not_printed)
{
    const struct metric_set *sets[] = {&bare, &labelled};
    AUTO(metrics) struct metrics *m = metrics_new(sets, 2);
    struct metrics_shard *s = metrics_shard_new(m);

    AUTO(text) char *empty = print(m);
    CHECK_STR(empty, "# EOF\n");
    series_add(metrics_series(s, &bare, NULL), 0, 0);
    AUTO(text) char *one = print(m);
    CHECK_STR(one, "# HELP t_count Counts.\n# TYPE t_count counter\nt_count_total 0\n# EOF\n");
}

TEST(units_labels_and_negative_gauges_are_printed)
{
    const struct metric_set *sets[] = {&labelled};
    AUTO(metrics) struct metrics *m = metrics_new(sets, 1);
    struct metrics_shard *s = metrics_shard_new(m);
    struct slice values[] = {slice_of("a\"b\\c\nd"), {NULL, 0}};

    series_move(metrics_series(s, &labelled, values), 1, -3);
    values[1] = slice_of("");
    series_add(metrics_series(s, &labelled, values), 2, 7);
    AUTO(text) char *text = print(m);
    CHECK_STR(text,
              "# HELP t_level Level.\n# TYPE t_level gauge\nt_level{who=\"a\\\"b\\\\c\\nd\"} -3\n"
              "# HELP t_bytes Bytes.\n# TYPE t_bytes counter\n# UNIT t_bytes bytes\n"
              "t_bytes_total{who=\"a\\\"b\\\\c\\nd\",what=\"\"} 7\n# EOF\n");
}

TEST(shards_are_summed)
{
    const struct metric_set *sets[] = {&labelled};
    AUTO(metrics) struct metrics *m = metrics_new(sets, 1);
    struct metrics_shard *s[3] = {metrics_shard_new(m), metrics_shard_new(m), metrics_shard_new(m)};
    struct slice values[] = {slice_of("a"), slice_of("b")};

    for (int i = 0; i < 3; i++) {
        series_add(metrics_series(s[i], &labelled, values), 0, 10 + (uint64_t)i);
        series_move(metrics_series(s[i], &labelled, values), 1, i == 0 ? 5 : -2);
        series_observe_us(metrics_series(s[i], &labelled, values), 3, 1);
    }
    AUTO(text) char *text = print(m);
    CHECK(strstr(text, "t_count_total{who=\"a\",what=\"b\"} 33\n"));
    CHECK(strstr(text, "t_level{who=\"a\",what=\"b\"} 1\n"));
    CHECK(strstr(text, "t_time_seconds_count{who=\"a\",what=\"b\"} 3\n"));
}

TEST(what_a_part_has_counted_since_it_was_told_last_is_added)
{
    struct part {
        uint64_t seen;
        unsigned open; /* of the other width */
    } now = {.seen = 7, .open = 3};
    struct part told = {0};
    static const struct metric_family families[] = {
        {.name = "t_own", .help = "Counted elsewhere.", .type = METRIC_COUNTER},
        METRIC_OF(COUNTER, part, seen, "t_seen_bytes", "Seen.", .unit = "bytes"),
        METRIC_OF(GAUGE, part, open, "t_open", "Open.")};
    static const struct metric_set set = {.families = families, .family_count = 3};
    const struct metric_set *sets[] = {&set};
    AUTO(metrics) struct metrics *m = metrics_new(sets, 1);
    struct series *s = metrics_series(metrics_shard_new(m), &set, NULL);

    series_follow(s, &now, &told, 0);
    series_follow(s, &now, &told, sizeof(now)); /* told was left as it was */
    now = (struct part){.seen = 9, .open = 1};
    series_follow(s, &now, &told, sizeof(now));
    AUTO(text) char *text = print(m);
    CHECK_STR(text, "# HELP t_seen_bytes Seen.\n# TYPE t_seen_bytes counter\n"
                    "# UNIT t_seen_bytes bytes\nt_seen_bytes_total 16\n"
                    "# HELP t_open Open.\n# TYPE t_open gauge\nt_open 1\n# EOF\n");
}

TEST(label_sets_beyond_the_limit_share_one_series)
{
    const struct metric_set *sets[] = {&labelled};
    AUTO(metrics) struct metrics *m = metrics_new(sets, 1);
    struct metrics_shard *s = metrics_shard_new(m);

    for (int i = 0; i < 1000; i++) {
        char who[16];
        (void)snprintf(who, sizeof(who), "w%d", i);
        struct slice values[] = {slice_of(who), slice_of("x")};
        series_add(metrics_series(s, &labelled, values), 0, 1);
    }
    AUTO(text) char *text = print(m);
    CHECK(strstr(text, "t_count_total{who=\"overflow\",what=\"overflow\"} 990\n"));
    CHECK(strstr(text, "\nambit_metrics_overflows_total 990\n"));
    CHECK_INT(lines_with(text, "t_count_total{"), 11);
    struct slice first[] = {slice_of("w0"), slice_of("x")};
    series_add(metrics_series(s, &labelled, first), 0, 1); /* known ones go on being told apart */
    AUTO(text) char *again = print(m);
    CHECK(strstr(again, "t_count_total{who=\"w0\",what=\"x\"} 2\n"));
}

TEST(a_histogram_counts_at_its_bounds)
{
    const struct metric_set *sets[] = {&bare};
    AUTO(metrics) struct metrics *m = metrics_new(sets, 1);
    struct series *x = metrics_series(metrics_shard_new(m), &bare, NULL);
    static const uint64_t observed[] = {0, 500, 501, 5000000, 5000001};

    for (unsigned i = 0; i < ARRAY_LEN(observed); i++) {
        series_observe_us(x, 3, observed[i]);
    }
    AUTO(text) char *text = print(m);
    CHECK(strstr(text, "_bucket{le=\"0.0005\"} 2\n"));
    CHECK(strstr(text, "_bucket{le=\"0.001\"} 3\n"));
    CHECK(strstr(text, "_bucket{le=\"1.0\"} 3\n"));
    CHECK(strstr(text, "_bucket{le=\"5.0\"} 4\n"));
    CHECK(strstr(text, "_bucket{le=\"+Inf\"} 5\n"));
    CHECK(strstr(text, "_sum 10.001002\n"));
    CHECK(strstr(text, "_count 5\n"));
}

TEST(histograms_of_milliseconds_and_of_plain_numbers)
{
    static const uint64_t ms[] = {500, 1000, 2500000};
    static const uint64_t sizes[] = {10, 1000};
    static const struct metric_family scaled[] = {
        {.name = "t_ms",
         .help = "Time.",
         .type = METRIC_HISTOGRAM,
         .bounds_us = ms,
         .bound_count = ARRAY_LEN(ms),
         .scale = METRIC_MILLISECONDS},
        {.name = "t_size",
         .help = "Size.",
         .type = METRIC_HISTOGRAM,
         .bounds_us = sizes,
         .bound_count = ARRAY_LEN(sizes),
         .scale = METRIC_PLAIN},
    };
    static const struct metric_set set = {.families = scaled, .family_count = 2, .labels = none};
    const struct metric_set *sets[] = {&set};
    AUTO(metrics) struct metrics *m = metrics_new(sets, 1);
    struct series *x = metrics_series(metrics_shard_new(m), &set, NULL);

    series_observe_us(x, 0, 10250);
    series_observe_us(x, 1, 1000);
    AUTO(text) char *text = print(m);
    CHECK_STR(text, "# HELP t_ms Time.\n# TYPE t_ms histogram\n"
                    "t_ms_sum 10.25\nt_ms_count 1\n"
                    "t_ms_bucket{le=\"0.5\"} 0\nt_ms_bucket{le=\"1\"} 0\n"
                    "t_ms_bucket{le=\"2500\"} 1\nt_ms_bucket{le=\"+Inf\"} 1\n"
                    "# HELP t_size Size.\n# TYPE t_size histogram\n"
                    "t_size_sum 1000\nt_size_count 1\n"
                    "t_size_bucket{le=\"10\"} 0\nt_size_bucket{le=\"1000\"} 1\n"
                    "t_size_bucket{le=\"+Inf\"} 1\n# EOF\n");
}

TEST(process_probes_tell_the_truth)
{
    const struct metric_set *sets[] = {&bare};
    AUTO(metrics) struct metrics *m = metrics_new(sets, 1);

    metrics_probe_process(m);
    AUTO(text) char *text = print(m);
    char want[64];
    (void)snprintf(want, sizeof(want), "\nprocess_open_fds %d\n",
                   test_fd_count() - 3); /* without ".", ".." and its own */
    CHECK(strstr(text, want));
    CHECK(strstr(text, "# HELP process_max_fds Maximum number of file descriptors\n"));
}

static int64_t read_number(void *arg)
{
    return *(int *)arg;
}

TEST(probes_of_one_name_share_a_head_and_the_log_tells_what_it_dropped)
{
    AUTO(metrics) struct metrics *m = metrics_new(NULL, 0);
    int a = 3;
    int b = -4;
    struct metric_probe p = {.name = "t_n", .help = "N.", .read = read_number, .arg = &a};

    p.labels = "of=\"a\"";
    metrics_probe(m, &p);
    p.labels = "of=\"b\"";
    p.arg = &b;
    metrics_probe(m, &p);
    AUTO(text) char *text = print(m);
    CHECK_STR(text, "# HELP t_n N.\n# TYPE t_n gauge\nt_n{of=\"a\"} 3\nt_n{of=\"b\"} -4\n# EOF\n");
    metrics_probe_process(m);
    AUTO(text) char *more = print(m);
    CHECK(
        strstr(more, "# TYPE ambit_log_lines_dropped counter\nambit_log_lines_dropped_total 0\n"));
}

enum { THREADS = 3, ROUNDS = 20000 };

static void *count_away(void *arg)
{
    struct metrics_shard *s = arg;

    for (int i = 0; i < ROUNDS; i++) {
        char who[16];
        (void)snprintf(who, sizeof(who), "w%d", i % 5);
        struct slice values[] = {slice_of(who), slice_of("x")};
        struct series *x = metrics_series(s, &labelled, values);
        series_add(x, 0, 1);
        series_observe_us(x, 3, (uint64_t)i);
    }
    return NULL;
}

TEST(scrapes_go_on_while_threads_count)
{
    const struct metric_set *sets[] = {&labelled};
    AUTO(metrics) struct metrics *m = metrics_new(sets, 1);
    pthread_t threads[THREADS];

    for (int i = 0; i < THREADS; i++) {
        CHECK_INT(pthread_create(&threads[i], NULL, count_away, metrics_shard_new(m)), 0);
    }
    for (int i = 0; i < 50; i++) {
        AUTO(text) char *text = print(m);
        CHECK(strstr(text, "# EOF\n"));
    }
    for (int i = 0; i < THREADS; i++) {
        (void)pthread_join(threads[i], NULL);
    }
    AUTO(text) char *text = print(m);
    char want[80];
    (void)snprintf(want, sizeof(want), "t_count_total{who=\"w4\",what=\"x\"} %d\n",
                   THREADS * ROUNDS / 5);
    CHECK(strstr(text, want));
}

/* The recorded page, taken apart and said again by our own writer. */

enum { FAMILIES = 32 };

struct recorded { /* one family of the recording, as a set of its own */
    struct metric_family family;
    struct metric_set set;
    const char *labels[METRIC_LABELS_MAX];
    char *samples[32];
    unsigned sample_count;
};

static struct recorded recorded[FAMILIES];
static unsigned recorded_count;

static enum metric_type type_of(const char *word)
{
    return strcmp(word, "counter") == 0 ? METRIC_COUNTER
           : strcmp(word, "gauge") == 0 ? METRIC_GAUGE
                                        : METRIC_HISTOGRAM;
}

static bool is_our_business(const char *name)
{
    return strncmp(name, "tokio", 5) != 0 && strncmp(name, "process", 7) != 0;
}

static void read_line(char *line)
{
    struct recorded *r = recorded_count > 0 ? &recorded[recorded_count - 1] : NULL;
    char *name = line + 7;
    char *rest = strncmp(line, "# ", 2) == 0 ? strchr(name, ' ') : NULL;

    if (rest) {
        *rest++ = '\0';
    }
    if (strncmp(line, "# HELP ", 7) == 0) {
        recorded[recorded_count++] = (struct recorded){
            .family = {.name = name, .help = rest, .bounds_us = bounds_us, .bound_count = 6}};
    } else if (r && strncmp(line, "# TYPE ", 7) == 0) {
        r->family.type = type_of(rest);
    } else if (r && strncmp(line, "# UNIT ", 7) == 0) {
        r->family.unit = rest;
    } else if (r && line[0] != '#') {
        r->samples[r->sample_count++] = line;
    }
}

static void feed(struct recorded *r, struct metrics_shard *shard, char *sample)
{
    struct slice values[METRIC_LABELS_MAX] = {{NULL, 0}};
    struct pairs pairs = {.count = 0};
    char *space = strrchr(sample, ' ');
    char *open = strchr(sample, '{');
    uint64_t n = strtoull(space + 1, NULL, 10);

    *space = '\0';
    if (open) {
        *strrchr(open, '}') = '\0';
        pairs_cut(&pairs, open + 1);
    }
    for (unsigned i = 0; i < pairs.count; i++) {
        values[i] = slice_of(pairs.at[i].value);
    }
    struct series *x = metrics_series(shard, &r->set, values);
    if (r->family.type == METRIC_GAUGE) {
        series_set(x, 0, (int64_t)n);
    } else if (r->family.type == METRIC_COUNTER) {
        series_add(x, 0, n);
    } else {
        series_observe_us(x, 0, 6293); /* the one recorded: 0.006293817 */
    }
}

/* The label names of the first sample. */
static void learn_labels(struct recorded *r)
{
    AUTO(text) char *copy = mem_strdup(r->samples[0]);
    char *open = strchr(copy, '{');
    static struct pairs pairs;

    r->set = (struct metric_set){.families = &r->family, .family_count = 1, .labels = r->labels};
    if (open && r->family.type != METRIC_HISTOGRAM) {
        *strrchr(open, '}') = '\0';
        pairs_cut(&pairs, open + 1);
        for (unsigned i = 0; i < pairs.count; i++) {
            r->labels[i] = mem_strdup(pairs.at[i].key);
        }
        r->set.label_count = (unsigned)pairs.count;
    }
}

static void forget_labels(struct recorded *r)
{
    for (unsigned i = 0; i < r->set.label_count; i++) {
        union {
            const char *in;
            void *out;
        } name = {r->labels[i]};
        mem_free(name.out);
    }
}

static void say_again(struct test *t, const char *vector)
{
    size_t len;
    AUTO(text) char *text = test_vector(vector, &len);
    AUTO(text) char *original = mem_dup(text, len);
    static struct lines lines;
    static struct lines want;

    recorded_count = 0;
    lines_cut(&lines, text);
    lines_cut(&want, original);
    for (size_t i = 0; i < lines.count; i++) {
        read_line(lines.at[i]);
    }
    CHECK(recorded_count >= 15);
    for (unsigned i = 0; i < recorded_count; i++) {
        struct recorded *r = &recorded[i];
        if (!is_our_business(r->family.name) || r->family.type == METRIC_HISTOGRAM) {
            continue;
        }
        const struct metric_set *sets[] = {&r->set};
        learn_labels(r);
        struct metrics *m = metrics_new(sets, 1);
        struct metrics_shard *shard = metrics_shard_new(m);
        unsigned count = r->sample_count;
        for (unsigned k = 0; k < count; k++) {
            feed(r, shard, r->samples[k]);
        }
        char *page = print(m);
        static struct lines got;
        lines_cut(&got, page);
        for (size_t k = 0; k + 1 < got.count; k++) { /* "# EOF" is the last one */
            bool found = false;
            for (size_t w = 0; w < want.count; w++) {
                found |= strcmp(want.at[w], got.at[k]) == 0;
            }
            if (!found) {
                test_fail(t, __FILE__, __LINE__, got.at[k]);
            }
        }
        size_t printed = got.count - 1 - 2 - (r->family.unit ? 1 : 0);
        mem_free(page);
        metrics_free(m);
        forget_labels(r);
        CHECK_INT(printed, count);
    }
}

TEST(every_recorded_line_is_said_in_the_same_words)
{
    say_again(t, "obs/metrics-after-node1.txt");
    say_again(t, "obs/metrics-after-node2.txt");
}

TEST(a_histogram_is_printed_in_the_recorded_order)
{
    static const struct metric_family f = {
        .name = "istio_dns_upstream_request_duration_seconds",
        .help = "Total time in seconds Istio takes to get DNS response from upstream (unstable).",
        .unit = "seconds",
        .type = METRIC_HISTOGRAM,
        .bounds_us = bounds_us,
        .bound_count = ARRAY_LEN(bounds_us)};
    static const char *const labels[] = {"request_query_type", "request_protocol",
                                         "source_canonical_service", "source_canonical_revision"};
    static const struct metric_set set = {
        .families = &f, .family_count = 1, .labels = labels, .label_count = 4};
    const struct metric_set *sets[] = {&set};
    const struct slice values[] = {slice_of("a"), slice_of("udp"), slice_of("app11"),
                                   slice_of("v1")};
    AUTO(metrics) struct metrics *m = metrics_new(sets, 1);
    size_t len;
    AUTO(text) char *recording = test_vector("obs/metrics-after-node1.txt", &len);
    static struct lines want;
    static struct lines got;

    series_observe_us(metrics_series(metrics_shard_new(m), &set, values), 0, 6294);
    AUTO(text) char *page = print(m);
    lines_cut(&want, recording);
    lines_keep(&want, "istio_dns_upstream_request_duration_seconds");
    lines_cut(&got, page);
    CHECK_INT(got.count - 1, want.count);
    for (size_t i = 0; i < want.count; i++) {
        if (strstr(want.at[i], "_sum{")) {
            CHECK(strstr(got.at[i], "_sum{") && strstr(got.at[i], "} 0.006294"));
        } else {
            CHECK_STR(got.at[i], want.at[i]);
        }
    }
}
