// Runs each kernel at the shapes of the `light` networks and prints what came out and, on a Cortex-M, what it took.
//
// A line: kernel, shape, units of work (elements or multiply-accumulates), instructions (0 on other processors), checksum.
// On the emulated board (qemu-system-arm -M mps2-an386 -icount shift=0) SysTick counts 25 MHz of a clock that passes one
// nanosecond per instruction: 40 instructions a tick. A loop of known length is measured first.
#include <cstdint>
#include <cstdio>
#include <initializer_list>

#include "arithmetic.h"

#if defined(__arm__)
extern "C" void Print(const char* text);
#else
static void Print(const char* text) { std::fputs(text, stdout); }
#endif

namespace {

#if defined(__arm__)
constexpr int kRepeats = 20;
constexpr std::uint32_t kInstructionsPerTick = 40;
volatile std::uint32_t& SysTick(int index) { return reinterpret_cast<volatile std::uint32_t*>(0xE000E010)[index]; }

void StartClock() {
  SysTick(1) = 0xffffff;
  SysTick(2) = 0;
  SysTick(0) = 5;
}
std::uint32_t Ticks() { return 0xffffff - SysTick(2); }
std::uint32_t TicksSince(std::uint32_t start) { return (Ticks() - start) & 0xffffff; }
#else
constexpr int kRepeats = 1;
constexpr std::uint32_t kInstructionsPerTick = 0;
void StartClock() {}
std::uint32_t Ticks() { return 0; }
std::uint32_t TicksSince(std::uint32_t) { return 0; }
#endif

// Instructions of one call, rounded to the clock's resolution over all repeats.
template <typename Function>
std::uint32_t Measure(Function function) {
  StartClock();
  const std::uint32_t start = Ticks();
  for (int i = 0; i < kRepeats; ++i) function();
  return TicksSince(start) * kInstructionsPerTick / kRepeats;
}

char line[160];

void Report(const char* kernel, const char* shape, std::uint32_t work, std::uint32_t instructions,
            std::uint32_t checksum) {
  std::snprintf(line, sizeof(line), "%s %s %lu %lu %lu\n", kernel, shape, static_cast<unsigned long>(work),
                static_cast<unsigned long>(instructions), static_cast<unsigned long>(checksum));
  Print(line);
}

constexpr int kMaxElements = 24 * 1024;
std::int8_t input_a[kMaxElements];
std::int8_t input_b[kMaxElements];
std::int8_t output[kMaxElements];

// Bytes of a linear congruential generator (Numerical Recipes').
void Fill(std::int8_t* values, std::uint32_t seed) {
  for (int i = 0; i < kMaxElements; ++i) {
    seed = seed * 1664525 + 1013904223;
    values[i] = static_cast<std::int8_t>(seed >> 24);
  }
}

std::uint32_t Checksum(const std::int8_t* values, int size) {
  std::uint32_t sum = 0;
  for (int i = 0; i < size; ++i) sum = sum * 31 + static_cast<std::uint8_t>(values[i]);
  return sum;
}

const kser::Quantization kInput = {0.047f, 3};
const kser::Quantization kOther = {0.021f, -17};
const kser::Quantization kOutput = {0.061f, -5};
constexpr kser::OutputRange kRange = {-5, -128, 127};

using kser::kTableSize;

void MeasureLookups() {
  std::int8_t table[kTableSize];
  constexpr int kSize = 62 * 128;
  const auto measure = [&](const char* kernel) {
    const std::uint32_t instructions = Measure([&] { kser::Lookup(table, input_a, kSize, output); });
    Report(kernel, "62x128", kSize, instructions, Checksum(output, kSize));
  };
  kser::FillLogistic(kInput, table);
  measure("LOGISTIC");
  kser::FillTanh(kInput, table);
  measure("TANH");
  kser::FillHardSwish(kInput, kOutput, table);
  measure("HARD_SWISH");
  kser::FillSwish(kInput, kOutput, table);
  measure("LOGISTIC_and_MUL");
}

std::int32_t exponentials[kTableSize];

void MeasureExponentials() {
  const std::uint32_t instructions = Measure([] { kser::FillExponentials(kInput.scale, 1.0f, exponentials); });
  std::uint32_t sum = 0;
  for (const std::int32_t value : exponentials) sum = sum * 31 + static_cast<std::uint32_t>(value);
  Report("SOFTMAX_table", "256", kTableSize, instructions, sum);
}

void MeasureSoftmax(const char* shape, int rows, int depth) {
  const std::uint32_t instructions = Measure([&] { kser::Softmax(exponentials, input_a, rows, depth, output); });
  Report("SOFTMAX", shape, rows * depth, instructions, Checksum(output, rows * depth));
}

void MeasureNormalization(const char* shape, int rows, int depth) {
  const std::uint32_t instructions = Measure([&] { kser::L2Normalize(kInput.zero_point, input_a, rows, depth, output); });
  Report("L2_NORMALIZATION", shape, rows * depth, instructions, Checksum(output, rows * depth));
}

void MeasureMean(const char* shape, int outer, int count, int inner) {
  kser::MeanParameters parameters;
  kser::MakeMean(kInput, kOutput, count, &parameters);
  const std::uint32_t instructions = Measure([&] { kser::Mean(parameters, input_a, outer, count, inner, output); });
  Report("MEAN", shape, outer * count * inner, instructions, Checksum(output, outer * inner));
}

// (rows, columns) with (rows_b, columns_b).
struct Shapes {
  const char* text;
  int rows;
  int columns;
  int rows_b;
  int columns_b;
};
constexpr Shapes kSameShapes = {"62x64,62x64", 62, 64, 62, 64};
constexpr Shapes kRowShapes = {"62x64,64", 62, 64, 1, 64};
constexpr Shapes kColumnShapes = {"62x64,62x1", 62, 64, 62, 1};

template <typename Parameters, typename Function>
void MeasureElementwise(const char* kernel, const Parameters& parameters, Function function) {
  for (const Shapes& shapes : {kSameShapes, kRowShapes, kColumnShapes}) {
    const int shape_a[] = {1, 1, 1, 1, shapes.rows, shapes.columns};
    const int shape_b[] = {1, 1, 1, 1, shapes.rows_b, shapes.columns_b};
    const int size = shapes.rows * shapes.columns;
    kser::Broadcast broadcast;
    kser::MakeBroadcast(shape_a, shape_b, &broadcast);
    const std::uint32_t instructions = Measure([&] { function(parameters, broadcast, input_a, input_b, output); });
    Report(kernel, shapes.text, size, instructions, Checksum(output, size));
  }
}

void MeasureSums() {
  kser::SumParameters parameters;
  kser::MakeSum(kser::SumKind::kAdd, kInput, kOther, kOutput, kRange, &parameters);
  MeasureElementwise("ADD", parameters, kser::Sum);
  kser::MakeSum(kser::SumKind::kSub, kInput, kOther, kOutput, kRange, &parameters);
  MeasureElementwise("SUB", parameters, kser::Sum);
  kser::MakeSum(kser::SumKind::kSub, kOther, kInput, kOutput, kRange, &parameters);
  MeasureElementwise("SUB_of_narrow", parameters, kser::Sum);
}

void MeasureProduct() {
  kser::ProductParameters parameters;
  kser::MakeProduct(kInput, kOther, kOutput, kRange, &parameters);
  MeasureElementwise("MUL", parameters, kser::Product);
}

std::int8_t transposed[kMaxElements];
kser::Pair workspace[1024];
std::int32_t bias[512];

void MeasureMatrices(const char* shape, int rows, int columns, int depth) {
  kser::MatrixProductParameters parameters = kser::MakeMatrixProduct(kInput, kOther, {0.2f, 11}, {11, -128, 127});
  const std::uint32_t work = static_cast<std::uint32_t>(rows) * columns * depth;
  const kser::RightMatrix right = {input_b, nullptr, columns, depth};
  std::uint32_t instructions =
      Measure([&] { kser::MatrixProduct(parameters, input_a, rows, right, workspace, output); });
  Report("BATCH_MATMUL", shape, work, instructions, Checksum(output, rows * columns));
  const kser::RightMatrix columns_of_right = {transposed, nullptr, columns, depth};
  instructions = Measure([&] {
    kser::Transpose(input_b, depth, columns, transposed);
    kser::MatrixProduct(parameters, input_a, rows, columns_of_right, workspace, output);
  });
  Report("BATCH_MATMUL_without_adj_y", shape, work, instructions, Checksum(output, rows * columns));
}

void MeasureDense(const char* shape, int rows, int columns, int depth) {
  const kser::RightMatrix right = {input_b, bias, columns, depth};
  for (const bool relu : {false, true}) {
    const std::int32_t low = relu ? -5 : -128;
    const auto parameters = kser::MakeMatrixProduct(kInput, {kOther.scale, 0}, {0.2f, -5}, {-5, low, 127});
    const std::uint32_t work = static_cast<std::uint32_t>(rows) * columns * depth;
    const std::uint32_t instructions =
        Measure([&] { kser::MatrixProduct(parameters, input_a, rows, right, workspace, output); });
    Report(relu ? "FULLY_CONNECTED_with_ReLU" : "FULLY_CONNECTED", shape, work, instructions, Checksum(output, rows * columns));
  }
}

// Of 3 x 3 filters with a scale each, stride 2, padded by a row and a column at the end of an even size.
void MeasureConvolution(const char* shape, int height, int width, int channels, int filters) {
  const kser::Convolution c = {1,        height, width,    channels, 3,  3, 1, 1, 2, 2, height % 2, width % 2,
                               static_cast<std::int8_t>(kInput.zero_point), (height + 1) / 2, (width + 1) / 2};
  static kser::QuantizedMultiplier factors[64];
  for (int i = 0; i < filters; ++i) factors[i] = kser::ColumnFactor(kInput.scale, kOther.scale * (1 + i), 0.2f);
  auto parameters = kser::MakeMatrixProduct(kInput, {kOther.scale, 0}, {0.2f, -5}, {-5, -5, 127});
  parameters.factors = factors;
  parameters.each_its_own = true;
  const kser::RightMatrix right = {input_b, bias, filters, 9 * channels};
  const int elements = c.output_height * c.output_width * filters;
  const std::uint32_t instructions =
      Measure([&] { kser::Convolve(parameters, c, input_a, right, workspace, output); });
  Report("CONV_2D", shape, static_cast<std::uint32_t>(elements) * right.depth, instructions, Checksum(output, elements));
}

// Along 62 places, padded so that they stay as many.
void MeasureDepthwise(const char* shape, int channels, int taps) {
  const kser::Convolution c = {1, 1, 62, channels, 1, taps, 1, 1, 1, 1, 0, taps / 2, static_cast<std::int8_t>(kInput.zero_point),
                               1, 62};
  static kser::QuantizedMultiplier factors[64];
  for (int i = 0; i < channels; ++i) factors[i] = kser::ColumnFactor(kInput.scale, kOther.scale * (1 + i), 0.2f);
  auto parameters = kser::MakeMatrixProduct(kInput, {kOther.scale, 0}, {0.2f, -5}, {-5, -128, 127});
  parameters.factors = factors;
  parameters.each_its_own = true;
  auto* const half_words = reinterpret_cast<std::int16_t*>(workspace);
  const std::uint32_t instructions =
      Measure([&] { kser::ConvolveDepthwise(parameters, c, input_a, input_b, bias, half_words, output); });
  Report("DEPTHWISE_CONV_2D", shape, 62 * channels * taps, instructions, Checksum(output, 62 * channels));
}

// Two rows before and one after 62 of 64 values.
void MeasurePad() {
  const kser::Padding padding = {{0, 0, 0, 0, 2, 0}, {1, 1, 1, 1, 62, 64}, {0, 0, 0, 0, 1, 0}};
  const std::uint32_t instructions = Measure([&] { kser::Pad(padding, -5, input_a, output); });
  Report("PAD", "62x64", 65 * 64, instructions, Checksum(output, 65 * 64));
}

// Four instructions a round.
void CheckClock() {
  constexpr std::uint32_t kRounds = 10000;
  const std::uint32_t instructions = Measure([] {
#if defined(__arm__)
    std::uint32_t rounds = kRounds;
    asm volatile("1: nop\n nop\n subs %0, #1\n bne 1b" : "+r"(rounds) : : "cc");
#endif
  });
  Report("clock", "4x10000", 4 * kRounds, instructions, 0);
}

}  // namespace

int main() {
  Fill(input_a, 1);
  Fill(input_b, 2);
  CheckClock();
  MeasureLookups();
  MeasureExponentials();
  MeasureSoftmax("62x62", 62, 62);
  MeasureSoftmax("1x62", 1, 62);
  MeasureSoftmax("247x5", 247, 5);
  MeasureSoftmax("50x9", 50, 9);
  MeasureNormalization("62x64", 62, 64);
  MeasureNormalization("247x48", 247, 48);
  MeasureNormalization("10x96", 10, 96);
  MeasureMean("62x64:last", 62, 64, 1);
  MeasureMean("62x64:time", 1, 62, 64);
  MeasureMean("3x96:time", 1, 3, 96);
  MeasureSums();
  MeasureProduct();
  MeasureMatrices("62x62x8", 62, 62, 8);
  MeasureMatrices("13x17x12", 13, 17, 12);
  MeasureMatrices("62x62x16", 62, 62, 16);
  MeasureMatrices("13x12x17", 13, 12, 17);
  MeasureMatrices("62x62x32", 62, 62, 32);
  MeasureMatrices("62x16x62", 62, 16, 62);
  for (int i = 0; i < 512; ++i) bias[i] = input_a[i] * 16;
  MeasureDense("50x32x32", 50, 32, 32);
  MeasureDense("62x64x64", 62, 64, 64);
  MeasureDense("50x128x32", 50, 128, 32);
  MeasureDense("50x32x128", 50, 32, 128);
  MeasureDense("13x17x30", 13, 17, 30);
  MeasureConvolution("247x40x1,8:9", 247, 40, 1, 8);
  MeasureConvolution("62x20x8,16:72", 62, 20, 8, 16);
  MeasureDepthwise("62x64:15", 64, 15);
  MeasureDepthwise("62x31:7", 31, 7);
  MeasurePad();
}
