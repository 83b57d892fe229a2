#pragma once
#include <hdf5.h>

#include <algorithm>
#include <cstdint>
#include <vector>

namespace spikesink {

/// Calls f(memory space, `space` with a box selected, the box's elements) for the boxes that elements [first, first +
/// left) of a dataset are, in order, each the largest that begins there: HDF5 selects boxes, and a stretch is few of
/// them.
inline void h5_boxes(const std::vector<std::int64_t>& dims, std::int64_t first, hsize_t left, hid_t space, auto&& f) {
  const std::size_t rank = dims.size();
  std::vector<hsize_t> strides(rank, 1);  // elements behind one step along a dimension
  for (std::size_t d = rank; d-- > 1;) strides[d - 1] = strides[d] * static_cast<hsize_t>(dims[d]);
  for (auto at = static_cast<hsize_t>(first); left > 0;) {
    std::size_t d = 0;
    while (d < rank && (at % strides[d] != 0 || left < strides[d])) ++d;
    std::vector<hsize_t> start(rank), count(rank, 1);
    for (std::size_t i = 0; i < rank; ++i) start[i] = at / strides[i] % static_cast<hsize_t>(dims[i]);
    for (std::size_t i = d + 1; i < rank; ++i) count[i] = static_cast<hsize_t>(dims[i]);
    if (rank > 0) count[d] = std::min(left / strides[d], static_cast<hsize_t>(dims[d]) - start[d]);
    const hsize_t size = rank > 0 ? count[d] * strides[d] : 1;
    const struct Memory {
      hid_t space;
      ~Memory() { H5Sclose(space); }
    } memory{H5Screate_simple(1, &size, nullptr)};
    const bool selected =
        rank == 0 || H5Sselect_hyperslab(space, H5S_SELECT_SET, start.data(), nullptr, count.data(), nullptr) >= 0;
    f(memory.space, selected ? space : hid_t{-1}, size);
    at += size, left -= size;
  }
}

}  // namespace spikesink
