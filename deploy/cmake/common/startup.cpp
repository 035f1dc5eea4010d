// Start-up of a Cortex-M with an FPU. What a chip's own package has for that takes its place.
#include <cstdint>

int main();

extern "C" {
extern std::uint32_t data_load[], data_begin[], data_end[], bss_begin[], bss_end[], stack_top[];
extern void (*__init_array_start[])();
extern void (*__init_array_end[])();
}

namespace {

extern "C" [[noreturn]] void Reset() {
  volatile std::uint32_t* const coprocessors = reinterpret_cast<volatile std::uint32_t*>(0xe000ed88);
  *coprocessors = *coprocessors | (0xfu << 20);
  asm volatile("dsb\n isb");
  const std::uint32_t* load = data_load;
  for (std::uint32_t* to = data_begin; to != data_end; ++to) *to = *load++;
  for (std::uint32_t* to = bss_begin; to != bss_end; ++to) *to = 0;
  for (void (**construct)() = __init_array_start; construct != __init_array_end; ++construct) (*construct)();
  main();
  for (;;) {
  }
}

extern "C" void Fault() {
  for (;;) {
  }
}

struct VectorTable {
  void* stack;
  void (*handlers[15])();
};

__attribute__((section(".vectors"), used)) const VectorTable kVectors = {
    stack_top, {Reset, Fault, Fault, Fault, Fault, Fault, Fault, nullptr, nullptr, nullptr, Fault, Fault, nullptr, Fault, Fault}};

}  // namespace
