#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace spikesink {

/// That one process may be told to read and tokenise with.
inline constexpr std::int64_t kMostThreads = 1024;

struct DataConfig {
  std::vector<std::string> train;
  std::vector<double> weights;
  std::vector<std::string> validation;
  double holdout = 0.005;
  std::string tokenizer = "bytes";
  std::int64_t lanes = 64;
  bool document_mask = false;
  bool begin_of_text = false;
  double max_bad_share = 0.001;
  std::int64_t threads = 0;

  void fields(auto&& v) {
    v("train", train,
      "shards or globs: .jsonl, .jsonl.zst, .jsonl.gz; a line is a JSON object with a string `text`. Or token stores: "
      "folders that `prepare` made. Or bigram_backcopy: a toy task of made text, for the tokenizer bytes");
    v("weights", weights,
      "of several token stores: how much of the samples each gives, as shares of their sum; empty: by size");
    v("validation", validation, "shards to validate on; empty: a part of the training documents is held out");
    v("holdout", holdout, "share of training documents held out, chosen by the hash of their text");
    v("tokenizer", tokenizer,
      "bytes (built in: 256 bytes, end and begin of text), sentencepiece's FILE.model, or tiktoken's FILE.tiktoken");
    v("lanes", lanes, "independent streams that samples are dealt from; the order depends on it, not on the machine");
    v("document_mask", document_mask, "attention stays inside a document");
    v("begin_of_text", begin_of_text, "put a begin-of-text token at the first position of every sample");
    v("max_bad_share", max_bad_share, "share of broken lines and documents above which the run stops");
    v("threads", threads,
      "threads of a rank that read and tokenise ahead; 0: 2, on a GPU all cores of the rank but one, up to 16");
  }
};

/// One line naming the key, the reason and the mend, or empty.
std::string problem_of(const DataConfig& config);

}  // namespace spikesink
