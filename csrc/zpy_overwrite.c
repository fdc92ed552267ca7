/* zpy_overwrite.c: one span of one pass on one descriptor, with a thread that makes the next buffer while this one is
 * written. */
#include "zpy_internal.h"
#include "zpy_os.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* What every block device and file system in use takes as alignment for O_DIRECT. */
#define BLOCK_BYTES ((uint64_t) 4096)

struct zpy_writer *
zpy_writer_new(size_t buffer_bytes)
{
    if (buffer_bytes == 0 || buffer_bytes % BLOCK_BYTES != 0 || buffer_bytes > SIZE_MAX / 2) {
        errno = EINVAL;
        return NULL;
    }
    struct zpy_writer *const writer = calloc(1, sizeof *writer);
    uint8_t *const both = zpy_os_map(2 * buffer_bytes);
    if (writer == NULL || both == NULL) {
        free(writer);
        if (both != NULL) {
            zpy_os_release(both, 2 * buffer_bytes);
        }
        return NULL;
    }
    writer->buffers[0] = both;
    writer->buffers[1] = writer->buffers[0] + buffer_bytes;
    writer->buffer_bytes = buffer_bytes;
    return writer;
}

/* A verified file was read into a buffer: it may hold old content, so both are zeroed. */
void
zpy_writer_free(struct zpy_writer *writer)
{
    if (writer != NULL) {
        sodium_memzero(writer->buffers[0], 2 * writer->buffer_bytes);
        zpy_os_release(writer->buffers[0], 2 * writer->buffer_bytes);
        free(writer);
    }
}

/* ---- what is written ---- */

int
zpy_filler_open(struct zpy_filler *filler, struct zpy_span_request const *request)
{
    uint8_t *stream_key;
    size_t length;
    *filler = (struct zpy_filler){.stream_number = request->stream_number,
                                  .pattern = request->pattern,
                                  .pattern_bytes = request->pattern_bytes};
    if (request->stream_key == 0) {
        return request->pattern_bytes > 0 ? ZPY_OK : ZPY_INVALID;
    }
    int const status = zpy_cell_pin(request->stream_key, false, &stream_key, &length);
    if (status != ZPY_OK) {
        return status;
    }
    filler->stream_key = stream_key;
    if (length != ZPY_STREAM_KEY_BYTES) {
        (void) zpy_cell_unpin(request->stream_key); /* The answer is that this is no stream key. */
        return ZPY_INVALID;
    }
    return ZPY_OK;
}

int
zpy_filler_close(struct zpy_filler const *filler, struct zpy_span_request const *request)
{
    return filler->stream_key != NULL ? zpy_cell_unpin(request->stream_key) : ZPY_OK;
}

/* ChaCha20 (the original 64-bit counter, 64-bit nonce form) with the file offset as counter: any span of any pass can be
 * made again. offset is a multiple of 64 because spans are cut at BLOCK_BYTES. */
static void
fill_random(struct zpy_filler const *filler, uint8_t *out, size_t length, uint64_t offset)
{
    uint8_t nonce[crypto_stream_chacha20_NONCEBYTES];
    for (size_t index = 0; index < sizeof nonce; index++) {
        nonce[index] = (uint8_t) (filler->stream_number >> (8 * index));
    }
    memset(out, 0, length);
    (void) crypto_stream_chacha20_xor_ic(out, out, length, nonce, offset / 64, filler->stream_key); /* Always 0. */
}

static void
fill_pattern(struct zpy_filler const *filler, uint8_t *out, size_t length, uint64_t offset)
{
    size_t const period = filler->pattern_bytes;
    if (period == 1) {
        memset(out, filler->pattern[0], length);
        return;
    }
    size_t const phase = (size_t) (offset % period);
    size_t done = 0;
    while (done < length && done < period) { /* One period by hand, then doubled. */
        out[done] = filler->pattern[(phase + done) % period];
        done++;
    }
    while (done < length) {
        size_t const piece = done < length - done ? done : length - done; /* done is a multiple of the period here. */
        memcpy(out + done, out, piece);
        done += piece;
    }
}

void
zpy_filler_fill(struct zpy_filler const *filler, uint8_t *out, size_t length, uint64_t offset)
{
    if (filler->stream_key != NULL) {
        fill_random(filler, out, length, offset);
    } else {
        fill_pattern(filler, out, length, offset);
    }
}

/* ---- writing ---- */

/* Write one chunk to its end. Under O_DIRECT only whole blocks are written; the caller turns it off for the tail. */
static int
write_chunk(int fd, uint8_t const *bytes, size_t length, uint64_t offset, struct zpy_span_result *result)
{
    size_t done = 0;
    while (done < length) {
        int64_t const wrote = zpy_os_write_at(fd, bytes + done, length - done, offset + done);
        if (wrote > 0) {
            done += (size_t) wrote;
            result->done_bytes += (uint64_t) wrote;
            result->short_calls += done < length;
            if (result->direct && (size_t) wrote % BLOCK_BYTES != 0 && done < length) {
                /* A short direct write ended inside a block: go on through the page cache. */
                result->direct = !zpy_os_direct(fd, false);
            }
        } else if (wrote == 0) {
            result->system_error = EIO;
            return ZPY_SYSTEM;
        } else if (errno == EINVAL && result->direct) {
            if (!zpy_os_direct(fd, false)) {
                result->system_error = EINVAL;
                return ZPY_SYSTEM;
            }
            result->direct = 0;
        } else if (errno != EINTR) {
            result->system_error = errno;
            return ZPY_SYSTEM;
        }
    }
    return ZPY_OK;
}

/* ---- two buffers between one maker and one writer ---- */

struct pipeline {
    struct zpy_writer const *writer;
    struct zpy_filler const *filler;
    uint64_t start;
    uint64_t stop;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    uint64_t made;    /* Chunks filled so far, */
    uint64_t written; /* and written so far: made - written is 0, 1 or 2. */
    bool stopped;
};

/* Chunks begin at multiples of the block, so that only the last one can end inside a block. */
static uint64_t
chunk_start(struct pipeline const *line, uint64_t number)
{
    return line->start + number * line->writer->buffer_bytes;
}

static size_t
chunk_bytes(struct pipeline const *line, uint64_t number)
{
    uint64_t const left = line->stop - chunk_start(line, number);
    return left < line->writer->buffer_bytes ? (size_t) left : line->writer->buffer_bytes;
}

static uint64_t
chunk_count(struct pipeline const *line)
{
    return (line->stop - line->start + line->writer->buffer_bytes - 1) / line->writer->buffer_bytes;
}

static void
make_chunk(struct pipeline const *line, uint64_t number)
{
    zpy_filler_fill(line->filler, line->writer->buffers[number % 2], chunk_bytes(line, number), chunk_start(line, number));
}

static void *
make_chunks(void *argument)
{
    struct pipeline *const line = argument;
    uint64_t const count = chunk_count(line);
    for (uint64_t number = 0; number < count; number++) {
        (void) pthread_mutex_lock(&line->lock); /* Initialised by our starter and held briefly: cannot fail. */
        while (!line->stopped && number - line->written >= 2) {
            (void) pthread_cond_wait(&line->changed, &line->lock);
        }
        bool const stopped = line->stopped;
        (void) pthread_mutex_unlock(&line->lock);
        if (stopped) {
            break;
        }
        make_chunk(line, number);
        (void) pthread_mutex_lock(&line->lock);
        line->made = number + 1;
        (void) pthread_cond_signal(&line->changed);
        (void) pthread_mutex_unlock(&line->lock);
    }
    return NULL;
}

static void
wait_for_chunk(struct pipeline *line, uint64_t number)
{
    (void) pthread_mutex_lock(&line->lock);
    while (line->made <= number) {
        (void) pthread_cond_wait(&line->changed, &line->lock);
    }
    (void) pthread_mutex_unlock(&line->lock);
}

static void
report_written(struct pipeline *line, uint64_t written, bool stopped)
{
    (void) pthread_mutex_lock(&line->lock);
    line->written = written;
    line->stopped = stopped;
    (void) pthread_cond_signal(&line->changed);
    (void) pthread_mutex_unlock(&line->lock);
}

static int
write_chunks(struct pipeline *line, int fd, bool has_maker, struct zpy_span_result *result)
{
    uint64_t const count = chunk_count(line);
    int status = ZPY_OK;
    for (uint64_t number = 0; number < count && status == ZPY_OK; number++) {
        size_t const length = chunk_bytes(line, number);
        if (has_maker) {
            wait_for_chunk(line, number);
        } else {
            make_chunk(line, number);
        }
        bool const tail = result->direct && length % BLOCK_BYTES != 0;
        size_t const whole = tail ? length / BLOCK_BYTES * BLOCK_BYTES : length;
        uint8_t const *const bytes = line->writer->buffers[number % 2];
        status = write_chunk(fd, bytes, whole, chunk_start(line, number), result);
        if (status == ZPY_OK && tail) {
            bool const was_direct = result->direct;
            result->direct = was_direct && !zpy_os_direct(fd, false);
            status = write_chunk(fd, bytes + whole, length - whole, chunk_start(line, number) + whole, result);
            result->direct = was_direct && zpy_os_direct(fd, true);
        }
        if (has_maker) {
            report_written(line, number + 1, status != ZPY_OK);
        }
    }
    return status;
}

int
zpy_overwrite_span(struct zpy_writer *writer, struct zpy_span_request const *request,
                   struct zpy_span_result *result_out)
{
    struct zpy_filler filler;
    *result_out = (struct zpy_span_result){.direct = request->direct != 0};
    if (request->start > request->stop || request->stop > INT64_MAX || request->start % BLOCK_BYTES != 0) {
        return ZPY_INVALID;
    }
    int status = zpy_filler_open(&filler, request);
    if (status != ZPY_OK) {
        return status;
    }
    struct pipeline line = {.writer = writer,
                            .filler = &filler,
                            .start = request->start,
                            .stop = request->stop,
                            .lock = PTHREAD_MUTEX_INITIALIZER,
                            .changed = PTHREAD_COND_INITIALIZER};
    pthread_t maker;
    /* Without a second buffer to make, or without a thread to be had, the writer makes its own. */
    bool const has_maker = chunk_count(&line) > 1 && zpy_os_thread_start(&maker, 0, make_chunks, &line) == 0;
    status = write_chunks(&line, request->fd, has_maker, result_out);
    if (has_maker) {
        (void) pthread_join(maker, NULL); /* Our own joinable thread, told to end. */
    }
    int const state = zpy_filler_close(&filler, request);
    return status != ZPY_OK ? status : state;
}
