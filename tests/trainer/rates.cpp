#include "trainer/rates.h"

#include <catch2/catch.hpp>
#include <map>

namespace spikesink {
namespace {

StepNews news(double seconds, double busy, double data) {
  return {.seconds = seconds, .busy_seconds = busy, .data_seconds = data, .samples = 0, .stop = false};
}

std::map<std::string, double> by_name(const Scalars& scalars) { return {scalars.begin(), scalars.end()}; }

}  // namespace

TEST_CASE("an interval's rates are of its own steps, and name the rank that was busiest", "[trainer][rates]") {
  Rates rates({.world = 2, .step_tokens = 1000, .total_steps = 10, .token_flops = 50});
  rates.set_peak(1e9);
  rates.begin(2);
  rates.leave_out(-std::chrono::seconds(100));  // as if it had begun so long ago
  rates.add(std::vector{news(1, 0.5, 0), news(1, 1, 0.25)});
  rates.add(std::vector{news(1, 0.5, 0), news(3, 3, 0.75)});
  const Rates::Interval first = rates.end_interval(4, 3.21);
  auto scalars = by_name(first.scalars);
  CHECK(scalars["tokens_per_second"] == Approx(20).epsilon(0.01));  // 2000 tokens in 100 s
  CHECK(scalars["mfu"] == Approx(scalars["tokens_per_second"] * 50 / 1e9));
  CHECK(scalars["data_wait"] == Approx(0.25));
  CHECK(scalars["busiest_rank_share"] == Approx(1));
  CHECK(scalars["mean_rank_share"] == Approx(0.75));
  CHECK(first.identities == decltype(first.identities){{"busiest_rank", 1}});
  CHECK(first.text.starts_with("step 4/10  loss 3.2100  20 tokens/s"));
  CHECK(first.text.ends_with("waited for data 25 %  rank 1 busy 100 %, mean 75 %"));

  rates.leave_out(-std::chrono::seconds(10));
  rates.add(std::vector{news(2, 1, 0), news(2, 0.5, 0)});
  scalars = by_name(rates.end_interval(5, 3).scalars);
  CHECK(scalars["tokens_per_second"] == Approx(100).epsilon(0.01));
  CHECK(scalars["busiest_rank_share"] == Approx(0.5));
  CHECK(scalars["data_wait"] == 0);
}

TEST_CASE("one process has no busiest rank", "[trainer][rates]") {
  Rates rates({.world = 1, .step_tokens = 10, .total_steps = 3, .token_flops = 1});
  rates.begin(0);
  rates.add(std::vector{news(1, 1, 0)});
  CHECK(rates.progress(1, 2).starts_with("step 1/3  loss 2.0000  "));
  const Rates::Interval only = rates.end_interval(1, 2);
  CHECK(only.scalars.size() == 3);
  CHECK(only.identities.empty());
}

}  // namespace spikesink
