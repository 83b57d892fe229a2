#include "data/store/dedup.h"

#include <fcntl.h>
#include <xxhash.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <filesystem>
#include <span>
#include <system_error>

#include "data/store/source_stamp.h"
#include "io/atomic_file.h"
#include "io/failure.h"
#include "io/file_descriptor.h"

namespace spikesink {
namespace {

/// A document's hash among those of its shard. Files of hashes: a stamp; kBuckets + 1 numbers, where each bucket begins
/// and the end; and the entries.
struct Entry {
  TextHash hash;
  std::uint64_t document = 0;
};
using Begins = std::array<std::uint64_t, kBuckets + 1>;

/// A document that repeats an earlier one. Files of duplicates: a stamp, and sorted rows of these.
struct Repeat {
  std::uint32_t shard = 0, document = 0;
  auto operator<=>(const Repeat&) const = default;
};

template <class T>
std::string_view text_of(const T& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(values[0])};
}

void read_at(const FileDescriptor& file, std::uint64_t offset, std::span<std::byte> to) {
  if (file.read_at(static_cast<std::int64_t>(offset), to) < to.size()) throw file_error(file.path(), "read", EIO);
}

std::vector<Repeat> read_repeats(const FileDescriptor& file, std::uint64_t first, std::uint64_t count) {
  std::vector<Repeat> repeats(count);
  read_at(file, kStampBytes + first * sizeof(Repeat), std::as_writable_bytes(std::span(repeats)));
  return repeats;
}

}  // namespace

TextHash hash_of(std::string_view text) {
  const XXH128_hash_t hash = XXH3_128bits(text.data(), text.size());
  return {hash.high64, hash.low64};
}

std::string stamp_of_hashes(const std::string& path) {
  std::error_code error;
  if (!std::filesystem::exists(path, error)) return "";
  std::string stamp(kStampBytes, '\0');
  read_at(FileDescriptor::open(path, O_RDONLY), 0, std::as_writable_bytes(std::span(stamp)));
  return stamp;
}

void write_hashes(const std::string& path, const std::string& stamp, const std::vector<TextHash>& documents) {
  if (documents.size() >> 32 != 0)
    throw DataError(path + ": its shard has 2^32 documents or more; split it, or leave out --dedup");
  std::vector<Entry> entries;
  for (const TextHash& hash : documents) entries.push_back({hash, entries.size()});
  std::ranges::stable_sort(entries, {}, [](const Entry& e) { return e.hash.bucket(); });
  Begins begins{};
  for (const Entry& entry : entries) ++begins[static_cast<std::size_t>(entry.hash.bucket()) + 1];
  for (std::size_t b = 0; b < kBuckets; ++b) begins[b + 1] += begins[b];
  std::string bytes = stamp;
  bytes += text_of(begins);
  bytes += text_of(entries);
  write_atomically(path, bytes);
}

int num_comparisons(std::uint64_t source_bytes) {
  return static_cast<int>(std::clamp<std::uint64_t>(source_bytes >> 20, 1, kBuckets));
}

void write_duplicates(const Parts& parts, const std::vector<std::string>& stamps, int number, int comparisons) {
  struct Document {
    TextHash hash;
    Repeat place;
    auto operator<=>(const Document&) const = default;
  };
  std::vector<Document> documents;
  std::vector<Entry> entries;
  for (std::size_t shard = 0; shard < stamps.size(); ++shard) {
    const FileDescriptor file = FileDescriptor::open(parts.hashes(static_cast<std::int64_t>(shard)), O_RDONLY);
    std::string stamp(kStampBytes, '\0');
    read_at(file, 0, std::as_writable_bytes(std::span(stamp)));
    if (stamp != stamps[shard])
      throw DataError(file.path() +
                      ": is of another file than this process finds in its shard's place; run again once nobody writes "
                      "the shards");
    Begins begins{};
    read_at(file, kStampBytes, std::as_writable_bytes(std::span(begins)));
    const std::uint64_t first = begins[static_cast<std::size_t>(kBuckets * number / comparisons)];
    const std::uint64_t end = begins[static_cast<std::size_t>(kBuckets * (number + 1) / comparisons)];
    entries.resize(end - first);
    read_at(file, kStampBytes + sizeof(Begins) + first * sizeof(Entry), std::as_writable_bytes(std::span(entries)));
    for (const Entry& entry : entries)
      documents.push_back(
          {entry.hash, {static_cast<std::uint32_t>(shard), static_cast<std::uint32_t>(entry.document)}});
  }
  std::ranges::sort(documents);
  std::vector<Repeat> repeats;
  for (std::size_t i = 1; i < documents.size(); ++i)
    if (documents[i].hash == documents[i - 1].hash) repeats.push_back(documents[i].place);
  std::ranges::sort(repeats);
  std::string bytes = stamp_of_all(stamps);
  bytes += text_of(repeats);
  write_atomically(parts.duplicates(number), bytes);
}

std::vector<std::uint32_t> read_duplicates(const Parts& parts, std::int64_t shard, int comparisons) {
  std::vector<std::uint32_t> documents;
  for (int number = 0; number < comparisons; ++number) {
    const FileDescriptor file = FileDescriptor::open(parts.duplicates(number), O_RDONLY);
    const auto count = (static_cast<std::uint64_t>(file.size()) - kStampBytes) / sizeof(Repeat);
    // The rows are sorted by shard: those of this one by halving.
    const auto first_from = [&](std::int64_t from) {
      std::uint64_t low = 0, high = count;
      while (low < high) {
        const std::uint64_t middle = (low + high) / 2;
        if (read_repeats(file, middle, 1)[0].shard < static_cast<std::uint32_t>(from))
          low = middle + 1;
        else
          high = middle;
      }
      return low;
    };
    const std::uint64_t begin = first_from(shard), end = first_from(shard + 1);
    for (const Repeat& repeat : read_repeats(file, begin, end - begin)) documents.push_back(repeat.document);
  }
  std::ranges::sort(documents);
  return documents;
}

}  // namespace spikesink
