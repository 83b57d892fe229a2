#include "data/store/token_store.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <optional>
#include <utility>

#include "io/failure.h"
#include "io/file_descriptor.h"
#include "io/h5.h"
#include "io/open_files.h"
#include "kernels/core/check.h"

namespace spikesink {
namespace {

/// A file's place in the row of all tokens.
struct Stretch {
  explicit Stretch(std::int64_t first) : begin(first) {}
  Stretch(const Stretch& other) : begin(other.begin) {}  // of files that nobody has looked into

  std::int64_t begin;                     ///< of its first token
  std::atomic<std::int64_t> offset = -1;  ///< bytes before its tokens; below 0: the file was not looked into yet
};

void read_bytes(const FileDescriptor& file, std::int64_t offset, std::span<std::byte> to) {
  if (file.read_at(offset, to) < to.size())
    throw DataError(file.path() +
                    ": ends before its last token; the file is cut off, remove the store and prepare it anew");
}

}  // namespace

struct TokenStore::State {
  std::string folder;
  StorePart part;
  Manifest manifest;
  std::int64_t tokens = 0, documents = 0;

  std::vector<Stretch> stretches;  // of each file
  std::optional<OpenFiles> files;

  std::string name(const char* dataset) const {
    return part == StorePart::kTrain ? dataset : std::string("held_out/") + dataset;
  }
  const TokenRow& row(std::size_t f) const {
    return part == StorePart::kTrain ? manifest.files[f].train : manifest.files[f].held_out;
  }
  std::string path(std::size_t f) const { return folder + "/" + manifest.files[f].name; }

  /// The open file and the bytes before its tokens. Threads open files beside one another: HDF5, which would let in one
  /// at a time, is asked of stores of earlier programs only, whose manifest does not say where tokens lie.
  std::pair<OpenFiles::File, std::int64_t> open(std::size_t f) {
    std::int64_t offset = row(f).tokens_at;
    if (offset < 0) offset = stretches[f].offset;
    if (offset < 0) stretches[f].offset = offset = look_into(f);
    OpenFiles::File file = files->find(f);
    if (!file) {
      FileDescriptor opened = FileDescriptor::open(path(f), O_RDONLY, &OpenFiles::make_room);
      if (const std::int64_t said = manifest.files[f].bytes; said >= 0 && opened.size() != said)
        throw DataError(
            fmt::format("{}: has {} bytes, but the store's manifest says {}; the file is cut off or of another store, "
                        "put the right one back or remove the store and prepare it anew",
                        path(f), opened.size(), said));
      file = files->keep(f, std::move(opened));
    }
    return {std::move(file), offset};
  }

  std::int64_t look_into(std::size_t f) const {
    const H5File file = H5File::open(path(f));
    const H5Place place = manifest.token_bytes == 2 ? file.place_of<std::uint16_t>(name("tokens"))
                                                    : file.place_of<std::int32_t>(name("tokens"));
    if (place.count != row(f).tokens)
      throw DataError(
          fmt::format("{}: holds {} tokens, but the store's manifest says {}; the file is of another store, "
                      "put the right one back or remove the store and prepare it anew",
                      path(f), place.count, row(f).tokens));
    return place.offset;
  }

  void require_ids(std::size_t f, std::span<const std::int32_t> ids) const {
    for (const std::int32_t id : ids)
      if (id < 0 || id >= manifest.vocab_size)
        throw DataError(
            fmt::format("{}: holds token {}, but its vocabulary has {}; the file is damaged: `spikesink data "
                        "verify {}` names what else is",
                        path(f), id, manifest.vocab_size, folder));
  }

  void read(std::size_t f, std::int64_t at, std::span<std::int32_t> to) {
    const auto [file, offset] = open(f);
    if (manifest.token_bytes == 4) {
      read_bytes(*file, offset + 4 * at, std::as_writable_bytes(to));
    } else {
      // In place: the narrow ids in the second half, widened from the front on.
      const std::span<std::byte> half = std::as_writable_bytes(to).subspan(2 * to.size());
      read_bytes(*file, offset + 2 * at, half);
      const auto* narrow = reinterpret_cast<const unsigned char*>(half.data());
      for (std::size_t i = 0; i < to.size(); ++i) to[i] = narrow[2 * i] | narrow[2 * i + 1] << 8;
    }
    require_ids(f, to);
  }

  /// Calls f(file, first token in it, how many of it) for the files that [first, first + count) lies in.
  void for_files(std::int64_t first, std::int64_t count, auto&& visit) const {
    require(first >= 0 && count >= 0 && first + count <= tokens, "store: tokens ", first, " and ", count,
            " from there, of ", tokens);
    const auto after = std::ranges::upper_bound(stretches, first, {}, &Stretch::begin);
    for (auto f = static_cast<std::size_t>(after - stretches.begin()) - 1; count > 0; ++f) {
      const std::int64_t at = first - stretches[f].begin, here = std::min(count, row(f).tokens - at);
      if (here > 0) visit(f, at, here);
      first += here;
      count -= here;
    }
  }
};

TokenStore::TokenStore(const std::string& folder, StorePart part) : state_(std::make_unique<State>()) {
  State& s = *state_;
  s.folder = folder;
  s.part = part;
  s.manifest = Manifest::read(folder);
  for (std::size_t f = 0; f < s.manifest.files.size(); ++f) {
    s.stretches.emplace_back(s.tokens);
    s.tokens += s.row(f).tokens;
    s.documents += s.row(f).documents;
  }
  s.files.emplace(s.stretches.size());
}
TokenStore::~TokenStore() = default;

const Manifest& TokenStore::manifest() const { return state_->manifest; }
const std::string& TokenStore::folder() const { return state_->folder; }
std::int64_t TokenStore::tokens() const { return state_->tokens; }
std::int64_t TokenStore::documents() const { return state_->documents; }

void TokenStore::read(std::int64_t first, std::span<std::int32_t> to) const {
  state_->for_files(first, static_cast<std::int64_t>(to.size()),
                    [&](std::size_t f, std::int64_t at, std::int64_t count) {
                      const auto here = static_cast<std::size_t>(count);
                      state_->read(f, at, to.first(here));
                      to = to.subspan(here);
                    });
}

std::vector<std::int64_t> TokenStore::document_starts(std::int64_t first, std::int64_t count) const {
  std::vector<std::int64_t> starts;
  state_->for_files(first, count, [&](std::size_t f, std::int64_t at, std::int64_t here) {
    const std::int64_t begin = state_->stretches[f].begin;
    const std::vector<std::int64_t> all = H5File::open(state_->path(f)).read<std::int64_t>(state_->name("documents"));
    for (const std::int64_t start : all)
      if (start >= at && start < at + here) starts.push_back(begin + start);
  });
  return starts;
}

}  // namespace spikesink
