#pragma once
#include <string>
#include <string_view>

namespace spikesink {

/// A tokenizer of Hugging Face's as files that make_tokenizer() reads: tiktoken's ranks, and what goes into the .json
/// beside them (data/tiktoken.h).
struct HfRanks {
  std::string ranks, encoding;
  bool normalises = false;  ///< text is put into Unicode's form NFC first, which is not done here
};

/// Converts the text of a tokenizer.json, where merging by ranks gives exactly the ids that its list of merges gives:
///
///  - byte-level BPE, one pattern that cuts the text, nothing else that changes it (but NFC, which is told);
///  - merges in the order of the ids of what they make;
///  - every token of several bytes is made of the two parts that its bytes come to when they are merged by all lower
///    ranks, and that merge is listed. Then no other merge is ever the next one, whatever else is listed.
///
/// `end`, `begin` (may be empty): names of the special tokens that end and begin a text. DataError, one line that
/// begins with `path`, says what stands against it.
HfRanks convert_tokenizer_json(std::string_view text, const std::string& path, const std::string& end,
                               const std::string& begin);

}  // namespace spikesink
