// Lines of JSON.
#include "json_line.h"

#include <string>

#include "check.h"

namespace {

std::string printed;
int pieces;

void Print(const char* text) {
  printed += text;
  ++pieces;
}

using kser::JsonLine;

template <typename Write>
std::string Line(Write write) {
  printed.clear();
  pieces = 0;
  {
    JsonLine line(Print);
    write(&line);
  }
  return printed;
}

void ObjectsAreWritten() {
  CHECK(Line([](JsonLine*) {}) == "{}\n");
  CHECK(Line([](JsonLine* line) { line->Text("a", "b"); }) == "{\"a\":\"b\"}\n");
  CHECK(Line([](JsonLine* line) {
          line->Number("x", 1);
          line->Open("in");
          line->Number("y", 2);
          line->Number("z", 3);
          line->Close();
          line->Text("last", "");
        }) == "{\"x\":1,\"in\":{\"y\":2,\"z\":3},\"last\":\"\"}\n");
}

void NumbersAreExact() {
  const struct {
    std::int64_t value;
    int decimals;
    const char* text;
  } cases[] = {
      {0, 0, "0"},       {0, 3, "0.000"},   {7, 3, "0.007"},     {-7, 1, "-0.7"},
      {1000, 3, "1.000"}, {-12, 0, "-12"}, {12345, 2, "123.45"}, {INT64_MIN, 0, "-9223372036854775808"},
      {INT64_MAX, 0, "9223372036854775807"},
  };
  for (const auto& number : cases) {
    const std::string line = Line([&](JsonLine* out) { out->Number("n", number.value, number.decimals); });
    CHECK(line == "{\"n\":" + std::string(number.text) + "}\n");
  }
}

void TextIsEscaped() {
  CHECK(Line([](JsonLine* line) { line->Text("q\"", "\\\n\x1f \xc3\xa9"); }) ==
        "{\"q\\\"\":\"\\\\\\u000a\\u001f \xc3\xa9\"}\n");
}

void ALineOfAnyLengthIsPrintedInFewPieces() {
  const std::string text(1000, 'x');
  CHECK(Line([&](JsonLine* line) { line->Text("t", text.c_str()); }) == "{\"t\":\"" + text + "\"}\n");
  CHECK(pieces < 10);
}

}  // namespace

int main() {
  ObjectsAreWritten();
  NumbersAreExact();
  TextIsEscaped();
  ALineOfAnyLengthIsPrintedInFewPieces();
  return kser_test::Failures() != 0;
}
