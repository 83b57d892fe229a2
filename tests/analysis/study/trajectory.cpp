#include "analysis/study/trajectory.h"

#include <algorithm>
#include <set>

#include "analysis/study/norm.h"
#include "analysis/study/silu.h"
#include "tests/analysis/study/planted.h"
#include "tests/analysis/study/support.h"

namespace spikesink {
namespace {

using test::doubles;
using test::integers;

double median(std::vector<double> values) {
  std::ranges::sort(values);
  return values[(values.size() - 1) / 2];
}

/// |x| of one sequence (T, C).
std::vector<double> magnitudes_of(const std::vector<double>& x, std::size_t sequence, std::size_t size) {
  std::vector<double> out;
  for (std::size_t i = 0; i < size; ++i) out.push_back(std::abs(x[sequence * size + i]));
  return out;
}

/// Checks one group of arrays against plain loops over values (S T, C) a block.
void check_magnitudes(const Results& results, const std::string& group, const std::vector<std::vector<double>>& blocks,
                      std::size_t S, std::size_t T, std::size_t C) {
  for (std::size_t b = 0; b < blocks.size(); ++b) {
    CAPTURE(group, b);
    double top[3] = {}, middle = 0, max = 0;
    std::vector<double> channels(C);
    for (std::size_t s = 0; s < S; ++s) {
      auto all = magnitudes_of(blocks[b], s, T * C);
      middle += median(all) / static_cast<double>(S);
      for (std::size_t c = 0; c < C; ++c) {
        double most = 0;
        for (std::size_t t = 0; t < T; ++t) most = std::max(most, all[t * C + c]);
        channels[c] += most / static_cast<double>(S);
      }
      std::ranges::sort(all, std::greater{});
      for (std::size_t i = 0; i < 3; ++i) top[i] += all[i] / static_cast<double>(S);
      max = std::max(max, all[0]);
    }
    CHECK(doubles(results, group + "/median")[b] == Approx(middle).epsilon(1e-12));
    CHECK(doubles(results, group + "/max")[b] == max);
    for (std::size_t i = 0; i < 3; ++i) {
      CHECK(doubles(results, group + "/top_values")[b * 3 + i] == Approx(top[i]).epsilon(1e-12));
      const auto most = std::ranges::max_element(channels);
      CHECK(integers(results, group + "/top_channels")[b * 3 + i] == most - channels.begin());
      CHECK(doubles(results, group + "/top_channel_values")[b * 3 + i] == Approx(*most).epsilon(1e-12));
      *most = -1;
    }
  }
}

}  // namespace

TEST_CASE("trajectories are those of plain loops over the residual stream and what blocks add", "[analysis][study]") {
  ModelConfig config = test::study_config();
  config.norm.output = GENERATE(false, true);
  config.ffn.kind = GENERATE(FfnKind::kSwiGlu, FfnKind::kAttention);
  if (config.ffn.kind == FfnKind::kAttention) config.ffn.d_hidden.reset();
  CAPTURE(config.norm.output, static_cast<int>(config.ffn.kind));
  test::SmallStudy small(config);
  if (GENERATE(false, true)) small.study.end_of_text = 3;
  const Study& study = small.study;
  Results results;
  trajectory(study, results);
  const test::Seen seen(study);
  const std::size_t S = 5, T = 12, C = 16, blocks = 4;
  check_magnitudes(results, "residual", seen.residual, S, T, C);
  check_magnitudes(results, "output", seen.added, S, T, C);

  // Massive activations, value by value.
  std::set<std::int64_t> channels;
  std::vector<std::int64_t> position(S, -1);
  std::vector<double> largest(S);
  for (const auto& h : seen.residual)
    for (std::size_t s = 0; s < S; ++s) {
      const auto all = magnitudes_of(h, s, T * C);
      const double middle = median(all);
      for (std::size_t i = 0; i < T * C; ++i) {
        if (!(all[i] > study.spike.abs && all[i] > study.spike.ratio * middle)) continue;
        channels.insert(static_cast<std::int64_t>(i % C));
        CHECK(spike_places(study).is_spike[s * T + i / C]);
        if (all[i] <= largest[s]) continue;
        largest[s] = all[i];
        position[s] = static_cast<std::int64_t>(i / C);
      }
    }
  CHECK(integers(results, "spikes/position") == position);
  const auto& found = integers(results, "spikes/channels");
  CHECK(std::set(found.begin(), found.end()) == channels);
  REQUIRE(!found.empty());  // else the rest says nothing
  CHECK(std::ranges::count(spike_places(study).is_spike, 1) > 0);
  CHECK(std::ranges::count(spike_places(study).is_spike, 0) > 0);

  const auto mean_at = [&](const std::vector<double>& x, std::int64_t c) {
    double sum = 0, count = 0;
    for (std::size_t s = 0; s < S; ++s) {
      if (position[s] < 0) continue;
      sum += x[(s * T + static_cast<std::size_t>(position[s])) * C + static_cast<std::size_t>(c)];
      ++count;
    }
    return sum / count;
  };
  std::vector<double> squares(blocks);
  for (std::size_t b = 0; b < blocks; ++b)
    for (std::size_t i = 0; i < found.size(); ++i) {
      const double r = mean_at(seen.residual[b], found[i]), o = mean_at(seen.added[b], found[i]);
      CHECK(doubles(results, "spikes/residual")[b * found.size() + i] == Approx(r).epsilon(1e-12));
      CHECK(doubles(results, "spikes/output")[b * found.size() + i] == Approx(o).epsilon(1e-12));
      squares[b] += r * r;
    }
  const auto plateau = static_cast<std::size_t>(std::ranges::max_element(squares) - squares.begin());
  CHECK(results.summary["plateau_block"] == plateau + 1);
  std::vector<std::int64_t> up, down;
  for (std::size_t b = 0; b < blocks; ++b) {
    double along = 0;
    for (const std::int64_t c : found) along += mean_at(seen.added[b], c) * mean_at(seen.residual[plateau], c);
    const double share = along / squares[plateau];
    CHECK(doubles(results, "spikes/share")[b] == Approx(share).epsilon(1e-9));
    if (share >= 0.1) up.push_back(static_cast<std::int64_t>(b) + 1);
    if (share <= -0.1) down.push_back(static_cast<std::int64_t>(b) + 1);
  }
  CHECK(integers(results, "steps/up") == up);
  CHECK(integers(results, "steps/down") == down);
}

TEST_CASE("a planted spike is found with its channel, positions, plateau and the blocks that make and end it",
          "[analysis][study]") {
  const test::PlantedSpike planted;
  Results results;
  trajectory(planted.study, results);
  CHECK(integers(results, "spikes/channels") == std::vector<std::int64_t>{7});
  CHECK(integers(results, "spikes/position") == std::vector<std::int64_t>{2, 0, -1, 1});
  CHECK(results.summary["plateau_block"] == 4);
  CHECK(integers(results, "steps/up") == std::vector<std::int64_t>{4});
  CHECK(integers(results, "steps/down") == std::vector<std::int64_t>{6});
  // Token 0 is in two of the three sequences that have a spike, token 4 in one.
  const double rise = (2 * planted.kRise + planted.kRise * 0.36) / 3;
  const auto& residual = doubles(results, "spikes/residual");
  const auto& output = doubles(results, "spikes/output");
  const double rises[] = {0, 0, 0, rise, rise, rise - planted.kFall}, steps[] = {0, 0, 0, rise, 0, -planted.kFall};
  for (std::size_t b = 0; b < 6; ++b) {
    CAPTURE(b);
    CHECK(residual[b] == Approx(rises[b]).epsilon(0.01).margin(1e-9));
    CHECK(output[b] == Approx(steps[b]).epsilon(0.01).margin(1e-9));
  }
  CHECK(doubles(results, "residual/max")[3] == Approx(planted.kRise).epsilon(0.01));
}

TEST_CASE("a model without massive activations has no spike channels and no steps", "[analysis][study]") {
  test::SmallStudy small(test::study_config());
  small.study.spike = {};
  Results results;
  trajectory(small.study, results);
  CHECK(integers(results, "spikes/channels").empty());
  CHECK(integers(results, "steps/up").empty());
  CHECK(integers(results, "steps/down").empty());
  CHECK(results.summary["plateau_block"] == 0);
  CHECK(results.at("spikes/output").dims == std::vector<std::int64_t>{4, 0});
}

TEST_CASE("SiLU is told to be the identity at a planted spike, and a sigmoid of the gate elsewhere",
          "[analysis][study]") {
  const test::PlantedSpike planted;
  Results results;
  silu_identity(planted.study, results);
  CHECK(integers(results, "block") == std::vector<std::int64_t>{2, 4, 6});
  const auto &cosine = doubles(results, "cosine"), &ratio = doubles(results, "norm_ratio");
  CHECK(cosine[1 * 2 + 0] == Approx(1).epsilon(1e-4));
  CHECK(ratio[1 * 2 + 0] == Approx(1).epsilon(1e-4));
  CHECK(cosine[1 * 2 + 1] == Approx(1).epsilon(1e-6));  // one gate that is not 0: the same direction
  CHECK(ratio[1 * 2 + 1] == Approx(1 / (1 + std::exp(2.0))).epsilon(1e-3));
  CHECK(std::isnan(cosine[0]));  // all gates are 0
  CHECK(results.summary["step_up"]["ffn_blocks"] == std::vector<std::int64_t>{4});
  CHECK(results.summary["step_up"]["norm_ratio_spike"].get<double>() == Approx(1).epsilon(1e-4));
  CHECK(results.summary["step_down"]["ffn_blocks"] == std::vector<std::int64_t>{6});
  CHECK(results.summary["spike_tokens"] == 4);
}

TEST_CASE("a planted spike token is one-hot and at the bound after the norm, and all are alike behind the step",
          "[analysis][study]") {
  const test::PlantedSpike planted;
  Results results;
  normed_tokens(planted.study, results);
  CHECK(results.summary["bound"] == 4);
  const auto& behind = results.summary["behind_plateau"];
  CHECK(behind["max"].get<double>() == Approx(4).epsilon(1e-3));
  CHECK(behind["max"].get<double>() <= 4);
  CHECK(behind["spike_share"].get<double>() == Approx(1).epsilon(1e-3));
  CHECK(behind["participation"].get<double>() == Approx(1).epsilon(1e-3));
  const auto& step = results.summary["first_step_up"];
  CHECK(step["block"] == 4);
  // Spike tokens: 0, 4, 0, 4; of six pairs two are equal, four have a cosine of 0.6.
  CHECK(step["cosine_spike_before"].get<double>() == Approx((2 + 4 * 0.6) / 6).epsilon(1e-6));
  CHECK(step["cosine_spike_after"].get<double>() == Approx(1).epsilon(1e-3));
}

}  // namespace spikesink
