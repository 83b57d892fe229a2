#pragma once
#include <string>

namespace spikesink {

/// What this program is and was built of, in a line: "spikesink 0.1.0, commit 9ce388a4f21b with changes, Release, GNU
/// 12.2.0, no CUDA". --version prints it; runs' logs and checkpoints keep it. "no commit": not built in a git checkout.
std::string build_info();

}  // namespace spikesink
