/* zpy_api.h: everything that Python may see of the C core.
 *
 * The compiler and cffi's cdef() read this same text, so it has no preprocessor lines; C sources include it
 * through zpy_internal.h, which brings the standard types and the include guard.
 *
 * A cell is named by a handle: an integer that is never reused, so that a stale handle is answered with
 * ZPY_WIPED and can never reach another secret. Functions return a zpy_status unless their comment says
 * otherwise; with ZPY_SYSTEM, errno holds the reason.
 *
 * Functions named zpy_cell_* and zpy_key_* never block and run with Python's GIL held (build_ffi.py arranges that), so
 * callers give them small work: up to 16 KiB. For more, each has a twin that releases the GIL, named zpy_large_* or
 * zpy_aead_*. All others release it, too.
 */

enum zpy_status {
    ZPY_OK = 0,
    ZPY_WIPED = 1,        /* The cell was wiped, or never existed. */
    ZPY_EXPIRED = 2,      /* Its time to live is over; its bytes are zero. */
    ZPY_FORKED = 3,       /* It belongs to the parent process. */
    ZPY_LOCK_LIMIT = 4,   /* The lock budget or the kernel's limit is spent. */
    ZPY_NO_MEMORY = 5,
    ZPY_SYSTEM = 6,       /* A system call failed: see errno. */
    ZPY_RANGE = 7,        /* Offset or length outside the cell. */
    ZPY_FORGED = 8,       /* Authentication failed; no plaintext was written. */
    ZPY_CORRUPT = 9,      /* A canary or a freed slot was overwritten; the slot is retired. */
    ZPY_UNSUPPORTED = 10, /* This CPU or this platform cannot do it. */
    ZPY_INVALID = 11,     /* An argument that the caller should have checked. */
    ZPY_BAD_TEXT = 12,    /* Not UTF-8. */
    ZPY_MOVED = 13,       /* The bytes are at another address by now, as a sealed cell's may be: ask for it again. */
    ZPY_NONCE_LIMIT = 14, /* The key had as many random nonces as it may have. */
    ZPY_OTHER_KEY = 15    /* A commitment is that of another key. */
};

enum zpy_option {
    ZPY_ISOLATED = 1, /* Own pages between guards, no access while nobody borrows. */
    ZPY_INHERIT = 2,  /* A forked child gets its own copy. */
    ZPY_RANDOM = 4,   /* Fill with random bytes; the data argument is ignored. */
    ZPY_SEALED = 8    /* Encrypted at rest on the ordinary heap; up to 4096 bytes, larger cells are isolated. */
};

enum zpy_tier {
    ZPY_TIER_PACKED = 0, /* A slot in pages shared with others. */
    ZPY_TIER_ISOLATED = 1,
    ZPY_TIER_SEALED = 2
};

enum zpy_backing {
    ZPY_BACKING_NONE = 0, /* Ordinary pages that could not be locked. */
    ZPY_BACKING_MLOCK = 1, /* mlock, or VirtualLock on Windows. */
    ZPY_BACKING_SECRETMEM = 2
};

enum zpy_fork {
    ZPY_FORK_INHERITED = 0,
    ZPY_FORK_WIPED = 1, /* The child finds zeros there (MADV_WIPEONFORK). */
    ZPY_FORK_ABSENT = 2 /* The pages are not in the child (MADV_DONTFORK). */
};

/* What ended zpy_source_read_line. */
enum zpy_line {
    ZPY_LINE_FULL = 0, /* The cell is full, and no newline came. */
    ZPY_LINE_WHOLE = 1,
    ZPY_LINE_EOF = 2 /* The input ended, perhaps after some bytes. */
};

/* Who a signal is handled by. */
enum zpy_disposition {
    ZPY_SIGNAL_DEFAULT = 0,
    ZPY_SIGNAL_IGNORED = 1,
    ZPY_SIGNAL_HANDLED = 2, /* A handler that is not ours. */
    ZPY_SIGNAL_WIPES = 3    /* Ours: it wipes all secrets. */
};

/* What the system calls granted for the pages of one cell. Of a sealed cell they are those of its key; the slot that it is
 * opened into is in pages of the same kind. */
struct zpy_protection {
    int backing;       /* enum zpy_backing */
    int fork;          /* enum zpy_fork */
    int locked;        /* mlock or VirtualLock succeeded, or the pages are secretmem, which is never swapped. */
    int guarded;       /* Inaccessible pages lie before and behind. */
    int dump_excluded; /* madvise(MADV_DONTDUMP) or, for error reports, WerRegisterExcludedMemoryBlock succeeded. */
    int tier;          /* enum zpy_tier */
    size_t page_bytes; /* Bytes of the page run that holds the cell, guards not counted. */
};

struct zpy_stats {
    uint64_t cells;        /* Live cells of this process. */
    uint64_t packed;       /* Those of them in each tier. */
    uint64_t isolated;
    uint64_t sealed;
    uint64_t pinned;       /* Wiped cells whose slot waits for a view to be dropped. */
    uint64_t locked_bytes; /* Page bytes held now, and their maximum so far. */
    uint64_t peak_locked_bytes;
    uint64_t budget_bytes;
    uint64_t arenas; /* Page runs with slots: of packed cells, and those that sealed ones are opened into. */
    uint64_t wipes;
    uint64_t expiries;
    uint64_t corruptions;
};

/* ---- process-wide ---- */

/* Set up libsodium, the fork handlers and the backing. allow_secretmem 0 keeps to mlock; budget_bytes 0 takes
 * three quarters of the lock limit. Called once, again is harmless. */
int zpy_init(int allow_secretmem, uint64_t budget_bytes);
/* The backing that new cells get: enum zpy_backing; NONE when the platform has no memory locks. */
int zpy_backing_kind(void);
/* Start the thread that wipes cells at their deadline where one is needed and none runs: after a fork. */
int zpy_reaper_ensure(void);
/* End it. Deadlines still hold at each use, and a new one starts it again. */
void zpy_reaper_stop(void);
void zpy_stats_read(struct zpy_stats *stats_out);
/* Wipe every cell of this process. Returns how many were live. */
uint64_t zpy_purge(void);
/* Take the lock limit anew, after it was changed: the soft limit is raised to the hard one, and the budget follows, unless
 * zpy_init was given one. Returns the budget in bytes. What is locked already stays. */
uint64_t zpy_process_refresh_budget(void);
/* May this process be dumped and traced by its own user? PR_GET_DUMPABLE's 0 no, 1 yes, 2 by root alone; or minus a
 * zpy_status: ZPY_UNSUPPORTED off Linux. */
int zpy_process_dumpable(void);
/* Set it to 0 or 1. ZPY_SYSTEM or, off Linux, ZPY_UNSUPPORTED when it stays as it is. */
int zpy_process_set_dumpable(int dumpable);
/* For good, no program that the calling thread or its later children execute gains privileges (set-user-ID and the like).
 * Other threads that run already are not reached. Status as zpy_process_set_dumpable. */
int zpy_process_set_no_new_privileges(void);
/* Have this signal wipe all secrets before whatever it does now: one of SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGTERM,
 * SIGHUP, SIGQUIT; ZPY_INVALID for others, ZPY_UNSUPPORTED off POSIX. Nothing is changed where it is ignored, and where one
 * of the last three has a handler, unless handled is not 0: zpy_fatal_disposition tells. */
int zpy_fatal_watch(int signal_number, int handled);
/* enum zpy_disposition, as the kernel has it now, or minus a zpy_status. */
int zpy_fatal_disposition(int signal_number);
/* Has the calling thread an alternate stack for signal handlers? Gives it one where signals are watched. 1 or 0. */
int zpy_fatal_has_stack(void);
/* Has libsodium AES-256-GCM on this CPU? 1 or 0. */
int zpy_has_aes(void);
/* "1.0.20" and so on, a static string. */
char const *zpy_sodium_version(void);
/* Zero bytes that are not in a cell; the compiler cannot drop it. */
void zpy_cell_memzero(uint8_t *bytes, size_t length);
/* Random bytes from the kernel's generator, for what is not secret, such as nonces. */
void zpy_random_bytes(uint8_t *out, size_t length);
/* 1 when the two spans are equal, in time that depends on length alone. */
int zpy_cell_memequal(uint8_t const *left, uint8_t const *right, size_t length);

/* ---- cells ---- */

/* Create a cell of length bytes, copied from data, or zeros when data is null. ttl_ns 0: no deadline; max_reads 0: no
 * limit. Returns a handle > 0, or minus a zpy_status. */
int64_t zpy_cell_create(uint8_t const *data, size_t length, uint32_t options, uint64_t ttl_ns, uint32_t max_reads);
/* The same for sizes whose pages take long to prepare: releases the GIL. */
int64_t zpy_large_create(uint8_t const *data, size_t length, uint32_t options, uint64_t ttl_ns, uint32_t max_reads);
/* Zero the bytes now and give the handle up. Idempotent. The slot is reused only when no view pins it. */
int zpy_cell_wipe(uint64_t cell);
/* ZPY_OK while live; else why not. Checks the deadline. Counts no access. */
int zpy_cell_state(uint64_t cell);
/* Twins for large cells. */
int zpy_large_wipe(uint64_t cell);
int zpy_large_read(uint64_t cell, size_t offset, uint8_t *out, size_t length);
int zpy_large_take(uint64_t cell, uint8_t *out, size_t length);
int zpy_large_write(uint64_t cell, size_t offset, uint8_t const *data, size_t length);
int zpy_large_zero(uint64_t cell);
int zpy_large_copy(uint64_t target, uint64_t source, size_t length);
int zpy_large_verify(uint64_t cell, uint8_t const *data, size_t length);
int zpy_large_compare(uint64_t left, uint64_t right);
void zpy_large_memzero(uint8_t *bytes, size_t length);
int zpy_large_memequal(uint8_t const *left, uint8_t const *right, size_t length);
/* Length in bytes, or minus a zpy_status. Counts no access. */
int64_t zpy_cell_length(uint64_t cell);
/* Nanoseconds until the deadline, -1 without one, or -1 - zpy_status. */
int64_t zpy_cell_ttl(uint64_t cell);
/* Copy length bytes from offset into out. Counts no access. */
int zpy_cell_read(uint64_t cell, size_t offset, uint8_t *out, size_t length);
/* Copy the whole cell into out, which must hold length bytes, as one counted access; a cell whose accesses are used up is
 * wiped in the same step. */
int zpy_cell_take(uint64_t cell, uint8_t *out, size_t length);
int zpy_cell_write(uint64_t cell, size_t offset, uint8_t const *data, size_t length);
/* Zero the bytes; the cell stays live. */
int zpy_cell_zero(uint64_t cell);
/* Copy length bytes from source to target, both at offset 0. */
int zpy_cell_copy(uint64_t target, uint64_t source, size_t length);
/* Constant-time comparison: 1 equal; 0 when not, also when lengths differ, and for more than 4096 bytes, which are for
 * zpy_large_verify; or minus a zpy_status. */
int zpy_cell_verify(uint64_t cell, uint8_t const *data, size_t length);
/* Whether zpy_cell_verify says 1, for callers to whom a yes is the common case: a no leaves open why. */
bool zpy_cell_equals(uint64_t cell, uint8_t const *data, size_t length);
/* 1 equal, 0 different, or minus the zpy_status of the one that is not live. */
int zpy_cell_compare(uint64_t left, uint64_t right);
/* Copy the value of an environment variable into a new cell. Minus ZPY_RANGE when there is none. */
int64_t zpy_cell_from_env(char const *name, uint32_t options, uint64_t ttl_ns, uint32_t max_reads);
/* Zero the value of an environment variable in place and take it out of the environment. ZPY_UNSUPPORTED on Windows. */
int zpy_cell_scrub_env(char const *name);
int zpy_cell_protection(uint64_t cell, struct zpy_protection *protection_out);

/* ---- borrowing: addresses into a cell ---- */

/* What one borrower holds. It begins as zeros and is dropped exactly once, by the destructor of the object that lends the
 * address out: C code, so that a Python signal handler can neither run in between nor make it fail. Until then it can be
 * ended and taken again, by one borrower after the other. */
struct zpy_lease {
    uint64_t cell;
    uint8_t const *address;
    size_t length;
    int64_t turn; /* How many borrowers it has had. */
    int tier;     /* enum zpy_tier */
    int has_pin;
    int has_access;
    int may_last; /* The pin may be held for as long as the cell is: no page stays open by it, and no limit rests on accesses. */
};

enum zpy_lease_kind {
    ZPY_LEASE_COUNTED = 1, /* Also begins an access. */
    ZPY_LEASE_WRITABLE = 2 /* The borrower may change the bytes. */
};

/* Where a cell's bytes are, or will be once a sealed one is open; null when it is not live or has no place. Says nothing about
 * how long: see zpy_cell_lease. */
uint8_t *zpy_cell_address(uint64_t cell);
/* Pin the cell, whose bytes must be at this address, until zpy_cell_lease_drop. ZPY_WIPED also when the accesses are used up;
 * ZPY_MOVED when they are elsewhere, as those of a sealed cell may be by now. kind: bits of enum zpy_lease_kind. */
int zpy_cell_lease(struct zpy_lease *lease, uint64_t cell, uint8_t const *address, int kind);
/* End the access: a cell whose accesses are used up is wiped now. Returns the state before, so that what was read
 * meanwhile is known to be whole or not. The pin stays. */
int zpy_cell_lease_close(struct zpy_lease *lease);
/* The same, and drop the pin: pages of its own are closed, and a sealed cell's slot is zeroed, so nobody may use the address
 * any more. The lease can be taken again. -1, and nothing is done, for a borrower whose turn it is not. */
int zpy_cell_lease_end(struct zpy_lease *lease, int64_t turn);
/* Take a lease again that was ended, for the same cell or for another one of the same length at the same address. Returns the
 * borrower's turn > 0 or minus a zpy_status; ZPY_MOVED when the bytes are not there, or the lease is not free. */
int64_t zpy_cell_lease_again(struct zpy_lease *lease, uint64_t cell, int kind);
/* Give back all that the lease holds. The address is not looked at; cffi passes it to destructors. */
void zpy_cell_lease_drop(struct zpy_lease *lease, uint8_t const *address);
/* Enter a with-block: a counted access that lasts until zpy_cell_exit. */
int zpy_cell_enter(uint64_t cell);
/* Leave it. The outermost exit wipes the cell. */
int zpy_cell_exit(uint64_t cell);
/* Decode the cell as strict UTF-8 into code points. Returns their number or minus a zpy_status; target, when not 0,
 * is a cell with room for them as 32-bit values. Counts no access. */
int64_t zpy_cell_decode(uint64_t cell, uint64_t target);

/* ---- sources ---- */

/* One read(2) into the cell at offset; up to the cell's length. Returns the bytes read, 0 at the end, or -1 - zpy_status. */
int64_t zpy_source_read(uint64_t cell, size_t offset, int fd);
/* Read a line into the cell from *used_inout on, byte by byte, so that nothing behind its newline is taken. "\n" or "\r\n"
 * is not kept. Adds what is to *used_inout, also on errors: call it again after EINTR. Returns an enum zpy_line or
 * -1 - zpy_status. */
int zpy_source_read_line(uint64_t cell, size_t *used_inout, int fd);
/* Drop ASCII white space (what bytes.strip() drops) at both ends of the first length bytes: what is left moves to the
 * front and zeros stand behind it. Returns its length, or minus a zpy_status. */
int64_t zpy_source_strip(uint64_t cell, size_t length);
/* Write the first length bytes of the cell to fd, to the end. */
int zpy_sink_write(uint64_t cell, size_t length, int fd);
/* The first place at or after start where the cell's bytes stand in hay, or -1; minus 2 - zpy_status on errors. */
int64_t zpy_scan_find(uint64_t cell, uint8_t const *hay, size_t length, size_t start);

/* ---- keys for messages: each in a slot, with what it was expanded to ---- */

enum zpy_algorithm {
    ZPY_ELSEWHERE = 0,          /* AES-GCM that OpenSSL does; the core only counts. */
    ZPY_AES_256_GCM = 1,        /* NIST SP 800-38D: nonces of 12 bytes, tags of 16. */
    ZPY_XCHACHA20_POLY1305 = 2, /* draft-irtf-cfrg-xchacha: 24 and 16. */
    ZPY_AEGIS_256 = 3,          /* draft-irtf-cfrg-aegis-aead: 32 and 32. */
    ZPY_XSALSA20_POLY1305 = 4   /* NaCl's secretbox and box: 24 and 16. The tag comes first; there is no associated data. */
};

struct zpy_key {
    uint64_t cell;
    uint64_t messages;  /* Encrypted so far, counted exactly, whatever the number of threads, and so are the next two. */
    uint64_t decrypted; /* And given out. */
    uint64_t refused;   /* Not authentic, or another key's. */
    int algorithm;     /* enum zpy_algorithm */
};

/* Has this libsodium the algorithm, and this CPU what it needs? 1 or 0. */
int zpy_key_is_supported(int algorithm);
/* Key from 32 bytes (or random with ZPY_RANDOM), with a new cell for it. Returns its handle > 0, or minus a zpy_status and then
 * leaves key_out alone. The key itself is the first 32 bytes of the cell. ZPY_UNSUPPORTED, here and below, for an algorithm that
 * is not supported. */
int64_t zpy_key_create(struct zpy_key *key_out, int algorithm, uint8_t const *bytes, uint32_t options, uint64_t ttl_ns);
/* Draw and count a random nonce of 12 bytes for AES-GCM done elsewhere, unless the key had 2^32 already: ZPY_NONCE_LIMIT. */
int zpy_key_draw_nonce(struct zpy_key *key, uint8_t *nonce_out);
/* Count a decryption that was done elsewhere. Another answer than ZPY_OK: the key ended meanwhile, it was not counted, and what
 * came of it must not be given out. */
int zpy_key_count_decrypted(struct zpy_key *key, int is_authentic);
/* nonce_out: random bytes, counted; with AES-256-GCM as above. out: the length and a tag, which is last unless told above;
 * zeroed when the result is not ZPY_OK. */
int zpy_key_encrypt(struct zpy_key *key, uint8_t const *message, size_t length, uint8_t const *ad, size_t ad_length,
                    uint8_t *nonce_out, uint8_t *out);
/* length counts the tag; out: as much less, zeroed when the result is not ZPY_OK. What is given out is counted, and so is
 * ZPY_FORGED; a call that a wipe overtook is neither. */
int zpy_key_decrypt(struct zpy_key *key, uint8_t const *sealed, size_t length, uint8_t const *ad, size_t ad_length,
                    uint8_t const *nonce, uint8_t *out);
/* The same two without associated data: each argument that a call from Python has less counts on short messages. */
int zpy_key_encrypt_plain(struct zpy_key *key, uint8_t const *message, size_t length, uint8_t *nonce_out, uint8_t *out);
int zpy_key_decrypt_plain(struct zpy_key *key, uint8_t const *sealed, size_t length, uint8_t const *nonce, uint8_t *out);
/* The first two with the nonce before the ciphertext, as PyNaCl has it. nonce: null, or one of the caller's, which to open then
 * is not before the ciphertext. ZPY_RANGE for a message that is too short, too. */
int zpy_key_seal(struct zpy_key *key, uint8_t const *message, size_t length, uint8_t const *ad, size_t ad_length,
                 uint8_t const *nonce, uint8_t *out);
int zpy_key_open(struct zpy_key *key, uint8_t const *sealed, size_t length, uint8_t const *ad, size_t ad_length,
                 uint8_t const *nonce, uint8_t *out);
/* All but the plain ones for long messages: they release the GIL. */
int zpy_aead_seal(struct zpy_key *key, uint8_t const *message, size_t length, uint8_t const *ad, size_t ad_length,
                  uint8_t const *nonce, uint8_t *out);
int zpy_aead_open(struct zpy_key *key, uint8_t const *sealed, size_t length, uint8_t const *ad, size_t ad_length,
                  uint8_t const *nonce, uint8_t *out);
int zpy_aead_encrypt(struct zpy_key *key, uint8_t const *message, size_t length, uint8_t const *ad, size_t ad_length,
                     uint8_t *nonce_out, uint8_t *out);
int zpy_aead_decrypt(struct zpy_key *key, uint8_t const *sealed, size_t length, uint8_t const *ad, size_t ad_length,
                     uint8_t const *nonce, uint8_t *out);
/* Decrypt to the start of a cell that the plaintext fits into. */
int zpy_aead_decrypt_into(struct zpy_key *key, uint8_t const *sealed, size_t length, uint8_t const *ad, size_t ad_length,
                          uint8_t const *nonce, uint64_t target);

/* ---- what is computed from a key: the first key_length bytes of a cell ---- */

/* out: 32 bytes, HMAC-SHA256 of the label under the key; zeroed when the result is not ZPY_OK. */
int zpy_derive_key_id(uint64_t key, size_t key_length, uint8_t const *label, size_t label_length, uint8_t *out);

/* HKDF-SHA256 (RFC 5869) of the key into the first length bytes of target, at most 255 * 32. */
int zpy_derive_hkdf(uint64_t key, size_t key_length, uint8_t const *salt, size_t salt_length, uint8_t const *info,
                    size_t info_length, uint64_t target, size_t length);
/* Argon2id (RFC 9106, version 1.3, one lane) into the whole of target, 16 bytes or more. salt: 16 bytes; opslimit: passes;
 * memlimit: bytes. ZPY_INVALID for what libsodium refuses, ZPY_NO_MEMORY when memlimit cannot be had. */
int zpy_derive_password(uint8_t const *password, size_t password_length, uint8_t const *salt, uint64_t opslimit, size_t memlimit,
                        uint64_t target);

/* ---- keys encrypted under keys ---- */

struct zpy_wrap {
    uint64_t key; /* The wrapping key: the first key_bytes of a cell. */
    size_t key_bytes;
    uint8_t const *salt; /* 32 bytes, random for each wrapping. */
    uint8_t const *info; /* What else is authenticated. */
    size_t info_bytes;
};

/* commitment_out: 32 bytes; sealed_out: length + 16 bytes. Both are zeroed when the result is not ZPY_OK. */
int zpy_wrap_seal(struct zpy_wrap const *wrap, uint64_t key, size_t length, uint8_t *commitment_out, uint8_t *sealed_out);
/* Into a cell of length - 16 bytes, zeroed when the result is not ZPY_OK: ZPY_OTHER_KEY when the commitment is another,
 * ZPY_FORGED when only the rest was changed. */
int zpy_wrap_open(struct zpy_wrap const *wrap, uint8_t const *commitment, uint8_t const *sealed, size_t length, uint64_t target);

/* ---- chunked encryption: Cobblestone (C2SP) with AES-GCM, what is derived for one file in one slot ---- */

/* Derive a file's key, base nonce and commitment with HKDF-Expand-SHA-512 from a key of key_bytes, 16 or 32. salt: 24 bytes;
 * commitment_out: 32. Returns a handle > 0 or minus a zpy_status. The file's key is the first key_bytes of the cell, the base
 * nonce the 12 that follow. One of 32 bytes has its schedule there, too, where the CPU has AES instructions. */
int64_t zpy_chunked_create(uint64_t key, size_t key_bytes, uint8_t const *salt, uint8_t const *context, size_t context_bytes,
                           uint32_t options, uint8_t *commitment_out);
/* Encrypt chunks of 16 KiB, of which the first one has number first. is_last: the rest behind the whole ones, perhaps none,
 * is the file's last chunk; else there must be no rest. out: length plus 16 for each chunk; zeroed when the result is not
 * ZPY_OK. ZPY_UNSUPPORTED without a schedule, ZPY_RANGE beyond 2^38 chunks. */
int zpy_chunked_encrypt(uint64_t stream_cell, uint64_t first, uint8_t const *message, size_t length, int is_last,
                        uint8_t *out);
/* Decrypt them. A chunk of less than 16 KiB can only be the last one, and the caller checks that nothing follows it. out:
 * length less 16 for each chunk; zeroed, all of it, when the result is not ZPY_OK. good_out: how many were authentic. */
int zpy_chunked_decrypt(uint64_t stream_cell, uint64_t first, uint8_t const *sealed, size_t length, uint8_t *out,
                        uint64_t *good_out);

/* ---- signing keys: Ed25519, 32-byte seed and public key in one slot ---- */

/* Key from a seed of 32 bytes (or random with ZPY_RANDOM). Returns a handle > 0 or minus a zpy_status. The seed is the first
 * 32 bytes of the cell. */
int64_t zpy_sign_create(uint8_t const *seed, uint32_t options, uint64_t ttl_ns);
/* out: 32 bytes. */
int zpy_sign_public(uint64_t key, uint8_t *out);
/* signature_out: 64 bytes, zeroed when the key ended meanwhile. */
int zpy_sign_detached(uint64_t key, uint8_t const *message, size_t length, uint8_t *signature_out);
/* ZPY_FORGED when the signature is not this public key's for this message. */
int zpy_sign_verify(uint8_t const *public_key, uint8_t const *message, size_t length, uint8_t const *signature);

/* ---- names and file systems: ZPY_SYSTEM and errno on errors, ZPY_UNSUPPORTED where the system has no such call ---- */

/* Rename within one directory, never onto a name that exists (EEXIST). Linux 3.15; EINVAL where the file system cannot. */
int zpy_file_rename(int directory, char const *name, char const *new_name);
/* Open path, which must lie beneath directory, through no symbolic link, and on the same mount unless may_cross is not 0.
 * flags as for open(2). Linux 5.6. */
int zpy_file_open_beneath(int directory, char const *path, int flags, int may_cross, int *fd_out);
/* How long the value of an extended attribute is, which is not read; -1 and errno on errors. */
int64_t zpy_file_attribute_bytes(int fd, char const *name);
/* Flush the whole file system that fd is on. From Linux 5.8 on it tells of errors since fd was opened. */
int zpy_file_sync_all(int fd);

enum zpy_extent_limit {
    ZPY_EXTENTS = 64
};

/* One piece of a file, as FIEMAP tells it. */
struct zpy_extent {
    uint64_t offset;
    uint64_t place; /* On the device. */
    uint64_t length;
    uint32_t flags; /* FIEMAP_EXTENT_ bits */
};

struct zpy_extents {
    int count;   /* -1: the file system would not say. */
    int is_last; /* Behind these there are no more. */
    struct zpy_extent extent[ZPY_EXTENTS];
};

/* What the system says of an open file beyond fstat(2). */
struct zpy_file_view {
    int64_t flags;           /* Of chattr(1); -1 where there are none. */
    int64_t attribute_bytes; /* Of the list of the names of its extended attributes; -1: unknown. */
    int open_elsewhere;      /* Whether another descriptor or a mapping of it is open; -1: unknown. */
    struct zpy_extents extents;
};

/* Ask for the first extents from offset start on. No dirty page is written: a flush here would put bytes on the device that
 * are not there yet. */
int zpy_file_extents(int fd, uint64_t start, struct zpy_extents *out);
/* Ask all of it. Neither content nor offset is touched. notice: the signal that tells of another program's open at this very
 * moment. */
int zpy_file_look(int fd, int notice, struct zpy_file_view *out);

/* Cut files to nothing, so many at a time (16 at most). errors_out: for each 0, or errno. */
int zpy_files_truncate(int const *fds, int *errors_out, size_t count, size_t threads);

/* ---- the names of many open files, one step of all in a call; it makes no flush ---- */

enum zpy_name_limit {
    ZPY_NAME_ROOM = 256, /* Bytes of a name, with the zero behind it. */
    ZPY_NAME_TURNS = 10
};

struct zpy_name {
    int directory; /* Descriptors of the directory and of what stands under the name: nothing else is touched. */
    int fd;
    int error; /* 0, or errno of what failed, ESTALE for a name that is not the file's; then each call passes it over. */
    int renamed; /* name is a random one. */
    int gone;    /* Unlinked. */
    int astray;  /* hidden is the new name of something else, which took the name just before the rename; or it cannot be
                  * told whether it is. */
    uint8_t lengths[ZPY_NAME_TURNS]; /* Of the random name that it gets in each turn; 0: none. */
    char name[ZPY_NAME_ROOM];
    char hidden[ZPY_NAME_ROOM];
};

/* Rename each to a random name that nothing has, of lengths[turn] letters. Returns how many failed. */
size_t zpy_names_hide(struct zpy_name *names, size_t count, size_t turn);
/* Unlink each. Returns how many failed. */
size_t zpy_names_unlink(struct zpy_name *names, size_t count);

/* ---- overwriting files ---- */

/* Aligned buffers for overwriting; used by one call at a time. */
struct zpy_writer;

/* What random bytes are made with. */
enum zpy_generator {
    ZPY_CHACHA20 = 1, /* Its 64-bit nonce is the stream's number. */
    ZPY_AEGIS128L = 2 /* Of zeros; each 4096 bytes have a nonce of their own, and their tag is dropped. */
};

/* One span of one pass. */
struct zpy_span_request {
    int fd;
    int direct;             /* fd has O_DIRECT now; cleared on fd when the file system refuses it. */
    int any_order;          /* The file has all bytes of the span already: they may be written in any order. */
    int generator;          /* Of a random stream: an enum zpy_generator. */
    uint64_t start;         /* Bytes [start, stop) are written; start is a multiple of 4096. */
    uint64_t stop;
    int64_t shift;          /* When verifying: read this much further on, where the file lies on its device. */
    uint64_t skip_limit;    /* How many bytes may be skipped where the device fails; 0: its first error ends the span. */
    uint64_t stream_key;    /* A cell of 32 bytes: random from its stream, seekable by offset. 0: pattern, or the writer's key. */
    uint64_t stream_number; /* Which of the key's streams: one for each pass. */
    uint8_t const *pattern; /* Repeated, its phase counted from offset 0 of the file. */
    size_t pattern_bytes;   /* 0, and no stream_key: random under the writer's own key. */
};

struct zpy_span_result {
    uint64_t done_bytes;    /* Written, or found equal, from start on; those that were skipped count. */
    uint64_t skipped_bytes; /* Not written or not read, because the device failed there; after an error, in the whole span. */
    uint64_t first_skipped; /* Offset of the first one, when there is one. */
    uint64_t short_calls;   /* write(2) or read(2) calls that moved less than was asked. */
    int system_error;       /* errno of the call that failed, or 0. */
    int direct;             /* Whether O_DIRECT was still on at the end. */
};

/* The faster generator here: ZPY_AEGIS128L where libsodium has it with AES instructions. */
int zpy_generator_best(void);
/* buffer_bytes: a multiple of 4096. Writing takes twice as much memory; comparing takes four times as much, but no more
 * than 16 MiB or that double, and up to 1 MiB for what it compares with. Null when there is none. */
struct zpy_writer *zpy_writer_new(size_t buffer_bytes);
void zpy_writer_free(struct zpy_writer *writer);
/* Draw a key of the writer's own, in ordinary memory, for where no cell can be had; it is wiped with the writer. */
void zpy_writer_draw_key(struct zpy_writer *writer);
/* Write the span; short writes and EINTR are continued. ZPY_SYSTEM with system_error set when a write failed: bytes
 * behind done_bytes may be written or not. ZPY_UNSUPPORTED for a generator that this libsodium lacks. */
int zpy_overwrite_span(struct zpy_writer *writer, struct zpy_span_request const *request,
                       struct zpy_span_result *result_out);
/* Read the span back and compare. ZPY_FORGED at the first difference, done_bytes before it. */
int zpy_verify_span(struct zpy_writer *writer, struct zpy_span_request const *request,
                    struct zpy_span_result *result_out);

/* ---- libsodium by the shape of its functions: pointers are to what Python lends for the call ----
 *
 * Sizes are libsodium's and the caller's to check. What comes out is zeroed when the result is not ZPY_OK. ZPY_UNSUPPORTED for
 * what this libsodium or this CPU does not have. */

/* One of libsodium's numbers by its name. */
int zpy_constant_find(char const *name, uint64_t *value_out);

/* One input of fixed size, or two, and one output. */
enum zpy_transform {
    ZPY_SCALARMULT = 0,
    ZPY_SCALARMULT_BASE = 1,
    ZPY_BOX_BEFORENM = 2, /* Public key, secret key. */
    ZPY_SIGN_SK_TO_CURVE25519 = 3,
    ZPY_SIGN_SK_TO_PK = 4,
    ZPY_SIGN_SK_TO_SEED = 5,
    ZPY_ED25519_IS_VALID_POINT = 6, /* Nothing comes out. */
    ZPY_ED25519_FROM_UNIFORM = 7,
    ZPY_ED25519_ADD = 8,
    ZPY_ED25519_SUB = 9,
    ZPY_ED25519_SCALAR_INVERT = 10,
    ZPY_ED25519_SCALAR_NEGATE = 11,
    ZPY_ED25519_SCALAR_COMPLEMENT = 12,
    ZPY_ED25519_SCALAR_ADD = 13,
    ZPY_ED25519_SCALAR_SUB = 14,
    ZPY_ED25519_SCALAR_MUL = 15,
    ZPY_ED25519_SCALAR_REDUCE = 16,
    ZPY_ED25519_SCALARMULT = 17,
    ZPY_ED25519_SCALARMULT_NOCLAMP = 18,
    ZPY_ED25519_SCALARMULT_BASE = 19,
    ZPY_ED25519_SCALARMULT_BASE_NOCLAMP = 20
};

/* second: null where there is one input. ZPY_INVALID for what libsodium refuses. */
int zpy_sodium_transform(int which, uint8_t const *first, uint8_t const *second, uint8_t *out);

enum zpy_pair {
    ZPY_PAIR_BOX = 0,
    ZPY_PAIR_KX = 1,
    ZPY_PAIR_SIGN = 2
};

/* seed: null for a random one. */
int zpy_sodium_key_pair(int which, uint8_t const *seed, uint8_t *public_out, uint8_t *secret_out);
/* crypto_kx, of either side. ZPY_INVALID for a public key with which all share the same. */
int zpy_sodium_session_keys(int is_server, uint8_t const *own_public, uint8_t const *own_secret, uint8_t const *other_public,
                            uint8_t *receive_out, uint8_t *send_out);

/* out: 64 bytes of signature, and the message. */
int zpy_sodium_sign(uint8_t const *message, size_t length, uint8_t const *secret_key, uint8_t *out);
/* Ed25519ph: begin the state (message null), or go on. */
int zpy_sodium_prehash(uint8_t *state_bytes, uint8_t const *message, size_t length);
int zpy_sodium_prehash_sign(uint8_t *state_bytes, uint8_t const *secret_key, uint8_t *signature_out);
int zpy_sodium_prehash_verify(uint8_t *state_bytes, uint8_t const *signature, uint8_t const *public_key);

/* Random bytes; from a seed of 32 bytes always the same, and then at most 2^38, or ZPY_RANGE. */
int zpy_sodium_random(uint8_t const *seed, uint8_t *out, size_t length);
/* ISO/IEC 7816-4 padding to room bytes, the next multiple of block_bytes. */
int zpy_sodium_pad(uint8_t const *data, size_t length, size_t block_bytes, size_t room, uint8_t *out);
/* How long it is without that padding; -1: it has none. */
int64_t zpy_sodium_unpadded(uint8_t const *data, size_t length, size_t block_bytes);
void zpy_sodium_copy(uint8_t const *data, size_t length, uint8_t *out);
/* The sum of two numbers, lowest byte first, without what does not fit; second null: 1. */
void zpy_sodium_add(uint8_t const *first, uint8_t const *second, size_t length, uint8_t *out);

enum zpy_sodium_cipher {
    ZPY_SODIUM_SECRETBOX = 0, /* The tag comes first, here only; there is no associated data. */
    ZPY_SODIUM_CHACHA20 = 1,
    ZPY_SODIUM_CHACHA20_IETF = 2,
    ZPY_SODIUM_XCHACHA20_IETF = 3,
    ZPY_SODIUM_AES256GCM = 4,
    ZPY_SODIUM_AEGIS256 = 5,
    ZPY_SODIUM_AEGIS128L = 6
};

/* 1 or 0. */
int zpy_sodium_has_cipher(int cipher);
int zpy_sodium_seal(int cipher, uint8_t const *key, uint8_t const *nonce, uint8_t const *ad, size_t ad_length,
                    uint8_t const *message, size_t length, uint8_t *out);
/* length counts the tag. ZPY_FORGED for less, too. */
int zpy_sodium_open(int cipher, uint8_t const *key, uint8_t const *nonce, uint8_t const *ad, size_t ad_length,
                    uint8_t const *sealed, size_t length, uint8_t *out);
/* crypto_box_easy. ZPY_INVALID for a public key with which all share the same. */
int zpy_sodium_box(uint8_t const *public_key, uint8_t const *secret_key, uint8_t const *nonce, uint8_t const *message,
                   size_t length, uint8_t *out);
/* nonce: null for crypto_box_seal_open. ZPY_FORGED for such a public key, too. */
int zpy_sodium_box_open(uint8_t const *public_key, uint8_t const *secret_key, uint8_t const *nonce, uint8_t const *sealed,
                        size_t length, uint8_t *out);

/* secretstream: the state is a cell of its size, which one thread uses at a time. header: written, or with to_pull read. */
int zpy_sodium_stream_begin(uint64_t cell, int to_pull, uint8_t const *key, uint8_t *header);
int zpy_sodium_stream_push(uint64_t cell, uint8_t const *message, size_t length, uint8_t const *ad, size_t ad_length, uint8_t tag,
                           uint8_t *out);
/* length counts what push added; ZPY_FORGED leaves the state as it was. */
int zpy_sodium_stream_pull(uint64_t cell, uint8_t const *sealed, size_t length, uint8_t const *ad, size_t ad_length,
                           uint8_t *tag_out, uint8_t *out);
int zpy_sodium_stream_rekey(uint64_t cell);

/* ---- boxes: X25519, 32-byte secret and public key in one slot, and what PyNaCl makes of them and of signing keys ---- */

/* What an X25519 secret is made from. */
enum zpy_box_source {
    ZPY_BOX_SECRET = 0, /* 32 bytes, copied; random with ZPY_RANDOM. */
    ZPY_BOX_SEED = 1    /* The first half of the SHA-512 of 32 bytes. */
};

/* public_out, here and below: 32 bytes. Returns a handle > 0 or minus a zpy_status. The secret is the first 32 bytes of the
 * cell. */
int64_t zpy_box_create(int source, uint8_t const *bytes, uint32_t options, uint64_t ttl_ns, uint8_t *public_out);
/* The X25519 key that belongs to an Ed25519 key, from slot to slot. */
int64_t zpy_box_from_signing(uint64_t signing_key, uint32_t options, uint64_t ttl_ns, uint8_t *public_out);
/* The X25519 public key that belongs to an Ed25519 one; ZPY_INVALID for what is none, or of small order. */
int zpy_box_public_from_signing(uint8_t const *signing_public_key, uint8_t *public_out);
/* The key that the owners of two X25519 keys share, for ZPY_XSALSA20_POLY1305, with a new cell for it. Returns as
 * zpy_key_create; minus ZPY_INVALID for a public key with which all share the same. */
int64_t zpy_box_share(struct zpy_key *key_out, uint64_t private_key, uint8_t const *public_key, uint32_t options,
                      uint64_t ttl_ns);
/* Encrypt for the owner of a public key, under a key that nobody has afterwards. out: 48 bytes more than the message, zeroed
 * when the result is not ZPY_OK; ZPY_INVALID as above. */
int zpy_box_seal(uint8_t const *public_key, uint8_t const *message, size_t length, uint8_t *out);
/* length counts those 48; ZPY_RANGE for fewer. out: as much less, zeroed when the result is not ZPY_OK. */
int zpy_box_open(uint64_t private_key, uint8_t const *sealed, size_t length, uint8_t *out);
/* out: the signature, 64 bytes, and the message; zeroed when the result is not ZPY_OK. */
int zpy_sign_message(uint64_t key, uint8_t const *message, size_t length, uint8_t *out);
/* Verify what zpy_sign_message made. */
int zpy_sign_verify_message(uint8_t const *public_key, uint8_t const *signed_message, size_t length);

/* ---- passwords: Argon2 and scrypt, whose stack is cleared behind each call ---- */

enum zpy_pwhash {
    ZPY_ARGON2I = 1, /* libsodium's numbers. */
    ZPY_ARGON2ID = 2,
    ZPY_SCRYPT = 7, /* With Salsa20/8 and SHA-256: "$7$". */
    ZPY_PWHASH_ROOM = 128 /* Bytes of a hash as text, with zeros behind it. */
};

/* What its hashes begin with; null for a scheme that this libsodium lacks, as a reduced one lacks scrypt, and which is then
 * ZPY_UNSUPPORTED below. */
char const *zpy_pwhash_prefix(int scheme);
/* Argon2 1.3 with one lane into out, which is zeroed when the result is not ZPY_OK. salt: 16 bytes; opslimit: passes; memlimit:
 * bytes. ZPY_INVALID for what libsodium refuses, ZPY_NO_MEMORY when memlimit cannot be had. */
int zpy_pwhash_raw(int scheme, uint8_t const *password, size_t password_length, uint8_t const *salt, uint64_t opslimit,
                   size_t memlimit, uint8_t *out, size_t length);
/* The same with scrypt: RFC 7914's N, r and p, a salt of any length. */
int zpy_pwhash_scrypt(uint8_t const *password, size_t password_length, uint8_t const *salt, size_t salt_length, uint64_t n,
                      uint32_t r, uint32_t p, uint8_t *out, size_t length);
/* Hash as text, with a random salt and the limits in it. out: ZPY_PWHASH_ROOM bytes, zeroed when the result is not ZPY_OK. */
int zpy_pwhash_str(int scheme, uint8_t const *password, size_t password_length, uint64_t opslimit, size_t memlimit, char *out);
/* Is it the hash of this password? hash: a string of less than ZPY_PWHASH_ROOM bytes; scheme: ZPY_SCRYPT, or any Argon2 for the
 * one that it says. ZPY_FORGED for another password or a malformed hash; ZPY_NO_MEMORY when that could not be found out. */
int zpy_pwhash_verify(int scheme, char const *hash, uint8_t const *password, size_t password_length);

/* ---- hashes: out is zeroed when the result is not ZPY_OK ---- */

/* SHA-256 or SHA-512, by digest_bytes: 32 or 64. */
int zpy_hash_sha2(uint8_t const *data, size_t length, uint8_t *out, size_t digest_bytes);
/* SipHash-2-4 under a key of 16 bytes. digest_bytes: 8, or 16, which is ZPY_UNSUPPORTED where libsodium is a reduced one. */
int zpy_hash_siphash(uint8_t const *key, uint8_t const *data, size_t length, uint8_t *out, size_t digest_bytes);
/* BLAKE2b. key_length: 0 to 64; salt and person: 16 bytes each; digest_bytes: 1 to 64; ZPY_INVALID for others. */
int zpy_hash_blake2b(uint8_t const *data, size_t length, uint8_t const *key, size_t key_length, uint8_t const *salt,
                     uint8_t const *person, uint8_t *out, size_t digest_bytes);
/* The same in steps. cell: of crypto_generichash_STATEBYTES, where the state rests between them. */
int zpy_hash_blake2b_begin(uint64_t cell, uint8_t const *key, size_t key_length, uint8_t const *salt, uint8_t const *person,
                           size_t digest_bytes);
int zpy_hash_blake2b_update(uint64_t cell, uint8_t const *data, size_t length);
/* keep: leave the state as it is, to go on with it; else it is finished, and finishing it again is ZPY_INVALID. */
int zpy_hash_blake2b_finish(uint64_t cell, uint8_t *out, size_t digest_bytes, bool keep);
