/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/disk.h"

#include <fcntl.h>
#include <limits.h>
#include <sqlite3.h>
#include <stdio.h>
#include <unistd.h>

#include "base/mem.h"

enum { APPLICATION_ID = 0x416d6269 /* "Ambi", so that file(1) and we know our own */ };

struct disk {
    sqlite3 *db;
    sqlite3_stmt *put;
    sqlite3_stmt *drop;
    sqlite3_stmt *set_rv;
    uint64_t rv;
};

struct disk_scan {
    sqlite3_stmt *rows;
};

static int code_of(int r)
{
    switch (r & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return -EBUSY;
    case SQLITE_FULL:
        return -ENOSPC;
    case SQLITE_READONLY:
        return -EROFS;
    case SQLITE_PERM:
    case SQLITE_AUTH:
    case SQLITE_CANTOPEN:
        return -EACCES;
    case SQLITE_NOTADB:
    case SQLITE_CORRUPT:
        return -ERR_SYNTAX;
    case SQLITE_NOMEM:
        return -ENOMEM;
    default:
        return -EIO;
    }
}

static int failed(const struct disk *d, int r, struct diag *why, const char *doing)
{
    return FAIL(why, code_of(r), "%s: %s", doing,
                d->db ? sqlite3_errmsg(d->db) : sqlite3_errstr(r));
}

static int run_sql(struct disk *d, const char *sql, struct diag *why)
{
    int r = sqlite3_exec(d->db, sql, NULL, NULL, NULL);

    return r == SQLITE_OK ? 0 : failed(d, r, why, "set up the store");
}

static int prepare(struct disk *d, const char *sql, struct diag *why, sqlite3_stmt **out)
{
    int r = sqlite3_prepare_v3(d->db, sql, -1, SQLITE_PREPARE_PERSISTENT, out, NULL);

    return r == SQLITE_OK ? 0 : failed(d, r, why, "read the store");
}

static int get_number(struct disk *d, const char *sql, struct diag *why, int64_t *out)
{
    sqlite3_stmt *q = NULL;
    int r = prepare(d, sql, why, &q);

    if (r < 0) {
        return r;
    }
    int step = sqlite3_step(q);
    if (step == SQLITE_ROW) {
        *out = sqlite3_column_int64(q, 0);
    } else {
        r = failed(d, step == SQLITE_DONE ? SQLITE_CORRUPT : step, why, "read the store");
    }
    (void)sqlite3_finalize(q); /* repeats the step's error */
    return r;
}

/* SQLite would create it readable for everyone the umask lets in; it holds secrets. */
static int create_private(const char *path, struct diag *why)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

    if (fd < 0) {
        return FAIL(why, neg_errno(), "open %s", path);
    }
    (void)close(fd); /* nothing was written */
    return 0;
}

static int create_tables(struct disk *d, struct diag *why)
{
    return run_sql(d,
                   "BEGIN;"
                   "CREATE TABLE counter(rv INTEGER NOT NULL);"
                   "INSERT INTO counter VALUES(1);"
                   "CREATE TABLE objects("
                   " resource TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL,"
                   " rv INTEGER NOT NULL, body BLOB NOT NULL,"
                   " PRIMARY KEY(resource, namespace, name)) WITHOUT ROWID;"
                   "PRAGMA application_id = 1097687657;"
                   "PRAGMA user_version = 1;"
                   "COMMIT;",
                   why);
}

_Static_assert(DISK_FORMAT == 1 && APPLICATION_ID == 1097687657, "as create_tables writes them");

static int check_format(struct disk *d, struct diag *why)
{
    int64_t format = 0;
    int64_t owner = 0;
    int r = get_number(d, "PRAGMA user_version", why, &format);

    if (r == 0) {
        r = get_number(d, "PRAGMA application_id", why, &owner);
    }
    if (r < 0) {
        return r;
    }
    if (format == 0 && owner == 0) {
        return create_tables(d, why);
    }
    if (owner != APPLICATION_ID) {
        return FAIL(why, -ERR_SYNTAX, "the store: a database of another program");
    }
    if (format > DISK_FORMAT) {
        return FAIL(why, -ERR_VERSION, "the store has format %lld, this program knows %d",
                    (long long)format, DISK_FORMAT);
    }
    return 0;
}

/* FULL with WAL: each commit is synced before it returns. EXCLUSIVE: one process, and no shared
 * memory file beside it. */
static int configure(struct disk *d, struct diag *why)
{
    int r = run_sql(d,
                    "PRAGMA locking_mode = EXCLUSIVE;"
                    "PRAGMA journal_mode = WAL;"
                    "PRAGMA synchronous = FULL;"
                    "PRAGMA trusted_schema = OFF;"
                    "PRAGMA cell_size_check = ON;",
                    why);

    return r < 0 ? r : check_format(d, why);
}

static int prepare_all(struct disk *d, struct diag *why)
{
    int64_t rv = 0;
    int r = prepare(d, "INSERT OR REPLACE INTO objects VALUES(?1, ?2, ?3, ?4, ?5)", why, &d->put);

    if (r == 0) {
        r = prepare(d, "DELETE FROM objects WHERE resource=?1 AND namespace=?2 AND name=?3", why,
                    &d->drop);
    }
    if (r == 0) {
        r = prepare(d, "UPDATE counter SET rv=?1", why, &d->set_rv);
    }
    if (r == 0) {
        r = get_number(d, "SELECT rv FROM counter", why, &rv);
    }
    if (r == 0 && rv < 1) {
        r = FAIL(why, -ERR_SYNTAX, "the store's counter is %lld", (long long)rv);
    }
    if (r == 0) {
        d->rv = (uint64_t)rv;
    }
    return r;
}

int disk_open_blocking(const char *path, struct diag *why, struct disk **out)
{
    int r = create_private(path, why);

    if (r < 0) {
        return r;
    }
    AUTO(disk) struct disk *d = mem_new(struct disk);
    int flags =
        SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_NOFOLLOW | SQLITE_OPEN_EXRESCODE;
    int open = sqlite3_open_v2(path, &d->db, flags, NULL);
    if (open != SQLITE_OK) {
        return failed(d, open, why, path);
    }
    r = configure(d, why);
    if (r == 0) {
        r = prepare_all(d, why);
    }
    if (r < 0) {
        return r;
    }
    *out = MOVE(d);
    return 0;
}

void disk_close(struct disk *d)
{
    if (!d) {
        return;
    }
    (void)sqlite3_finalize(d->put); /* repeat errors already reported by their steps */
    (void)sqlite3_finalize(d->drop);
    (void)sqlite3_finalize(d->set_rv);
    (void)sqlite3_close(
        d->db); /* everything acknowledged is committed; a failed checkpoint loses nothing */
    mem_free(d);
}

uint64_t disk_rv(const struct disk *d)
{
    return d->rv;
}

int disk_scan_open(struct disk *d, struct diag *why, struct disk_scan **out)
{
    sqlite3_stmt *rows = NULL;
    int r = prepare(d, "SELECT resource, namespace, name, rv, body FROM objects", why, &rows);

    if (r < 0) {
        return r;
    }
    *out = mem_new(struct disk_scan);
    (*out)->rows = rows;
    return 0;
}

static const char *text_of(sqlite3_stmt *q, int column)
{
    const unsigned char *t = sqlite3_column_text(q, column);

    return t ? (const char *)t : "";
}

int disk_scan_next_blocking(struct disk_scan *s, struct diag *why, struct disk_row *out)
{
    int step = sqlite3_step(s->rows);

    if (step == SQLITE_DONE) {
        return 0;
    }
    if (step != SQLITE_ROW) {
        return FAIL(why, code_of(step), "read the store: %s", sqlite3_errstr(step));
    }
    const void *body = sqlite3_column_blob(s->rows, 4);
    int len = sqlite3_column_bytes(s->rows, 4);
    *out = (struct disk_row){
        .resource = text_of(s->rows, 0),
        .ns = text_of(s->rows, 1),
        .name = text_of(s->rows, 2),
        .rv = (uint64_t)sqlite3_column_int64(s->rows, 3),
        .text = {body, body ? (size_t)len : 0},
    };
    return 1;
}

void disk_scan_close(struct disk_scan *s)
{
    if (s) {
        (void)sqlite3_finalize(s->rows); /* read only */
        mem_free(s);
    }
}

/* Binds what is borrowed for the time of the step. */
static int step_once(sqlite3_stmt *q)
{
    int r = sqlite3_step(q);
    int reset = sqlite3_reset(q);

    (void)sqlite3_clear_bindings(q); /* cannot fail */
    return r == SQLITE_DONE ? reset : r;
}

static int bind_key(sqlite3_stmt *q, const struct disk_write *w)
{
    int r = sqlite3_bind_text(q, 1, w->resource, -1, SQLITE_STATIC);

    if (r == SQLITE_OK) {
        r = sqlite3_bind_text(q, 2, w->ns, -1, SQLITE_STATIC);
    }
    return r == SQLITE_OK ? sqlite3_bind_text(q, 3, w->name, -1, SQLITE_STATIC) : r;
}

static int write_one(struct disk *d, const struct disk_write *w)
{
    sqlite3_stmt *q = w->text.p ? d->put : d->drop;
    int r = bind_key(q, w);

    if (r == SQLITE_OK && w->text.p) {
        r = sqlite3_bind_int64(q, 4, (int64_t)w->rv);
        if (r == SQLITE_OK) {
            r = sqlite3_bind_blob64(q, 5, w->text.p, w->text.len, SQLITE_STATIC);
        }
    }
    return r == SQLITE_OK ? step_once(q) : r;
}

static int write_all(struct disk *d, const struct disk_write *writes, size_t count, uint64_t rv)
{
    int r = SQLITE_OK;

    for (size_t i = 0; i < count && r == SQLITE_OK; i++) {
        r = write_one(d, &writes[i]);
    }
    if (r == SQLITE_OK) {
        r = sqlite3_bind_int64(d->set_rv, 1, (int64_t)rv);
    }
    return r == SQLITE_OK ? step_once(d->set_rv) : r;
}

int disk_commit_blocking(struct disk *d, const struct disk_write *writes, size_t count, uint64_t rv,
                         struct diag *why)
{
    int r = sqlite3_exec(d->db, "BEGIN IMMEDIATE", NULL, NULL, NULL);

    if (r == SQLITE_OK) {
        r = write_all(d, writes, count, rv);
    }
    if (r == SQLITE_OK) {
        r = sqlite3_exec(d->db, "COMMIT", NULL, NULL, NULL);
    }
    if (r != SQLITE_OK) {
        int code = failed(d, r, why, "write the store");
        if (!sqlite3_get_autocommit(d->db)) {
            (void)sqlite3_exec(d->db, "ROLLBACK", NULL, NULL, NULL); /* the first error counts */
        }
        return code;
    }
    d->rv = rv;
    return 0;
}
