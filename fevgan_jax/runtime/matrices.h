// What conv_tiles.cc computes with: small matrices that are applied to rows of numbers, and
// products of large ones. The compiler makes the vectors; nothing here is of one processor but how
// many numbers a register holds.

#pragma once

#include <algorithm>
#include <cstdint>

// A product keeps kRows * 2 registers of sums: most of what the processor has.
#if defined(__AVX512F__)
constexpr int kLanes = 16, kRows = 14;
#elif defined(__AVX__)
constexpr int kLanes = 8, kRows = 6;
#else
constexpr int kLanes = 4, kRows = 12;
#endif
constexpr int64_t kBlock = 32;  // channels that lie together in `Points`

static_assert(16 % kLanes == 0 && kBlock % (2 * kLanes) == 0, "");

typedef float Vector __attribute__((vector_size(4 * kLanes), aligned(4), may_alias));

inline Vector& lanes(float* x) { return *reinterpret_cast<Vector*>(x); }
inline const Vector& lanes(const float* x) { return *reinterpret_cast<const Vector*>(x); }

inline int64_t quotient(int64_t n, int64_t by) { return (n + by - 1) / by; }  // rounded up
inline int64_t rounded(int64_t n, int64_t to) { return quotient(n, to) * to; }

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

  bool is_trivial() const { return rows == 1 && columns == 1; }

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
        for (int j = 0; j < matrix.columns; ++j) sum += *value++ * lanes(in(j));
        lanes(out(i)) = sum;
      }
    } else {
      Vector x[columns_];
#pragma GCC unroll 8
      for (int j = 0; j < columns_; ++j) x[j] = lanes(in(j));
#pragma GCC unroll 8
      for (int i = 0; i < rows_; ++i, value += columns_) {
        Vector sum = value[0] * x[0];
#pragma GCC unroll 8
        for (int j = 1; j < columns_; ++j) sum += value[j] * x[j];
        lanes(out(i)) = sum;
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
        const Vector b0 = lanes(right), b1 = lanes(right + kLanes);
#pragma GCC unroll 16
        for (int i = 0; i < rows; ++i) {
          sums[i][0] += x[i * row] * b0;
          sums[i][1] += x[i * row] * b1;
        }
      }
    }
#pragma GCC unroll 16
    for (int i = 0; i < rows; ++i) {
      Vector &c0 = lanes(c + i * kBlock + j), &c1 = lanes(c + i * kBlock + j + kLanes);
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
