// Start-up of an emulated Cortex-M with an FPU, output by semihosting, and SysTick as the counter.
#include <cstddef>
#include <cstdint>

#include "machine.h"

int main();

extern "C" {
extern std::uint32_t kser_data_load[], kser_data_begin[], kser_data_end[], kser_bss_begin[], kser_bss_end[], kser_stack_top[];
extern void (*__init_array_start[])();
extern void (*__init_array_end[])();
}

namespace {

// Arm semihosting, version 2.
enum SemihostingCall { kWriteString = 0x04, kExitExtended = 0x20 };

std::intptr_t Semihosting(SemihostingCall call, const void* argument) {
  register std::intptr_t r0 asm("r0") = call;
  register const void* r1 asm("r1") = argument;
  asm volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
  return r0;
}

[[noreturn]] void Exit(std::uint32_t status) {
  constexpr std::uint32_t kApplicationExit = 0x20026;
  const std::uint32_t arguments[] = {kApplicationExit, status};
  for (;;) Semihosting(kExitExtended, arguments);
}

volatile std::uint32_t& Register(std::uintptr_t address) { return *reinterpret_cast<volatile std::uint32_t*>(address); }

constexpr std::uintptr_t kSysTickControl = 0xe000e010;
constexpr std::uintptr_t kSysTickReload = 0xe000e014;
constexpr std::uintptr_t kSysTickValue = 0xe000e018;
constexpr std::uintptr_t kCoprocessorAccess = 0xe000ed88;
constexpr std::uint32_t kSysTickBits = 0xffffff;

void StartCounter() {
  Register(kSysTickReload) = kSysTickBits;
  Register(kSysTickValue) = 0;
  Register(kSysTickControl) = 5;  // Counting processor clocks, without an interrupt.
}

extern "C" [[noreturn]] void Reset() {
  Register(kCoprocessorAccess) = Register(kCoprocessorAccess) | (0xfu << 20);
  asm volatile("dsb\n isb");
  const std::uint32_t* load = kser_data_load;
  for (std::uint32_t* to = kser_data_begin; to != kser_data_end; ++to) *to = *load++;
  for (std::uint32_t* to = kser_bss_begin; to != kser_bss_end; ++to) *to = 0;
  for (void (**construct)() = __init_array_start; construct != __init_array_end; ++construct) (*construct)();
  StartCounter();
  Exit(static_cast<std::uint32_t>(main()));
}

extern "C" [[noreturn]] void Fault() {
  kser_test::Print("fault\n");
  Exit(1);
}

struct VectorTable {
  void* stack;
  void (*handlers[15])();
};

__attribute__((section(".vectors"), used)) const VectorTable kVectors = {
    kser_stack_top,
    {Reset, Fault, Fault, Fault, Fault, Fault, Fault, nullptr, nullptr, nullptr, Fault, Fault, nullptr, Fault, Fault}};

}  // namespace

namespace kser_test {

void Print(const char* text) { Semihosting(kWriteString, text); }

std::uint32_t Ticks() { return kSysTickBits - Register(kSysTickValue); }

}  // namespace kser_test
