// Sinkhorn's iteration on VL matrices at a time: columns, then rows, divided by their sums.
#pragma once
#include "norm.h"

constexpr float SMALLEST_ENTRY = 1e-30f;

template <int C>
struct Sinkhorn {
  const int64_t n, iterations;
  Sinkhorn(int64_t streams, int64_t times) : n(C ? C : streams), iterations(times) {}

  // Vectors of a step: its matrix, and one over the sums that made it.
  int64_t step() const { return n * n + n; }
  // What `forward` keeps: the clamped exponentials, and each step.
  int64_t kept() const { return (n * n + 2 * iterations * step()) * VL; }

  static inline int64_t entry(int64_t n, bool columns, int64_t line, int64_t other) {
    return (columns ? other * n + line : line * n + other) * VL;
  }

  // logits: (n n, VL). Returns the matrix, which lies in `kept`.
  const float* forward(const float* logits, float* kept) const {
    const int64_t n = C ? C : this->n;
    for (int64_t j = 0; j < n; j++) {
      vf most = load(logits + j * VL);
      for (int64_t i = 1; i < n; i++) most = larger(load(logits + (i * n + j) * VL), most);
      for (int64_t i = 0; i < n; i++) {
        vf e = exponential(load(logits + (i * n + j) * VL) - most);
        store(kept + (i * n + j) * VL, e < SMALLEST_ENTRY ? splat(SMALLEST_ENTRY) : e);
      }
    }
    const float* before = kept;
    float* after = kept + n * n * VL;
    for (int64_t half = 0; half < 2 * iterations; half++) {
      const bool columns = half % 2 == 0;
      for (int64_t line = 0; line < n; line++) {
        vf total = {};
        for (int64_t k = 0; k < n; k++) total = total + load(before + entry(n, columns, line, k));
        vf inverse = 1.0f / total;
        store(after + (n * n + line) * VL, inverse);
        for (int64_t k = 0; k < n; k++) {
          int64_t at = entry(n, columns, line, k);
          store(after + at, load(before + at) * inverse);
        }
      }
      before = after;
      after += step() * VL;
    }
    return before;
  }

  // d: the matrix' gradient, which becomes the logits'. `kept` is what `forward` has left.
  void backward(const float* logits, const float* kept, float* d) const {
    const int64_t n = C ? C : this->n;
    for (int64_t half = 2 * iterations - 1; half >= 0; half--) {
      const bool columns = half % 2 == 0;
      const float* after = kept + (n * n + half * step()) * VL;
      for (int64_t line = 0; line < n; line++) {
        vf total = {}, inverse = load(after + (n * n + line) * VL);
        for (int64_t k = 0; k < n; k++) {
          int64_t at = entry(n, columns, line, k);
          total = total + load(d + at) * load(after + at);
        }
        for (int64_t k = 0; k < n; k++) {
          int64_t at = entry(n, columns, line, k);
          store(d + at, (load(d + at) - total) * inverse);
        }
      }
    }
    // Raised entries have no gradient; a column's largest entries share what they were divided by.
    for (int64_t j = 0; j < n; j++) {
      vf most = load(logits + j * VL), total = {}, ties = {};
      for (int64_t i = 1; i < n; i++) most = larger(load(logits + (i * n + j) * VL), most);
      for (int64_t i = 0; i < n; i++) {
        int64_t at = (i * n + j) * VL;
        vf e = load(kept + at), change = e > SMALLEST_ENTRY ? load(d + at) * e : vf{};
        store(d + at, change);
        total = total + change;
        ties = ties + (load(logits + at) == most ? splat(1.0f) : vf{});
      }
      for (int64_t i = 0; i < n; i++) {
        int64_t at = (i * n + j) * VL;
        vf shared = load(logits + at) == most ? total / ties : vf{};
        store(d + at, load(d + at) - shared);
      }
    }
  }
};
