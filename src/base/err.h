/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One number space for failure. 0 or a count is success; a negative value is -errno or one of the
 * codes below, so a system call's result and our own travel the same way. The class says whose
 * fault it is: the metrics of failed connections are labelled by it.
 */
#pragma once

#include <errno.h>
#include <stdbool.h>

#include "base/auto.h"

enum err_class { ERRC_LOCAL, ERRC_PEER, ERRC_POLICY, ERRC_BENIGN, ERR_CLASSES };

/* name, sentence for people, class */
#define ERR_TABLE(X)                                                                               \
    X(ERR_SYNTAX, "input does not parse", ERRC_PEER)                                               \
    X(ERR_RANGE, "value out of range", ERRC_PEER)                                                  \
    X(ERR_TOO_LARGE, "larger than its limit", ERRC_PEER)                                           \
    X(ERR_LIMIT, "limit reached", ERRC_LOCAL)                                                      \
    X(ERR_TRUNCATED, "stream ended before its end", ERRC_PEER)                                     \
    X(ERR_DEADLINE, "deadline passed", ERRC_PEER)                                                  \
    X(ERR_DRAINED, "closed because of drain", ERRC_BENIGN)                                         \
    X(ERR_CANCELLED, "cancelled", ERRC_BENIGN)                                                     \
    X(ERR_NOT_FOUND, "not found", ERRC_LOCAL)                                                      \
    X(ERR_EXISTS, "already exists", ERRC_LOCAL)                                                    \
    X(ERR_CONFLICT, "conflicts with the stored version", ERRC_LOCAL)                               \
    X(ERR_VERSION, "format version is newer than this program", ERRC_LOCAL)                        \
    X(ERR_UNSUPPORTED, "not supported", ERRC_LOCAL)                                                \
    X(ERR_UNAVAILABLE, "not available", ERRC_LOCAL)                                                \
    X(ERR_AUTHORITY, "authority is not host:port", ERRC_PEER)                                      \
    X(ERR_DENIED, "denied by policy", ERRC_POLICY)                                                 \
    X(ERR_POLICY_CHANGED, "connection closed due to policy change", ERRC_POLICY)                   \
    X(ERR_TLS, "TLS failed", ERRC_PEER)                                                            \
    X(ERR_TLS_ALERT, "peer sent a TLS alert", ERRC_PEER)                                           \
    X(ERR_TLS_RECORD, "TLS record is not authentic or not well-formed", ERRC_PEER)                 \
    X(ERR_IDENTITY, "peer is not who was expected", ERRC_POLICY)                                   \
    X(ERR_CERTIFICATE, "certificate is not acceptable", ERRC_PEER)                                 \
    X(ERR_H2_PROTOCOL, "HTTP/2 protocol error", ERRC_PEER)                                         \
    X(ERR_H2_FLOW, "HTTP/2 flow-control error", ERRC_PEER)                                         \
    X(ERR_H2_RESET, "stream was reset by the peer", ERRC_PEER)                                     \
    X(ERR_H2_GOAWAY, "connection is going away", ERRC_BENIGN)                                      \
    X(ERR_H2_ABUSE, "peer exceeded a budget", ERRC_PEER)                                           \
    X(ERR_HTTP_STATUS, "peer refused with an HTTP status", ERRC_PEER)                              \
    X(ERR_GRPC_STATUS, "call ended with a gRPC status", ERRC_PEER)

/* clang-format off */
enum err {
    ERR_FIRST = 4096, /* above every errno */
#define ERR_ENUM(name, text, class_) name,
    ERR_TABLE(ERR_ENUM)
#undef ERR_ENUM
    ERR_END
};
/* clang-format on */

const char *err_text(int r);
const char *err_name(int r);
/* The other way round; -EIO where there is none of that name. */
int err_of_name(const char *name);
enum err_class err_class(int r);
const char *err_class_name(enum err_class class);

/* The failed system call's errno as ours: negative whatever libc says. Never write -errno. */
static inline int neg_errno(void)
{
    return errno > 0 ? -errno : -EIO;
}

/* The one sentence that says what was being done when code happened. Caller-owned, never allocates;
 * a text that does not fit is cut. */
struct diag {
    int code;
    char text[124];
};

/* d may be NULL. Returns code. */
int diag_note(struct diag *d, int code, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* A failure can never read as success, not even when the code it was given was 0. */
static inline int surely_negative(int r)
{
    return r < 0 ? r : -EIO;
}

/* Notes what was being done and yields the code: a failing function ends in one line. */
#define FAIL(diag, code, ...) surely_negative(diag_note((diag), (code), __VA_ARGS__))
