#pragma once
#include <string>
#include <vector>

#include "data/store/manifest.h"

namespace spikesink {

// What those who prepare one store must agree on.

/// `inputs` with what @FILE names in its place: a path or glob a line. DataError if FILE cannot be read.
std::vector<std::string> with_lists(const std::vector<std::string>& inputs);

/// All that the bytes of a store depend on, as it stands in parts/plan.json: of the manifest the options and the names
/// of the shards; and how many comparisons there are (see num_comparisons()). What the shards hold is no part of it:
/// each result carries the stamp of what it was made of, so that a shard that was mended is prepared again and no
/// other.
std::string plan_text(const Manifest& manifest, int comparisons);
/// The comparisons of a plan; 0 if it does not say.
int comparisons_of_plan(const std::string& plan);
/// The name of the tokenizer in a plan, or nothing where that is damaged.
std::string tokenizer_of_plan(const std::string& plan);
/// Names the first shard that has not the size it had when the store was made; empty if all have.
std::string size_difference(const Manifest& before, const Manifest& now);
/// Names the first thing in which two plans differ: "holdout 0.01, not 0.02".
std::string plan_difference(const std::string& before, const std::string& now);

}  // namespace spikesink
