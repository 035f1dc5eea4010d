// What the firmware uses of esp-dsp's transforms, with the order of its results.
#ifndef KSER_TESTS_MICRO_FAKES_DSPS_FFT2R_H_
#define KSER_TESTS_MICRO_FAKES_DSPS_FFT2R_H_

#include <cstdlib>
#include <utility>

#include "plain_fft.h"

typedef int esp_err_t;
constexpr esp_err_t ESP_OK = 0;
constexpr esp_err_t ESP_ERR_DSP_PARAM_OUTOFRANGE = 0x70003;
constexpr esp_err_t ESP_ERR_DSP_REINITIALIZED = 0x70005;

#ifndef CONFIG_DSP_MAX_FFT_SIZE
#define CONFIG_DSP_MAX_FFT_SIZE 4096
#endif

static int dsps_fft_w_table_size = 0;

inline esp_err_t dsps_fft2r_init_fc32(float* table, int size) {
  if (table == nullptr || size > CONFIG_DSP_MAX_FFT_SIZE) return ESP_ERR_DSP_PARAM_OUTOFRANGE;
  if (dsps_fft_w_table_size != 0) return ESP_ERR_DSP_REINITIALIZED;
  for (int i = 0; i < size; ++i) table[i] = 0.0f;
  dsps_fft_w_table_size = size;
  return ESP_OK;
}

inline esp_err_t dsps_bit_rev_fc32(float* z, int n) {
  for (int i = 0, reversed = 0; i < n; ++i) {
    if (i < reversed) {
      std::swap(z[2 * i], z[2 * reversed]);
      std::swap(z[2 * i + 1], z[2 * reversed + 1]);
    }
    int bit = n / 2;
    for (; reversed & bit; bit /= 2) reversed -= bit;
    reversed += bit;
  }
  return ESP_OK;
}

// Its results come in bit-reversed order.
inline esp_err_t dsps_fft2r_fc32(float* z, int n) {
  if (n > dsps_fft_w_table_size) std::abort();
  kser_test::PlainFft(z, n);
  return dsps_bit_rev_fc32(z, n);
}

#endif  // KSER_TESTS_MICRO_FAKES_DSPS_FFT2R_H_
