/* SPDX-License-Identifier: Apache-2.0 */
#include "obs/policy_notes.h"

#include "obs/labels.h"

static const char *const dry_run_labels[] = {"policy_namespace", "policy_name",
                                             "destination_service", "result"};
enum { AUDIT_LABELS = 3, DRY_RUN_LABELS };

static const struct metric_family audit_family = {
    .name = "wp_authz_audit",
    .help = "Requests and connections that an AUDIT policy has matched.",
    .type = METRIC_COUNTER};
const struct metric_set policy_audit_metrics = {.families = &audit_family,
                                                .family_count = 1,
                                                .labels = dry_run_labels,
                                                .label_count = AUDIT_LABELS};

static const struct metric_family dry_run_family = {
    .name = "wp_authz_dry_run",
    .help = "Requests and connections by what dry-run policies would have done with them.",
    .type = METRIC_COUNTER};
const struct metric_set policy_dry_run_metrics = {.families = &dry_run_family,
                                                  .family_count = 1,
                                                  .labels = dry_run_labels,
                                                  .label_count = DRY_RUN_LABELS};

/* The labels that both have; the text for the record. */
static const char *describe(const struct l7_hit_rule *by, const char *service,
                            struct slice labels[static AUDIT_LABELS], struct arena *a)
{
    AUTO(strbuf) struct strbuf text = {0};

    labels[0] = slice_of(by->policy ? by->policy->ns : "none");
    labels[1] = slice_of(by->policy ? by->policy->name : "none");
    labels[2] = label_or_unknown(service);
    if (!by->policy) {
        return "none";
    }
    strbuf_printf(&text, "%s/%s[%zu]", by->policy->ns, by->policy->name, by->rule);
    return arena_text(a, strbuf_text(&text), text.len);
}

void policy_notes_take(struct policy_notes *out, const struct l7_authz *v, const char *service,
                       struct metrics_shard *shard, struct arena *a)
{
    struct slice labels[DRY_RUN_LABELS];

    if (v->audit.policy) {
        out->audit = describe(&v->audit, service, labels, a);
        series_add(metrics_series(shard, &policy_audit_metrics, labels), 0, 1);
    }
    if (v->dry_run != L7_DRY_NONE) {
        out->dry_run_result = v->dry_run == L7_DRY_DENIED ? "denied" : "allowed";
        out->dry_run_policy = describe(&v->dry_run_by, service, labels, a);
        labels[AUDIT_LABELS] = slice_of(out->dry_run_result);
        series_add(metrics_series(shard, &policy_dry_run_metrics, labels), 0, 1);
    }
}
