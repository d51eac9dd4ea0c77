// Sums over joints by actional links, which every lane has of its own.
//
// y[j * C + c, t, w] = weight * sum over v of x[c, t, v] * links[j * V + v, w]. Links are inferred
// beforehand and constant: they get no gradient.
#pragma once

#include "maps.h"

inline void actional_forward(const Map& in, const Map& links, const Map& out, int64_t lanes,
                             int64_t types, T weight) {
  const int64_t C = in.channels, V = in.width, row = V * lanes;
  for (int64_t j = 0; j < types; ++j)
    for (int64_t c = 0; c < C; ++c)
      for (int64_t t = 0; t < in.height; ++t) {
        const T* x = in.data + c * in.stride + t * row;
        T* y = out.data + (j * C + c) * out.stride + t * row;
        for (int64_t w = 0; w < V; ++w)
          for (int64_t l = w * lanes; l < (w + 1) * lanes; l += VL) {
            Vec total = {};
            for (int64_t v = 0; v < V; ++v)
              total += load(x + v * lanes + l - w * lanes) *
                       load(links.data + (j * V + v) * links.stride + l);
            store(y + l, splat(weight) * total);
          }
      }
}

inline void actional_backward(const Map& in, const Map& links, const Map& gradient, int64_t lanes,
                              int64_t types, T weight, const Sink& sink) {
  const int64_t C = in.channels, V = in.width, row = V * lanes;
  for (int64_t c = 0; c < C; ++c)
    for (int64_t t = 0; t < in.height; ++t)
      for (int64_t v = 0; v < V; ++v)
        for (int64_t l = 0; l < lanes; l += VL) {
          Vec total = {};
          for (int64_t j = 0; j < types; ++j) {
            const T* dy = gradient.data + (j * C + c) * gradient.stride + t * row + l;
            const T* link = links.data + (j * V + v) * links.stride + l;
            for (int64_t w = 0; w < V; ++w)
              total += load(dy + w * lanes) * load(link + w * lanes);
          }
          sink.put(c, t * row + v * lanes + l, splat(weight) * total);
        }
}
