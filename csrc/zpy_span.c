/* zpy_span.c: goes over a span with several workers. While one makes or compares the bytes of its chunk, the others' system calls
 * are under way, and where the order does not matter they keep the device busy together. */
#include "zpy_internal.h"
#include "zpy_os.h"

#include <errno.h>
#include <pthread.h>

#define NOWHERE UINT64_MAX

/* ---- what the workers share ---- */

struct span {
    struct zpy_writer const *writer;
    struct zpy_span_request const *request;
    struct zpy_way const *way;
    struct zpy_filler filler;
    uint64_t start; /* The workers' part of the request, */
    uint64_t stop;
    size_t chunk_bytes; /* and how much each of them takes at a time. */
    size_t workers;
    bool in_turn;
    atomic_bool direct;
    pthread_mutex_t lock; /* Of all that follows. Initialised by its maker and held briefly: locking it cannot fail. */
    pthread_cond_t changed;
    uint64_t taken;     /* Chunks that have a worker, */
    uint64_t finished;  /* and chunks that are done with. */
    uint64_t failed_at; /* Where the first bytes in the file's order are that failed, or NOWHERE. */
    int status;         /* What failed there. */
    struct zpy_span_result result;
};

static void
lock(struct span *span)
{
    (void) pthread_mutex_lock(&span->lock);
}

static void
unlock(struct span *span)
{
    (void) pthread_mutex_unlock(&span->lock);
}

/* Chunks begin at multiples of the block, so that only the last one can end inside a block. */
static bool
take_chunk(struct span *span, size_t worker, struct zpy_chunk *chunk)
{
    struct zpy_writer const *const writer = span->writer;
    lock(span);
    uint64_t const number = span->taken;
    uint64_t const offset = span->start + number * span->chunk_bytes;
    bool const is_there = span->failed_at == NOWHERE && offset < span->stop;
    span->taken += is_there;
    unlock(span);
    if (!is_there) {
        return false;
    }
    uint64_t const left = span->stop - offset;
    *chunk = (struct zpy_chunk){.buffer = writer->buffers + worker * span->chunk_bytes,
                                .scratch = writer->scratches + worker * writer->scratch_bytes,
                                .scratch_bytes = writer->scratch_bytes,
                                .number = number,
                                .offset = offset,
                                .length = left < span->chunk_bytes ? (size_t) left : span->chunk_bytes};
    return true;
}

/* False: an earlier chunk failed, so this one is left alone. */
static bool
await_turn(struct span *span, struct zpy_chunk const *chunk)
{
    lock(span);
    while (span->in_turn && span->finished < chunk->number && span->failed_at == NOWHERE) {
        (void) pthread_cond_wait(&span->changed, &span->lock);
    }
    bool const is_on = !span->in_turn || span->failed_at == NOWHERE;
    unlock(span);
    return is_on;
}

static void
finish_chunk(struct span *span, struct zpy_chunk const *chunk, int status)
{
    uint64_t const reached = chunk->offset + chunk->done;
    lock(span);
    span->finished++;
    span->result.short_calls += chunk->short_calls;
    if (status != ZPY_OK && reached < span->failed_at) {
        span->failed_at = reached;
        span->status = status;
        span->result.system_error = status == ZPY_SYSTEM ? chunk->system_error : 0;
    }
    (void) pthread_cond_broadcast(&span->changed);
    unlock(span);
}

/* ---- one chunk ---- */

/* Under O_DIRECT one failing sector fails a whole call. The parts that it is then tried in, one after the other. */
static size_t const part_bytes[] = {65536, ZPY_BLOCK_BYTES, ZPY_SECTOR_BYTES};
#define SMALLEST (sizeof part_bytes / sizeof part_bytes[0])

static bool
is_device_failure(int error)
{
    return error == EIO || error == ENODATA; /* Linux says ENODATA for a medium's error. */
}

/* Go over to the page cache, for all workers. */
static bool
give_up_direct(struct span *span)
{
    if (!zpy_os_direct(span->request->fd, false)) {
        return false;
    }
    atomic_store(&span->direct, false);
    return true;
}

/* False: no more may be skipped. */
static bool
skip(struct span *span, struct zpy_chunk *chunk, size_t length)
{
    uint64_t const place = chunk->offset + chunk->done;
    struct zpy_span_result *const result = &span->result;
    lock(span);
    bool const is_allowed = length <= span->request->skip_limit - result->skipped_bytes;
    if (is_allowed) {
        result->first_skipped =
            result->skipped_bytes == 0 || place < result->first_skipped ? place : result->first_skipped;
        result->skipped_bytes += length;
        chunk->done += length;
    }
    unlock(span);
    return is_allowed;
}

/* A call moved some of length bytes. */
static int
account(struct span *span, struct zpy_chunk *chunk, size_t moved, size_t length, bool was_direct)
{
    struct zpy_way const *const way = span->way;
    size_t const right = way->check != NULL ? way->check(&span->filler, chunk, moved) : moved;
    chunk->done += right;
    if (right < moved) {
        return ZPY_FORGED;
    }
    if (moved < length) {
        chunk->short_calls++;
        if (was_direct && moved % ZPY_BLOCK_BYTES != 0) {
            (void) give_up_direct(span); /* It ended inside a block, where O_DIRECT cannot go on; the next call tells. */
        }
    }
    return ZPY_OK;
}

/* One call for length bytes. ZPY_SYSTEM with chunk->system_error: it failed; ZPY_OK also when it is to be made again. */
static int
move_once(struct span *span, struct zpy_chunk *chunk, size_t length, bool is_sector)
{
    bool const direct = atomic_load(&span->direct);
    int64_t const moved = span->way->move(span->request, chunk, length, direct);
    int const error = moved < 0 ? errno : EIO;
    if (moved > 0) {
        return account(span, chunk, (size_t) moved, length, direct);
    }
    if (moved == 0) {
        chunk->system_error = span->way->at_end == ZPY_SYSTEM ? EIO : 0;
        return span->way->at_end;
    }
    if (error == EINTR) {
        return ZPY_OK;
    }
    if (error == EINVAL && direct) {
        if (is_sector) {
            chunk->system_error = EIO; /* The device's sectors are larger, and a part of one that fails is asked for. */
            return ZPY_SYSTEM;
        }
        if (give_up_direct(span)) {
            return ZPY_OK;
        }
    }
    chunk->system_error = error;
    return ZPY_SYSTEM;
}

static size_t
next_level(size_t level, size_t length)
{
    while (level < SMALLEST && part_bytes[level] >= length) {
        level++;
    }
    return level;
}

/* Move the chunk up to stop; level: how small the parts are that it was cut into already. */
static int
move_part(struct span *span, struct zpy_chunk *chunk, size_t stop, size_t level)
{
    while (chunk->done < stop) {
        size_t const length = stop - chunk->done;
        int status = move_once(span, chunk, length, level == SMALLEST);
        if (status == ZPY_OK) {
            continue;
        }
        if (status != ZPY_SYSTEM || !is_device_failure(chunk->system_error) || span->request->skip_limit == 0) {
            return status;
        }
        size_t const next = next_level(level, length);
        if (next == SMALLEST && !skip(span, chunk, length)) {
            return status;
        }
        while (chunk->done < stop) {
            size_t const left = stop - chunk->done;
            size_t const part = left < part_bytes[next] ? left : part_bytes[next];
            status = move_part(span, chunk, chunk->done + part, next + 1);
            if (status != ZPY_OK) {
                return status;
            }
        }
    }
    return ZPY_OK;
}

static int
move_chunk(struct span *span, struct zpy_chunk *chunk)
{
    if (span->way->prepare != NULL) {
        span->way->prepare(&span->filler, chunk);
    }
    return await_turn(span, chunk) ? move_part(span, chunk, chunk->length, 0) : ZPY_OK;
}

/* ---- all chunks ---- */

static void
work(struct span *span, size_t worker)
{
    struct zpy_chunk chunk;
    while (take_chunk(span, worker, &chunk)) {
        finish_chunk(span, &chunk, move_chunk(span, &chunk));
    }
    zpy_registers_clear_after_cipher();
}

struct helper {
    struct span *span;
    size_t number;
    pthread_t thread;
};

static void *
help(void *argument)
{
    struct helper const *const helper = argument;
    zpy_fatal_unblock_faults();
    work(helper->span, helper->number);
    return NULL;
}

static void
work_together(struct span *span)
{
    struct helper helpers[ZPY_READERS];
    size_t count = 1; /* The caller is the first worker. */
    while (count < span->workers && span->stop - span->start > count * span->chunk_bytes) {
        helpers[count].span = span;
        helpers[count].number = count;
        if (zpy_os_thread_start(&helpers[count].thread, 0, help, &helpers[count]) != 0) {
            break; /* Without a thread to be had, the others do it all. */
        }
        count++;
    }
    work(span, 0);
    while (--count > 0) {
        (void) pthread_join(helpers[count].thread, NULL); /* Our own joinable thread, which ends with the chunks. */
    }
}

/* Here no other call is under way, which would lose O_DIRECT, too. */
static void
work_on_tail(struct span *span)
{
    span->start = span->stop;
    span->stop = span->request->stop;
    span->taken = span->finished = 0;
    bool const was_direct = atomic_load(&span->direct);
    bool const is_off = was_direct && give_up_direct(span);
    work(span, 0);
    if (is_off) {
        atomic_store(&span->direct, zpy_os_direct(span->request->fd, true));
    }
}

static void
run(struct span *span, bool tail_apart)
{
    struct zpy_span_request const *const request = span->request;
    bool const has_tail = tail_apart && request->direct != 0 && request->stop % ZPY_BLOCK_BYTES != 0;
    span->start = request->start;
    span->stop = has_tail ? request->stop / ZPY_BLOCK_BYTES * ZPY_BLOCK_BYTES : request->stop;
    work_together(span);
    if (has_tail && span->status == ZPY_OK) {
        work_on_tail(span);
    }
    uint64_t const reached = span->failed_at != NOWHERE ? span->failed_at : request->stop;
    span->result.done_bytes = reached - request->start;
    span->result.direct = atomic_load(&span->direct);
}

int
zpy_span_run(struct zpy_writer *writer, struct zpy_span_request const *request, struct zpy_way const *way,
             bool tail_apart, struct zpy_span_result *result_out)
{
    *result_out = (struct zpy_span_result){.direct = request->direct != 0};
    if (request->start > request->stop || request->stop > INT64_MAX || request->start % ZPY_BLOCK_BYTES != 0) {
        return ZPY_INVALID;
    }
    struct span span = {.writer = writer,
                        .request = request,
                        .way = way,
                        .chunk_bytes = way->is_reading ? writer->read_bytes : writer->buffer_bytes,
                        .workers = way->is_reading ? writer->readers : ZPY_WRITERS,
                        .in_turn = !way->is_reading && request->any_order == 0,
                        .lock = PTHREAD_MUTEX_INITIALIZER,
                        .changed = PTHREAD_COND_INITIALIZER,
                        .failed_at = NOWHERE,
                        .status = ZPY_OK};
    atomic_init(&span.direct, request->direct != 0);
    zpy_writer_note_use(writer, way->is_reading, request->stop - request->start);
    int const status = zpy_filler_open(&span.filler, request, writer->has_key ? writer->key : NULL);
    if (status != ZPY_OK) {
        return status;
    }
    run(&span, tail_apart);
    int const state = zpy_filler_close(&span.filler, request);
    *result_out = span.result;
    return span.status != ZPY_OK ? span.status : state;
}
