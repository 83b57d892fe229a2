#include "sweeps/collect.h"

#include <catch2/catch.hpp>
#include <cmath>

#include "configs/writer.h"
#include "support.h"

namespace spikesink {
namespace {
Config small() {
  Config config;
  config.model.d_model = 32;
  config.model.n_layers = 2;
  config.model.context = 128;
  config.model.vocab_size = 258;
  config.model.attention.n_heads = 2;
  config.model.attention.d_head = 16;
  config.model.ffn.d_hidden = 64;
  config.data.train = {"text.jsonl"};
  config.train.steps = 300;
  config.train.batch_tokens = 2048;
  return config;
}

SweepRow row(const std::string& name, const std::vector<std::int64_t>& seeds, std::optional<PaperFigures> paper = {}) {
  SweepRow row{.name = name, .label = name, .paper = paper};
  for (const std::int64_t seed : seeds)
    row.runs.push_back({seeds.size() > 1 ? fmt::format("{}_seed{}", name, seed) : name, seed, small()});
  return row;
}

constexpr PaperFigures kPreNorm{10.1, 46.0, 3818}, kSandwich{9.8, 44.7, 520};

Sweep sweep_of(std::vector<SweepRow> rows) {
  return {.file = "s.yaml", .name = "s", .title = "S", .baseline = rows.front().name, .rows = std::move(rows)};
}

std::string probe(int step, const std::string& perplexity, double sink, double mass, double spike) {
  return fmt::format(
      R"({{"step":{},"event":"probe","perplexity":{},"sink_ratio":{},"first_token_mass":{},"spike_max":{},"spike_ratio":{}}})"
      "\n",
      step, perplexity, sink, mass, spike, spike / 2);
}

void check(const CollectedFigure& figure, std::int64_t count, double mean, double deviation) {
  CAPTURE(figure.name);
  CHECK(figure.ours.count == count);
  CHECK(figure.ours.mean == Approx(mean));
  CHECK(figure.ours.deviation == Approx(deviation).margin(1e-12));
}
}  // namespace

TEST_CASE("collect takes the last probe of every finished run", "[sweeps][collect]") {
  const test::ScratchSweep scratch;
  const Sweep sweep = sweep_of({row("pre_norm", {1, 2}, kPreNorm), row("sandwich", {1, 2}, kSandwich)});
  const std::string before = probe(0, "258", 0, 0.06, 1) + "{\"step\":300,\"loss\":4.6}\n";
  scratch.metrics("pre_norm_seed1", before + probe(300, "100", 0.5, 0.3, 40));
  scratch.metrics("pre_norm_seed2", before + probe(300, "104", 0.4, 0.32, 44));
  scratch.metrics("sandwich_seed1", before + probe(300, "90", 0.2, 0.1, 50));
  scratch.metrics("sandwich_seed2", before + probe(300, "92", 0.3, 0.1, 54));

  const CollectedSweep collected = collect(sweep, scratch.folder());
  CHECK(collected.notes.empty());
  CHECK(collected.baseline == "pre_norm");
  CHECK(collected.scale.tokens == 300 * 2048);
  CHECK(collected.scale.context == 128);
  // Embedding and head 258 x 32 each; a layer: q, k, v, o 32 x 32, three FFN matrices 32 x 64, two norms of 32; a norm.
  CHECK(collected.scale.parameters == 2 * 258 * 32 + 2 * (4 * 32 * 32 + 3 * 32 * 64 + 64) + 32);

  REQUIRE(collected.rows.size() == 2);
  const CollectedRow& base = collected.rows[0];
  CHECK(base.seeds == 2);
  REQUIRE(base.runs.size() == 2);
  CHECK(base.runs[1].name == "pre_norm_seed2");
  CHECK(base.runs[1].seed == 2);
  check(base.figure("perplexity"), 2, 102, std::sqrt(8.0));
  check(base.figure("sink_ratio"), 2, 0.45, std::sqrt(0.005));
  check(base.figure("spike_max"), 2, 42, std::sqrt(8.0));
  check(base.figure("spike_ratio"), 2, 21, std::sqrt(2.0));
  const double u = 0.05942684;  // (H_64 - 1) / 63
  check(base.figure("sink_excess"), 2, (0.31 - u) / (1 - u), std::sqrt(0.0002) / (1 - u));
  CHECK(base.figure("sink_ratio").paper == 0.46);
  CHECK(collected.rows[1].figure("sink_ratio").paper == 0.447);
  CHECK_FALSE(base.figure("first_token_mass").paper);
  for (const CollectedFigure& figure : base.figures) CHECK(figure.direction == Direction::kNone);

  CHECK(collected.sink_judged_by == "sink_ratio");
  CHECK(collected.rows[1].figure("perplexity").direction == Direction::kAgrees);
  CHECK(collected.rows[1].figure("sink_ratio").direction == Direction::kAgrees);
  CHECK(collected.rows[1].figure("spike_max").direction == Direction::kDiffers);
  CHECK(collected.rows[1].figure("spike_ratio").direction == Direction::kNone);
}

TEST_CASE("sinks are judged by the mass on the first token where the baseline has few sink heads",
          "[sweeps][collect]") {
  const test::ScratchSweep scratch;
  const Sweep sweep = sweep_of({row("pre_norm", {1}, kPreNorm), row("gelu", {1}, PaperFigures{10.1, 69.3, 3369})});
  // The sink ratio falls and the mass rises, as the paper's sink ratio does.
  scratch.metrics("gelu", probe(300, "100", 0.01, 0.14, 40));
  scratch.metrics("pre_norm", probe(300, "100", 0.099, 0.11, 40));
  CollectedSweep collected = collect(sweep, scratch.folder());
  CHECK(collected.sink_judged_by == "sink_excess");
  CHECK(collected.rows[1].figure("sink_ratio").direction == Direction::kAgrees);

  scratch.metrics("pre_norm", probe(300, "100", 0.1, 0.11, 40));
  collected = collect(sweep, scratch.folder());
  CHECK(collected.sink_judged_by == "sink_ratio");
  CHECK(collected.rows[1].figure("sink_ratio").direction == Direction::kDiffers);
}

TEST_CASE("the excess of a short context is above its own uniform mass", "[sweeps][collect]") {
  const test::ScratchSweep scratch;
  Sweep sweep = sweep_of({row("long", {1}, kPreNorm), row("short", {1}, PaperFigures{12.4, 42.1, 5411})});
  sweep.rows[1].runs[0].config.model.context = 8;
  scratch.metrics("long", probe(300, "100", 0, 0.1, 40));
  scratch.metrics("short", probe(300, "100", 0, 0.2454, 40));  // (H_8 - 1) / 7 = 0.24541: no sink at all
  const CollectedSweep collected = collect(sweep, scratch.folder());
  check(collected.rows[1].figure("sink_excess"), 1, (0.2454 - 0.2454081632653061) / (1 - 0.2454081632653061), 0);
  CHECK(collected.rows[1].figure("sink_ratio").direction == Direction::kAgrees);  // more mass, but less of a sink
}

TEST_CASE("below uniform attention there is no sink to be more or less of", "[sweeps][collect]") {
  const test::ScratchSweep scratch;
  const Sweep sweep = sweep_of({row("pre_norm", {1}, kPreNorm), row("sandwich", {1}, kSandwich),
                                row("gelu", {1}, PaperFigures{10.1, 69.3, 3369})});
  scratch.metrics("pre_norm", probe(300, "100", 0, 0.04, 40));
  scratch.metrics("sandwich", probe(300, "100", 0, 0.01, 40));
  scratch.metrics("gelu", probe(300, "100", 0, 0.1, 40));
  const CollectedSweep collected = collect(sweep, scratch.folder());
  CHECK(collected.rows[1].figure("sink_ratio").direction == Direction::kUnclear);
  CHECK(collected.rows[2].figure("sink_ratio").direction == Direction::kAgrees);
  CHECK(collected.rows[1].figure("sink_excess").ours.mean < 0);  // as measured
}

TEST_CASE("runs that are missing, unfinished or damaged are notes, and the rest goes on", "[sweeps][collect]") {
  const test::ScratchSweep scratch;
  Sweep sweep = sweep_of({row("pre_norm", {1, 2, 3}, kPreNorm), row("sandwich", {1, 2, 3}, kSandwich)});
  const std::string done = probe(300, "100", 0.5, 0.3, 40);
  scratch.metrics("pre_norm_seed1", done);
  scratch.metrics("pre_norm_seed3", probe(200, "110", 0.5, 0.3, 40) + "{\"step\":210,\"loss\":4.7}\n");
  scratch.metrics("sandwich_seed1", "{\"step\":300,\"loss\":4.6}\n{\"step\":300,\"event\":\"pro\n");
  scratch.metrics("sandwich_seed2", "rubbish\n" + done);
  std::filesystem::create_directories(scratch.folder().run("sandwich_seed3").metrics());

  const CollectedSweep collected = collect(sweep, scratch.folder());
  std::vector<std::string> notes;
  for (const std::string& note : collected.notes) notes.push_back(scratch.shorten(note));
  REQUIRE(notes.size() == 6);
  CHECK(notes[0] == "pre_norm_seed2: has not started; left out");
  CHECK(notes[1] == "pre_norm_seed3: at step 210 of 300; left out");
  CHECK(notes[2] == "sandwich_seed1: runs/sandwich_seed1/metrics.jsonl:2: not a line of metrics; left out");
  CHECK(notes[3] == "sandwich_seed1: has no probe of its last step, 300; left out");
  CHECK(notes[4] == "sandwich_seed2: runs/sandwich_seed2/metrics.jsonl:1: not a line of metrics; left out");
  CHECK_THAT(notes[5], Catch::StartsWith("sandwich_seed3: cannot be read: "));
  CHECK(collected.rows[0].runs.size() == 1);
  CHECK(collected.rows[1].runs.size() == 1);
  CHECK(collected.rows[1].figure("perplexity").ours.count == 1);
}

TEST_CASE("a figure that is not finite is left out, not its run", "[sweeps][collect]") {
  const test::ScratchSweep scratch;
  const Sweep sweep = sweep_of({row("pre_norm", {1, 2}, kPreNorm)});
  scratch.metrics("pre_norm_seed1", probe(300, "null", 0.5, 0.3, 40));  // as NaN is logged
  scratch.metrics("pre_norm_seed2", probe(300, "90", 0.4, 0.3, 40));
  const CollectedSweep collected = collect(sweep, scratch.folder());
  check(collected.rows[0].figure("perplexity"), 1, 90, 0);
  check(collected.rows[0].figure("sink_ratio"), 2, 0.45, std::sqrt(0.005));
  REQUIRE(collected.notes.size() == 1);
  CHECK(collected.notes[0] == "pre_norm_seed1: perplexity of its last probe is not finite; left out");
}

TEST_CASE("without a baseline there are figures and no directions", "[sweeps][collect]") {
  const test::ScratchSweep scratch;
  const Sweep sweep = sweep_of({row("pre_norm", {1}, kPreNorm), row("sandwich", {1}, kSandwich)});
  scratch.metrics("sandwich", probe(300, "100", 0.5, 0.3, 40));
  const CollectedSweep collected = collect(sweep, scratch.folder());
  CHECK(collected.sink_judged_by.empty());
  CHECK(collected.rows[1].figure("perplexity").ours.mean == 100);
  CHECK(collected.rows[1].figure("perplexity").direction == Direction::kNone);
  REQUIRE(collected.notes.size() == 2);
  CHECK(collected.notes[1] == "pre_norm: no run of the baseline is finished, so there are no directions");
}

TEST_CASE("a run is finished at the last step of the config that it had", "[sweeps][collect]") {
  const test::ScratchSweep scratch;
  const Sweep sweep = sweep_of({row("pre_norm", {1, 2}, kPreNorm), row("sandwich", {1}, kSandwich)});
  Config shorter = small();
  shorter.train.steps = 20;
  shorter.run.dir = "elsewhere";
  shorter.checkpoint.keep = 7;
  // Its own, or else that which it is to be started with.
  test::ScratchSweep::write(scratch.folder().run("pre_norm_seed1").config(), write_config(shorter));
  test::ScratchSweep::write(scratch.folder().config("pre_norm_seed1"), write_config(small()));
  test::ScratchSweep::write(scratch.folder().config("pre_norm_seed2"), write_config(shorter));
  for (const char* run : {"pre_norm_seed1", "pre_norm_seed2"}) scratch.metrics(run, probe(20, "100", 0.5, 0.3, 40));
  test::ScratchSweep::write(scratch.folder().config("sandwich"), "modle: {}\n");
  scratch.metrics("sandwich", probe(300, "100", 0.5, 0.3, 40));
  const CollectedSweep collected = collect(sweep, scratch.folder());
  CHECK(collected.rows[0].runs.size() == 2);
  CHECK(collected.scale.tokens == 20 * 2048);
  REQUIRE(collected.notes.size() == 2);
  CHECK_THAT(scratch.shorten(collected.notes[0]),
             Catch::StartsWith("sandwich: cannot be read: configs/sandwich.yaml:1: "));
  CHECK(collected.notes[1] ==
        "pre_norm_seed1 and 1 more: run with another config than the sweep file's, was -> is: train.steps: 20 -> 300");
}

}  // namespace spikesink
