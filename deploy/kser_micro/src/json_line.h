// Lines of JSON without printf, which on boards knows neither float nor 64 bits, or pulls in double arithmetic.
#ifndef KSER_JSON_LINE_H_
#define KSER_JSON_LINE_H_

#include <cstdint>

namespace kser {

// Writes text to the serial line.
using Print = void (*)(const char* text);

// One object on one line, printed in few pieces; the destructor ends it.
class JsonLine {
 public:
  explicit JsonLine(Print print) : print_(print) { Put('{'); }
  ~JsonLine();
  JsonLine(const JsonLine&) = delete;
  JsonLine& operator=(const JsonLine&) = delete;

  void Text(const char* key, const char* text);

  // `value` / 10^decimals.
  void Number(const char* key, std::int64_t value, int decimals = 0);

  // What follows is inside an object, until Close.
  void Open(const char* key);
  void Close();

 private:
  static constexpr int kCapacity = 120;

  void Put(char c);
  void Quoted(const char* text);
  void Escaped(unsigned char c);
  void Key(const char* key);
  void Digits(std::uint64_t value, int decimals);
  void Flush();

  const Print print_;
  char text_[kCapacity + 1];
  int length_ = 0;
  bool first_ = true;
};

}  // namespace kser

#endif  // KSER_JSON_LINE_H_
