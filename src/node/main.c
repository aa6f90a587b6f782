/* SPDX-License-Identifier: Apache-2.0 */
/* ambit-agent: takes the pods of its node into the mesh, and runs local workloads. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "node/options.h"
#include "node/privilege.h"
#include "node/program.h"
#include "node/shim.h"

enum { EXIT_USAGE = 2 };

static struct log_scope scope = LOG_SCOPE("agent");

/* Before any thread, so that all of them have it: signals come through a descriptor, and a peer that
 * went away is an error of write. */
static int block_signals(void)
{
    sigset_t set;

    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGTERM);
    (void)sigaddset(&set, SIGINT);
    (void)sigaddset(&set, SIGPIPE);
    return sigprocmask(SIG_BLOCK, &set, NULL) < 0 ? neg_errno() : 0;
}

static int run(const struct options *o, struct diag *why)
{
    AUTO(program) struct program *p = NULL;
    int r = program_new(o, &p, why);

    if (r == 0) {
        log_info(&scope, "agent runs", F_STR("node", o->node), F_STR("version", AMBIT_VERSION));
        program_run(p);
    }
    return r;
}

static int start(const struct options *o, struct diag *why)
{
    int r = block_signals();

    if (r == 0) {
        r = privilege_drop(why);
    }
    if (r == 0) {
        r = log_set_level(o->log_level, why);
    }
    return r < 0 ? r : log_start(STDERR_FILENO, o->log_json ? LOG_JSON : LOG_PLAIN, why);
}

static int serve(const struct options *o)
{
    struct diag why = {0};
    int r = start(o, &why);

    if (r < 0) {
        (void)fprintf(stderr, "ambit-agent: %s: %s\n", why.text, err_text(r));
        return EXIT_FAILURE;
    }
    r = run(o, &why);
    if (r < 0) {
        log_error(&scope, "agent cannot run", F_DIAG(&why));
    }
    log_stop();
    return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

static int help(void)
{
    AUTO(strbuf) struct strbuf text = {0};

    options_help(&text);
    (void)fputs(strbuf_text(&text), stdout); /* nobody to tell if that fails */
    return EXIT_SUCCESS;
}

static bool is(int argc, char **argv, const char *word)
{
    return argc > 1 && strcmp(argv[1], word) == 0;
}

int main(int argc, char **argv)
{
    struct options o;
    struct diag why = {0};

    if (is(argc, argv, "shim") && argc == 3) {
        return shim_main(argv[2]);
    }
    if (is(argc, argv, "--help")) {
        return help();
    }
    if (is(argc, argv, "--version")) {
        (void)puts("ambit-agent " AMBIT_VERSION); /* nobody to tell if that fails */
        return EXIT_SUCCESS;
    }
    int r = options_read_blocking(argc - 1, argv + 1, &o, &why);
    if (r < 0) {
        (void)fprintf(stderr, "ambit-agent: %s (--help lists the flags)\n", why.text);
        return EXIT_USAGE;
    }
    r = serve(&o);
    options_fini(&o);
    return r;
}
