/* SPDX-License-Identifier: Apache-2.0 */
#include "io/sock_factory_local.h"
#include "proxy/program.h"
#include "ztunnel/config.h"
#include "ztunnel/control.h"

static struct log_scope scope = LOG_SCOPE("ztunnel");
static struct config config;

static int read_config(char *const *env, struct diag *why)
{
    return config_read(&config, env, why);
}

static int serve(struct diag *why)
{
    AUTO(control) struct control *c = NULL;
    int r = sock_factory_local_check(config.packet_mark, why);

    if (r == 0) {
        r = control_new(&c, &config, why);
    }
    return r < 0 ? r : control_run(c);
}

static void fini_config(void)
{
    config_fini(&config);
}

int main(int argc, char **argv, char **env)
{
    static const struct proxy_program program = {.name = "ambit-ztunnel",
                                                 .what = "the node proxy of the mesh",
                                                 .variables = "Istio's ztunnel",
                                                 .scope = &scope,
                                                 .settings = &config.common,
                                                 .read = read_config,
                                                 .serve = serve,
                                                 .fini = fini_config};

    return proxy_main(&program, argc, argv, env);
}
