// What the application uses of FreeRTOS's tasks.
#ifndef KSER_TESTS_MICRO_FAKES_TASK_H_
#define KSER_TESTS_MICRO_FAKES_TASK_H_

#include "freertos/FreeRTOS.h"

typedef void (*TaskFunction_t)(void*);
typedef struct FakeTask* TaskHandle_t;

BaseType_t xTaskCreate(TaskFunction_t function, const char* name, std::uint32_t stack_bytes, void* argument,
                       UBaseType_t priority, TaskHandle_t* task);
void vTaskDelay(TickType_t ticks);

#endif  // KSER_TESTS_MICRO_FAKES_TASK_H_
