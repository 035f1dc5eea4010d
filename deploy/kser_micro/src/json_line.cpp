#include "json_line.h"

#include <initializer_list>

namespace kser {

JsonLine::~JsonLine() {
  Put('}');
  Put('\n');
  Flush();
}

void JsonLine::Text(const char* key, const char* text) {
  Key(key);
  Quoted(text);
}

void JsonLine::Number(const char* key, std::int64_t value, int decimals) {
  Key(key);
  if (value < 0) Put('-');
  Digits(value < 0 ? 0 - static_cast<std::uint64_t>(value) : static_cast<std::uint64_t>(value), decimals);
}

void JsonLine::Digits(std::uint64_t value, int decimals) {
  char digits[24];
  int count = 0;
  for (; value != 0 || count <= decimals; value /= 10) digits[count++] = static_cast<char>('0' + value % 10);
  while (count > 0) {
    if (count == decimals) Put('.');
    Put(digits[--count]);
  }
}

void JsonLine::Open(const char* key) {
  Key(key);
  Put('{');
  first_ = true;
}

void JsonLine::Close() {
  Put('}');
  first_ = false;
}

void JsonLine::Key(const char* key) {
  if (!first_) Put(',');
  first_ = false;
  Quoted(key);
  Put(':');
}

void JsonLine::Quoted(const char* text) {
  Put('"');
  for (; *text != '\0'; ++text) Escaped(static_cast<unsigned char>(*text));
  Put('"');
}

void JsonLine::Escaped(unsigned char c) {
  constexpr char kHex[] = "0123456789abcdef";
  if (c < 0x20) {
    for (char part : {'\\', 'u', '0', '0', kHex[c >> 4], kHex[c & 15]}) Put(part);
    return;
  }
  if (c == '"' || c == '\\') Put('\\');
  Put(static_cast<char>(c));
}

void JsonLine::Put(char c) {
  if (length_ == kCapacity) Flush();
  text_[length_++] = c;
}

void JsonLine::Flush() {
  text_[length_] = '\0';
  print_(text_);
  length_ = 0;
}

}  // namespace kser
