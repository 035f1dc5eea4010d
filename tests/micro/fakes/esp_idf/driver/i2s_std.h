// What the application uses of ESP-IDF's I2S driver, of version 5 and later.
#ifndef KSER_TESTS_MICRO_FAKES_I2S_STD_H_
#define KSER_TESTS_MICRO_FAKES_I2S_STD_H_

#include <cstddef>
#include <cstdint>

#include "driver/gpio.h"

typedef enum { I2S_NUM_AUTO = 2 } i2s_port_t;
typedef enum { I2S_ROLE_MASTER } i2s_role_t;
typedef enum { I2S_DATA_BIT_WIDTH_32BIT = 32 } i2s_data_bit_width_t;
typedef enum { I2S_SLOT_MODE_MONO = 1 } i2s_slot_mode_t;
typedef enum { I2S_STD_SLOT_LEFT = 1, I2S_STD_SLOT_BOTH = 3 } i2s_std_slot_mask_t;
constexpr gpio_num_t I2S_GPIO_UNUSED = GPIO_NUM_NC;

typedef struct {
  i2s_port_t id;
  i2s_role_t role;
} i2s_chan_config_t;
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
typedef struct FakeChannel* i2s_chan_handle_t;

#define I2S_CHANNEL_DEFAULT_CONFIG(number, whose) \
  { .id = number, .role = whose }
#define I2S_STD_CLK_DEFAULT_CONFIG(rate) \
  { .sample_rate_hz = rate }
#define I2S_STD_PHILIPS_SLOT_DEFAULT_CONFIG(bits, mode) \
  { .data_bit_width = bits, .slot_mode = mode, .slot_mask = I2S_STD_SLOT_BOTH }

esp_err_t i2s_new_channel(const i2s_chan_config_t* config, i2s_chan_handle_t* send, i2s_chan_handle_t* receive);
esp_err_t i2s_channel_init_std_mode(i2s_chan_handle_t channel, const i2s_std_config_t* config);
esp_err_t i2s_channel_enable(i2s_chan_handle_t channel);
// Now and then in vain: then it returns ESP_ERR_TIMEOUT and fills the buffer in part.
esp_err_t i2s_channel_read(i2s_chan_handle_t channel, void* buffer, std::size_t size, std::size_t* bytes,
                           std::uint32_t timeout_ms);

#endif  // KSER_TESTS_MICRO_FAKES_I2S_STD_H_
