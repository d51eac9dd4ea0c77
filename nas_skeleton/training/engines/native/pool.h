// Average pools, and what else works position by position: ReLU, copies, sums.
#pragma once

#include "maps.h"

// 3 rows by 3 columns or 1 (`across`), stride 1, mean over the positions inside the map. Its
// transpose is the same sum of neighbours, each divided by its own count beforehand.
inline void pool_forward(const Map& in, const Map& out, int64_t lanes, bool add, int64_t across) {
  const int64_t H = in.height, W = in.width;
  std::vector<Vec> column(W * lanes / VL);
  for (int64_t c = 0; c < in.channels; ++c)
    for (int64_t h = 0; h < H; ++h) {
      const T* row = in.data + c * in.stride + h * W * lanes;
      const bool above = h > 0, below = h + 1 < H;
      for (int64_t i = 0; i < W * lanes; i += VL) {
        Vec v = load(row + i);
        if (above) v += load(row + i - W * lanes);
        if (below) v += load(row + i + W * lanes);
        column[i / VL] = v;
      }
      const int64_t n = lanes / VL, rows = 1 + above + below;
      T* result = out.data + c * out.stride + h * W * lanes;
      for (int64_t w = 0; w < W; ++w) {
        const bool left = across > 1 && w > 0, right = across > 1 && w + 1 < W;
        Vec scale = splat(T(1) / T(rows * (1 + left + right)));
        for (int64_t i = 0; i < n; ++i) {
          Vec v = column[w * n + i];
          if (left) v += column[(w - 1) * n + i];
          if (right) v += column[(w + 1) * n + i];
          T* p = result + w * lanes + i * VL;
          store(p, add ? load(p) + v * scale : v * scale);
        }
      }
    }
}

inline void pool_backward(const Map& gradient, int64_t lanes, const Sink& sink, int64_t across) {
  const int64_t H = gradient.height, W = gradient.width, n = lanes / VL;
  auto inside = [](int64_t i, int64_t size) { return 1 + (i > 0) + (i + 1 < size); };
  std::vector<Vec> column(W * n);
  for (int64_t c = 0; c < gradient.channels; ++c)
    for (int64_t h = 0; h < H; ++h) {
      const T* row = gradient.data + c * gradient.stride + h * W * lanes;
      for (int64_t w = 0; w < W; ++w) {
        const int64_t columns = across > 1 ? inside(w, W) : 1;
        auto scale = [&](int64_t at) { return splat(T(1) / T(inside(at, H) * columns)); };
        for (int64_t i = 0; i < n; ++i) {
          const T* p = row + w * lanes + i * VL;
          Vec v = load(p) * scale(h);
          if (h > 0) v += load(p - W * lanes) * scale(h - 1);
          if (h + 1 < H) v += load(p + W * lanes) * scale(h + 1);
          column[w * n + i] = v;
        }
      }
      for (int64_t w = 0; w < W; ++w)
        for (int64_t i = 0; i < n; ++i) {
          Vec v = column[w * n + i];
          if (across > 1 && w > 0) v += column[(w - 1) * n + i];
          if (across > 1 && w + 1 < W) v += column[(w + 1) * n + i];
          sink.put(c, (h * W + w) * lanes + i * VL, v);
        }
    }
}

// Means of stride_h x stride_w windows side by side; the last ones may be smaller.
inline void reduce_forward(const Map& in, const Map& out, int64_t lanes, int64_t stride_h,
                           int64_t stride_w) {
  for (int64_t c = 0; c < out.channels; ++c)
    for (int64_t h = 0; h < out.height; ++h)
      for (int64_t w = 0; w < out.width; ++w) {
        int64_t bottom = std::min(in.height, (h + 1) * stride_h);
        int64_t right = std::min(in.width, (w + 1) * stride_w);
        int64_t count = (bottom - h * stride_h) * (right - w * stride_w);
        for (int64_t l = 0; l < lanes; l += VL) {
          Vec v = {};
          for (int64_t y = h * stride_h; y < bottom; ++y)
            for (int64_t x = w * stride_w; x < right; ++x)
              v += load(in.data + c * in.stride + (y * in.width + x) * lanes + l);
          store(out.data + c * out.stride + (h * out.width + w) * lanes + l, v / splat(T(count)));
        }
      }
}

// `in` is the forward input, of which only the size counts.
inline void reduce_backward(const Map& in, const Map& gradient, int64_t lanes, int64_t stride_h,
                            int64_t stride_w, const Sink& sink) {
  for (int64_t c = 0; c < in.channels; ++c)
    for (int64_t y = 0; y < in.height; ++y)
      for (int64_t x = 0; x < in.width; ++x) {
        int64_t h = y / stride_h, w = x / stride_w;
        int64_t bottom = std::min(in.height, (h + 1) * stride_h);
        int64_t right = std::min(in.width, (w + 1) * stride_w);
        Vec scale = splat(T(1) / T((bottom - h * stride_h) * (right - w * stride_w)));
        for (int64_t l = 0; l < lanes; l += VL) {
          const T* g = gradient.data + c * gradient.stride + (h * gradient.width + w) * lanes + l;
          sink.put(c, (y * in.width + x) * lanes + l, load(g) * scale);
        }
      }
}

inline void relu_forward(const Map& in, const Map& out, int64_t lanes) {
  for (int64_t c = 0; c < in.channels; ++c)
    for (int64_t i = 0; i < in.height * in.width * lanes; i += VL)
      store(out.data + c * out.stride + i, relu(load(in.data + c * in.stride + i)));
}

inline void copy(const Map& in, int64_t lanes, const Sink& sink) {
  for (int64_t c = 0; c < in.channels; ++c)
    for (int64_t i = 0; i < in.height * in.width * lanes; i += VL)
      sink.put(c, i, load(in.data + c * in.stride + i));
}

inline void fill_zero(const Map& map, int64_t lanes) {
  for (int64_t c = 0; c < map.channels; ++c)
    std::memset(map.data + c * map.stride, 0, map.height * map.width * lanes * sizeof(T));
}
