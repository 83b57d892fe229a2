#include "io/failure.h"

#include <catch2/catch.hpp>

namespace spikesink {

TEST_CASE("a message is one line of visible characters, whatever is called how", "[io]") {
  using namespace std::string_literals;
  CHECK(one_line("a \"text\", \xc3\xa4") == "a \"text\", \xc3\xa4");
  CHECK(one_line("a\nb\tc\r\x1b[2J\x7f\0d"s) == R"(a\nb\tc\x0d\x1b[2J\x7f\x00d)");
  CHECK(DataError("two\nlines").what() == R"(two\nlines)"s);
  CHECK(Failure(ExitCode::kUsage, "a\0b"s).what() == R"(a\x00b)"s);
}

}  // namespace spikesink
