#pragma once
#include <string>

namespace spikesink {

/// A sweep file with every key, its default or an example, and a comment: what a user begins with. read_sweep() reads
/// it where a config baseline.yaml stands beside it.
std::string describe_sweep();

}  // namespace spikesink
