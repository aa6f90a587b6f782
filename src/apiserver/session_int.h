/* SPDX-License-Identifier: Apache-2.0 */
/* One request on its way through: body in, api_handle, wait for the disk, answer or stream. */
#pragma once

#include "base/list.h"

struct api;
struct api_user;
struct exchange;
struct extra;
struct loop;
struct message;
struct serve;

/* Takes x. The session joins sessions and frees itself. */
void session_start(struct serve *s, struct list *sessions, struct exchange *take_x);
void session_end_all(struct list *sessions);
/* The watches of that user: others have been judged and end by themselves. */
void session_end_watches_of(struct list *sessions, const char *user);

/* Of serve.c, for sessions. */
const struct api_user *serve_find_user(struct serve *s, const struct message *head);
struct api *serve_api(struct serve *s);
struct loop *serve_loop(struct serve *s);
const struct extra *serve_get_extra(const struct serve *s);
struct list *serve_asks(struct serve *s);
