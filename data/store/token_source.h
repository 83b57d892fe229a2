#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "data/document.h"
#include "data/shards.h"
#include "data/tokenizer.h"

namespace spikesink {

/// A stretch of a file of token ids that others prepared.
struct TokenChunk {
  std::vector<std::int64_t> ids;
  bool ends = false;     ///< a document does not go on beyond it
  std::int64_t pad = 0;  ///< ids at its end that were left out, since they only fill it up
};

/// Reads a file of token ids front to back. Errors are DataErrors of one line that name the file and where in it.
class TokenSource {
 public:
  virtual ~TokenSource() = default;
  /// Reads one more stretch; false at the end of the file.
  virtual bool next(TokenChunk& chunk) = 0;
  virtual std::uint64_t file_bytes() const = 0;  ///< read so far
};

/// The index of Megatron-LM that lies beside a .bin, if one does.
std::optional<std::string> index_of(const std::string& path);
/// Whether a file has token ids rather than text, by its name: .tar or .bin.
bool is_token_file(const std::string& path);

/// Kinds, told by name and first bytes:
///   .tar       contexts as DCLM's tokshuf-rs writes them: members .json or .json.gz, each an array of ids. Each is a
///              stretch of its own. Ids `pad` at its end, behind an end of text, are left out. In a context with the
///              tokenizer's begin of text (Llama 3) each is left out, and 0 before it, before the padding and at the
///              context's end is the end of text, as tokshuf writes it.
///              Source: github.com/mlfoundations/dclm, rust_processing/tokshuf-rs.
///   .bin+.idx  Megatron-LM's IndexedDataset, its index beside it; a document is a stretch.
///              Source: github.com/NVIDIA/Megatron-LM, megatron/core/datasets/indexed_dataset.py. Memory: 20 bytes a
///              sequence.
///   .bin       llm.c's: 256 words of header, and ids of 2 or 4 bytes.
///              Source: github.com/karpathy/llm.c, dev/data/data_common.py.
std::unique_ptr<TokenSource> open_tokens(const std::string& path, const Tokenizer& tokenizer,
                                         std::optional<std::int64_t> pad);
std::unique_ptr<TokenSource> open_tokshuf(const std::string& path, const Tokenizer& tokenizer,
                                          std::optional<std::int64_t> pad);
std::unique_ptr<TokenSource> open_megatron(const std::string& path, const std::string& index);
std::unique_ptr<TokenSource> open_llmc(const std::string& path);

/// The documents of a file of token ids: what lies between ends of text, and ends of stretches. An end of text at the
/// front of a stretch begins the next document; two in a row have an empty one between them, which is counted as such.
class TokenDocuments {
 public:
  TokenDocuments(const std::string& path, const Tokenizer& tokenizer, std::optional<std::int64_t> pad);

  /// Reads one more; false at the end. DataError for ids beyond the tokenizer's vocabulary.
  bool next();
  /// Its ids, without an end of text. Valid until the next call.
  std::span<const std::int32_t> ids() const { return ids_; }
  const DocumentCounts& counts() const { return counts_; }
  std::uint64_t file_bytes() const { return source_->file_bytes(); }

 private:
  bool refill();
  std::int32_t checked(std::int64_t id) const;
  void count_empty();

  std::string path_;
  const Tokenizer& tokenizer_;
  bool may_pad_;
  std::unique_ptr<TokenSource> source_;
  TokenChunk chunk_;
  std::size_t at_ = 0;       // in chunk_
  std::int64_t passed_ = 0;  // ids of the chunks before
  bool fresh_ = true;        // nothing of this stretch was seen
  bool gave_ = false;        // this stretch had a document
  bool over_ = false;
  std::vector<std::int32_t> ids_;
  DocumentCounts counts_;
};

}  // namespace spikesink
