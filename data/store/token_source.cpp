#include "data/store/token_source.h"

#include <fmt/format.h>

#include <filesystem>
#include <system_error>
#include <utility>

#include "io/failure.h"

namespace spikesink {

bool is_token_file(const std::string& path) { return path.ends_with(".tar") || path.ends_with(".bin"); }

std::optional<std::string> index_of(const std::string& path) {
  if (!path.ends_with(".bin")) return std::nullopt;
  const std::string index = path.substr(0, path.size() - 3) + "idx";
  std::error_code error;
  return std::filesystem::exists(index, error) ? std::optional(index) : std::nullopt;
}

std::unique_ptr<TokenSource> open_tokens(const std::string& path, const Tokenizer& tokenizer,
                                         std::optional<std::int64_t> pad) {
  if (path.ends_with(".tar")) return open_tokshuf(path, tokenizer, pad);
  const auto index = index_of(path);
  return index ? open_megatron(path, *index) : open_llmc(path);
}

TokenDocuments::TokenDocuments(const std::string& path, const Tokenizer& tokenizer, std::optional<std::int64_t> pad)
    : path_(path),
      tokenizer_(tokenizer),
      may_pad_(path.ends_with(".tar")),
      source_(open_tokens(path, tokenizer, pad)) {}

bool TokenDocuments::next() {
  ids_.clear();
  const auto is_document = [this] {
    if (ids_.empty()) return false;
    ++counts_.documents;
    return gave_ = true;
  };
  while (at_ < chunk_.ids.size() || refill()) {
    while (at_ < chunk_.ids.size()) {
      const std::int64_t id = chunk_.ids[at_++];
      const bool first = std::exchange(fresh_, false);
      if (id != tokenizer_.end_of_text())
        ids_.push_back(checked(id));
      else if (is_document())
        return true;
      else if (!first)
        count_empty();
    }
    if (!chunk_.ends) continue;
    if (is_document()) return true;
    if (!gave_ && chunk_.pad == 0) count_empty();
  }
  return is_document();  // the last may have no end of text
}

bool TokenDocuments::refill() {
  if (over_) return false;
  passed_ += static_cast<std::int64_t>(chunk_.ids.size()) + chunk_.pad;
  if (chunk_.ends) {
    fresh_ = true;
    gave_ = false;
  }
  chunk_ = {};
  at_ = 0;
  over_ = !source_->next(chunk_);
  return !over_;
}

std::int32_t TokenDocuments::checked(std::int64_t id) const {
  if (id >= 0 && id < tokenizer_.vocab_size()) return static_cast<std::int32_t>(id);
  throw DataError(
      fmt::format("{}: token {} has id {}, but the tokenizer {} has {}; name the tokenizer that it was made "
                  "with{}",
                  path_, passed_ + static_cast<std::int64_t>(at_) - 1, id, tokenizer_.name(), tokenizer_.vocab_size(),
                  may_pad_ ? ", or what fills contexts up by --pad" : ""));
}

void TokenDocuments::count_empty() {
  constexpr auto kEmpty = static_cast<std::size_t>(Broken::kEmptyText);
  if (counts_.broken[kEmpty]++ == 0)
    counts_.first_broken[kEmpty] =
        fmt::format("{}: token {}: a document of no tokens", path_, passed_ + static_cast<std::int64_t>(at_));
}

}  // namespace spikesink
