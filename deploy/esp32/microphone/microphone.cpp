#include "microphone.h"

#include "freertos/FreeRTOS.h"
#include "freertos/task.h"
#include "pins.h"
#if KSER_PDM
#include "driver/i2s_pdm.h"
#else
#include "driver/i2s_std.h"
#endif
#if __has_include("src/kser_micro/i2s_slot.h")  // in an Arduino sketch
#include "src/kser_micro/i2s_slot.h"
#else
#include "i2s_slot.h"
#endif

static constexpr size_t kBlockSamples = 160;  // 10 ms
static constexpr uint32_t kStackBytes = 3072;
static constexpr UBaseType_t kPriority = 10;  // Above the main task, in which the model runs.

static i2s_chan_handle_t channel;

#if KSER_PDM

// The chip makes 16-bit samples of the stream of bits.
using Slot = int16_t;

static esp_err_t SetUpChannel() {
  const i2s_pdm_rx_config_t config = {
      .clk_cfg = I2S_PDM_RX_CLK_DEFAULT_CONFIG(kser::kSampleRateHz),
      .slot_cfg = I2S_PDM_RX_SLOT_DEFAULT_CONFIG(I2S_DATA_BIT_WIDTH_16BIT, I2S_SLOT_MODE_MONO),
      .gpio_cfg = {.clk = kClockPin, .din = kDataPin, .invert_flags = {}},
  };
  return i2s_channel_init_pdm_rx_mode(channel, &config);
}

// 12 dB louder, for at full scale such a microphone hears 120 dB of sound pressure.
static int32_t AsSlot(Slot sample) { return static_cast<int32_t>(sample) * (1 << 14); }

#else

using Slot = int32_t;

static esp_err_t SetUpChannel() {
  i2s_std_config_t config = {
      .clk_cfg = I2S_STD_CLK_DEFAULT_CONFIG(kser::kSampleRateHz),
      .slot_cfg = I2S_STD_PHILIPS_SLOT_DEFAULT_CONFIG(I2S_DATA_BIT_WIDTH_32BIT, I2S_SLOT_MODE_MONO),
      .gpio_cfg = {.mclk = I2S_GPIO_UNUSED,
                   .bclk = kBitClockPin,
                   .ws = kWordClockPin,
                   .dout = I2S_GPIO_UNUSED,
                   .din = kDataPin,
                   .invert_flags = {}},
  };
  config.slot_cfg.slot_mask = I2S_STD_SLOT_LEFT;
  return i2s_channel_init_std_mode(channel, &config);
}

static int32_t AsSlot(Slot slot) { return slot; }

#endif

static void Capture(void* application) {
  static Slot slots[kBlockSamples];
  static int16_t samples[kBlockSamples];
  kser::I2sSlotConverter converter;
  for (;;) {
    size_t bytes = 0;
    // Whatever it returns, `bytes` have come: only these are passed on.
    i2s_channel_read(channel, slots, sizeof(slots), &bytes, portMAX_DELAY);
    const size_t count = bytes / sizeof(slots[0]);
    for (size_t i = 0; i < count; ++i) samples[i] = converter.Convert(AsSlot(slots[i]));
    static_cast<kser::Application*>(application)->OnSamples(samples, static_cast<uint32_t>(count));
  }
}

static esp_err_t StartChannel() {
  const i2s_chan_config_t channel_config = I2S_CHANNEL_DEFAULT_CONFIG(I2S_NUM_AUTO, I2S_ROLE_MASTER);
  esp_err_t error = i2s_new_channel(&channel_config, nullptr, &channel);
  if (error == ESP_OK) error = SetUpChannel();
  return error == ESP_OK ? i2s_channel_enable(channel) : error;
}

bool StartMicrophone(kser::Application* application) {
  if (StartChannel() != ESP_OK) return false;
  return xTaskCreate(Capture, "microphone", kStackBytes, application, kPriority, nullptr) == pdPASS;
}
