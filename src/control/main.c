/* SPDX-License-Identifier: Apache-2.0 */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "control/access_file.h"
#include "control/ambitd.h"
#include "control/settings.h"
#include "io/file.h"

static struct log_scope scope = LOG_SCOPE("ambitd");

enum { EXIT_YES = 0, EXIT_NO = 1, EXIT_USAGE = 2, EXIT_CANNOT_TELL = 3 };

static const char usage[] =
    "ambitd: the control plane of the mesh\n"
    "\n"
    "usage: ambitd [FLAGS]                       run with the cluster that a kubeconfig names\n"
    "       ambitd --standalone [FLAGS]          run without a cluster: the Kubernetes API is "
    "ours\n"
    "       ambitd node-credential NAME [FLAGS]  stand-alone: let a node in, print its "
    "kubeconfig's path\n"
    "       ambitd version                       print the version\n"
    "       ambitd help                          print this\n"
    "\n"
    "It reads pods, services and policies from a Kubernetes API, tells node proxies about them\n"
    "(discovery) and issues their certificates, both on one TLS port.\n"
    "\n"
    "First steps without a cluster:\n"
    "  ambitd --standalone --data /var/lib/ambit --advertise 192.0.2.1 &\n"
    "  kubectl --kubeconfig /var/lib/ambit/admin.kubeconfig get namespaces\n"
    "  ambitd node-credential web-1 --data /var/lib/ambit\n"
    "Node proxies need /var/lib/ambit/root-cert.pem and a token of their own account.\n"
    "\n"
    "flags:\n";

static int print_help(FILE *to)
{
    AUTO(strbuf) struct strbuf text = {0};

    strbuf_puts(&text, usage);
    settings_help(&text);
    strbuf_puts(&text, "\nexit codes: 0 ended well, 1 failed, 2 wrong usage, 3 cannot tell\n");
    return fputs(strbuf_text(&text), to) == EOF ? EXIT_NO : EXIT_YES;
}

static void block_signals(void)
{
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    sigset_t set;

    (void)sigaction(SIGPIPE, &ignore, NULL); /* cannot fail for this signal */
    (void)sigemptyset(&set);                 /* cannot fail */
    (void)sigaddset(&set, SIGTERM);          /* cannot fail for these */
    (void)sigaddset(&set, SIGINT);
    (void)pthread_sigmask(SIG_BLOCK, &set, NULL); /* fails only for a wrong first argument */
}

static void raise_descriptor_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit); /* raising to the hard limit is always allowed */
    }
}

static int complain(const struct diag *why, int status)
{
    (void)fprintf(stderr, "ambitd: %s\n", why->text);
    return status;
}

static int serve(const struct settings *settings)
{
    AUTO(ambitd) struct ambitd *a = NULL;
    struct diag why = {0};

    if (ambitd_new_blocking(&a, settings, &why) < 0) {
        log_error(&scope, "cannot start", F_DIAG(&why));
        return EXIT_NO;
    }
    return ambitd_run(a);
}

static int run(int argc, char **argv)
{
    struct settings settings;
    struct diag why = {0};

    if (settings_read_blocking(argc, argv, &settings, &why) < 0) {
        (void)complain(&why, EXIT_USAGE);
        (void)fputs("try: ambitd help\n", stderr);
        return EXIT_USAGE;
    }
    block_signals();
    int r = log_set_level(settings.log_level, &why);
    if (r == 0) {
        r = log_start(STDOUT_FILENO, settings.log_json ? LOG_JSON : LOG_PLAIN, &why);
    }
    int status = r < 0 ? complain(&why, EXIT_USAGE) : EXIT_YES;
    if (r == 0) {
        raise_descriptor_limit();
        log_info(&scope, "starting", F_STR("version", AMBIT_VERSION),
                 F_BOOL("standalone", settings.standalone));
        status = serve(&settings);
        log_info(&scope, "ended", F_I64("status", status));
        log_stop();
    }
    settings_fini(&settings);
    return status;
}

/* What the running server has left in its data folder: its address, and the root. */
static int read_server_blocking(const char *data, char **out_url, char **out_root, struct diag *why)
{
    AUTO(strbuf) struct strbuf url = {0};
    AUTO(strbuf) struct strbuf root = {0};

    strbuf_printf(&url, "%s/api-server", data);
    strbuf_printf(&root, "%s/root-cert.pem", data);
    if (!file_exists_blocking(strbuf_text(&url))) {
        return FAIL(why, -ERR_NOT_FOUND, "no stand-alone control plane has run with --data %s",
                    data);
    }
    int r = file_read_blocking(strbuf_text(&url), out_url, NULL, why);
    return r < 0 ? r : file_read_blocking(strbuf_text(&root), out_root, NULL, why);
}

static int make_credential(const char *node, const struct settings *settings)
{
    AUTO(strbuf) struct strbuf name = {0};
    AUTO(text) char *url = NULL;
    AUTO(text) char *root = NULL;
    AUTO(text) char *path = NULL;
    struct diag why = {0};
    int r = read_server_blocking(settings->data, &url, &root, &why);

    if (r < 0) {
        return complain(&why, EXIT_CANNOT_TELL);
    }
    strbuf_printf(&name, "%s%s", ACCESS_NODE, node);
    r = access_kubeconfig_blocking(settings->data, strbuf_text(&name), url, root, &path, &why);
    if (r < 0) {
        return complain(&why, r == -ERR_SYNTAX ? EXIT_USAGE : EXIT_NO);
    }
    return puts(path) == EOF ? EXIT_NO : EXIT_YES;
}

static int node_credential(int argc, char **argv)
{
    struct settings settings;
    struct diag why = {0};

    if (argc < 1 || argv[0][0] == '-') {
        (void)fputs("ambitd: node-credential needs the node's name\ntry: ambitd help\n", stderr);
        return EXIT_USAGE;
    }
    if (settings_read_blocking(argc - 1, argv + 1, &settings, &why) < 0) {
        return complain(&why, EXIT_USAGE);
    }
    int status = make_credential(argv[0], &settings);
    settings_fini(&settings);
    return status;
}

int main(int argc, char **argv)
{
    const char *verb = argc > 1 ? argv[1] : "";

    if (strcmp(verb, "version") == 0 || strcmp(verb, "--version") == 0) {
        return printf("ambitd %s\n", AMBIT_VERSION) < 0;
    }
    if (strcmp(verb, "help") == 0 || strcmp(verb, "--help") == 0 || strcmp(verb, "-h") == 0) {
        return print_help(stdout);
    }
    if (strcmp(verb, "node-credential") == 0) {
        return node_credential(argc - 2, argv + 2);
    }
    return run(argc - 1, argv + 1);
}
