#pragma once
#include <vector>

#include "models/module.h"

namespace spikesink {

/// Modules one after another. Not reported.
class Sequence final : public Module {
 public:
  explicit Sequence(std::vector<ModulePtr> modules) : Module(""), modules_(std::move(modules)) {}

 private:
  Var forward(Pass& pass, Var x) const override;
  std::vector<ModulePtr> modules_;
};

/// Keeps only the input of its inner module, which it runs again on the way back: the same bits for less memory and a
/// second forward. Observers see each activation once, in the first run. Source: Chen et al. 2016, arXiv:1604.06174.
class Checkpoint final : public Module {
 public:
  explicit Checkpoint(ModulePtr inner) : Module(""), inner_(std::move(inner)) {}

 private:
  Var forward(Pass& pass, Var x) const override;
  ModulePtr inner_;
};

}  // namespace spikesink
