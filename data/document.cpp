#include "data/document.h"

#include <fmt/format.h>
#include <simdjson.h>

#include <algorithm>
#include <numeric>
#include <utility>
#include <vector>

#include "io/failure.h"
#include "kernels/core/random.h"

namespace spikesink {
namespace {
namespace ondemand = simdjson::ondemand;

constexpr std::size_t kKeptPadding = std::size_t{4} << 20;  // of a thread's parser, between documents

ParsedLine broken(Broken reason, std::string detail) { return {{}, reason, std::move(detail)}; }

/// simdjson gives one error for bad escapes of every kind; \uD800 to \uDFFF without its other half is no character.
ParsedLine broken(simdjson::error_code error, std::string_view line) {
  if (error == simdjson::UTF8_ERROR) return broken(Broken::kBadUtf8, "a byte sequence that is not UTF-8");
  const bool has_surrogate = line.find("\\ud") != line.npos || line.find("\\uD") != line.npos;
  if (error == simdjson::STRING_ERROR && has_surrogate)
    return broken(Broken::kBadUtf8, "an unpaired surrogate in an escape");
  return broken(Broken::kNotJson, simdjson::error_message(error));
}

/// Whether the key is `text`, which may be written with escapes.
bool is_text(ondemand::field& field) {
  constexpr std::size_t kMost = 4 * 6;  // bytes of \u0074\u0065\u0078\u0074
  if (field.key() == "text") return true;
  bool escapes = false;
  const char* raw = field.key().raw();
  for (std::size_t i = 0; i <= kMost && raw[i] != '"'; ++i) escapes = escapes || raw[i] == '\\';
  std::string_view key;
  return escapes && field.unescaped_key().get(key) == simdjson::SUCCESS && key == "text";
}

}  // namespace

std::string_view name_of(Broken reason) {
  static constexpr std::array<std::string_view, kNumBroken> kNames{
      "not JSON", "without `text`", "with a `text` that is no string", "not UTF-8", "with an empty `text`", "too long"};
  return kNames[static_cast<std::size_t>(reason)];
}

ParsedLine parse_document(std::string_view line) {
  thread_local ondemand::parser parser;
  thread_local std::vector<char> padded;  // simdjson reads beyond the end
  if (padded.size() > kKeptPadding && line.size() < kKeptPadding / 2) {
    parser = ondemand::parser();
    padded = {};
  }
  padded.resize(std::max(padded.size(), line.size() + simdjson::SIMDJSON_PADDING));
  std::copy(line.begin(), line.end(), padded.begin());

  ondemand::document document;
  if (const auto error = parser.iterate(padded.data(), line.size(), padded.size()).get(document))
    return broken(error, line);
  ondemand::json_type type{};
  if (const auto error = document.type().get(type)) return broken(error, line);
  if (type != ondemand::json_type::object) return broken(Broken::kNotJson, "not a JSON object");
  ondemand::object object;
  if (const auto error = document.get_object().get(object)) return broken(error, line);

  std::optional<std::string_view> text;
  bool text_of_other_type = false;
  for (auto entry : object) {
    ondemand::field field;
    if (const auto error = std::move(entry).get(field)) return broken(error, line);
    if (text || text_of_other_type || !is_text(field)) continue;
    if (const auto error = field.value().type().get(type)) return broken(error, line);
    std::string_view value;
    text_of_other_type = type != ondemand::json_type::string;
    if (text_of_other_type) continue;
    if (const auto error = field.value().get_string().get(value)) return broken(error, line);
    text = value;
  }
  const char* rest = nullptr;  // an error is what simdjson says at the end
  if (document.current_location().get(rest) == simdjson::SUCCESS)
    return broken(Broken::kNotJson, "more follows the object");
  if (text_of_other_type) return broken(Broken::kTextNotString, "the value of `text` is no string");
  if (!text) return broken(Broken::kNoText, "the object has no key `text`");
  if (text->empty()) return broken(Broken::kEmptyText, "the value of `text` is empty");
  if (!simdjson::validate_utf8(text->data(), text->size()))
    return broken(Broken::kBadUtf8, "an unpaired surrogate in an escape");
  return {*text, std::nullopt, {}};
}

std::int64_t DocumentCounts::num_broken() const { return std::reduce(broken.begin(), broken.end()); }

std::string DocumentCounts::broken_text() const {
  std::string text;
  for (std::size_t i = 0; i < kNumBroken; ++i)
    if (broken[i] > 0)
      text += fmt::format("{}{} {} (first {})", text.empty() ? "" : ", ", broken[i], name_of(static_cast<Broken>(i)),
                          one_line(first_broken[i]));
  return text.empty() ? "none" : text;
}

void DocumentCounts::add(const DocumentCounts& later) {
  documents += later.documents;
  for (std::size_t i = 0; i < kNumBroken; ++i) {
    if (broken[i] == 0) first_broken[i] = later.first_broken[i];
    broken[i] += later.broken[i];
  }
}

void DocumentTally::add_document() {
  const std::lock_guard lock(mutex_);
  ++counts_.documents;
}

void DocumentTally::add_broken(Broken reason, const std::string& place, const std::string& detail) {
  const std::lock_guard lock(mutex_);
  const auto i = static_cast<std::size_t>(reason);
  if (counts_.broken[i]++ == 0) counts_.first_broken[i] = place + ": " + detail;
  const auto lines = static_cast<double>(counts_.lines());
  judge(max_bad_share_ > 0 ? std::max({lines, 1000.0, 1 / max_bad_share_}) : lines);
}

void DocumentTally::judge() const {
  const std::lock_guard lock(mutex_);
  judge(static_cast<double>(counts_.lines()));
}

void DocumentTally::judge(double lines) const {
  if (static_cast<double>(counts_.num_broken()) <= max_bad_share_ * lines) return;
  throw DataError(fmt::format(
      "data: {} of {} lines are broken, above {} {}: {}; raise {} to go on, or mend the shards for a new run",
      counts_.num_broken(), counts_.lines(), key_, max_bad_share_, counts_.broken_text(), key_));
}

DocumentCounts DocumentTally::counts() const {
  const std::lock_guard lock(mutex_);
  return counts_;
}

bool DocumentReader::next() {
  text_.reset();
  auto line = lines_.next();
  if (!line) return false;
  const auto place = [this] { return fmt::format("{}:{}", lines_.path(), lines_.line()); };
  if (lines_.too_long()) {
    tally_.add_broken(Broken::kTooLong, place(), fmt::format("more than {} bytes", lines_.max_line_bytes()));
    return true;
  }
  constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";
  if (lines_.line() == 1 && line->starts_with(kByteOrderMark)) line->remove_prefix(kByteOrderMark.size());
  if (line->find_first_not_of(" \t\r") == line->npos) return true;
  const ParsedLine parsed = parse_document(*line);
  if (parsed.broken) {
    tally_.add_broken(*parsed.broken, place(), parsed.detail);
  } else {
    tally_.add_document();
    text_ = parsed.text;
  }
  return true;
}

double holdout_draw(std::string_view text) {
  return Random{.seed = name_hash(text), .stream = name_hash("data.holdout")}.uniform(0);
}

}  // namespace spikesink
