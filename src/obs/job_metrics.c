/* SPDX-License-Identifier: Apache-2.0 */
#include "obs/job_metrics.h"

static int64_t read_queued(void *arg)
{
    return jobs_stats(arg).queued;
}

static int64_t read_running(void *arg)
{
    return jobs_stats(arg).running;
}

static int64_t read_done(void *arg)
{
    return (int64_t)jobs_stats(arg).done;
}

static int64_t read_refused(void *arg)
{
    return (int64_t)jobs_stats(arg).refused;
}

void metrics_probe_jobs(struct metrics *m, const struct job_pool *pools, unsigned count)
{
    static const struct metric_probe probes[] = {
        {.name = "ambit_jobs_queued", .help = "Jobs that wait for a thread.", .read = read_queued},
        {.name = "ambit_jobs_running", .help = "Jobs under way.", .read = read_running},
        {.name = "ambit_jobs", .help = "Jobs done.", .counts = true, .read = read_done},
        {.name = "ambit_jobs_refused",
         .help = "Jobs refused because too many waited.",
         .counts = true,
         .read = read_refused}};

    for (size_t i = 0; i < ARRAY_LEN(probes); i++) {
        for (unsigned k = 0; k < count; k++) {
            struct metric_probe p = probes[i];
            p.labels = pools[k].label;
            p.arg = pools[k].jobs;
            metrics_probe(m, &p);
        }
    }
}
