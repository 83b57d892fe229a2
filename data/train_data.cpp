#include "data/train_data.h"

#include <fmt/format.h>

#include <algorithm>

#include "data/shards.h"
#include "data/store/manifest.h"
#include "data/store/store_loader.h"
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
  if (!are_stores(paths, key)) return shards_fingerprint(find_shards(paths, key));
  std::vector<std::string> stores;
  for (const std::string& path : paths) stores.push_back(Manifest::read(path).fingerprint());
  return fmt::format("{}", fmt::join(stores, "; "));
}

void require_data(const std::vector<std::string>& paths, const Tokenizer& tokenizer, const std::string& key) {
  if (are_stores(paths, key))
    open_stores(paths, tokenizer, key);
  else
    find_shards(paths, key);
}

std::vector<std::string> notes_on_stores(const DataConfig& config) {
  if (!are_stores(config.train, "data.train")) return {};
  std::vector<std::string> notes;
  for (const std::string& path : config.train)
    if (const double holdout = Manifest::read(path).holdout; config.validation.empty() && holdout != config.holdout)
      notes.push_back(fmt::format("data.holdout {}: has no effect on {}, which was prepared with {}", config.holdout,
                                  path, holdout));
  const DataConfig usual;
  if (config.lanes != usual.lanes)
    notes.push_back(
        fmt::format("data.lanes {}: has no effect on token stores, which are shuffled as a whole", config.lanes));
  if (config.max_bad_share != usual.max_bad_share)
    notes.push_back(
        fmt::format("data.max_bad_share {}: has no effect on token stores, whose lines were judged when they "
                    "were prepared",
                    config.max_bad_share));
  return notes;
}

}  // namespace spikesink
