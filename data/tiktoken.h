#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "data/rank_table.h"
#include "data/tokenizer.h"

namespace spikesink {

/// What a ranks file does not say of its encoding.
struct TiktokenEncoding {
  std::string pattern;                ///< whose matches are the pieces of a text
  std::vector<std::int32_t> special;  ///< ids that no text gives and that give no text; may be ranks too
  std::int32_t end_of_text = 0;
  std::optional<std::int32_t> begin_of_text;
};

/// Whether a file's content starts as a ranks file does: Llama 3 names its own tokenizer.model.
bool looks_like_ranks(std::string_view content);

/// The lines `TOKEN RANK` of a ranks file, tokens in base64; empty lines are skipped. DataError naming path:line.
std::vector<RankTable::Token> parse_ranks(std::string_view content, const std::string& path);

/// By the file PATH.json beside the ranks if there is one, else by the SHA-256 of the ranks file: EleutherAI's
/// gpt-neox-20b as DCLM has it, r50k_base (GPT-2), p50k_base, cl100k_base, Llama 3 (and DCLM's copy of it). DataError
/// for a file that is none of these, which names `key` and what to write, and for a PATH.json that is not right.
///
///     {"encoding": "llama3"}
///     {"pattern": "...", "special_tokens": {"<|end|>": 50000}, "end_of_text": "<|end|>", "begin_of_text": "<|end|>"}
TiktokenEncoding find_encoding(const std::string& path, std::string_view content, const std::string& key);

/// A tokenizer of the file's ranks, with exactly the ids of encode_ordinary() of Python's tiktoken. Bytes that are no
/// UTF-8 become U+FFFD first, as by errors="replace". Decoding gives the bytes as they are.
std::unique_ptr<Tokenizer> make_tiktoken(const std::string& path, std::string_view content, const std::string& key);

}  // namespace spikesink
