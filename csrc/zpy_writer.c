/* zpy_writer.c: the memory for going over spans: buffers for those who write, or for those who read and compare. */
#include "zpy_internal.h"
#include "zpy_os.h"

#include <errno.h>
#include <stdlib.h>

#define READ_BYTES ((size_t) 1 << 20) /* What each reader takes at a time, unless the buffers are smaller or much larger. */
#define SCRATCH_BYTES ((size_t) 65536)

/* Shares the readers' memory out; small buffers grow to twice their size for that, since it takes many reads at once. Returns
 * what all buffers take. */
static size_t
plan_readers(struct zpy_writer *writer)
{
    size_t const most = ZPY_READERS * READ_BYTES;
    size_t const for_writers = ZPY_WRITERS * writer->buffer_bytes;
    size_t const wanted = 2 * for_writers < most ? 2 * for_writers : most;
    size_t const room = for_writers < wanted ? wanted : for_writers;
    size_t const each = writer->buffer_bytes < READ_BYTES ? writer->buffer_bytes : READ_BYTES;
    writer->readers = room / each < ZPY_READERS ? room / each : ZPY_READERS;
    writer->read_bytes = room / writer->readers / ZPY_BLOCK_BYTES * ZPY_BLOCK_BYTES;
    return room;
}

/* A call with O_DIRECT on scattered small pages is cut into many requests to the device. On large pages it is not, if they
 * begin where large pages do. */
struct zpy_writer *
zpy_writer_new(size_t buffer_bytes)
{
    if (buffer_bytes == 0 || buffer_bytes % ZPY_BLOCK_BYTES != 0 || buffer_bytes > SIZE_MAX / 8) {
        errno = EINVAL;
        return NULL;
    }
    struct zpy_writer *const writer = calloc(1, sizeof *writer);
    if (writer == NULL) {
        return NULL;
    }
    writer->buffer_bytes = buffer_bytes;
    writer->scratch_bytes = buffer_bytes < SCRATCH_BYTES ? buffer_bytes : SCRATCH_BYTES;
    size_t const all_bytes = plan_readers(writer);
    size_t const room = all_bytes < ZPY_LARGE_PAGE_BYTES ? 0 : ZPY_LARGE_PAGE_BYTES;
    writer->mapped_bytes = room + all_bytes + writer->readers * writer->scratch_bytes;
    writer->mapped = zpy_os_map(writer->mapped_bytes);
    if (writer->mapped == NULL) {
        free(writer);
        return NULL;
    }
    writer->buffers = writer->mapped;
    if (room != 0) {
        writer->buffers += (room - (uintptr_t) writer->mapped % room) % room;
        zpy_os_prefer_large_pages(writer->buffers, all_bytes);
    }
    writer->scratches = writer->buffers + all_bytes;
    return writer;
}

/* A verified file was read into the buffers: they may hold old content, so they are zeroed. What was never written to is left
 * alone: zeroing would make the system find memory for it. */
void
zpy_writer_free(struct zpy_writer *writer)
{
    if (writer != NULL) {
        sodium_memzero(writer->buffers, writer->used_bytes);
        sodium_memzero(writer->scratches, writer->used_readers * writer->scratch_bytes);
        zpy_os_release(writer->mapped, writer->mapped_bytes);
        sodium_memzero(writer->key, sizeof writer->key);
        free(writer);
    }
}

void
zpy_writer_draw_key(struct zpy_writer *writer)
{
    randombytes_buf(writer->key, sizeof writer->key);
    writer->has_key = true;
}

/* Before the first byte gets there, so that it is zeroed in the end whatever happens. */
void
zpy_writer_note_use(struct zpy_writer *writer, bool is_reading, uint64_t length)
{
    size_t const each = is_reading ? writer->read_bytes : writer->buffer_bytes;
    size_t const most = is_reading ? writer->readers : ZPY_WRITERS;
    size_t const used = length / each < most ? (size_t) (length / each) + 1 : most;
    size_t const used_readers = is_reading ? used : 0;
    writer->used_bytes = used * each > writer->used_bytes ? used * each : writer->used_bytes;
    writer->used_readers = used_readers > writer->used_readers ? used_readers : writer->used_readers;
}
