/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/program.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "io/process.h"

static int say_usage(const struct proxy_program *p, FILE *to)
{
    return fprintf(to,
                   "%s: %s\n"
                   "\n"
                   "usage: %s [proxy]   run, configured by the environment variables of %s\n"
                   "       %s version   print the version\n"
                   "       %s help      print this\n",
                   p->name, p->what, p->name, p->variables, p->name, p->name);
}

static int serve(const struct proxy_program *p)
{
    struct diag why = {0};
    int status = p->serve(&why);

    if (status < 0) {
        log_error(p->scope, "cannot start", F_DIAG(&why));
        return 1;
    }
    return status;
}

static int start(const struct proxy_program *p, char *const *env)
{
    const struct proxy_settings *s = p->settings;
    struct diag why = {0};

    int r = p->read(env, &why);
    if (r == 0) {
        process_prepare(s->workers);
        r = log_set_level(s->log_level, &why);
    }
    if (r == 0) {
        r = log_start(STDOUT_FILENO, s->log_json ? LOG_JSON : LOG_PLAIN, &why);
    }
    if (r < 0) {
        (void)fprintf(stderr, "%s: %s\n", p->name, why.text);
        return 1;
    }
    log_info(p->scope, "starting", F_STR("version", AMBIT_VERSION), F_U64("workers", s->workers),
             F_STR("xds", s->xds_address), F_STR("ca", s->ca_address));
    process_raise_descriptors();
    int status = serve(p);
    log_info(p->scope, "ended", F_I64("status", status));
    log_stop();
    p->fini();
    return status;
}

int proxy_main(const struct proxy_program *p, int argc, char **argv, char **env)
{
    const char *verb = argc > 1 ? argv[1] : "proxy";

    if (strcmp(verb, "version") == 0) {
        return printf("%s version %s\n", p->name, AMBIT_VERSION) < 0;
    }
    if (strcmp(verb, "help") == 0 || strcmp(verb, "--help") == 0 || strcmp(verb, "-h") == 0) {
        return say_usage(p, stdout) < 0;
    }
    if (strcmp(verb, "proxy") != 0) {
        (void)fprintf(stderr, "%s: unknown command '%s'\n\n", p->name, verb);
        (void)say_usage(p, stderr);
        return 1;
    }
    return start(p, env);
}
