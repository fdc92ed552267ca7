/* zpy_registers.c: forget what a copy left in vector registers.
 *
 * memcpy moves secrets through them. Whatever spills registers next, such as the dynamic linker when it binds a function
 * of another library on its first call, would leave a copy of the secret on the stack. */
#include "zpy_internal.h"

#if defined(__x86_64__) && defined(__GNUC__)

static bool has_avx = false;
static bool has_avx512 = false;

void
zpy_registers_setup(void)
{
    has_avx = sodium_runtime_has_avx() != 0;
    has_avx512 = sodium_runtime_has_avx512f() != 0;
}

/* vzeroall reaches registers 0 to 15 only; the C library's copies prefer 16 to 31 where there are that many. */
__attribute__((target("avx512f"))) static void
clear_upper(void)
{
    __asm__ volatile("vpxorq %%zmm16, %%zmm16, %%zmm16\n\tvpxorq %%zmm17, %%zmm17, %%zmm17\n\t"
                     "vpxorq %%zmm18, %%zmm18, %%zmm18\n\tvpxorq %%zmm19, %%zmm19, %%zmm19\n\t"
                     "vpxorq %%zmm20, %%zmm20, %%zmm20\n\tvpxorq %%zmm21, %%zmm21, %%zmm21\n\t"
                     "vpxorq %%zmm22, %%zmm22, %%zmm22\n\tvpxorq %%zmm23, %%zmm23, %%zmm23\n\t"
                     "vpxorq %%zmm24, %%zmm24, %%zmm24\n\tvpxorq %%zmm25, %%zmm25, %%zmm25\n\t"
                     "vpxorq %%zmm26, %%zmm26, %%zmm26\n\tvpxorq %%zmm27, %%zmm27, %%zmm27\n\t"
                     "vpxorq %%zmm28, %%zmm28, %%zmm28\n\tvpxorq %%zmm29, %%zmm29, %%zmm29\n\t"
                     "vpxorq %%zmm30, %%zmm30, %%zmm30\n\tvpxorq %%zmm31, %%zmm31, %%zmm31"
                     :
                     :
                     : "xmm16", "xmm17", "xmm18", "xmm19", "xmm20", "xmm21", "xmm22", "xmm23", "xmm24", "xmm25",
                       "xmm26", "xmm27", "xmm28", "xmm29", "xmm30", "xmm31");
}

#if defined(_WIN32)

/* There a function that changes registers 6 to 15 first saves them, and so every copy has given them back; only their upper
 * halves are free to be left behind. */
__attribute__((target("avx"))) static void
clear_all_avx(void)
{
    __asm__ volatile("vzeroupper\n\tvpxor %%xmm0, %%xmm0, %%xmm0\n\tvpxor %%xmm1, %%xmm1, %%xmm1\n\t"
                     "vpxor %%xmm2, %%xmm2, %%xmm2\n\tvpxor %%xmm3, %%xmm3, %%xmm3\n\t"
                     "vpxor %%xmm4, %%xmm4, %%xmm4\n\tvpxor %%xmm5, %%xmm5, %%xmm5"
                     :
                     :
                     : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5");
}

static void
clear_all_sse(void)
{
    __asm__ volatile("pxor %%xmm0, %%xmm0\n\tpxor %%xmm1, %%xmm1\n\tpxor %%xmm2, %%xmm2\n\tpxor %%xmm3, %%xmm3\n\t"
                     "pxor %%xmm4, %%xmm4\n\tpxor %%xmm5, %%xmm5"
                     :
                     :
                     : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5");
}

#else

__attribute__((target("avx"))) static void
clear_all_avx(void)
{
    __asm__ volatile("vzeroall"
                     :
                     :
                     : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11",
                       "xmm12", "xmm13", "xmm14", "xmm15");
}

static void
clear_all_sse(void)
{
    __asm__ volatile("pxor %%xmm0, %%xmm0\n\tpxor %%xmm1, %%xmm1\n\tpxor %%xmm2, %%xmm2\n\tpxor %%xmm3, %%xmm3\n\t"
                     "pxor %%xmm4, %%xmm4\n\tpxor %%xmm5, %%xmm5\n\tpxor %%xmm6, %%xmm6\n\tpxor %%xmm7, %%xmm7\n\t"
                     "pxor %%xmm8, %%xmm8\n\tpxor %%xmm9, %%xmm9\n\tpxor %%xmm10, %%xmm10\n\t"
                     "pxor %%xmm11, %%xmm11\n\tpxor %%xmm12, %%xmm12\n\tpxor %%xmm13, %%xmm13\n\t"
                     "pxor %%xmm14, %%xmm14\n\tpxor %%xmm15, %%xmm15"
                     :
                     :
                     : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11",
                       "xmm12", "xmm13", "xmm14", "xmm15");
}

#endif

void
zpy_registers_clear(void)
{
    if (has_avx) {
        clear_all_avx();
        if (has_avx512) {
            clear_upper();
        }
    } else {
        clear_all_sse();
    }
}

#else

void
zpy_registers_setup(void)
{
}

/* Other processors: LIMITATIONS.md says that their vector registers are not cleared. */
void
zpy_registers_clear(void)
{
}

#endif

/* Deeper than libsodium's AEGIS (0.4 KiB, and 2.1 without AES instructions), AES-GCM (2.2) and XChaCha20-Poly1305 (2.3) go on
 * x86-64, with room for register spills. */
#define CIPHER_STACK_BYTES ((size_t) 4096)

/* Round keys stay behind in stack slots and vector registers; a later register spill would copy them to memory. */
void
zpy_registers_clear_after_cipher(void)
{
    sodium_stackzero(CIPHER_STACK_BYTES);
    zpy_registers_clear();
}

/* libsodium clears the hash of a seed, and neither what its arithmetic on Curve25519 made of a scalar (digits, limbs of sums, the
 * scalar itself) nor, in crypto_box_beforenm, the point that both sides share. On x86-64 it goes 1.8 KiB deep for a signature,
 * 3.6 for a sealed box, and 4.4 when the dynamic linker binds a function on the way. */
#define CURVE_STACK_BYTES ((size_t) 8192)

void
zpy_registers_clear_after_curve(void)
{
    sodium_stackzero(CURVE_STACK_BYTES);
    zpy_registers_clear();
}
