/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/fix.h"

#include <string.h>

#include "base/num.h"
#include "cli/command.h"

static const char own_program[] = "ambit ";

void fix_put_word(const char *word, struct strbuf *out)
{
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
                                "-_./:=,@%+";

    if (*word && word[strspn(word, plain)] == '\0') {
        strbuf_puts(out, word);
        return;
    }
    strbuf_putc(out, '\'');
    for (; *word; word++) {
        if (*word == '\'') {
            strbuf_puts(out, "'\\''");
        } else {
            strbuf_putc(out, *word);
        }
    }
    strbuf_putc(out, '\'');
}

void fix_again(const struct cli *c, bool sudo, const char *more, struct strbuf *out)
{
    strbuf_printf(out, "%sambit %s", sudo ? "sudo " : "", c->command->name);
    strbuf_printf(out, "%s%s", *more ? " " : "", more);
    for (unsigned i = 0; i < c->word_count; i++) {
        strbuf_putc(out, ' ');
        fix_put_word(c->words[i], out);
    }
}

static const struct command *find(const struct cli *c, struct slice name)
{
    for (const struct command *const *m = c->commands; m && *m; m++) {
        if (slice_is(name, (*m)->name)) {
            return *m;
        }
    }
    return NULL;
}

static void put_where(const struct cli *c, const struct command *m, const char *fix,
                      struct strbuf *out)
{
    static const char *const where[] = {"kubeconfig", "context",    "data",           "run-dir",
                                        "log-dir",    "node-admin", "waypoint-admin", "netns"};

    for (size_t i = 0; i < ARRAY_LEN(where); i++) {
        AUTO(strbuf) struct strbuf option = {0};
        strbuf_printf(&option, " --%s ", where[i]);
        if (c->args.tables && args_knows(&c->args, where[i]) && args_has(&c->args, where[i]) &&
            args_in_tables(m->tables, where[i]) && !strstr(fix, strbuf_text(&option))) {
            strbuf_puts(out, strbuf_text(&option));
            fix_put_word(args_text(&c->args, where[i]), out);
        }
    }
}

void fix_here(const struct cli *c, const char *fix, struct strbuf *out)
{
    static const char by_root[] = "sudo ";
    const char *p = strncmp(fix, by_root, strlen(by_root)) == 0 ? fix + strlen(by_root) : fix;
    const struct command *m = NULL;

    if (c->command && strncmp(p, own_program, strlen(own_program)) == 0) {
        p += strlen(own_program);
        size_t len = strcspn(p, " ");
        m = find(c, (struct slice){p, len});
        p += len;
    }
    if (!m) {
        strbuf_puts(out, fix);
        return;
    }
    strbuf_add(out, fix, (size_t)(p - fix));
    put_where(c, m, fix, out);
    strbuf_puts(out, p);
}
