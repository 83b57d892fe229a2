#include "io/failure.h"

#include <catch2/catch.hpp>

namespace spikesink {

TEST_CASE("a message is one line of visible characters, whatever is called how", "[io]") {
  using namespace std::string_literals;
  CHECK(one_line("a \"text\", \xc3\xa4") == "a \"text\", \xc3\xa4");
  CHECK(one_line("a\nb\tc\r\x1b[2J\x7f\0d"s) == R"(a\nb\tc\x0d\x1b[2J\x7f\x00d)");
  CHECK(one_line("\xc2\x9b\x33\xc2\x85 \xe2\x80\xa8 \xe2\x80\xa9 \xe2\x80\xa6") ==
        R"(\xc2\x9b)"
        "3"
        R"(\xc2\x85 \xe2\x80\xa8 \xe2\x80\xa9 )"
        "\xe2\x80\xa6");
  CHECK(one_line("\xf0\x9f\x8e\x89\xf0\x9f\x8e") ==
        "\xf0\x9f\x8e\x89"
        R"(\xf0\x9f\x8e)");  // cut short
  CHECK(one_line("a\xff\xc0\xaf\xed\xa0\x80z") == R"(a\xff\xc0\xaf\xed\xa0\x80z)");
  CHECK(DataError("two\nlines").what() == R"(two\nlines)"s);
  CHECK(Failure(ExitCode::kUsage, "a\0b"s).what() == R"(a\x00b)"s);
}

}  // namespace spikesink
