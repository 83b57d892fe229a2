#pragma once
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "tests/fuzz/target.h"

namespace spikesink::fuzz {

/// Datasets that a reader looks for, with the shape that it expects.
struct Expected {
  std::string name;
  std::vector<std::int64_t> dims;
};

/// Writes a sound HDF5 file of which the input decides what is there: which of the datasets, their types, shapes and
/// values, up to ones too large for any memory that have no values, and the attributes that checkpoints have.
void write_hostile_h5(const std::string& path, Choices& choices, std::span<const Expected> datasets);

}  // namespace spikesink::fuzz
