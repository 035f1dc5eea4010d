// What the application uses of any mode of ESP-IDF's I2S driver, of version 5 and later.
#ifndef KSER_TESTS_MICRO_FAKES_I2S_COMMON_H_
#define KSER_TESTS_MICRO_FAKES_I2S_COMMON_H_

#include <cstddef>
#include <cstdint>

#include "driver/gpio.h"

typedef enum { I2S_NUM_AUTO = 2 } i2s_port_t;
typedef enum { I2S_ROLE_MASTER } i2s_role_t;
typedef enum { I2S_DATA_BIT_WIDTH_16BIT = 16, I2S_DATA_BIT_WIDTH_32BIT = 32 } i2s_data_bit_width_t;
typedef enum { I2S_SLOT_MODE_MONO = 1 } i2s_slot_mode_t;

typedef struct {
  i2s_port_t id;
  i2s_role_t role;
} i2s_chan_config_t;
typedef struct FakeChannel* i2s_chan_handle_t;

#define I2S_CHANNEL_DEFAULT_CONFIG(number, whose) \
  { .id = number, .role = whose }

esp_err_t i2s_new_channel(const i2s_chan_config_t* config, i2s_chan_handle_t* send, i2s_chan_handle_t* receive);
esp_err_t i2s_channel_enable(i2s_chan_handle_t channel);
// Now and then in vain: then it returns ESP_ERR_TIMEOUT and fills the buffer in part.
esp_err_t i2s_channel_read(i2s_chan_handle_t channel, void* buffer, std::size_t size, std::size_t* bytes,
                           std::uint32_t timeout_ms);

#endif  // KSER_TESTS_MICRO_FAKES_I2S_COMMON_H_
