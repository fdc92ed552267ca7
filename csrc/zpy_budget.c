/* zpy_budget.c: how many bytes of pages may be locked, and how many are. Call these with the lock held. */
#include "zpy_internal.h"
#include "zpy_os.h"

/* Kept back from packed and isolated cells, so that sealed ones can be opened when all else is spent. */
#define RESERVE_PART 8
#define RESERVE_PAGES 4 /* Three are locked with the first secret, one waits for the key of inherited ones. */
/* A refusal may pass, so the kernel is asked again: each time at first, then after twice as many requests each time. */
#define PATIENT_REFUSALS 8U
#define DOUBLINGS 10U

static uint64_t budget = 0;
static uint64_t charged[2] = {0, 0}; /* [1]: by scratch pages, which may use the reserve. */
static uint64_t peak = 0;
/* A sum that the kernel refused: asking for it again and again would cost system calls for each cell. */
static uint64_t refused_at = UINT64_MAX;
static uint32_t refusals = 0;
static uint32_t hold_back = 0; /* Requests to be answered without the kernel. */

static void
forget_refusals(void)
{
    refused_at = UINT64_MAX;
    refusals = 0;
    hold_back = 0;
}

void
zpy_budget_set(uint64_t budget_bytes)
{
    budget = budget_bytes != 0 ? budget_bytes : zpy_os_lock_budget();
    forget_refusals();
}

static uint64_t
reserve(void)
{
    uint64_t const page = zpy_pages_round(1);
    uint64_t const wanted = budget / RESERVE_PART > RESERVE_PAGES * page ? budget / RESERVE_PART : RESERVE_PAGES * page;
    uint64_t const half = budget / 2 > page ? budget / 2 : page;
    return wanted < half ? wanted : half;
}

static bool
fits(uint64_t held, uint64_t bytes, uint64_t limit)
{
    return bytes <= limit && held <= limit - bytes;
}

static bool
is_refused(uint64_t sum)
{
    if (sum < refused_at) {
        return false;
    }
    if (hold_back == 0) {
        return false;
    }
    hold_back--;
    return true;
}

void
zpy_budget_hold(size_t bytes, bool scratch)
{
    charged[scratch] += bytes;
    if (charged[0] + charged[1] > peak) {
        peak = charged[0] + charged[1];
    }
}

bool
zpy_budget_charge(size_t bytes, bool scratch)
{
    uint64_t const held = charged[0] + charged[1];
    uint64_t const kept = reserve();
    bool const spent = !fits(held, bytes, budget) || (!scratch && !fits(charged[0], bytes, budget > kept ? budget - kept : 0));
    if (spent || is_refused(held + bytes)) {
        return false;
    }
    zpy_budget_hold(bytes, scratch);
    return true;
}

bool
zpy_budget_has_reserve(size_t bytes)
{
    return fits(charged[1], bytes, reserve());
}

/* Too much would make the sum wrap, and with it the budget would be spent for ever. */
static void
take_off(size_t bytes, bool scratch)
{
    charged[scratch] -= bytes < charged[scratch] ? bytes : charged[scratch];
}

void
zpy_budget_refund(size_t bytes, bool scratch)
{
    take_off(bytes, scratch);
    forget_refusals();
}

void
zpy_budget_refused(size_t bytes, bool scratch, int status)
{
    uint64_t const sum = charged[0] + charged[1];
    take_off(bytes, scratch);
    if (status == ZPY_LOCK_LIMIT) {
        refused_at = sum;
        refusals += refusals < PATIENT_REFUSALS + DOUBLINGS;
        hold_back = refusals > PATIENT_REFUSALS ? 1U << (refusals - PATIENT_REFUSALS) : 0;
    }
}

void
zpy_budget_after_fork(void)
{
    charged[0] = 0;
    charged[1] = 0;
    peak = 0;
    forget_refusals();
}

void
zpy_budget_stats(struct zpy_stats *stats_out)
{
    stats_out->locked_bytes = charged[0] + charged[1];
    stats_out->peak_locked_bytes = peak;
    stats_out->budget_bytes = budget;
}
