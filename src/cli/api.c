/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/api.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "cli/command.h"
#include "codec/json.h"
#include "io/file.h"
#include "io/jobs.h"
#include "io/loop.h"
#include "kube/client.h"
#include "kube/config.h"
#include "kube/resource.h"

enum { TURN_MS = 200, PAGE = 500, JOBS_LIMIT = 8 };

struct api {
    struct cli *cli;
    struct loop *loop;
    struct jobs *jobs;
    struct kube_client *client;
    struct task task;
};

static void run(struct task *t, unsigned why)
{
    (void)t;
    (void)why; /* whoever waits looks itself, turn by turn */
}

/* What `ambit up` wrote comes before what a pod or a home directory holds. */
static int load_config(const struct cli *c, struct kube_config **out, struct diag *why)
{
    const char *path = args_text(&c->args, "kubeconfig");
    const char *environment = getenv("KUBECONFIG");
    AUTO(strbuf) struct strbuf own = {0};

    strbuf_printf(&own, "%s/admin.kubeconfig", args_text(&c->args, "data"));
    if (!path && !(environment && *environment) && file_exists_blocking(strbuf_text(&own))) {
        path = strbuf_text(&own);
    }
    int r = kube_config_load_blocking(path, args_text(&c->args, "context"), why, out);
    return r == -ENOENT && !path && !(environment && *environment)
               ? FAIL(why, r, "no credentials for the API in ~/.kube/config or %s",
                      strbuf_text(&own))
               : r;
}

static int open_blocking(struct cli *c, const struct kube_config *config, struct api **out,
                         struct diag *why)
{
    AUTO(api) struct api *a = mem_new(struct api);

    a->cli = c;
    a->loop = loop_new(why);
    a->jobs = a->loop ? jobs_new(1, JOBS_LIMIT, JOBS_LIMIT, why) : NULL;
    if (!a->jobs) {
        return surely_negative(why->code);
    }
    task_init(&a->task, a->loop, "command", run);
    int r = kube_client_new(a->loop, a->jobs, config, "ambit", why, &a->client);
    if (r < 0) {
        return r;
    }
    *out = MOVE(a);
    return 0;
}

int api_open_blocking(struct cli *c, struct api **out, struct diag *why)
{
    AUTO(kube_config) struct kube_config *config = NULL;
    int r = load_config(c, &config, why);

    return r < 0 ? r : open_blocking(c, config, out, why);
}

int api_open_file_blocking(struct cli *c, const char *path, struct api **out, struct diag *why)
{
    AUTO(kube_config) struct kube_config *config = NULL;
    int r = kube_config_load_blocking(path, NULL, why, &config);

    return r < 0 ? r : open_blocking(c, config, out, why);
}

enum answer api_fail(struct cli *c, const struct diag *why)
{
    const char *environment = getenv("KUBECONFIG");
    bool named = args_has(&c->args, "kubeconfig") || (environment && *environment);

    return cli_fail_diag(c, named ? NULL : "ambit up", why);
}

void api_free(struct api *a)
{
    if (!a) {
        return;
    }
    kube_client_free(a->client);
    if (a->loop) {
        task_fini(&a->task);
    }
    jobs_free(a->jobs);
    loop_free(a->loop);
    mem_free(a);
}

const char *api_namespace(const struct api *a)
{
    const char *given = args_text(&a->cli->args, "namespace");

    return given ? given : kube_client_namespace(a->client);
}

/* ---- one call */

static int wait_blocking(struct api *a, struct kube_call *call, struct kube_answer *out,
                         struct diag *why)
{
    struct progress p;
    int r;

    progress_begin(&p, &a->cli->term, "waiting for the API");
    while ((r = kube_call_take(call, out, why)) == -EAGAIN) {
        (void)loop_turn(a->loop, TURN_MS); /* how many tasks ran does not matter */
        progress_tick(&p);
    }
    progress_end(&p);
    return r;
}

/* What a diag is too short for, for cli_words. */
static void keep_whole(struct cli *c, const struct kube_answer *answer, const struct diag *why)
{
    AUTO(strbuf) struct strbuf said = {0};
    AUTO(strbuf) struct strbuf text = {0};

    mem_free(c->whole);
    c->whole = NULL;
    if (strlen(why->text) + 1 < sizeof(why->text)) {
        return;
    }
    kube_answer_words(answer, &said);
    for (const char *p = strbuf_text(&said); *p; p++) {
        strbuf_putc(&text, (unsigned char)*p < ' ' ? ' ' : *p);
    }
    c->whole = strbuf_take(&text);
}

static void say_warnings(struct cli *c, const struct json *warnings)
{
    for (size_t i = 0; i < json_count(warnings); i++) {
        AUTO(strbuf) struct strbuf line = {0};
        strbuf_printf(&line, "warning of the API: %s\n", json_str(json_item(warnings, i), ""));
        term_err(&c->term, &line);
    }
}

int api_call_blocking(struct api *a, const struct kube_ask *ask, struct json **out,
                      struct diag *why)
{
    struct kube_ask limited = *ask;
    struct kube_answer answer;

    limited.limit_ms = args_ms(&a->cli->args, "timeout");
    AUTO(kube_call) struct kube_call *call = kube_call_new(a->client, &limited, &a->task);
    int r = wait_blocking(a, call, &answer, why);
    if (r < 0) {
        return r;
    }
    say_warnings(a->cli, answer.warnings);
    r = kube_answer_error(&answer, why);
    if (r < 0) {
        keep_whole(a->cli, &answer, why);
    } else {
        *out = answer.body;
        answer.body = NULL;
    }
    kube_answer_fini(&answer);
    return r;
}

int api_list_blocking(struct api *a, const struct kube_ask *ask, struct json **out,
                      struct diag *why)
{
    AUTO(json) struct json *all = json_new_array();
    AUTO(strbuf) struct strbuf next = {0};
    struct kube_ask page = *ask;

    page.verb = KUBE_LIST;
    page.limit = PAGE;
    do {
        AUTO(json) struct json *list = NULL;
        page.continue_token = strbuf_text(&next);
        int r = api_call_blocking(a, &page, &list, why);
        if (r < 0) {
            return r;
        }
        const struct json *items = json_get(list, "items");
        for (size_t i = 0; i < json_count(items); i++) {
            json_append(all, json_ref(json_item(items, i)));
        }
        strbuf_clear(&next);
        strbuf_puts(&next, json_str_at(list, "metadata.continue", ""));
    } while (next.len > 0);
    *out = MOVE(all);
    return 0;
}
