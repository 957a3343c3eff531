// bf16 products by the processor's matrix tiles (AMX), 16 x 16 sums at a time, where it has them and
// they are wanted.
//
// A tile holds 16 rows of 64 bytes: operands in 4-byte units fit as they are (gemm.h). Sums of a
// product are added up in another order than without tiles, so values differ by rounding, and a
// row's by its place in its block.
#pragma once
#include "vec.h"

static bool tiles_wanted = false;

#if defined(__AMX_BF16__) && defined(__AVX512F__) && defined(__linux__) && defined(__x86_64__)
#define ATTNRES_TILES 1
#include <sys/syscall.h>
#include <unistd.h>

constexpr int64_t TILE = 16;

// Linux keeps room for a process' tiles only when it is asked to (ARCH_REQ_XCOMP_PERM, XTILEDATA).
static inline bool tiles_given() {
  static const bool given = syscall(SYS_arch_prctl, 0x1023, 18) == 0;
  return given;
}

// Into how large pieces n is cut: of equal size where that leaves most of a tile in use.
static inline int64_t tile_share(int64_t n) {
  for (int64_t size = TILE; size > TILE / 2; size--)
    if (n % size == 0) return size;
  return TILE;
}

// Smaller products would leave most of a tile empty.
static inline bool tiles_pay(int64_t M, int64_t K) { return M > TILE / 2 && K > TILE / 2; }

// Registers 0 to 3: sums of four neighbouring pieces of columns; 4: left operand; 5: right operand.
struct alignas(64) TileShapes {
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t bytes_of_row[16] = {};
  uint8_t rows[16] = {};
  TileShapes(int64_t m, int64_t k) {
    for (int i = 0; i < 4; i++) rows[i] = (uint8_t)m, bytes_of_row[i] = 4 * TILE;
    rows[4] = (uint8_t)m, bytes_of_row[4] = (uint16_t)(4 * k);
    rows[5] = (uint8_t)k, bytes_of_row[5] = 4 * TILE;
  }
};

// Compilers are not told what memory the tiles' instructions read: what is to be there, is now.
static inline void written(const void* p) { asm volatile("" ::"r"(p) : "memory"); }

// dst[i * 16 + k] = src[k * ld + i] for i < m, k < n; the rest of dst is zero.
static inline void transposed(const float* src, int64_t ld, int64_t m, int64_t n, float* dst) {
  __m512 r[TILE];
  __m512i lane = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
#pragma GCC unroll 16
  for (int k = 0; k < TILE; k++)
    r[k] = k < n ? _mm512_maskz_loadu_ps((__mmask16)((1u << m) - 1), src + k * ld)
                 : _mm512_setzero_ps();
  // Blocks of 1, 2, 4 and 8 change places with their mirror images.
#pragma GCC unroll 4
  for (int step = 1; step < TILE; step *= 2) {
    __mmask16 odd = _mm512_test_epi32_mask(lane, _mm512_set1_epi32(step));
    __m512i low = _mm512_mask_add_epi32(lane, odd, lane, _mm512_set1_epi32((int)TILE - step));
    __m512i high = _mm512_add_epi32(low, _mm512_set1_epi32(step));
#pragma GCC unroll 16
    for (int i = 0; i < TILE; i++) {
      if (i & step) continue;
      __m512 a = r[i], b = r[i + step];
      r[i] = _mm512_permutex2var_ps(a, low, b);
      r[i + step] = _mm512_permutex2var_ps(a, high, b);
    }
  }
#pragma GCC unroll 16
  for (int i = 0; i < TILE; i++) _mm512_storeu_ps(dst + i * TILE, r[i]);
}

// c[m, 16 NV] (+)= a b over `pieces` pieces of k units each; the shapes m and k are configured.
template <int NV>
static inline void tiles(int64_t m, int64_t k, int64_t pieces, const float* a, int64_t a_row,
                         int64_t a_unit, const float* b, int64_t b_row, float* c, int64_t c_row,
                         bool more) {
  alignas(64) float turned[TILE * TILE];
  if (more) {
    _tile_loadd(0, c, 4 * c_row);
    if constexpr (NV > 1) _tile_loadd(1, c + TILE, 4 * c_row);
    if constexpr (NV > 2) _tile_loadd(2, c + 2 * TILE, 4 * c_row);
    if constexpr (NV > 3) _tile_loadd(3, c + 3 * TILE, 4 * c_row);
  } else {
    _tile_zero(0);
    if constexpr (NV > 1) _tile_zero(1);
    if constexpr (NV > 2) _tile_zero(2);
    if constexpr (NV > 3) _tile_zero(3);
  }
  for (int64_t piece = 0; piece < pieces; piece++, a += k * a_unit, b += k * b_row) {
    if (a_unit == 1) {
      _tile_loadd(4, a, 4 * a_row);
    } else {
      transposed(a, a_unit, m, k, turned);
      written(turned);
      _tile_loadd(4, turned, 4 * TILE);
    }
    _tile_loadd(5, b, 4 * b_row);
    _tile_dpbf16ps(0, 4, 5);
    if constexpr (NV > 1) {
      _tile_loadd(5, b + TILE, 4 * b_row);
      _tile_dpbf16ps(1, 4, 5);
    }
    if constexpr (NV > 2) {
      _tile_loadd(5, b + 2 * TILE, 4 * b_row);
      _tile_dpbf16ps(2, 4, 5);
    }
    if constexpr (NV > 3) {
      _tile_loadd(5, b + 3 * TILE, 4 * b_row);
      _tile_dpbf16ps(3, 4, 5);
    }
  }
  _tile_stored(0, c, 4 * c_row);
  if constexpr (NV > 1) _tile_stored(1, c + TILE, 4 * c_row);
  if constexpr (NV > 2) _tile_stored(2, c + 2 * TILE, 4 * c_row);
  if constexpr (NV > 3) _tile_stored(3, c + 3 * TILE, 4 * c_row);
}
#else
static inline bool tiles_given() { return false; }
#endif
