#pragma once
#include <cstddef>

namespace spikesink {

/// Columns of the terminal that stdout is, or 120, what a file of text is read at.
std::size_t columns_of_output();

}  // namespace spikesink
