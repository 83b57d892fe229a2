#include "io/safetensors.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "io/atomic_file.h"
#include "io/failure.h"
#include "io/safetensors_header.h"

namespace spikesink {
namespace fs = std::filesystem;
namespace {
constexpr std::uint64_t kMostHeader = 100'000'000;  // bytes; the format's own limit
constexpr std::int64_t kPrefix = 8;                 // bytes of the header's length
const std::string kSingle = "model.safetensors", kIndex = "model.safetensors.index.json";

[[noreturn]] void fail(const std::string& path, const std::string& what) {
  throw DataError(fmt::format("{}: {}; the file is damaged or no safetensors file, bring it anew", path, what));
}

/// The tensors' bytes must follow one another from the end of the header to the end of the file.
void require_no_holes(const std::string& path, const std::map<std::string, SafeTensor>& tensors,
                      std::int64_t data_bytes) {
  std::vector<std::pair<const SafeTensor*, const std::string*>> order;
  for (const auto& [name, tensor] : tensors) order.emplace_back(&tensor, &name);
  std::ranges::sort(order, {}, [](const auto& each) { return std::pair(each.first->offset, each.first->bytes); });
  std::int64_t end = 0;
  for (const auto& [tensor, name] : order) {
    if (tensor->offset < end)
      fail(path, fmt::format("tensor {} begins at byte {} of the data, inside another one", shown_name(*name),
                             tensor->offset));
    if (tensor->offset > end)
      fail(path, fmt::format("bytes {} to {} of the data, before tensor {}, belong to none", end, tensor->offset - 1,
                             shown_name(*name)));
    end += tensor->bytes;
    if (end > data_bytes)
      fail(path, fmt::format("tensor {} ends at byte {} of the data, of which there are {}", shown_name(*name), end,
                             data_bytes));
  }
  if (end != data_bytes) fail(path, fmt::format("has {} bytes behind its last tensor", data_bytes - end));
}

/// {tensor: file's name} of an index.
std::map<std::string, std::string> read_index(const std::string& path) {
  if (std::error_code error; fs::file_size(path, error) > kMostHeader) fail(path, "is too large for an index");
  std::map<std::string, std::string> files;
  try {
    const auto json = nlohmann::json::parse(read_file(path));
    for (const auto& [name, file] : json.at("weight_map").items()) files[name] = file.get<std::string>();
  } catch (const nlohmann::json::exception& error) {
    throw DataError(
        fmt::format("{}: is no index of safetensors files: {}; bring it anew", path, shown_name(error.what())));
  }
  if (files.empty()) fail(path, "names no tensors");
  for (const auto& [name, file] : files)
    if (file.empty() || file == "." || file == ".." || file.find('/') != std::string::npos ||
        file.find('\0') != std::string::npos)
      fail(path, fmt::format("tensor {} lies in '{}', which is no name of a file", shown_name(name), shown_name(file)));
  return files;
}

}  // namespace

std::map<std::string, SafeTensor> read_safetensors_header(const FileDescriptor& file) {
  const std::string& path = file.path();
  std::array<std::byte, kPrefix> prefix{};
  if (file.read_at(0, prefix) != prefix.size()) fail(path, "is too short for a header");
  std::uint64_t length = 0;
  for (std::size_t i = prefix.size(); i-- > 0;) length = length << 8 | static_cast<std::uint64_t>(prefix[i]);
  const std::int64_t left = file.size() - kPrefix;
  if (length > kMostHeader || length > static_cast<std::uint64_t>(std::max<std::int64_t>(left, 0)))
    fail(path, fmt::format("its header is said to have {} bytes, but {} follow and {} is the most there may be", length,
                           left, kMostHeader));
  std::string header(length, '\0');
  if (file.read_at(kPrefix, std::as_writable_bytes(std::span(header))) != header.size())
    fail(path, "ends in its header");
  std::map<std::string, SafeTensor> tensors;
  try {
    tensors = parse_safetensors_header(header);
  } catch (const std::invalid_argument& error) {
    fail(path, error.what());
  }
  const std::int64_t data = kPrefix + static_cast<std::int64_t>(length);
  require_no_holes(path, tensors, file.size() - data);
  for (auto& [name, tensor] : tensors) tensor.offset += data;
  return tensors;
}

Safetensors Safetensors::open(const std::string& folder) {
  Safetensors out;
  out.folder_ = folder;
  const auto add_file = [&](const std::string& path) {
    out.files_.push_back(FileDescriptor::open(path, O_RDONLY));
    return read_safetensors_header(out.files_.back());
  };
  const std::string single = folder + "/" + kSingle, index = folder + "/" + kIndex;
  std::error_code error;
  if (fs::exists(single, error)) {
    out.tensors_ = add_file(single);
    return out;
  }
  if (!fs::exists(index, error))
    throw DataError(
        fmt::format("{}: has neither {} nor {}; other formats are not read: save the model by transformers' "
                    "save_pretrained(DIR, safe_serialization=True)",
                    folder, kSingle, kIndex));
  std::map<std::string, std::vector<std::string>> names_in;
  for (const auto& [name, file] : read_index(index)) names_in[file].push_back(name);
  for (const auto& [file, names] : names_in) {
    const std::string path = folder + "/" + file;
    if (!fs::exists(path, error))
      throw DataError(fmt::format("{}: missing, though {} names it; bring it too", path, kIndex));
    auto tensors = add_file(path);
    for (const std::string& name : names)
      if (!tensors.contains(name))
        fail(path, fmt::format("has no tensor {}, which {} puts here", shown_name(name), kIndex));
    for (auto& [name, tensor] : tensors) {
      if (!std::ranges::binary_search(names, name))
        fail(path, fmt::format("has a tensor {}, which {} does not put here", shown_name(name), kIndex));
      tensor.file = out.files_.size() - 1;
      out.tensors_[name] = std::move(tensor);
    }
  }
  return out;
}

void Safetensors::read(const SafeTensor& tensor, std::int64_t first, std::span<std::byte> to) const {
  const FileDescriptor& file = files_[tensor.file];
  if (file.read_at(tensor.offset + first, to) != to.size()) fail(file.path(), "has become shorter while it was read");
}

SafetensorsWriter::SafetensorsWriter(std::string folder, std::vector<SafeEntry> entries, std::int64_t shard_bytes)
    : folder_(std::move(folder)), entries_(std::move(entries)) {
  for (std::size_t i = 0; i < entries_.size(); ++i) {
    const std::int64_t bytes = bytes_of(entries_[i]);
    if (shards_.empty() || (shards_.back().bytes > 0 && shards_.back().bytes + bytes > shard_bytes))
      shards_.push_back({i, i, 0});
    shards_.back().end = i + 1;
    shards_.back().bytes += bytes;
  }
}

std::string SafetensorsWriter::file_name(std::size_t shard) const {
  return shards_.size() == 1 ? kSingle : fmt::format("model-{:05d}-of-{:05d}.safetensors", shard + 1, shards_.size());
}

void SafetensorsWriter::open_next() {
  for (FileDescriptor& file : file_) file.close();
  const Shard& shard = shards_.at(opened_);
  const std::string header = safetensors_header(std::span(entries_).subspan(shard.begin, shard.end - shard.begin));
  std::string prefix(kPrefix, '\0');
  for (std::size_t i = 0; i < prefix.size(); ++i) prefix[i] = static_cast<char>(header.size() >> 8 * i & 0xff);
  file_.clear();
  file_.push_back(FileDescriptor::open(folder_ + "/" + file_name(opened_), O_WRONLY | O_CREAT | O_TRUNC));
  file_.back().write(prefix + header);
  left_ = shard.bytes;
  ++opened_;
}

void SafetensorsWriter::write(std::span<const std::byte> bytes) {
  if (bytes.empty()) return;
  while (left_ == 0) open_next();
  file_.back().write({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  left_ -= static_cast<std::int64_t>(bytes.size());
}

void SafetensorsWriter::close() {
  while (opened_ < shards_.size()) open_next();  // of tensors without elements
  for (FileDescriptor& file : file_) file.close();
  if (shards_.size() < 2) return;
  nlohmann::ordered_json index;
  std::int64_t total = 0;
  for (const Shard& shard : shards_) total += shard.bytes;
  index["metadata"]["total_size"] = total;
  for (std::size_t s = 0; s < shards_.size(); ++s)
    for (std::size_t i = shards_[s].begin; i < shards_[s].end; ++i)
      index["weight_map"][entries_[i].name] = file_name(s);
  write_atomically(folder_ + "/" + kIndex, index.dump(2) + "\n");
}

}  // namespace spikesink
