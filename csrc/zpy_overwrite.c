/* zpy_overwrite.c: writes one span of one pass on one descriptor. */
#include "zpy_internal.h"
#include "zpy_os.h"

static void
make_chunk(struct zpy_filler const *filler, struct zpy_chunk const *chunk)
{
    zpy_filler_fill(filler, chunk->buffer, chunk->length, chunk->offset);
}

static int64_t
write_piece(struct zpy_span_request const *request, struct zpy_chunk const *chunk, size_t length, bool direct)
{
    (void) direct; /* Only whole blocks are written under O_DIRECT. */
    return zpy_os_write_at(request->fd, chunk->buffer + chunk->done, length, chunk->offset + chunk->done);
}

static struct zpy_way const writing = {.prepare = make_chunk, .move = write_piece, .at_end = ZPY_SYSTEM};

int
zpy_overwrite_span(struct zpy_writer *writer, struct zpy_span_request const *request,
                   struct zpy_span_result *result_out)
{
    return zpy_span_run(writer, request, &writing, true, result_out);
}
