// Matrix products out of cache-sized pieces, in fp32 or in bf16 with fp32 sums, and their operands.
#pragma once
#include "tiled.h"

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
