/* SPDX-License-Identifier: Apache-2.0 */
#include "node/node_facts.h"

#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/mem.h"
#include "codec/json.h"
#include "codec/url.h"
#include "io/file.h"
#include "io/sock.h"

enum { ANY_PORT = 9 /* nothing is sent there */ };

/* ---- addresses */

/* The source of what would be sent there; false: no way leads there, or only to this machine. */
static bool source_towards(const struct ip *to, struct ip *out)
{
    struct endpoint there = {.ip = *to, .port = ANY_PORT};
    struct endpoint here;
    int fd = sock_open(to->family, SOCK_TYPE_DATAGRAM, NULL);
    bool found = fd >= 0 && sock_connect_datagram(fd, &there, NULL) == 0 &&
                 sock_local(fd, &here) == 0 && !ip_is_loopback(&here.ip);

    if (found) {
        *out = here.ip;
    }
    if (fd >= 0) {
        sock_close(&fd);
    }
    return found;
}

static bool own_address(const char *server, struct ip *out)
{
    static const char *const outside[] = {"192.0.2.1", "2001:db8::1"}; /* RFC 5737, RFC 3849 */
    struct url url;
    struct ip to;

    if (url_parse(&url, server, strlen(server), NULL) == 0 &&
        ip_parse(&to, url.host.p, url.host.len) == 0 && source_towards(&to, out)) {
        return true;
    }
    for (size_t i = 0; i < ARRAY_LEN(outside); i++) {
        if (ip_parse(&to, outside[i], strlen(outside[i])) == 0 && source_towards(&to, out)) {
            return true;
        }
    }
    return false;
}

static void add_address(struct json *status, const char *type, const char *address)
{
    struct json *a = json_new_object();

    json_set_str(a, "type", type);
    json_set_str(a, "address", address);
    json_append(json_make_array(status, "addresses"), a);
}

/* ---- system */

static const char *architecture(const char *machine)
{
    static const struct {
        const char *machine;
        const char *name; /* as Kubernetes calls it */
    } rows[] = {{"x86_64", "amd64"}, {"aarch64", "arm64"}};

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (strcmp(rows[i].machine, machine) == 0) {
            return rows[i].name;
        }
    }
    return machine;
}

/* PRETTY_NAME="..." of os-release(5). */
static void set_os_image(struct json *info)
{
    AUTO(text) char *text = NULL;
    struct slice line;
    struct slice rest;
    bool more = file_read_blocking("/etc/os-release", &text, NULL, NULL) == 0;

    rest = slice_of(text);
    while (more) {
        struct slice key;
        struct slice value;
        more = slice_cut(rest, '\n', &line, &rest);
        if (slice_cut(line, '=', &key, &value) && slice_is(key, "PRETTY_NAME")) {
            bool quoted = value.len >= 2 && value.p[0] == '"' && value.p[value.len - 1] == '"';
            json_set(info, "osImage",
                     json_new_strn(value.p + quoted, value.len - (quoted ? 2u : 0u)));
            return;
        }
    }
}

static void set_system(struct json *info, const struct utsname *u)
{
    static const char version[] = "v" AMBIT_VERSION "+ambit";
    AUTO(text) char *boot = NULL;

    json_set_str(info, "kernelVersion", u->release);
    json_set_str(info, "architecture", architecture(u->machine));
    json_set_str(info, "operatingSystem", "linux");
    json_set_str(info, "kubeletVersion", version);
    json_set_str(info, "containerRuntimeVersion", "ambit://" AMBIT_VERSION);
    set_os_image(info);
    if (file_read_blocking("/proc/sys/kernel/random/boot_id", &boot, NULL, NULL) == 0) {
        struct slice id;
        struct slice rest;
        (void)slice_cut(slice_of(boot), '\n', &id, &rest); /* with or without its line's end */
        json_set(info, "bootID", json_new_strn(id.p, id.len));
    }
}

static void set_size(struct json *size)
{
    AUTO(strbuf) struct strbuf cpu = {0};
    AUTO(strbuf) struct strbuf memory = {0};
    long pages = sysconf(_SC_PHYS_PAGES);
    long page = sysconf(_SC_PAGESIZE);

    strbuf_printf(&cpu, "%ld", sysconf(_SC_NPROCESSORS_ONLN));
    strbuf_printf(&memory, "%ldKi", pages * (page / 1024));
    json_set_str(size, "cpu", strbuf_text(&cpu));
    json_set_str(size, "memory", strbuf_text(&memory));
}

struct json *node_facts_blocking(const char *server)
{
    struct json *status = json_new_object();
    struct utsname u = {0};
    struct ip ip;
    char text[IP_TEXT];

    (void)uname(&u); /* what it may not say stays empty */
    if (own_address(server, &ip)) {
        add_address(status, "InternalIP", ip_format(&ip, text));
    }
    add_address(status, "Hostname", u.nodename);
    set_system(json_make_object(status, "nodeInfo"), &u);
    set_size(json_make_object(status, "capacity"));
    json_set(status, "allocatable", json_clone(json_get(status, "capacity")));
    return status;
}
