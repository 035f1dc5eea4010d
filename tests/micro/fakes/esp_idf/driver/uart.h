// What the application uses of ESP-IDF's UART driver.
#ifndef KSER_TESTS_MICRO_FAKES_UART_H_
#define KSER_TESTS_MICRO_FAKES_UART_H_

#include <cstdint>

#include "driver/gpio.h"

typedef enum { UART_NUM_0, UART_NUM_1 } uart_port_t;

esp_err_t uart_set_baudrate(uart_port_t port, std::uint32_t baud);

#endif  // KSER_TESTS_MICRO_FAKES_UART_H_
