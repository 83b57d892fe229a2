#include "analysis/practice/eviction.h"

#include "analysis/practice/cache_attention.h"
#include "tests/analysis/practice.h"

namespace spikesink {

using test::doubles;
using test::Studied;

TEST_CASE("eviction's losses are those of passes with such a cache, and of the model as it is before it is full",
          "[analysis][eviction]") {
  constexpr std::int64_t T = 17;
  const Studied studied(0, 5, T);
  Results results;
  double told = 0;
  std::vector<std::string> said;
  Study study = studied.study(GENERATE(1, 2));
  study.progress = [&](double share) { told = share; };
  study.say = [&](const std::string& line) { said.push_back(line); };
  eviction(study, results);
  CHECK(told == 1);
  REQUIRE(said.size() == 1);
  CHECK(said[0].starts_with("eviction: at most "));
  const auto sizes = std::get<std::vector<std::int64_t>>(results.at("size").values),
             kept = std::get<std::vector<std::int64_t>>(results.at("kept").values);
  CHECK(sizes == std::vector<std::int64_t>{8, 4});
  CHECK(kept == std::vector<std::int64_t>{0, 1, 2, 4, 8});
  const auto &loss = doubles(results, "loss"), &evicted = doubles(results, "loss_evicted"),
             &by_position = doubles(results, "loss_by_position"), &whole = doubles(results, "loss_by_position_whole");
  REQUIRE(std::ssize(whole) == T - 1);
  double sum = 0;
  for (const double value : whole) sum += value;
  CHECK(sum / (T - 1) == Approx(studied.loss()).epsilon(1e-12));
  for (std::size_t i = 0; i < sizes.size(); ++i)
    for (std::size_t j = 0; j < kept.size(); ++j) {
      CAPTURE(sizes[i], kept[j]);
      const double* const at = by_position.data() + (i * kept.size() + j) * (T - 1);
      if (kept[j] >= sizes[i]) {
        CHECK(std::isnan(loss[i * kept.size() + j]));
        CHECK(std::isnan(at[0]));
        continue;
      }
      CacheAttention cache(studied.stream, studied.model.config().attention, {.size = sizes[i], .kept = kept[j]});
      CHECK(loss[i * kept.size() + j] == Approx(studied.loss(&cache)).epsilon(1e-10));
      double late = 0;
      for (std::int64_t t = 0; t < T - 1; ++t) {
        if (t < sizes[i])
          CHECK(at[t] == Approx(whole[static_cast<std::size_t>(t)]).epsilon(1e-10));
        else
          CHECK(at[t] != Approx(whole[static_cast<std::size_t>(t)]).epsilon(1e-10));
        late += t < sizes[i] ? 0 : at[t];
      }
      CHECK(evicted[i * kept.size() + j] == Approx(late / static_cast<double>(T - 1 - sizes[i])));
    }
}

TEST_CASE("eviction refuses sequences of which a cache evicts nothing", "[analysis][eviction]") {
  const Studied studied(0, 2, 3);
  Results results;
  CHECK_THROWS_WITH(eviction(studied.study(), results), Catch::Contains("of 3 tokens"));
  const Studied enough(0, 2, 4);
  eviction(enough.study(), results);
  CHECK(std::get<std::vector<std::int64_t>>(results.at("size").values) == std::vector<std::int64_t>{2, 1});
}

}  // namespace spikesink
