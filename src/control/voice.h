/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the control plane has to write into the API: objects of its own and the status of others'.
 * Whoever has something to say owns a voice; the newest word replaces an older one that nobody has
 * taken yet. The control loop only.
 */
#pragma once

#include <stdbool.h>

#include "base/list.h"
#include "codec/json.h"

enum index_resource {
    WRITE_POLICY, /* AuthorizationPolicy */
    WRITE_AUTHENTICATION,
    WRITE_SERVICE,
    WRITE_ACCOUNT,
    WRITE_DEPLOYMENT,
    WRITE_GATEWAY,
    WRITE_CLASS,
    WRITE_HTTP_ROUTE,
    WRITE_GRPC_ROUTE,
    WRITE_TCP_ROUTE,
    WRITE_RULE, /* DestinationRule */
    WRITE_RESOURCES
};

enum index_verb {
    VERB_APPLY,  /* server-side, by force */
    VERB_MERGE,  /* with the version that was seen: a conflict means that it is seen anew */
    VERB_CREATE, /* what is there already stays */
    VERB_DELETE
};

struct index_write {
    enum index_resource resource;
    enum index_verb verb;
    const char *manager; /* static */
    const char *sub;     /* static; NULL: the object itself */
    struct json *body;   /* the object, with its name; the taker's */
    /* The object is read first. What has not this label is somebody else's and left alone; likewise, at
     * VERB_DELETE, what the owner in body does not own. NULL: not asked for; static. */
    const char *label;
};

struct voice {
    struct list unsaid;
    struct index_write word; /* body NULL: nothing is to be said */
    bool is_once;            /* ends when it was heard */
};

void voice_init(struct voice *v);
void voice_fini(struct voice *v);
/* Takes w.body. */
void voice_say(struct list *queue, struct voice *v, struct index_write take_w);
/* A last word of something that is gone. Takes w.body. */
void voice_once(struct list *queue, struct index_write take_w);
/* What was to be said is not true any more. */
void voice_hush(struct voice *v);
/* False: nobody has anything to say. */
bool voice_take(struct list *queue, struct index_write *out);
/* Last words that nobody has heard. */
void voices_drop(struct list *queue);

/* A condition, with the time of the last one in `had` (a list of conditions, or NULL) if its status is
 * the same. generation 0: none is given; as_text: it stands as a text, as in Istio's own kinds. */
struct condition {
    const char *type;
    bool status;
    const char *reason;
    const char *message;
    int64_t generation;
    bool as_text;
};
struct json *condition_new(const struct condition *c, const struct json *had);
/* Everything in want is in have, but for times; of a list of conditions by their types. */
bool json_covers(const struct json *have, const struct json *want);
/* The skeleton of an object: apiVersion, kind, metadata. */
struct json *written_object(const char *api_version, const char *kind, const char *ns,
                            const char *name);
