// Matrix products out of cache-sized pieces, in fp32 or in bf16 with fp32 sums.
//
// Operands are made of 4-byte units: a float, or two bf16 values that are neighbours in the
// dimension summed over. So one kernel serves both, and only its innermost instruction differs.
// The right operand lies in panels of 4 VL columns: panel p holds all its rows, one after another.
#pragma once
#include "amx.h"
#include "transpose.h"

constexpr int PANEL = 4 * VL;

struct Fp32 {
  typedef float row;
  static constexpr int per_unit = 1;
  static inline vf add(vf c, vf a, vf b) { return c + a * b; }
};
struct Bf16 {
  typedef bf16 row;
  static constexpr int per_unit = 2;
  static inline vf add(vf c, vf a, vf b) {
#if defined(__AVX512BF16__)
    return (vf)_mm512_dpbf16_ps((__m512)c, (__m512bh)(__m512)a, (__m512bh)(__m512)b);
#else
    vi high = {};
    high = high + (int32_t)0xffff0000;
    vf a1 = (vf)((vi)a & high), b1 = (vf)((vi)b & high);
    vf a0 = (vf)((vi)a << 16), b0 = (vf)((vi)b << 16);
    return c + a0 * b0 + a1 * b1;
#endif
  }
};

template <class P>
static inline int64_t units(int64_t n) { return (n + P::per_unit - 1) / P::per_unit; }

template <class P, int MR, int NV>
static inline void tile(int64_t K, const float* a, int64_t a_row, int64_t a_unit, const float* b,
                        int64_t b_row, float* c, int64_t c_row, bool more) {
  vf r[MR][NV];
#pragma GCC unroll 12
  for (int i = 0; i < MR; i++)
#pragma GCC unroll 4
    for (int j = 0; j < NV; j++) r[i][j] = more ? load(c + i * c_row + j * VL) : vf{};
  for (int64_t k = 0; k < K; k++) {
    vf bv[NV];
#pragma GCC unroll 4
    for (int j = 0; j < NV; j++) bv[j] = load(b + k * b_row + j * VL);
#pragma GCC unroll 12
    for (int i = 0; i < MR; i++) {
      vf av = splat(a[i * a_row + k * a_unit]);
#pragma GCC unroll 4
      for (int j = 0; j < NV; j++) r[i][j] = P::add(r[i][j], av, bv[j]);
    }
  }
#pragma GCC unroll 12
  for (int i = 0; i < MR; i++)
#pragma GCC unroll 4
    for (int j = 0; j < NV; j++) store(c + i * c_row + j * VL, r[i][j]);
}

template <class P, int NV>
static inline void column(int64_t M, int64_t K, const float* a, int64_t a_row, int64_t a_unit,
                          const float* b, int64_t b_row, float* c, int64_t c_row, bool more) {
  int64_t i = 0;
  auto rows = [&](auto size) {
    constexpr int MR = decltype(size)::value;
    for (; i + MR <= M; i += MR)
      tile<P, MR, NV>(K, a + i * a_row, a_row, a_unit, b, b_row, c + i * c_row, c_row, more);
  };
  if constexpr (NV <= 2 && VL == 16) rows(std::integral_constant<int, 12>());
  if constexpr (VL == 16) rows(std::integral_constant<int, 6>());
  rows(std::integral_constant<int, 2>());
  rows(std::integral_constant<int, 1>());
}

// Calls f(number of vectors, panel, its row length, its sums) for every panel of N columns.
template <class F>
static inline void by_panels(int64_t N, const float* b, int64_t b_columns, int64_t b_rows, float* c,
                             F f) {
  for (int64_t n = 0; n < N; n += PANEL) {
    int64_t width = std::min<int64_t>(PANEL, padded(b_columns) - n);
    const float* panel = b + n * b_rows;
    switch ((std::min<int64_t>(PANEL, N - n) + VL - 1) / VL) {
      case 1: f(std::integral_constant<int, 1>(), panel, width, c + n); break;
      case 2: f(std::integral_constant<int, 2>(), panel, width, c + n); break;
      case 3: f(std::integral_constant<int, 3>(), panel, width, c + n); break;
      default: f(std::integral_constant<int, 4>(), panel, width, c + n);
    }
  }
}

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

// c[M, N] (+)= a[M, K] b[K, N], K in units. The row length of c is at least padded(N).
//   b_columns, b_rows: sizes with which b was packed, where only a part of it is used.
template <class P>
static void product(int64_t M, int64_t N, int64_t K, const float* a, int64_t a_row, int64_t a_unit,
                    const float* b, int64_t b_columns, int64_t b_rows, float* c, int64_t c_row,
                    bool more) {
#if ATTNRES_TILES
  if (P::per_unit == 2 && tiles_wanted && tiles_pay(M, K))
    return tiled_product<P>(M, N, K, a, a_row, a_unit, b, b_columns, b_rows, c, c_row, more);
#endif
  by_panels(N, b, b_columns, b_rows, c,
            [&](auto vectors, const float* panel, int64_t width, float* sums) {
              constexpr int NV = decltype(vectors)::value;
              column<P, NV>(M, K, a, a_row, a_unit, panel, width, sums, c_row, more);
            });
}

template <class P>
static inline float unit_of(float first, float second) {
  if constexpr (P::per_unit == 1) return first;
  uint32_t bits = (uint32_t)from_float<bf16>(first) | (uint32_t)from_float<bf16>(second) << 16;
  float value;
  memcpy(&value, &bits, 4);
  return value;
}

// Two rows of floats side by side: a vector of units.
template <class P>
static inline vf interleaved(vf first, vf second) {
  if constexpr (P::per_unit == 1) return first;
  vi low = __builtin_convertvector(narrow(first), vi);
  vi high = __builtin_convertvector(narrow(second), vi) << 16;
  return (vf)(low | high);
}

// Rows [row, row + count) of a right operand of `rows` rows, of fp32 rows whose padding is zero.
// count counts rows of src; row counts units. A missing partner of the last row is zero.
template <class P>
static void pack_rows(const float* src, int64_t ld, int64_t count, int64_t columns, float* dst,
                      int64_t row, int64_t rows) {
  for (int64_t n = 0; n < columns; n += PANEL) {
    int64_t width = std::min<int64_t>(PANEL, padded(columns) - n);
    for (int64_t u = 0; u < units<P>(count); u++) {
      const float* first = src + u * P::per_unit * ld + n;
      bool paired = P::per_unit == 2 && 2 * u + 1 < count;
      float* out = dst + n * rows + (row + u) * width;
      for (int64_t c = 0; c < width; c += VL)
        store(out + c, interleaved<P>(load(first + c), paired ? load(first + ld + c) : vf{}));
    }
  }
}

// A left operand to be read along its columns: unit u of column c at dst[u * ld_dst + c].
template <class P>
static void pack_columns(const float* src, int64_t ld, int64_t count, int64_t columns, float* dst,
                         int64_t ld_dst) {
  for (int64_t u = 0; u < units<P>(count); u++) {
    const float* first = src + u * P::per_unit * ld;
    bool paired = P::per_unit == 2 && 2 * u + 1 < count;
    for (int64_t c = 0; c < padded(columns); c += VL)
      store(dst + u * ld_dst + c,
            interleaved<P>(load(first + c), paired ? load(first + ld + c) : vf{}));
  }
}

#if defined(__AVX512F__)
// VL units of a row of `count` floats; zeros behind its end.
template <class P>
static inline __m512 units_of_row(const float* src, int64_t count) {
  auto part = [&](int64_t n) {
    return n >= VL ? load(src) : n > 0 ? load_part(src, n) : vf{};
  };
  vf first = part(count);
  if constexpr (P::per_unit == 1) return (__m512)first;
  src += VL;
  vh halves[2] = {narrow(first), narrow(part(count - VL))};
  return _mm512_loadu_ps(halves);
}
#endif

// A right operand b[k, n] = weight[n * ld + k]: a weight (out, in) to be multiplied by inputs.
template <class P>
static void pack_transposed(const float* weight, int64_t ld, int64_t K, int64_t N, float* dst) {
  int64_t rows = units<P>(K);
  for (int64_t n = 0; n < padded(N); n += PANEL) {
    int64_t width = std::min<int64_t>(PANEL, padded(N) - n);
    float* panel = dst + n * rows;
    for (int64_t k0 = 0; k0 < rows; k0 += 16) {
      int64_t k1 = std::min(k0 + 16, rows);
#if defined(__AVX512F__)
      for (int64_t c = 0; c < width; c += VL) {
        __m512 r[VL];
#pragma GCC unroll 16
        for (int i = 0; i < VL; i++)
          r[i] = n + c + i < N ? units_of_row<P>(weight + (n + c + i) * ld + k0 * P::per_unit,
                                                 K - k0 * P::per_unit)
                               : _mm512_setzero_ps();
        transpose(r);
#pragma GCC unroll 16
        for (int i = 0; i < VL; i++)
          if (k0 + i < k1) _mm512_storeu_ps(panel + (k0 + i) * width + c, r[i]);
      }
#else
      for (int64_t c = 0; c < width; c++) {
        const float* src = weight + (n + c) * ld;
        for (int64_t k = k0; k < k1; k++) {
          float first = n + c < N ? src[k * P::per_unit] : 0;
          float second = 0;
          if (P::per_unit == 2 && n + c < N && 2 * k + 1 < K) second = src[2 * k + 1];
          panel[k * width + c] = unit_of<P>(first, second);
        }
      }
#endif
    }
  }
}

// A right operand b[k, n] = weight[k * ld + n]: a weight (out, in) to be multiplied by gradients.
template <class P>
static void pack_straight(const float* weight, int64_t ld, int64_t K, int64_t N, float* dst) {
  int64_t rows = units<P>(K);
  for (int64_t n = 0; n < N; n += PANEL) {
    int64_t width = std::min<int64_t>(PANEL, padded(N) - n);
    for (int64_t k = 0; k < rows; k++) {
      const float* first = weight + k * P::per_unit * ld + n;
      bool paired = P::per_unit == 2 && 2 * k + 1 < K;
      float* out = dst + n * rows + k * width;
      for (int64_t c = 0; c < width; c += VL) {
        if (n + c + VL <= N) {
          store(out + c, interleaved<P>(load(first + c), paired ? load(first + ld + c) : vf{}));
          continue;
        }
        for (int64_t i = c; i < c + VL; i++) {
          bool inside = n + i < N;
          out[i] = unit_of<P>(inside ? first[i] : 0, inside && paired ? first[ld + i] : 0);
        }
      }
    }
  }
}

static inline int64_t packed_size(int64_t rows, int64_t columns) { return rows * padded(columns); }

// fp32 rows to rows of an operand; the padding of dst becomes zero.
template <class P>
static inline void to_row(const float* src, int64_t n, float* dst) {
  typename P::row* out = (typename P::row*)dst;
  for (int64_t c = 0; c < padded(n); c += VL) store(out + c, load(src + c));
}
static inline void zero_padding(float* row, int64_t n) {
  for (int64_t c = n; c < padded(n); c++) row[c] = 0;
}
// A row to floats, with padding of zeros; and back.
template <class T>
static inline void read_row(const T* src, int64_t n, float* dst) {
  int64_t c = 0;
  for (; c + VL <= n; c += VL) store(dst + c, load(src + c));
  if (c < n) store(dst + c, load_part(src + c, n - c));
}
template <class T>
static inline void write_row(const float* src, int64_t n, T* dst) {
  int64_t c = 0;
  for (; c + VL <= n; c += VL) store(dst + c, load(src + c));
  if (c < n) store_part(dst + c, load(src + c), n - c);
}
