#include "data/sources.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <numeric>
#include <utility>

#include "data/order.h"
#include "data/shards.h"
#include "data/toy/bigram_backcopy.h"
#include "data/train_data.h"

namespace spikesink {
namespace {

std::int64_t train_tokens(const Manifest& m) {
  std::int64_t tokens = 0;
  for (const StoreFile& file : m.files) tokens += file.train.tokens;
  return tokens;
}

DataSource store_source(const std::string& path) {
  const Manifest manifest = Manifest::read(path);
  DataSource source{.path = path,
                    .kind = DataSource::Kind::kStore,
                    .files = static_cast<std::int64_t>(manifest.files.size()),
                    .tokens = train_tokens(manifest),
                    .documents = 0,
                    .tokenizer = manifest.tokenizer,
                    .epochs = {}};
  for (const StoreFile& file : manifest.files) *source.documents += file.train.documents;
  return source;
}

std::vector<DataSource> store_sources(const DataConfig& config, std::int64_t context, std::int64_t draws) {
  std::vector<DataSource> sources;
  std::vector<double> samples;
  for (const std::string& path : config.train) {
    sources.push_back(store_source(path));
    const std::int64_t lookahead = config.begin_of_text ? 0 : 1;  // as StoreOrder counts them
    const std::int64_t whole = std::max<std::int64_t>(0, *sources.back().tokens - lookahead) / context;
    samples.push_back(static_cast<double>(whole));
  }
  const double all = std::accumulate(samples.begin(), samples.end(), 0.0);
  const auto quotas =
      config.weights.empty() ? std::vector<std::int64_t>() : Mixture(config.weights, /*seed=*/0).quotas();
  for (std::size_t s = 0; s < sources.size(); ++s) {
    sources[s].share =
        quotas.empty() ? samples[s] / all : static_cast<double>(quotas[s]) / static_cast<double>(Mixture::kBlock);
    sources[s].epochs = sources[s].share * static_cast<double>(draws) / samples[s];
  }
  return sources;
}

std::vector<DataSource> shard_sources(const DataConfig& config, const Tokenizer& tokenizer) {
  std::vector<DataSource> sources;
  double all = 0;
  for (const std::string& pattern : config.train) {
    DataSource source{.path = pattern, .tokens = {}, .documents = {}, .tokenizer = tokenizer.name(), .epochs = {}};
    for (const Shard& shard : find_shards({pattern}, "data.train")) {
      ++source.files;
      source.bytes += shard.bytes;
    }
    all += static_cast<double>(source.bytes);
    sources.push_back(std::move(source));
  }
  for (DataSource& source : sources) source.share = static_cast<double>(source.bytes) / all;
  return sources;
}

bool is_toy(const std::vector<std::string>& paths, const std::string& key) {
  return !paths.empty() && is_bigram_backcopy(paths, key);
}

/// A shard that something holds: name and size, wherever it lies, and what that is.
using Shards = std::map<std::pair<std::string, std::uint64_t>, std::string>;

/// Those that the paths name, or that went into the stores that they name.
Shards shards_in(const std::vector<std::string>& paths, const std::string& key) {
  const auto name = [](const std::string& path) { return std::filesystem::path(path).filename().string(); };
  Shards shards;
  if (are_stores(paths, key)) {
    for (const std::string& store : paths)
      for (const StoreFile& file : Manifest::read(store).files)
        shards.emplace(std::pair(name(file.source), file.source_bytes), store);
  } else {
    for (const Shard& shard : find_shards(paths, key))
      shards.emplace(std::pair(name(shard.path), shard.bytes), shard.path);
  }
  return shards;
}

constexpr const char* kWhy = "probes then measure text that is trained on";

std::vector<std::string> doubts_about_stores(const DataConfig& config) {
  std::vector<std::string> doubts;
  std::map<std::string, std::string> trained;  // stores by what they hold
  for (const std::string& path : config.train) trained.emplace(Manifest::read(path).fingerprint(), path);
  for (const std::string& path : config.validation)
    if (const auto found = trained.find(Manifest::read(path).fingerprint()); found != trained.end())
      doubts.push_back(
          fmt::format("data.validation: {} has the tokens of {}, which data.train names: {}; leave data.validation out "
                      "to validate on what stores hold out",
                      path, found->second, kWhy));
  return doubts;
}

std::vector<std::string> doubts_about_validation(const DataConfig& config) {
  if (are_stores(config.train, "data.train") && are_stores(config.validation, "data.validation"))
    return doubts_about_stores(config);
  std::vector<std::string> doubts;
  const Shards trained = shards_in(config.train, "data.train");
  for (const auto& [shard, place] : shards_in(config.validation, "data.validation"))
    if (const auto found = trained.find(shard); found != trained.end())
      doubts.push_back(
          fmt::format("data.validation: {} has a shard, {} of {} bytes, that {} of data.train has too: {}; "
                      "name others",
                      place, shard.first, shard.second, found->second, kWhy));
  return doubts;
}

}  // namespace

std::vector<DataSource> data_sources(const DataConfig& config, const Tokenizer& tokenizer, std::int64_t context,
                                     std::int64_t draws) {
  if (is_toy(config.train, "data.train"))
    return {{.path = config.train.front(),
             .kind = DataSource::Kind::kToy,
             .tokens = {},
             .documents = {},
             .tokenizer = tokenizer.name(),
             .epochs = {}}};
  return are_stores(config.train, "data.train") ? store_sources(config, context, draws)
                                                : shard_sources(config, tokenizer);
}

std::vector<std::string> doubts_about_data(const DataConfig& config) {
  if (is_toy(config.train, "data.train")) return {};
  std::vector<std::string> doubts;
  if (!config.validation.empty() && !is_toy(config.validation, "data.validation"))
    doubts = doubts_about_validation(config);
  if (are_stores(config.train, "data.train"))
    for (const std::string& path : config.train)
      if (const auto note = note_on_ends(path, Manifest::read(path))) doubts.push_back(*note);
  return doubts;
}

std::optional<std::string> note_on_ends(const std::string& path, const Manifest& manifest) {
  std::int64_t count = 0;
  const StoreFile* first = nullptr;
  for (const StoreFile& file : manifest.files) {
    if (!file.source.ends_with(".bin") || file.train.documents + file.held_out.documents != 1) continue;
    if (count++ == 0) first = &file;
  }
  if (count == 0) return std::nullopt;
  return fmt::format(
      "{}: {} of its {} sources, {} the first, had no end of text (id {} of the tokenizer {}): its {} tokens are one "
      "document; if it has several, prepare it with the tokenizer that it was made with",
      path, count, manifest.files.size(), first->source, manifest.end_of_text, manifest.tokenizer,
      first->train.tokens + first->held_out.tokens);
}

}  // namespace spikesink
