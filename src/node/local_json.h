/* SPDX-License-Identifier: Apache-2.0 */
/* A local workload as the runtime's API shows it. */
#pragma once

struct json;
struct local_pod;

/* {"namespace", "name", "serviceAccount", "uid", "ips", "command", "user", "pid", "restarts",
 * "state", "step", "mesh": "in|out|joining|leaving", "trouble", "log"}; a value of the caller's. */
struct json *local_json(const struct local_pod *p);
