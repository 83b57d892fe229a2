#include "trainer/slice_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <optional>
#include <set>
#include <system_error>
#include <utility>

#include "io/failure.h"
#include "io/file_descriptor.h"
#include "io/h5.h"

namespace spikesink {
namespace {
const std::string kFirst = "first", kShape = "shape";

/// What a slice takes in the copy.
std::size_t padded(const Tensor& t) { return (static_cast<std::size_t>(t.bytes()) + 63) / 64 * 64; }

/// Elements [begin, end) of a tensor.
struct Stretch {
  std::int64_t begin, end;
};

/// The elements that a file has of a tensor of shape `whole`, if any. DataError if it is of another shape there.
std::optional<Stretch> find(const H5File& file, const std::string& path, const std::string& name, const Shape& whole) {
  if (!file.exists(name)) return std::nullopt;
  const std::vector<std::int64_t> dims = file.dims(name);
  const bool is_slice = file.has_attribute(name, kFirst);
  const std::vector<std::int64_t> shape = is_slice ? file.list_attribute(name, kShape) : dims;
  if (shape != whole.dims())
    throw DataError(fmt::format("{}: of another model: {} is ({}), this model needs ({})", path, name,
                                fmt::join(shape, ", "), fmt::join(whole.dims(), ", ")));
  const std::int64_t first = is_slice ? file.number_attribute<std::int64_t>(name, kFirst) : 0;
  std::int64_t count = 1;
  for (const std::int64_t n : dims) count *= n;
  if (first < 0 || count > whole.numel() - first)
    throw DataError(fmt::format("{}: damaged: has {} elements of {} from {} on, of {}; use an older checkpoint", path,
                                count, name, first, whole.numel()));
  return Stretch{first, first + count};
}

/// "rank_0000.h5 and 3 more"
std::string text_of(std::span<const std::string> files) {
  return files.front() + (files.size() > 1 ? fmt::format(" and {} more", files.size() - 1) : "");
}

[[noreturn]] void fail_of_another(std::span<const std::string> files, const std::string& name) {
  throw DataError(fmt::format("{}: of another model: no {}", text_of(files), name));
}

/// Reads elements of `name`, from `at` of the dataset on, into `to`; by pieces, so that little is held twice.
void read_into(const Stream& stream, const H5File& file, const std::string& name, std::int64_t at, const Tensor& to) {
  constexpr std::int64_t kPiece = 1 << 20;
  with_dtype(acc_dtype(to.dtype()), [&]<class T>() {
    std::vector<T> values(static_cast<std::size_t>(std::min(kPiece, to.numel())));
    for (std::int64_t done = 0; done < to.numel(); done += kPiece) {
      const std::int64_t n = std::min(kPiece, to.numel() - done);
      const std::span piece(values.data(), static_cast<std::size_t>(n));
      file.read_stretch<T>(name, at + done, piece);
      const Tensor target = to.slice(done, {n});
      if (to.dtype() != DType::kBF16) {
        stream.upload(target, piece.data());
      } else {
        std::vector<bf16> rounded(piece.size());
        std::ranges::transform(piece, rounded.begin(), [](T x) { return static_cast<bf16>(x); });
        stream.upload(target, rounded.data());
      }
    }
  });
}

/// The first elements of [0, n) that are in none of `stretches`; an empty stretch if there are none.
Stretch first_gap(std::vector<Stretch> stretches, std::int64_t n) {
  std::ranges::sort(stretches, {}, &Stretch::begin);
  std::int64_t end = 0;
  for (const Stretch& s : stretches) {
    if (s.begin > end) return {end, s.begin};
    end = std::max(end, s.end);
  }
  return {end, n};
}

}  // namespace

std::int64_t checkpoint_bytes(std::span<const StateSlice> slices) {
  std::size_t sum = 0;
  for (const StateSlice& slice : slices) sum += padded(slice.values);
  return static_cast<std::int64_t>(sum);
}

void HostCopy::take(const Stream& stream, std::span<const StateSlice> slices) {
  entries_.clear();
  bytes_.resize(static_cast<std::size_t>(checkpoint_bytes(slices)));
  std::size_t offset = 0;
  for (const auto& [group, name, whole, first, values] : slices) {
    require(first >= 0 && first + values.numel() <= whole.numel(), name, ": a slice of ", values.numel(), " from ",
            first, " on, of a tensor of shape ", whole);
    if (values.numel() == 0) continue;
    entries_.push_back({group + name, whole, first, values.numel(), values.dtype(), offset});
    stream.download(bytes_.data() + offset, values);
    offset += padded(values);
  }
}

void HostCopy::write(const std::string& path) const {
  H5File file = H5File::create(path);
  for (const Entry& entry : entries_) {
    const bool is_whole = entry.count == entry.whole.numel();
    with_stored_dtype(entry.dtype, [&]<class T>() {
      const std::span data(reinterpret_cast<const T*>(bytes_.data() + entry.offset),
                           static_cast<std::size_t>(entry.count));
      file.write<T>(entry.name, data, is_whole ? entry.whole.dims() : std::vector{entry.count});
    });
    if (is_whole) continue;
    file.attribute(entry.name, kFirst, entry.first);
    file.attribute(entry.name, kShape, entry.whole.dims());
  }
  file.close();
}

void require_weights(std::span<const std::string> files, const ParamSet& params) {
  constexpr std::int64_t kLeastBytes = 2;  // of an element, in bf16
  std::set<std::string> found;
  std::int64_t room = 0;  // elements
  for (const std::string& path : files) {
    const H5File file = H5File::open(path);
    std::error_code error;
    const auto bytes = std::filesystem::file_size(path, error);
    if (error) throw file_error(path, "looked at", error.value());
    room += static_cast<std::int64_t>(bytes) / kLeastBytes;
    for (const Param& param : params.all())
      for (const ParamPart& part : param.parts)
        if (find(file, path, kWeights + part.name, part.shape)) found.insert(part.name);
  }
  for (const Param& param : params.all())
    for (const ParamPart& part : param.parts) {
      if (!found.contains(part.name)) fail_of_another(files, kWeights + part.name);
      // A dataset may be said to be of any shape, and its file have none of its numbers. One by one: no sum overflows.
      room -= part.shape.numel();
      if (room < 0)
        throw DataError(fmt::format("{}: damaged: too small for the numbers of {}; use an older checkpoint",
                                    text_of(files), kWeights + part.name));
    }
}

void load_slices(const Stream& stream, std::span<const std::string> files, std::span<const StateSlice> slices) {
  struct Progress {
    bool is_known = false;        ///< some file has a stretch of the tensor
    std::vector<Stretch> loaded;  ///< elements of the slice
  };
  std::vector<Progress> progress(slices.size());
  for (const std::string& path : files) {
    const H5File file = H5File::open(path);
    for (std::size_t i = 0; i < slices.size(); ++i) {
      const StateSlice& slice = slices[i];
      const std::string name = slice.group + slice.name;
      const std::optional<Stretch> there = find(file, path, name, slice.whole);
      if (!there) continue;
      progress[i].is_known = true;
      const std::int64_t begin = std::max(there->begin, slice.first),
                         end = std::min(there->end, slice.first + slice.values.numel());
      if (begin >= end) continue;
      read_into(stream, file, name, begin - there->begin, slice.values.slice(begin - slice.first, Shape{end - begin}));
      progress[i].loaded.push_back({begin - slice.first, end - slice.first});
    }
  }
  for (std::size_t i = 0; i < slices.size(); ++i) {
    const StateSlice& slice = slices[i];
    const auto [begin, end] = first_gap(progress[i].loaded, slice.values.numel());
    if (begin == end) continue;
    const std::string name = slice.group + slice.name;
    if (!progress[i].is_known) fail_of_another(files, name);
    throw DataError(fmt::format("{}: elements {} to {} of {} are missing; use an older checkpoint", text_of(files),
                                slice.first + begin, slice.first + end - 1, name));
  }
}

}  // namespace spikesink
