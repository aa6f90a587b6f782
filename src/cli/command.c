/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/command.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/num.h"
#include "cli/commands.h"
#include "cli/fix.h"
#include "cli/near.h"
#include "cli/resource_kind.h"
#include "cli/rows.h"
#include "cli/wrap.h"
#include "codec/json.h"

enum { HELP_WIDTH = 96 };

const struct arg_option options_common[] = {
    {"help", 'h', ARG_FLAG, NULL, NULL, "say what this command does"},
    {"no-color", 0, ARG_FLAG, NULL, NULL, "no colour, whatever the terminal can show"},
    {0}};

const struct arg_option options_output[] = {{"output", 'o', ARG_CHOICE, "table|wide|json", "table",
                                             "how to print it; wide has more columns"},
                                            {0}};

const struct arg_option options_result[] = {
    {"output", 'o', ARG_CHOICE, "text|json", "text", "how to say what was done"}, {0}};

const struct arg_option options_filter[] = {
    {"namespace", 'n', ARG_TEXT, "NAMESPACE", NULL, "only what belongs to this namespace"}, {0}};

const struct arg_option options_kube[] = {
    {"kubeconfig", 0, ARG_TEXT, "FILE", NULL,
     "address and credentials of the API; otherwise $KUBECONFIG, then DIR/admin.kubeconfig of "
     "--data, "
     "then a pod's own, then ~/.kube/config"},
    {"context", 0, ARG_TEXT, "NAME", NULL, "the context to use out of that file"},
    {"data", 0, ARG_TEXT, "DIR", "/var/lib/ambit", "data folder of the stand-alone control plane"},
    {0}};

const struct arg_option options_timeout[] = {
    {"timeout", 0, ARG_DURATION, "TIME", "30s", "give up on the API after this long"}, {0}};

const struct arg_option options_node[] = {
    {"node", 0, ARG_TEXT, "NAME", NULL, "this node alone; otherwise every node of this machine"},
    {"run-dir", 0, ARG_TEXT, "DIR", "/run/ambit",
     "where nodes are described: DIR/nodes/NAME.json, or DIR itself for a single one"},
    {0}};

const struct arg_option options_proxy[] = {
    {"node-admin", 0, ARG_TEXT, "ADDR:PORT", NULL,
     "ask the node proxy with this admin endpoint, described or not"},
    {"netns", 0, ARG_TEXT, "PATH", NULL, "reach it from this network namespace"},
    {"timeout", 0, ARG_DURATION, "TIME", "5s", "give up on a node after this long"},
    {0}};

/* ---- help */

static void help_examples(const char *examples, struct strbuf *out)
{
    struct slice rest = slice_of(examples);
    struct slice line;
    bool more;

    strbuf_puts(out, "\nExamples:\n");
    do {
        struct slice command;
        struct slice what;
        more = slice_cut(rest, '\n', &line, &rest);
        (void)slice_cut(line, '\t', &command, &what); /* without a tab, command is the whole line */
        if (what.len > 0) {
            strbuf_printf(out, "  # %.*s\n", (int)what.len, what.p);
        }
        strbuf_printf(out, "  %.*s\n", (int)command.len, command.p);
    } while (more);
}

static void command_help(const struct command *c, struct strbuf *out)
{
    strbuf_printf(out, "ambit %s: %s\n\nUsage: ambit %s [OPTION...]%s%s%s\n\n", c->name, c->summary,
                  c->name, *c->operands ? " " : "", c->operands,
                  c->takes_command ? " -- COMMAND [ARGUMENT...]" : "");
    wrap_text(c->about, 0, HELP_WIDTH, out);
    strbuf_puts(out, "\nOptions:\n");
    for (const struct arg_option *const *t = c->tables; *t; t++) {
        args_help(*t, out);
    }
    help_examples(c->examples, out);
}

static void command_overview(const struct command *const *commands, struct strbuf *out)
{
    strbuf_puts(out, "ambit: a service mesh without sidecars. Label a namespace, and what runs in "
                     "it speaks mutual TLS.\n\nUsage: ambit COMMAND [OPTION...]\n\nCommands:\n");
    for (; *commands; commands++) {
        strbuf_printf(out, "  %-11s %s\n", (*commands)->name, (*commands)->summary);
    }
    strbuf_puts(out,
                "\n`ambit help COMMAND` teaches one, `ambit help CODE` explains a finding such as "
                "A501, `ambit help codes` lists them.\n"
                "Exit status: 0 yes or done, 1 no or failed, 2 wrong usage, 3 cannot tell.\n");
}

static void command_help_all(const struct command *const *commands, struct strbuf *out)
{
    command_overview(commands, out);
    for (; *commands; commands++) {
        strbuf_puts(out, "\n----\n\n");
        command_help(*commands, out);
    }
    strbuf_puts(out, "\n----\n\nFindings:\n");
    finding_index(out);
}

/* ---- saying */

struct view_filter view_filter_of(const struct cli *c)
{
    return (struct view_filter){.namespace = args_text(&c->args, "namespace"),
                                .names = c->args.operands,
                                .name_count = c->args.operand_count};
}

/* An empty answer says that it is one. */
static void note_nothing(struct cli *c, const struct view_filter *f)
{
    AUTO(strbuf) struct strbuf b = {0};

    strbuf_puts(&b, "nothing is on record");
    for (unsigned i = 0; i < f->name_count; i++) {
        strbuf_printf(&b, "%s%s", i > 0 ? ", " : " of ", f->names[i]);
    }
    strbuf_putc(&b, '\n');
    term_err(&c->term, &b);
}

void print_records(struct cli *c, const struct json *rows, const struct view_filter *f,
                   void (*put)(const struct json *row, bool colour, struct strbuf *out))
{
    static const char *const order[] = {"time", NULL};
    AUTO(strbuf) struct strbuf b = {0};
    AUTO(json) struct json *sorted = rows_sorted(rows, order);
    AUTO(json) struct json *kept = view_filtered(sorted, f);
    size_t count = json_count(kept);
    size_t last = args_has(&c->args, "last") ? args_number(&c->args, "last") : count;

    for (size_t i = count > last ? count - last : 0; i < count; i++) {
        if (cli_wants_json(c)) {
            json_print(json_item(kept, i), 0, &b);
            strbuf_putc(&b, '\n');
        } else {
            put(json_item(kept, i), c->term.out_colour, &b);
        }
    }
    term_out(&c->term, &b);
    if (count == 0 && json_count(c->errors) == 0 && !args_has(&c->args, "follow")) {
        note_nothing(c, f);
    }
}

bool cli_wants_json(const struct cli *c)
{
    return c->json;
}

void cli_print_json(struct cli *c, struct json *take_json)
{
    json_unref(c->document);
    c->document = take_json;
}

void cli_say(struct cli *c, const char *fmt, ...)
{
    AUTO(strbuf) struct strbuf b = {0};
    va_list ap;

    va_start(ap, fmt);
    strbuf_vprintf(&b, fmt, ap);
    va_end(ap);
    strbuf_putc(&b, '\n');
    if (c->json) {
        term_err(&c->term, &b);
    } else {
        term_out(&c->term, &b);
    }
}

struct json *cli_did(struct cli *c, const char *ns, const char *name, const char *result)
{
    struct json *one = json_new_object();

    if (*ns) {
        json_set_str(one, "namespace", ns);
    }
    json_set_str(one, "name", name);
    json_set_str(one, "result", result);
    json_append(c->items, one);
    return one;
}

/* For the document. */
static void note_error(struct cli *c, const char *text, const char *fix)
{
    struct json *one = json_new_object();

    json_set_str(one, "error", text);
    if (fix) {
        json_set_str(one, "fix", fix);
    }
    json_append(c->errors, one);
}

enum answer cli_fail(struct cli *c, enum answer answer, const char *fix, const char *fmt, ...)
{
    AUTO(strbuf) struct strbuf said = {0};
    AUTO(strbuf) struct strbuf help = {0};
    AUTO(strbuf) struct strbuf b = {0};
    va_list ap;

    va_start(ap, fmt);
    strbuf_vprintf(&said, fmt, ap);
    va_end(ap);
    strbuf_printf(&b, "ambit%s%s: %s\n", c->command ? " " : "", c->command ? c->command->name : "",
                  strbuf_text(&said));
    if (fix) {
        fix_here(c, fix, &help);
        strbuf_printf(&b, "  fix: %s\n", strbuf_text(&help));
    }
    term_err(&c->term, &b);
    if (answer != ANSWER_YES) {
        note_error(c, strbuf_text(&said), fix ? strbuf_text(&help) : NULL);
    }
    return answer;
}

void cli_evidence(struct cli *c, const char *fmt, ...)
{
    AUTO(strbuf) struct strbuf line = {0};
    AUTO(strbuf) struct strbuf b = {0};
    size_t count = json_count(c->errors);
    va_list ap;

    va_start(ap, fmt);
    strbuf_vprintf(&line, fmt, ap);
    va_end(ap);
    strbuf_printf(&b, "    %s\n", strbuf_text(&line));
    term_err(&c->term, &b);
    if (count > 0) {
        json_append_str(json_make_array(json_item(c->errors, count - 1), "evidence"),
                        strbuf_text(&line));
    }
}

void cli_helps(struct cli *c, const char *fix)
{
    AUTO(strbuf) struct strbuf help = {0};
    AUTO(strbuf) struct strbuf b = {0};
    size_t count = json_count(c->errors);

    fix_here(c, fix, &help);
    strbuf_printf(&b, "  fix: %s\n", strbuf_text(&help));
    term_err(&c->term, &b);
    if (count > 0) {
        json_set_str(json_item(c->errors, count - 1), "fix", strbuf_text(&help));
    }
}

enum answer cli_answer_of(int code)
{
    switch (-code) {
    case ERR_NOT_FOUND:
    case ERR_EXISTS:
    case ERR_CONFLICT:
    case ERR_SYNTAX:
    case ERR_RANGE:
    case ERR_TOO_LARGE:
    case ERR_UNSUPPORTED:
    case ERR_LIMIT:
        return ANSWER_NO;
    }
    return ANSWER_UNKNOWN;
}

const char *cli_fix(struct cli *c, int r, const char *otherwise)
{
    if ((r != -EACCES && r != -EPERM) || geteuid() == 0) {
        return otherwise;
    }
    strbuf_clear(&c->fix);
    fix_again(c, true, "", &c->fix);
    return strbuf_text(&c->fix);
}

const char *cli_words(const struct cli *c, const struct diag *why)
{
    return c->whole && strncmp(c->whole, why->text, strlen(why->text)) == 0 ? c->whole : why->text;
}

/* Nobody was reached. */
static bool was_lost(int code)
{
    return code == -ECONNREFUSED || code == -ETIMEDOUT || code == -EHOSTUNREACH ||
           code == -ENETUNREACH || code == -ERR_DEADLINE || code == -ERR_UNAVAILABLE;
}

/* Out of the API's sentence: services "crt" not found. NULL: it is another one. */
static const char *list_fix(struct cli *c, const struct diag *why)
{
    static const char status[] = ", 404: ";
    const char *plural = strstr(why->text, status);
    const char *end = plural ? strstr(plural, " \"") : NULL;
    AUTO(strbuf) struct strbuf word = {0};

    if (why->code != -ERR_NOT_FOUND || !end) {
        return NULL;
    }
    plural += sizeof(status) - 1;
    strbuf_add(&word, plural, (size_t)(end - plural));
    const struct resource_kind *k = resource_kind_find(strbuf_text(&word), NULL);
    if (!k) {
        return NULL;
    }
    strbuf_clear(&c->fix);
    strbuf_printf(&c->fix, "ambit get %s%s", k->resource.plural,
                  k->resource.namespaced ? " -A" : "");
    return strbuf_text(&c->fix);
}

enum answer cli_fail_diag(struct cli *c, const char *fix, const struct diag *why)
{
    const char *best = cli_fix(c, why->code, fix);

    best = best ? best : was_lost(why->code) ? "ambit status" : list_fix(c, why);
    return cli_fail(c, cli_answer_of(why->code), best, "%s", cli_words(c, why));
}

/* ---- the document of -o json */

/* Before the options are read, which may fail: was it asked for? */
static bool asks_json(int argc, char **argv)
{
    for (int i = 0; i < argc && strcmp(argv[i], "--") != 0; i++) {
        bool separate = strcmp(argv[i], "-o") == 0 || strcmp(argv[i], "--output") == 0;
        if (strcmp(argv[i], "-ojson") == 0 || strcmp(argv[i], "-o=json") == 0 ||
            strcmp(argv[i], "--output=json") == 0 ||
            (separate && i + 1 < argc && strcmp(argv[i + 1], "json") == 0)) {
            return true;
        }
    }
    return false;
}

static struct json *plain_document(struct cli *c, enum answer a)
{
    static const char *const verdicts[] = {[ANSWER_YES] = "ok",
                                           [ANSWER_NO] = "problem",
                                           [ANSWER_USAGE] = "usage",
                                           [ANSWER_UNKNOWN] = "unknown"};
    struct json *all = json_new_object();

    json_set_int(all, "version", 1);
    json_set_str(all, "verdict", verdicts[MIN_OF(a, ANSWER_UNKNOWN)]); /* a signal: 128 and more */
    json_set(all, "items", json_ref(c->items));
    return all;
}

/* The last thing said is the sum of it; its fix may have been said before. */
static void add_errors(struct json *document, struct json *errors)
{
    static const char *const words[] = {"error", "evidence", "fix"};
    size_t count = json_count(errors);

    for (size_t i = 0; i < ARRAY_LEN(words) && count > 0; i++) {
        const struct json *v = json_get(json_item(errors, count - 1), words[i]);
        for (size_t k = count - 1; !v && i == 2 && k > 0; k--) {
            v = json_get(json_item(errors, k - 1), words[i]);
        }
        if (v) {
            json_set(document, words[i], json_clone(v));
        }
    }
    if (count > 1) {
        json_set(document, "errors", json_ref(errors));
    }
}

static void print_document(struct cli *c, enum answer a)
{
    AUTO(json) struct json *all = c->document;
    AUTO(strbuf) struct strbuf b = {0};
    bool streams = c->command && c->command->streams;

    c->document = NULL;
    if (!c->json || (streams && json_count(c->errors) == 0)) {
        return;
    }
    all = all ? all : plain_document(c, a);
    add_errors(all, c->errors);
    json_print(all, streams ? 0 : JSON_PRINT_INDENT, &b);
    strbuf_putc(&b, '\n');
    term_out(&c->term, &b);
}

/* ---- running */

static const struct command *find(const struct command *const *commands, const char *name)
{
    for (; *commands; commands++) {
        if (strcmp((*commands)->name, name) == 0) {
            return *commands;
        }
    }
    return NULL;
}

static enum answer unknown_command(struct cli *c, const struct command *const *commands,
                                   const char *word)
{
    const char *best = NULL;

    for (; *commands; commands++) {
        best = near_best(word, best, (*commands)->name);
    }
    if (best) {
        return cli_fail(c, ANSWER_USAGE, NULL, "no command %s; did you mean %s?", word, best);
    }
    return cli_fail(c, ANSWER_USAGE, "ambit help", "no command %s", word);
}

/* "A501" */
static bool is_code(const char *word)
{
    return (word[0] == 'A' || word[0] == 'a') && strlen(word) == 4 &&
           strspn(word + 1, "0123456789") == 3;
}

static enum answer help(struct cli *c, const struct command *const *commands, const char *topic)
{
    AUTO(strbuf) struct strbuf b = {0};
    const struct command *known = topic ? find(commands, topic) : NULL;

    if (!topic) {
        command_overview(commands, &b);
    } else if (known) {
        command_help(known, &b);
    } else if (strcmp(topic, "all") == 0) {
        command_help_all(commands, &b);
    } else if (strcmp(topic, "codes") == 0) {
        finding_index(&b);
    } else if (!finding_explain(topic, &b)) {
        return is_code(topic)
                   ? cli_fail(c, ANSWER_USAGE, "ambit help codes", "no finding %s", topic)
                   : unknown_command(c, commands, topic);
    }
    term_out(&c->term, &b);
    return ANSWER_YES;
}

static enum answer check_operands(struct cli *c)
{
    const struct command *m = c->command;
    AUTO(strbuf) struct strbuf fix = {0};

    strbuf_printf(&fix, "ambit help %s", m->name);
    if (strstr(m->operands, "KIND") && c->args.operand_count > 0 &&
        strchr(c->args.operands[0], '/')) {
        const char *word = c->args.operands[0];
        return cli_fail(c, ANSWER_USAGE, strbuf_text(&fix),
                        "%s: KIND and NAME are two words: write %.*s %s", word,
                        (int)strcspn(word, "/"), word, strchr(word, '/') + 1);
    }
    if (c->args.operand_count < m->operands_min) {
        return cli_fail(c, ANSWER_USAGE, strbuf_text(&fix), "needs %s", m->operands);
    }
    if (m->takes_command && c->args.operand_count > 0) {
        strbuf_clear(&fix);
        strbuf_printf(&fix, "ambit %s [OPTION...] -- %s ...", m->name, c->args.operands[0]);
        return cli_fail(c, ANSWER_USAGE, strbuf_text(&fix), "%s: the command stands behind --",
                        c->args.operands[0]);
    }
    if (c->args.operand_count > m->operands_max) {
        return cli_fail(c, ANSWER_USAGE, strbuf_text(&fix), "%s is one word too many",
                        c->args.operands[m->operands_max]);
    }
    if (m->takes_command && c->args.rest_count == 0) {
        return cli_fail(c, ANSWER_USAGE, strbuf_text(&fix), "needs a command behind --");
    }
    return ANSWER_YES;
}

static enum answer run(struct cli *c, int argc, char **argv)
{
    const struct command *m = c->command;
    struct diag why = {0};
    AUTO(strbuf) struct strbuf fix = {0};

    if (args_parse(&c->args, m->tables, m->takes_command, argc, argv, &why) < 0) {
        strbuf_printf(&fix, "ambit help %s", m->name);
        return cli_fail(c, ANSWER_USAGE, strbuf_text(&fix), "%s", why.text);
    }
    c->json = args_knows(&c->args, "output") && strcmp(args_text(&c->args, "output"), "json") == 0;
    if (args_has(&c->args, "no-color")) {
        c->term.out_colour = false;
    }
    if (args_has(&c->args, "help")) {
        AUTO(strbuf) struct strbuf b = {0};
        c->json = false;
        command_help(m, &b);
        term_out(&c->term, &b);
        return ANSWER_YES;
    }
    enum answer a = check_operands(c);
    return a == ANSWER_YES ? m->run(c) : a;
}

static bool is_help(const char *word)
{
    return strcmp(word, "help") == 0 || strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0;
}

/* Parsing them puts them into another order. */
static void keep_words(struct cli *c, int count, char **words)
{
    if (count > 0) {
        c->words = mem_dup(words, (size_t)count * sizeof(*words));
        c->word_count = (unsigned)count;
    }
}

enum answer command_main(const struct command *const *commands, int argc, char **argv)
{
    struct cli c = {.json = asks_json(argc, argv),
                    .items = json_new_array(),
                    .errors = json_new_array(),
                    .commands = commands};
    enum answer a;

    term_init(&c.term, false);
    keep_words(&c, argc - 1, argv + 1);
    if (argc == 0 || is_help(argv[0])) {
        c.json = false;
        a = help(&c, commands, argc > 1 ? argv[1] : NULL);
    } else {
        c.command = find(commands, strcmp(argv[0], "--version") == 0 ? "version" : argv[0]);
        a = c.command ? run(&c, argc - 1, argv + 1) : unknown_command(&c, commands, argv[0]);
    }
    print_document(&c, a);
    if (c.term.failure < 0 && c.term.failure != -EPIPE && a == ANSWER_YES) {
        a = cli_fail(&c, ANSWER_UNKNOWN, NULL, "standard output: %s", err_text(c.term.failure));
    }
    json_unref(c.items);
    json_unref(c.errors);
    mem_free(c.whole);
    mem_free(c.words);
    strbuf_fini(&c.fix);
    return a;
}
