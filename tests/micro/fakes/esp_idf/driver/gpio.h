// What the application uses of ESP-IDF's GPIO driver.
#ifndef KSER_TESTS_MICRO_FAKES_GPIO_H_
#define KSER_TESTS_MICRO_FAKES_GPIO_H_

#include <cstdint>

typedef int esp_err_t;
#ifndef ESP_OK
#define ESP_OK 0
#endif
#define ESP_ERR_TIMEOUT 0x107

typedef enum { GPIO_NUM_NC = -1 } gpio_num_t;
#define KSER_FAKE_GPIO(number) constexpr gpio_num_t GPIO_NUM_##number = static_cast<gpio_num_t>(number)

KSER_FAKE_GPIO(2);
KSER_FAKE_GPIO(4);
KSER_FAKE_GPIO(5);
KSER_FAKE_GPIO(6);
KSER_FAKE_GPIO(7);
KSER_FAKE_GPIO(21);
KSER_FAKE_GPIO(25);
KSER_FAKE_GPIO(26);
KSER_FAKE_GPIO(33);
KSER_FAKE_GPIO(41);
KSER_FAKE_GPIO(42);

typedef enum { GPIO_MODE_OUTPUT = 2 } gpio_mode_t;

esp_err_t gpio_reset_pin(gpio_num_t pin);
esp_err_t gpio_set_direction(gpio_num_t pin, gpio_mode_t mode);
esp_err_t gpio_set_level(gpio_num_t pin, std::uint32_t level);

#endif  // KSER_TESTS_MICRO_FAKES_GPIO_H_
