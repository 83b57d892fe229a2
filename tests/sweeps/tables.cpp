#include <catch2/catch.hpp>
#include <iostream>

#include "sweeps/collect.h"

namespace spikesink {
namespace {
CollectedFigure figure(std::string_view name, OverSeeds ours, std::optional<double> paper = {},
                       Direction direction = Direction::kNone) {
  return {std::string(name), ours, paper, direction};
}

/// Three rows: two seeds, one of two, none of two.
CollectedSweep example() {
  CollectedSweep sweep{.name = "table5",
                       .title = "Table 5: 100% of x_1 & y",
                       .baseline = "pre_norm",
                       .sink_judged_by = "sink_excess",
                       .scale = {1234567, 614400, 128}};
  sweep.rows.push_back({.name = "pre_norm", .label = "Pre-norm", .axes = {{"model.d_model", "64"}}, .seeds = 2});
  sweep.rows[0].runs = {{"pre_norm_seed1", 1, {{"perplexity", 100}, {"sink_ratio", 0.05}, {"step", 300}}},
                        {"pre_norm_seed2", 2, {{"perplexity", 104.5}}}};
  sweep.rows[0].figures = {
      figure("perplexity", {2, 102.25, 3.182}, 10.1), figure("sink_ratio", {2, 0.0625, 0.01}, 0.46),
      figure("spike_max", {2, 42, 2.5}, 3818),        figure("first_token_mass", {2, 0.11, 0.001}),
      figure("sink_excess", {2, 0.05, 0.001}),        figure("spike_ratio", {2, 39.04, 1})};
  sweep.rows.push_back({.name = "odd", .label = "a|b & 5% of \"x_y\", #1 {~^\\$} <c>", .seeds = 2});
  sweep.rows[1].runs = {{"odd_seed2", 2, {}}};
  sweep.rows[1].figures = {figure("perplexity", {}, 10.1),
                           figure("sink_ratio", {1, 0.5}, 0.447, Direction::kDiffers),
                           figure("spike_max", {1, 9}, 520, Direction::kAgrees),
                           figure("first_token_mass", {1, 0.0594}),
                           figure("sink_excess", {1, 0.1}),
                           figure("spike_ratio", {1, 3.25e9})};
  sweep.rows.push_back({.name = "none", .label = "None", .axes = {{"model.d_model", "128"}}, .seeds = 2});
  sweep.rows[2].figures = {figure("perplexity", {}, 9.8),  figure("sink_ratio", {}),  figure("spike_max", {}),
                           figure("first_token_mass", {}), figure("sink_excess", {}), figure("spike_ratio", {})};
  sweep.notes = {"odd_seed1: at step 10 of 300; left out"};
  return sweep;
}
}  // namespace

TEST_CASE("print", "[sweeps][collect]") {
  std::cout << markdown_of(example()) << "\n"
            << latex_of(example()) << "\n"
            << csv_of(example()) << "\n"
            << json_of(example());
}

}  // namespace spikesink
