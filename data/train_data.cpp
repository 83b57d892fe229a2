#include "data/train_data.h"

#include <fmt/format.h>

#include <algorithm>

#include "data/shards.h"
#include "data/store/manifest.h"
#include "data/store/store_loader.h"
#include "data/toy/bigram_backcopy.h"
#include "io/failure.h"

namespace spikesink {

bool are_stores(const std::vector<std::string>& paths, const std::string& key) {
  const auto stores = std::ranges::count_if(paths, is_store);
  if (stores > 0 && static_cast<std::size_t>(stores) < paths.size())
    throw UsageError(fmt::format("{}: {} is no token store, but others there are; name stores only, or shards only",
                                 key, *std::ranges::find_if_not(paths, is_store)));
  return stores > 0;
}

std::string data_fingerprint(const std::vector<std::string>& paths, const std::string& key) {
  if (is_bigram_backcopy(paths, key)) return std::string(BigramBackcopy::kName);
  if (!are_stores(paths, key)) return shards_fingerprint(find_shards(paths, key));
  std::vector<std::string> stores;
  for (const std::string& path : paths) stores.push_back(Manifest::read(path).fingerprint());
  return fmt::format("{}", fmt::join(stores, "; "));
}

void require_data(const std::vector<std::string>& paths, const Tokenizer& tokenizer, const std::string& key) {
  if (is_bigram_backcopy(paths, key))
    require_bytes(tokenizer, key);
  else if (are_stores(paths, key))
    open_stores(paths, tokenizer, key);
  else
    find_shards(paths, key);
}

std::vector<std::string> notes_on_data(const DataConfig& config) {
  const bool toy = is_bigram_backcopy(config.train, "data.train");
  if (!toy && !are_stores(config.train, "data.train")) return {};
  std::vector<std::string> notes;
  const DataConfig usual;
  const auto note = [&notes](const char* key, auto value, auto usual_value, const std::string& why) {
    if (value != usual_value) notes.push_back(fmt::format("{} {}: has no effect on {}", key, value, why));
  };
  if (toy) {
    const std::string name = std::string(BigramBackcopy::kName) + ", which is made as it is needed";
    note("data.holdout", config.holdout, usual.holdout, name);
    note("data.lanes", config.lanes, usual.lanes, name);
    note("data.max_bad_share", config.max_bad_share, usual.max_bad_share, name);
    return notes;
  }
  for (const std::string& path : config.train)
    if (const double holdout = Manifest::read(path).holdout; config.validation.empty())
      note("data.holdout", config.holdout, holdout, fmt::format("{}, which was prepared with {}", path, holdout));
  note("data.lanes", config.lanes, usual.lanes, "token stores, which are shuffled as a whole");
  note("data.max_bad_share", config.max_bad_share, usual.max_bad_share,
       "token stores, whose lines were judged when they were prepared");
  return notes;
}

}  // namespace spikesink
