#pragma once
#include <string_view>

#include "kernels/attention/attention.h"

namespace spikesink {

struct Param;

/// Changes a forward-only pass from outside, as an Observer sees one. A function that is not overridden changes
/// nothing. None writes into a tensor that it is given: what is to change is a new tensor of the same shape, dtype and
/// device. Observers of the pass see what the intervention made. Without an intervention nothing is asked and nothing
/// is paid.
class Intervention {
 public:
  virtual ~Intervention() = default;
  /// The factors of a matrix product of a block: `x` (N, C) and `values` (O, C), those of `weight`. Not asked of the
  /// embedding and the LM head.
  virtual void product(const Param& weight, Tensor& x, Tensor& values) { (void)weight, (void)x, (void)values; }
  /// The output of the module at `path`, which observers know it by; a residual join's is its branch's + ".residual".
  virtual Tensor activation(std::string_view path, const Tensor& value) { return (void)path, value; }
  /// The attention product itself. True: args.out and args.lse have been written; false: they are as ever.
  virtual bool attention(std::string_view path, const kernels::AttentionForward& args) {
    return (void)path, (void)args, false;
  }
  /// The heads' output (N, H D), before the gate and o_proj.
  virtual Tensor heads(std::string_view path, const Tensor& value) { return (void)path, value; }
};

}  // namespace spikesink
