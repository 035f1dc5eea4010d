// The complex transform by its definition, for fakes of libraries that cannot be had on this computer.
#ifndef KSER_TESTS_MICRO_FAKES_PLAIN_FFT_H_
#define KSER_TESTS_MICRO_FAKES_PLAIN_FFT_H_

#include <complex>
#include <vector>

namespace kser_test {

inline void PlainFft(float* z, int n) {
  constexpr double kTwoPi = 6.283185307179586;
  std::vector<std::complex<double>> x;
  for (int i = 0; i < n; ++i) x.emplace_back(z[2 * i], z[2 * i + 1]);
  for (int k = 0; k < n; ++k) {
    std::complex<double> sum = 0;
    for (int i = 0; i < n; ++i) sum += x[i] * std::polar(1.0, -kTwoPi * ((k * i) % n) / n);
    z[2 * k] = static_cast<float>(sum.real());
    z[2 * k + 1] = static_cast<float>(sum.imag());
  }
}

}  // namespace kser_test

#endif  // KSER_TESTS_MICRO_FAKES_PLAIN_FFT_H_
