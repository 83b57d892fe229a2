#include "configs/config.h"

namespace spikesink {
namespace {

std::string problem_of(const RunConfig& c) {
  if (c.name.empty() || c.name == "." || c.name == ".." || c.name.find('/') != std::string::npos)
    return "run.name: \"" + c.name + "\" is not the name of one folder; parents of it belong into run.dir";
  if (c.dir.empty()) return "run.dir: empty; the current folder is \".\"";
  return {};
}

}  // namespace

std::string problem_of(const Config& c) {
  for (std::string problem :
       {problem_of(c.run), problem_of(c.model), problem_of(c.data), problem_of(c.train, c.model.context),
        problem_of(c.system), problem_of(c.checkpoint), problem_of(c.metrics.logging), problem_of(c.metrics.probe)})
    if (!problem.empty()) return problem;
  return {};
}

}  // namespace spikesink
