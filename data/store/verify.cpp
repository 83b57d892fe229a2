#include "data/store/verify.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <filesystem>
#include <mutex>
#include <set>
#include <system_error>
#include <thread>

#include "io/checksum.h"
#include "io/failure.h"
#include "io/file_descriptor.h"
#include "io/h5.h"
#include "kernels/core/check.h"

namespace spikesink {
namespace {
namespace fs = std::filesystem;
constexpr std::chrono::milliseconds kTell{500};
constexpr std::int64_t kBlockBytes = std::int64_t{1} << 20;

std::int64_t bytes_of(const Manifest& m, const TokenRow& row) {
  return row.tokens * m.token_bytes + (row.documents + 1) * static_cast<std::int64_t>(sizeof(std::int64_t));
}
std::int64_t bytes_of(const Manifest& m, const StoreFile& file) {
  return bytes_of(m, file.train) + bytes_of(m, file.held_out);
}

/// Counts what is wrong in a like way, and keeps the first place.
struct Kind {
  std::int64_t count = 0, first = 0;
  void note(std::int64_t place) {
    if (count++ == 0) first = place;
  }
};

/// One file of a store.
class FileCheck {
 public:
  FileCheck(const Manifest& manifest, std::string path, std::atomic<std::int64_t>& bytes_done)
      : manifest_(manifest), path_(std::move(path)), bytes_done_(bytes_done) {}

  std::vector<std::string> findings(const StoreFile& file) {
    try {
      const H5File h5 = H5File::open(path_);
      const FileDescriptor raw = FileDescriptor::open(path_, O_RDONLY);
      if (file.bytes >= 0 && raw.size() != file.bytes)
        add("has {} bytes, the manifest says {}", raw.size(), file.bytes);
      require_only(h5, "", {"documents", "held_out", "tokens"});
      if (h5.exists("held_out")) require_only(h5, "held_out", {"documents", "tokens"});
      check_row(h5, raw, "", file.train);
      check_row(h5, raw, "held_out/", file.held_out);
    } catch (const DataError& error) {
      found_.emplace_back(error.what());
    } catch (const std::exception& error) {  // no memory for what the manifest says, or a fault of our own
      add("cannot be checked: {}", error.what());
    }
    return std::move(found_);
  }

 private:
  template <class... Args>
  void add(fmt::format_string<Args...> format, Args&&... args) {
    found_.push_back(path_ + ": " + fmt::format(format, std::forward<Args>(args)...));
  }

  void require_only(const H5File& h5, const std::string& group, const std::set<std::string>& names) {
    for (const std::string& name : h5.children(group))
      if (!names.contains(name)) add("{}{}{}: does not belong", group, group.empty() ? "" : "/", name);
  }

  void check_row(const H5File& h5, const FileDescriptor& raw, const std::string& group, const TokenRow& row) {
    try {
      const std::optional<std::vector<std::int64_t>> starts = documents(h5, group + "documents", row);
      if (manifest_.token_bytes == 2)
        tokens<std::uint16_t>(h5, raw, group + "tokens", row, starts);
      else
        tokens<std::int32_t>(h5, raw, group + "tokens", row, starts);
    } catch (const DataError& error) {  // the other row may still be read
      found_.emplace_back(error.what());
    }
  }

  bool has_count(const std::string& name, std::int64_t count, std::int64_t wanted) {
    if (count == wanted) return true;
    add("{}: holds {} numbers, the manifest says {}", name, count, wanted);
    return false;
  }
  void check_sum(const std::string& name, std::uint32_t sum, std::uint32_t wanted) {
    if (sum != wanted) add("{}: its CRC-32C is {:08x}, the manifest says {:08x}", name, sum, wanted);
  }

  /// Where documents begin; nothing if that is not to be relied on.
  std::optional<std::vector<std::int64_t>> documents(const H5File& h5, const std::string& name, const TokenRow& row) {
    if (!has_count(name, h5.place_of<std::int64_t>(name).count, row.documents + 1)) return std::nullopt;
    std::vector<std::int64_t> starts = h5.read<std::int64_t>(name);
    const auto bytes = std::as_bytes(std::span(starts));
    check_sum(name, crc32c(bytes), row.documents_crc);
    bytes_done_ += static_cast<std::int64_t>(bytes.size());
    Kind no_longer;
    for (std::size_t d = 1; d < starts.size(); ++d)
      if (starts[d] <= starts[d - 1]) no_longer.note(static_cast<std::int64_t>(d) - 1);
    if (starts.front() == 0 && starts.back() == row.tokens && no_longer.count == 0) return starts;
    if (starts.front() != 0) add("{}: the first document begins at token {}, not 0", name, starts.front());
    if (starts.back() != row.tokens)
      add("{}: the last document ends at token {}, not {}", name, starts.back(), row.tokens);
    if (no_longer.count > 0)
      add("{}: {} documents do not end behind their start, the first is document {}", name, no_longer.count,
          no_longer.first);
    return std::nullopt;
  }

  template <class T>
  void tokens(const H5File& h5, const FileDescriptor& raw, const std::string& name, const TokenRow& row,
              const std::optional<std::vector<std::int64_t>>& starts) {
    const H5Place place = h5.place_of<T>(name);
    if (!has_count(name, place.count, row.tokens)) return;
    if (row.tokens_at >= 0 && row.tokens_at != place.offset)
      return add("{}: lies at byte {}, the manifest says {}", name, place.offset, row.tokens_at);
    std::vector<T> block(static_cast<std::size_t>(kBlockBytes) / sizeof(T));
    std::uint32_t sum = 0;
    Kind beyond, inside, without_end;
    std::size_t document = 0;  // that the next end is of
    for (std::int64_t at = 0; at < row.tokens; at += static_cast<std::int64_t>(block.size())) {
      block.resize(std::min(block.size(), static_cast<std::size_t>(row.tokens - at)));
      const auto bytes = std::as_writable_bytes(std::span(block));
      if (raw.read_at(place.offset + at * static_cast<std::int64_t>(sizeof(T)), bytes) != bytes.size())
        return add("{}: the file ends before its last token", name);
      sum = crc32c(bytes, sum);
      bytes_done_ += static_cast<std::int64_t>(bytes.size());
      for (std::size_t i = 0; i < block.size(); ++i) {
        const std::int64_t id = block[i], here = at + static_cast<std::int64_t>(i);
        if (id < 0 || id >= manifest_.vocab_size) beyond.note(here);
        const bool ends = id == manifest_.end_of_text;
        if (!starts) continue;
        if (const bool last = here + 1 == (*starts)[document + 1]; last) {
          if (!ends) without_end.note(static_cast<std::int64_t>(document));
          ++document;
        } else if (ends) {
          inside.note(here);
        }
      }
    }
    check_sum(name, sum, row.tokens_crc);
    if (beyond.count > 0)
      add("{}: {} ids lie outside of the vocabulary of {}, the first is token {}", name, beyond.count,
          manifest_.vocab_size, beyond.first);
    if (without_end.count > 0)
      add("{}: {} documents do not end with the end of text {}, the first is document {}", name, without_end.count,
          manifest_.end_of_text, without_end.first);
    if (inside.count > 0)
      add("{}: {} ends of text stand inside documents, the first is token {}", name, inside.count, inside.first);
  }

  const Manifest& manifest_;
  std::string path_;
  std::atomic<std::int64_t>& bytes_done_;
  std::vector<std::string> found_;
};

std::vector<std::string> foreign_files(const std::string& store, const Manifest& manifest) {
  std::set<std::string> names{"manifest.json"};
  for (const StoreFile& file : manifest.files) names.insert(file.name);
  std::vector<std::string> found;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(store, error))
    if (const std::string name = entry.path().filename().string(); !names.contains(name))
      found.push_back(fmt::format("{}/{}: does not belong to the store", store, name));
  std::ranges::sort(found);
  return found;
}

/// What the manifest says of itself.
std::vector<std::string> contradictions(const std::string& store, const Manifest& m) {
  std::vector<std::string> found;
  const auto say = [&](const std::string& what) { found.push_back(manifest_file(store) + ": " + what); };
  std::set<std::string> names;
  std::int64_t documents = m.too_short + m.too_long + m.duplicates;
  for (const StoreFile& file : m.files) {
    documents += file.train.documents + file.held_out.documents;
    if (!names.insert(file.name).second) say("names " + file.name + " twice");
  }
  if (documents != m.lines.documents)
    say(fmt::format("counts {} documents in its files and left out, but {} in the sources", documents,
                    m.lines.documents));
  return found;
}

}  // namespace

Verification verify_store(const VerifyOptions& options) {
  require(options.threads > 0, "verify: ", options.threads, " threads");
  Verification result{.manifest = Manifest::read(options.store), .findings = {}};
  const Manifest& manifest = result.manifest;
  result.findings = contradictions(options.store, manifest);
  const auto files = static_cast<std::int64_t>(manifest.files.size());
  std::int64_t bytes = 0;
  for (const StoreFile& file : manifest.files) bytes += bytes_of(manifest, file);

  std::vector<std::vector<std::string>> found(manifest.files.size());
  std::atomic<std::int64_t> next = 0, files_done = 0, bytes_done = 0, findings = 0;
  const auto report = [&] {
    if (options.report) options.report({files, files_done, bytes, bytes_done, findings});
  };
  {
    std::mutex mutex;
    std::condition_variable_any wake;
    const std::jthread reporter([&](const std::stop_token& stop) {
      std::unique_lock lock(mutex);
      while (!wake.wait_for(lock, stop, kTell, [&] { return stop.stop_requested(); })) report();
    });
    std::vector<std::jthread> threads;
    for (int t = 0; t < options.threads; ++t)
      threads.emplace_back([&] {
        for (std::int64_t i; (i = next++) < files; ++files_done) {
          const auto f = static_cast<std::size_t>(i);
          const StoreFile& file = manifest.files[f];
          found[f] = FileCheck(manifest, options.store + "/" + file.name, bytes_done).findings(file);
          findings += static_cast<std::int64_t>(found[f].size());
        }
      });
  }
  report();
  for (const auto& of_file : found) result.findings.insert(result.findings.end(), of_file.begin(), of_file.end());
  for (std::string& name : foreign_files(options.store, manifest)) result.findings.push_back(std::move(name));
  result.bytes = bytes_done;
  return result;
}

}  // namespace spikesink
