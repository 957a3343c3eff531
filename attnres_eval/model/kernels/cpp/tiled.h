// Matrix products by the processor's tiles, out of pieces that fit one.
#pragma once
#include "amx.h"
#include "panels.h"
#include "transpose.h"

#if ATTNRES_TILES
// Pieces of m rows and k units of a left operand that is read along its columns, each in a row.
static inline LeftPieces turned(int64_t m, int64_t k, int64_t rows, int64_t pieces, const float* a,
                                int64_t a_unit, float* dst) {
  const int64_t size = TILE * TILE;
  for (int64_t i = 0; i < rows; i++)
    for (int64_t p = 0; p < pieces; p++)
      transposed(a + i * m + p * k * a_unit, a_unit, m, k, dst + (i * pieces + p) * size);
  return {dst, TILE, pieces * size, size};
}

// c[row_pieces m, N] (+)= a b over `pieces` pieces of k units, of which b's first is at its row b_row.
template <class P>
static void pieces_product(int64_t m, int64_t k, int64_t row_pieces, int64_t pieces, int64_t N,
                           const float* a, int64_t a_row, int64_t a_unit, const float* b,
                           int64_t b_columns, int64_t b_rows, int64_t b_row, float* c,
                           int64_t c_row, bool more) {
  constexpr int64_t AT_ONCE = 4;  // pieces of rows that meet a panel while it is in cache
  Frame frame;
  float* room = a_unit == 1 ? nullptr : scratch.floats(AT_ONCE * pieces * TILE * TILE);
  TileShapes shapes(m, k);
  written(&shapes);
  _tile_loadconfig(&shapes);
  for (int64_t i0 = 0; i0 < row_pieces; i0 += AT_ONCE) {
    int64_t block = std::min(AT_ONCE, row_pieces - i0);
    LeftPieces left = {a + i0 * m * a_row, a_row, m * a_row, k};
    if (a_unit != 1) left = turned(m, k, block, pieces, left.p, a_unit, room), written(room);
    by_panels(N, b, b_columns, b_rows, c + i0 * m * c_row,
              [&](auto vectors, const float* panel, int64_t width, float* sums) {
                constexpr int NV = decltype(vectors)::value;
                panel += b_row * width;
                auto columns = [&](auto number, int j) {
                  constexpr int n = decltype(number)::value;
                  LeftPieces piece = left;
                  float* at = sums + j * TILE;
                  int64_t i = 0;
                  for (; i + 2 <= block; i += 2, at += 2 * m * c_row, piece.p += 2 * left.row_piece)
                    tiles<2, n>(m, k, pieces, piece, panel + j * TILE, width, at, c_row, more);
                  if (i < block)
                    tiles<1, n>(m, k, pieces, piece, panel + j * TILE, width, at, c_row, more);
                };
                for (int j = 0; j + 2 <= NV; j += 2) columns(std::integral_constant<int, 2>(), j);
                if constexpr (NV % 2) columns(std::integral_constant<int, 1>(), NV - 1);
              });
  }
  _tile_release();
}

// The product by the processor's tiles; by vectors, what would leave most of a tile empty.
template <class P>
static void tiled_product(int64_t M, int64_t N, int64_t K, const float* a, int64_t a_row,
                          int64_t a_unit, const float* b, int64_t b_columns, int64_t b_rows,
                          float* c, int64_t c_row, bool more) {
  const int64_t m = tile_share(M), row_pieces = M / m, rows = row_pieces * m;
  auto by_tiles = [&](int64_t k, int64_t pieces, int64_t first, bool onto) {
    pieces_product<P>(m, k, row_pieces, pieces, N, a + first * a_unit, a_row, a_unit, b, b_columns,
                      b_rows, first, c, c_row, onto);
  };
  auto by_vectors = [&](int64_t i, int64_t count, int64_t first, bool onto) {
    by_panels(N, b, b_columns, b_rows, c + i * c_row,
              [&](auto vectors, const float* panel, int64_t width, float* sums) {
                constexpr int NV = decltype(vectors)::value;
                column<P, NV>(count, K - first, a + i * a_row + first * a_unit, a_row, a_unit,
                              panel + first * width, width, sums, c_row, onto);
              });
  };
  const int64_t k = tile_share(K), pieces = K / k, done = pieces * k;
  by_tiles(k, pieces, 0, more);
  if (K - done > TILE / 2) by_tiles(K - done, 1, done, true);
  else if (done < K) by_vectors(0, rows, done, true);
  if (rows < M) by_vectors(rows, M - rows, 0, more);
}
#endif
