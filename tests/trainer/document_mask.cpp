#include <catch2/catch.hpp>
#include <fstream>
#include <string>

#include "data/store/prepare.h"
#include "data/store/store_loader.h"
#include "data/store/store_order.h"
#include "models/sample_loss.h"
#include "tests/trainer/support.h"

namespace spikesink {

TEST_CASE("samples of a store are masked where the store says that documents begin", "[trainer][data]") {
  // A store that left out the ends of documents, or put them elsewhere, would let attention cross.
  const test::TemporaryFolder folder;
  {
    std::ofstream shard(folder / "a.jsonl");
    for (std::size_t d = 0; d < 150; ++d)
      shard << "{\"text\": \"" << std::string(1 + d * 31 % 97, static_cast<char>('a' + d % 26)) << "\"}\n";
  }
  const auto tokenizer = make_tokenizer("bytes");
  prepare_store({.inputs = {folder / "a.jsonl"}, .tokenizer = *tokenizer, .out = folder / "store", .holdout = 0.05});
  const TokenStore store(folder / "store");
  constexpr std::int64_t kT = 24, kSteps = 40;
  const StoreOrder order({&store}, {}, kT, std::nullopt, 1);
  StoreLoader loader(
      {.data = {.train = {folder / "store"}}, .tokenizer = *tokenizer, .context = kT, .sequences = 1, .seed = 1});
  for (std::int64_t step = 0; step < kSteps; ++step) {
    const std::vector<std::int32_t> sample = loader.next(step, 0, 1);
    const std::int64_t first = order.at(step).index * kT;
    std::vector<std::int32_t> want(kT, 0);
    for (const std::int64_t start : store.document_starts(first, kT))
      std::fill(want.begin() + (start - first), want.end(), static_cast<std::int32_t>(start - first));
    REQUIRE(document_starts(std::span(sample).first(kT), kT, tokenizer->end_of_text()) == want);
  }
}

}  // namespace spikesink
