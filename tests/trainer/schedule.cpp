#include "trainer/schedule.h"

#include <catch2/catch.hpp>
#include <cmath>

namespace spikesink {

TEST_CASE("warm-up is linear and reaches the peak in its last step", "[trainer][schedule]") {
  const OptimizerConfig optimizer{.lr = 2.0};
  for (const ScheduleKind kind :
       {ScheduleKind::kConstant, ScheduleKind::kCosine, ScheduleKind::kLinear, ScheduleKind::kWsd}) {
    const ScheduleConfig s{.kind = kind, .warmup_steps = 10, .min_ratio = 0.1};
    CHECK(learning_rate(optimizer, s, 1, 100) == Approx(0.2));
    CHECK(learning_rate(optimizer, s, 5, 100) == Approx(1.0));
    CHECK(learning_rate(optimizer, s, 10, 100) == Approx(2.0));
  }
}

TEST_CASE("each kind of schedule goes through its known points", "[trainer][schedule]") {
  const OptimizerConfig optimizer{.lr = 1.0};
  const auto at = [&](ScheduleKind kind, std::int64_t step, double decay_share = 0.1) {
    return learning_rate(optimizer, {.kind = kind, .warmup_steps = 20, .min_ratio = 0.1, .decay_share = decay_share},
                         step, 120);
  };
  CHECK(at(ScheduleKind::kConstant, 120) == 1.0);
  CHECK(at(ScheduleKind::kCosine, 70) == Approx(0.55));
  CHECK(at(ScheduleKind::kCosine, 45) == Approx(0.1 + 0.9 * (1 + std::sqrt(0.5)) / 2));
  CHECK(at(ScheduleKind::kCosine, 120) == Approx(0.1));
  CHECK(at(ScheduleKind::kLinear, 70) == Approx(0.55));
  CHECK(at(ScheduleKind::kLinear, 120) == Approx(0.1));
  CHECK(at(ScheduleKind::kWsd, 60, 0.5) == 1.0);
  CHECK(at(ScheduleKind::kWsd, 90, 0.5) == Approx(0.55));
  CHECK(at(ScheduleKind::kWsd, 120, 0.5) == Approx(0.1));
  CHECK(at(ScheduleKind::kWsd, 60, 1.0) == Approx(0.64));  // the decay never reaches into the warm-up
}

TEST_CASE("a warm-up that is longer than the run is said", "[trainer][schedule]") {
  const ScheduleConfig s{.warmup_steps = 100};
  CHECK_THAT(doubt_about(s, 99), Catch::Contains("warmup_steps: 100 of a run of 99 steps"));
  CHECK(doubt_about(s, 100) == "");
  CHECK(doubt_about(s, 0) == "");  // which has no rate
}

TEST_CASE("a run without warm-up starts at the peak", "[trainer][schedule]") {
  CHECK(learning_rate({.lr = 3.0}, {.kind = ScheduleKind::kLinear, .warmup_steps = 0, .min_ratio = 0.0}, 1, 2) ==
        Approx(1.5));
  CHECK(learning_rate({.lr = 3.0}, {.kind = ScheduleKind::kConstant, .warmup_steps = 0}, 1, 2) == 3.0);
}

}  // namespace spikesink
