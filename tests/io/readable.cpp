#include "io/readable.h"

#include <catch2/catch.hpp>

namespace spikesink {

TEST_CASE("durations and counts read well", "[io]") {
  CHECK(duration_text(12.4) == "12 s");
  CHECK(duration_text(200) == "3 min 20 s");
  CHECK(duration_text(3900) == "1 h 05 min");
  CHECK(duration_text(90000) == "1 d 01 h");
  CHECK(count_text(950) == "950");
  CHECK(count_text(12345) == "12.3k");
  CHECK(count_text(4.56e6) == "4.56M");
}

}  // namespace spikesink
