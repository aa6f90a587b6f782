/* SPDX-License-Identifier: Apache-2.0 */
#include "node/local_json.h"

#include "node/local_pod.h"

static void describe_mesh(const struct local_pod *p, struct json *j)
{
    static const char *const words[] = {
        [ENROLMENT_OUT] = "out",         [ENROLMENT_JOINING] = "joining", [ENROLMENT_IN] = "in",
        [ENROLMENT_LEAVING] = "leaving", [ENROLMENT_OVER] = "out",
    };
    const struct enrolment *e = local_pod_enrolment(p);
    const struct local_exit *last = local_pod_exit(p);

    json_set_str(j, "mesh", words[e ? enrolment_standing(e) : ENROLMENT_OUT]);
    const char *trouble = e ? enrolment_trouble(e) : "";
    bool again = !*trouble && local_pod_state(p) == LOCAL_WAITING && last;
    json_set(j, "trouble", again ? local_exit_text(last) : json_new_str(trouble));
}

struct json *local_json(const struct local_pod *p)
{
    static const char *const states[] = {
        [LOCAL_STARTING] = "starting", [LOCAL_RUNNING] = "running", [LOCAL_WAITING] = "waiting",
        [LOCAL_STOPPING] = "stopping", [LOCAL_GONE] = "gone",
    };
    static const char *const own[] = {"version", "runDir", "shim", "startTime", "spec"};
    const struct local_record *record = local_pod_record(p);
    struct json *j = local_record_to_json(record);
    char log[LOCAL_LOG_MAX];

    for (size_t i = 0; i < ARRAY_LEN(own); i++) {
        (void)json_remove(j, own[i]);
    }
    json_set_str(j, "namespace", record->spec.namespace);
    json_set_str(j, "name", record->spec.name);
    json_set_str(j, "serviceAccount", record->spec.service_account);
    json_set_str(j, "user", record->spec.user);
    json_set(j, "command", json_clone(record->spec.command));
    json_set_str(j, "state", states[local_pod_state(p)]);
    json_set_str(j, "step", local_pod_step(p));
    if (record->spec.waypoint) {
        json_set_str(j, "waypoint", record->spec.waypoint);
        json_set_bool(j, "ready", local_pod_is_ready(p));
    }
    local_record_log(record, log);
    json_set_str(j, "log", log);
    describe_mesh(p, j);
    return j;
}
