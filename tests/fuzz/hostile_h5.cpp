#include "tests/fuzz/hostile_h5.h"

#include "io/h5.h"

namespace spikesink::fuzz {
namespace {

/// `sound` as it is most of the time, else one that is wrong in rank or size.
std::vector<std::int64_t> hostile_dims(Choices& choices, const std::vector<std::int64_t>& sound) {
  std::vector<std::int64_t> dims = sound;
  switch (choices.below(6)) {
    case 0:
      dims.resize(choices.below(5), 1);
      for (std::int64_t& n : dims) n = choices.count();
      break;
    case 1:
      if (!dims.empty()) dims[choices.below(dims.size())] = choices.count();
      break;
    default:
      break;
  }
  return dims;
}

template <class T>
void write_dataset(H5File& file, const std::string& name, Choices& choices, const std::vector<std::int64_t>& dims) {
  constexpr std::int64_t kMostValues = 1000;
  std::int64_t size = 1;
  bool is_small = true;
  for (const std::int64_t n : dims) is_small = is_small && n <= kMostValues && (size *= n) <= kMostValues;
  if (!is_small) return file.make<T>(name, dims);
  std::vector<T> values(static_cast<std::size_t>(size));
  for (T& value : values) value = choices.number<T>();
  file.write<T>(name, values, dims);
}

}  // namespace

void write_hostile_h5(const std::string& path, Choices& choices, std::span<const Expected> datasets) {
  H5File file = H5File::create(path);
  for (const Expected& dataset : datasets) {
    const std::size_t kind = choices.below(10);
    if (kind == 0) continue;
    std::vector<std::int64_t> dims = hostile_dims(choices, dataset.dims);
    for (std::int64_t& n : dims)
      if (n < 0) n = 0;
    if (kind < 5) write_dataset<float>(file, dataset.name, choices, dims);
    if (kind == 5) write_dataset<double>(file, dataset.name, choices, dims);
    if (kind == 6) write_dataset<bf16>(file, dataset.name, choices, dims);
    if (kind == 7) write_dataset<std::uint16_t>(file, dataset.name, choices, dims);
    if (kind == 8) write_dataset<std::int32_t>(file, dataset.name, choices, dims);
    if (kind == 9) write_dataset<std::int64_t>(file, dataset.name, choices, dims);
    switch (choices.below(4)) {
      case 0:
        file.attribute(dataset.name, "first", choices.count());
        break;
      case 1:
        file.attribute(dataset.name, "first", choices.number<double>());
        break;
      case 2:
        file.attribute(dataset.name, "first", std::string("x"));
        break;
      default:
        continue;
    }
    std::vector<std::int64_t> shape = hostile_dims(choices, dataset.dims);
    if (!shape.empty()) file.attribute(dataset.name, "shape", std::span<const std::int64_t>(shape));
  }
  file.close();
}

}  // namespace spikesink::fuzz
