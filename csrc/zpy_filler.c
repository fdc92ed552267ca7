/* zpy_filler.c: the bytes of a span: a pattern, or a random stream of which any block can be made again. */
#include "zpy_internal.h"

#include <string.h>

/* libsodium has AEGIS from 1.0.19 on. */
#if defined(crypto_aead_aegis128l_KEYBYTES)
#define HAS_AEGIS 1
_Static_assert(crypto_aead_aegis128l_KEYBYTES <= ZPY_STREAM_KEY_BYTES, "one key serves both generators");
_Static_assert(crypto_aead_aegis128l_NPUBBYTES == 2 * sizeof(uint64_t), "a stream's number and a block's");
#else
#define HAS_AEGIS 0
#endif

/* libsodium takes its AEGIS with AES instructions, which is several times faster than ChaCha20, where it has AES-256-GCM;
 * without them its AEGIS is slow. */
int
zpy_generator_best(void)
{
    return HAS_AEGIS && zpy_has_aes() ? ZPY_AEGIS128L : ZPY_CHACHA20;
}

static bool
has_generator(int generator)
{
    return generator == ZPY_CHACHA20 || (HAS_AEGIS && generator == ZPY_AEGIS128L);
}

int
zpy_filler_open(struct zpy_filler *filler, struct zpy_span_request const *request, uint8_t const *own_key)
{
    *filler = (struct zpy_filler){.stream_number = request->stream_number,
                                  .generator = request->generator,
                                  .pattern = request->pattern,
                                  .pattern_bytes = request->pattern_bytes};
    if (request->stream_key == 0 && request->pattern_bytes > 0) {
        return ZPY_OK;
    }
    if (request->stream_key == 0 && own_key == NULL) {
        return ZPY_INVALID;
    }
    if (!has_generator(request->generator)) {
        return ZPY_UNSUPPORTED;
    }
    if (request->stream_key == 0) {
        filler->stream_key = own_key;
        return ZPY_OK;
    }
    uint8_t *stream_key;
    int const status = zpy_cell_pin_key(request->stream_key, ZPY_STREAM_KEY_BYTES, &stream_key);
    if (status == ZPY_OK) {
        filler->stream_key = stream_key;
    }
    return status;
}

int
zpy_filler_close(struct zpy_filler const *filler, struct zpy_span_request const *request)
{
    return filler->stream_key != NULL && request->stream_key != 0 ? zpy_cell_unpin(request->stream_key) : ZPY_OK;
}

static void
put_number(uint8_t out[8], uint64_t number)
{
    for (size_t index = 0; index < 8; index++) {
        out[index] = (uint8_t) (number >> (8 * index));
    }
}

/* The original form, 64-bit counter and 64-bit nonce, with the file's offset as counter. */
static void
fill_chacha20(struct zpy_filler const *filler, uint8_t *out, size_t length, uint64_t offset)
{
    uint8_t nonce[crypto_stream_chacha20_NONCEBYTES];
    put_number(nonce, filler->stream_number);
    memset(out, 0, length);
    (void) crypto_stream_chacha20_xor_ic(out, out, length, nonce, offset / 64, filler->stream_key); /* Always 0. */
}

#if HAS_AEGIS
/* Its stream cannot be entered in the middle, so each block is a message of zeros of its own; what a block is cut to is the
 * beginning of the whole one. Longer messages would save a tenth of the time. */
static void
fill_aegis(struct zpy_filler const *filler, uint8_t *out, size_t length, uint64_t offset)
{
    static uint8_t const zeros[ZPY_BLOCK_BYTES];
    uint8_t nonce[crypto_aead_aegis128l_NPUBBYTES];
    uint8_t tag[crypto_aead_aegis128l_ABYTES];
    put_number(nonce, filler->stream_number);
    for (size_t done = 0; done < length; done += ZPY_BLOCK_BYTES) {
        size_t const piece = length - done < ZPY_BLOCK_BYTES ? length - done : ZPY_BLOCK_BYTES;
        put_number(nonce + 8, (offset + done) / ZPY_BLOCK_BYTES);
        (void) crypto_aead_aegis128l_encrypt_detached(out + done, tag, NULL, zeros, piece, NULL, 0, NULL, nonce,
                                                      filler->stream_key); /* Always 0. */
    }
}
#endif

static void
fill_random(struct zpy_filler const *filler, uint8_t *out, size_t length, uint64_t offset)
{
#if HAS_AEGIS
    if (filler->generator == ZPY_AEGIS128L) {
        fill_aegis(filler, out, length, offset);
        return;
    }
#endif
    fill_chacha20(filler, out, length, offset);
}

static size_t
smaller(size_t left, size_t right)
{
    return left < right ? left : right;
}

static void
fill_pattern(struct zpy_filler const *filler, uint8_t *out, size_t length, uint64_t offset)
{
    size_t const period = filler->pattern_bytes;
    if (period == 1) {
        memset(out, filler->pattern[0], length);
        return;
    }
    /* One period, which begins inside the pattern, and then doubled. */
    size_t const phase = (size_t) (offset % period);
    size_t const first = smaller(length, period - phase);
    size_t const second = smaller(length - first, phase);
    memcpy(out, filler->pattern + phase, first);
    memcpy(out + first, filler->pattern, second);
    size_t done = first + second;
    while (done < length) {
        size_t const piece = smaller(done, length - done); /* done is a multiple of the period here. */
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
