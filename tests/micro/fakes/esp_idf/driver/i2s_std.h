// The standard mode of the I2S driver.
#ifndef KSER_TESTS_MICRO_FAKES_I2S_STD_H_
#define KSER_TESTS_MICRO_FAKES_I2S_STD_H_

#include "driver/i2s_common.h"

typedef enum { I2S_STD_SLOT_LEFT = 1, I2S_STD_SLOT_BOTH = 3 } i2s_std_slot_mask_t;
constexpr gpio_num_t I2S_GPIO_UNUSED = GPIO_NUM_NC;

typedef struct {
  std::uint32_t sample_rate_hz;
} i2s_std_clk_config_t;
typedef struct {
  i2s_data_bit_width_t data_bit_width;
  i2s_slot_mode_t slot_mode;
  i2s_std_slot_mask_t slot_mask;
} i2s_std_slot_config_t;
typedef struct {
  gpio_num_t mclk;
  gpio_num_t bclk;
  gpio_num_t ws;
  gpio_num_t dout;
  gpio_num_t din;
  struct {
    std::uint32_t mclk_inv : 1;
    std::uint32_t bclk_inv : 1;
    std::uint32_t ws_inv : 1;
  } invert_flags;
} i2s_std_gpio_config_t;
typedef struct {
  i2s_std_clk_config_t clk_cfg;
  i2s_std_slot_config_t slot_cfg;
  i2s_std_gpio_config_t gpio_cfg;
} i2s_std_config_t;

#define I2S_STD_CLK_DEFAULT_CONFIG(rate) \
  { .sample_rate_hz = rate }
#define I2S_STD_PHILIPS_SLOT_DEFAULT_CONFIG(bits, mode) \
  { .data_bit_width = bits, .slot_mode = mode, .slot_mask = I2S_STD_SLOT_BOTH }

esp_err_t i2s_channel_init_std_mode(i2s_chan_handle_t channel, const i2s_std_config_t* config);

#endif  // KSER_TESTS_MICRO_FAKES_I2S_STD_H_
