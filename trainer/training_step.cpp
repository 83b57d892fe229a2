#include "trainer/training_step.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "models/not_finite.h"
#include "trainer/checkpoint.h"
#include "trainer/dist/agree.h"

namespace spikesink {

TrainingStep::TrainingStep(const StepSetup& s)
    : setup_(s),
      shape_{.context = s.model.config().context,
             .micro_batch = s.train.micro_batch,
             .loss_from_position = s.train.loss_from_position,
             .end_of_text = s.end_of_text},
      share_(StepShare::of(s.train.sequences(shape_.context), s.train.micro_batch, s.communicator.rank(),
                           s.communicator.world())),
      shards_(s.stream, s.model, s.precision, s.communicator, s.shards),
      optimizer_(shards_, s.train.optimizer, s.state_precision, s.seed),
      passes_(s.stream, s.model, shape_) {}

void TrainingStep::load(const std::string& checkpoint) {
  load_slices(setup_.stream, checkpoint, optimizer_.updated_slices());
  optimizer_.slices_written();
}

void TrainingStep::run(std::span<const std::int32_t> samples, double lr, std::int64_t step) {
  shards_.begin_step();
  passes_.run(samples, share_);
  update(lr, step);
}

void TrainingStep::run_dry(double lr, std::int64_t step) {
  shards_.begin_step();
  passes_.run_dry(share_);
  update(lr, step);
}

void TrainingStep::update(double lr, std::int64_t step) {
  const Transfer loss = setup_.communicator.all_reduce(setup_.stream, passes_.loss_sum());
  shards_.finish_gradients();
  loss.wait(setup_.stream);
  optimizer_.step(lr, step, passes_.loss_sum());
}

std::string TrainingStep::first_not_finite_activation(std::span<const std::int32_t> samples) const {
  std::string mine;
  if (share_.count > 0) mine = spikesink::first_not_finite_activation(setup_.stream, setup_.model, samples, shape_);
  for (std::int64_t p = 0; p < share_.passes; ++p)
    if (share_.in_pass(p, shape_.micro_batch) == 0) setup_.model.empty_pass(Pass::Mode::kForwardOnly);
  std::array<char, 256> text{};
  mine.copy(text.data(), text.size() - 1);
  int rank = 0;
  for (const auto& theirs : gather(setup_.communicator, text)) {
    if (theirs.front() != 0)
      return setup_.communicator.world() > 1 ? fmt::format("{} on rank {}", theirs.data(), rank) : theirs.data();
    ++rank;
  }
  return spikesink::kNoModule;
}

std::string TrainingStep::first_not_finite_gradient(std::span<const std::int32_t> samples) {
  const std::string of_all = first_not_finite_of_gradients();
  const int world = setup_.communicator.world();
  for (int rank = 0; world > 1 && rank < world; ++rank) {  // the sums over ranks do not tell whose samples it was
    const bool mine = rank == setup_.communicator.rank();
    StepShare share = share_;
    if (!mine) share.count = 0;
    shards_.begin_step();
    passes_.run(mine ? samples : std::span<const std::int32_t>(), share);
    shards_.finish_gradients();
    const std::string found = first_not_finite_of_gradients();
    if (!found.empty()) return fmt::format("{} on rank {}", found, rank);
  }
  return of_all.empty() ? "the gradients' sum of squares" : of_all;
}

/// Empty if all are finite.
std::string TrainingStep::first_not_finite_of_gradients() const {
  const std::vector<Shards::Piece> pieces = shards_.own();
  const auto bad = std::find_if(pieces.rbegin(), pieces.rend(),
                                [&](const Shards::Piece& piece) { return !all_finite(setup_.stream, piece.grad); });
  const auto& params = setup_.model.params().all();
  // Parameters in the order of the backward pass, last to first, by their number.
  std::int64_t number = -1;
  if (bad != pieces.rend())
    number = std::ranges::find(params, bad->param, [](const Param& param) { return &param; }) - params.begin();
  number = maximum(setup_.communicator, number);
  return number < 0 ? "" : "the gradient of " + params[static_cast<std::size_t>(number)].name();
}

}  // namespace spikesink
