#pragma once
#include <fmt/format.h>
#include <sys/resource.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <functional>
#include <stdexcept>
#include <string>
#include <vector>

#include "data/tokenizer.h"
#include "io/failure.h"
#include "kernels/core/random.h"

namespace spikesink::test {
namespace fs = std::filesystem;

/// While it lives this process may take only so many bytes of address space more.
class MemoryLimit {
 public:
  explicit MemoryLimit(rlim_t bytes) {
    std::int64_t pages = 0;
    std::ifstream("/proc/self/statm") >> pages;
    getrlimit(RLIMIT_AS, &before_);
    rlimit limit = before_;
    limit.rlim_cur = static_cast<rlim_t>(pages * sysconf(_SC_PAGESIZE)) + bytes;
    setrlimit(RLIMIT_AS, &limit);
  }
  ~MemoryLimit() { setrlimit(RLIMIT_AS, &before_); }
  MemoryLimit(const MemoryLimit&) = delete;
  MemoryLimit& operator=(const MemoryLimit&) = delete;

 private:
  rlimit before_{};
};

/// A fresh folder, removed at the end.
class Scratch {
 public:
  Scratch() {
    std::string name = (fs::temp_directory_path() / "spikesink-data-XXXXXX").string();
    if (!mkdtemp(name.data())) throw std::runtime_error("no folder for the test's files");
    path_ = name;
  }
  ~Scratch() { fs::remove_all(path_); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  std::string operator/(const std::string& name) const { return (path_ / name).string(); }

 private:
  fs::path path_;
};

inline void write(const std::string& path, const std::string& bytes) { std::ofstream(path, std::ios::binary) << bytes; }

inline std::string zstd_frame(const std::string& text) {
  std::string out(ZSTD_compressBound(text.size()), '\0');
  out.resize(ZSTD_compress(out.data(), out.size(), text.data(), text.size(), 3));
  return out;
}

inline std::string gzip_member(const std::string& text) {
  z_stream stream{};
  deflateInit2(&stream, 6, Z_DEFLATED, MAX_WBITS + 16, 8, Z_DEFAULT_STRATEGY);
  std::string in = text, out(deflateBound(&stream, text.size()) + 64, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(in.data());
  stream.avail_in = static_cast<uInt>(in.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  deflate(&stream, Z_FINISH);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

/// The text as a file of the kind that the name says, in several frames or members.
inline void write_packed(const std::string& path, const std::string& text, int parts = 3) {
  std::string bytes;
  for (int i = 0; i < parts; ++i) {
    const std::size_t from = text.size() * static_cast<std::size_t>(i) / static_cast<std::size_t>(parts);
    const std::size_t to = text.size() * static_cast<std::size_t>(i + 1) / static_cast<std::size_t>(parts);
    const std::string part = text.substr(from, to - from);
    bytes += path.ends_with(".zst") ? zstd_frame(part) : path.ends_with(".gz") ? gzip_member(part) : part;
  }
  write(path, bytes);
}

/// One line with the text as it stands: it must need no escapes.
inline std::string line_of(const std::string& text) { return fmt::format("{{\"text\": \"{}\"}}\n", text); }

/// The message of the Failure that `call` throws; checked to be one line without a full stop. Empty if none comes.
inline std::string failure_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const Failure& failure) {
    const std::string message = failure.what();
    if (message.find('\n') != message.npos || message.ends_with(".")) return "badly formed: " + message;
    return message;
  }
  return "";
}

/// Texts "17:5" are document 17 of 5 tokens, each token another number: 17 * 1000 + 0 .. 4. 0 ends, 1 begins.
class NumberedTokens : public Tokenizer {
 public:
  static constexpr std::int32_t kDocument = 1000;
  void encode(std::string_view text, std::vector<std::int32_t>& ids) const override {
    const std::size_t colon = text.find(':');
    const int document = std::stoi(std::string(text.substr(0, colon)));
    const int count = std::stoi(std::string(text.substr(colon + 1)));
    for (int i = 0; i < count; ++i) ids.push_back(document * kDocument + i);
  }
  std::string decode(std::span<const std::int32_t>) const override { return ""; }
  std::int64_t vocab_size() const override { return std::int64_t{1} << 31; }
  std::int32_t end_of_text() const override { return 0; }
  std::optional<std::int32_t> begin_of_text() const override { return 1; }
  std::string name() const override { return "numbered"; }
};

/// The same, but texts that begin with '!' have no ids.
class RefusingTokens final : public NumberedTokens {
 public:
  void encode(std::string_view text, std::vector<std::int32_t>& ids) const override {
    if (text.starts_with('!')) throw DataError("no ids for this");
    NumberedTokens::encode(text, ids);
  }
};

/// Number of tokens of numbered document d > 0: from 1 to 60, some longer than several samples.
inline int length_of(int document) {
  return document % 13 == 0 ? 200
                            : static_cast<int>(1 + Random{.seed = 3}.below(static_cast<std::uint64_t>(document), 60));
}

/// Shards "<folder>/s<i>.jsonl[.zst|.gz]" of numbered documents 1 .. count, dealt in runs; all patterns to name them.
inline std::vector<std::string> write_numbered(const Scratch& folder, int count, int shards) {
  static constexpr std::array<const char*, 3> kEndings{".jsonl", ".jsonl.zst", ".jsonl.gz"};
  for (int s = 0; s < shards; ++s) {
    std::string text;
    for (int d = 1 + count * s / shards; d < 1 + count * (s + 1) / shards; ++d)
      text += line_of(fmt::format("{}:{}", d, length_of(d)));
    write_packed(folder / fmt::format("s{:02}{}", s, kEndings[static_cast<std::size_t>(s) % 3]), text);
  }
  return {folder / "*.jsonl*"};
}

}  // namespace spikesink::test
