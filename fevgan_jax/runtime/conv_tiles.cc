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
#include <cstdlib>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "xla/ffi/api/ffi.h"

namespace ffi = xla::ffi;

namespace {

// A product keeps kRows * 2 registers of sums: most of what the processor has.
#if defined(__AVX512F__)
constexpr int kLanes = 16, kRows = 14;
#elif defined(__AVX__)
constexpr int kLanes = 8, kRows = 6;
#else
constexpr int kLanes = 4, kRows = 12;
#endif
constexpr int64_t kBlock = 32;  // channels that lie together in `Points`
constexpr int64_t kCache = int64_t{1} << 17;  // numbers that a core's own cache is sure to hold
constexpr int kAxes = 3;

typedef float Vector __attribute__((vector_size(4 * kLanes), aligned(4), may_alias));

Vector& vector(float* x) { return *reinterpret_cast<Vector*>(x); }
const Vector& vector(const float* x) { return *reinterpret_cast<const Vector*>(x); }

int64_t quotient(int64_t n, int64_t by) { return (n + by - 1) / by; }  // rounded up
int64_t rounded(int64_t n, int64_t to) { return quotient(n, to) * to; }

// Memory that a thread keeps from call to call.
class Scratch {
 public:
  float* of(int64_t size) {
    if (size > size_) {
      size_ = rounded(size, kBlock);
      memory_.reset(static_cast<float*>(std::aligned_alloc(64, 4 * size_)));
    }
    return memory_.get();
  }

 private:
  struct Free {
    void operator()(float* x) { std::free(x); }
  };
  std::unique_ptr<float, Free> memory_;
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
  const std::function<void()> take = [state, count, &work] {
    for (int64_t i; (i = state->next++) < count;) {  // else `work` may be gone
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

// A small matrix, applied to rows of numbers: out[i] = sum_j values[i][j] in[j].
class Matrix {
 public:
  static constexpr int kMost = 16;  // rows, and columns
  int rows = 1, columns = 1;

  Matrix() = default;
  Matrix(int rows, int columns, const float* values)
      : rows(rows), columns(columns), values_(values) {
    find<1, 1>(), find<1, 2>(), find<2, 1>(), find<2, 2>(), find<1, 3>(), find<3, 1>();
    find<2, 3>(), find<3, 2>(), find<3, 3>(), find<2, 4>(), find<4, 2>(), find<3, 4>();
    find<4, 3>(), find<4, 4>(), find<4, 6>(), find<6, 4>(), find<3, 6>(), find<6, 3>();
    find<6, 6>();
  }

  bool is_one() const { return rows == 1 && columns == 1; }

  // Of one line, whose rows lie anywhere.
  void operator()(int64_t size, const float* const* in, float* const* out) const {
    scattered_(*this, size, in, out);
  }

  // Of lines one after the other, whose rows lie a step apart.
  void operator()(int64_t lines, int64_t size, const float* in, int64_t in_line, int64_t in_step,
                  float* out, int64_t out_line, int64_t out_step) const {
    regular_(*this, lines, size, in, in_line, in_step, out, out_line, out_step);
  }

 private:
  template <int rows_, int columns_>
  void find() {
    if (rows != rows_ || columns != columns_) return;
    scattered_ = scattered<rows_, columns_>;
    regular_ = regular<rows_, columns_>;
  }

  // Of kLanes columns. A count of 0 is one that is only known when it runs.
  template <int rows_, int columns_, typename In, typename Out>
  static inline void apply(const Matrix& matrix, const In& in, const Out& out) {
    const float* value = matrix.values_;
    if constexpr (rows_ == 0) {
      for (int i = 0; i < matrix.rows; ++i) {
        Vector sum = {};
        for (int j = 0; j < matrix.columns; ++j) sum += *value++ * vector(in(j));
        vector(out(i)) = sum;
      }
    } else {
      Vector x[columns_];
#pragma GCC unroll 8
      for (int j = 0; j < columns_; ++j) x[j] = vector(in(j));
#pragma GCC unroll 8
      for (int i = 0; i < rows_; ++i, value += columns_) {
        Vector sum = value[0] * x[0];
#pragma GCC unroll 8
        for (int j = 1; j < columns_; ++j) sum += value[j] * x[j];
        vector(out(i)) = sum;
      }
    }
  }

  template <int rows_, int columns_>
  static void scattered(const Matrix& matrix, int64_t size, const float* const* in,
                        float* const* out) {
    for (int64_t c = 0; c < size; c += kLanes)
      apply<rows_, columns_>(
          matrix, [&](int j) { return in[j] + c; }, [&](int i) { return out[i] + c; });
  }

  template <int rows_, int columns_>
  static void regular(const Matrix& matrix, int64_t lines, int64_t size, const float* in,
                      int64_t in_line, int64_t in_step, float* out, int64_t out_line,
                      int64_t out_step) {
    for (int64_t line = 0; line < lines; ++line, in += in_line, out += out_line)
      for (int64_t c = 0; c < size; c += kLanes)
        apply<rows_, columns_>(
            matrix, [&](int j) { return in + j * in_step + c; },
            [&](int i) { return out + i * out_step + c; });
  }

  const float* values_ = nullptr;
  decltype(&scattered<0, 0>) scattered_ = scattered<0, 0>;
  decltype(&regular<0, 0>) regular_ = regular<0, 0>;
};

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
  bool turned;  // x has the kernel's channels and y its features, in place of the other way
  int64_t features, channels, window[kAxes], strides[kAxes], tiles, points = 1, taps = 1;
  std::vector<Part> parts;
  Matrix blocks_to_points[kAxes], places_to_points[kAxes], points_to_places[kAxes];
  Matrix taps_to_points[kAxes], points_to_taps[kAxes];

  Call(int64_t batch, ffi::Span<const int64_t> kernel, ffi::Span<const int64_t> sizes,
       ffi::Span<const float> matrices)
      : features(kernel[kernel.size() - 2]), channels(kernel.back()), tiles(batch) {
    const int64_t* size = sizes.begin();
    turned = *size++;
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

  // As many tiles as the cache has room for, of so many numbers each at every point.
  int64_t group(int64_t numbers) const {
    const int64_t most = std::max<int64_t>(kCache / (points * numbers) / kRows, 2) * kRows;
    return rounded(quotient(tiles, quotient(tiles, most)), kRows);
  }

  // Where a tap of a phase lies in the kernel, or -1 outside the window.
  int64_t place(const int64_t phase[kAxes], int64_t i, int64_t j, int64_t k) const {
    int64_t place = 0, tap[kAxes] = {i, j, k};
    for (int a = 0; a < kAxes; ++a) {
      // Those of a transposed convolution go backwards.
      const int64_t from_first = turned ? taps_to_points[a].columns - 1 - tap[a] : tap[a];
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
        at_[a][i] = place >= 0 && place < side.size ? place * step : kNothing;
      }
    }
  }

  // Of block [i, j, k]; negative where there is nothing.
  int64_t operator()(int64_t i, int64_t j, int64_t k) const {
    return at_[0][i] + at_[1][j] + at_[2][k];
  }

 private:
  static constexpr int64_t kNothing = INT64_MIN / 4;
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
void to_points(const Matrix matrices[kAxes], int64_t size, const At& at, float* room, float* spare,
               const Points& points, int64_t tile, int64_t first = 0) {
  const int64_t a = matrices[0].columns, b = matrices[1].columns, c = matrices[2].columns;
  const int64_t q = matrices[1].rows, r = matrices[2].rows;
  const float* in[Matrix::kMost];
  float* out[Matrix::kMost];
  float* to = room;
  for (int64_t i = 0; i < a; ++i)
    for (int64_t j = 0; j < b; ++j) {
      for (int64_t k = 0; k < c; ++k) in[k] = at(i, j, k);
      for (int64_t k = 0; k < r; ++k, to += size) out[k] = to;
      matrices[2](size, in, out);
    }
  const bool flat = matrices[0].is_one();  // of two axes
  if (!flat) matrices[1](a, r * size, room, b * r * size, r * size, spare, q * r * size, r * size);
  const Matrix& last = matrices[flat ? 1 : 0];
  const float* from = flat ? room : spare;
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
                 float* room, float* spare, const At& at) {
  const int64_t p = matrices[0].rows, q = matrices[1].rows, r = matrices[2].rows;
  const int64_t b = matrices[1].columns, c = matrices[2].columns;
  const bool flat = matrices[0].is_one();
  const Matrix& first = matrices[flat ? 1 : 0];
  float* to = flat ? spare : room;
  const int64_t lines = flat ? c : b * c, step = points.block(1, 0);
  for (int64_t channel = 0; channel < size; channel += kBlock)
    first(lines, std::min(kBlock, size - channel),
          points.numbers + points.block(0, channel / kBlock) + tile * kBlock, step, lines * step,
          to + channel, size, lines * size);
  if (!flat) matrices[1](p, c * size, room, b * c * size, c * size, spare, q * c * size, c * size);
  const float* in[Matrix::kMost];
  float* out[Matrix::kMost];
  const float* from = spare;
  for (int64_t i = 0; i < p; ++i)
    for (int64_t j = 0; j < q; ++j) {
      for (int64_t k = 0; k < c; ++k, from += size) in[k] = from;
      for (int64_t k = 0; k < r; ++k) out[k] = at(i, j, k);
      matrices[2](size, in, out);
    }
}

// Sums c[i][j] (+)= sum_k a[i][k] b[k][j] of kBlock columns j. Rows lie kBlock apart; of a, where
// `by_rows`, the next kBlock columns lie `next` apart, and otherwise a is there column by column.
template <int rows, bool by_rows>
void product(int64_t depth, const float* a, int64_t next, const float* b, float* c, bool add) {
  constexpr int64_t row = by_rows ? kBlock : 1, column = by_rows ? 1 : kBlock;
  for (int64_t j = 0; j < kBlock; j += 2 * kLanes) {
    Vector sums[rows][2];
#pragma GCC unroll 16
    for (int i = 0; i < rows; ++i) sums[i][0] = sums[i][1] = Vector{};
    const float *left = a, *right = b + j;
    for (int64_t rest = depth; rest > 0; rest -= kBlock, left += by_rows ? next : kBlock * kBlock) {
      const float* x = left;
      for (int64_t k = std::min(rest, kBlock); k > 0; --k, x += column, right += kBlock) {
        const Vector b0 = vector(right), b1 = vector(right + kLanes);
#pragma GCC unroll 16
        for (int i = 0; i < rows; ++i) {
          sums[i][0] += x[i * row] * b0;
          sums[i][1] += x[i * row] * b1;
        }
      }
    }
#pragma GCC unroll 16
    for (int i = 0; i < rows; ++i) {
      Vector &c0 = vector(c + i * kBlock + j), &c1 = vector(c + i * kBlock + j + kLanes);
      c0 = add ? c0 + sums[i][0] : sums[i][0];
      c1 = add ? c1 + sums[i][1] : sums[i][1];
    }
  }
}

template <bool by_rows, int rows = kRows>
void product_of(int64_t count, int64_t depth, const float* a, int64_t next, const float* b,
                float* c, bool add) {
  if (count == rows) return product<rows, by_rows>(depth, a, next, b, c, add);
  if constexpr (rows > 1) product_of<by_rows, rows - 1>(count, depth, a, next, b, c, add);
}

// Of any number of rows, in shares as equal as possible.
template <bool by_rows>
void matrix_product(int64_t rows, int64_t depth, const float* a, int64_t next, const float* b,
                    float* c, bool add) {
  const int64_t shares = quotient(rows, kRows);
  for (int64_t share = 0, i = 0; share < shares; ++share) {
    const int64_t count = (rows - i) / (shares - share);
    product_of<by_rows>(count, depth, a + i * (by_rows ? kBlock : 1), next, b, c + i * kBlock, add);
    i += count;
  }
}

// What a thread works with: a tile before and after a matrix, and results.
struct Desk {
  Scratch room, spare, nothing, left, right, results;
};

Desk& desk() {
  static thread_local Desk desk;
  return desk;
}

// Values at the points of `count` tiles from `begin` on, of channels [first, first + size).
void read(const Call& call, const Part& part, const Side Axis::* side, const Matrix matrices[kAxes],
          int64_t all_channels, int64_t first, int64_t size, const float* array, int64_t begin,
          int64_t count, const Points& points) {
  const Grid grid(part, side, all_channels);
  float* room = desk().room.of(call.points * size);
  float* spare = desk().spare.of(call.points * size);
  float* nothing = desk().nothing.of(size);
  std::fill_n(nothing, size, 0.f);
  const int64_t count_of_blocks[] = {matrices[0].columns, matrices[1].columns,
                                     matrices[2].columns};
  for (int64_t i = 0; i < count; ++i) {
    const Tile tile(part, begin + i);
    const float* example = array + tile.example * grid.numbers + first;
    for (int64_t number = 0; number < grid.phases; ++number) {
      int64_t phase[kAxes];
      grid.phase(number, phase);
      const Places places(grid, tile, phase, count_of_blocks);
      const auto at = [&](int64_t z, int64_t y, int64_t x) {
        const int64_t place = places(z, y, x);
        return place < 0 ? nothing : example + place;
      };
      to_points(matrices, size, at, room, spare, points, i, number * size);
    }
  }
}

// The places of the tiles, likewise.
void write(const Call& call, const Part& part, int64_t all_channels, int64_t first, int64_t size,
           const Points& points, int64_t begin, int64_t count, float* array) {
  const Grid grid(part, &Axis::y, all_channels);
  float* room = desk().room.of(call.points * size);
  float* spare = desk().spare.of(call.points * size);
  float* nothing = desk().nothing.of(size);
  const int64_t phase[kAxes] = {};
  const Matrix* rows = call.points_to_places;
  const int64_t count_of_places[] = {rows[0].rows, rows[1].rows, rows[2].rows};
  for (int64_t i = 0; i < count; ++i) {
    const Tile tile(part, begin + i);
    float* example = array + tile.example * grid.numbers + first;
    const Places places(grid, tile, phase, count_of_places);
    from_points(call.points_to_places, size, points, i, room, spare,
                [&](int64_t z, int64_t y, int64_t x) {
                  const int64_t place = places(z, y, x);
                  return place < 0 ? nothing : example + place;
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

// Calls visit(row of one panel, taps at its phase) for all rows that a product sums over.
template <typename Visit>
void for_rows(const Call& call, const Part& part, const Visit& visit) {
  const int64_t channels = call.turned ? call.channels : call.features;
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
  const int64_t used = std::min(kBlock, (call.turned ? features : channels) - first);
  const int64_t numbers = std::max(call.points, call.taps) * kBlock;
  float* room = desk().room.of(numbers);
  float* spare = desk().spare.of(numbers);
  const int64_t row_size = (call.taps + 1) * kBlock;  // odd: rows do not compete for a cache line
  float* rows = desk().left.of(kBlock * row_size);
  std::fill_n(rows, kBlock * row_size, 0.f);
  for_rows(call, part, [&](int64_t row, int64_t channel, const int64_t* phase) {
    float* own = call.turned ? rows + row % kBlock * row_size : rows;
    if (!call.turned || row % kBlock == 0) {
      float* to = own;
      for_taps(call, phase, [&](int64_t place) {
        if (place < 0) {
          for (int64_t r = 0; r < (call.turned ? kBlock : 1); ++r)
            std::fill_n(to + r * row_size, used, 0.f);
        } else if (call.turned) {  // kBlock rows at a time, as they lie in memory
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
    to_points(call.taps_to_points, kBlock, [&](int64_t, int64_t, int64_t) {
      own += kBlock;
      return own - kBlock;
    }, room, spare, weights, row);
  });
}

// G' of the products of one panel, into the kernel.
void write_kernel(const Call& call, const Part& part, int64_t panel, const Points& products,
                  float* kernel) {
  const int64_t first = panel * kBlock, used = std::min(kBlock, call.channels - first);
  const int64_t numbers = std::max(call.points, call.taps) * kBlock;
  float* room = desk().room.of(numbers);
  float* spare = desk().spare.of(numbers);
  float* nothing = desk().nothing.of(kBlock);
  for_rows(call, part, [&](int64_t row, int64_t channel, const int64_t* phase) {
    from_points(call.points_to_taps, used, products, row, room, spare,
                [&](int64_t i, int64_t j, int64_t k) {
                  const int64_t place = call.place(phase, i, j, k);
                  if (place < 0) return nothing;
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

  // Where the groups are few, the weights are as large as all the rest: each unit of work takes a
  // few panels of them through all groups. Where they are many, a unit is a group.
  const int64_t each = points * depth * kBlock;  // weights of a panel
  const bool few = groups <= 4;
  const int64_t units = parts * (few ? 1 : groups);
  const int64_t ranges = std::clamp<int64_t>(quotient(4 * pool.num_threads(), units), 1, panels);
  static thread_local Scratch shared;
  float* weights = few ? nullptr : shared.of(parts * panels * each);
  if (!few)
    in_parallel(pool, parts * panels, [&](int64_t unit) {
      read_kernel(call, call.parts[unit / panels], unit % panels, kernel,
                  {weights + unit * each, 1, depth});
    });

  in_parallel(pool, units * ranges, [&](int64_t unit) {
    const int64_t range = unit % ranges, which = unit / ranges % parts;
    const int64_t first = range * panels / ranges, last = (range + 1) * panels / ranges;
    const Part& part = call.parts[which];
    float* own = few ? desk().right.of((last - first) * each)
                     : weights + (which * panels + first) * each;
    if (few)
      for (int64_t panel = first; panel < last; ++panel)
        read_kernel(call, part, panel, kernel, {own + (panel - first) * each, 1, depth});
    const Points factors{desk().left.of(points * blocks * kBlock * size), blocks, size};
    const Points products{desk().results.of(points * (last - first) * kBlock * size), last - first,
                          size};
    const int64_t group = few ? 0 : unit / ranges / parts;
    for (int64_t begin = group * size; begin < (few ? tiles : (group + 1) * size); begin += size) {
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
  const int64_t slices = std::clamp<int64_t>(16 / units, 1, groups);
  static thread_local Scratch shared;
  float* all = slices > 1 ? shared.of(units * slices * most * each) : nullptr;
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
    const Points left{desk().left.of(points * blocks * kBlock * size), blocks, size};
    const Points right{desk().right.of(points * most * kBlock * size), last - first, size};
    float* sums = slices > 1 ? all + i * most * each : desk().results.of(most * each);
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
            matrix_product<false>(std::min(kBlock, depth - block * kBlock), count,
                                  left.numbers + left.block(p, block), 0,
                                  right.numbers + right.block(p, panel),
                                  sums + panel * each + (p * depth + block * kBlock) * kBlock,
                                  begin > from);
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

#define HANDLER(name, function)                                        \
  XLA_FFI_DEFINE_HANDLER_SYMBOL(name, function,                        \
                                ffi::Ffi::Bind()                       \
                                    .Ctx<ffi::ThreadPool>()            \
                                    .Arg<ffi::Buffer<ffi::F32>>()      \
                                    .Arg<ffi::Buffer<ffi::F32>>()      \
                                    .Attr<ffi::Span<const int64_t>>("sizes")    \
                                    .Attr<ffi::Span<const float>>("matrices")   \
                                    .Ret<ffi::Buffer<ffi::F32>>())

HANDLER(convolve, Convolve);
HANDLER(kernel_gradient, KernelGradient);
