/* SPDX-License-Identifier: Apache-2.0 */
/* Requests to the local runtime, and lines of control-group files. Oracle: what is accepted has names
 * that are safe in paths, and a command; a record made of it reads back the same. */
#include <assert.h>
#include <string.h>

#include "base/mem.h"
#include "node/local_record.h"
#include "node/pod_netns.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_name(const char *s)
{
    size_t len = strlen(s);

    assert(len > 0 && len <= 63 && s[0] != '.' && !strchr(s, '/') && !strchr(s, '.'));
}

static void check_record(const struct local_spec *s)
{
    struct local_record r = {.json = json_clone(s->json), .run_dir = "/run/ambit"};
    struct local_record back = {0};
    char a[LOCAL_PATH_MAX];
    char b[LOCAL_PATH_MAX];

    int n = local_spec_read(r.json, &r.spec, NULL);
    assert(n == 0);
    r.uid = mem_strdup("uid");
    AUTO(json) struct json *j = local_record_to_json(&r);
    n = local_record_read(j, &back, NULL);
    assert(n == 0 && json_same(back.spec.json, s->json));
    local_record_dir(&r, a);
    local_record_dir(&back, b);
    assert(strcmp(a, b) == 0);
    local_record_fini(&r);
    local_record_fini(&back);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    AUTO(json) struct json *j = NULL;
    struct local_spec s;

    (void)pod_netns_is_cgroup_of((struct slice){(const char *)data, size}, "1-2-3");
    if (json_parse(&j, (const char *)data, size, NULL, NULL) == 0 &&
        local_spec_read(j, &s, NULL) == 0) {
        check_name(s.namespace);
        check_name(s.name);
        check_name(s.service_account);
        assert(json_count(s.command) > 0 && s.workdir[0] == '/');
        check_record(&s);
    }
    return 0;
}
