#include "data/store/manifest.h"

#include <fmt/format.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <system_error>

#include "data/store/manifest_json.h"
#include "io/atomic_file.h"
#include "io/failure.h"
#include "io/json_integer.h"
#include "kernels/core/random.h"

namespace spikesink {
namespace {
namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;
constexpr int kFormat = 1;

Json json_of(const TokenRow& row) {
  return {{"tokens", row.tokens},
          {"documents", row.documents},
          {"tokens_crc32c", row.tokens_crc},
          {"documents_crc32c", row.documents_crc},
          {"tokens_at", row.tokens_at}};
}
/// What stores of earlier programs do not say.
std::int64_t integer_or(const Json& json, const char* key, std::int64_t otherwise) {
  return json.contains(key) ? integer_of<std::int64_t>(json.at(key)) : otherwise;
}
TokenRow row_of(const Json& json) {
  return {integer_of<std::int64_t>(json.at("tokens")), integer_of<std::int64_t>(json.at("documents")),
          integer_of<std::uint32_t>(json.at("tokens_crc32c")), integer_of<std::uint32_t>(json.at("documents_crc32c")),
          integer_or(json, "tokens_at", -1)};
}

template <class T>
Json or_null(const std::optional<T>& value) {
  return value ? Json(*value) : Json();
}
std::optional<std::int64_t> optional_of(const Json& json) {
  return json.is_null() ? std::nullopt : std::optional(integer_of<std::int64_t>(json));
}

/// What cannot be, although it is JSON of the right form.
void require_sound(const Manifest& m) {
  const auto refuse_if = [](bool wrong, const std::string& what) {
    if (wrong) throw std::range_error(what);
  };
  refuse_if(m.token_bytes != 2 && m.token_bytes != 4, fmt::format("{} bytes a token", m.token_bytes));
  refuse_if(m.vocab_size < 1 || m.vocab_size > (m.token_bytes == 2 ? 65536 : std::int64_t{1} << 31),
            fmt::format("{} tokens in the vocabulary", m.vocab_size));
  refuse_if(m.end_of_text < 0 || m.end_of_text >= m.vocab_size, fmt::format("end of text {}", m.end_of_text));
  constexpr std::int64_t kMost = std::int64_t{1} << 50;  // of anything, and of all tokens: sums of a few are safe
  for (const std::int64_t count : {m.text_bytes, m.too_short, m.too_long, m.duplicates, m.lines.documents})
    refuse_if(count < 0 || count > kMost, fmt::format("a count of {}", count));
  for (const std::int64_t count : m.lines.broken)
    refuse_if(count < 0 || count > kMost, fmt::format("a count of {} broken lines", count));
  std::int64_t tokens = 0;
  for (const StoreFile& file : m.files) {
    refuse_if(file.name.empty() || file.name.find('/') != std::string::npos || file.name.starts_with('.'),
              fmt::format("\"{}\" is no file of a store", file.name));
    for (const TokenRow& row : {file.train, file.held_out}) {
      refuse_if(row.tokens < 0 || row.documents < 0 || row.tokens < row.documents || row.tokens > kMost - tokens,
                fmt::format("{}: {} tokens in {} documents", file.name, row.tokens, row.documents));
      tokens += row.tokens;
      const std::int64_t end = row.tokens_at + m.token_bytes * row.tokens;
      refuse_if(row.tokens_at < -1 || row.tokens_at > kMost || (row.tokens_at >= 0 && end > file.bytes),
                fmt::format("{}: tokens at byte {} of {}", file.name, row.tokens_at, file.bytes));
    }
  }
}
}  // namespace

Json json_of(const StoreFile& file) {
  return {{"name", file.name},   {"source", file.source},        {"source_bytes", file.source_bytes},
          {"bytes", file.bytes}, {"train", json_of(file.train)}, {"held_out", json_of(file.held_out)}};
}
StoreFile store_file_of(const Json& json) {
  return {json.at("name"),
          json.at("source"),
          integer_of<std::uint64_t>(json.at("source_bytes")),
          integer_or(json, "bytes", -1),
          row_of(json.at("train")),
          row_of(json.at("held_out"))};
}

Json json_of(const DocumentCounts& lines) {
  Json broken = Json::object();
  for (std::size_t r = 0; r < kNumBroken; ++r)
    if (lines.broken[r] > 0)
      broken[std::string(name_of(static_cast<Broken>(r)))] = {{"count", lines.broken[r]},
                                                              {"first", lines.first_broken[r]}};
  return {{"documents", lines.documents}, {"broken", broken}};
}
DocumentCounts document_counts_of(const Json& json) {
  DocumentCounts lines;
  lines.documents = integer_of<std::int64_t>(json.at("documents"));
  for (std::size_t r = 0; r < kNumBroken; ++r)
    if (const auto at = json.at("broken").find(name_of(static_cast<Broken>(r))); at != json.at("broken").end()) {
      lines.broken[r] = integer_of<std::int64_t>(at->at("count"));
      lines.first_broken[r] = at->at("first");
    }
  return lines;
}

std::string manifest_file(const std::string& folder) { return folder + "/manifest.json"; }

bool is_store(const std::string& path) {
  std::error_code error;
  return fs::is_directory(path, error) && fs::exists(manifest_file(path), error);
}

std::string Manifest::to_json() const {
  Json list = Json::array();
  for (const StoreFile& file : files) list.push_back(json_of(file));
  const Json json{{"format", kFormat},
                  {"tokenizer", tokenizer},
                  {"vocab_size", vocab_size},
                  {"end_of_text", end_of_text},
                  {"token_bytes", token_bytes},
                  {"holdout", holdout},
                  {"min_bytes", or_null(min_bytes)},
                  {"max_bytes", or_null(max_bytes)},
                  {"deduplicated", deduplicated},
                  {"pad", or_null(pad)},
                  {"text_bytes", text_bytes},
                  {"lines", json_of(lines)},
                  {"too_short", too_short},
                  {"too_long", too_long},
                  {"duplicates", duplicates},
                  {"files", list}};
  return json.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";  // file names need not be UTF-8
}

Manifest Manifest::read(const std::string& folder) {
  const std::string path = manifest_file(folder);
  if (!is_store(folder))
    throw DataError(
        fmt::format("{}: is no whole token store: it has no manifest.json; `spikesink prepare ... --out {}` "
                    "makes or finishes it",
                    folder, folder));
  const std::string text = read_file(path);
  try {
    const Json json = Json::parse(text);
    if (const int format = integer_of<int>(json.at("format")); format > kFormat)
      throw DataError(
          fmt::format("{}: has format {}, this program knows up to {}; take a newer program", path, format, kFormat));
    Manifest m{.tokenizer = json.at("tokenizer"),
               .vocab_size = integer_of<std::int64_t>(json.at("vocab_size")),
               .end_of_text = integer_of<std::int32_t>(json.at("end_of_text")),
               .token_bytes = integer_of<int>(json.at("token_bytes")),
               .holdout = json.at("holdout"),
               .min_bytes = optional_of(json.at("min_bytes")),
               .max_bytes = optional_of(json.at("max_bytes")),
               .deduplicated = json.at("deduplicated"),
               .pad = json.contains("pad") ? optional_of(json.at("pad")) : std::nullopt,
               .files = {},
               .text_bytes = integer_of<std::int64_t>(json.at("text_bytes")),
               .lines = document_counts_of(json.at("lines")),
               .too_short = integer_of<std::int64_t>(json.at("too_short")),
               .too_long = integer_of<std::int64_t>(json.at("too_long")),
               .duplicates = integer_of<std::int64_t>(json.at("duplicates"))};
    for (const Json& file : json.at("files")) m.files.push_back(store_file_of(file));
    require_sound(m);
    return m;
  } catch (const nlohmann::json::exception& error) {
    throw DataError(fmt::format("{}: is damaged ({}); remove the store and prepare it anew", path, error.what()));
  } catch (const std::range_error& error) {
    throw DataError(fmt::format("{}: is damaged ({}); remove the store and prepare it anew", path, error.what()));
  }
}

std::string Manifest::fingerprint() const {
  std::string text = fmt::format("{}\n{}\n", tokenizer, end_of_text);
  std::int64_t tokens = 0;
  for (const StoreFile& file : files) {
    text += fmt::format("{} {}\n", file.train.tokens, file.train.tokens_crc);
    tokens += file.train.tokens;
  }
  return fmt::format("store of {} tokens in {} files, {:016x}", tokens, files.size(), name_hash(text));
}

}  // namespace spikesink
