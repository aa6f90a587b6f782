/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Counters, gauges and histograms with labels. Every thread counts in a shard of its own, with plain
 * additions; a scrape (any thread) sums the shards. Label sets are bounded: beyond the limit of its
 * set everything goes to one series whose labels are all "overflow", so no peer can fill the memory.
 *
 * Families that share their labels form a set, so that the labels of a connection are stored once for
 * its five counters. A family without a touched series is not printed (contract 9.1).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

enum metric_type { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };

enum { METRIC_FAMILIES_MAX = 8, METRIC_LABELS_MAX = 32, METRIC_BUCKETS_MAX = 24 };

/* What a histogram's numbers are: microseconds, shown as seconds or milliseconds, or just numbers. */
enum metric_scale { METRIC_SECONDS = 0, METRIC_MILLISECONDS, METRIC_PLAIN };

struct metric_family { /* static data */
    const char *name;  /* without _total */
    const char *help;  /* as printed, with its "." */
    const char *unit;  /* NULL, "bytes", "seconds" */
    enum metric_type type;
    unsigned at, width; /* METRIC_OF: where series_follow finds it; width 0: not there */
    /* METRIC_HISTOGRAM: upper bounds in microseconds, ascending; +Inf is implied. */
    const uint64_t *bounds_us;
    unsigned bound_count;
    enum metric_scale scale;
};

/* A row of a table of families, for what a part counts in a member, unsigned or uint64_t, of a struct.
 * More initialisers may follow the help. */
#define METRIC_OF(type_, struct_, member, name_, help_, ...)                                       \
    {                                                                                              \
        .name = (name_), .help = (help_), .type = METRIC_##type_,                                  \
        .at = offsetof(struct struct_, member), .width = sizeof(((struct struct_ *)NULL)->member), \
        __VA_ARGS__                                                                                \
    }

struct metric_set { /* static data */
    const struct metric_family *families;
    unsigned family_count;
    const char *const *labels;
    unsigned label_count;
    unsigned series_max; /* in one shard; 0 = 4,096 */
};

struct metrics;       /* of the process */
struct metrics_shard; /* of one thread */
struct series;        /* one label set in one shard; lives as long as the shard */

/* sets are borrowed for ever, printed in this order. */
struct metrics *metrics_new(const struct metric_set *const *sets, unsigned count);
void metrics_free(struct metrics *m); /* after its threads have ended; frees the shards */
AUTO_DEFINE(metrics, struct metrics *, metrics_free);

/* Any thread, but the shard is then used by one thread only. */
struct metrics_shard *metrics_shard_new(struct metrics *m);

/* The series of these label values, made at the first call; never NULL. values has label_count
 * slices; one with p == NULL leaves that label out. Values are copied. */
struct series *metrics_series(struct metrics_shard *s, const struct metric_set *set,
                              const struct slice *values);

/* family is the index in the set. Adding 0 makes the series appear. */
void series_add(struct series *s, unsigned family, uint64_t n);
/* Gauges: up and down from any shard (the sum is shown), or set from one shard only. */
void series_move(struct series *s, unsigned family, int64_t by);
void series_set(struct series *s, unsigned family, int64_t value);
/* Brings the families of METRIC_OF up to what was counted: now is the struct, told the same as it was
 * the last time (zeroes at first); size octets of now are kept there, 0: the caller keeps it. */
void series_follow(struct series *s, const void *now, void *told, size_t size);
void series_observe_us(struct series *s, unsigned family, uint64_t us);

/* A number that is read when it is printed; printed before the sets, in the order of adding: those of
 * one name one after the other. read runs on the scraping thread. */
struct metric_probe {
    const char *name;
    const char *help;
    int64_t (*read)(void *arg);
    void *arg;
    const char *labels; /* as printed, `a="x"`; NULL: none */
    bool counts;        /* a counter, else a gauge */
};
enum { METRICS_PROBES_MAX = 32 };
void metrics_probe(struct metrics *m, const struct metric_probe *probe);
/* process_open_fds, process_max_fds, lines of the log that were dropped. */
void metrics_probe_process(struct metrics *m);

/* OpenMetrics text, "# EOF" last; before it how often a label set found no room, if any did. Any thread. */
void metrics_write(struct metrics *m, struct strbuf *out);
