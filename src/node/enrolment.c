/* SPDX-License-Identifier: Apache-2.0 */
#include "node/enrolment.h"

#include <assert.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/num.h"
#include "node/capture_work.h"

static struct log_scope scope = LOG_SCOPE("enrol");

enum {
    WORK_LIMIT_MS = 30000,
    WRITE_LIMIT_MS = 15000,
    ADD_LIMIT_MS = 10000,
    RETRY_FIRST_MS = 250,
    RETRY_LAST_MS = 15000
};

enum step {
    OUT,            /* nothing of ours in the pod, and no proxy knows it */
    LOOK,           /* what is in the pod's namespace already? */
    ADD,            /* the proxy has been told and has not answered */
    RULES,          /* capture rules are being written */
    PROVE,          /* the capture is being proved */
    ANNOUNCE,       /* captured and served; the annotation is being written */
    IN,             /* a member */
    RETRY,          /* the step in resume failed and waits for another try */
    LEAVE_ANNOUNCE, /* captured and served; the annotation is being taken away */
    LEAVE_TOLD,     /* others may still come through tunnels: wait until they have heard */
    LEAVE_RULES,    /* new connections are about to pass by the proxy */
    LEAVE_DRAIN,    /* carried connections live on */
    LEAVE_DEL,      /* proxies are letting go */
    LEAVE_CLEAR,    /* rules are being removed */
    OVER            /* the pod is gone, nothing is left to do */
};

static const struct {
    const char *name;
    unsigned may_go;
    unsigned limit_ms;
    enum enrolment_standing standing;
} steps[] = {
    [OUT] = {"out", BIT(LOOK) | BIT(LEAVE_DEL), 0, ENROLMENT_OUT},
    [LOOK] = {"look",
              BIT(OUT) | BIT(ADD) | BIT(RETRY) | BIT(LEAVE_ANNOUNCE) | BIT(LEAVE_RULES) |
                  BIT(LEAVE_DRAIN) | BIT(LEAVE_DEL),
              WORK_LIMIT_MS, ENROLMENT_JOINING},
    [ADD] = {"add",
             BIT(ADD) | BIT(RULES) | BIT(RETRY) | BIT(LEAVE_ANNOUNCE) | BIT(LEAVE_RULES) |
                 BIT(LEAVE_DRAIN) | BIT(LEAVE_DEL),
             ADD_LIMIT_MS, ENROLMENT_JOINING},
    [RULES] = {"rules", BIT(PROVE) | BIT(RETRY) | BIT(LEAVE_DEL), WORK_LIMIT_MS, ENROLMENT_JOINING},
    [PROVE] = {"prove",
               BIT(ANNOUNCE) | BIT(IN) | BIT(RETRY) | BIT(LEAVE_ANNOUNCE) | BIT(LEAVE_RULES) |
                   BIT(LEAVE_DEL),
               WORK_LIMIT_MS, ENROLMENT_JOINING},
    [ANNOUNCE] = {"announce", BIT(IN) | BIT(RETRY) | BIT(LEAVE_DEL), WRITE_LIMIT_MS,
                  ENROLMENT_JOINING},
    [IN] = {"in", BIT(RULES) | BIT(ANNOUNCE) | BIT(LEAVE_ANNOUNCE) | BIT(LEAVE_DEL),
            ENROLMENT_CHECK_MS, ENROLMENT_IN},
    [RETRY] = {"retry",
               BIT(LOOK) | BIT(ADD) | BIT(RULES) | BIT(ANNOUNCE) | BIT(LEAVE_ANNOUNCE) |
                   BIT(LEAVE_RULES) | BIT(LEAVE_DRAIN) | BIT(LEAVE_DEL) | BIT(LEAVE_CLEAR),
               0, ENROLMENT_JOINING},
    [LEAVE_ANNOUNCE] = {"leave announce", BIT(LEAVE_TOLD) | BIT(RETRY) | BIT(LEAVE_DEL),
                        WRITE_LIMIT_MS, ENROLMENT_LEAVING},
    [LEAVE_TOLD] = {"leave told", BIT(LEAVE_RULES) | BIT(RULES) | BIT(LEAVE_DEL), 0,
                    ENROLMENT_LEAVING},
    [LEAVE_RULES] = {"leave rules", BIT(LEAVE_DRAIN) | BIT(RETRY) | BIT(LEAVE_DEL), WORK_LIMIT_MS,
                     ENROLMENT_LEAVING},
    [LEAVE_DRAIN] = {"leave drain", BIT(LEAVE_DEL) | BIT(RULES), ENROLMENT_DRAIN_MS,
                     ENROLMENT_LEAVING},
    [LEAVE_DEL] = {"leave del", BIT(LEAVE_CLEAR) | BIT(OVER), WORK_LIMIT_MS, ENROLMENT_LEAVING},
    [LEAVE_CLEAR] = {"leave clear", BIT(OUT) | BIT(OVER) | BIT(RETRY), WORK_LIMIT_MS,
                     ENROLMENT_LEAVING},
    [OVER] = {"over", 0, 0, ENROLMENT_OVER},
};

struct enrolment {
    const struct enrolment_env *env;
    struct task task;
    struct task *owner;
    struct timer limit;
    struct timer poll; /* between two counts while draining */
    enum step step;
    enum step resume; /* in RETRY: where to go on */
    struct pod *pod;
    int netns; /* -1: not known */
    struct zds_member *member;
    struct capture_work *work;
    struct pod_write *write;
    struct rules rules;      /* what was installed last */
    enum rules_state kernel; /* what is in the namespace, as far as we know */
    unsigned backoff_ms;
    struct repairs repairs;
    struct diag trouble;
    bool wanted;    /* by its labels */
    bool gone;      /* the pod does not run any more */
    bool announced; /* the annotation is there, as far as we know */
    bool lost;      /* somebody took it away since we wrote it */
    bool looked;    /* LOOK has come to an end at least once */
};

/* A member stays one while its capture is looked at again; a pod that has just become wanted is on
 * its way before its task has run. */
static enum enrolment_standing standing_of(const struct enrolment *e)
{
    bool checked = e->step == RULES || e->step == PROVE;

    return checked && e->announced       ? ENROLMENT_IN
           : e->step == OUT && e->wanted ? ENROLMENT_JOINING
                                         : steps[e->step].standing;
}

static void note_standing(struct enrolment *e, enum enrolment_standing before)
{
    if (before != standing_of(e)) {
        log_info(&scope, "pod", F_STR("namespace", e->pod->namespace), F_STR("name", e->pod->name),
                 F_STR("step", steps[e->step].name));
    }
    task_wake(e->owner, WAKE_CHILD);
}

static unsigned limit_of(const struct enrolment *e, enum step next)
{
    return next == LEAVE_TOLD ? e->env->told_ms
           : next == RETRY    ? e->backoff_ms
                              : steps[next].limit_ms;
}

static void enter(struct enrolment *e, enum step next)
{
    enum enrolment_standing before = standing_of(e);

    assert(steps[e->step].may_go & BIT(next));
    e->step = next;
    timer_clear(&e->poll);
    timer_clear(&e->limit);
    if (limit_of(e, next) > 0) {
        timer_set(&e->limit, &e->task, limit_of(e, next));
    }
    note_standing(e, before);
}

/* ---- failures */

static void put_off(struct enrolment *e, enum step resume)
{
    e->resume = resume;
    e->backoff_ms =
        e->backoff_ms > 0 ? MIN_OF(e->backoff_ms * 2, RETRY_LAST_MS) : (unsigned)RETRY_FIRST_MS;
    enter(e, RETRY);
}

static int fail(struct enrolment *e, enum step resume, const struct diag *why)
{
    e->trouble = *why;
    log_warn(&scope, "step failed", F_STR("namespace", e->pod->namespace),
             F_STR("name", e->pod->name), F_STR("step", steps[e->step].name), F_DIAG(why));
    put_off(e, resume);
    return 0;
}

static void all_is_well(struct enrolment *e)
{
    e->backoff_ms = 0;
    e->trouble = (struct diag){0};
}

/* ---- blocking work in the pod's namespace */

/* Starts it at the first call. -EAGAIN until it is done; then its result, with e->work still there. */
static int work(struct enrolment *e, enum capture_kind kind, struct diag *why)
{
    if (!e->work) {
        struct capture_request q = {.kind = kind,
                                    .pod = e->pod,
                                    .rules = &e->rules,
                                    .netns = kind == CAPTURE_LOOK ? -1 : e->netns,
                                    .netns_dir = e->env->netns_dir};
        e->work = capture_work_start(e->env->jobs, e->env->capture, &q, &e->task);
    }
    if (!e->work) {
        return FAIL(why, -ERR_LIMIT, "start work in the pod's namespace");
    }
    if (!capture_work_is_done(e->work)) {
        return -EAGAIN;
    }
    *why = e->work->why;
    return e->work->result;
}

static void drop_work(struct enrolment *e)
{
    capture_work_drop(MOVE(e->work));
}

/* For work without other results. */
static int work_once(struct enrolment *e, enum capture_kind kind, struct diag *why)
{
    int r = work(e, kind, why);

    if (r != -EAGAIN) {
        drop_work(e);
    }
    return r;
}

static void drop_netns(struct enrolment *e)
{
    if (e->netns >= 0) {
        close(e->netns);
    }
    e->netns = -1;
}

/* ---- the proxy */

static void ensure_member(struct enrolment *e)
{
    struct zds_workload w = {e->pod->uid, e->pod->name, e->pod->namespace, e->pod->service_account};

    if (!e->member) {
        e->member = zds_member_new(e->env->zds, &w, e->netns, &e->task);
    }
}

static void drop_member(struct enrolment *e)
{
    zds_member_free(MOVE(e->member));
}

/* ---- the annotation */

static int write_annotation(struct enrolment *e, bool enabled, struct diag *why)
{
    const struct pod_source_ops *ops = e->env->source->ops;

    if (!e->write) {
        e->write = ops->announce(e->env->source, &e->task, e->pod, enabled);
    }
    int r = ops->result(e->write, why);
    if (r != -EAGAIN) {
        ops->drop(MOVE(e->write));
    }
    return r;
}

static void drop_write(struct enrolment *e)
{
    if (e->write) {
        e->env->source->ops->drop(MOVE(e->write));
    }
}

/* ---- steps; each returns 0 when it has entered another, else -EAGAIN */

/* The way out begins where the pod stands. */
static int leave(struct enrolment *e)
{
    enter(e, e->announced                                               ? LEAVE_ANNOUNCE
             : e->kernel == RULES_CAPTURING || e->kernel == RULES_OTHER ? LEAVE_RULES
             : e->kernel == RULES_LEAVING                               ? LEAVE_DRAIN
                                                                        : LEAVE_DEL);
    return 0;
}

static int step_out(struct enrolment *e)
{
    if (e->looked && !e->wanted) {
        return -EAGAIN;
    }
    enter(e, LOOK);
    return 0;
}

static int found(struct enrolment *e)
{
    drop_netns(e);
    e->netns = e->work->netns;
    e->work->netns = -1; /* ours now */
    e->kernel = e->work->state;
    drop_work(e);
    if (!e->wanted && !e->announced && e->kernel == RULES_NONE) {
        drop_netns(e);
        enter(e, OUT);
        return 0;
    }
    ensure_member(e); /* also on the way out: the proxy may carry its connections */
    if (e->wanted) {
        enter(e, ADD);
        return 0;
    }
    return leave(e);
}

/* Proxies keep a pod that was a member until its namespace is found again. */
static int not_found(struct enrolment *e, const struct diag *why)
{
    drop_work(e);
    if (!e->wanted && !e->announced) {
        enter(e, OUT);
        return 0;
    }
    if (e->announced) {
        ensure_member(e);
    }
    return fail(e, LOOK, why);
}

static int step_look(struct enrolment *e)
{
    struct diag why = {0};

    e->rules = pod_rules(e->pod, e->env->probes);
    int r = work(e, CAPTURE_LOOK, &why);
    if (r == -EAGAIN) {
        return r;
    }
    e->looked = true;
    return r < 0 ? not_found(e, &why) : found(e);
}

static int step_add(struct enrolment *e)
{
    struct diag why = {0};

    if (!e->wanted) {
        return leave(e);
    }
    ensure_member(e);
    if (!e->member) {
        (void)FAIL(&why, -ERR_LIMIT, "too many pods for the node proxy"); /* said below */
        return fail(e, ADD, &why);
    }
    switch (zds_member_standing(e->member)) {
    case ZDS_SERVED:
        enter(e, RULES);
        return 0;
    case ZDS_REFUSED:
        (void)FAIL(&why, -ERR_DENIED, "node proxy: %s", zds_member_refusal(e->member));
        return fail(e, ADD, &why);
    case ZDS_WAITING:
    case ZDS_LEAVING:
    case ZDS_LEFT:
        return -EAGAIN;
    }
    return -EAGAIN;
}

static bool has_new_options(const struct enrolment *e)
{
    struct rules now = pod_rules(e->pod, e->env->probes);

    return !rules_equal(&now, &e->rules);
}

/* Are our rules there already, so that others in their place are somebody else's doing? */
static enum capture_kind install_kind(const struct enrolment *e)
{
    return e->kernel == RULES_CAPTURING && !has_new_options(e) ? CAPTURE_REINSTALL
                                                               : CAPTURE_INSTALL;
}

static void count_repair(struct repairs *r)
{
    r->count++;
    r->last_s = clock_wall_s();
}

/* Who may change rules inside the pod may go without the mesh for as long as that lasts: its own
 * policies included, nobody else's. */
static void note_repair(struct enrolment *e)
{
    count_repair(&e->repairs);
    count_repair(e->env->repairs);
    log_warn(&scope, "capture rules were changed inside the pod, and are put back",
             F_STR("namespace", e->pod->namespace), F_STR("name", e->pod->name));
}

static void note_host_repair(const struct enrolment *e)
{
    count_repair(e->env->host);
    log_warn(&scope, "the host's rules for health probes were taken away, and are put back");
}

static int step_rules(struct enrolment *e)
{
    struct diag why = {0};

    enum capture_kind kind = e->work ? e->work->kind : install_kind(e);
    if (!e->work) {
        e->rules = pod_rules(e->pod, e->env->probes);
    }
    int r = work(e, kind, &why);
    if (r == -EAGAIN) {
        return r;
    }
    if (r > 0) {
        note_host_repair(e);
    }
    if (r >= 0 && kind == CAPTURE_REINSTALL && e->work->state != RULES_CAPTURING) {
        note_repair(e);
    }
    drop_work(e);
    if (r < 0) {
        return fail(e, RULES, &why);
    }
    e->kernel = RULES_CAPTURING;
    enter(e, PROVE);
    return 0;
}

/* A member stays captured: letting its connections pass would open what its policies close. */
static int unproved(struct enrolment *e, const struct diag *why)
{
    if (e->announced) {
        return fail(e, RULES, why);
    }
    e->trouble = *why;
    log_warn(&scope, "capture is not proved", F_STR("namespace", e->pod->namespace),
             F_STR("name", e->pod->name), F_DIAG(why));
    enter(e, LEAVE_RULES);
    return 0;
}

static int step_prove(struct enrolment *e)
{
    struct diag why = {0};
    int r = work_once(e, CAPTURE_PROVE, &why);

    if (r == -EAGAIN) {
        return r;
    }
    if (!e->wanted) {
        return leave(e);
    }
    if (r < 0) {
        return unproved(e, &why);
    }
    enter(e, e->announced ? IN : ANNOUNCE);
    return 0;
}

static int step_announce(struct enrolment *e)
{
    struct diag why = {0};
    int r = write_annotation(e, true, &why);

    if (r == -EAGAIN) {
        return r;
    }
    if (r < 0) {
        return fail(e, ANNOUNCE, &why);
    }
    e->announced = true;
    enter(e, IN);
    return 0;
}

static int step_in(struct enrolment *e)
{
    all_is_well(e);
    if (!e->wanted) {
        enter(e, LEAVE_ANNOUNCE);
    } else if (!e->announced || e->lost) {
        e->lost = false;
        enter(e, ANNOUNCE);
    } else if (has_new_options(e)) {
        enter(e, RULES);
    } else {
        return -EAGAIN;
    }
    return 0;
}

static bool is_joining(enum step s)
{
    return s == LOOK || s == ADD || s == RULES || s == ANNOUNCE;
}

/* A pod that is not wanted any more does not wait for another try at joining. */
static int step_retry(struct enrolment *e)
{
    if (!e->wanted && is_joining(e->resume) && e->looked && e->resume != LOOK) {
        return leave(e);
    }
    return -EAGAIN;
}

static int step_leave_announce(struct enrolment *e)
{
    struct diag why = {0};
    int r = write_annotation(e, false, &why);

    if (r == -EAGAIN) {
        return r;
    }
    if (r < 0 && r != -ERR_NOT_FOUND) {
        return fail(e, LEAVE_ANNOUNCE, &why);
    }
    e->announced = false;
    e->lost = false;
    all_is_well(e);
    enter(e, LEAVE_TOLD);
    return 0;
}

static int step_leave_told(struct enrolment *e)
{
    if (e->wanted) {
        enter(e, RULES);
        return 0;
    }
    return -EAGAIN;
}

static int step_leave_rules(struct enrolment *e)
{
    struct diag why = {0};
    int r = work_once(e, CAPTURE_LEAVE, &why);

    if (r == -EAGAIN) {
        return r;
    }
    if (r < 0 && r != -ENOENT) {
        return fail(e, LEAVE_RULES, &why);
    }
    e->kernel = r == 0 ? RULES_LEAVING : RULES_NONE;
    enter(e, LEAVE_DRAIN);
    return 0;
}

/* A pod that is on its way out because its capture was not proved goes all the way, and comes back
 * after a pause. */
static bool turns_round(const struct enrolment *e)
{
    return e->wanted && e->trouble.code == 0;
}

static int step_leave_drain(struct enrolment *e)
{
    struct diag why = {0};

    if (turns_round(e) && !e->work) {
        enter(e, RULES);
        return 0;
    }
    if (!e->work && timer_is_armed(&e->poll)) {
        return -EAGAIN;
    }
    int r = work(e, CAPTURE_COUNT, &why);
    if (r == -EAGAIN) {
        return r;
    }
    bool drained = r == 0 && e->work->count == 0;
    drop_work(e);
    if (drained) {
        enter(e, LEAVE_DEL);
        return 0;
    }
    timer_set(&e->poll, &e->task, ENROLMENT_DRAIN_POLL_MS);
    return -EAGAIN;
}

static int step_leave_del(struct enrolment *e)
{
    if (e->member && zds_member_standing(e->member) < ZDS_LEAVING) {
        zds_member_leave(e->member);
    }
    if (e->member && zds_member_standing(e->member) != ZDS_LEFT) {
        return -EAGAIN;
    }
    drop_member(e);
    enter(e, e->gone && !e->env->probes ? OVER : LEAVE_CLEAR); /* the host's rules know it */
    return 0;
}

static int step_leave_clear(struct enrolment *e)
{
    struct diag why = {0};
    int r = e->netns < 0 ? 0 : work_once(e, CAPTURE_REMOVE, &why);

    if (r == -EAGAIN) {
        return r;
    }
    if (e->gone) {
        enter(e, OVER);
        return 0;
    }
    if (r < 0) {
        return fail(e, LEAVE_CLEAR, &why);
    }
    e->kernel = RULES_NONE;
    drop_netns(e);
    if (e->wanted && e->trouble.code != 0) {
        put_off(e, LOOK);
        return 0;
    }
    all_is_well(e);
    enter(e, OUT);
    return 0;
}

/* The step's time is up. */
static int expire(struct enrolment *e)
{
    struct diag why = {0};

    switch (e->step) {
    case LOOK:
    case RULES:
    case PROVE:
    case ANNOUNCE:
    case LEAVE_ANNOUNCE:
    case LEAVE_RULES:
    case LEAVE_CLEAR:
        drop_work(e);
        drop_write(e);
        e->looked = true;
        (void)FAIL(&why, -ERR_DEADLINE, "%s", steps[e->step].name); /* said by fail */
        return fail(e, e->step == PROVE ? RULES : e->step, &why);
    case ADD:
        log_info(&scope, "waiting for a node proxy", F_STR("name", e->pod->name));
        enter(e, ADD);
        return 0;
    case IN:
        enter(e, RULES);
        return 0;
    case RETRY:
        if (e->resume == ADD && e->member && zds_member_add(e->member, -1) < 0) {
            put_off(e, ADD);
            return 0;
        }
        enter(e, e->resume);
        return 0;
    case LEAVE_TOLD:
        enter(e, LEAVE_RULES);
        return 0;
    case LEAVE_DRAIN:
        log_warn(&scope, "connections did not end in time", F_STR("name", e->pod->name));
        drop_work(e);
        enter(e, LEAVE_DEL);
        return 0;
    case LEAVE_DEL:
        drop_member(e);
        return 0;
    case OUT:
    case OVER:
        break;
    }
    return -EAGAIN;
}

static int step(struct enrolment *e)
{
    if (e->gone && e->step != LEAVE_DEL && e->step != LEAVE_CLEAR && e->step != OVER) {
        drop_work(e);
        drop_write(e);
        enter(e, LEAVE_DEL);
    }
    if (timer_is_due(&e->limit)) {
        timer_clear(&e->limit);
        return expire(e);
    }
    switch (e->step) {
    case OUT:
        return step_out(e);
    case LOOK:
        return step_look(e);
    case ADD:
        return step_add(e);
    case RULES:
        return step_rules(e);
    case PROVE:
        return step_prove(e);
    case ANNOUNCE:
        return step_announce(e);
    case IN:
        return step_in(e);
    case RETRY:
        return step_retry(e);
    case LEAVE_ANNOUNCE:
        return step_leave_announce(e);
    case LEAVE_TOLD:
        return step_leave_told(e);
    case LEAVE_RULES:
        return step_leave_rules(e);
    case LEAVE_DRAIN:
        return step_leave_drain(e);
    case LEAVE_DEL:
        return step_leave_del(e);
    case LEAVE_CLEAR:
        return step_leave_clear(e);
    case OVER:
        return -EAGAIN;
    }
    return -EAGAIN;
}

static void run(struct task *t, unsigned why)
{
    struct enrolment *e = container_of(t, struct enrolment, task);

    (void)why; /* the step knows what it waits for */
    while (step(e) == 0) {
    }
}

struct enrolment *enrolment_new(const struct enrolment_env *env, struct pod *take_pod, bool wanted,
                                struct task *owner)
{
    struct enrolment *e = mem_new(struct enrolment);

    e->env = env;
    e->pod = take_pod;
    e->wanted = wanted;
    e->announced = take_pod->is_announced;
    e->owner = owner;
    e->netns = -1;
    task_init(&e->task, env->loop, "enrolment", run);
    task_wake(&e->task, WAKE_START);
    return e;
}

void enrolment_free(struct enrolment *e)
{
    if (!e) {
        return;
    }
    drop_work(e);
    drop_write(e);
    drop_member(e);
    drop_netns(e);
    timer_clear(&e->limit);
    timer_clear(&e->poll);
    task_fini(&e->task);
    pod_free(e->pod);
    mem_free(e);
}

void enrolment_update(struct enrolment *e, struct pod *take_pod, bool wanted)
{
    /* Whatever is being done: a member may be looked at, or wait for another try. */
    e->lost |= e->announced && e->pod->is_announced && !take_pod->is_announced;
    pod_free(e->pod);
    e->pod = take_pod;
    e->wanted = wanted;
    task_wake(&e->task, WAKE_CONFIG);
}

void enrolment_end(struct enrolment *e)
{
    e->gone = true;
    task_wake(&e->task, WAKE_CONFIG);
}

enum enrolment_standing enrolment_standing(const struct enrolment *e)
{
    return standing_of(e);
}

bool enrolment_is_located(const struct enrolment *e)
{
    return e->looked || e->gone;
}

const struct pod *enrolment_pod(const struct enrolment *e)
{
    return e->pod;
}

const char *enrolment_step_name(const struct enrolment *e)
{
    return steps[e->step].name;
}

const char *enrolment_trouble(const struct enrolment *e)
{
    return e->trouble.text;
}

const struct repairs *enrolment_repairs(const struct enrolment *e)
{
    return &e->repairs;
}
