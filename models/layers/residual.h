#pragma once
#include "models/module.h"

namespace spikesink {

/// y = x + output_norm(branch(input_norm(x))): the one place where norm and branch meet. Where a norm sits is data,
/// with Identity in the other slot: pre-norm {n, F, -}, sandwich {n, F, n}. Reported as the branch's path +
/// ".residual".
class Residual final : public Module {
 public:
  struct Parts {
    ModulePtr input_norm, branch, output_norm;
  };
  explicit Residual(Parts parts);

 private:
  Var forward(Pass& pass, Var x) const override;
  Parts parts_;
};

}  // namespace spikesink
