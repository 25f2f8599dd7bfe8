// Convolutions on a CPU as matrix products of tiles. conv_tiles.py explains the method, prepares
// the numbers that come in as attributes, and compiles this file for the processor at hand.
//
// A group of tiles at a time passes through a core's own cache: its values at the points (B' b, or
// A y), one matrix product per point, and back (A', or G'). So nothing larger than what goes in and
// comes out passes through memory. Arrays have three spatial axes; missing ones have one place.

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <new>
#include <vector>

#include "matrices.h"
#include "xla/ffi/api/ffi.h"

namespace ffi = xla::ffi;

namespace {

constexpr int64_t kCache = int64_t{1} << 17;  // numbers; about a core's own cache
constexpr int kAxes = 3;
// Of fewer groups of tiles than this, units of work are panels of the kernel.
constexpr int64_t kFewGroups = 5;
// Units of work of a kernel's gradient, whatever the threads, so that sums are the same.
constexpr int64_t kSumUnits = 16;

// Memory that grows, and is kept. Not from aligned_alloc: where glibc frees such a block, the next
// of its size does not fit.
class Scratch {
 public:
  float* of(int64_t size) {
    if (size > size_) {
      size_ = 0;
      memory_.reset();
      memory_.reset(new float[size + kBlock]);
      size_ = size;
    }
    const auto start = reinterpret_cast<std::uintptr_t>(memory_.get());
    return memory_.get() + (-start % 64) / sizeof(float);
  }

 private:
  std::unique_ptr<float[]> memory_;
  int64_t size_ = 0;
};

// Calls work(i) for all i below count, on all threads of the pool. The caller works, too: it never
// waits for a thread that has not begun.
template <typename Work>
void in_parallel(ffi::ThreadPool& pool, int64_t count, const Work& work) {
  struct State {
    std::atomic<int64_t> next{0}, done{0};
    std::mutex mutex;
    std::condition_variable all_done;
  };
  auto state = std::make_shared<State>();
  // One that begins late finds nothing left and must not touch `work`: the caller may be gone.
  const std::function<void()> take = [state, count, &work] {
    for (int64_t i; (i = state->next++) < count;) {
      work(i);
      if (++state->done == count) {
        std::lock_guard<std::mutex> lock(state->mutex);
        state->all_done.notify_one();
      }
    }
  };
  for (int64_t i = 1; i < std::min(count, pool.num_threads()); ++i)
    pool.Schedule(std::function<void()>(take));
  take();
  std::unique_lock<std::mutex> lock(state->mutex);
  state->all_done.wait(lock, [&] { return state->done == count; });
}

// One of the two sides of a convolution along one axis: place i * step + r + offset belongs to
// block i, for 0 <= r < phases. There is nothing at places outside 0 <= place < size.
struct Side {
  int64_t size, step, phases, offset;
};

struct Axis {
  int64_t tile, points, tiles;
  Side x, y;
};

// A call may consist of several convolutions, of a phase of the stride each.
struct Part {
  int64_t phase[kAxes];  // of the kernel, the first where the axes have more
  Axis axes[kAxes];
};

// What is known of a call before it has its arrays: x -> y, or both to the kernel [*window,
// features, channels].
struct Call {
  bool transposed;  // x has the kernel's channels and y its features, in place of the other way
  int64_t features, channels, window[kAxes], strides[kAxes], tiles, points = 1, taps = 1;
  std::vector<Part> parts;
  Matrix blocks_to_points[kAxes], places_to_points[kAxes], points_to_places[kAxes];
  Matrix taps_to_points[kAxes], points_to_taps[kAxes];

  Call(int64_t batch, ffi::Span<const int64_t> kernel, ffi::Span<const int64_t> sizes,
       ffi::Span<const float> matrices)
      : features(kernel[kernel.size() - 2]), channels(kernel.back()), tiles(batch) {
    const int64_t* size = sizes.begin();
    transposed = *size++;
    for (int64_t& k : window) k = *size++;
    for (int64_t& s : strides) s = *size++;
    while (size < sizes.end()) {
      Part part;
      for (int64_t& phase : part.phase) phase = *size++;
      for (Axis& axis : part.axes) {
        for (int64_t* n : {&axis.tile, &axis.points, &axis.tiles}) *n = *size++;
        for (Side* side : {&axis.x, &axis.y})
          for (int64_t* n : {&side->size, &side->step, &side->phases, &side->offset}) *n = *size++;
      }
      parts.push_back(part);
    }
    const float* values = matrices.begin();
    const auto matrix = [&](int rows, int columns) {
      values += rows * columns;
      return Matrix(rows, columns, values - rows * columns);
    };
    for (int i = 0; i < kAxes; ++i) {
      const Axis& axis = parts[0].axes[i];
      const int count = quotient(window[i], strides[i]);
      blocks_to_points[i] = matrix(axis.points, axis.points);  // B'
      places_to_points[i] = matrix(axis.points, axis.tile);    // A
      points_to_places[i] = matrix(axis.tile, axis.points);    // A'
      taps_to_points[i] = matrix(axis.points, count);          // G
      points_to_taps[i] = matrix(count, axis.points);          // G'
      tiles *= axis.tiles;
      points *= axis.points;
      taps *= count;
    }
  }

  // As many tiles as the cache has room for, of so many numbers each at every point, but enough for
  // two rounds of a product.
  int64_t group(int64_t numbers) const {
    const int64_t most = std::max<int64_t>(kCache / (points * numbers) / kRows, 2) * kRows;
    return rounded(quotient(tiles, quotient(tiles, most)), kRows);
  }

  // Where a tap of a phase lies in the kernel, or -1 outside the window.
  int64_t place(const int64_t phase[kAxes], int64_t i, int64_t j, int64_t k) const {
    int64_t place = 0, tap[kAxes] = {i, j, k};
    for (int a = 0; a < kAxes; ++a) {
      // Those of a transposed convolution go backwards.
      const int64_t from_first = transposed ? taps_to_points[a].columns - 1 - tap[a] : tap[a];
      const int64_t at = from_first * strides[a] + phase[a];
      if (at >= window[a]) return -1;
      place = place * window[a] + at;
    }
    return place;
  }
};

// One side of a part, all axes: an array [batch, *size, channels].
struct Grid {
  Side sides[kAxes];
  int64_t channels, numbers, phases = 1;

  Grid(const Part& part, const Side Axis::* side, int64_t channels)
      : channels(channels), numbers(channels) {
    for (int a = 0; a < kAxes; ++a) {
      sides[a] = part.axes[a].*side;
      numbers *= sides[a].size;
      phases *= sides[a].phases;
    }
  }

  // Of a phase, counted through all axes.
  void phase(int64_t number, int64_t phase[kAxes]) const {
    for (int a = kAxes; a--; number /= sides[a].phases) phase[a] = number % sides[a].phases;
  }
};

// The first places of a tile, and its example.
struct Tile {
  int64_t example, first[kAxes];

  Tile(const Part& part, int64_t number) {
    for (int a = kAxes; a--; number /= part.axes[a].tiles)
      first[a] = number % part.axes[a].tiles * part.axes[a].tile;
    example = number;
  }
};

// Where the places of a tile lie in an example.
class Places {
 public:
  Places(const Grid& grid, const Tile& tile, const int64_t phase[kAxes],
         const int64_t count[kAxes]) {
    for (int a = 0; a < kAxes; ++a) {
      const Side& side = grid.sides[a];
      int64_t step = grid.channels;
      for (int b = a + 1; b < kAxes; ++b) step *= grid.sides[b].size;
      for (int i = 0; i < count[a]; ++i) {
        const int64_t place = (tile.first[a] + i) * side.step + phase[a] + side.offset;
        at_[a][i] = place >= 0 && place < side.size ? place * step : kOutside;
      }
    }
  }

  // Of block [i, j, k]; negative outside.
  int64_t operator()(int64_t i, int64_t j, int64_t k) const {
    return at_[0][i] + at_[1][j] + at_[2][k];
  }

 private:
  static constexpr int64_t kOutside = INT64_MIN / 4;
  int64_t at_[kAxes][Matrix::kMost];
};

// Numbers of tiles by point and block of channels: [points, blocks, tiles, kBlock].
struct Points {
  float* numbers;
  int64_t blocks, tiles;

  int64_t block(int64_t point, int64_t block) const {
    return (point * blocks + block) * tiles * kBlock;
  }
};

// The three axes' matrices, of rows of `size` channels: at(i, j, k) is where a row comes from, and
// the first of its channels is channel `first` of `tile` in `points`.
template <typename At>
void to_points(const Matrix matrices[kAxes], int64_t size, const At& at, float* buffer,
               float* other, const Points& points, int64_t tile, int64_t first = 0) {
  const int64_t a = matrices[0].columns, b = matrices[1].columns, c = matrices[2].columns;
  const int64_t q = matrices[1].rows, r = matrices[2].rows;
  const float* in[Matrix::kMost];
  float* out[Matrix::kMost];
  float* to = buffer;
  for (int64_t i = 0; i < a; ++i)
    for (int64_t j = 0; j < b; ++j) {
      for (int64_t k = 0; k < c; ++k) in[k] = at(i, j, k);
      for (int64_t k = 0; k < r; ++k, to += size) out[k] = to;
      matrices[2](size, in, out);
    }
  const bool flat = matrices[0].is_trivial();  // of two axes
  if (!flat)
    matrices[1](a, r * size, buffer, b * r * size, r * size, other, q * r * size, r * size);
  const Matrix& last = matrices[flat ? 1 : 0];
  const float* from = flat ? buffer : other;
  const int64_t lines = flat ? r : q * r, step = points.block(1, 0);
  for (int64_t channel = 0; channel < size;) {
    const int64_t block = (first + channel) / kBlock, inside = (first + channel) % kBlock;
    const int64_t some = std::min(kBlock - inside, size - channel);
    last(lines, some, from + channel, size, lines * size,
         points.numbers + points.block(0, block) + tile * kBlock + inside, step, lines * step);
    channel += some;
  }
}

// The way back, of the first `size` channels.
template <typename At>
void from_points(const Matrix matrices[kAxes], int64_t size, const Points& points, int64_t tile,
                 float* buffer, float* other, const At& at) {
  const int64_t p = matrices[0].rows, q = matrices[1].rows, r = matrices[2].rows;
  const int64_t b = matrices[1].columns, c = matrices[2].columns;
  const bool flat = matrices[0].is_trivial();
  const Matrix& first = matrices[flat ? 1 : 0];
  float* to = flat ? other : buffer;
  const int64_t lines = flat ? c : b * c, step = points.block(1, 0);
  for (int64_t channel = 0; channel < size; channel += kBlock)
    first(lines, std::min(kBlock, size - channel),
          points.numbers + points.block(0, channel / kBlock) + tile * kBlock, step, lines * step,
          to + channel, size, lines * size);
  if (!flat)
    matrices[1](p, c * size, buffer, b * c * size, c * size, other, q * c * size, c * size);
  const float* in[Matrix::kMost];
  float* out[Matrix::kMost];
  const float* from = other;
  for (int64_t i = 0; i < p; ++i)
    for (int64_t j = 0; j < q; ++j) {
      for (int64_t k = 0; k < c; ++k, from += size) in[k] = from;
      for (int64_t k = 0; k < r; ++k) out[k] = at(i, j, k);
      matrices[2](size, in, out);
    }
}

// What a thread works with: one tile between two matrices, what lies outside an array, groups of
// tiles, and what the threads of a call share, which lies with the one that was called.
struct Workspace {
  Scratch buffer, other, outside, left, right, results, shared;
};

Workspace& workspace() {
  static thread_local Workspace workspace;
  return workspace;
}

// Values at the points of `count` tiles from `begin` on, of channels [first, first + size).
void read(const Call& call, const Part& part, const Side Axis::* side, const Matrix matrices[kAxes],
          int64_t all_channels, int64_t first, int64_t size, const float* array, int64_t begin,
          int64_t count, const Points& points) {
  const Grid grid(part, side, all_channels);
  float* buffer = workspace().buffer.of(call.points * size);
  float* other = workspace().other.of(call.points * size);
  float* outside = workspace().outside.of(size);
  std::fill_n(outside, size, 0.f);
  const int64_t count_of_blocks[] = {matrices[0].columns, matrices[1].columns, matrices[2].columns};
  for (int64_t i = 0; i < count; ++i) {
    const Tile tile(part, begin + i);
    const float* example = array + tile.example * grid.numbers + first;
    for (int64_t number = 0; number < grid.phases; ++number) {
      int64_t phase[kAxes];
      grid.phase(number, phase);
      const Places places(grid, tile, phase, count_of_blocks);
      const auto at = [&](int64_t z, int64_t y, int64_t x) {
        const int64_t place = places(z, y, x);
        return place < 0 ? outside : example + place;
      };
      to_points(matrices, size, at, buffer, other, points, i, number * size);
    }
  }
}

// The places of the tiles, likewise.
void write(const Call& call, const Part& part, int64_t all_channels, int64_t first, int64_t size,
           const Points& points, int64_t begin, int64_t count, float* array) {
  const Grid grid(part, &Axis::y, all_channels);
  float* buffer = workspace().buffer.of(call.points * size);
  float* other = workspace().other.of(call.points * size);
  float* outside = workspace().outside.of(size);
  const int64_t phase[kAxes] = {};
  const Matrix* rows = call.points_to_places;
  const int64_t count_of_places[] = {rows[0].rows, rows[1].rows, rows[2].rows};
  for (int64_t i = 0; i < count; ++i) {
    const Tile tile(part, begin + i);
    float* example = array + tile.example * grid.numbers + first;
    const Places places(grid, tile, phase, count_of_places);
    from_points(call.points_to_places, size, points, i, buffer, other,
                [&](int64_t z, int64_t y, int64_t x) {
                  const int64_t place = places(z, y, x);
                  return place < 0 ? outside : example + place;
                });
  }
}

// Calls visit(place in the kernel, or -1) for all taps of a phase.
template <typename Visit>
void for_taps(const Call& call, const int64_t phase[kAxes], const Visit& visit) {
  const Matrix* taps = call.taps_to_points;
  for (int64_t i = 0; i < taps[0].columns; ++i)
    for (int64_t j = 0; j < taps[1].columns; ++j)
      for (int64_t k = 0; k < taps[2].columns; ++k) visit(call.place(phase, i, j, k));
}

// Calls visit(row, channel, phase) for all rows of a panel, which a product sums over.
template <typename Visit>
void for_rows(const Call& call, const Part& part, const Visit& visit) {
  const int64_t channels = call.transposed ? call.channels : call.features;
  const Grid grid(part, &Axis::x, channels);
  for (int64_t row = 0; row < grid.phases * channels; ++row) {
    int64_t phase[kAxes];
    grid.phase(row / channels, phase);
    for (int a = 0; a < kAxes; ++a) phase[a] += part.phase[a];
    visit(row, row % channels, phase);
  }
}

// G W of one panel, kBlock columns: `weights` has a block of the rows for every point.
void read_kernel(const Call& call, const Part& part, int64_t panel, const float* kernel,
                 const Points& weights) {
  const int64_t first = panel * kBlock, features = call.features, channels = call.channels;
  const int64_t used = std::min(kBlock, (call.transposed ? features : channels) - first);
  const int64_t numbers = std::max(call.points, call.taps) * kBlock;
  float* buffer = workspace().buffer.of(numbers);
  float* other = workspace().other.of(numbers);
  const int64_t row_size = (call.taps | 1) * kBlock;  // odd: rows do not compete for cache lines
  float* rows = workspace().left.of(kBlock * row_size);
  std::fill_n(rows, kBlock * row_size, 0.f);
  for_rows(call, part, [&](int64_t row, int64_t channel, const int64_t* phase) {
    float* own = call.transposed ? rows + row % kBlock * row_size : rows;
    if (!call.transposed || row % kBlock == 0) {
      float* to = own;
      for_taps(call, phase, [&](int64_t place) {
        if (place < 0) {
          for (int64_t r = 0; r < (call.transposed ? kBlock : 1); ++r)
            std::fill_n(to + r * row_size, used, 0.f);
        } else if (call.transposed) {  // kBlock rows at a time, as they lie in memory
          const float* from = kernel + (place * features + first) * channels + channel;
          const int64_t count = std::min(kBlock, channels - channel);
          for (int64_t n = 0; n < used; ++n, from += channels)
            for (int64_t r = 0; r < count; ++r) to[r * row_size + n] = from[r];
        } else {
          std::copy_n(kernel + (place * features + channel) * channels + first, used, to);
        }
        to += kBlock;
      });
    }
    to_points(
        call.taps_to_points, kBlock,
        [&](int64_t, int64_t, int64_t) {
          own += kBlock;
          return own - kBlock;
        },
        buffer, other, weights, row);
  });
}

// G' of the products of one panel, into the kernel.
void write_kernel(const Call& call, const Part& part, int64_t panel, const Points& products,
                  float* kernel) {
  const int64_t first = panel * kBlock, used = std::min(kBlock, call.channels - first);
  const int64_t numbers = std::max(call.points, call.taps) * kBlock;
  float* buffer = workspace().buffer.of(numbers);
  float* other = workspace().other.of(numbers);
  float* outside = workspace().outside.of(kBlock);
  for_rows(call, part, [&](int64_t row, int64_t channel, const int64_t* phase) {
    from_points(call.points_to_taps, used, products, row, buffer, other,
                [&](int64_t i, int64_t j, int64_t k) {
                  const int64_t place = call.place(phase, i, j, k);
                  if (place < 0) return outside;
                  return kernel + (place * call.features + channel) * call.channels + first;
                });
  });
}

// y[c] = sum_t b[c + t] W[t] of each part; together they fill y.
ffi::Error Convolve(ffi::ThreadPool pool, ffi::Buffer<ffi::F32> x_, ffi::Buffer<ffi::F32> kernel_,
                    ffi::Span<const int64_t> sizes, ffi::Span<const float> matrices,
                    ffi::ResultBuffer<ffi::F32> y_) {
  const float *x = x_.typed_data(), *kernel = kernel_.typed_data();
  float* y = y_->typed_data();
  const Call call(x_.dimensions()[0], kernel_.dimensions(), sizes, matrices);
  const int64_t parts = call.parts.size(), points = call.points, tiles = call.tiles;
  const int64_t in_channels = x_.dimensions().back(), out_channels = y_->dimensions().back();
  const int64_t depth = Grid(call.parts[0], &Axis::x, in_channels).phases * in_channels;
  const int64_t blocks = quotient(depth, kBlock), panels = quotient(out_channels, kBlock);
  const int64_t size = call.group((blocks + panels) * kBlock), groups = quotient(tiles, size);

  // Where there are few groups, the weights are as large as all the rest: each unit of work takes a
  // range of panels of them through all groups. Otherwise a unit is a group, and all share them.
  const int64_t each = points * depth * kBlock;  // weights of a panel
  const bool by_panels = groups < kFewGroups && groups <= parts * panels;
  const int64_t units = parts * (by_panels ? 1 : groups);
  const int64_t ranges = std::clamp<int64_t>(quotient(4 * pool.num_threads(), units), 1, panels);
  float* weights = by_panels ? nullptr : workspace().shared.of(parts * panels * each);
  if (!by_panels)
    in_parallel(pool, parts * panels, [&](int64_t unit) {
      read_kernel(call, call.parts[unit / panels], unit % panels, kernel,
                  {weights + unit * each, 1, depth});
    });

  in_parallel(pool, units * ranges, [&](int64_t unit) {
    const int64_t range = unit % ranges, which = unit / ranges % parts;
    const int64_t first = range * panels / ranges, last = (range + 1) * panels / ranges;
    const Part& part = call.parts[which];
    float* own = by_panels ? workspace().right.of((last - first) * each)
                           : weights + (which * panels + first) * each;
    if (by_panels)
      for (int64_t panel = first; panel < last; ++panel)
        read_kernel(call, part, panel, kernel, {own + (panel - first) * each, 1, depth});
    const Points factors{workspace().left.of(points * blocks * kBlock * size), blocks, size};
    const Points products{workspace().results.of(points * (last - first) * kBlock * size),
                          last - first, size};
    const int64_t group = by_panels ? 0 : unit / ranges / parts;
    for (int64_t begin = group * size; begin < (by_panels ? tiles : (group + 1) * size);
         begin += size) {
      const int64_t count = std::min(size, tiles - begin);
      read(call, part, &Axis::x, call.blocks_to_points, in_channels, 0, in_channels, x, begin,
           count, factors);
      for (int64_t p = 0; p < points; ++p)
        for (int64_t panel = 0; panel < last - first; ++panel)
          matrix_product<true>(count, depth, factors.numbers + factors.block(p, 0), kBlock * size,
                               own + panel * each + p * depth * kBlock,
                               products.numbers + products.block(p, panel), false);
      const int64_t used = std::min(last * kBlock, out_channels) - first * kBlock;
      write(call, part, out_channels, first * kBlock, used, products, begin, count, y);
    }
  });
  return ffi::Error::Success();
}

// dW[t] = sum_c b[c + t]' y[c] of each part; together they fill the kernel.
ffi::Error KernelGradient(ffi::ThreadPool pool, ffi::Buffer<ffi::F32> x_, ffi::Buffer<ffi::F32> y_,
                          ffi::Span<const int64_t> sizes, ffi::Span<const float> matrices,
                          ffi::ResultBuffer<ffi::F32> kernel_) {
  const float *x = x_.typed_data(), *y = y_.typed_data();
  float* kernel = kernel_->typed_data();
  const Call call(x_.dimensions()[0], kernel_->dimensions(), sizes, matrices);
  const int64_t parts = call.parts.size(), points = call.points, tiles = call.tiles;
  const int64_t depth = Grid(call.parts[0], &Axis::x, call.features).phases * call.features;
  const int64_t blocks = quotient(depth, kBlock), panels = quotient(call.channels, kBlock);

  // A unit of work has sums that stay in the cache, of a part and a range of panels, over a slice
  // of the tiles. There are as many slices whatever the threads, so that sums are the same.
  const int64_t each = points * depth * kBlock;  // sums of a panel
  const int64_t most = std::clamp<int64_t>(kCache / each, 1, panels);
  const int64_t ranges = quotient(panels, most), units = parts * ranges;
  const int64_t size = call.group((blocks + most) * kBlock), groups = quotient(tiles, size);
  const int64_t slices = std::clamp<int64_t>(kSumUnits / units, 1, groups);
  float* all = slices > 1 ? workspace().shared.of(units * slices * most * each) : nullptr;
  const auto finish = [&](int64_t unit, float* sums) {
    const int64_t range = unit % ranges, first = range * panels / ranges;
    for (int64_t panel = first; panel < (range + 1) * panels / ranges; ++panel)
      write_kernel(call, call.parts[unit / ranges], panel,
                   {sums + (panel - first) * each, 1, depth}, kernel);
  };

  in_parallel(pool, units * slices, [&](int64_t i) {
    const int64_t unit = i / slices, slice = i % slices, range = unit % ranges;
    const int64_t first = range * panels / ranges, last = (range + 1) * panels / ranges;
    const int64_t used = std::min(last * kBlock, call.channels) - first * kBlock;
    const Part& part = call.parts[unit / ranges];
    const Points left{workspace().left.of(points * blocks * kBlock * size), blocks, size};
    const Points right{workspace().right.of(points * most * kBlock * size), last - first, size};
    float* sums = slices > 1 ? all + i * most * each : workspace().results.of(most * each);
    const int64_t from = slice * groups / slices * size;
    const int64_t to = std::min((slice + 1) * groups / slices * size, tiles);
    for (int64_t begin = from; begin < to; begin += size) {
      const int64_t count = std::min(size, to - begin);
      read(call, part, &Axis::x, call.blocks_to_points, call.features, 0, call.features, x, begin,
           count, left);
      read(call, part, &Axis::y, call.places_to_points, call.channels, first * kBlock, used, y,
           begin, count, right);
      for (int64_t p = 0; p < points; ++p)
        for (int64_t panel = 0; panel < last - first; ++panel)
          for (int64_t block = 0; block < blocks; ++block)
            matrix_product<false>(
                std::min(kBlock, depth - block * kBlock), count,
                left.numbers + left.block(p, block), 0, right.numbers + right.block(p, panel),
                sums + panel * each + (p * depth + block * kBlock) * kBlock, begin > from);
    }
    if (slices == 1) finish(unit, sums);
  });

  if (slices > 1)
    in_parallel(pool, units, [&](int64_t unit) {
      float* sums = all + unit * slices * most * each;
      for (int64_t slice = 1; slice < slices; ++slice)
        for (int64_t i = 0; i < most * each; ++i) sums[i] += sums[slice * most * each + i];
      finish(unit, sums);
    });
  return ffi::Error::Success();
}

}  // namespace

#define HANDLER(name, function)                                               \
  XLA_FFI_DEFINE_HANDLER_SYMBOL(name, function,                               \
                                ffi::Ffi::Bind()                              \
                                    .Ctx<ffi::ThreadPool>()                   \
                                    .Arg<ffi::Buffer<ffi::F32>>()             \
                                    .Arg<ffi::Buffer<ffi::F32>>()             \
                                    .Attr<ffi::Span<const int64_t>>("sizes")  \
                                    .Attr<ffi::Span<const float>>("matrices") \
                                    .Ret<ffi::Buffer<ffi::F32>>())

HANDLER(convolve, Convolve);
HANDLER(kernel_gradient, KernelGradient);
