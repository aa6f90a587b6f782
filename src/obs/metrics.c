/* SPDX-License-Identifier: Apache-2.0 */
#include "obs/metrics.h"

#include <assert.h>
#include <dirent.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/num.h"

enum { SERIES_DEFAULT_MAX = 4096, SHARDS_MAX = 256, SETS_MAX = 32, LABEL_VALUE_MAX = 512 };

/* Written by one thread, read by scrapes: every number is a relaxed atomic, the lists only grow. */
struct series {
    struct map_node by_key;
    struct series *next;
    const struct metric_set *set;
    char *labels; /* `a="x",b="y"`: also the key */
    size_t labels_len;
    uint32_t touched; /* a bit a family */
    uint64_t values[METRIC_FAMILIES_MAX];
    uint64_t *buckets[METRIC_FAMILIES_MAX]; /* histograms: counts, +Inf last */
};

struct shard_set {
    struct map by_key;
    struct series *first; /* published with release */
    struct series *overflow;
    uint64_t overflowed;
};

struct metrics_shard {
    struct metrics *metrics;
    struct shard_set sets[SETS_MAX];
};

struct metrics {
    const struct metric_set *const *sets;
    unsigned set_count;
    pthread_mutex_t lock; /* of the shard list; taken at thread start and by scrapes only */
    struct metrics_shard *shards[SHARDS_MAX];
    unsigned shard_count;
    struct metric_probe probes[METRICS_PROBES_MAX];
    unsigned probe_count;
};

static uint64_t get(const uint64_t *v)
{
    return __atomic_load_n(v, __ATOMIC_RELAXED);
}

/* One writer: a plain sum, stored so that a reader sees whole words. */
static void add(uint64_t *v, uint64_t n)
{
    __atomic_store_n(v, get(v) + n, __ATOMIC_RELAXED);
}

struct metrics *metrics_new(const struct metric_set *const *sets, unsigned count)
{
    struct metrics *m = mem_new(struct metrics);

    for (unsigned i = 0; i < count; i++) {
        assert(sets[i]->family_count <= METRIC_FAMILIES_MAX);
    }
    m->sets = sets;
    m->set_count = MIN_OF(count, (unsigned)SETS_MAX);
    (void)pthread_mutex_init(&m->lock, NULL); /* cannot fail with default attributes */
    return m;
}

static void series_free(struct series *s)
{
    for (unsigned i = 0; i < METRIC_FAMILIES_MAX; i++) {
        mem_free(s->buckets[i]);
    }
    mem_free(s->labels);
    mem_free(s);
}

static void shard_free(struct metrics_shard *s)
{
    for (unsigned i = 0; i < SETS_MAX; i++) {
        while (s->sets[i].first) {
            struct series *next = s->sets[i].first->next;
            series_free(s->sets[i].first);
            s->sets[i].first = next;
        }
        map_fini(&s->sets[i].by_key);
    }
    mem_free(s);
}

void metrics_free(struct metrics *m)
{
    if (m) {
        for (unsigned i = 0; i < m->shard_count; i++) {
            shard_free(m->shards[i]);
        }
        (void)pthread_mutex_destroy(&m->lock);
        mem_free(m);
    }
}

struct metrics_shard *metrics_shard_new(struct metrics *m)
{
    struct metrics_shard *s = mem_new(struct metrics_shard);

    s->metrics = m;
    for (unsigned i = 0; i < SETS_MAX; i++) {
        map_init(&s->sets[i].by_key);
    }
    (void)pthread_mutex_lock(&m->lock);
    if (m->shard_count == SHARDS_MAX) {
        abort(); /* shards are made once a thread, at start */
    }
    m->shards[m->shard_count++] = s;
    (void)pthread_mutex_unlock(&m->lock);
    return s;
}

/* ---- series */

static void label_escape(struct strbuf *out, struct slice v)
{
    for (size_t i = 0; i < v.len && i < LABEL_VALUE_MAX; i++) {
        char c = v.p[i];
        if (c == '\\' || c == '"') {
            strbuf_putc(out, '\\');
            strbuf_putc(out, c);
        } else if (c == '\n') {
            strbuf_puts(out, "\\n");
        } else {
            strbuf_putc(out, (unsigned char)c < ' ' ? '?' : c);
        }
    }
}

static void labels_write(struct strbuf *out, const struct metric_set *set,
                         const struct slice *values)
{
    static const struct slice overflow = {"overflow", 8};

    for (unsigned i = 0; i < set->label_count; i++) {
        struct slice v = values ? values[i] : overflow;
        if (!v.p) {
            continue;
        }
        strbuf_printf(out, "%s%s=\"", out->len > 0 ? "," : "", set->labels[i]);
        label_escape(out, v);
        strbuf_putc(out, '"');
    }
}

static struct shard_set *set_of(struct metrics_shard *s, const struct metric_set *set)
{
    for (unsigned i = 0; i < s->metrics->set_count; i++) {
        if (s->metrics->sets[i] == set) {
            return &s->sets[i];
        }
    }
    abort(); /* a set that metrics_new was not told about: a programming error */
}

static struct series *series_make(struct shard_set *at, const struct metric_set *set,
                                  struct strbuf *labels, uint64_t hash)
{
    struct series *s = mem_new(struct series);

    s->set = set;
    s->labels_len = labels->len;
    s->labels = strbuf_take(labels);
    for (unsigned i = 0; i < set->family_count; i++) {
        if (set->families[i].type == METRIC_HISTOGRAM) {
            s->buckets[i] = mem_array(set->families[i].bound_count + 1, sizeof(uint64_t));
        }
    }
    map_insert(&at->by_key, &s->by_key, hash);
    s->next = at->first;
    __atomic_store_n(&at->first, s, __ATOMIC_RELEASE);
    return s;
}

static struct series *series_overflow(struct shard_set *at, const struct metric_set *set)
{
    struct strbuf labels = {0};

    add(&at->overflowed, 1);
    if (!at->overflow) {
        labels_write(&labels, set, NULL);
        at->overflow = series_make(at, set, &labels, map_hash_str(strbuf_text(&labels)));
    }
    return at->overflow;
}

struct series *metrics_series(struct metrics_shard *s, const struct metric_set *set,
                              const struct slice *values)
{
    AUTO(strbuf) struct strbuf labels = {0};
    struct shard_set *at = set_of(s, set);

    labels_write(&labels, set, values);
    uint64_t hash = map_hash(strbuf_text(&labels), labels.len);
    for (struct map_node *n = map_find(&at->by_key, hash); n; n = map_find_next(n)) {
        struct series *x = container_of(n, struct series, by_key);
        if (x->labels_len == labels.len &&
            memcmp(x->labels, strbuf_text(&labels), labels.len) == 0) {
            return x;
        }
    }
    if (at->by_key.count >= (set->series_max > 0 ? set->series_max : SERIES_DEFAULT_MAX)) {
        return series_overflow(at, set);
    }
    return series_make(at, set, &labels, hash);
}

static void touch(struct series *s, unsigned family)
{
    uint32_t bit = BIT(family);

    if (!(s->touched & bit)) {
        __atomic_store_n(&s->touched, s->touched | bit, __ATOMIC_RELAXED);
    }
}

void series_add(struct series *s, unsigned family, uint64_t n)
{
    touch(s, family);
    add(&s->values[family], n);
}

void series_move(struct series *s, unsigned family, int64_t by)
{
    touch(s, family);
    add(&s->values[family], (uint64_t)by); /* two's complement: sums come out right */
}

void series_set(struct series *s, unsigned family, int64_t value)
{
    touch(s, family);
    __atomic_store_n(&s->values[family], (uint64_t)value, __ATOMIC_RELAXED);
}

static uint64_t number_at(const void *counts, const struct metric_family *f)
{
    const unsigned char *p = (const unsigned char *)counts + f->at;
    uint64_t wide = 0;
    uint32_t narrow = 0;

    if (f->width == sizeof(wide)) {
        memcpy(&wide, p, sizeof(wide));
        return wide;
    }
    assert(f->width == sizeof(narrow));
    memcpy(&narrow, p, sizeof(narrow));
    return narrow;
}

void series_follow(struct series *s, const void *now, void *told, size_t size)
{
    for (unsigned i = 0; i < s->set->family_count; i++) {
        const struct metric_family *f = &s->set->families[i];
        if (f->width > 0 && f->type == METRIC_GAUGE) {
            series_set(s, i, (int64_t)number_at(now, f));
        } else if (f->width > 0) {
            series_add(s, i, number_at(now, f) - number_at(told, f));
        }
    }
    memcpy(told, now, size);
}

void series_observe_us(struct series *s, unsigned family, uint64_t us)
{
    const struct metric_family *f = &s->set->families[family];
    unsigned i = 0;

    while (i < f->bound_count && us > f->bounds_us[i]) {
        i++;
    }
    touch(s, family);
    add(&s->buckets[family][i], 1);
    add(&s->values[family], us);
}

/* ---- scraping */

static int by_labels(const void *a, const void *b)
{
    const struct series *const *x = a;
    const struct series *const *y = b;

    return strcmp((*x)->labels, (*y)->labels);
}

struct gathered {
    const struct series **at;
    size_t count;
};

/* Every series of a set over all shards, equal labels side by side. */
static struct gathered gather_set(const struct metrics *m, unsigned set)
{
    struct gathered g = {NULL, 0};
    size_t room = 0;

    for (unsigned i = 0; i < m->shard_count; i++) {
        const struct series *s = __atomic_load_n(&m->shards[i]->sets[set].first, __ATOMIC_ACQUIRE);
        for (; s; s = s->next) {
            if (g.count == room) {
                room = room > 0 ? room * 2 : 64;
                g.at = mem_resize(g.at, room * sizeof(*g.at));
            }
            g.at[g.count++] = s;
        }
    }
    if (g.count > 0) {
        qsort(g.at, g.count, sizeof(*g.at), by_labels);
    }
    return g;
}

static const char *type_name(enum metric_type t)
{
    static const char *const names[] = {
        [METRIC_COUNTER] = "counter", [METRIC_GAUGE] = "gauge", [METRIC_HISTOGRAM] = "histogram"};

    return names[t];
}

static void write_head(struct strbuf *out, const struct metric_family *f)
{
    strbuf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", f->name, f->help, f->name,
                  type_name(f->type));
    if (f->unit) {
        strbuf_printf(out, "# UNIT %s %s\n", f->name, f->unit);
    }
}

/* first: a label that stands before those of the series, or NULL. */
static void write_labels(struct strbuf *out, const struct series *s, const char *first)
{
    if (s->labels_len == 0 && !first) {
        return;
    }
    strbuf_printf(out, "{%s%s%s}", first ? first : "", s->labels_len > 0 && first ? "," : "",
                  s->labels);
}

/* With the fewest digits that say it: 0.0005, 1.0, 5.0 (as recorded); milliseconds: 0.5, 1, 5. */
static void write_scaled(struct strbuf *out, enum metric_scale scale, uint64_t v)
{
    static const struct {
        uint64_t unit;
        int least; /* characters behind the point that stay, the point included */
    } scales[] = {[METRIC_SECONDS] = {1000000, 2}, [METRIC_MILLISECONDS] = {1000, 0}};
    char text[32];

    if (scale == METRIC_PLAIN) {
        strbuf_printf(out, "%llu", (unsigned long long)v);
        return;
    }
    uint64_t unit = scales[scale].unit;
    int whole = snprintf(text, sizeof(text), "%llu", (unsigned long long)(v / unit));
    int n = whole + snprintf(text + whole, sizeof(text) - (size_t)whole,
                             unit == 1000 ? ".%03u" : ".%06u", (unsigned)(v % unit) % 1000000);
    while (n > whole + scales[scale].least && (text[n - 1] == '0' || text[n - 1] == '.')) {
        n--;
    }
    strbuf_add(out, text, (size_t)n);
}

struct sum {
    uint64_t value;
    uint64_t buckets[METRIC_BUCKETS_MAX + 1];
    bool touched;
};

/* The run of equal labels that starts at i, summed; returns where the next run starts. */
static size_t sum_run(const struct gathered *g, size_t i, unsigned family, struct sum *out)
{
    const struct metric_family *f = &g->at[i]->set->families[family];
    const char *labels = g->at[i]->labels;

    *out = (struct sum){.touched = false};
    for (; i < g->count && strcmp(g->at[i]->labels, labels) == 0; i++) {
        const struct series *s = g->at[i];
        out->touched |= (__atomic_load_n(&s->touched, __ATOMIC_RELAXED) & BIT(family)) != 0;
        out->value += get(&s->values[family]);
        for (unsigned b = 0; f->type == METRIC_HISTOGRAM && b <= f->bound_count; b++) {
            out->buckets[b] += get(&s->buckets[family][b]);
        }
    }
    return i;
}

static void write_buckets(struct strbuf *out, const struct metric_family *f, const struct series *s,
                          const struct sum *sum)
{
    AUTO(strbuf) struct strbuf le = {0};
    uint64_t total = 0;

    for (unsigned b = 0; b <= f->bound_count; b++) {
        strbuf_clear(&le);
        strbuf_puts(&le, "le=\"");
        if (b < f->bound_count) {
            write_scaled(&le, f->scale, f->bounds_us[b]);
        } else {
            strbuf_puts(&le, "+Inf");
        }
        strbuf_putc(&le, '"');
        total += sum->buckets[b];
        strbuf_printf(out, "%s_bucket", f->name);
        write_labels(out, s, strbuf_text(&le));
        strbuf_printf(out, " %llu\n", (unsigned long long)total);
    }
}

/* In the recorded order, le first among the labels. */
static void write_histogram(struct strbuf *out, const struct metric_family *f,
                            const struct series *s, const struct sum *sum)
{
    uint64_t total = 0;

    for (unsigned b = 0; b <= f->bound_count; b++) {
        total += sum->buckets[b];
    }
    strbuf_printf(out, "%s_sum", f->name);
    write_labels(out, s, NULL);
    strbuf_putc(out, ' ');
    write_scaled(out, f->scale, sum->value);
    strbuf_printf(out, "\n%s_count", f->name);
    write_labels(out, s, NULL);
    strbuf_printf(out, " %llu\n", (unsigned long long)total);
    write_buckets(out, f, s, sum);
}

static void write_sample(struct strbuf *out, const struct metric_family *f, const struct series *s,
                         const struct sum *sum)
{
    if (f->type == METRIC_HISTOGRAM) {
        write_histogram(out, f, s, sum);
        return;
    }
    strbuf_printf(out, "%s%s", f->name, f->type == METRIC_COUNTER ? "_total" : "");
    write_labels(out, s, NULL);
    if (f->type == METRIC_GAUGE) {
        strbuf_printf(out, " %lld\n", (long long)(int64_t)sum->value);
    } else {
        strbuf_printf(out, " %llu\n", (unsigned long long)sum->value);
    }
}

static void write_family(struct strbuf *out, const struct metric_family *f, unsigned family,
                         const struct gathered *g)
{
    bool headed = false;
    struct sum sum;

    for (size_t i = 0; i < g->count;) {
        const struct series *s = g->at[i];
        i = sum_run(g, i, family, &sum);
        if (!sum.touched) {
            continue;
        }
        if (!headed) {
            write_head(out, f);
            headed = true;
        }
        write_sample(out, f, s, &sum);
    }
}

static void write_probe(struct strbuf *out, const struct metric_probe *p, bool headed)
{
    if (!headed) {
        strbuf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", p->name, p->help, p->name,
                      type_name(p->counts ? METRIC_COUNTER : METRIC_GAUGE));
    }
    strbuf_printf(out, "%s%s", p->name, p->counts ? "_total" : "");
    if (p->labels) {
        strbuf_printf(out, "{%s}", p->labels);
    }
    strbuf_printf(out, " %lld\n", (long long)p->read(p->arg));
}

static void write_overflows(struct strbuf *out, const struct metrics *m)
{
    uint64_t n = 0;

    for (unsigned i = 0; i < m->shard_count; i++) {
        for (unsigned k = 0; k < m->set_count; k++) {
            n += get(&m->shards[i]->sets[k].overflowed);
        }
    }
    if (n > 0) {
        strbuf_printf(
            out,
            "# HELP ambit_metrics_overflows Times a label set found no room.\n"
            "# TYPE ambit_metrics_overflows counter\nambit_metrics_overflows_total %llu\n",
            (unsigned long long)n);
    }
}

void metrics_write(struct metrics *m, struct strbuf *out)
{
    (void)pthread_mutex_lock(&m->lock);
    for (unsigned i = 0; i < m->probe_count; i++) {
        const struct metric_probe *p = &m->probes[i];
        write_probe(out, p, i > 0 && strcmp(p[-1].name, p->name) == 0);
    }
    for (unsigned i = 0; i < m->set_count; i++) {
        struct gathered g = gather_set(m, i);
        for (unsigned f = 0; f < m->sets[i]->family_count; f++) {
            write_family(out, &m->sets[i]->families[f], f, &g);
        }
        mem_free(g.at);
    }
    write_overflows(out, m);
    (void)pthread_mutex_unlock(&m->lock);
    strbuf_puts(out, "# EOF\n");
}

/* ---- probes */

void metrics_probe(struct metrics *m, const struct metric_probe *probe)
{
    if (m->probe_count < METRICS_PROBES_MAX) {
        m->probes[m->probe_count++] = *probe;
    }
}

static int64_t open_descriptors(void *arg)
{
    DIR *d = opendir("/proc/self/fd");
    int64_t n = -3; /* ".", ".." and the descriptor of this very folder */

    (void)arg;
    if (!d) {
        return 0;
    }
    while (readdir(d)) { /* the stream is this function's own */
        n++;
    }
    (void)closedir(d); /* only read from */
    return n;
}

static int64_t most_descriptors(void *arg)
{
    struct rlimit limit = {0};

    (void)arg;
    (void)getrlimit(RLIMIT_NOFILE, &limit); /* 0 says it failed */
    return (int64_t)limit.rlim_cur;
}

static int64_t lines_dropped(void *arg)
{
    (void)arg;
    return (int64_t)log_dropped();
}

void metrics_probe_process(struct metrics *m)
{
    static const struct metric_probe probes[] = {{.name = "process_open_fds",
                                                  .help = "Number of open file descriptors",
                                                  .read = open_descriptors},
                                                 {.name = "process_max_fds",
                                                  .help = "Maximum number of file descriptors",
                                                  .read = most_descriptors},
                                                 {.name = "ambit_log_lines_dropped",
                                                  .help = "Lines of the log that found no room.",
                                                  .read = lines_dropped,
                                                  .counts = true}};

    for (size_t i = 0; i < ARRAY_LEN(probes); i++) {
        metrics_probe(m, &probes[i]);
    }
}
