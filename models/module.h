#pragma once
#include <memory>
#include <string>

#include "models/pass.h"

namespace spikesink {

/// Parameters and a forward in terms of ops. The path is the prefix of its parameters' names, and what observers know
/// it by.
class Module {
 public:
  explicit Module(std::string path) : path_(std::move(path)) {}
  virtual ~Module() = default;
  Module(const Module&) = delete;
  Module& operator=(const Module&) = delete;

  /// Runs forward and reports the output, and on the way back its gradient, to the pass's observer.
  Var operator()(Pass& pass, Var x) const;
  const std::string& path() const { return path_; }

 private:
  virtual Var forward(Pass& pass, Var x) const = 0;  ///< x, y (N, C)

  std::string path_;
};

/// Shows y, and on the way back its gradient, to the pass's observer under `path`, which outlives the pass.
void report(Pass& pass, const std::string& path, const Var& y);

using ModulePtr = std::unique_ptr<const Module>;

}  // namespace spikesink
