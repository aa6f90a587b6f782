/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "io/process.h"
#include "waypoint/config.h"
#include "waypoint/control.h"

static struct log_scope scope = LOG_SCOPE("waypoint");

static const char usage[] = "ambit-waypoint: the layer-7 proxy of the mesh\n"
                            "\n"
                            "usage: ambit-waypoint [proxy]   run, configured by the environment "
                            "variables of a waypoint deployment\n"
                            "       ambit-waypoint version   print the version\n"
                            "       ambit-waypoint help      print this\n";

static int serve(const struct config *config)
{
    AUTO(control) struct control *c = NULL;
    struct diag why = {0};

    if (control_new(&c, config, &why) < 0) {
        log_error(&scope, "cannot start", F_DIAG(&why));
        return 1;
    }
    return control_run(c);
}

static int start(char *const *env)
{
    struct config config;
    struct diag why = {0};

    process_prepare();
    int r = config_read(&config, env, &why);
    if (r == 0) {
        r = log_set_level(config.log_level, &why);
    }
    if (r == 0) {
        r = log_start(STDOUT_FILENO, config.log_json ? LOG_JSON : LOG_PLAIN, &why);
    }
    if (r < 0) {
        (void)fprintf(stderr, "ambit-waypoint: %s\n", why.text);
        return 1;
    }
    log_info(&scope, "starting", F_STR("version", AMBIT_VERSION), F_U64("workers", config.workers),
             F_STR("xds", config.xds_address), F_STR("ca", config.ca_address));
    process_raise_descriptors();
    int status = serve(&config);
    log_info(&scope, "ended", F_I64("status", status));
    log_stop();
    config_fini(&config);
    return status;
}

int main(int argc, char **argv, char **env)
{
    const char *verb = argc > 1 ? argv[1] : "proxy";

    if (strcmp(verb, "version") == 0) {
        return printf("ambit-waypoint version %s\n", AMBIT_VERSION) < 0;
    }
    if (strcmp(verb, "help") == 0 || strcmp(verb, "--help") == 0 || strcmp(verb, "-h") == 0) {
        return fputs(usage, stdout) == EOF;
    }
    if (strcmp(verb, "proxy") != 0) {
        (void)fprintf(stderr, "ambit-waypoint: unknown command '%s'\n\n%s", verb, usage);
        return 1;
    }
    return start(env);
}
