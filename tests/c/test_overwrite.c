/* test_overwrite.c: spans written to and compared with a device in memory, which fails where a test has it fail. One function
 * tests one property; exit status 0 when all hold. Linked with --wrap for the functions that begin with __wrap_ here. */
#include "zpy_os.h"

#include "cells.h"

#include <errno.h>

#define DISK_BYTES ((size_t) 3 << 20)
#define FD 77 /* Of no file. */
#define SECTOR ((size_t) 512)
#define LARGE_BYTES (((size_t) 2 << 20) + ZPY_BLOCK_BYTES) /* More than one large page. */

struct area {
    uint64_t start;
    uint64_t stop;
};

/* What the calls below act on; set up by plug_in. */
static struct {
    uint8_t bytes[DISK_BYTES];
    uint64_t size;
    uint64_t sector_bytes; /* Calls with O_DIRECT move whole ones. */
    struct area bad[2];
    bool refuses_direct;
    size_t short_bytes; /* Calls move so many at most; 0: all. */
    bool has_no_threads;
    unsigned int threads; /* Started. */
    atomic_bool is_direct;
    atomic_uint calls;
    atomic_uint cached_calls; /* Without O_DIRECT. */
    _Atomic uint64_t last_offset;
    atomic_bool is_out_of_order;
} disk;

static uint64_t key;

static void
plug_in(uint64_t size)
{
    memset(&disk, 0, sizeof disk);
    memset(disk.bytes, 'x', sizeof disk.bytes);
    disk.size = size;
    disk.sector_bytes = SECTOR;
    atomic_store(&disk.is_direct, true);
}

/* The errno of a call, or 0. */
static int
refusal(uint8_t const *bytes, size_t length, uint64_t offset)
{
    uint64_t const sector = disk.sector_bytes;
    atomic_fetch_add(&disk.calls, 1);
    if (atomic_load(&disk.is_direct)) {
        bool const is_aligned = offset % sector == 0 && length % sector == 0 && (uintptr_t) bytes % SECTOR == 0;
        if (disk.refuses_direct || !is_aligned) {
            return EINVAL;
        }
    } else {
        atomic_fetch_add(&disk.cached_calls, 1);
    }
    for (size_t index = 0; index < 2; index++) {
        struct area const bad = disk.bad[index];
        if (bad.start < offset + length && offset < bad.stop) {
            return index == 0 ? EIO : ENODATA;
        }
    }
    return 0;
}

static size_t
moved(size_t length)
{
    return disk.short_bytes != 0 && disk.short_bytes < length ? disk.short_bytes : length;
}

int64_t
__wrap_zpy_os_write_at(int fd, uint8_t const *bytes, size_t length, uint64_t offset)
{
    CHECK_EQUAL(fd, FD);
    CHECK(offset <= disk.size && length <= disk.size - offset);
    if (atomic_exchange(&disk.last_offset, offset) > offset) {
        atomic_store(&disk.is_out_of_order, true);
    }
    errno = refusal(bytes, length, offset);
    if (errno != 0) {
        return -1;
    }
    memcpy(disk.bytes + offset, bytes, moved(length));
    return (int64_t) moved(length);
}

int64_t
__wrap_zpy_os_read_at(int fd, uint8_t *out, size_t length, uint64_t offset)
{
    CHECK_EQUAL(fd, FD);
    errno = refusal(out, length, offset);
    if (errno != 0) {
        return -1;
    }
    if (offset >= disk.size) {
        return 0;
    }
    size_t const there = disk.size - offset < length ? (size_t) (disk.size - offset) : length;
    memcpy(out, disk.bytes + offset, moved(there));
    return (int64_t) moved(there);
}

bool
__wrap_zpy_os_direct(int fd, bool on)
{
    CHECK_EQUAL(fd, FD);
    atomic_store(&disk.is_direct, on);
    return true;
}

int __real_zpy_os_thread_start(pthread_t *thread_out, size_t stack_bytes, void *(*run)(void *), void *argument);

int
__wrap_zpy_os_thread_start(pthread_t *thread_out, size_t stack_bytes, void *(*run)(void *), void *argument)
{
    disk.threads += !disk.has_no_threads;
    return disk.has_no_threads ? EAGAIN : __real_zpy_os_thread_start(thread_out, stack_bytes, run, argument);
}

static bool is_freeing_a_writer;

void __real_zpy_os_release(uint8_t *base, size_t bytes);

void
__wrap_zpy_os_release(uint8_t *base, size_t bytes)
{
    if (is_freeing_a_writer) {
        CHECK(sodium_is_zero(base, bytes)); /* Of what was read no byte is left. */
    }
    __real_zpy_os_release(base, bytes);
}

/* ---- shorthand ---- */

static struct zpy_span_request
random_span(uint64_t start, uint64_t stop, int generator)
{
    return (struct zpy_span_request){.fd = FD,
                                     .direct = 1,
                                     .any_order = 1,
                                     .generator = generator,
                                     .start = start,
                                     .stop = stop,
                                     .stream_key = key,
                                     .stream_number = 3};
}

static struct zpy_span_result
run(int (*function)(struct zpy_writer *, struct zpy_span_request const *, struct zpy_span_result *),
    struct zpy_span_request request, size_t buffer_bytes, int expected)
{
    struct zpy_span_result result;
    struct zpy_writer *const writer = zpy_writer_new(buffer_bytes);
    CHECK(writer != NULL);
    CHECK_EQUAL(function(writer, &request, &result), expected);
    is_freeing_a_writer = true;
    zpy_writer_free(writer);
    is_freeing_a_writer = false;
    return result;
}

#define WRITE(request, buffer_bytes, expected) run(zpy_overwrite_span, request, buffer_bytes, expected)
#define COMPARE(request, buffer_bytes, expected) run(zpy_verify_span, request, buffer_bytes, expected)

/* The stream as its description says, asked of libsodium for each block. */
static void
stream_block(uint8_t out[ZPY_BLOCK_BYTES], int generator, uint64_t block)
{
    static uint8_t const zeros[ZPY_BLOCK_BYTES];
    uint8_t nonce[16] = {3};
    size_t length;
    uint8_t const *const bytes = pinned(key, &length);
#if defined(crypto_aead_aegis128l_KEYBYTES)
    if (generator == ZPY_AEGIS128L) {
        uint8_t tag[crypto_aead_aegis128l_ABYTES];
        for (size_t index = 0; index < 8; index++) {
            nonce[8 + index] = (uint8_t) (block >> (8 * index));
        }
        CHECK_EQUAL(crypto_aead_aegis128l_encrypt_detached(out, tag, NULL, zeros, ZPY_BLOCK_BYTES, NULL, 0, NULL, nonce,
                                                           bytes),
                    0);
    }
#endif
    if (generator == ZPY_CHACHA20) {
        CHECK_EQUAL(crypto_stream_chacha20_xor_ic(out, zeros, ZPY_BLOCK_BYTES, nonce, block * 64, bytes), 0);
    }
    CHECK_EQUAL(zpy_cell_unpin(key), ZPY_OK);
}

static bool
is_stream(int generator, uint64_t offset, size_t length)
{
    uint8_t expected[ZPY_BLOCK_BYTES];
    size_t const inside = (size_t) (offset % ZPY_BLOCK_BYTES);
    stream_block(expected, generator, offset / ZPY_BLOCK_BYTES);
    return memcmp(disk.bytes + offset, expected + inside, length) == 0;
}

/* Whether sectors [start, stop) are old, and all others of the file are of the stream. */
static void
check_skipped(int generator, uint64_t start, uint64_t stop)
{
    for (uint64_t offset = 0; offset < disk.size; offset += SECTOR) {
        size_t const length = disk.size - offset < SECTOR ? (size_t) (disk.size - offset) : SECTOR;
        if (offset >= start && offset < stop) {
            CHECK_EQUAL(disk.bytes[offset], 'x');
        } else {
            CHECK(is_stream(generator, offset, length));
        }
    }
}

/* ---- the properties ---- */

/* A random pass is the stream that is described, at any size, and what lies behind the file stays. */
static void
test_stream(int generator)
{
    uint64_t const sizes[] = {1, 511, 512, 4095, 4096, 4097, 8191, 65536 + 33, DISK_BYTES - 5000};
    for (size_t index = 0; index < sizeof sizes / sizeof sizes[0]; index++) {
        plug_in(sizes[index]);
        struct zpy_span_result const result = WRITE(random_span(0, disk.size, generator), 65536, ZPY_OK);
        CHECK_EQUAL(result.done_bytes, disk.size);
        CHECK_EQUAL(result.skipped_bytes, 0);
        CHECK_EQUAL(result.direct, 1);
        check_skipped(generator, 0, 0);
        CHECK_EQUAL(disk.bytes[disk.size], 'x');
        CHECK_EQUAL(COMPARE(random_span(0, disk.size, generator), 8192, ZPY_OK).done_bytes, disk.size);
        CHECK_EQUAL(COMPARE(random_span(0, disk.size, generator), LARGE_BYTES, ZPY_OK).done_bytes, disk.size);
    }
}

/* The same bytes are made from any block on, in spans and buffers of other sizes. */
static void
test_any_start(int generator)
{
    plug_in(1000001);
    (void) WRITE(random_span(0, disk.size, generator), 131072, ZPY_OK);
    for (int round = 0; round < 200; round++) {
        uint64_t const start = randombytes_uniform(245) * ZPY_BLOCK_BYTES;
        uint64_t const stop = start + randombytes_uniform((uint32_t) (disk.size - start) + 1);
        size_t const buffer_bytes = (1 + randombytes_uniform(40)) * ZPY_BLOCK_BYTES;
        CHECK_EQUAL(COMPARE(random_span(start, stop, generator), buffer_bytes, ZPY_OK).done_bytes, stop - start);
    }
}

/* Another pass, and another generator, make other bytes. */
static void
test_streams_differ(int generator)
{
    plug_in(65536);
    (void) WRITE(random_span(0, disk.size, generator), 65536, ZPY_OK);
    struct zpy_span_request other = random_span(0, disk.size, generator);
    other.stream_number = 4;
    CHECK(COMPARE(other, 65536, ZPY_FORGED).done_bytes < 16);
    if (zpy_generator_best() == ZPY_AEGIS128L) {
        other = random_span(0, disk.size, ZPY_CHACHA20 + ZPY_AEGIS128L - generator);
        CHECK(COMPARE(other, 65536, ZPY_FORGED).done_bytes < 16);
    }
    CHECK_EQUAL(WRITE(random_span(0, 1, 99), 4096, ZPY_UNSUPPORTED).done_bytes, 0);
}

/* A pattern of any length keeps its phase over chunks and spans. */
static void
test_pattern(void)
{
    static uint8_t pattern[200000];
    size_t const lengths[] = {1, 2, 3, 511, 4096, 4097, 70001, sizeof pattern};
    randombytes_buf(pattern, sizeof pattern);
    for (size_t index = 0; index < sizeof lengths / sizeof lengths[0]; index++) {
        plug_in(500003);
        for (uint64_t start = 0; start < disk.size; start += 3 * ZPY_BLOCK_BYTES * (index + 1)) {
            uint64_t const next = start + 3 * ZPY_BLOCK_BYTES * (index + 1);
            struct zpy_span_request request = {.fd = FD,
                                               .direct = 1,
                                               .start = start,
                                               .stop = next < disk.size ? next : disk.size,
                                               .pattern = pattern,
                                               .pattern_bytes = lengths[index]};
            (void) WRITE(request, 8192, ZPY_OK);
            CHECK_EQUAL(COMPARE(request, 131072, ZPY_OK).done_bytes, request.stop - start);
        }
        for (size_t place = 0; place < disk.size; place++) {
            CHECK_EQUAL(disk.bytes[place], pattern[place % lengths[index]]);
        }
    }
}

static void
check_differences(int generator, uint32_t size, size_t buffer_bytes, int rounds)
{
    plug_in(size);
    (void) WRITE(random_span(0, size, generator), 65536, ZPY_OK);
    for (int round = 0; round < rounds; round++) {
        uint32_t const place = randombytes_uniform(size);
        uint32_t const later = place + randombytes_uniform(size - place);
        disk.bytes[place] ^= 1;
        disk.bytes[later] ^= 2;
        CHECK_EQUAL(COMPARE(random_span(0, size, generator), buffer_bytes, ZPY_FORGED).done_bytes, place);
        disk.bytes[later] ^= 2;
        disk.bytes[place] ^= 1;
    }
}

/* One wrong byte is found, wherever it is, and nothing behind it counts; so is a file that became shorter. */
static void
test_difference(int generator)
{
    check_differences(generator, DISK_BYTES, LARGE_BYTES, 20);
    check_differences(generator, 300001, 8192, 200);
    disk.size = 200000;
    struct zpy_span_result const result = COMPARE(random_span(0, 300001, generator), 8192, ZPY_FORGED);
    CHECK_EQUAL(result.done_bytes, 200000);
    CHECK_EQUAL(result.system_error, 0);
}

/* Without a limit the first failure ends the span; what is said to be done is done. */
static void
test_no_skip(int generator)
{
    plug_in(1 << 20);
    disk.bad[0] = (struct area){500 * SECTOR, 501 * SECTOR};
    struct zpy_span_result result = WRITE(random_span(0, disk.size, generator), 8192, ZPY_SYSTEM);
    CHECK_EQUAL(result.system_error, EIO);
    CHECK_EQUAL(result.done_bytes, 500 * SECTOR / 8192 * 8192);
    CHECK_EQUAL(result.skipped_bytes, 0);
    for (uint64_t offset = 0; offset < result.done_bytes; offset += ZPY_BLOCK_BYTES) {
        CHECK(is_stream(generator, offset, ZPY_BLOCK_BYTES));
    }
    result = COMPARE(random_span(0, disk.size, generator), 8192, ZPY_SYSTEM);
    CHECK_EQUAL(result.system_error, EIO);
    CHECK_EQUAL(result.done_bytes, 500 * SECTOR / 8192 * 8192);
}

/* Exactly the sectors that fail are skipped, in writing and in reading, in any place. */
static void
test_skip(int generator)
{
    uint64_t const size = (1 << 20) + 700;
    for (int round = 0; round < 60; round++) {
        plug_in(size);
        uint64_t const first = randombytes_uniform(1 << 20) / SECTOR * SECTOR;
        uint64_t const count = 1 + randombytes_uniform(20);
        uint64_t const stop = first + count * SECTOR < 1 << 20 ? first + count * SECTOR : 1 << 20;
        disk.bad[round % 2] = (struct area){first, stop};
        struct zpy_span_request request = random_span(0, size, generator);
        request.skip_limit = stop - first;
        struct zpy_span_result result = WRITE(request, 262144, ZPY_OK);
        CHECK_EQUAL(result.done_bytes, size);
        CHECK_EQUAL(result.skipped_bytes, stop - first);
        CHECK_EQUAL(result.first_skipped, first);
        CHECK_EQUAL(result.system_error, 0);
        CHECK_EQUAL(result.direct, 1);
        check_skipped(generator, first, stop);
        result = COMPARE(request, 131072, ZPY_OK);
        CHECK_EQUAL(result.skipped_bytes, stop - first);
        CHECK_EQUAL(result.first_skipped, first);
        memset(disk.bad, 0, sizeof disk.bad); /* What was skipped and can be read is not what should be there. */
        uint64_t const same = COMPARE(request, 131072, ZPY_FORGED).done_bytes;
        CHECK(same >= first && same < first + 16); /* An old byte may be equal by chance. */
    }
}

/* The last sector of a file that ends inside it can be the one that fails when it is read. */
static void
test_skip_tail(int generator)
{
    plug_in(65536 + 700);
    (void) WRITE(random_span(0, disk.size, generator), 131072, ZPY_OK);
    disk.bad[0] = (struct area){65536 + 512, 65536 + 1024};
    struct zpy_span_request request = random_span(0, disk.size, generator);
    request.skip_limit = SECTOR;
    struct zpy_span_result const result = COMPARE(request, 131072, ZPY_OK);
    CHECK_EQUAL(result.skipped_bytes, 188);
    CHECK_EQUAL(result.first_skipped, 65536 + 512);
}

/* A device whose sectors are blocks refuses to move a part of one: all of it is skipped, and O_DIRECT stays. */
static void
test_skip_large_sectors(int generator)
{
    plug_in(1 << 20);
    disk.sector_bytes = 4096;
    disk.bad[0] = (struct area){40960, 45056};
    struct zpy_span_request request = random_span(0, disk.size, generator);
    request.skip_limit = 4096;
    struct zpy_span_result const result = WRITE(request, 262144, ZPY_OK);
    CHECK_EQUAL(result.skipped_bytes, 4096);
    CHECK_EQUAL(result.first_skipped, 40960);
    CHECK_EQUAL(result.direct, 1);
    CHECK_EQUAL(disk.cached_calls, 0);
    check_skipped(generator, 40960, 45056);
}

/* What fails beyond the limit ends the span, after not many calls, and with what was skipped told. */
static void
test_skip_limit(int generator)
{
    plug_in(1 << 20);
    disk.bad[0] = (struct area){8192, 1 << 20};
    struct zpy_span_request request = random_span(0, disk.size, generator);
    request.skip_limit = 10 * SECTOR;
    request.any_order = 0;
    struct zpy_span_result const result = WRITE(request, 65536, ZPY_SYSTEM);
    CHECK_EQUAL(result.system_error, EIO);
    CHECK_EQUAL(result.skipped_bytes, 10 * SECTOR);
    CHECK_EQUAL(result.done_bytes, 8192 + 10 * SECTOR);
    CHECK_EQUAL(result.first_skipped, 8192);
    CHECK(atomic_load(&disk.calls) < 40);
}

/* A file that grows is written from its beginning to its end, and a chunk that fails has none written after it. */
static void
test_order(int generator)
{
    for (int round = 0; round < 20; round++) {
        plug_in(DISK_BYTES);
        struct zpy_span_request request = random_span(0, disk.size, generator);
        request.any_order = 0;
        (void) WRITE(request, 8192, ZPY_OK);
        CHECK(!atomic_load(&disk.is_out_of_order));
        plug_in(DISK_BYTES);
        disk.bad[0] = (struct area){1 << 20, (1 << 20) + 1};
        CHECK_EQUAL(WRITE(request, 8192, ZPY_SYSTEM).done_bytes, 1 << 20);
        CHECK_EQUAL(disk.bytes[1 << 20], 'x');
        CHECK_EQUAL(disk.bytes[(1 << 20) + 8192], 'x');
    }
}

/* Where O_DIRECT is refused, all is written through the page cache, and the answer says so. */
static void
test_refused_direct(int generator)
{
    plug_in(300001);
    disk.refuses_direct = true;
    struct zpy_span_result result = WRITE(random_span(0, disk.size, generator), 8192, ZPY_OK);
    CHECK_EQUAL(result.direct, 0);
    CHECK(!atomic_load(&disk.is_direct));
    check_skipped(generator, 0, 0);
    atomic_store(&disk.is_direct, true);
    result = COMPARE(random_span(0, disk.size, generator), 8192, ZPY_OK);
    CHECK_EQUAL(result.direct, 0);
    CHECK_EQUAL(result.done_bytes, disk.size);
}

/* What lies elsewhere, before or behind, is compared with what belongs here. */
static void
test_shift(int generator)
{
    plug_in(1 << 20);
    (void) WRITE(random_span(65536, 300001, generator), 8192, ZPY_OK);
    memmove(disk.bytes + 131072, disk.bytes + 65536, 300001 - 65536);
    struct zpy_span_request request = random_span(65536, 300001, generator);
    request.shift = 65536;
    CHECK_EQUAL(COMPARE(request, 8192, ZPY_OK).done_bytes, 300001 - 65536);
    memmove(disk.bytes, disk.bytes + 131072, 300001 - 65536);
    request.shift = -65536;
    CHECK_EQUAL(COMPARE(request, 8192, ZPY_OK).done_bytes, 300001 - 65536);
    request.shift = -61440;
    CHECK(COMPARE(request, 8192, ZPY_FORGED).done_bytes < 16);
}

/* Only the bytes behind the last whole block are written through the page cache, and read without it. */
static void
test_tail(int generator)
{
    plug_in(300001);
    (void) WRITE(random_span(0, disk.size, generator), 8192, ZPY_OK);
    CHECK_EQUAL(atomic_load(&disk.cached_calls), 1);
    CHECK(atomic_load(&disk.is_direct));
    (void) COMPARE(random_span(0, disk.size, generator), 8192, ZPY_OK);
    CHECK_EQUAL(atomic_load(&disk.cached_calls), 1);
}

/* Short calls are continued to the end, also those that end inside a block. */
static void
test_short_calls(int generator)
{
    size_t const lengths[] = {4096, 12288, 512, 1000};
    for (size_t index = 0; index < sizeof lengths / sizeof lengths[0]; index++) {
        plug_in(100003);
        disk.short_bytes = lengths[index];
        struct zpy_span_result result = WRITE(random_span(0, disk.size, generator), 32768, ZPY_OK);
        CHECK(result.short_calls > 0);
        CHECK_EQUAL(result.direct, lengths[index] % 4096 == 0);
        check_skipped(generator, 0, 0);
        atomic_store(&disk.is_direct, true);
        result = COMPARE(random_span(0, disk.size, generator), 32768, ZPY_OK);
        CHECK_EQUAL(result.done_bytes, disk.size);
        CHECK(result.short_calls > 0);
    }
}

/* One worker does it alone, where there is no thread for a second. */
static void
test_no_thread(int generator)
{
    plug_in(300001);
    disk.has_no_threads = true;
    struct zpy_span_request request = random_span(0, disk.size, generator);
    request.any_order = 0;
    (void) WRITE(request, 8192, ZPY_OK);
    check_skipped(generator, 0, 0);
    CHECK_EQUAL(COMPARE(request, 8192, ZPY_OK).done_bytes, disk.size);
}

/* More are reading at once than are writing, and with large buffers each takes more at a time. */
static void
test_readers(int generator)
{
    static size_t const buffers[] = {ZPY_BLOCK_BYTES, 8192, (size_t) 1 << 18, LARGE_BYTES, (size_t) 20 << 20};
    static unsigned int const writing[] = {1, 1, 1, 1, 0};
    static unsigned int const reading[] = {3, 3, 3, 2, 1}; /* All but the caller, and no more than there are chunks. */
    for (size_t index = 0; index < sizeof buffers / sizeof buffers[0]; index++) {
        plug_in(DISK_BYTES);
        struct zpy_span_request const request = random_span(0, disk.size, generator);
        (void) WRITE(request, buffers[index], ZPY_OK);
        CHECK_EQUAL(disk.threads, writing[index]);
        CHECK_EQUAL(COMPARE(request, buffers[index], ZPY_OK).done_bytes, disk.size);
        CHECK_EQUAL(disk.threads, writing[index] + reading[index]);
    }
}

/* Spans that begin inside a block or end before they begin are refused, and nothing is called. */
static void
test_refusals(int generator)
{
    plug_in(300001);
    (void) WRITE(random_span(1, 4096, generator), 4096, ZPY_INVALID);
    (void) WRITE(random_span(4096, 1, generator), 4096, ZPY_INVALID);
    (void) COMPARE(random_span(0, UINT64_MAX, generator), 4096, ZPY_INVALID);
    struct zpy_span_request request = random_span(0, 4096, generator);
    request.stream_key = made(zpy_cell_create(NULL, 16, 0, 0, 0));
    (void) WRITE(request, 4096, ZPY_INVALID);
    CHECK_EQUAL(zpy_cell_wipe(request.stream_key), ZPY_OK);
    (void) WRITE(request, 4096, ZPY_WIPED);
    CHECK(zpy_writer_new(0) == NULL && zpy_writer_new(4095) == NULL && zpy_writer_new(SIZE_MAX - 4095) == NULL);
    CHECK_EQUAL(WRITE(random_span(4096, 4096, generator), 4096, ZPY_OK).done_bytes, 0);
    CHECK_EQUAL(atomic_load(&disk.calls), 0);
}

/* Without a cell the writer's own key makes a stream of its own, which the same writer can make again; without one of these
 * nothing is written. */
static void
test_own_key(int generator)
{
    struct zpy_span_result result;
    struct zpy_writer *const writers[] = {zpy_writer_new(65536), zpy_writer_new(65536)};
    CHECK(writers[0] != NULL && writers[1] != NULL);
    plug_in(300001);
    struct zpy_span_request request = random_span(0, disk.size, generator);
    request.stream_key = 0;
    CHECK_EQUAL(zpy_overwrite_span(writers[0], &request, &result), ZPY_INVALID);
    CHECK_EQUAL(atomic_load(&disk.calls), 0);
    zpy_writer_draw_key(writers[0]);
    zpy_writer_draw_key(writers[1]);
    CHECK_EQUAL(zpy_overwrite_span(writers[0], &request, &result), ZPY_OK);
    CHECK_EQUAL(result.done_bytes, disk.size);
    CHECK(!is_stream(generator, 0, ZPY_BLOCK_BYTES) && !is_stream(generator, disk.size - 16, 16));
    CHECK_EQUAL(zpy_verify_span(writers[0], &request, &result), ZPY_OK);
    CHECK_EQUAL(zpy_verify_span(writers[1], &request, &result), ZPY_FORGED);
    CHECK(result.done_bytes < 16);
    request.stream_number++;
    CHECK_EQUAL(zpy_verify_span(writers[0], &request, &result), ZPY_FORGED);
    request.generator = 99;
    CHECK_EQUAL(zpy_verify_span(writers[0], &request, &result), ZPY_UNSUPPORTED);
    zpy_writer_free(writers[0]);
    zpy_writer_free(writers[1]);
}

static void
test_generator(int generator)
{
    test_stream(generator);
    test_any_start(generator);
    test_streams_differ(generator);
    test_difference(generator);
    test_no_skip(generator);
    test_skip(generator);
    test_skip_tail(generator);
    test_skip_large_sectors(generator);
    test_skip_limit(generator);
    test_order(generator);
    test_refused_direct(generator);
    test_tail(generator);
    test_shift(generator);
    test_short_calls(generator);
    test_no_thread(generator);
    test_readers(generator);
    test_refusals(generator);
    test_own_key(generator);
}

int
main(void)
{
    CHECK_EQUAL(zpy_init(1, 1 << 20), ZPY_OK);
    key = made(zpy_cell_create(NULL, 32, ZPY_RANDOM, 0, 0));
    test_pattern();
    test_generator(ZPY_CHACHA20);
    CHECK(zpy_generator_best() == (zpy_has_aes() ? ZPY_AEGIS128L : ZPY_CHACHA20) || SODIUM_LIBRARY_VERSION_MAJOR < 26);
    if (zpy_generator_best() == ZPY_AEGIS128L) {
        test_generator(ZPY_AEGIS128L);
    }
    CHECK_EQUAL(zpy_cell_wipe(key), ZPY_OK);
    puts("ok");
    return 0;
}
