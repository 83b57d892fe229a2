#include "data/toy/bigram_backcopy.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <map>

#include "data/held_out.h"
#include "data/tokenizer.h"
#include "data/train_data.h"
#include "tests/data/support.h"

namespace spikesink {
namespace {

std::int64_t state_of(std::int32_t id) {
  const auto at = BigramBackcopy::kCharacters.find(static_cast<char>(id));
  REQUIRE(at != std::string_view::npos);
  return static_cast<std::int64_t>(at);
}

LoaderOptions options_of(const Tokenizer& tokenizer, bool begin = true, std::uint64_t seed = 3) {
  return {.data = {.train = {"bigram_backcopy"}, .begin_of_text = begin},
          .tokenizer = tokenizer,
          .context = 16,
          .sequences = 6,
          .seed = seed};
}

}  // namespace

TEST_CASE("bigram_backcopy: behind a trigger comes the character before it, elsewhere the chain decides") {
  const BigramBackcopy task;
  std::vector<std::int32_t> text(4096);
  std::vector<double> seen(64 * 64), from(64);
  std::int64_t triggers = 0;
  for (std::int64_t number = 0; number < 100; ++number) {
    task.write(1, false, number, text);
    for (std::size_t t = 1; t + 1 < text.size(); ++t) {
      const std::int64_t state = state_of(text[t]), next = state_of(text[t + 1]);
      if (BigramBackcopy::is_trigger(state)) {
        ++triggers;
        REQUIRE(text[t + 1] == text[t - 1]);
      } else {
        ++from[static_cast<std::size_t>(state)];
        ++seen[static_cast<std::size_t>(state * 64 + next)];
      }
    }
  }
  CHECK(triggers > 4096);  // of 400 thousand
  for (std::int64_t state = 0; state < 61; ++state) {
    double sum = 0, chi2 = 0;
    for (std::int64_t next = 0; next < 64; ++next) {
      const double p = task.probability(state, next), expected = p * from[static_cast<std::size_t>(state)];
      sum += p;
      chi2 += std::pow(seen[static_cast<std::size_t>(state * 64 + next)] - expected, 2) / expected;
    }
    CHECK(sum == Approx(1).epsilon(1e-12));
    CHECK(chi2 < 63 + 6 * std::sqrt(2.0 * 63));  // 6 standard deviations: a rare next has less than a normal's tail
  }
}

TEST_CASE("bigram_backcopy: a slot's text depends on the seed and its number only") {
  const auto bytes = make_tokenizer("bytes");
  BigramBackcopyLoader whole(options_of(*bytes)), part(options_of(*bytes)), other(options_of(*bytes, true, 4));
  const auto all = whole.next(0, 0, 6), second = whole.next(1, 0, 6);
  REQUIRE(all.size() == 6 * 17);
  CHECK(part.next(0, 2, 2) == std::vector(all.begin() + 2 * 17, all.begin() + 4 * 17));
  CHECK(other.next(0, 0, 6) != all);
  CHECK(all != second);
  for (std::size_t row = 0; row < 6; ++row) CHECK(all[row * 17] == 257);
  BigramBackcopyLoader resumed(options_of(*bytes)), plain(options_of(*bytes, false));
  resumed.seek(part.position());
  CHECK(resumed.position().step == 1);
  CHECK(resumed.next(1, 0, 6) == second);
  CHECK(plain.next(0, 0, 1)[0] != 257);
  CHECK_THAT(test::failure_of([&] { other.seek(part.position()); }), Catch::Contains("run.seed"));
  Position beyond = part.position();
  beyond.step = std::int64_t{1} << 61;  // 6 samples a step: their numbers would not fit
  CHECK_THAT(test::failure_of([&] { part.seek(beyond); }), Catch::Contains("damaged"));
}

TEST_CASE("bigram_backcopy: what is held out is the same for every run, and no training's") {
  const auto bytes = make_tokenizer("bytes");
  const auto held = held_out_samples(options_of(*bytes).data, *bytes, 16, 5);
  CHECK(held.size() == 5 * 17);
  CHECK(held == held_out_samples({.train = {"elsewhere"}, .validation = {"bigram_backcopy"}, .begin_of_text = true},
                                 *bytes, 16, 5));
  LoaderOptions options = options_of(*bytes, true, 0);  // the seed of what is held out
  CHECK(make_loader(options)->next(0, 0, 5) != held);
}

TEST_CASE("bigram_backcopy: other data beside it and weights are refused") {
  const auto bytes = make_tokenizer("bytes");
  LoaderOptions beside = options_of(*bytes), weights = options_of(*bytes);
  beside.data.train.push_back("more.jsonl");
  CHECK_THAT(test::failure_of([&] { make_loader(beside); }), Catch::Contains("stands beside other data"));
  weights.data.weights = {1};
  CHECK_THAT(test::failure_of([&] { make_loader(weights); }), Catch::Contains("data.weights"));
  CHECK(notes_on_data({.train = {"bigram_backcopy"}, .lanes = 3}).size() == 1);
}

}  // namespace spikesink
