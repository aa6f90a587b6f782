/* SPDX-License-Identifier: Apache-2.0 */
#include "node/local_pod.h"

#include <assert.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/num.h"
#include "node/local_object.h"
#include "node/local_token.h"
#include "node/ready_probe.h"
#include "node/shim.h"
#include "node/shim_watch.h"

static struct log_scope scope = LOG_SCOPE("local");

enum {
    WRITE_LIMIT_MS = 15000,
    WORK_LIMIT_MS = 60000,
    ENROL_LIMIT_MS = 60000,
    STOP_LIMIT_MS = (SHIM_GRACE_S + 5) * 1000,
    STOP_WAYPOINT_LIMIT_MS = (SHIM_WAYPOINT_GRACE_S + 5) * 1000,
    UNENROL_LIMIT_MS = 30000,
    PAUSE_FIRST_MS = 1000,
    PAUSE_WAYPOINT_MS = 100, /* others depend on it */
    PAUSE_LAST_MS = 60000,
    POOL_PAUSE_MS = 100, /* before a full job pool is asked again */
    RAN_WELL_MS = 30000, /* after that long an end is not the same trouble as before */
    READY_PORT = 15021   /* of a waypoint (contract 3.14) */
};

enum step {
    PREPARE,  /* folder and record are being made */
    CREATE,   /* the pod object is being made */
    TOKEN,    /* a waypoint's token is being fetched */
    NETWORK,  /* namespace and link are being made */
    ADDRESS,  /* the pod object is told its addresses */
    ENROL,    /* the agent brings it into the mesh, or finds that it does not belong there */
    LAUNCH,   /* the command is being started */
    READY,    /* it runs; the pod object is being told */
    RUN,      /* it runs */
    STOP,     /* it was asked to end */
    EXIT,     /* it has ended; how? */
    PAUSE,    /* before it is started again */
    REMOVE,   /* the pod object is being removed */
    UNENROL,  /* proxies are letting go */
    TEARDOWN, /* what is left is being removed */
    AGAIN,    /* the step in resume failed and waits for another try */
    GONE
};

static const struct {
    const char *name;
    unsigned may_go;
    unsigned limit_ms;
    enum local_state state;
} steps[] = {
    [PREPARE] = {"prepare", BIT(CREATE) | BIT(TOKEN) | BIT(TEARDOWN), WORK_LIMIT_MS,
                 LOCAL_STARTING},
    [CREATE] = {"create", BIT(NETWORK) | BIT(TEARDOWN) | BIT(REMOVE), WRITE_LIMIT_MS,
                LOCAL_STARTING},
    [TOKEN] = {"token", BIT(NETWORK) | BIT(REMOVE) | BIT(TEARDOWN), WRITE_LIMIT_MS, LOCAL_STARTING},
    [NETWORK] = {"network", BIT(ADDRESS) | BIT(REMOVE) | BIT(TEARDOWN), WORK_LIMIT_MS,
                 LOCAL_STARTING},
    [ADDRESS] = {"address", BIT(ENROL) | BIT(REMOVE) | BIT(TEARDOWN), WRITE_LIMIT_MS,
                 LOCAL_STARTING},
    [ENROL] = {"enrol", BIT(LAUNCH) | BIT(REMOVE) | BIT(TEARDOWN), ENROL_LIMIT_MS, LOCAL_STARTING},
    [LAUNCH] = {"launch", BIT(READY) | BIT(RUN) | BIT(REMOVE) | BIT(TEARDOWN), WORK_LIMIT_MS,
                LOCAL_STARTING},
    [READY] = {"ready", BIT(RUN) | BIT(EXIT) | BIT(STOP), WRITE_LIMIT_MS, LOCAL_RUNNING},
    [RUN] = {"run", BIT(READY) | BIT(EXIT) | BIT(STOP), 0, LOCAL_RUNNING},
    [STOP] = {"stop", BIT(EXIT) | BIT(REMOVE), STOP_LIMIT_MS, LOCAL_STOPPING},
    [EXIT] = {"exit", BIT(PAUSE) | BIT(REMOVE), WORK_LIMIT_MS, LOCAL_STOPPING},
    [PAUSE] = {"pause", BIT(LAUNCH) | BIT(REMOVE), 0, LOCAL_WAITING},
    [REMOVE] = {"remove", BIT(UNENROL) | BIT(AGAIN), WRITE_LIMIT_MS, LOCAL_STOPPING},
    [UNENROL] = {"unenrol", BIT(TEARDOWN), UNENROL_LIMIT_MS, LOCAL_STOPPING},
    [TEARDOWN] = {"teardown", BIT(GONE) | BIT(AGAIN), WORK_LIMIT_MS, LOCAL_STOPPING},
    [AGAIN] = {"again", BIT(REMOVE) | BIT(TEARDOWN), 0, LOCAL_STOPPING},
    [GONE] = {"gone", 0, 0, LOCAL_GONE},
};

struct local_pod {
    const struct local_env *env;
    struct task task;
    struct task *owner;
    struct timer limit;
    struct timer pool; /* of EXIT */
    enum step step;
    enum step resume;
    struct local_record record;
    int stdio[LOCAL_STDIO]; /* until the first launch */
    struct shim_watch shim;
    struct local_work *work;
    struct local_object object;
    struct local_exit exit;
    bool has_started;
    bool has_exit;
    bool stopping; /* somebody asked for it: no restart */
    unsigned pause_ms;
    unsigned syncs; /* of the agent, when a try to remove failed */
    uint64_t started_ms;
    struct local_token *token; /* of a waypoint, like the next two; NULL until its first step */
    struct ready_probe *probe; /* NULL while it does not run */
    enum ready_verdict told;   /* what the pod object says */
    bool failure_told;         /* it says, or could not be made to say, why it does not start */
    struct diag failure;
};

static bool is_waypoint(const struct local_pod *p)
{
    return p->record.spec.waypoint != NULL;
}

static unsigned limit_of(const struct local_pod *p, enum step next)
{
    if (next == STOP && is_waypoint(p)) {
        return STOP_WAYPOINT_LIMIT_MS;
    }
    return next == PAUSE || next == AGAIN ? p->pause_ms : steps[next].limit_ms;
}

static void enter(struct local_pod *p, enum step next)
{
    assert(steps[p->step].may_go & BIT(next));
    log_debug(&scope, "local workload", F_STR("name", p->record.spec.name),
              F_STR("step", steps[next].name));
    p->step = next;
    timer_clear(&p->limit);
    timer_clear(&p->pool);
    if (limit_of(p, next) > 0) {
        timer_set(&p->limit, &p->task, limit_of(p, next));
    }
    task_wake(p->owner, WAKE_CHILD);
}

static void grow_pause(struct local_pod *p)
{
    unsigned first = is_waypoint(p) ? PAUSE_WAYPOINT_MS : PAUSE_FIRST_MS;

    p->pause_ms = p->pause_ms > 0 ? MIN_OF(p->pause_ms * 2, PAUSE_LAST_MS) : first;
}

/* What keeps it from starting ends it. A waypoint's pod object stays: its owner tries again. */
static int give_up(struct local_pod *p, enum step next, const struct diag *why)
{
    if (why->code == 0) {
        enter(p, next); /* it was asked to stop */
        return 0;
    }
    if (is_waypoint(p)) {
        next = TEARDOWN;
    }
    log_warn(&scope, "local workload cannot start", F_STR("namespace", p->record.spec.namespace),
             F_STR("name", p->record.spec.name), F_DIAG(why));
    p->failure = *why;
    local_stdio_close(p->stdio); /* whoever reads the other end need not wait for the removal */
    enter(p, next);
    return 0;
}

/* What keeps it from being removed is tried again. */
static int try_again(struct local_pod *p, const struct diag *why)
{
    log_warn(&scope, "local workload cannot be removed yet", F_STR("name", p->record.spec.name),
             F_DIAG(why));
    p->resume = p->step;
    p->syncs = agent_syncs(p->env->agent);
    grow_pause(p);
    enter(p, AGAIN);
    return 0;
}

/* ---- work: started at the first call, -EAGAIN until done */

static int work(struct local_pod *p, enum local_work_kind kind, struct diag *why)
{
    if (!p->work) {
        p->work = local_work_start(p->env->jobs, kind, &p->record, p->stdio, &p->task);
    }
    if (!p->work) {
        return FAIL(why, -ERR_LIMIT, "job pool");
    }
    if (!job_is_done(&p->work->job)) {
        return -EAGAIN;
    }
    *why = p->work->why;
    return p->work->result;
}

static void drop_work(struct local_pod *p)
{
    local_work_drop(MOVE(p->work));
}

static int work_once(struct local_pod *p, enum local_work_kind kind, struct diag *why)
{
    int r = work(p, kind, why);

    if (r != -EAGAIN) {
        drop_work(p);
    }
    return r;
}

/* ---- steps */

static int step_prepare(struct local_pod *p)
{
    struct diag why = {0};
    int r = work_once(p, LOCAL_WORK_PREPARE, &why);

    if (r == -EAGAIN) {
        return r;
    }
    if (r < 0 || p->stopping) {
        return give_up(p, TEARDOWN, &why);
    }
    enter(p, is_waypoint(p) ? TOKEN : CREATE);
    return 0;
}

static int step_token(struct local_pod *p)
{
    struct diag why = {0};

    if (p->stopping) {
        return give_up(p, REMOVE, &why);
    }
    if (!p->token) {
        p->token = local_token_new(p->env, &p->record, &p->task);
    }
    if (!local_token_is_there(p->token)) {
        return -EAGAIN;
    }
    enter(p, NETWORK);
    return 0;
}

/* A pod of that name which is not ours stays what it is. */
static int step_create(struct local_pod *p)
{
    struct diag why = {0};
    char *uid;
    int r = local_object_create(&p->object, &uid, &why);

    if (r == -EAGAIN) {
        return r;
    }
    if (r < 0) {
        return give_up(p, r == -ERR_EXISTS ? TEARDOWN : REMOVE, &why);
    }
    mem_free(p->record.uid);
    p->record.uid = uid;
    enter(p, NETWORK);
    return 0;
}

static int step_network(struct local_pod *p)
{
    struct diag why = {0};
    int r = work_once(p, LOCAL_WORK_NETWORK, &why);

    if (r == -EAGAIN) {
        return r;
    }
    if (r < 0 || p->stopping) {
        return give_up(p, REMOVE, &why);
    }
    enter(p, ADDRESS);
    return 0;
}

static int step_address(struct local_pod *p)
{
    struct diag why = {0};
    int r = local_object_tell(&p->object, POD_PENDING, false, NULL, &why);

    if (r == -EAGAIN) {
        return r;
    }
    if (r < 0 || p->stopping) {
        return give_up(p, REMOVE, &why);
    }
    enter(p, ENROL);
    return 0;
}

static int step_enrol(struct local_pod *p)
{
    const struct enrolment *e = local_pod_enrolment(p);
    struct diag why = {0};

    if (p->stopping) {
        return give_up(p, REMOVE, &why);
    }
    if (!e || enrolment_pod(e)->ip_count == 0 || !enrolment_is_located(e)) {
        return -EAGAIN;
    }
    enum enrolment_standing s = enrolment_standing(e);
    if (s == ENROLMENT_IN || s == ENROLMENT_OUT) {
        enter(p, LAUNCH);
        return 0;
    }
    return -EAGAIN;
}

/* From now on its program says whether it is ready. */
static void watch_program(struct local_pod *p)
{
    struct endpoint at = {.ip = p->record.ips[0], .port = READY_PORT};

    if (!is_waypoint(p)) {
        return;
    }
    if (!p->probe) {
        p->probe = ready_probe_new(p->env->loop, &at, &p->task);
    }
    if (!p->token) {
        p->token = local_token_new(p->env, &p->record, &p->task);
    }
}

static void unwatch_program(struct local_pod *p)
{
    ready_probe_free(MOVE(p->probe));
    p->told = READY_UNKNOWN;
}

static int watch_shim(struct local_pod *p)
{
    return shim_watch_start(&p->shim, p->env->loop, &p->task, p->record.shim, p->record.start_time);
}

static int step_launch(struct local_pod *p)
{
    struct diag why = {0};
    int r = work(p, LOCAL_WORK_LAUNCH, &why);

    if (r == -EAGAIN) {
        return r;
    }
    if (r == 0) {
        p->record.shim = p->work->shim;
        p->record.command = p->work->command;
        p->record.start_time = p->work->start_time;
        r = watch_shim(p);
        if (r < 0) {
            (void)FAIL(&why, r, "watch the shim"); /* said by give_up */
        }
    }
    drop_work(p);
    if (r < 0) {
        return give_up(p, REMOVE, &why);
    }
    if (p->record.spec.restart == LOCAL_RESTART_NEVER) {
        local_stdio_close(p->stdio);
    }
    log_info(&scope, "local workload runs", F_STR("namespace", p->record.spec.namespace),
             F_STR("name", p->record.spec.name), F_U64("pid", p->record.command));
    p->has_started = true;
    p->started_ms = loop_now_ms(p->env->loop);
    watch_program(p);
    enter(p, is_waypoint(p) ? RUN : READY);
    return 0;
}

/* It has ended or was asked to: another step has been entered. */
static bool is_over(struct local_pod *p)
{
    if (shim_watch_has_ended(&p->shim)) {
        enter(p, EXIT);
        return true;
    }
    if (p->stopping) {
        (void)shim_watch_signal(&p->shim,
                                SIGTERM); /* one that has just ended is noticed next time */
        enter(p, STOP);
        return true;
    }
    return false;
}

/* The API may be away while the command runs: then its readiness is told later. */
static int step_ready(struct local_pod *p)
{
    struct diag why = {0};

    if (is_over(p)) {
        local_object_drop(&p->object);
        return 0;
    }
    bool ready = !p->probe || p->told == READY_YES;
    int r = local_object_tell(&p->object, POD_RUNNING, ready, NULL, &why);
    if (r == -EAGAIN) {
        return r;
    }
    if (r < 0) {
        log_warn(&scope, "pod object is not up to date", F_STR("name", p->record.spec.name),
                 F_DIAG(&why));
        grow_pause(p);
        enter(p, RUN);
        timer_set(&p->limit, &p->task, p->pause_ms);
        return 0;
    }
    if (!is_waypoint(p)) {
        p->pause_ms = 0;
    }
    enter(p, RUN);
    return 0;
}

/* The pod object does not say what the program says. */
static bool is_untold(const struct local_pod *p)
{
    enum ready_verdict now = p->probe ? ready_probe_verdict(p->probe) : READY_UNKNOWN;

    return now != READY_UNKNOWN && now != p->told;
}

static int step_run(struct local_pod *p)
{
    if (is_over(p)) {
        return 0;
    }
    if (is_untold(p)) {
        p->told = ready_probe_verdict(p->probe);
        log_info(&scope, p->told == READY_YES ? "waypoint is ready" : "waypoint is not ready",
                 F_STR("namespace", p->record.spec.namespace), F_STR("name", p->record.spec.name));
        enter(p, READY);
        return 0;
    }
    shim_watch_wait(&p->shim);
    return -EAGAIN;
}

/* Nobody is sent to a waypoint that does not run, or will soon not. Said once: what fails here is put
 * right by its next start, or by its end. */
static void tell_down(struct local_pod *p)
{
    struct diag why = {0};

    if (is_waypoint(p) && p->told != READY_NO &&
        local_object_tell(&p->object, POD_RUNNING, false, NULL, &why) != -EAGAIN) {
        p->told = READY_NO;
    }
}

static int step_stop(struct local_pod *p)
{
    if (shim_watch_has_ended(&p->shim)) {
        local_object_drop(&p->object);
        enter(p, EXIT);
        return 0;
    }
    tell_down(p);
    shim_watch_wait(&p->shim);
    return -EAGAIN;
}

static bool starts_again(const struct local_pod *p)
{
    switch (p->record.spec.restart) {
    case LOCAL_RESTART_NEVER:
        return false;
    case LOCAL_RESTART_ON_FAILURE:
        return !p->stopping && p->exit.code != 0;
    case LOCAL_RESTART_ALWAYS:
        return !p->stopping;
    }
    return false;
}

static int step_exit(struct local_pod *p)
{
    struct diag why = {0};
    int r = work(p, LOCAL_WORK_EXIT, &why);

    if (r == -EAGAIN) {
        return r;
    }
    if (!p->work) { /* the pool is full; how it ended will still be written there */
        timer_set(&p->pool, &p->task, POOL_PAUSE_MS);
        return -EAGAIN;
    }
    p->exit = r == 0 ? p->work->exit : (struct local_exit){.code = 128};
    p->has_exit = true;
    drop_work(p);
    shim_watch_stop(&p->shim);
    unwatch_program(p);
    p->record.shim = 0;
    log_info(&scope, "local workload ended", F_STR("namespace", p->record.spec.namespace),
             F_STR("name", p->record.spec.name), F_I64("code", p->exit.code),
             F_STR("output", p->exit.last));
    if (starts_again(p)) {
        p->record.restarts++;
        if (is_waypoint(p) && loop_now_ms(p->env->loop) - p->started_ms >= RAN_WELL_MS) {
            p->pause_ms = 0;
        }
        grow_pause(p);
        enter(p, PAUSE);
    } else {
        p->pause_ms = 0;
        enter(p, REMOVE);
    }
    return 0;
}

static int step_pause(struct local_pod *p)
{
    if (p->stopping) {
        local_object_drop(&p->object);
        enter(p, REMOVE);
        return 0;
    }
    tell_down(p);
    return -EAGAIN;
}

static int step_remove(struct local_pod *p)
{
    struct diag why = {0};
    int r = local_object_remove(&p->object, &why);

    if (r == -EAGAIN) {
        return r;
    }
    if (r < 0 && r != -ERR_NOT_FOUND) {
        return try_again(p, &why);
    }
    enter(p, UNENROL);
    return 0;
}

static int step_unenrol(struct local_pod *p)
{
    if (p->record.uid[0] != '\0' && agent_find(p->env->agent, p->record.uid)) {
        return -EAGAIN;
    }
    enter(p, TEARDOWN);
    return 0;
}

/* The pod object of a waypoint outlives an attempt to run it: it says why that failed. */
static int tell_failure(struct local_pod *p)
{
    struct diag why = {0};

    if (is_waypoint(p) && p->failure.code < 0 && !p->failure_told) {
        int r = local_object_tell(&p->object, POD_PENDING, false, p->failure.text, &why);
        if (r == -EAGAIN) {
            return r;
        }
        p->failure_told = true;
    }
    return 0;
}

static int step_teardown(struct local_pod *p)
{
    struct diag why = {0};

    if (tell_failure(p) == -EAGAIN) {
        return -EAGAIN;
    }
    int r = work_once(p, LOCAL_WORK_TEARDOWN, &why);

    if (r == -EAGAIN) {
        return r;
    }
    if (r < 0) {
        return try_again(p, &why);
    }
    enter(p, GONE);
    return 0;
}

/* Before the pause is over if what kept it is likely to have been the API, which is back. */
static int step_again(struct local_pod *p)
{
    if (p->syncs == agent_syncs(p->env->agent)) {
        return -EAGAIN;
    }
    p->pause_ms = 0;
    enter(p, p->resume);
    return 0;
}

/* The step's time is up. */
static int expire(struct local_pod *p)
{
    const struct enrolment *e = local_pod_enrolment(p);
    struct diag why = {0};

    drop_work(p);
    local_object_drop(&p->object);
    const char *trouble = p->step == ENROL && e ? enrolment_trouble(e) : "";
    (void)FAIL(&why, -ERR_DEADLINE, "%s took too long: %s", steps[p->step].name,
               *trouble ? trouble : "no answer"); /* said below */
    switch (p->step) {
    case PREPARE:
        return give_up(p, TEARDOWN, &why);
    case TOKEN:
        if (p->token && local_token_trouble(p->token)->code < 0) {
            why = *local_token_trouble(p->token);
        }
        return give_up(p, REMOVE, &why);
    case CREATE:
    case NETWORK:
    case ADDRESS:
    case ENROL:
    case LAUNCH:
        return give_up(p, REMOVE, &why);
    case READY:
        enter(p, RUN);
        timer_set(&p->limit, &p->task, PAUSE_FIRST_MS);
        return 0;
    case RUN:
        enter(p, READY);
        return 0;
    case STOP:
        (void)shim_watch_signal(&p->shim, SIGKILL); /* its command dies with it */
        enter(p, EXIT);
        return 0;
    case EXIT:
        p->record.shim = 0;
        enter(p, REMOVE);
        return 0;
    case PAUSE:
        enter(p, LAUNCH);
        return 0;
    case REMOVE:
        return try_again(p, &why);
    case TEARDOWN:
        p->failure_told = true;
        return try_again(p, &why);
    case UNENROL:
        enter(p, TEARDOWN);
        return 0;
    case AGAIN:
        enter(p, p->resume);
        return 0;
    case GONE:
        break;
    }
    return -EAGAIN;
}

/* GONE has none. */
static int (*const step_of[GONE + 1])(struct local_pod *p) = {
    [PREPARE] = step_prepare, [CREATE] = step_create,   [TOKEN] = step_token,
    [NETWORK] = step_network, [ADDRESS] = step_address, [ENROL] = step_enrol,
    [LAUNCH] = step_launch,   [READY] = step_ready,     [RUN] = step_run,
    [STOP] = step_stop,       [EXIT] = step_exit,       [PAUSE] = step_pause,
    [REMOVE] = step_remove,   [UNENROL] = step_unenrol, [TEARDOWN] = step_teardown,
    [AGAIN] = step_again,
};

static int step(struct local_pod *p)
{
    if (timer_is_due(&p->limit)) {
        timer_clear(&p->limit);
        return expire(p);
    }
    return step_of[p->step] ? step_of[p->step](p) : -EAGAIN;
}

static void run(struct task *t, unsigned why)
{
    struct local_pod *p = container_of(t, struct local_pod, task);

    (void)why; /* the step knows what it waits for */
    while (step(p) == 0) {
    }
}

static struct local_pod *make(const struct local_env *env, struct local_record *take_record,
                              enum step first, struct task *owner)
{
    struct local_pod *p = mem_new(struct local_pod);

    p->env = env;
    p->owner = owner;
    p->record = *take_record;
    shim_watch_init(&p->shim);
    p->step = first;
    for (int i = 0; i < LOCAL_STDIO; i++) {
        p->stdio[i] = -1;
    }
    task_init(&p->task, env->loop, "local workload", run);
    p->object = (struct local_object){.env = env, .record = &p->record, .task = &p->task};
    if (steps[first].limit_ms > 0) {
        timer_set(&p->limit, &p->task, steps[first].limit_ms);
    }
    task_wake(&p->task, WAKE_START);
    return p;
}

struct local_pod *local_pod_new(const struct local_env *env, struct local_record *take_record,
                                int take_stdio[static LOCAL_STDIO], struct task *owner)
{
    struct local_pod *p = make(env, take_record, PREPARE, owner);

    memcpy(p->stdio, take_stdio, sizeof(p->stdio));
    return p;
}

/* A start that an agent did not finish is undone; a command that ended meanwhile is followed up. */
struct local_pod *local_pod_adopt(const struct local_env *env, struct local_record *take_record,
                                  struct task *owner)
{
    bool started = take_record->shim > 0;
    bool given = take_record->spec.waypoint != NULL;
    enum step first = given ? (started ? RUN : TEARDOWN) : (started ? READY : REMOVE);
    struct local_pod *p = make(env, take_record, first, owner);

    if (started && watch_shim(p) < 0) {
        enter(p, EXIT);
    } else if (started) {
        p->has_started = true; /* so that it ends if its pod went meanwhile */
        p->started_ms = loop_now_ms(env->loop);
        watch_program(p);
    }
    return p;
}

void local_pod_free(struct local_pod *p)
{
    if (!p) {
        return;
    }
    drop_work(p);
    local_object_drop(&p->object);
    local_stdio_close(p->stdio);
    shim_watch_stop(&p->shim);
    unwatch_program(p);
    local_token_free(p->token);
    timer_clear(&p->limit);
    timer_clear(&p->pool);
    task_fini(&p->task);
    local_record_fini(&p->record);
    mem_free(p);
}

void local_pod_stop(struct local_pod *p)
{
    p->stopping = true;
    task_wake(&p->task, WAKE_CONFIG);
}

void local_pod_poke(struct local_pod *p)
{
    task_wake(&p->task, WAKE_CHILD);
}

int local_pod_signal(struct local_pod *p, int signal)
{
    return shim_watch_signal(&p->shim, signal);
}

enum local_state local_pod_state(const struct local_pod *p)
{
    return steps[p->step].state;
}

const struct local_record *local_pod_record(const struct local_pod *p)
{
    return &p->record;
}

bool local_pod_is_stuck(const struct local_pod *p)
{
    return p->step == AGAIN;
}

bool local_pod_has_started(const struct local_pod *p)
{
    return p->has_started;
}

const struct local_exit *local_pod_exit(const struct local_pod *p)
{
    return p->has_exit ? &p->exit : NULL;
}

int local_pod_failure(const struct local_pod *p, const char **out_text)
{
    *out_text = p->failure.text;
    return p->failure.code;
}

const char *local_pod_step(const struct local_pod *p)
{
    return steps[p->step].name;
}

bool local_pod_is_ready(const struct local_pod *p)
{
    return p->told == READY_YES;
}

const struct enrolment *local_pod_enrolment(const struct local_pod *p)
{
    return agent_find(p->env->agent, p->record.uid ? p->record.uid : "");
}
