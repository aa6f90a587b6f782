/* SPDX-License-Identifier: Apache-2.0 */
#include "ca/control_link.h"

#include "base/num.h"
#include "io/jobs.h"
#include "io/worker.h"

enum { HANDSHAKE_THREADS_MAX = 2, JOBS_MAX = 1024, JOBS_LANE_MAX = 256, LOOKUP_JOBS_MAX = 16 };

/* One processor is left to the loops. The kernel shares time out by process (control group) first:
 * jobs on every processor use up what this one gets, and then its loops stand behind other
 * processes, however low the jobs' own priority is. */
static unsigned handshake_threads(void)
{
    return MAX_OF(MIN_OF(worker_cpus() - 1, (unsigned)HANDSHAKE_THREADS_MAX), 1u);
}

static int open_uplink(struct control_link *k, struct loop *l, const struct control_link_config *f,
                       bool ca, struct diag *why)
{
    struct uplink_config config = {.loop = l,
                                   .jobs = k->lookups,
                                   .tls = k->tls_loop,
                                   .address = ca ? f->ca_address : f->xds_address,
                                   .roots = ca ? f->ca_roots : f->xds_roots,
                                   .alt_host = ca ? f->ca_alt_host : f->xds_alt_host,
                                   .token = f->token,
                                   .cluster_id = f->cluster_id,
                                   .extra = ca ? f->ca_headers : f->xds_headers};

    return uplink_new(ca ? &k->ca : &k->xds, &config, why);
}

int control_link_open(struct control_link *k, struct loop *l,
                      const struct control_link_config *config, struct diag *why)
{
    k->jobs = jobs_new(handshake_threads(), JOBS_MAX, JOBS_LANE_MAX, why);
    k->lookups = jobs_new(1, LOOKUP_JOBS_MAX, LOOKUP_JOBS_MAX, why);
    if (!k->jobs || !k->lookups) {
        return surely_negative(why->code);
    }
    int r = tls_ctx_new(&k->tls, NULL, why);
    if (r < 0) {
        return r;
    }
    k->tls_loop = tls_loop_new(l, k->jobs, k->tls, NULL);
    r = open_uplink(k, l, config, true, why);
    if (r == 0 && config->xds_address[0]) {
        r = open_uplink(k, l, config, false, why);
    }
    if (r < 0) {
        return r;
    }
    struct cert_manager_config certs = {.dialer = uplink_dialer(k->ca),
                                        .jobs = k->jobs,
                                        .ttl_s = config->cert_ttl_s,
                                        .impersonate = config->impersonate};
    k->certs = cert_manager_new(l, &certs);
    return 0;
}

void control_link_end_certs(struct control_link *k)
{
    cert_manager_free(k->certs);
    k->certs = NULL;
}

void control_link_close(struct control_link *k, struct loop *l)
{
    uplink_free(k->ca);
    uplink_free(k->xds);
    if (l) {
        loop_end_orphans(l); /* connections to the control plane that linger stand on TLS */
    }
    tls_loop_free(k->tls_loop);
    jobs_free(k->jobs);
    jobs_free(k->lookups);
    tls_ctx_free(k->tls);
    *k = (struct control_link){.jobs = NULL};
}
