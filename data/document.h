#pragma once
#include <array>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "data/line_reader.h"

namespace spikesink {

/// Why a line gives no document.
enum class Broken { kNotJson, kNoText, kTextNotString, kBadUtf8, kEmptyText, kTooLong };
inline constexpr std::size_t kNumBroken = 6;
/// "not JSON", "without `text`", ...
std::string_view name_of(Broken reason);

/// What one line holds: a text, or the reason why not.
struct ParsedLine {
  std::string_view text;  ///< empty if broken; valid until this thread parses another line
  std::optional<Broken> broken;
  std::string detail;  ///< in the parser's words
};

/// Reads the string `text` of a JSON object. The line's UTF-8 is checked as a whole, its object in outline: values of
/// other keys are passed over by their brackets and quotes. Of two keys `text` the first counts.
ParsedLine parse_document(std::string_view line);

/// How many lines were read and what became of them.
struct DocumentCounts {
  std::int64_t documents = 0;
  std::array<std::int64_t, kNumBroken> broken{};     ///< by Broken
  std::array<std::string, kNumBroken> first_broken;  ///< "FILE:LINE: detail" of the first of each

  std::int64_t num_broken() const;
  std::int64_t lines() const { return documents + num_broken(); }
  /// "3 not JSON (first FILE:LINE: detail), 1 without `text` (...)", or "none"; one line.
  std::string broken_text() const;
  /// Adds those of lines that come later.
  void add(const DocumentCounts& later);
};

/// Counts for all readers of a run, from any thread, and stops it when too large a share of lines is broken.
class DocumentTally {
 public:
  /// `key`: where the share is set, for messages.
  explicit DocumentTally(double max_bad_share, std::string key = "data.max_bad_share")
      : max_bad_share_(max_bad_share), key_(std::move(key)) {}

  void add_document();
  /// DataError if the broken lines are more than max_bad_share of the lines so far, where fewer than
  /// max(1000, 1 / max_bad_share) lines count as so many: a bad first line stops nothing by itself.
  void add_broken(Broken reason, const std::string& place, const std::string& detail);
  /// As above, but lines count as they are: for one who has read all of the data, once and in order. Lanes that read
  /// at once, and begin anew at a resume, would be judged by chance.
  void judge() const;
  DocumentCounts counts() const;

 private:
  void judge(double lines) const;

  const double max_bad_share_;
  const std::string key_;
  mutable std::mutex mutex_;
  DocumentCounts counts_;
};

/// Goes through the lines of a shard, counting what it reads. A line longer than LineReader::kMaxLineBytes is broken.
class DocumentReader {
 public:
  DocumentReader(std::string path, DocumentTally& tally) : lines_(std::move(path)), tally_(tally) {}

  /// Reads one more line; false at the end of the shard.
  bool next();
  /// The document of the line just read; nothing if the line is blank (and not counted) or broken. Valid until this
  /// thread reads on, here or elsewhere.
  std::optional<std::string_view> text() const { return text_; }
  std::int64_t skip_lines(std::int64_t n) { return lines_.skip_lines(n); }
  /// Lines passed so far.
  std::int64_t line() const { return lines_.line(); }
  /// Bytes of the file, as packed, that were read.
  std::uint64_t file_bytes() const { return lines_.file_bytes(); }

 private:
  LineReader lines_;
  DocumentTally& tally_;
  std::optional<std::string_view> text_;
};

/// In [0, 1), a pure function of the text: documents below data.holdout are kept from training, wherever they stand.
double holdout_draw(std::string_view text);

}  // namespace spikesink
