#include "optimize.h"

#include "arithmetic.h"
#include "scale.h"

namespace kser {
namespace {

// Four values of the filter at a time, four places at once.
constexpr int kTaps = 4;
constexpr int kPlaces = 4;

int RoundedUp(int size, int multiple) { return (size + multiple - 1) / multiple * multiple; }
int TapCount(const Convolution& c) { return RoundedUp(c.filter_width, kTaps); }
int LineSize(const Convolution& c) { return RoundedUp(c.output_width, kPlaces) + TapCount(c) + kPlaces; }

// The values of one channel along a row of the image, from the first place on, and the filter's: as half-words, the zero point
// taken off, zeros outside.
void FillLine(const Convolution& c, const std::int8_t* row, std::int16_t* line) {
  const std::int32_t zero_point = c.padding;
  const int size = LineSize(c);
  const int channels = c.channels;
  const int end = Clamp(c.left + c.width, 0, size);
  int i = 0;
  for (; i < c.left; ++i) line[i] = 0;
  for (; i < end; ++i, row += channels) line[i] = static_cast<std::int16_t>(*row - zero_point);
  for (; i < size; ++i) line[i] = 0;
}

void FillTaps(const Convolution& c, const std::int8_t* filter, std::int16_t* taps) {
  int i = 0;
  for (; i < c.filter_width; ++i, filter += c.channels) taps[i] = *filter;
  for (; i < TapCount(c); ++i) taps[i] = 0;
}

struct FourSums {
  std::int32_t first;
  std::int32_t second;
  std::int32_t third;
  std::int32_t fourth;
};

// At four neighbouring places from x on, which share what they read.
inline FourSums SumsAt(const std::int16_t* x, const std::int16_t* taps, const std::int16_t* end, std::int32_t bias) {
  FourSums s = {bias, bias, bias, bias};
  Pair even = LoadPair(x);
  Pair odd = LoadPair(x + 1);
  for (; taps != end; taps += kTaps, x += kTaps) {
    const Pair a = LoadPair(taps);
    const Pair b = LoadPair(taps + 2);
    const Pair next_even = LoadPair(x + 2);
    const Pair next_odd = LoadPair(x + 3);
    s.first = DotPair(next_even, b, DotPair(even, a, s.first));
    s.second = DotPair(next_odd, b, DotPair(odd, a, s.second));
    even = LoadPair(x + 4);
    odd = LoadPair(x + 5);
    s.third = DotPair(even, b, DotPair(next_even, a, s.third));
    s.fourth = DotPair(odd, b, DotPair(next_odd, a, s.fourth));
  }
  return s;
}

template <typename Scale>
KSER_NOINLINE void FilterLine(const std::int16_t* line, const std::int16_t* taps, int num_taps, int places, std::int32_t bias,
                              Scale scale, int channels, std::int8_t* output) {
  for (; places > 0; places -= kPlaces, line += kPlaces) {
    const FourSums s = SumsAt(line, taps, taps + num_taps, bias);
    *output = scale(s.first);
    output += channels;
    if (places == 1) return;
    *output = scale(s.second);
    output += channels;
    if (places == 2) return;
    *output = scale(s.third);
    output += channels;
    if (places == 3) return;
    *output = scale(s.fourth);
    output += channels;
  }
}

// Of one channel at one place, whatever strides and dilations are.
std::int32_t SumAt(const Convolution& c, const std::int8_t* image, const std::int8_t* filter, int y, int x) {
  std::int32_t sum = 0;
  for (int row = 0; row < c.filter_height; ++row, y += c.step_y) {
    for (int tap = 0; tap < c.filter_width; ++tap, filter += c.channels) {
      const int at = x + tap * c.step_x;
      if (y < 0 || y >= c.height || at < 0 || at >= c.width) continue;
      sum += *filter * (image[(y * c.width + at) * c.channels] - c.padding);
    }
  }
  return sum;
}

// The places along a row of the output, in one channel.
template <typename Scale>
void FilterRow(const Convolution& c, const std::int8_t* image, const std::int8_t* filter, int y, std::int32_t bias,
               Scale scale, std::int16_t* workspace, std::int8_t* output) {
  const int top = y * c.stride_y - c.top;
  if (c.filter_height == 1 && c.stride_x == 1 && c.step_x == 1 && top >= 0 && top < c.height) {
    std::int16_t* const taps = workspace + LineSize(c);
    FillLine(c, image + top * c.width * c.channels, workspace);
    FillTaps(c, filter, taps);
    FilterLine(workspace, taps, TapCount(c), c.output_width, bias, scale, c.channels, output);
    return;
  }
  for (int x = 0; x < c.output_width; ++x, output += c.channels) {
    *output = scale(bias + SumAt(c, image, filter, top, x * c.stride_x - c.left));
  }
}

template <typename Scale>
void Filter(const MatrixProductParameters& p, const Convolution& c, const std::int8_t* input, const std::int8_t* filters,
            const std::int32_t* bias, std::int16_t* workspace, std::int8_t* output) {
  for (int batch = 0; batch < c.batches; ++batch, input += c.height * c.width * c.channels) {
    for (int y = 0; y < c.output_height; ++y, output += c.output_width * c.channels) {
      for (int channel = 0; channel < c.channels; ++channel) {
        FilterRow(c, input + channel, filters + channel, y, bias != nullptr ? bias[channel] : 0,
                  Scale(p.range, p.FactorOf(channel)), workspace, output + channel);
      }
    }
  }
}

}  // namespace

int DepthwiseWorkspaceSize(const Convolution& convolution) { return LineSize(convolution) + TapCount(convolution); }

void ConvolveDepthwise(const MatrixProductParameters& parameters, const Convolution& convolution, const std::int8_t* input,
                       const std::int8_t* filters, const std::int32_t* bias, std::int16_t* workspace, std::int8_t* output) {
  const auto filter = parameters.exact                    ? Filter<ExactScale>
                      : parameters.range.low != kInt8Min ? Filter<FastScale<true>>
                                                         : Filter<FastScale<false>>;
  filter(parameters, convolution, input, filters, bias, workspace, output);
}

}  // namespace kser
