#include "analysis/practice/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <numeric>

#include "analysis/study/passes.h"
#include "io/readable.h"
#include "models/sample_loss.h"

namespace spikesink {
StudyText::StudyText(const Study& study, std::int64_t runs)
    : study_(study),
      num_passes_((study.sequences() + study.micro_batch - 1) / study.micro_batch),
      total_(num_passes_ * runs) {
  require(study.length > 1, "StudyText: sequences of ", study.length, " token predict nothing");
}

std::int64_t StudyText::sequences(std::int64_t p) const {
  return std::min(study_.micro_batch, study_.sequences() - p * study_.micro_batch);
}

std::vector<double> StudyText::run(std::int64_t p, const Changes& changes) const {
  const Stream& stream = study_.stream;
  const std::int64_t T = study_.length, B = sequences(p);
  const auto tokens =
      study_.tokens.subspan(static_cast<std::size_t>(p * study_.micro_batch * T), static_cast<std::size_t>(B * T));
  std::vector<std::int32_t> targets(tokens.begin() + 1, tokens.end());
  targets.push_back(-1);
  for (std::int64_t b = 1; b < B; ++b) targets[static_cast<std::size_t>(b * T - 1)] = -1;
  std::vector<std::int32_t> starts;
  if (study_.end_of_text)
    starts = document_starts(tokens, T, *study_.end_of_text);
  else if (changes.without_first_token)
    starts.resize(tokens.size());
  if (changes.without_first_token)
    for (std::size_t n = 0; n < starts.size(); ++n)
      if (n % static_cast<std::size_t>(T) > 0) starts[n] = std::max(starts[n], 1);

  const Batch batch{B, T, starts.empty() ? Tensor{} : upload_ids(stream, starts)};
  Pass pass(stream, batch, Pass::Mode::kForwardOnly, changes.observer, changes.intervention);
  const Var hidden = study_.model.hidden(pass, upload_ids(stream, tokens));
  return host_values(stream, study_.model.loss(pass, hidden, upload_ids(stream, targets), 0));
}

std::vector<double> StudyText::pass(std::int64_t p, const Changes& changes) const {
  std::vector<double> losses = run(p, changes);
  study_.progress(static_cast<double>(std::min(++done_, total_)) / static_cast<double>(total_));
  return losses;
}

std::vector<double> StudyText::loss_by_position(const Changes& changes) const {
  const auto T = static_cast<std::size_t>(study_.length);
  std::vector<double> means(T - 1);
  for (std::int64_t p = 0; p < num_passes_; ++p) {
    const std::vector<double> losses = pass(p, changes);
    for (std::size_t n = 0; n < losses.size(); ++n)
      if (n % T < T - 1) means[n % T] += losses[n] / static_cast<double>(study_.sequences());
  }
  return means;
}

double StudyText::loss(const Changes& changes) const {
  const std::vector<double> means = loss_by_position(changes);
  return std::accumulate(means.begin(), means.end(), 0.0) / static_cast<double>(means.size());
}

void StudyText::foretell(const std::string& analysis, const Changes& typical) const {
  run(0, typical);  // fills the pool and what the intervention keeps
  const auto begin = std::chrono::steady_clock::now();
  run(0, typical);
  const std::chrono::duration<double> one = std::chrono::steady_clock::now() - begin;
  study_.say(fmt::format("{}: at most {} passes, about {}", analysis, total_,
                         duration_text(std::max(one.count() * static_cast<double>(total_), 1.0))));
}

}  // namespace spikesink
