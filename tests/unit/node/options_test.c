/* SPDX-License-Identifier: Apache-2.0 */
#include "node/options.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "t.h"

enum { WORDS_MAX = 12 };

static int read_words(const char *const words[WORDS_MAX], struct options *out, struct diag *why)
{
    char *argv[WORDS_MAX];
    int argc = 0;

    while (argc < WORDS_MAX && words[argc]) {
        argv[argc] = (char *)(uintptr_t)words[argc];
        argc++;
    }
    return options_read_blocking(argc, argv, out, why);
}

TEST(a_node_is_all_that_must_be_named)
{
    static const char *const words[WORDS_MAX] = {"--node", "a"};
    struct options o;

    CHECK_INT(read_words(words, &o, NULL), 0);
    bool defaults = strcmp(o.node, "a") == 0 && strcmp(o.run_dir, "/run/ambit") == 0 && o.dns &&
                    !o.probes && !o.kubeconfig && o.cidr_count == 0 && o.excluded_count == 1 &&
                    strcmp(o.excluded[0], "kube-system") == 0 && !o.excluded[1];
    options_fini(&o);
    CHECK(defaults);
}

TEST(flags_are_read_in_each_of_their_forms)
{
    static const char *const words[WORDS_MAX] = {"--node=a",
                                                 "--probes",
                                                 "--dns=false",
                                                 "--pod-cidr",
                                                 "10.1.0.0/24",
                                                 "--pod-cidr",
                                                 "fd00:1::/64",
                                                 "--exclude-namespace",
                                                 "x",
                                                 "--exclude-namespace=y",
                                                 "--log-json=true"};
    struct options o;

    CHECK_INT(read_words(words, &o, NULL), 0);
    bool good = o.probes && !o.dns && o.log_json && o.cidr_count == 2 && o.cidrs[0].len == 24 &&
                o.cidrs[1].ip.family == IP_V6 && o.excluded_count == 2 &&
                strcmp(o.excluded[1], "y") == 0;
    options_fini(&o);
    CHECK(good);
}

TEST(what_is_wrong_is_named)
{
    static const struct {
        const char *words[WORDS_MAX];
        const char *said;
    } cases[] = {
        {{NULL}, "--node is needed"},
        {{"--node", ""}, "--node is needed"},
        {{"--node"}, "--node: a value is missing"},
        {{"node", "a"}, "node: flags begin with --"},
        {{"--nodes", "a"}, "no flag --nodes"},
        {{"--node", "a", "--dns=perhaps"}, "dns: true or false"},
        {{"--node", "a", "--pod-cidr", "10.0.0.0/33"}, "pod-cidr: 10.0.0.0/33 is no range"},
        {{"--node", "a", "--config", "/no/such/file"}, "/no/such/file"},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct options o = {0};
        struct diag why = {0};
        int r = read_words(cases[i].words, &o, &why);
        options_fini(&o);
        if (r >= 0 || !strstr(why.text, cases[i].said)) {
            printf("# %s\n", why.text);
        }
        CHECK(r < 0);
        CHECK(strstr(why.text, cases[i].said));
    }
}

static int read_file(const char *text, const char *more, struct options *out, struct diag *why)
{
    char path[] = "/tmp/node-options-XXXXXX";
    int fd = mkstemp(path);
    const char *words[WORDS_MAX] = {"--config", path, more};

    if (fd < 0 || write(fd, text, strlen(text)) < 0) {
        return -EIO;
    }
    close(fd);
    int r = read_words(words, out, why);
    unlink(path);
    return r;
}

TEST(a_file_says_the_same_and_flags_win)
{
    struct options o;

    CHECK_INT(read_file("node: b\npod-cidr: [10.2.0.0/24, 'fd00:2::/64']\nprobes: true\n"
                        "exclude-namespace: only\n",
                        "--node=c", &o, NULL),
              0);
    bool good = strcmp(o.node, "c") == 0 && o.cidr_count == 2 && o.probes &&
                o.excluded_count == 1 && strcmp(o.excluded[0], "only") == 0;
    options_fini(&o);
    CHECK(good);
}

TEST(a_file_with_nonsense_is_refused)
{
    static const char *const texts[] = {"nodes: b\n", "node: [1]\n", "node: {a: b}\n", "node: \"\n",
                                        "dns: 7\n"};

    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct options o = {0};
        CHECK(read_file(texts[i], NULL, &o, NULL) < 0);
    }
}

TEST(help_names_every_flag)
{
    AUTO(strbuf) struct strbuf out = {0};

    options_help(&out);
    CHECK(strstr(strbuf_text(&out), "--node "));
    CHECK(strstr(strbuf_text(&out), "--pod-cidr "));
    CHECK(strstr(strbuf_text(&out), "--config "));
}
