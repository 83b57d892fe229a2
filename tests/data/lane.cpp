#include "data/lane.h"

#include <catch2/catch.hpp>
#include <map>
#include <set>

#include "data/draws.h"
#include "tests/data/support.h"

namespace spikesink {
namespace {
using test::length_of;
using test::NumberedTokens;
using Tokens = std::vector<std::int32_t>;

struct Setup {
  test::Scratch folder;
  NumberedTokens tokenizer;
  DocumentTally tally{0.0};

  LaneSource source(int documents, int shards, std::int64_t lanes, bool begin, std::int64_t context = 10) {
    return {.shards = find_shards(test::write_numbered(folder, documents, shards), "data.train"),
            .tokenizer = tokenizer,
            .tally = tally,
            .begin = begin_token(begin, tokenizer),
            .context = context,
            .lanes = lanes,
            .holdout = 0,
            .seed = 1};
  }
};

/// The samples of a window, one a row.
std::vector<Tokens> rows(const Window& window, std::int64_t context) {
  std::vector<Tokens> all;
  for (auto it = window.tokens.begin(); it != window.tokens.end(); it += context + 1)
    all.emplace_back(it, it + context + 1);
  return all;
}

int document_of(std::int32_t token) { return token / NumberedTokens::kDocument; }

/// The samples that a lane hands out, each window put back in order.
std::vector<Tokens> unshuffled(const LaneSource& source, std::int64_t number, int windows) {
  std::vector<Tokens> all;
  Lane lane(source, number, {});
  for (int w = 0; w < windows; ++w) {
    const auto shuffled = rows(lane.next_window(), source.context);
    const Random random =
        draws(source.seed, "data.window", static_cast<std::uint64_t>(number), static_cast<std::uint64_t>(w));
    const auto places = permutation(random, Lane::kWindow);
    std::vector<Tokens> window(shuffled.size());
    for (std::size_t i = 0; i < shuffled.size(); ++i) window[static_cast<std::size_t>(places[i])] = shuffled[i];
    all.insert(all.end(), window.begin(), window.end());
  }
  return all;
}

}  // namespace

TEST_CASE("a lane packs the documents of its share of each epoch whole and in order", "[data][lane]") {
  const bool begin = GENERATE(false, true);
  const auto [documents, shards, lanes] =
      GENERATE(table<int, int, int>({{200, 2, 1}, {200, 2, 3}, {200, 3, 16}, {200, 5, 5}, {200, 11, 4}, {70, 70, 64}}));
  CAPTURE(begin, documents, shards, lanes);
  Setup setup;
  const LaneSource source = setup.source(documents, shards, lanes, begin);
  const std::int64_t T = source.context;
  constexpr int kWindows = 60;
  for (std::int64_t l = 0; l < lanes; ++l) {
    Tokens want;
    int epoch = 0;
    for (; std::ssize(want) <= kWindows * Lane::kWindow * T; ++epoch)
      for (const ShardPart& part : share_of_lane(source.shards, lanes, source.seed, epoch, l)) {
        const int s = static_cast<int>(part.shard);
        const int first = 1 + documents * s / shards, end = 1 + documents * (s + 1) / shards;
        for (int d = first; d < end; ++d) {
          if (!part.holds(d - first)) continue;
          for (int i = 0; i < length_of(d); ++i) want.push_back(d * NumberedTokens::kDocument + i);
          want.push_back(0);
        }
      }
    CHECK(epoch > 1);
    const auto samples = unshuffled(source, l, kWindows);
    for (std::size_t i = 0; i < samples.size(); ++i) {
      const auto at = want.begin() + static_cast<std::ptrdiff_t>(i) * T;
      Tokens sample(at, at + T + (begin ? 0 : 1));
      if (begin) sample.insert(sample.begin(), 1);
      REQUIRE(samples[i] == sample);
    }
  }
}

TEST_CASE("exact counts over whole epochs: with a begin token no target is lost or doubled", "[data][lane]") {
  // 5 documents of 7 tokens and an end: 40 tokens an epoch, and 4 epochs are one window of 16 samples of 10.
  Setup setup;
  std::string text;
  for (int d = 1; d <= 5; ++d) text += test::line_of(fmt::format("{}:7", d));
  test::write(setup.folder / "a.jsonl", text);
  LaneSource source{.shards = find_shards({setup.folder / "a.jsonl"}, "data.train"),
                    .tokenizer = setup.tokenizer,
                    .tally = setup.tally,
                    .begin = 1,
                    .context = 10,
                    .lanes = 1,
                    .holdout = 0,
                    .seed = 1};
  std::map<std::int32_t, int> times;
  for (const Tokens& row : rows(Lane(source, 0, {}).next_window(), 10))
    for (std::size_t i = 1; i < row.size(); ++i) ++times[row[i]];
  CHECK(times.size() == 36);
  for (const auto& [token, count] : times) CHECK(count == (token == 0 ? 20 : 4));
}

TEST_CASE("a window's state recreates it and all that follow", "[data][lane]") {
  const bool begin = GENERATE(false, true);
  const auto [documents, shards, lanes] =
      GENERATE(table<int, int, int>({{100, 2, 3}, {100, 7, 3}, {5, 2, 64}, {5, 5, 64}}));
  const std::int64_t context = GENERATE(3, 50);
  CAPTURE(begin, documents, shards, lanes, context);
  Setup setup;
  const LaneSource source = setup.source(documents, shards, lanes, begin, context);
  for (std::int64_t l = 0; l < std::min(lanes, 6); ++l) {
    Lane lane(source, l, {});
    std::vector<Window> windows;
    for (int w = 0; w < 12; ++w) windows.push_back(lane.next_window());
    for (std::size_t w = 0; w < windows.size(); ++w) {
      Lane again(source, l, windows[w].begin);
      for (std::size_t v = w; v < windows.size(); ++v) {
        const Window window = again.next_window();
        REQUIRE(window.begin == windows[v].begin);
        REQUIRE(window.tokens == windows[v].tokens);
      }
    }
  }
}

TEST_CASE("the seed, the lane and the epoch decide the order of the shards", "[data][lane]") {
  // A shard is one document of 15 tokens and an end: with samples of one token, a window is a document.
  Setup setup;
  for (int d = 1; d <= 10; ++d)
    test::write(setup.folder / fmt::format("{:02}.jsonl", d), test::line_of(fmt::format("{}:15", d)));
  LaneSource source{.shards = find_shards({setup.folder / "*.jsonl"}, "data.train"),
                    .tokenizer = setup.tokenizer,
                    .tally = setup.tally,
                    .begin = 1,
                    .context = 1,
                    .lanes = 1,
                    .holdout = 0,
                    .seed = 1};
  std::set<std::vector<int>> orders;
  for (const std::uint64_t seed : {1, 2, 1}) {
    source.seed = seed;
    Lane lane(source, 0, {});
    for (int epoch = 0; epoch < 3; ++epoch) {
      std::vector<int> order;
      for (int shard = 0; shard < 10; ++shard)
        order.push_back(document_of(std::ranges::max(lane.next_window().tokens)));
      CHECK(std::set<int>(order.begin(), order.end()).size() == 10);
      CHECK_FALSE(std::ranges::is_sorted(order));
      orders.insert(order);
    }
  }
  CHECK(orders.size() == 6);  // seed 1 twice the same
}

TEST_CASE("a window is a shuffled block", "[data][lane]") {
  Setup setup;
  const LaneSource source = setup.source(100, 1, 1, true);
  Lane lane(source, 0, {});
  std::set<std::vector<std::size_t>> orders;
  for (int w = 0; w < 5; ++w) {
    // Documents of a single shard come in ascending order, so that a row's place is told by its tokens but for ends.
    const auto all = rows(lane.next_window(), source.context);
    auto sorted = all;
    std::ranges::sort(sorted);
    std::vector<std::size_t> order;
    for (const Tokens& row : all)
      order.push_back(static_cast<std::size_t>(std::ranges::find(sorted, row) - sorted.begin()));
    CHECK_FALSE(std::ranges::is_sorted(order));
    orders.insert(order);
  }
  CHECK(orders.size() == 5);
}

TEST_CASE("held-out documents are not trained on, and the rest all are", "[data][lane]") {
  Setup setup;
  LaneSource source = setup.source(300, 2, 3, false);
  source.holdout = 0.2;
  std::set<int> seen;
  for (std::int64_t l = 0; l < 3; ++l) {
    Lane lane(source, l, {});
    for (int w = 0; w < 60; ++w)
      for (const std::int32_t token : lane.next_window().tokens)
        if (token != 0) seen.insert(document_of(token));
  }
  int held_out = 0;
  for (int d = 1; d <= 300; ++d) {
    const bool out = holdout_draw(fmt::format("{}:{}", d, length_of(d))) < 0.2;
    held_out += out;
    CHECK(seen.count(d) == (out ? 0 : 1));
  }
  CHECK(held_out > 30);
  CHECK(held_out < 90);
}

TEST_CASE("a lane at its epoch's end does not judge a few lines by their exact share", "[data][lane]") {
  // It may have begun at a resume, or beside others: how many lines are counted by then is chance.
  const test::Scratch folder;
  const NumberedTokens tokenizer;
  std::string text;
  for (int d = 1; d <= 132; ++d) text += test::line_of(fmt::format("{}:10", d));
  DocumentTally tally(0.001);
  const auto source_of = [&](const std::string& content) {
    test::write(folder / "a.jsonl", content);
    return LaneSource{.shards = find_shards({folder / "a.jsonl"}, "data.train"),
                      .tokenizer = tokenizer,
                      .tally = tally,
                      .begin = std::nullopt,
                      .context = 6,
                      .lanes = 1,
                      .holdout = 0,
                      .seed = 1};
  };
  SECTION("one broken line") {
    const LaneSource source = source_of(text + "no json\n");
    Lane lane(source, 0, {.line = 120});
    CHECK(test::failure_of([&] {
            while (lane.next_window().begin.epoch == 0) {
            }
          }).empty());
    CHECK(tally.counts().num_broken() == 1);
    CHECK(tally.counts().lines() < 100);
  }
  SECTION("every second line broken still stops it, and names the first") {
    std::string half;
    for (int d = 1; d <= 66; ++d) half += test::line_of(fmt::format("{}:10", d)) + "no json\n";
    const LaneSource source = source_of(half);
    CHECK_THAT(test::failure_of([&] { Lane(source, 0, {}).next_window(); }),
               Catch::Contains("a.jsonl:2") && Catch::Contains("data.max_bad_share"));
  }
}

TEST_CASE("a document of very many windows is handed on whole, and a resume finds its place in it", "[data][lane]") {
  constexpr int kTokens = 2'000'000;  // moving all of them at every window would not end
  Setup setup;
  test::write(setup.folder / "a.jsonl", test::line_of("1:5") + test::line_of(fmt::format("2:{}", kTokens)));
  const LaneSource source{.shards = find_shards({setup.folder / "a.jsonl"}, "data.train"),
                          .tokenizer = setup.tokenizer,
                          .tally = setup.tally,
                          .begin = 1,
                          .context = 1,
                          .lanes = 1,
                          .holdout = 0,
                          .seed = 1};
  Tokens want{1000, 1001, 1002, 1003, 1004, 0};
  for (int i = 0; i < kTokens; ++i) want.push_back(2000 + i);
  want.push_back(0);
  const std::size_t epoch = want.size();
  for (std::size_t i = 0; i < Lane::kWindow; ++i) want.push_back(want[i]);

  Lane lane(source, 0, {});
  bool same = true;
  LaneState middle;
  Tokens middle_tokens;
  for (std::size_t at = 0; at < epoch; at += Lane::kWindow) {
    const Window window = lane.next_window();
    Tokens got;
    for (std::size_t i = 1; i < window.tokens.size(); i += 2) got.push_back(window.tokens[i]);
    std::ranges::sort(got);
    Tokens expected(want.begin() + static_cast<std::ptrdiff_t>(at),
                    want.begin() + static_cast<std::ptrdiff_t>(at) + Lane::kWindow);
    std::ranges::sort(expected);
    same = same && got == expected;
    if (at <= epoch / 2) middle = window.begin, middle_tokens = window.tokens;
  }
  CHECK(same);
  CHECK(middle.line == 1);
  CHECK(std::abs(middle.token - kTokens / 2) < 100);
  CHECK(Lane(source, 0, middle).next_window().tokens == middle_tokens);
}

TEST_CASE("data without a usable document, and data that changed under a checkpoint, are refused", "[data][lane]") {
  Setup setup;
  LaneSource source = setup.source(30, 2, 2, false);
  source.holdout = 1;
  CHECK_THAT(test::failure_of([&] { Lane(source, 0, {}).next_window(); }),
             Catch::Contains("data.train: no document to train on in 2 shards"));
  source.holdout = 0;
  const auto resumed = [&](LaneState state) { return test::failure_of([&] { Lane(source, 0, state).next_window(); }); };
  CHECK_THAT(resumed({.line = 500}), Catch::Contains("has fewer lines"));
  CHECK_THAT(resumed({.line = 0, .token = 999}), Catch::Contains("the shard has changed"));
  CHECK_THAT(resumed({.shard = 2}), Catch::Contains("position in the data is damaged (lane 0: shard 2 of "));
  CHECK_THAT(resumed({.line = -1}), Catch::Contains("position in the data is damaged (lane 0: line -1)"));
}

}  // namespace spikesink
