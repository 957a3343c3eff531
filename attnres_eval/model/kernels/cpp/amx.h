// bf16 products by the processor's matrix tiles (AMX), 16 x 16 sums at a time, where it has them and
// they are wanted.
//
// A tile holds 16 rows of 64 bytes: operands in 4-byte units fit as they are (panels.h). Sums of a
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

// Registers 0 to 3: sums of two pieces of rows by two of columns; 4 and 5: left; 6 and 7: right.
struct alignas(64) TileShapes {
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t bytes_of_row[16] = {};
  uint8_t rows[16] = {};
  TileShapes(int64_t m, int64_t k) {
    for (int i = 0; i < 8; i++) rows[i] = (uint8_t)(i < 6 ? m : k), bytes_of_row[i] = 4 * TILE;
    for (int i = 4; i < 6; i++) bytes_of_row[i] = (uint16_t)(4 * k);
  }
};

// Compilers are not told what memory the tiles' instructions read: what is to be there, is now.
static inline void written(const void* p) { asm volatile("" ::"r"(p) : "memory"); }

// Where the pieces of a left operand lie: piece (i, k) at p + i * row_piece + k * unit_piece.
struct LeftPieces {
  const float* p;
  int64_t row, row_piece, unit_piece;
};

// c[MV m, 16 NV] (+)= a b over `pieces` pieces of k units each; the shapes m and k are configured.
// Every piece that is loaded is used for MV or NV products: loads from cache would be the limit.
template <int MV, int NV>
static inline void tiles(int64_t m, int64_t k, int64_t pieces, LeftPieces a, const float* b,
                         int64_t b_row, float* c, int64_t c_row, bool more) {
  float* lower = c + m * c_row;
  if (more) {
    _tile_loadd(0, c, 4 * c_row);
    if constexpr (NV > 1) _tile_loadd(1, c + TILE, 4 * c_row);
    if constexpr (MV > 1) _tile_loadd(2, lower, 4 * c_row);
    if constexpr (MV > 1 && NV > 1) _tile_loadd(3, lower + TILE, 4 * c_row);
  } else {
    _tile_zero(0);
    if constexpr (NV > 1) _tile_zero(1);
    if constexpr (MV > 1) _tile_zero(2);
    if constexpr (MV > 1 && NV > 1) _tile_zero(3);
  }
  for (int64_t i = 0; i < pieces; i++, a.p += a.unit_piece, b += k * b_row) {
    _tile_loadd(4, a.p, 4 * a.row);
    _tile_loadd(6, b, 4 * b_row);
    _tile_dpbf16ps(0, 4, 6);
    if constexpr (NV > 1) {
      _tile_loadd(7, b + TILE, 4 * b_row);
      _tile_dpbf16ps(1, 4, 7);
    }
    if constexpr (MV > 1) {
      _tile_loadd(5, a.p + a.row_piece, 4 * a.row);
      _tile_dpbf16ps(2, 5, 6);
    }
    if constexpr (MV > 1 && NV > 1) _tile_dpbf16ps(3, 5, 7);
  }
  _tile_stored(0, c, 4 * c_row);
  if constexpr (NV > 1) _tile_stored(1, c + TILE, 4 * c_row);
  if constexpr (MV > 1) _tile_stored(2, lower, 4 * c_row);
  if constexpr (MV > 1 && NV > 1) _tile_stored(3, lower + TILE, 4 * c_row);
}
#else
static inline bool tiles_given() { return false; }
#endif
