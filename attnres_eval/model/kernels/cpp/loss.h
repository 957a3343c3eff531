// Next-token loss through the head: sum_m weight[m] (logsumexp(logits[m]) - logits[m, target[m]])
// with logits = norm(x) W^T. Logits live for a few tokens at a time, and the gradients are
// made on the spot, while they are there.
#pragma once
#include "linear.h"

// Turns a row of logits into probabilities; returns log of their normaliser.
static inline float softmax_row(float* row, int64_t n) {
  float most = largest_of(row, n);
  float total = exponentials(row, n, padded(n), most), factor = 1 / total;
  for (int64_t c = 0; c < padded(n); c += VL) store(row + c, load(row + c) * factor);
  return most + std::log(total);
}

// d_x, d_gain (K) and d_weight (N, K) are of the weighted sum; all are null where only it is asked
// for. Returns the sum in `loss`, not a number where a target is out of range.
template <class P, class X>
static void loss_forward(const X* x, const float* gain, const float* weight,
                         const int64_t* targets, const float* weights, double* loss, X* d_x,
                         float* d_gain, float* d_weight, int64_t M, int64_t K, int64_t N,
                         int threads) {
  Frame frame;
  const int64_t ku = units<P>(K), nu = units<P>(N), kp = padded(K), np = padded(N);
  const bool graded = d_x != nullptr;
  float *w = scratch.floats(packed_size(ku, N)), *w_back = nullptr;
  pack_transposed<P>(weight, K, K, N, w);
  if (graded) {
    w_back = scratch.floats(packed_size(nu, K));
    pack_straight<P>(weight, K, N, K, w_back);
  }
  gain = padded_copy(gain, K);
  Sums weight_sums(graded ? N : 0, K, d_weight, threads), gains(1, K, d_gain, threads);
  std::vector<double> losses((size_t)threads);
  on_threads(threads, [&](int thread, int all) {
    Frame inner;
    float *xs = scratch.floats(ROWS * kp), *h = scratch.floats(ROWS * kp);
    float *h_rows = scratch.floats(ROWS * kp), *dh = scratch.floats(ROWS * kp), scale[ROWS];
    float *logits = scratch.floats(ROWS * np), *d_rows = scratch.floats(graded ? ROWS * np : 0);
    float* d_columns = scratch.floats(graded ? CHUNK_UNITS<P> * np : 0);
    float* h_panels = scratch.floats(graded ? CHUNK_UNITS<P> * kp : 0);
    const int64_t h_row = kp / P::per_unit, d_row = np / P::per_unit;
    double total = 0;
    auto few = [&](int64_t m, int64_t rows, int64_t unit, int64_t all_units) {
      for (int64_t i = 0; i < rows; i++) {
        read_row(x + (m + i) * K, K, xs + i * kp);
        scale[i] = norm_row(xs + i * kp, gain, K, h + i * kp);
        to_row<P>(h + i * kp, K, h_rows + i * h_row);
      }
      product<P>(rows, N, ku, h_rows, h_row, 1, w, N, ku, logits, np, false);
      for (int64_t i = 0; i < rows; i++) {
        float* row = logits + i * np;
        int64_t target = targets[m + i];
        if (target < 0 || target >= N) {
          total = NAN;
          target = 0;
        }
        float share_of = weights[m + i], own = row[target], normaliser = softmax_row(row, N);
        total += (double)share_of * ((double)normaliser - own);
        if (!graded) continue;
        for (int64_t c = 0; c < np; c += VL) store(row + c, load(row + c) * share_of);
        row[target] -= share_of;
        to_row<P>(row, N, d_rows + i * d_row);
      }
      if (!graded) return;
      pack_rows<P>(h, kp, rows, K, h_panels, unit, all_units);
      pack_columns<P>(logits, np, rows, N, d_columns + unit * np, np);
      product<P>(rows, K, nu, d_rows, d_row, 1, w_back, K, nu, dh, kp, false);
      for (int64_t i = 0; i < rows; i++) {
        norm_row_backward(xs + i * kp, gain, scale[i], K, dh + i * kp, gains.of(thread));
        write_row(dh + i * kp, K, d_x + (m + i) * K);
      }
    };
    by_chunks<P>(M, thread, all, few, [&](int64_t all_units) {
      if (graded)
        product<P>(N, K, all_units, d_columns, 1, np, h_panels, K, all_units,
                   weight_sums.of(thread), kp, true);
    });
    losses[(size_t)thread] = total;
  });
  *loss = 0;
  for (double part : losses) *loss += part;
  if (!graded) return;
  weight_sums.finish();
  gains.finish();
}
