/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"

#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log_int.h"
#include "t.h"

enum { PATIENCE_MS = 30000 };

static struct log_scope scope = LOG_SCOPE("test");

/* What the log wrote, read back through a pipe. */
static ssize_t capture(enum log_format format, char *buf, size_t room, void (*act)(void))
{
    int fds[2];
    struct diag why;

    if (pipe2(fds, O_CLOEXEC) < 0 || log_start(fds[1], format, &why) < 0) {
        return -1;
    }
    act();
    log_stop();
    (void)close(fds[1]);
    ssize_t n = read(fds[0], buf, room - 1);
    (void)close(fds[0]);
    buf[n > 0 ? n : 0] = '\0';
    return n;
}

static void say_hello(void)
{
    log_info(&scope, "hello", F_STR("who", "a \"b\"\n"), F_U64("n", 7), F_STR("word", "plain"));
}

TEST(plain_lines_quote_what_is_not_a_word)
{
    char buf[512];

    CHECK(capture(LOG_PLAIN, buf, sizeof(buf), say_hello) > 0);
    CHECK(strstr(buf, "\tinfo\ttest\thello\twho=\"a \\\"b\\\"\\u000a\" n=7 word=plain\n") != NULL);
}

TEST(json_lines_escape_what_json_forbids)
{
    char buf[512];

    CHECK(capture(LOG_JSON, buf, sizeof(buf), say_hello) > 0);
    CHECK(strstr(buf, "\"who\":\"a \\\"b\\\"\\u000a\",\"n\":7,\"word\":\"plain\"}\n") != NULL);
}

TEST(levels_change_for_one_scope_or_for_all)
{
    static struct log_scope other = LOG_SCOPE("other"); /* a scope is known for ever */
    struct diag why = {0};

    CHECK_INT(log_set_level("warn,other=debug", &why), 0);
    CHECK(log_is_on(&other, LOG_DEBUG));
    CHECK(!log_is_on(&scope, LOG_INFO));
    CHECK(log_is_on(&scope, LOG_WARN));
    CHECK(log_set_level("loud", &why) < 0);
    CHECK_INT(log_set_level("info", &why), 0);
    CHECK(log_is_on(&scope, LOG_INFO));
}

TEST(a_list_with_a_mistake_changes_nothing_and_a_reset_forgets_scopes)
{
    AUTO(strbuf) struct strbuf before = {0};
    AUTO(strbuf) struct strbuf after = {0};

    CHECK_INT(log_reset_level("warn,test=trace", NULL), 0);
    CHECK(log_is_on(&scope, LOG_TRACE));
    log_get_level(&before);
    CHECK_STR(before.p, "test=trace,warn");
    CHECK(log_set_level("debug,more=info,loud", NULL) < 0);
    CHECK(log_reset_level("debug,loud", NULL) < 0);
    log_get_level(&after);
    CHECK_STR(after.p, before.p);
    CHECK_INT(log_reset_level("info", NULL), 0);
    CHECK(!log_is_on(&scope, LOG_TRACE));
    strbuf_clear(&after);
    log_get_level(&after);
    CHECK_STR(after.p, "info");
}

static void say_too_much(void)
{
    for (int i = 0; i < 40000; i++) { /* nobody reads while this runs: the pipe takes 64 KiB */
        log_info(&scope, "a line of some length that will not fit", F_I64("i", i));
    }
}

TEST(a_reader_that_stops_costs_lines_not_time)
{
    int fds[2];
    struct diag why;
    static char sink[65536];

    CHECK(pipe2(fds, O_CLOEXEC) == 0);
    CHECK_INT(log_start(fds[1], LOG_PLAIN, &why), 0);
    say_too_much();
    CHECK(log_dropped() > 0);
    CHECK(fcntl(fds[1], F_SETFL, O_NONBLOCK) == 0); /* lets the writer give up */
    CHECK(read(fds[0], sink, sizeof(sink)) > 0);
    log_stop();
    (void)close(fds[0]);
    (void)close(fds[1]);
}

/* The lines of the next write, which is a packet of its own; 0 when none comes. */
static int lines_of_a_write(int fd)
{
    static char buf[65536];
    struct pollfd p = {.fd = fd, .events = POLLIN};
    ssize_t n = poll(&p, 1, PATIENCE_MS) == 1 ? read(fd, buf, sizeof(buf)) : 0;
    int lines = 0;

    for (ssize_t i = 0; i < n; i++) {
        lines += buf[i] == '\n';
    }
    return lines;
}

TEST(lines_are_gathered_behind_a_write_and_none_waits_for_another)
{
    int fds[2];
    struct diag why;
    uint64_t writes = 0;
    int lines = 0;

    CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) == 0);
    CHECK_INT(log_start(fds[1], LOG_PLAIN, &why), 0);
    log_info(&scope, "alone", F_I64("i", 0));
    CHECK_INT(lines_of_a_write(fds[0]), 1);
    uint64_t start_ms = clock_mono_ms();
    for (int i = 0; i < 200; i++) {
        log_info(&scope, "one of many", F_I64("i", i));
        (void)usleep(100); /* long enough for a writer that does not gather */
    }
    for (int n = 1; n > 0 && lines < 200; writes++) {
        n = lines_of_a_write(fds[0]);
        lines += n;
    }
    uint64_t took_ms = clock_mono_ms() - start_ms;
    CHECK_INT(lines, 200);
    CHECK(writes <= took_ms / LOG_GATHER_MS + 2); /* on a slow machine there may be many */
    log_stop();
    (void)close(fds[0]);
    (void)close(fds[1]);
}

TEST(stamps_keep_their_form_when_the_second_changes)
{
    static const struct {
        uint64_t ns;
        const char *text;
    } rows[] = {{0, "1970-01-01T00:00:00.000000Z"},
                {951782400000001000u, "2000-02-29T00:00:00.000001Z"},
                {951782400999999999u, "2000-02-29T00:00:00.999999Z"},
                {951782401000000000u, "2000-02-29T00:00:01.000000Z"}};
    char text[CLOCK_TEXT];

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        clock_format(rows[i].ns, text, sizeof(text));
        CHECK_STR(text, rows[i].text);
    }
}
