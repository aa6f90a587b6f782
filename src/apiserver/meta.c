/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/meta.h"

#include <stdio.h>
#include <string.h>

#include "apiserver/fault.h"
#include "base/ascii.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/num.h"
#include "base/rand.h"
#include "codec/json.h"
#include "codec/name.h"

enum { SUFFIX_LETTERS = 5, GENERATE_PREFIX_BYTES = 58 };

static void check_labels(const struct json *labels, struct faults *faults)
{
    for (struct json_iter it = {0}; json_each(labels, &it);) {
        const char *problem = name_key_problem(it.key);
        const char *value = json_str(it.value, "");
        const char *flaw = name_value_problem(value);
        if (problem) {
            faults_addf(faults, FAULT_INVALID, "metadata.labels", "\"%.128s\": %s", it.key,
                        problem);
        }
        if (flaw) {
            faults_addf(faults, FAULT_INVALID, "metadata.labels", "\"%.128s\": %s", value, flaw);
        }
    }
}

static void check_annotations(const struct json *annotations, struct faults *faults)
{
    size_t bytes = 0;

    for (struct json_iter it = {0}; json_each(annotations, &it);) {
        AUTO(text) char *key = mem_strdup(it.key);
        for (char *c = key; *c != '\0'; c++) {
            *c = ascii_lower(*c); /* upper case is allowed in annotation keys, for history's sake */
        }
        const char *problem = name_key_problem(key);
        if (problem) {
            faults_addf(faults, FAULT_INVALID, "metadata.annotations", "\"%.128s\": %s", it.key,
                        problem);
        }
        bytes += strlen(it.key) + strlen(json_str(it.value, ""));
    }
    if (bytes > ANNOTATIONS_BYTES) {
        faults_addf(faults, FAULT_TOO_LONG, "metadata.annotations", "may not be more than %d bytes",
                    ANNOTATIONS_BYTES);
    }
}

static void check_finalizers(const struct json *finalizers, struct faults *faults)
{
    for (size_t i = 0; i < json_count(finalizers); i++) {
        const char *name = json_str(json_item(finalizers, i), "");
        const char *problem = name_key_problem(name);
        if (problem) {
            faults_addf(faults, FAULT_INVALID, "metadata.finalizers", "\"%.128s\": %s", name,
                        problem);
        }
    }
}

void meta_check(const struct kind *kind, const struct json *object, struct faults *faults)
{
    const struct json *meta = json_get(object, "metadata");
    const char *name = json_str_at(meta, "name", "");

    if (name[0] == '\0') {
        faults_add(faults, FAULT_REQUIRED, "metadata.name", "name or generateName is required");
    } else {
        const char *problem = name_problem(kind->name_rule, name);
        if (problem) {
            faults_addf(faults, FAULT_INVALID, "metadata.name", "\"%.256s\": %s", name, problem);
        }
    }
    check_labels(json_get(meta, "labels"), faults);
    check_annotations(json_get(meta, "annotations"), faults);
    check_finalizers(json_get(meta, "finalizers"), faults);
}

void meta_new_uid(char *buf, size_t len)
{
    uint8_t b[16];

    rand_bytes(b, sizeof(b));
    b[6] = (uint8_t)((b[6] & 0x0f) | 0x40);
    b[8] = (uint8_t)((b[8] & 0x3f) | 0x80);
    (void)snprintf(buf, len, /* the caller gives 37 bytes */
                   "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0],
                   b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13],
                   b[14], b[15]);
}

char *meta_generate_name(const char *prefix)
{
    /* No vowels: no words. */
    static const char letters[] = "bcdfghjklmnpqrstvwxz2456789";
    struct strbuf name = {0};

    strbuf_add(&name, prefix, MIN_OF(strlen(prefix), (size_t)GENERATE_PREFIX_BYTES));
    for (int i = 0; i < SUFFIX_LETTERS; i++) {
        strbuf_putc(&name, letters[rand_u64() % (sizeof(letters) - 1)]);
    }
    return strbuf_take(&name);
}

void meta_format_time(int64_t unix_s, char *buf, size_t len)
{
    char text[CLOCK_TEXT];

    clock_format((uint64_t)unix_s * 1000000000u, text, sizeof(text));
    (void)snprintf(buf, len, "%.19sZ", text); /* the fraction goes */
}

static int64_t days_from_civil(int64_t y, int64_t m, int64_t d)
{
    y -= m <= 2;
    int64_t era = y / 400;
    int64_t of_era = y - era * 400;
    int64_t of_year = (153 * (m + (m > 2 ? -3 : 9)) + 2) / 5 + d - 1;

    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

static bool digits(const char *text, size_t at, size_t n, uint32_t max, int64_t *out)
{
    uint32_t v = 0;

    if (num_parse_u32(text + at, n, max, &v) < 0) {
        return false;
    }
    *out = v;
    return true;
}

int64_t meta_parse_time(const char *text)
{
    int64_t f[6];
    size_t n = strlen(text);

    if (n < 20 || n > 35 || text[4] != '-' || text[7] != '-' || text[10] != 'T' ||
        text[n - 1] != 'Z') {
        return -1;
    }
    if (!digits(text, 0, 4, 9999, &f[0]) || !digits(text, 5, 2, 12, &f[1]) ||
        !digits(text, 8, 2, 31, &f[2]) || !digits(text, 11, 2, 23, &f[3]) ||
        !digits(text, 14, 2, 59, &f[4]) || !digits(text, 17, 2, 60, &f[5]) || f[0] < 1970 ||
        f[1] < 1 || f[2] < 1) {
        return -1;
    }
    return ((days_from_civil(f[0], f[1], f[2]) * 24 + f[3]) * 60 + f[4]) * 60 + f[5];
}
