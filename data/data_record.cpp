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
constexpr int kRecordFormat = 1;
constexpr std::array kFileColumns{"name", "bytes", "ends_crc32c"};  // of a File

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
std::vector<std::optional<std::uint32_t>> checksums_of_ends(const std::vector<Shard>& shards,
                                                            const DataRecord::Share& share) {
  constexpr std::size_t kThreads = 16;
  const auto place = static_cast<std::size_t>(share.place), of = static_cast<std::size_t>(share.of);
  const std::size_t count = std::min(shards.size(), std::max(share.kFewest, (shards.size() + of - 1) / of));
  const std::size_t first = place * count;
  std::vector<std::optional<std::uint32_t>> sums(shards.size());
  std::atomic<std::size_t> next = 0;
  std::mutex mutex;
  std::exception_ptr failure;
  {
    std::vector<std::jthread> threads;
    for (std::size_t t = 0; t < std::min(kThreads, count); ++t)
      threads.emplace_back([&] {
        try {
          for (std::size_t n = next++; n < count; n = next++) {
            const std::size_t i = (first + n) % shards.size();
            sums[i] = checksum_of_ends(shards[i]);
          }
        } catch (...) {
          const std::lock_guard lock(mutex);
          failure = std::current_exception();
        }
      });
  }
  if (failure) std::rethrow_exception(failure);
  return sums;
}

std::string hex(std::uint32_t sum) { return fmt::format("{:08x}", sum); }

std::uint32_t from_hex(const std::string& text) {
  std::uint32_t sum = 0;
  if (const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), sum, 16);
      error != std::errc{} || rest != text.data() + text.size())
    throw DataError("is damaged: " + text + " is no checksum");
  return sum;
}

nlohmann::ordered_json json_of(const DataRecord::HeldOut& held_out) {
  auto sums = nlohmann::json::array();
  for (const std::uint32_t sum : held_out.sequences) sums.push_back(hex(sum));
  return {{"from", held_out.from}, {"asked", held_out.asked}, {"crc32c", std::move(sums)}};
}

DataRecord::HeldOut held_out_of(const nlohmann::json& json) {
  DataRecord::HeldOut held_out{
      .from = json.at("from"), .asked = integer_of<std::int64_t>(json.at("asked")), .sequences = {}};
  for (const auto& sum : json.at("crc32c")) held_out.sequences.push_back(from_hex(sum));
  return held_out;
}

}  // namespace

DataRecord DataRecord::of(const std::vector<std::string>& paths, const std::string& key, const Fingerprint& fingerprint,
                          const Share& share) {
  DataRecord record{.fingerprint = fingerprint, .shards = {}};
  if (is_bigram_backcopy(paths, key) || are_stores(paths, key)) return record;
  const std::vector<Shard> shards = find_shards(paths, key);
  const auto ends = checksums_of_ends(shards, share);
  for (std::size_t i = 0; i < shards.size(); ++i)
    record.shards.push_back({std::filesystem::path(shards[i].path).filename().string(), shards[i].bytes, ends[i]});
  return record;
}

DataRecord::HeldOut DataRecord::HeldOut::of(const DataConfig& config, std::span<const std::int32_t> samples,
                                            std::int64_t context, std::int64_t asked) {
  HeldOut held_out{
      .from = config.validation.empty() ? "data.train" : "data.validation", .asked = asked, .sequences = {}};
  const auto length = static_cast<std::size_t>(context + 1);
  for (std::size_t at = 0; at + length <= samples.size(); at += length)
    held_out.sequences.push_back(crc32c(std::as_bytes(samples.subspan(at, length))));
  return held_out;
}

std::string DataRecord::to_json() const {
  auto rows = nlohmann::json::array();
  for (const File& file : shards) rows.push_back({file.name, file.bytes, hex(file.ends.value())});
  return nlohmann::ordered_json{{"format", kRecordFormat},
                                {"fingerprint", fingerprint},
                                {"shards", {{"columns", kFileColumns}, {"rows", rows}}},
                                {"held_out", json_of(held_out)}}
      .dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);  // file names need not be UTF-8
}

DataRecord DataRecord::from_json(const std::string& text) {
  try {
    const auto json = nlohmann::json::parse(text);
    if (const int format = integer_of<int>(json.at("format")); format != kRecordFormat)
      throw DataError(
          fmt::format("is of format {}, this program reads {}; use the version that wrote it", format, kRecordFormat));
    DataRecord record;
    json.at("fingerprint").get_to(record.fingerprint);
    for (const auto& row : json.at("shards").at("rows"))
      record.shards.push_back({row.at(0), integer_of<std::uint64_t>(row.at(1)), from_hex(row.at(2))});
    if (json.contains("held_out")) record.held_out = held_out_of(json["held_out"]);  // not in older ones
    return record;
  } catch (const nlohmann::json::exception& error) {
    throw DataError(fmt::format("is damaged ({})", error.what()));
  }
}

std::optional<DataDifference> difference(const DataRecord::HeldOut& then, const DataRecord::HeldOut& now) {
  if (then.asked == 0) return std::nullopt;
  const auto [was, is] = std::ranges::mismatch(then.sequences, now.sequences);
  if (was != then.sequences.end() && is != now.sequences.end())
    return DataDifference{fmt::format("{}: the checksum of sequence {} of those that probes measure", now.from,
                                      is - now.sequences.begin() + 1),
                          hex(*was), hex(*is)};
  // Who was given fewer than it asked for had all that there are.
  const auto fits = [](const DataRecord::HeldOut& a, const DataRecord::HeldOut& b) {
    return std::ssize(a.sequences) >= a.asked || std::ssize(b.sequences) == std::min(std::ssize(a.sequences), b.asked);
  };
  if (fits(then, now) && fits(now, then)) return std::nullopt;
  return DataDifference{now.from + ": the number of sequences that probes can measure",
                        std::to_string(then.sequences.size()), std::to_string(now.sequences.size())};
}

std::optional<DataDifference> difference(const DataRecord& then, const DataRecord& now) {
  if (auto other = difference(then.fingerprint, now.fingerprint)) return other;
  // Their names and sizes are in the fingerprint.
  const auto same_ends = [](const DataRecord::File& a, const DataRecord::File& b) {
    return !a.ends || !b.ends || a.ends == b.ends;
  };
  const auto [was, is] = std::ranges::mismatch(then.shards, now.shards, same_ends);
  const auto shown = [](std::optional<std::uint32_t> ends) { return ends ? hex(*ends) : "not there"; };
  if (is != now.shards.end())
    return DataDifference{
        fmt::format("data.train: {} is another file of the same size: the checksum of its first and last {} KiB",
                    is->name, DataRecord::kEnd / 1024),
        shown(was == then.shards.end() ? std::nullopt : was->ends), shown(is->ends)};
  return difference(then.held_out, now.held_out);
}

DataRecord read_data_record(const std::string& file) {
  const std::string text = read_file(file);
  try {
    return DataRecord::from_json(text);
  } catch (const DataError& problem) {
    throw DataError(fmt::format("{}: {}; remove it to go on with the data as it is", file, problem.what()));
  }
}

void keep_data_record(const std::string& file, const DataRecord& now, DataStart start) {
  if (start != DataStart::kBegins) require_target(file);
  if (start == DataStart::kBegins || !is_there(file)) {
    if (start != DataStart::kReplays) write_atomically(file, now.to_json() + "\n");
    return;
  }
  DataRecord then = read_data_record(file);
  if (start == DataStart::kReplays) then.held_out = {};
  if (const auto other = difference(then, now))
    throw DataError(fmt::format("{} is {}, but was {} when the run started; put that data back, or start a new run",
                                other->what, other->now, other->then));
  if (start == DataStart::kReplays || now.held_out.asked <= then.held_out.asked) return;
  then.held_out = now.held_out;
  write_atomically(file, then.to_json() + "\n");
}

}  // namespace spikesink
