#pragma once
#include <string>
#include <vector>

namespace spikesink {

/// 16 hexadecimal digits that tell a source by its size and the time of its last change, and a .bin of Megatron-LM by
/// those of its index too: what is made of it carries them, so that it is made anew of another file of the same name.
/// DataError if it is not there.
std::string source_stamp(const std::string& path);

/// The same of several things together, in order.
std::string stamp_of_all(const std::vector<std::string>& stamps);

inline constexpr std::size_t kStampBytes = 16;

}  // namespace spikesink
