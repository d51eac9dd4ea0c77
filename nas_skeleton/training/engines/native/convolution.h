// Convolutions: forward, gradient of the input, gradient of the weights.
//
// Each output position keeps a block of channels times two vectors of lanes in registers and runs
// over input channels and taps; weights are broadcast. Taps outside the map are skipped, not
// multiplied by zeros: on a 4x5 map that is a quarter of a 3x3 convolution.
#pragma once

#include <algorithm>
#include <type_traits>

#include "maps.h"

struct Shape {  // of the forward convolution
  int64_t kernel_h, kernel_w, stride_h, stride_w;
  int64_t taps() const { return kernel_h * kernel_w; }
};

// For one row (or column) of the output: which taps meet which rows (or columns) of the input.
struct Taps {
  int64_t count = 0;
  int64_t tap[16], at[16];
};

// Taps of a forward convolution: output position i meets input position i * stride + tap - padding.
inline std::vector<Taps> forward_taps(int64_t out, int64_t in, int64_t kernel, int64_t stride) {
  std::vector<Taps> all(out);
  for (int64_t i = 0; i < out; ++i)
    for (int64_t k = 0; k < kernel; ++k) {
      int64_t at = i * stride + k - kernel / 2;
      if (at < 0 || at >= in) continue;
      Taps& taps = all[i];
      taps.tap[taps.count] = k, taps.at[taps.count++] = at;
    }
  return all;
}

// The same, seen from the input: input position i meets the output positions that read it.
inline std::vector<Taps> backward_taps(int64_t out, int64_t in, int64_t kernel, int64_t stride) {
  std::vector<Taps> all(in);
  for (int64_t i = 0; i < in; ++i)
    for (int64_t k = 0; k < kernel; ++k) {
      int64_t at = i + kernel / 2 - k;
      if (at < 0 || at % stride || at / stride >= out) continue;
      Taps& taps = all[i];
      taps.tap[taps.count] = k, taps.at[taps.count++] = at / stride;
    }
  return all;
}

// Cuts `channels` into blocks of BLOCK, 4, 2, 1 and calls f(size as a constant, first channel).
template <class F>
inline void blocks(int64_t channels, F f) {
  int64_t first = 0;
  auto run = [&](auto size) {
    for (; channels - first >= size; first += size) f(size, first);
  };
  if constexpr (BLOCK == 8) run(std::integral_constant<int, 8>{});
  run(std::integral_constant<int, 4>{});
  run(std::integral_constant<int, 2>{});
  run(std::integral_constant<int, 1>{});
}

// Weights (out, in, taps) regrouped as (blocks of results, sources, taps, results of the block);
// results are the out channels forwards (transposed = false) and the in channels backwards.
inline std::vector<T> pack(const T* weights, int64_t out, int64_t in, int64_t taps, bool transposed) {
  int64_t results = transposed ? in : out, sources = transposed ? out : in;
  std::vector<T> packed(results * sources * taps);
  T* p = packed.data();
  blocks(results, [&](auto size, int64_t first) {
    for (int64_t s = 0; s < sources; ++s)
      for (int64_t t = 0; t < taps; ++t)
        for (int64_t r = first; r < first + size; ++r)
          *p++ = transposed ? weights[(s * in + r) * taps + t] : weights[(r * in + s) * taps + t];
  });
  return packed;
}

template <int CB, int LV>
inline void convolve_at(const T* source, int64_t stride, int64_t sources, int64_t width,
                        int64_t lanes, const T* weights, int64_t kernel_w, int64_t taps,
                        const Taps& rows, const Taps& columns, Vec (&acc)[CB][LV]) {
  for (int64_t s = 0; s < sources; ++s, source += stride, weights += taps * CB)
    for (int64_t i = 0; i < rows.count; ++i) {
      const T* row = source + rows.at[i] * width * lanes;
      const T* row_weights = weights + rows.tap[i] * kernel_w * CB;
      for (int64_t j = 0; j < columns.count; ++j) {
        const T* x = row + columns.at[j] * lanes;
        const T* w = row_weights + columns.tap[j] * CB;
        Vec value[LV];
        for (int v = 0; v < LV; ++v) value[v] = load(x + v * VL);
        for (int c = 0; c < CB; ++c)
          for (int v = 0; v < LV; ++v) acc[c][v] += w[c] * value[v];
      }
    }
}

// A row of results: channels from `first` on, `LV` vectors of lanes from `lane` on.
template <int CB, int LV>
inline void convolve_row(const Map& in, int64_t h, int64_t width, int64_t lanes, int64_t lane,
                         const T* weights, const T* bias, const Shape& shape, const Taps& rows,
                         const std::vector<Taps>& columns, int64_t first, const Sink& sink) {
  for (int64_t w = 0; w < width; ++w) {
    Vec acc[CB][LV];
    for (int c = 0; c < CB; ++c)
      for (int v = 0; v < LV; ++v) acc[c][v] = splat(bias ? bias[first + c] : T(0));
    convolve_at<CB, LV>(in.data + lane, in.stride, in.channels, in.width, lanes, weights,
                        shape.kernel_w, shape.taps(), rows, columns[w], acc);
    int64_t offset = (h * width + w) * lanes + lane;
    for (int c = 0; c < CB; ++c)
      for (int v = 0; v < LV; ++v) sink.put(first + c, offset + v * VL, acc[c][v]);
  }
}

// Results (`channels`, height, width) from the channels of `in`, by packed weights. Rows come before
// blocks of channels, so that the rows of the input that they share stay in the cache.
inline void convolve(const Map& in, int64_t channels, int64_t height, int64_t width, int64_t lanes,
                     const std::vector<T>& packed, const T* bias, const Shape& shape,
                     const std::vector<Taps>& rows, const std::vector<Taps>& columns,
                     const Sink& sink) {
  auto lane_block = [&](auto lv, int64_t lane) {
    constexpr int LV = decltype(lv)::value;
    for (int64_t h = 0; h < height; ++h) {
      const T* weights = packed.data();
      blocks(channels, [&](auto cb, int64_t first) {
        constexpr int CB = decltype(cb)::value;
        convolve_row<CB, LV>(in, h, width, lanes, lane, weights, bias, shape, rows[h], columns,
                             first, sink);
        weights += in.channels * shape.taps() * CB;
      });
    }
  };
  int64_t lane = 0;
  for (; lane + 2 * VL <= lanes; lane += 2 * VL)
    lane_block(std::integral_constant<int, 2>{}, lane);
  if (lane < lanes) lane_block(std::integral_constant<int, 1>{}, lane);
}

inline void convolution_forward(const Map& in, const Map& out, int64_t lanes, const T* weights,
                                const T* bias, const Shape& s, bool add) {
  auto rows = forward_taps(out.height, in.height, s.kernel_h, s.stride_h);
  auto columns = forward_taps(out.width, in.width, s.kernel_w, s.stride_w);
  auto packed = pack(weights, out.channels, in.channels, s.taps(), false);
  Sink sink(out);
  sink.add = add;
  convolve(in, out.channels, out.height, out.width, lanes, packed, bias, s, rows, columns, sink);
}

// `in` is the forward input, of which only the size counts; `out_gradient` is read.
inline void convolution_input_gradient(const Map& in, const Map& out_gradient, int64_t lanes,
                                       const T* weights, const Shape& s, const Sink& sink) {
  auto rows = backward_taps(out_gradient.height, in.height, s.kernel_h, s.stride_h);
  auto columns = backward_taps(out_gradient.width, in.width, s.kernel_w, s.stride_w);
  auto packed = pack(weights, out_gradient.channels, in.channels, s.taps(), true);
  convolve(out_gradient, in.channels, in.height, in.width, lanes, packed, nullptr, s, rows, columns,
           sink);
}

// Positions over which a gradient is summed: some rows, some columns of each.
struct Window {
  int64_t rows, columns;
};

// sums[s][c] += the sum over the window and all lanes of gradient channel c times stream s. Streams
// are S pointers into the input; a step to the next row or column differs between the two maps.
template <int S, int CB>
inline void correlate(const T* const (&stream)[S], int64_t row_step, int64_t column_step,
                      const T* gradient, int64_t stride, int64_t gradient_row, int64_t lanes,
                      Window window, Vec* const (&sums)[S]) {
  if (column_step == lanes) {  // neighbours in both maps: one long run per row
    lanes *= window.columns;
    window.columns = 1;
  }
  Vec acc[S][CB];
  for (int s = 0; s < S; ++s)
    for (int c = 0; c < CB; ++c) acc[s][c] = sums[s][c];
  for (int64_t h = 0; h < window.rows; ++h)
    for (int64_t w = 0; w < window.columns; ++w) {
      const int64_t at = h * row_step + w * column_step;
      const T* g = gradient + h * gradient_row + w * lanes;
      for (int64_t lane = 0; lane < lanes; lane += VL) {
        Vec x[S];
        for (int s = 0; s < S; ++s) x[s] = load(stream[s] + at + lane);
        for (int c = 0; c < CB; ++c) {
          Vec value = in_register(load(g + c * stride + lane));
          for (int s = 0; s < S; ++s) acc[s][c] += value * x[s];
        }
      }
    }
  for (int s = 0; s < S; ++s)
    for (int c = 0; c < CB; ++c) sums[s][c] = acc[s][c];
}

// Gradient of the weights: per pair of channels and tap the sum over positions and lanes of
// out_gradient * in. A block of out channels times up to three streams of the input (the taps of a
// row, or neighbouring channels where the kernel is one wide) is kept in registers along some rows.
template <int CB>
inline void weight_gradient_block(const Map& in, const Map& g, int64_t lanes, const Shape& shape,
                                  int64_t first, T* result) {
  const int64_t taps = shape.taps(), kw = shape.kernel_w, pad = kw / 2;
  std::vector<Vec> all(in.channels * taps * CB);  // (in channel, tap, channel of the block)
  const int64_t row_bytes = CB * g.width * lanes * int64_t(sizeof(T));
  const int64_t chunk = std::max<int64_t>(1, 100000 / row_bytes);  // rows in the L2 cache
  const int64_t row_step = shape.stride_h * in.width * lanes, column_step = shape.stride_w * lanes;
  const int64_t gradient_row = g.width * lanes;

  // Taps `tap`..`tap + S - 1` of row kh (S channels where the kernel is one wide), over the output
  // columns [left, right).
  auto accumulate = [&](auto streams, int64_t channel, int64_t kh, int64_t tap, int64_t from,
                        int64_t to, int64_t left, int64_t right) {
    constexpr int S = decltype(streams)::value;
    const T* stream[S];
    Vec* sums[S];
    const int64_t row = from * shape.stride_h + kh - shape.kernel_h / 2;
    for (int s = 0; s < S; ++s) {
      const int64_t c = kw > 1 ? channel : channel + s, t = kw > 1 ? tap + s : 0;
      stream[s] = in.data + c * in.stride +
                  (row * in.width + left * shape.stride_w + t - pad) * lanes;
      sums[s] = &all[(c * taps + kh * kw + t) * CB];
    }
    const T* gradient = g.data + first * g.stride + from * gradient_row + left * lanes;
    correlate<S, CB>(stream, row_step, column_step, gradient, g.stride, gradient_row, lanes,
                     {to - from, right - left}, sums);
  };
  constexpr std::integral_constant<int, 1> one;
  constexpr std::integral_constant<int, 2> two;
  constexpr std::integral_constant<int, 3> three;

  for (int64_t start = 0; start < g.height; start += chunk)
    for (int64_t kh = 0; kh < shape.kernel_h; ++kh) {
      int64_t from = start, to = std::min(g.height, start + chunk);
      const int64_t offset = kh - shape.kernel_h / 2;
      while (from < to && from * shape.stride_h + offset < 0) ++from;
      while (from < to && (to - 1) * shape.stride_h + offset >= in.height) --to;
      if (from == to) continue;
      for (int64_t c = 0; c < in.channels;) {
        if (kw == 3) {  // the first column lacks its left tap, the last perhaps its right one
          const bool right_edge = (g.width - 1) * shape.stride_w + 1 >= in.width;
          const int64_t last = g.width - right_edge;
          if (last > 1) accumulate(three, c, kh, 0, from, to, 1, last);
          if (last > 0) accumulate(two, c, kh, 1, from, to, 0, 1);
          if (right_edge && g.width > 1) accumulate(two, c, kh, 0, from, to, last, g.width);
          if (right_edge && g.width == 1) accumulate(one, c, kh, 1, from, to, 0, 1);
          ++c;
        } else if (in.channels - c >= 3) {
          accumulate(three, c, kh, 0, from, to, 0, g.width);
          c += 3;
        } else {
          accumulate(one, c++, kh, 0, from, to, 0, g.width);
        }
      }
    }
  for (int64_t c = 0; c < in.channels; ++c)
    for (int64_t t = 0; t < taps; ++t)
      for (int o = 0; o < CB; ++o)
        result[((first + o) * in.channels + c) * taps + t] = T(sum(all[(c * taps + t) * CB + o]));
}

inline void convolution_weight_gradient(const Map& in, const Map& out_gradient, int64_t lanes,
                                        const Shape& s, T* result) {
  blocks(out_gradient.channels, [&](auto cb, int64_t first) {
    weight_gradient_block<decltype(cb)::value>(in, out_gradient, lanes, s, first, result);
  });
}
