#include "optimize.h"

#include <cstring>

#include "arithmetic.h"
#include "scale.h"
#include "two_rows.h"

namespace kser {
namespace {

// A copy of few bytes, for which a call takes longer than a loop.
template <typename Word>
inline void CopyWord(const std::int8_t* from, std::int8_t* to) {
  Word word;
  std::memcpy(&word, from, sizeof(word));
  std::memcpy(to, &word, sizeof(word));
}

inline void Copy(const std::int8_t* from, int size, std::int8_t* to) {
  for (; size >= 4; size -= 4, from += 4, to += 4) CopyWord<std::uint32_t>(from, to);
  if (size >= 2) {
    CopyWord<std::uint16_t>(from, to);
    size -= 2;
    from += 2;
    to += 2;
  }
  if (size > 0) *to = *from;
}

inline void Fill(std::int8_t value, int size, std::int8_t* to) {
  for (; size > 0; --size) *to++ = value;
}

// What is seen at places one after the other, row by row and image by image, each in the filters' order.
class Windows {
 public:
  // A window every `pitch` values.
  Windows(const Convolution& convolution, const std::int8_t* input, int pitch)
      : c_(convolution), pitch_(pitch), image_(input) {
    const int reach = (c_.filter_width - 1) * c_.step_x + 1;
    inside_ = c_.step_x == 1 ? (c_.left + c_.stride_x - 1) / c_.stride_x : c_.output_width;
    outside_ = c_.width + c_.left < reach ? 0 : (c_.width + c_.left - reach) / c_.stride_x + 1;
  }

  void Copy(int count, std::int8_t* windows) {
    while (count > 0) {
      const int places = count < c_.output_width - x_ ? count : c_.output_width - x_;
      CopyPlaces(x_ + places, windows);
      windows += places * pitch_;
      count -= places;
      Advance(places);
    }
  }

 private:
  void Advance(int places) {
    x_ += places;
    if (x_ < c_.output_width) return;
    x_ = 0;
    if (++y_ < c_.output_height) return;
    y_ = 0;
    image_ += c_.height * c_.width * c_.channels;
  }

  // The places of a row up to `end`.
  void CopyPlaces(int end, std::int8_t* windows) const {
    const int size = c_.filter_width * c_.channels;
    int y = y_ * c_.stride_y - c_.top;
    for (int row = 0; row < c_.filter_height; ++row, y += c_.step_y, windows += size) {
      if (y >= 0 && y < c_.height) {
        CopyRow(image_ + y * c_.width * c_.channels, end, windows);
      } else {
        for (int x = x_; x < end; ++x) Fill(c_.padding, size, windows + (x - x_) * pitch_);
      }
    }
  }

  // A filter's row at all places: of neighbouring values where it is inside the image's.
  void CopyRow(const std::int8_t* values, int end, std::int8_t* windows) const {
    const int inside = Clamp(inside_, x_, end);
    const int outside = Clamp(outside_, inside, end);
    for (int x = x_; x < inside; ++x, windows += pitch_) CopyTaps(values, x, windows);
    const int size = c_.filter_width * c_.channels;
    const int step = c_.stride_x * c_.channels;
    const std::int8_t* from = values + inside * step - c_.left * c_.channels;
    for (int x = inside; x < outside; ++x, from += step, windows += pitch_) kser::Copy(from, size, windows);
    for (int x = outside; x < end; ++x, windows += pitch_) CopyTaps(values, x, windows);
  }

  void CopyTaps(const std::int8_t* values, int place, std::int8_t* window) const {
    int x = place * c_.stride_x - c_.left;
    for (int tap = 0; tap < c_.filter_width; ++tap, x += c_.step_x, window += c_.channels) {
      if (x >= 0 && x < c_.width) {
        kser::Copy(values + x * c_.channels, c_.channels, window);
      } else {
        Fill(c_.padding, c_.channels, window);
      }
    }
  }

  const Convolution c_;
  const int pitch_;
  const std::int8_t* image_;
  int inside_;   // the first place of a row whose filter begins in the image
  int outside_;  // the first whose filter ends beyond it
  int y_ = 0;
  int x_ = 0;
};

// Of two filters at `count` places: output values of two of `channels` channels.
template <typename Scale>
KSER_NOINLINE void Finish(const Sums* sums, int count, Scale scale_a, Scale scale_b, int channels, std::int8_t* output_a,
                          std::int8_t* output_b) {
  const int to_b = output_b - output_a;
  for (const Sums* const end = sums + count; sums != end; ++sums, output_a += channels) {
    const std::int32_t sum_b = sums->b;
    output_a[0] = scale_a(sums->a);
    output_a[to_b] = scale_b(sum_b);
  }
}

// What a filter's sum has before products are added: the input's offset times its values, and the bias.
std::int32_t StartOf(std::int32_t offset, const RightMatrix& filters, int filter) {
  const std::int32_t bias = filters.bias != nullptr ? filters.bias[filter] : 0;
  return bias + offset * SumOfValues(filters.values + filter * filters.depth, filters.depth, 0);
}

// From a window to the next: so far that each ends in whole lanes. What is there is multiplied by zeros.
int Pitch(int depth) { return (depth + kLanes - 1) / kLanes * kLanes; }

template <typename Scale>
void MultiplyWindows(const MatrixProductParameters& p, const RightMatrix& filters, const std::int8_t* windows, int count,
                     Pair* workspace, std::int8_t* output) {
  const int depth = filters.depth;
  Sums sums[kBlockColumns];
  for (int a = 0; a < filters.columns; a += 2) {
    // The last of an odd number of filters is computed twice.
    const int b = a + 1 < filters.columns ? a + 1 : a;
    StoredRows rows = StoreTwoRows(0, filters.values + a * depth, filters.values + b * depth, depth, workspace);
    rows.depth = Pitch(depth);
    rows.start = {StartOf(-p.left_zero_point, filters, a), StartOf(-p.left_zero_point, filters, b)};
    MultiplyColumns(rows, windows, count, sums);
    Finish(sums, count, Scale(p.range, p.FactorOf(a)), Scale(p.range, p.FactorOf(b)), filters.columns, output + a, output + b);
  }
}

// Few values under a filter: then its scale takes longer than its products, unless it is got once for many places. Otherwise
// two windows are the rows and the filters the columns.
bool IsShallow(int depth) { return depth <= 32; }

int WindowCount(int depth) { return IsShallow(depth) ? kBlockColumns : 2; }

using MultiplyFunction = void (*)(const MatrixProductParameters&, const RightMatrix&, const std::int8_t*, int, Pair*,
                                  std::int8_t*);

MultiplyFunction ChooseMultiply(const MatrixProductParameters& p, int depth) {
  if (!IsShallow(depth)) {
    return [](const MatrixProductParameters& parameters, const RightMatrix& filters, const std::int8_t* windows, int count,
              Pair* workspace, std::int8_t* output) {
      MatrixProduct(parameters, windows, count, filters, workspace, output);
    };
  }
  if (p.exact) return MultiplyWindows<ExactScale>;
  return p.range.low != kInt8Min ? MultiplyWindows<FastScale<true>> : MultiplyWindows<FastScale<false>>;
}

}  // namespace

int ConvolutionWorkspaceSize(int depth) {
  return WorkspaceSize(depth) + WindowCount(depth) * WorkspaceSize(depth) / static_cast<int>(sizeof(Pair));
}

void Convolve(const MatrixProductParameters& parameters, const Convolution& convolution, const std::int8_t* input,
              const RightMatrix& filters, Pair* workspace, std::int8_t* output) {
  const MultiplyFunction multiply = ChooseMultiply(parameters, filters.depth);
  auto* const windows = reinterpret_cast<std::int8_t*>(workspace + WorkspaceSize(filters.depth));
  const int most = WindowCount(filters.depth);
  Windows places(convolution, input, IsShallow(filters.depth) ? Pitch(filters.depth) : filters.depth);
  for (int left = convolution.batches * convolution.output_height * convolution.output_width; left > 0; left -= most) {
    const int count = left < most ? left : most;
    places.Copy(count, windows);
    multiply(parameters, filters, windows, count, workspace, output);
    output += count * filters.columns;
  }
}

}  // namespace kser
