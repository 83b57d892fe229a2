#include "data/stream_loader.h"

#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <set>
#include <thread>

#include "data/lane.h"
#include "kernels/core/check.h"
#include "tests/data/support.h"

namespace spikesink {
namespace {
using Catch::Contains;
using Tokens = std::vector<std::int32_t>;

struct Setup {
  test::Scratch folder;
  test::NumberedTokens tokenizer;
  std::vector<std::string> train;
  explicit Setup(int documents = 120, int shards = 4) : train(test::write_numbered(folder, documents, shards)) {}

  LoaderOptions options(std::int64_t lanes, std::int64_t sequences, bool begin = false) const {
    DataConfig config;
    config.train = train;
    config.holdout = 0.05;
    config.lanes = lanes;
    config.begin_of_text = begin;
    return {.data = config, .tokenizer = tokenizer, .context = 6, .sequences = sequences, .seed = 1};
  }
};

std::vector<Tokens> run(Loader& loader, std::int64_t from, std::int64_t to, std::int64_t sequences) {
  std::vector<Tokens> steps;
  for (std::int64_t b = from; b < to; ++b) steps.push_back(loader.next(b, 0, sequences));
  return steps;
}

/// Counts the tokens that it makes, and has one token a byte.
class CountingTokens : public Tokenizer {
 public:
  void encode(std::string_view text, std::vector<std::int32_t>& ids) const override {
    inner_->encode(text, ids);
    made += static_cast<std::int64_t>(text.size()) + 1;
  }
  std::string decode(std::span<const std::int32_t> ids) const override { return inner_->decode(ids); }
  std::int64_t vocab_size() const override { return inner_->vocab_size(); }
  std::int32_t end_of_text() const override { return inner_->end_of_text(); }
  std::optional<std::int32_t> begin_of_text() const override { return inner_->begin_of_text(); }
  std::string name() const override { return "counting"; }

  mutable std::atomic<std::int64_t> made = 0;

 private:
  std::unique_ptr<Tokenizer> inner_ = make_tokenizer("bytes");
};

}  // namespace

TEST_CASE("a step's samples are the same on any number of ranks", "[data][loader]") {
  const std::int64_t lanes = GENERATE(1, 3, 4, 5, 64);
  const std::int64_t S = GENERATE(12, 7);
  CAPTURE(lanes, S);
  const Setup setup;
  constexpr std::int64_t kSteps = 30;
  StreamLoader alone(setup.options(lanes, S));
  const auto want = run(alone, 0, kSteps, S);
  for (const std::int64_t world : {2, 3}) {
    std::vector<Tokens> got(kSteps);
    for (std::int64_t rank = 0; rank < world; ++rank) {
      StreamLoader loader(setup.options(lanes, S));
      const std::int64_t first = S * rank / world, end = S * (rank + 1) / world;
      for (std::int64_t b = 0; b < kSteps; ++b) {
        const Tokens mine = loader.next(b, first, end - first);
        REQUIRE(mine.size() == static_cast<std::size_t>((end - first) * 7));
        auto& all = got[static_cast<std::size_t>(b)];
        all.insert(all.end(), mine.begin(), mine.end());
      }
    }
    CHECK(got == want);
  }
  SECTION("nor does it matter how a rank asks, or how many threads read") {
    LoaderOptions options = setup.options(lanes, S);
    options.threads = 1;
    StreamLoader loader(options);
    for (std::int64_t b = 0; b < kSteps; ++b) {
      Tokens got;
      for (std::int64_t slot = 0; slot < S; ++slot) {
        const Tokens one = loader.next(b, slot, 1);
        got.insert(got.end(), one.begin(), one.end());
      }
      REQUIRE(got == want[static_cast<std::size_t>(b)]);
    }
  }
}

TEST_CASE("slots are dealt to lanes as the header says", "[data][loader]") {
  const auto [lanes, S] = GENERATE(table<int, int>({{4, 8}, {4, 4}, {4, 2}, {4, 6}, {1, 40}}));
  CAPTURE(lanes, S);
  const Setup setup;
  const LoaderOptions options = setup.options(lanes, S);
  DocumentTally tally(0);
  const LaneSource source{.shards = find_shards(setup.train, "data.train"),
                          .tokenizer = setup.tokenizer,
                          .tally = tally,
                          .begin = std::nullopt,
                          .context = 6,
                          .lanes = lanes,
                          .holdout = 0.05,
                          .seed = 1};
  std::vector<Tokens> streams;
  for (int l = 0; l < lanes; ++l) {
    Lane lane(source, l, {});
    Tokens& stream = streams.emplace_back();
    for (int w = 0; w < 80; ++w) {
      const Tokens window = lane.next_window().tokens;
      stream.insert(stream.end(), window.begin(), window.end());
    }
  }
  StreamLoader loader(options);
  for (int b = 0; b < 25; ++b) {
    const Tokens got = loader.next(b, 0, S);
    for (int s = 0; s < S; ++s) {
      const int g = b * S + s;
      const int lane = S % lanes == 0 ? s / (S / lanes) : g % lanes;
      const int sample = S % lanes == 0 ? b * (S / lanes) + s % (S / lanes) : g / lanes;
      const auto from = streams[static_cast<std::size_t>(lane)].begin() + sample * 7;
      REQUIRE(Tokens(got.begin() + s * 7, got.begin() + (s + 1) * 7) == Tokens(from, from + 7));
    }
  }
}

TEST_CASE("a loader that seeks a position goes on as if it had never stopped", "[data][loader]") {
  const std::int64_t lanes = GENERATE(1, 3, 64);
  const bool begin = GENERATE(false, true);
  const auto [documents, shards] = GENERATE(table<int, int>({{120, 2}, {160, 70}, {20, 1}}));
  const std::int64_t S = GENERATE(5, 9);
  CAPTURE(lanes, begin, documents, shards, S);
  const Setup setup(documents, shards);
  constexpr std::int64_t kSteps = 60;

  StreamLoader whole(setup.options(lanes, S, begin));
  std::vector<Tokens> want;
  std::vector<std::string> positions{whole.position().to_json()};
  for (std::int64_t b = 0; b < kSteps; ++b) {
    want.push_back(whole.next(b, 0, S));
    positions.push_back(whole.position().to_json());
    // The state is that of the window being consumed: a resume makes no other window again.
    if (lanes == 1) REQUIRE(whole.position().lanes[0].window == (b * S + S - 1) / Lane::kWindow);
  }
  CHECK(tokenizer_of_position(positions.back()) == setup.tokenizer.name());
  CHECK(tokenizer_of_position("{}") == std::nullopt);
  CHECK(tokenizer_of_position("no JSON") == std::nullopt);
  const Random random{.seed = static_cast<std::uint64_t>(lanes * 10 + S)};
  for (std::uint64_t draw = 0; draw < 8; ++draw) {
    const auto from = static_cast<std::int64_t>(random.below(draw, kSteps));
    CAPTURE(from);
    const Position position = Position::from_json(positions[static_cast<std::size_t>(from)]);
    REQUIRE(position.step == from);
    StreamLoader resumed(setup.options(lanes, S, begin));
    if (draw % 2) resumed.next(0, 0, S);  // a loader that was under way already
    resumed.seek(position);
    REQUIRE(resumed.position() == position);
    for (std::int64_t b = from; b < std::min(kSteps, from + 25); ++b) {
      REQUIRE(resumed.next(b, 0, S) == want[static_cast<std::size_t>(b)]);
      // The resumed run's own checkpoint leads on as well as that of the whole run.
      if (b == from + 12 && b + 1 < kSteps) {
        StreamLoader twice(setup.options(lanes, S, begin));
        twice.seek(Position::from_json(resumed.position().to_json()));
        REQUIRE(twice.next(b + 1, 0, S) == want[static_cast<std::size_t>(b) + 1]);
      }
    }
  }
}

TEST_CASE("a position of one rank leads another world on, if slower", "[data][loader]") {
  const Setup setup;
  constexpr std::int64_t kS = 8;
  StreamLoader whole(setup.options(4, kS));
  const auto want = run(whole, 0, 40, kS);
  StreamLoader half(setup.options(4, kS));
  for (std::int64_t b = 0; b < 30; ++b) half.next(b, 0, kS / 2);
  StreamLoader all(setup.options(4, kS));
  all.seek(half.position());
  CHECK(run(all, 30, 40, kS) == std::vector<Tokens>(want.begin() + 30, want.end()));
}

TEST_CASE("another seed gives other samples, another epoch another order", "[data][loader]") {
  const Setup setup;
  LoaderOptions options = setup.options(3, 6);
  StreamLoader one(options), same(options);
  options.seed = 2;
  StreamLoader other(options);
  const Tokens first = one.next(0, 0, 6);
  CHECK(first == same.next(0, 0, 6));
  CHECK(first != other.next(0, 0, 6));
}

TEST_CASE("a resume on other data or settings is refused with the key", "[data][loader]") {
  Setup setup;
  const LoaderOptions options = setup.options(3, 6);
  StreamLoader loader(options);
  loader.next(0, 0, 6);
  const Position position = loader.position();
  const auto refused = [&](auto change) {
    LoaderOptions changed = options;
    change(changed);
    return test::failure_of([&] { StreamLoader(changed).seek(position); });
  };
  CHECK(refused([](LoaderOptions& o) { o.threads = 1; }).empty());
  CHECK_THAT(refused([](LoaderOptions& o) { o.seed = 7; }), Contains("run.seed: is 7, but was 1 when"));
  CHECK_THAT(refused([](LoaderOptions& o) { o.data.lanes = 4; }), Contains("data.lanes"));
  CHECK_THAT(refused([](LoaderOptions& o) { o.data.holdout = 0.1; }), Contains("data.holdout"));
  CHECK_THAT(refused([](LoaderOptions& o) { o.data.begin_of_text = true; }), Contains("data.begin_of_text"));
  CHECK_THAT(refused([](LoaderOptions& o) { o.context = 7; }), Contains("model.context"));
  CHECK_THAT(refused([](LoaderOptions& o) { o.sequences = 9; }), Contains("train.batch_tokens"));
  CHECK_THAT(refused([&](LoaderOptions& o) { o.data.train = {setup.folder / "s00*"}; }), Contains("data.train"));
  Position renamed = position;
  renamed.fingerprint["data.tokenizer"] = "old.model numbered";  // the file had another name, and the same hash
  CHECK(test::failure_of([&] { StreamLoader(options).seek(renamed); }).empty());
  const auto bytes = make_tokenizer("bytes");
  CHECK_THAT(test::failure_of([&] {
               StreamLoader({.data = options.data, .tokenizer = *bytes, .context = 6, .sequences = 6, .seed = 1})
                   .seek(position);
             }),
             Contains("data.tokenizer"));
  for (const char* text : {"", "{}", "[1]", R"({"step": 1, "fingerprint": {}, "lanes": {"rows": [[1]]}})"})
    CHECK_THAT(test::failure_of([&] { Position::from_json(text); }), Contains("position in the data cannot be read"));
  const std::string before = R"({"step": 1, "fingerprint": {}, "lanes": {"columns": ["epoch", "shard", "line", "token",
      "window", "takes_all"], "rows": [[0, 1, 2, 3, 4, false]]}})";
  CHECK_THAT(test::failure_of([&] { Position::from_json(before); }), Contains("which dealt documents to lanes"));
  const std::string of_store = R"({"step": 1, "fingerprint": {}, "lanes": {"columns": ["takes_all"], "rows": []}})";
  CHECK(Position::from_json(of_store).step == 1);
}

TEST_CASE("a damaged position is refused at once, and the loader stays where it was", "[data][loader]") {
  const auto [lanes, S] = GENERATE(table<int, int>({{3, 6}, {4, 6}, {2, 6}, {64, 5}}));
  CAPTURE(lanes, S);
  const Setup setup;
  StreamLoader loader(setup.options(lanes, S));
  for (std::int64_t b = 0; b < 20; ++b) loader.next(b, 0, S);
  const Position sound = loader.position();
  const auto refused = [&](auto change) {
    Position damaged = sound;
    change(damaged);
    return test::failure_of([&] { loader.seek(damaged); });
  };
  const auto damaged = [](const std::string& what) {
    return Contains("the checkpoint's position in the data is damaged (" + what);
  };
  CHECK_THAT(refused([](Position& p) { p.lanes[1].shard = 4; }), damaged("lane 1: shard 4 of "));
  CHECK_THAT(refused([](Position& p) { p.lanes[1].shard = -1; }), damaged("lane 1: shard -1"));
  CHECK_THAT(refused([](Position& p) { p.lanes[0].epoch = -1; }), damaged("lane 0: epoch"));
  CHECK_THAT(refused([](Position& p) { p.lanes[0].epoch = std::numeric_limits<std::int64_t>::max(); }),
             damaged("lane 0: epoch 9223372036854775807"));
  CHECK_THAT(refused([](Position& p) { p.lanes[0].line = -7; }), damaged("lane 0: line"));
  CHECK_THAT(refused([](Position& p) { p.lanes[0].token = -1; }), damaged("lane 0: token"));
  CHECK_THAT(refused([](Position& p) { p.lanes[0].window += 10; }), damaged("lane 0: window "));
  CHECK_THAT(refused([](Position& p) { p.lanes.pop_back(); }),
             damaged(fmt::format("{} lanes of {}", lanes - 1, lanes)));
  CHECK_THAT(refused([](Position& p) { p.step = -1; }), damaged("step -1"));
  CHECK_THAT(refused([](Position& p) { p.step = std::int64_t{1} << 61; }), damaged("step 2305843009213693952"));
  CHECK_THAT(refused([](Position& p) { p.lanes.clear(); }), damaged("0 lanes of "));
  CHECK(loader.position() == sound);
  loader.next(20, 0, S);
}

TEST_CASE("reading ahead is bounded, and only lanes that are asked for are read", "[data][loader]") {
  const test::Scratch folder;
  std::string text;
  for (int d = 0; d < 4000; ++d) text += test::line_of(std::string(40, static_cast<char>('a' + d % 26)));
  test::write_packed(folder / "a.jsonl.zst", text);
  DataConfig config;
  config.train = {folder / "*.zst"};
  config.lanes = 8;
  CountingTokens tokenizer;
  constexpr std::int64_t kWindowTokens = Lane::kWindow * 20;
  {
    StreamLoader loader({.data = config, .tokenizer = tokenizer, .context = 20, .sequences = 16, .seed = 1});
    for (std::int64_t b = 0; b < 3; ++b) loader.next(b, 4, 4);   // lanes 2 and 3, still in their first window
    std::this_thread::sleep_for(std::chrono::milliseconds(50));  // to read too much, if it does
  }
  CHECK(tokenizer.made >= 2 * kWindowTokens);
  // A step takes two samples of a lane, so 16 steps are two windows, beside the one that is being dealt.
  CHECK(tokenizer.made <= 2 * (3 * kWindowTokens + 41));
}

TEST_CASE("a big batch of few lanes is ahead as a whole, in few bytes for many steps", "[data][loader]") {
  const test::Scratch folder;
  std::string text;
  for (int d = 0; d < 4000; ++d) text += test::line_of(std::string(40, static_cast<char>('a' + d % 26)));
  test::write(folder / "a.jsonl", text);
  DataConfig config;
  config.train = {folder / "a.jsonl"};
  config.lanes = 2;
  const auto [context, sequences, windows] = GENERATE(table<int, int, int>({
      {20, 128, 64},      // 64 samples of a lane a step: 16 steps are 64 windows
      {1 << 17, 64, 3},   // little more than 8 MiB a window: 64 MiB have room for three in each lane
      {1 << 17, 160, 5},  // a step is more: 80 samples, in five windows
  }));
  CAPTURE(context, sequences);
  CountingTokens tokenizer;
  StreamLoader loader({.data = config, .tokenizer = tokenizer, .context = context, .sequences = sequences, .seed = 1});
  loader.next(0, 0, sequences);
  const auto window = static_cast<std::int64_t>(Lane::kWindow) * context;
  const std::int64_t dealt = (sequences / 2 + Lane::kWindow - 1) / Lane::kWindow;
  const std::int64_t want = 2 * (dealt + windows) * window;
  for (int i = 0; i < 3000 && tokenizer.made < want; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  CHECK(tokenizer.made >= want);
  CHECK(tokenizer.made <= want + 2 * 42);
}

TEST_CASE("waiting for a window counts, taking from one that is there does not", "[data][loader]") {
  struct SlowTokens final : CountingTokens {
    void encode(std::string_view text, std::vector<std::int32_t>& ids) const override {
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
      CountingTokens::encode(text, ids);
    }
  };
  const test::Scratch folder;
  std::string text;
  for (int d = 0; d < 100; ++d) text += test::line_of(std::string(400, 'a'));
  test::write(folder / "a.jsonl", text);
  DataConfig config;
  config.train = {folder / "a.jsonl"};
  config.lanes = 1;
  const SlowTokens tokenizer;
  StreamLoader loader({.data = config, .tokenizer = tokenizer, .context = 20, .sequences = 4, .seed = 1});
  CHECK(loader.waited_seconds() == 0);
  loader.next(0, 0, 4);
  const double first = loader.waited_seconds();
  CHECK(first >= 0.005);  // no window is there before a document is read, and none was asked for
  loader.next(1, 0, 4);   // of the same window
  CHECK(loader.waited_seconds() == first);
}

TEST_CASE("what a background thread meets comes up in next(), each time", "[data][loader]") {
  Setup setup(120, 2);
  LoaderOptions options = setup.options(2, 4);
  SECTION("a shard that vanished") {
    StreamLoader loader(options);
    std::filesystem::remove(setup.folder / "s01.jsonl.zst");
    const auto message = [&] {
      return test::failure_of([&] {
        for (std::int64_t b = 0; b < 300; ++b) loader.next(b, 0, 4);
      });
    };
    CHECK_THAT(message(), Contains("s01.jsonl.zst: cannot be"));
  }
  SECTION("a shard that was replaced by another") {
    StreamLoader loader(options);
    test::write(setup.folder / "s00.jsonl", test::line_of("1:5") + test::line_of("2:7"));
    CHECK_THAT(test::failure_of([&] {
                 for (std::int64_t b = 0; b < 300; ++b) loader.next(b, 0, 4);
               }),
               Contains("s00.jsonl: has ") && Contains(" when this run began: the shard has changed"));
  }
  SECTION("a shard that grows while it is read") {  // whole lines, so that nothing else gives it away
    const std::string path = setup.folder / "s00.jsonl";
    options.data.train = {path};
    const auto bytes = std::filesystem::file_size(path);
    StreamLoader loader(options);
    loader.next(0, 0, 4);
    std::ofstream(path, std::ios::app) << test::line_of("3:9");
    CHECK_THAT(test::failure_of([&] {
                 for (std::int64_t b = 1; b < 300; ++b) loader.next(b, 0, 4);
               }),
               Contains(fmt::format("but had {} when", bytes)));
  }
  SECTION("a zstd shard that is cut, far into it") {
    const std::string path = setup.folder / "s01.jsonl.zst";
    options.data.train = {path};
    std::filesystem::resize_file(path, std::filesystem::file_size(path) - 3);
    StreamLoader loader(options);
    const auto message = [&] {
      return test::failure_of([&] {
        for (std::int64_t b = loader.position().step; b < 300; ++b) loader.next(b, 0, 4);
      });
    };
    CHECK_THAT(message(), Contains("s01.jsonl.zst: ") && Contains("in the middle of"));
    CHECK(loader.counts().documents > 0);
    CHECK_THAT(message(), Contains("s01.jsonl.zst: "));
  }
  SECTION("too many broken lines") {
    test::write(setup.folder / "s00.jsonl", "no json\n" + test::line_of("1:5"));
    StreamLoader loader(options);
    const auto message = [&] {
      return test::failure_of([&] {
        for (std::int64_t b = loader.position().step; b < 300; ++b) loader.next(b, 0, 4);
      });
    };
    CHECK_THAT(message(), Contains("lines are broken") && Contains("s00.jsonl:1"));
    CHECK_THAT(message(), Contains("lines are broken"));
    CHECK(loader.counts().num_broken() >= 1);
  }
  SECTION("steps out of order are the caller's fault") {
    StreamLoader loader(options);
    loader.next(5, 0, 4);
    CHECK_THROWS_AS(loader.next(4, 0, 4), ContractError);
    CHECK_THROWS_AS(loader.next(6, 2, 3), ContractError);
  }
}

TEST_CASE("a document that cannot be tokenised comes up in next(), named", "[data][loader]") {
  const test::Scratch folder;
  test::write(folder / "a.jsonl", test::line_of("1:9") + test::line_of("!"));
  const test::RefusingTokens tokenizer;
  DataConfig config;
  config.train = {folder / "a.jsonl"};
  config.holdout = 0;
  config.lanes = 1;
  StreamLoader loader({.data = config, .tokenizer = tokenizer, .context = 4, .sequences = 1, .seed = 1});
  CHECK(test::failure_of([&] { loader.next(0, 0, 1); }) == folder / "a.jsonl" + ":2: no ids for this");
}

TEST_CASE("hostile lines among sound ones are counted by their reason and named, and the rest is trained on",
          "[data][loader]") {
  const test::Scratch folder;
  const std::string path = folder / "a.jsonl.zst";
  // 100 MB in one line, an empty text, a raw NUL byte, half of a surrogate pair. An escaped NUL is a character.
  const std::string hostile = test::line_of(std::string(100'000'000, 'x')) + test::line_of("") + "{\"text\": \"a" +
                              std::string(1, '\0') + "b\"}\n" + "{\"text\": \"\\ud800 alone\"}\n" +
                              "{\"text\": \"a\\u0000b\"}\n";
  const auto sound = [](int documents) {
    std::string lines;
    for (int d = 0; d < documents; ++d) lines += test::line_of("some sound text");
    return lines;
  };
  test::write(path, test::zstd_frame(sound(200) + hostile + sound(3000)));  // so many that no second epoch is begun
  DataConfig config;
  config.train = {path};
  config.lanes = 1;
  config.holdout = 0;
  config.max_bad_share = 0.01;
  const auto tokenizer = make_tokenizer("bytes");
  StreamLoader loader({.data = config, .tokenizer = *tokenizer, .context = 64, .sequences = 4, .seed = 1});
  for (std::int64_t b = 0; loader.counts().lines() < 205; ++b) loader.next(b, 0, 4);
  const DocumentCounts counts = loader.counts();
  CHECK(counts.num_broken() == 4);
  CHECK_THAT(counts.broken_text(), Contains("1 too long (first " + path + ":201: ") &&
                                       Contains("1 with an empty `text` (first " + path + ":202: ") &&
                                       Contains("1 not JSON (first " + path + ":203: ") &&
                                       Contains("1 not UTF-8 (first " + path + ":204: "));
}

TEST_CASE("real text trains from the first second: DCLM-format shards give decodable samples", "[data][loader]") {
  const std::filesystem::path novels = "../shared/data/novels";
  if (!std::filesystem::exists(novels)) {
    WARN("skipped: there is no " << novels);
    return;
  }
  DataConfig config;
  config.train = {(novels / "*.jsonl.zst").string()};
  const auto tokenizer = make_tokenizer("bytes");
  StreamLoader loader({.data = config, .tokenizer = *tokenizer, .context = 128, .sequences = 8, .seed = 1});
  const Tokens samples = loader.next(0, 0, 8);
  int letters = 0;
  for (const char c : tokenizer->decode(samples)) letters += std::isalpha(static_cast<unsigned char>(c)) || c == ' ';
  CHECK(letters > 8 * 129 * 8 / 10);
  CHECK(loader.counts().num_broken() == 0);
  CHECK(loader.counts().documents < 4000);  // not all of it was read for that
}

}  // namespace spikesink
