/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/metrics.h"

static const struct metric_family build_families[] = {
    {.name = "istio_build", .help = "Istio component build info.", .type = METRIC_GAUGE}};
static const char *const build_labels[] = {"component", "tag"};
const struct metric_set build_metrics = {.families = build_families,
                                         .family_count = 1,
                                         .labels = build_labels,
                                         .label_count = ARRAY_LEN(build_labels)};

static const struct metric_family end_families[] = {
    {.name = "istio_xds_connection_terminations",
     .help = "The total number of completed connections to xds server (unstable).",
     .type = METRIC_COUNTER}};
static const char *const end_labels[] = {"reason"};
const struct metric_set discovery_end_metrics = {
    .families = end_families, .family_count = 1, .labels = end_labels, .label_count = 1};

enum { MESSAGE_COUNT, MESSAGE_BYTES };
static const struct metric_family message_families[] = {
    [MESSAGE_COUNT] = {.name = "istio_xds_message",
                       .help = "Total number of messages received (unstable).",
                       .type = METRIC_COUNTER},
    [MESSAGE_BYTES] = {.name = "istio_xds_message_bytes",
                       .help = "Total number of bytes received (unstable).",
                       .unit = "bytes",
                       .type = METRIC_COUNTER}};
static const char *const message_labels[] = {"url"};
const struct metric_set discovery_message_metrics = {
    .families = message_families, .family_count = 2, .labels = message_labels, .label_count = 1};

void build_metrics_say(struct metrics_shard *shard, const char *component, const char *tag)
{
    struct slice labels[] = {slice_of(component), slice_of(tag)};

    series_set(metrics_series(shard, &build_metrics, labels), 0, 1);
}

static void add_end(struct metrics_shard *shard, const char *reason, uint64_t times)
{
    struct slice label = slice_of(reason);

    if (times > 0) {
        series_add(metrics_series(shard, &discovery_end_metrics, &label), 0, times);
    }
}

static void add_received(struct metrics_shard *shard, const char *url, uint64_t messages,
                         uint64_t bytes)
{
    struct slice label = slice_of(url);

    if (messages > 0) {
        struct series *x = metrics_series(shard, &discovery_message_metrics, &label);
        series_add(x, MESSAGE_COUNT, messages);
        series_add(x, MESSAGE_BYTES, bytes);
    }
}

void discovery_metrics_say(struct metrics_shard *shard, const struct ads_client *c,
                           struct ads_stats *before)
{
    static const char *const reasons[ADS_ENDS] = {"ConnectionError", "Reconnect", "Error",
                                                  "Complete"};
    const struct ads_interest *interest = ads_client_interest(c);
    const struct ads_stats *now = ads_client_stats(c);

    for (unsigned i = 0; i < ADS_ENDS; i++) {
        add_end(shard, reasons[i], now->ends[i] - before->ends[i]);
    }
    for (unsigned i = 0; i < interest->type_count; i++) {
        add_received(shard, interest->types[i], now->responses[i] - before->responses[i],
                     now->response_bytes[i] - before->response_bytes[i]);
    }
    *before = *now;
}
