#include "data/held_out.h"

#include <catch2/catch.hpp>
#include <numeric>
#include <set>

#include "data/document.h"
#include "data/stream_loader.h"
#include "tests/data/support.h"

namespace spikesink {
namespace {
using Catch::Contains;
using test::length_of;
using Tokens = std::vector<std::int32_t>;

constexpr double kHoldout = 0.2;

DataConfig config_of(const std::vector<std::string>& train) {
  DataConfig config;
  config.train = train;
  config.holdout = kHoldout;
  return config;
}

bool held_out(int d) { return holdout_draw(fmt::format("{}:{}", d, length_of(d))) < kHoldout; }

/// The tokens of the documents 1 .. count that `chosen` takes, in order, each with its end.
template <class Chosen>
Tokens stream_of(int count, Chosen chosen) {
  Tokens stream;
  for (int d = 1; d <= count; ++d)
    if (chosen(d)) {
      test::NumberedTokens().encode(fmt::format("{}:{}", d, length_of(d)), stream);
      stream.push_back(0);
    }
  return stream;
}

}  // namespace

TEST_CASE("validation samples are the held-out documents in order, packed", "[data][held_out]") {
  const test::Scratch folder;
  const test::NumberedTokens tokenizer;
  DataConfig config = config_of(test::write_numbered(folder, 150, 3));
  config.begin_of_text = GENERATE(false, true);
  CAPTURE(config.begin_of_text);
  const Tokens stream = stream_of(150, held_out);
  const std::size_t T = 8, ahead = config.begin_of_text ? 0 : 1, rows = (stream.size() - ahead) / T;
  Tokens want;
  for (std::size_t i = 0; i < rows; ++i) {
    if (config.begin_of_text) want.push_back(1);
    want.insert(want.end(), stream.begin() + static_cast<std::ptrdiff_t>(i * T),
                stream.begin() + static_cast<std::ptrdiff_t>(i * T + T + ahead));
  }
  CHECK(held_out_samples(config, tokenizer, 8, 100'000) == want);
  want.resize(3 * (T + 1));
  CHECK(held_out_samples(config, tokenizer, 8, 3) == want);
}

TEST_CASE("training and validation share no document, even after the shards are cut anew", "[data][held_out]") {
  const test::Scratch one, other;
  const test::NumberedTokens tokenizer;
  const auto documents_of = [](const Tokens& tokens) {
    std::set<int> documents;
    for (const std::int32_t token : tokens) documents.insert(token / test::NumberedTokens::kDocument);
    documents.erase(0);
    return documents;
  };
  const auto validated =
      documents_of(held_out_samples(config_of(test::write_numbered(one, 150, 3)), tokenizer, 8, 99'999));
  DataConfig config = config_of(test::write_numbered(other, 150, 8));
  config.lanes = 2;
  StreamLoader loader({.data = config, .tokenizer = tokenizer, .context = 8, .sequences = 32, .seed = 9});
  std::set<int> trained;
  for (std::int64_t b = 0; b < 60; ++b) trained.merge(documents_of(loader.next(b, 0, 32)));
  CHECK(validated.size() > 15);
  for (const int d : validated) CHECK(trained.count(d) == 0);
  CHECK(validated.size() + trained.size() >=
        149);  // the last of the held-out ones may lie in the row that was not full
}

TEST_CASE("named validation shards are taken whole, and training then holds nothing out", "[data][held_out]") {
  const test::Scratch train, validation;
  const test::NumberedTokens tokenizer;
  DataConfig config = config_of(test::write_numbered(train, 60, 2));
  config.validation = test::write_numbered(validation, 40, 1);
  const Tokens stream = stream_of(40, [](int) { return true; });
  const Tokens rows = held_out_samples(config, tokenizer, 8, 99'999);
  REQUIRE(rows.size() == (stream.size() - 1) / 8 * 9);
  CHECK(std::equal(rows.begin(), rows.begin() + 9, stream.begin()));

  config.train.push_back(validation / "s00.jsonl");
  CHECK_THAT(test::failure_of([&] { held_out_samples(config, tokenizer, 8, 9); }),
             Contains("data.validation: ") && Contains("named in data.train too"));
}

TEST_CASE("the lines read for validation are counted, broken ones among them", "[data][held_out]") {
  const test::Scratch folder;
  const test::NumberedTokens tokenizer;
  DataConfig config = config_of({});
  config.train.clear();
  config.validation = {folder / "a.jsonl"};
  test::write(folder / "a.jsonl", "no json\n" + test::line_of("1:30") + test::line_of("2:30"));
  config.max_bad_share = 0.5;
  DocumentCounts counts;
  held_out_samples(config, tokenizer, 8, 3, &counts);  // the first document fills them
  CHECK(counts.documents == 1);
  CHECK(counts.num_broken() == 1);
  held_out_samples(config, tokenizer, 8, 99, &counts);
  CHECK(counts.documents == 2);
  CHECK_THAT(counts.broken_text(), Contains("1 not JSON (first ") && Contains("a.jsonl:1"));
  config.max_bad_share = 0.001;
  CHECK_THAT(test::failure_of([&] { held_out_samples(config, tokenizer, 8, 99); }),
             Contains("1 of 3 lines are broken"));
}

TEST_CASE("too little to validate on names the key and the mend", "[data][held_out]") {
  const test::Scratch folder;
  const test::NumberedTokens tokenizer;
  DataConfig config = config_of(test::write_numbered(folder, 20, 1));
  config.holdout = 1e-9;
  CHECK_THAT(test::failure_of([&] { held_out_samples(config, tokenizer, 8, 9); }),
             Contains("data.holdout: 1e-09") && Contains("fewer than one sample of 8 tokens") && Contains("raise it"));
}

TEST_CASE("a document to validate on that cannot be tokenised is named", "[data][held_out]") {
  const test::Scratch folder;
  test::write(folder / "a.jsonl", test::line_of("1:2") + test::line_of("!"));
  DataConfig config = config_of({});
  config.validation = {folder / "a.jsonl"};
  CHECK(test::failure_of([&] { held_out_samples(config, test::RefusingTokens(), 64, 1); }) ==
        folder / "a.jsonl" + ":2: no ids for this");
}

}  // namespace spikesink
