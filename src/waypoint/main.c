/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/program.h"
#include "waypoint/config.h"
#include "waypoint/control.h"

static struct log_scope scope = LOG_SCOPE("waypoint");
static struct config config;

static int read_config(char *const *env, struct diag *why)
{
    return config_read(&config, env, why);
}

static int serve(struct diag *why)
{
    AUTO(control) struct control *c = NULL;
    int r = control_new(&c, &config, why);

    return r < 0 ? r : control_run(c);
}

static void fini_config(void)
{
    config_fini(&config);
}

int main(int argc, char **argv, char **env)
{
    static const struct proxy_program program = {.name = "ambit-waypoint",
                                                 .what = "the layer-7 proxy of the mesh",
                                                 .variables = "a waypoint deployment",
                                                 .scope = &scope,
                                                 .settings = &config.common,
                                                 .read = read_config,
                                                 .serve = serve,
                                                 .fini = fini_config};

    return proxy_main(&program, argc, argv, env);
}
