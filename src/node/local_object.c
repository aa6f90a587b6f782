/* SPDX-License-Identifier: Apache-2.0 */
#include "node/local_object.h"

#include "base/mem.h"
#include "node/local_pod.h"

enum { LABEL_TEXTS = 2 * LOCAL_LABELS_MAX + 1 };

static struct pod_spec spec_of(const struct local_object *o, const char *labels[static LABEL_TEXTS])
{
    const struct local_spec *spec = &o->record->spec;
    size_t n = 0;

    for (struct json_iter it = {0}; json_each(spec->labels, &it);) {
        labels[n++] = it.key;
        labels[n++] = json_str(it.value, "");
    }
    labels[n] = NULL;
    return (struct pod_spec){.namespace = spec->namespace,
                             .name = spec->name,
                             .service_account = spec->service_account,
                             .node = o->env->node,
                             .labels = labels,
                             .ips = o->record->ips,
                             .ip_count = o->record->ip_count};
}

static int result_of(struct local_object *o, struct diag *why)
{
    int r = o->env->source->ops->result(o->write, why);

    if (r != -EAGAIN) {
        local_object_drop(o);
    }
    return r;
}

int local_object_create(struct local_object *o, char **out_uid, struct diag *why)
{
    const struct pod_source_ops *ops = o->env->source->ops;
    const char *labels[LABEL_TEXTS];
    struct pod_spec spec = spec_of(o, labels);

    if (!o->write) {
        o->write = ops->create(o->env->source, o->task, &spec);
    }
    int r = ops->result(o->write, why);
    if (r == -EAGAIN) {
        return r;
    }
    if (r == 0) {
        *out_uid = mem_strdup(ops->uid(o->write));
    }
    local_object_drop(o);
    return r;
}

int local_object_tell(struct local_object *o, enum pod_phase phase, bool ready, const char *trouble,
                      struct diag *why)
{
    const char *labels[LABEL_TEXTS];
    struct pod_spec spec = spec_of(o, labels);

    spec.trouble = trouble;
    if (!o->write) {
        o->write = o->env->source->ops->set_phase(o->env->source, o->task, &spec, phase, ready);
    }
    return result_of(o, why);
}

int local_object_remove(struct local_object *o, struct diag *why)
{
    const struct local_spec *spec = &o->record->spec;

    if (!o->write) {
        o->write =
            o->env->source->ops->remove(o->env->source, o->task, spec->namespace, spec->name);
    }
    return result_of(o, why);
}

void local_object_drop(struct local_object *o)
{
    if (o->write) {
        o->env->source->ops->drop(MOVE(o->write));
    }
}
