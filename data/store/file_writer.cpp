#include "data/store/file_writer.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "io/atomic_file.h"
#include "io/checksum.h"
#include "io/h5.h"

namespace spikesink {
namespace {
constexpr std::int64_t kStretch = 1 << 20;  // tokens at a time

/// A file that goes away with its descriptor.
FileDescriptor nameless_beside(const std::string& path) {
  const std::string name = unfinished_beside(path);
  FileDescriptor file = FileDescriptor::open(name, O_RDWR | O_CREAT | O_EXCL);
  unlink(name.c_str());
  return file;
}

std::string_view text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}
}  // namespace

StoreFileWriter::StoreFileWriter(std::string path, int token_bytes)
    : path_(std::move(path)),
      token_bytes_(token_bytes),
      train_{.spool = nameless_beside(path_)},
      held_out_{.spool = nameless_beside(path_)} {}

void StoreFileWriter::add(std::span<const std::int32_t> tokens, bool held_out) {
  Row& row = held_out ? held_out_ : train_;
  std::span<const std::byte> bytes = std::as_bytes(tokens);
  if (token_bytes_ == 2) {
    narrow_.resize(tokens.size());
    std::ranges::transform(tokens, narrow_.begin(), [](std::int32_t id) { return static_cast<std::uint16_t>(id); });
    bytes = std::as_bytes(std::span(narrow_));
  }
  row.spool.write(text_of(bytes));
  row.crc = crc32c(bytes, row.crc);
  row.starts.push_back(row.starts.back() + static_cast<std::int64_t>(tokens.size()));
}

template <class T>
TokenRow StoreFileWriter::copy(H5File& file, const std::string& group, Row& row) const {
  const std::int64_t count = row.starts.back();
  file.make<T>(group + "tokens", {count});
  if (lseek(row.spool.get(), 0, SEEK_SET) != 0) throw file_error(row.spool.path(), "read", errno);
  std::vector<T> stretch;
  for (std::int64_t at = 0; at < count; at += kStretch) {
    stretch.resize(static_cast<std::size_t>(std::min(kStretch, count - at)));
    if (row.spool.read(std::as_writable_bytes(std::span(stretch))) != stretch.size() * sizeof(T))
      throw file_error(row.spool.path(), "read", EIO);
    file.write_stretch<T>(group + "tokens", at, stretch);
  }
  file.write<std::int64_t>(group + "documents", row.starts, {static_cast<std::int64_t>(row.starts.size())});
  return {.tokens = count,
          .documents = static_cast<std::int64_t>(row.starts.size()) - 1,
          .tokens_crc = row.crc,
          .documents_crc = crc32c(std::as_bytes(std::span(row.starts)))};
}

StoreFile StoreFileWriter::finish() {
  const std::string unfinished = unfinished_beside(path_);
  try {
    H5File file = H5File::create(unfinished);
    const auto rows = [&]<class T>(T) {
      return std::pair{copy<T>(file, "", train_), copy<T>(file, "held_out/", held_out_)};
    };
    const auto [train, held_out] = token_bytes_ == 2 ? rows(std::uint16_t{}) : rows(std::int32_t{});
    file.attribute("tokens", "meaning", std::string("documents one after another, each with its end-of-text token"));
    file.attribute("documents", "meaning", std::string("where each document begins in tokens, and the end"));
    file.close();
    StoreFile written{.name = {}, .source = {}, .train = train, .held_out = held_out};
    written.bytes = FileDescriptor::open(unfinished, O_RDONLY).size();
    const H5File made = H5File::open(unfinished);
    const auto place = [&](const char* dataset) {
      return token_bytes_ == 2 ? made.place_of<std::uint16_t>(dataset) : made.place_of<std::int32_t>(dataset);
    };
    written.train.tokens_at = place("tokens").offset;
    written.held_out.tokens_at = place("held_out/tokens").offset;
    commit_file(unfinished, path_);
    return written;
  } catch (...) {
    unlink(unfinished.c_str());
    throw;
  }
}

}  // namespace spikesink
