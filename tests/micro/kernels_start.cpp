// The little that a program needs to run on the emulated Cortex-M4F of qemu-system-arm -M mps2-an386 (or an M3, mps2-an385).
#include <cstdint>

extern "C" {

extern std::uint32_t stack_top;

int main();
void __libc_init_array();

// Semihosting: an operation and a pointer to its argument, answered by the emulator.
static std::int32_t AskHost(std::int32_t operation, const void* argument) {
  register std::int32_t r0 asm("r0") = operation;
  register const void* r1 asm("r1") = argument;
  asm volatile("bkpt #0xab" : "+r"(r0) : "r"(r1) : "memory");
  return r0;
}

void Print(const char* text) { AskHost(0x04, text); }

void _exit(int status) {
  const std::uint32_t reason[] = {0x20026, static_cast<std::uint32_t>(status)};
  AskHost(0x20, reason);
  while (true) {
  }
}

void Fault() {
  Print("fault\n");
  _exit(1);
}

void Reset() {
  // Access for the floating-point unit, if any; memory is set up by the emulator, which loads the program.
  *reinterpret_cast<volatile std::uint32_t*>(0xE000ED88) |= 0xfu << 20;
  asm volatile("dsb\n isb");
  _exit(main());
}

// Newlib's allocator, which its printf has and does not use here.
void* _sbrk(int) { return reinterpret_cast<void*>(-1); }

using Handler = void (*)();
__attribute__((section(".vectors"), used)) const Handler kVectors[] = {
    reinterpret_cast<Handler>(&stack_top), Reset, Fault, Fault, Fault, Fault, Fault};

}  // extern "C"
