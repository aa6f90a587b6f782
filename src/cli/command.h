/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a subcommand is: its name, its options and its words of help in one row, and a function that
 * does it and answers with the exit status. The table of all is main.c's. Commands are short-lived
 * and may block.
 */
#pragma once

#include <stdbool.h>

#include "base/err.h"
#include "cli/args.h"
#include "cli/finding.h"
#include "cli/term.h"

struct cli;
struct json;

struct command {
    const char *name;
    const char *operands;                   /* "[NAME...]", "" */
    const char *summary;                    /* one line */
    const char *about;                      /* what it does and how to read its output; wrapped */
    const char *examples;                   /* lines "command<TAB>what it does" */
    const struct arg_option *const *tables; /* NULL-terminated; the common one is among them */
    unsigned operands_min;
    unsigned operands_max;
    bool takes_command; /* what follows "--" is a command line and is needed */
    bool streams;       /* -o json is an object a line, what went wrong the last of them */
    enum answer (*run)(struct cli *c);
};

struct cli {
    const struct command *command;
    struct args args;
    struct term term;
    const struct command *const *commands; /* all of them */
    char **words;                          /* the options and operands, as they were typed */
    unsigned word_count;
    struct strbuf fix; /* of cli_fix */
    bool json;         /* -o json: standard output holds one document, printed at the end */
    struct json *document;
    struct json *items;  /* what was done, of commands without a document of their own */
    struct json *errors; /* what was said by cli_fail */
    char *whole;         /* the API's last sentence that a diag was too short for; NULL: none was */
};

enum { OPERANDS_ANY = 1 << 16 };

/* Tables that commands share. */
extern const struct arg_option options_common[];  /* help, no-color */
extern const struct arg_option options_output[];  /* table or JSON */
extern const struct arg_option options_result[];  /* the same of commands that do something */
extern const struct arg_option options_kube[];    /* how to reach the API */
extern const struct arg_option options_timeout[]; /* of the API */
extern const struct arg_option options_node[];    /* which nodes */
extern const struct arg_option options_proxy[];   /* how to ask their proxies */

/* Runs commands[i] as argv says (without the program's name); the exit status. */
enum answer command_main(const struct command *const *commands, int argc, char **argv);

bool cli_wants_json(const struct cli *c);
/* The document of -o json: printed when the command is done, with its error and fix if it failed; takes the
 * value. A command without one gets {"version", "verdict", "items", "error", "evidence", "fix", "errors"}. */
void cli_print_json(struct cli *c, struct json *take_json);
/* A line for people: on standard output, or with -o json on standard error. */
void cli_say(struct cli *c, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* The same for programs: what has become of what, an item of the document. ns "" = none. Borrowed, for more to
 * be set. */
struct json *cli_did(struct cli *c, const char *ns, const char *name, const char *result);
/* "ambit conns: <sentence>" and "fix: ..." on standard error; fix may be NULL, and is said as fix_here has it.
 * Returns answer. */
enum answer cli_fail(struct cli *c, enum answer answer, const char *fix, const char *fmt, ...)
    PRINTF_LIKE(4, 5);
/* why's sentence; whole, where it is the API's and longer than a diag holds. Borrowed until the next call of the
 * API. */
const char *cli_words(const struct cli *c, const struct diag *why);
/* The command that helps against r: where we lack the right, this command by root; else the other one
 * (NULL stays NULL). Borrowed until the next call. */
const char *cli_fix(struct cli *c, int r, const char *otherwise);
/* A line that proves what cli_fail said last. */
void cli_evidence(struct cli *c, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* The command that helps against it, behind the evidence: for a cli_fail that was given none. */
void cli_helps(struct cli *c, const char *fix);
/* Of a failure: "no" where the question could be put, else "cannot tell". */
enum answer cli_answer_of(int code);
/* The same with why's sentence: "cannot tell" when something could not be reached, else "no". The fix
 * is cli_fix's; without any, of an object that the API does not have: a list of those it has, of what does
 * not answer: the status. */
enum answer cli_fail_diag(struct cli *c, const char *fix, const struct diag *why);
