// What Python calls. `kind` names the types: 0 all fp32; 1 bf16 products of fp32 inputs, with bf16
// outputs; 2 the same of bf16 inputs.
#include "attention.h"
#include "decode.h"
#include "dense.h"
#include "depth.h"
#include "gated.h"
#include "loss.h"
#include "streams.h"

#define FOR_KIND(call) \
  switch (kind) {                                            \
    case 0: { typedef Fp32 P; typedef float X, Y; call; break; } \
    case 1: { typedef Bf16 P; typedef float X; typedef bf16 Y; call; break; } \
    default: { typedef Bf16 P; typedef bf16 X, Y; call; }                   \
  }

extern "C" {
// Lets bf16 products use the processor's matrix tiles, where it has them, or not. Whether they did.
int use_tiles(int wanted) {
  int before = tiles_wanted;
  tiles_wanted = wanted && tiles_given();
  return before;
}

int tiles_used() { return tiles_wanted; }

void linear_forward(int kind, int threads, int64_t M, int64_t K, int64_t N, const void* x,
                    const float* gain, const float* weight, void* y) {
  if (kind == 0 && M <= FEW_TOKENS)
    return linear_few((const float*)x, gain, weight, (float*)y, M, K, N, threads);
  FOR_KIND((linear_forward<P>((const X*)x, gain, weight, (Y*)y, M, K, N, threads)))
}

void linear_backward(int kind, int threads, int64_t M, int64_t K, int64_t N, const void* x,
                     const float* gain, const float* weight, const void* dy, void* dx,
                     float* d_gain, float* d_weight) {
  FOR_KIND((linear_backward<P>((const X*)x, gain, weight, (const Y*)dy, (X*)dx, d_gain, d_weight,
                               M, K, N, threads)))
}

void mlp_forward(int kind, int threads, int64_t M, int64_t D, int64_t F, const void* x,
                 const float* gain, const float* gate_up_weight, const float* down_weight, void* y,
                 void* gate_up) {
  if (kind == 0 && M <= FEW_TOKENS && gate_up == nullptr)
    return mlp_few((const float*)x, gain, gate_up_weight, down_weight, (float*)y, M, D, F, threads);
  FOR_KIND((mlp_forward<P>((const X*)x, gain, gate_up_weight, down_weight, (Y*)y, (Y*)gate_up, M,
                           D, F, threads)))
}

void mlp_backward(int kind, int threads, int64_t M, int64_t D, int64_t F, const void* x,
                  const float* gain, const float* gate_up_weight, const float* down_weight,
                  const void* gate_up, const void* dy, void* dx, float* d_gain,
                  float* d_gate_up_weight, float* d_down_weight) {
  FOR_KIND((mlp_backward<P>((const X*)x, gain, gate_up_weight, down_weight, (const Y*)gate_up,
                            (const Y*)dy, (X*)dx, d_gain, d_gate_up_weight, d_down_weight, M, D, F,
                            threads)))
}

void attention_forward(int kind, int threads, int64_t B, int64_t T, int64_t H, int64_t G,
                       int64_t K, const void* qkv, const float* cos, const float* sin, void* out,
                       float* lse) {
  Heads s = {B, T, H, G, K};
  FOR_KIND((attention_forward<P>((const Y*)qkv, cos, sin, (Y*)out, lse, s, threads)))
}

void attention_backward(int kind, int threads, int64_t B, int64_t T, int64_t H, int64_t G,
                        int64_t K, const void* qkv, const float* cos, const float* sin,
                        const float* lse, const void* d_out, void* d_qkv) {
  Heads s = {B, T, H, G, K};
  FOR_KIND((attention_backward<P>((const Y*)qkv, cos, sin, lse, (const Y*)d_out, (Y*)d_qkv, s,
                                  threads)))
}

// Attention over depth is computed in fp32 whatever the types of what it reads and writes.
void source_forward(int kind, int threads, int64_t M, int64_t D, int64_t R, float scale,
                    const void* v, const void* addend, const void* queries, const void* gains,
                    void* sums, float* inverse, float* scores) {
  Queries q = {(const float* const*)queries, (const float* const*)gains, scale};
  FOR_KIND((source_forward<X>((const X*)v, (const X*)addend, q, (X*)sums, inverse, scores, M, D, R,
                              threads)))
}

void mix_forward(int kind, int threads, int64_t S, int64_t wide, int64_t M, int64_t D,
                 const void* values, const void* scores, float* weights, void* out) {
  FOR_KIND((mix_forward<Y>((const void* const*)values, (const float* const*)scores, weights,
                           (Y*)out, S, wide, M, D, threads)))
}

void mix_backward(int kind, int threads, int64_t M, int64_t D, const void* d_out, const void* out,
                  float* means) {
  FOR_KIND((mix_backward<Y>((const Y*)d_out, (const Y*)out, means, M, D, threads)))
}

void source_backward(int kind, int threads, int64_t n, int64_t M, int64_t D, float scale,
                     const void* v, const float* inverse, const void* queries, const void* gains,
                     const void* d_out, const void* weights, const void* means, const void* d_sum,
                     void* d_v, const void* d_queries, const void* d_gains) {
  Queries q = {(const float* const*)queries, (const float* const*)gains, scale};
  FOR_KIND((source_backward<X, Y>((const X*)v, inverse, q, (const Y* const*)d_out,
                                  (const float* const*)weights, (const float* const*)means,
                                  (const X*)d_sum, (X*)d_v, (float* const*)d_queries,
                                  (float* const*)d_gains, n, M, D, threads)))
}

void loss_forward(int kind, int threads, int64_t M, int64_t K, int64_t N, const void* x,
                  const float* gain, const float* weight, const int64_t* targets,
                  const float* weights, double* loss, void* d_x, float* d_gain, float* d_weight) {
  FOR_KIND((loss_forward<P>((const X*)x, gain, weight, targets, weights, loss, (X*)d_x, d_gain,
                            d_weight, M, K, N, threads)))
}

// Streams are fp32; the sublayer's output is of the type that sublayers write.
void streams_read_forward(int, int threads, int64_t M, int64_t N, int64_t D, int64_t R, int64_t O,
                          int64_t gate, int64_t setting, int64_t centred, const float* h,
                          const float* weight, const float* scale, const float* offset,
                          const float* permutations, float* p, float* w, float* u) {
  with_gate(gate, {N, R, O, scale, offset}, setting, permutations, [&](const Gate& made) {
    read_forward(h, weight, made, p, w, u, {M, N, D, R}, centred != 0, threads);
  });
}

void streams_read_backward(int, int threads, int64_t M, int64_t N, int64_t D, int64_t R, int64_t O,
                           int64_t gate, int64_t setting, int64_t centred, const float* h,
                           const float* weight, const float* scale, const float* offset,
                           const float* permutations, const float* p, const float* w,
                           const float* d_u, const float* d_w, const float* d_h, float* d_x,
                           float* d_weight, float* d_scale, float* d_offset) {
  with_gate(gate, {N, R, O, scale, offset}, setting, permutations, [&](const Gate& made) {
    read_backward(h, weight, made, p, w, d_u, d_w, d_h, d_x, d_weight, d_scale, d_offset,
                  {M, N, D, R}, centred != 0, threads);
  });
}

void streams_write_forward(int kind, int threads, int64_t M, int64_t N, int64_t D, int64_t R,
                           int64_t K, int64_t own, const float* h, const float* w, const void* out,
                           float* written) {
  FOR_KIND((write_forward<Y>(h, w, (const Y*)out, written, {M, N, D, R}, K, own, threads)))
}

void streams_write_backward(int kind, int threads, int64_t M, int64_t N, int64_t D, int64_t R,
                            int64_t K, int64_t own, const float* h, const float* w,
                            const void* out, const float* d_written, float* d_h, float* d_w,
                            void* d_out) {
  FOR_KIND((write_backward<Y>(h, w, (const Y*)out, d_written, d_h, d_w, (Y*)d_out, {M, N, D, R}, K,
                              own, threads)))
}

// Streams are fp32; products are of the kind's type.
void gated_forward(int kind, int threads, int64_t M, int64_t N, int64_t D, int64_t rank,
                   int64_t outputs, const float* x, const float* gain, const float* weights,
                   const float* up, float* z, float* write, float* u) {
  FOR_KIND((gated_forward<P>(x, gain, weights, up, z, write, u, {M, N, D, rank, outputs}, threads)))
}

void gated_backward(int kind, int threads, int64_t M, int64_t N, int64_t D, int64_t rank,
                    int64_t outputs, const float* x, const float* gain, const float* weights,
                    const float* up, const float* z, const float* d_u, const float* d_write,
                    const float* d_h, float* d_x, float* d_gain, float* d_weights, float* d_up) {
  FOR_KIND((gated_backward<P>(x, gain, weights, up, z, d_u, d_write, d_h, d_x, d_gain, d_weights,
                              d_up, {M, N, D, rank, outputs}, threads)))
}

void streams_add_forward(int kind, int threads, int64_t M, int64_t N, int64_t D, const float* h,
                         const float* write, const void* out, float* written) {
  FOR_KIND((add_forward<Y>(h, write, (const Y*)out, written, M, N, D, threads)))
}

void streams_add_backward(int kind, int threads, int64_t M, int64_t N, int64_t D,
                          const float* write, const void* out, const float* d_written,
                          float* d_write, void* d_out) {
  FOR_KIND((add_backward<Y>(write, (const Y*)out, d_written, d_write, (Y*)d_out, M, N, D, threads)))
}

// Dense connections are fp32.
void dense_forward(int, int threads, int64_t C, int64_t S, int64_t M, int64_t D, int64_t step,
                   const void* values, const float* weights, const void* out) {
  dense_forward((const float* const*)values, weights, (float* const*)out, C, S, M, D, step,
                threads);
}

void dense_weights_backward(int, int threads, int64_t C, int64_t S, int64_t M, int64_t D,
                            int64_t step, const void* values, const void* d_out,
                            float* d_weights) {
  dense_weights_backward((const float* const*)values, (const float* const*)d_out, d_weights, C, S,
                         M, D, step, threads);
}

void dense_source_backward(int, int threads, int64_t n, int64_t M, int64_t D, const float* d_v,
                           const void* d_out, const void* weights, const int64_t* steps,
                           float* d_sum) {
  dense_source_backward(d_v, (const float* const*)d_out, (const float* const*)weights, steps, d_sum,
                        n, M, D, threads);
}

// All fp32. layers: `DecodeLayer`, one after another; the rest as in `DecodeStep`.
void decode_step(int, int threads, int64_t B, int64_t D, int64_t H, int64_t G, int64_t K, int64_t F,
                 int64_t layers, int64_t sources, int64_t length, int64_t capacity,
                 int64_t table_row, int64_t mask_row, int64_t normed, const float* embedding,
                 const void* pointers, const int64_t* slots, const float* queries, const float* cos,
                 const float* sin, const float* mask, float* out) {
  DecodeStep step = {D, H, G, K, F, layers, sources, length, capacity, table_row, mask_row,
                     normed != 0, (const DecodeLayer*)pointers, slots, queries, cos, sin, mask};
  decode_step(step, embedding, out, B, threads);
}
}
