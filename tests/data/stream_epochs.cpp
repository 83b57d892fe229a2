#include <catch2/catch.hpp>
#include <cmath>
#include <map>

#include "data/stream_loader.h"
#include "tests/data/support.h"

namespace spikesink {
namespace {
using test::NumberedTokens;
using Tokens = std::vector<std::int32_t>;

constexpr std::int64_t kContext = 8;

int tokens_of(int document) {
  return static_cast<int>(1 + Random{.seed = 5}.below(static_cast<std::uint64_t>(document), 40));
}

/// Numbered documents, as long in bytes as in tokens, in shards of which shard s has a share of relative size
/// weight(s).
struct Corpus {
  test::Scratch folder;
  NumberedTokens tokenizer;
  std::int64_t tokens = 0;  ///< of all, with an end for each
  int documents = 0;

  template <class F>
  Corpus(int count, int shards, F weight) {
    double all = 0, sum = 0;
    for (int s = 0; s < shards; ++s) all += weight(s);
    for (int s = 0; s < shards; ++s) {
      sum += weight(s);
      std::string text;
      do {
        const int length = tokens_of(++documents);
        tokens += length + 1;
        const std::string padding(static_cast<std::size_t>(4 * length), 'x');
        text += test::line_of(fmt::format("{}:{}{}", documents, length, padding));
      } while (documents < std::lround(count * sum / all));
      test::write(folder / fmt::format("s{:03}.jsonl", s), text);
    }
  }

  LoaderOptions options(std::int64_t lanes, std::int64_t sequences) const {
    DataConfig config;
    config.train = {folder / "*.jsonl"};
    config.holdout = 0;
    config.lanes = lanes;
    config.begin_of_text = true;  // so that each token is once a target
    return {.data = config, .tokenizer = tokenizer, .context = kContext, .sequences = sequences, .seed = 1};
  }
};

double one_size(int) { return 1; }
double many_sizes(int s) { return std::pow(s + 1, 3); }

}  // namespace

TEST_CASE("after E epochs' worth of samples a document has come E times, or once more or less near a lane's end",
          "[data][loader]") {
  const int shards = GENERATE(1, 3, 6, 100);
  const auto weight = GENERATE(one_size, many_sizes);
  const std::int64_t lanes = GENERATE(1, 4, 64);
  CAPTURE(shards, lanes, weight == one_size);
  const Corpus corpus(6400, shards, weight);
  const std::int64_t S = 64, steps_of_epoch = corpus.tokens / (S * kContext);
  StreamLoader loader(corpus.options(lanes, S));
  std::map<std::int32_t, int> times;  // a document's token -> how often it was a target
  std::int64_t step = 0;
  for (const int epochs : {1, 2, 5}) {
    for (; step < epochs * steps_of_epoch; ++step) {
      const Tokens samples = loader.next(step, 0, S);
      for (std::size_t i = 0; i < samples.size(); ++i)
        if (i % (kContext + 1) != 0 && samples[i] != 0) ++times[samples[i]];
    }
    std::int64_t all = 0, once_off = 0, further_off = 0;
    for (int d = 1; d <= corpus.documents; ++d)
      for (int i = 0; i < tokens_of(d); ++i, ++all) {
        const auto it = times.find(d * NumberedTokens::kDocument + i);
        const int more = std::abs((it == times.end() ? 0 : it->second) - epochs);
        once_off += more == 1;
        further_off += more > 1;
      }
    CAPTURE(epochs, once_off, all);
    CHECK(further_off == 0);
    // 100 documents a lane: the sum of their lengths differs by 6% (1 sigma) an epoch, and a window is 4% of an epoch.
    CHECK(static_cast<double>(once_off) <= (lanes == 1   ? 0.01
                                            : lanes == 4 ? 0.05
                                                         : 0.08 * std::sqrt(epochs)) *
                                               double(all));
  }
}

TEST_CASE("shards shared between lanes: a run that stops in its second epoch goes on the same on 1, 2 or 3 ranks",
          "[data][loader]") {
  const int shards = GENERATE(1, 3, 10);
  const std::int64_t lanes = GENERATE(4, 64);
  CAPTURE(shards, lanes);
  const Corpus corpus(300, shards, many_sizes);
  constexpr std::int64_t kS = 12;
  const LoaderOptions options = corpus.options(lanes, kS);
  const std::int64_t half = corpus.tokens * 3 / 2 / (kS * kContext), end = 2 * half;
  StreamLoader whole(options);
  std::vector<Tokens> want;
  std::vector<Position> positions;
  for (std::int64_t b = 0; b < end; ++b) {
    if (b >= half) positions.push_back(whole.position());
    want.push_back(whole.next(b, 0, kS));
  }
  const std::int64_t from = half + GENERATE(0, 1, 17);
  for (const std::int64_t world : {1, 2, 3}) {
    std::vector<Tokens> got(want.size());
    for (std::int64_t rank = 0; rank < world; ++rank) {
      StreamLoader loader(options);
      loader.seek(Position::from_json(positions[static_cast<std::size_t>(from - half)].to_json()));
      for (std::int64_t b = from; b < end; ++b) {
        const Tokens part = loader.next(b, kS * rank / world, kS / world);
        auto& all = got[static_cast<std::size_t>(b)];
        all.insert(all.end(), part.begin(), part.end());
      }
    }
    CHECK(std::equal(got.begin() + from, got.end(), want.begin() + from));
  }
}

TEST_CASE("with fewer documents than lanes every document comes, about as often as any other", "[data][loader]") {
  const Corpus corpus(5, 2, one_size);
  const std::int64_t lanes = 16, S = 16;
  StreamLoader loader(corpus.options(lanes, S));
  std::map<int, int> times;
  const std::int64_t steps = 200 * corpus.tokens / (S * kContext);
  for (std::int64_t b = 0; b < steps; ++b)
    for (const std::int32_t token : loader.next(b, 0, S))
      if (token > 1 && token % NumberedTokens::kDocument == 0) ++times[token / NumberedTokens::kDocument];
  CHECK(times.size() == 5);
  for (const auto& [document, count] : times) {
    CAPTURE(document);
    CHECK(std::abs(count - 200) < 60);
  }
}

}  // namespace spikesink
