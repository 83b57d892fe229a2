#include "data/toy/bigram_backcopy.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "data/draws.h"
#include "io/failure.h"
#include "kernels/core/check.h"

namespace spikesink {
namespace {

constexpr std::size_t at(std::int64_t i) { return static_cast<std::size_t>(i); }
std::int32_t id_of(std::int64_t state) { return static_cast<unsigned char>(BigramBackcopy::kCharacters[at(state)]); }

/// A row of a sample: what stands before the text, and the text.
void append_row(const BigramBackcopy& task, const std::vector<std::int32_t>& begin, std::uint64_t seed, bool held_out,
                std::int64_t number, std::int64_t row, std::vector<std::int32_t>& to) {
  to.insert(to.end(), begin.begin(), begin.end());
  const std::size_t text = at(row) - begin.size();
  to.resize(to.size() + text);
  task.write(seed, held_out, number, std::span(to).last(text));
}

std::vector<std::int32_t> begin_of(const DataConfig& config, const Tokenizer& tokenizer) {
  const auto begin = begin_token(config.begin_of_text, tokenizer);
  return begin ? std::vector{*begin} : std::vector<std::int32_t>{};
}

}  // namespace

BigramBackcopy::BigramBackcopy() {
  static_assert(kCharacters.size() == kStates);
  const Random random = draws(0, "bigram_backcopy chain");
  for (std::int64_t state = 0; state < kStates; ++state) {
    auto& row = cumulative_[at(state)];
    double sum = 0;
    for (std::int64_t next = 0; next < kStates; ++next)
      row[at(next)] = sum += std::exp(2 * random.normal(static_cast<std::uint64_t>(state * kStates + next)));
    for (double& value : row) value /= sum;
  }
}

double BigramBackcopy::probability(std::int64_t state, std::int64_t next) const {
  const auto& row = cumulative_[at(state)];
  return row[at(next)] - (next > 0 ? row[at(next - 1)] : 0);
}

void BigramBackcopy::write(std::uint64_t seed, bool held_out, std::int64_t number, std::span<std::int32_t> to) const {
  const Random random = draws(seed, kName, held_out ? 1 : 0, static_cast<std::uint64_t>(number));
  std::int64_t state = 0, before = 0;
  for (std::size_t t = 0; t < to.size(); ++t) {
    std::int64_t next = before;  // behind a trigger
    if (t == 0) {                // no trigger, so that never two of them follow one another
      next = static_cast<std::int64_t>(random.below(0, kStates - kTriggers));
    } else if (!is_trigger(state)) {
      const auto& row = cumulative_[at(state)];
      const auto found = std::ranges::upper_bound(row, random.uniform(t));
      next = std::min<std::int64_t>(found - row.begin(), kStates - 1);
    }
    before = state;
    state = next;
    to[t] = id_of(state);
  }
}

bool is_bigram_backcopy(const std::vector<std::string>& paths, const std::string& key) {
  if (std::ranges::find(paths, BigramBackcopy::kName) == paths.end()) return false;
  if (paths.size() > 1)
    throw UsageError(fmt::format("{}: {} stands beside other data; name it alone", key, BigramBackcopy::kName));
  return true;
}

void require_bytes(const Tokenizer& tokenizer, const std::string& key) {
  if (tokenizer.name() != "bytes")
    throw UsageError(fmt::format("{}: {} is text for the tokenizer bytes, but data.tokenizer is {}; set it to bytes",
                                 key, BigramBackcopy::kName, tokenizer.name()));
}

BigramBackcopyLoader::BigramBackcopyLoader(const LoaderOptions& o)
    : begin_(begin_of(o.data, o.tokenizer)),
      row_(o.context + 1),
      sequences_(o.sequences),
      seed_(o.seed),
      fingerprint_(fingerprint_of_settings(o)) {
  fingerprint_["data.train"] = BigramBackcopy::kName;
  require_bytes(o.tokenizer, "data.train");
}

std::vector<std::int32_t> BigramBackcopyLoader::next(std::int64_t step, std::int64_t first, std::int64_t count) {
  require(step >= 0 && first >= 0 && count >= 0 && first + count <= sequences_, "bigram_backcopy slots: ", first,
          " and ", count, " from there, of ", sequences_);
  std::vector<std::int32_t> samples;
  samples.reserve(at(count * row_));
  for (std::int64_t slot = first; slot < first + count; ++slot)
    append_row(task_, begin_, seed_, false, step * sequences_ + slot, row_, samples);
  step_ = step + 1;
  return samples;
}

void BigramBackcopyLoader::seek(const Position& position) {
  require_same_data(position.fingerprint, fingerprint_);
  require_step(position.step, sequences_);
  step_ = position.step;
}

std::vector<std::int32_t> held_out_backcopy(const DataConfig& config, const Tokenizer& tokenizer, std::int64_t context,
                                            std::int64_t count, const std::string& key) {
  require_bytes(tokenizer, key);
  const BigramBackcopy task;
  const auto begin = begin_of(config, tokenizer);
  std::vector<std::int32_t> samples;
  for (std::int64_t i = 0; i < count; ++i) append_row(task, begin, 0, true, i, context + 1, samples);
  return samples;
}

}  // namespace spikesink
