/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "base/ascii.h"
#include "base/mem.h"
#include "control/pod_facts.h"

static const char *controller_text(const struct json *owners, const char *field)
{
    for (size_t i = 0; i < json_count(owners); i++) {
        const struct json *owner = json_item(owners, i);
        if (json_bool_at(owner, "controller", false)) {
            return json_str_at(owner, field, "");
        }
    }
    return NULL;
}

/* name without "-" and hash at its end; NULL when it does not end so. */
static char *without_hash(const char *name, const char *hash)
{
    size_t n = strlen(name);
    size_t h = hash ? strlen(hash) : 0;

    if (h == 0 || n <= h + 1 || strcmp(name + n - h, hash) != 0 || name[n - h - 1] != '-') {
        return NULL;
    }
    char *stripped = mem_dup(name, n - h - 1);
    return stripped;
}

/* A CronJob's jobs are its name, "-" and the minute they are for: 8 to 10 digits. */
static char *without_minute(const char *name)
{
    enum { DIGITS_MIN = 8, DIGITS_MAX = 10 };
    size_t n = strlen(name);
    size_t digits = 0;

    while (digits < n && ascii_is_digit(name[n - digits - 1])) {
        digits++;
    }
    if (digits < DIGITS_MIN || digits > DIGITS_MAX || n < digits + 2 ||
        name[n - digits - 1] != '-') {
        return NULL;
    }
    return mem_dup(name, n - digits - 1);
}

static char *from_controller(const char *kind, const char *name, const struct labels *labels)
{
    char *found = NULL;

    if (strcmp(kind, "ReplicaSet") == 0) {
        found = without_hash(name, labels_get(labels, "pod-template-hash"));
        if (!found) {
            found = without_hash(name, labels_get(labels, "rollouts-pod-template-hash"));
        }
    } else if (strcmp(kind, "ReplicationController") == 0) {
        const char *config = labels_get(labels, "deploymentconfig");
        found = config && *config ? mem_strdup(config) : NULL;
    } else if (strcmp(kind, "Job") == 0) {
        found = without_minute(name);
    }
    return found ? found : mem_strdup(name);
}

char *workload_name_of(const struct json *pod, const struct labels *labels)
{
    const char *given = labels_get(labels, "service.istio.io/workload-name");
    const struct json *owners = json_array_at(pod, "metadata.ownerReferences");
    const char *kind = controller_text(owners, "kind");

    if (given && *given) {
        return mem_strdup(given);
    }
    if (kind && *json_str_at(pod, "metadata.generateName", "")) {
        return from_controller(kind, controller_text(owners, "name"), labels);
    }
    return mem_strdup(json_str_at(pod, "metadata.name", ""));
}
