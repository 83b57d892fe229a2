#include "data/data_record.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <charconv>
#include <exception>
#include <filesystem>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <thread>

#include "data/shards.h"
#include "data/toy/bigram_backcopy.h"
#include "data/train_data.h"
#include "io/atomic_file.h"
#include "io/checksum.h"
#include "io/failure.h"
#include "io/file_descriptor.h"
#include "io/json_integer.h"
#include "io/listing.h"

namespace spikesink {
namespace {
constexpr int kFormat = 1;
constexpr std::array kColumns{"name", "bytes", "ends_crc32c"};  // of a File

std::uint32_t checksum_of_ends(const Shard& shard) {
  const FileDescriptor file = FileDescriptor::open(shard.path, O_RDONLY);
  const auto size = static_cast<std::int64_t>(shard.bytes);
  std::vector<std::byte> bytes(static_cast<std::size_t>(std::min(size, DataRecord::kEnd)));
  const std::span all(bytes);
  std::uint32_t sum = crc32c(all.first(file.read_at(0, all)));
  if (const std::int64_t rest = std::min(size - DataRecord::kEnd, DataRecord::kEnd); rest > 0)
    sum = crc32c(all.first(file.read_at(size - rest, all.first(static_cast<std::size_t>(rest)))), sum);
  return sum;
}

/// Their disk or network may take long for each.
std::vector<std::uint32_t> checksums_of_ends(const std::vector<Shard>& shards) {
  constexpr std::size_t kThreads = 16;
  std::vector<std::uint32_t> sums(shards.size());
  std::atomic<std::size_t> next = 0;
  std::mutex mutex;
  std::exception_ptr failure;
  {
    std::vector<std::jthread> threads;
    for (std::size_t t = 0; t < std::min(kThreads, shards.size()); ++t)
      threads.emplace_back([&] {
        try {
          for (std::size_t i = next++; i < shards.size(); i = next++) sums[i] = checksum_of_ends(shards[i]);
        } catch (...) {
          const std::lock_guard lock(mutex);
          failure = std::current_exception();
        }
      });
  }
  if (failure) std::rethrow_exception(failure);
  return sums;
}

void require_same(const DataRecord& then, const DataRecord& now) {
  constexpr const char* kWhen = "when the run started";
  require_same_data(then.fingerprint, now.fingerprint, kWhen);
  // Their names and sizes are in the fingerprint.
  const auto [was, is] =
      std::ranges::mismatch(then.shards, now.shards, {}, &DataRecord::File::ends, &DataRecord::File::ends);
  if (is != now.shards.end())
    throw DataError(
        fmt::format("data.train: {} is not the file that it was {}, though it has its size: the checksum of its first "
                    "and last {} KiB was {:08x} and is {:08x}; put that file back, or start a new run",
                    is->name, kWhen, DataRecord::kEnd / 1024, was == then.shards.end() ? 0 : was->ends, is->ends));
}

}  // namespace

DataRecord DataRecord::of(const std::vector<std::string>& paths, const std::string& key,
                          const Fingerprint& fingerprint) {
  DataRecord record{.fingerprint = fingerprint, .shards = {}};
  if (is_bigram_backcopy(paths, key) || are_stores(paths, key)) return record;
  const std::vector<Shard> shards = find_shards(paths, key);
  const std::vector<std::uint32_t> ends = checksums_of_ends(shards);
  for (std::size_t i = 0; i < shards.size(); ++i)
    record.shards.push_back({std::filesystem::path(shards[i].path).filename().string(), shards[i].bytes, ends[i]});
  return record;
}

std::string DataRecord::to_json() const {
  auto rows = nlohmann::json::array();
  for (const File& file : shards) rows.push_back({file.name, file.bytes, fmt::format("{:08x}", file.ends)});
  return nlohmann::ordered_json{
      {"format", kFormat}, {"fingerprint", fingerprint}, {"shards", {{"columns", kColumns}, {"rows", rows}}}}
      .dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);  // file names need not be UTF-8
}

DataRecord DataRecord::from_json(const std::string& text) {
  try {
    const auto json = nlohmann::json::parse(text);
    if (const int format = integer_of<int>(json.at("format")); format != kFormat)
      throw DataError(
          fmt::format("is of format {}, this program reads {}; use the version that wrote it", format, kFormat));
    DataRecord record;
    json.at("fingerprint").get_to(record.fingerprint);
    for (const auto& row : json.at("shards").at("rows")) {
      const std::string sum = row.at(2);
      record.shards.push_back({row.at(0), integer_of<std::uint64_t>(row.at(1)), 0});
      if (const auto [rest, error] =
              std::from_chars(sum.data(), sum.data() + sum.size(), record.shards.back().ends, 16);
          error != std::errc{} || rest != sum.data() + sum.size())
        throw DataError("is damaged: " + sum + " is no checksum");
    }
    return record;
  } catch (const nlohmann::json::exception& error) {
    throw DataError(fmt::format("is damaged ({})", error.what()));
  }
}

void keep_data_record(const std::string& file, const DataRecord& now, DataStart start) {
  if (start != DataStart::kBegins) require_target(file);
  if (start == DataStart::kBegins || !is_there(file)) {
    if (start != DataStart::kReplays) write_atomically(file, now.to_json() + "\n");
    return;
  }
  const std::string text = read_file(file);
  std::optional<DataRecord> then;
  try {
    then = DataRecord::from_json(text);
  } catch (const DataError& problem) {
    throw DataError(fmt::format("{}: {}; remove it to go on with the data as it is", file, problem.what()));
  }
  require_same(*then, now);
}

}  // namespace spikesink
