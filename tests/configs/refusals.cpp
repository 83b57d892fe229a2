// Every kind of mistake that a user can make in a config, and the whole line that answers it.
#include <fmt/format.h>

#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "tests/configs/folder.h"

namespace spikesink {
namespace {

struct Mistake {
  std::string yaml, line;
};

TEST_CASE("a mistake in a file is refused with its line, the reason and the mend", "[configs]") {
  const auto [yaml, line] = GENERATE(values<Mistake>({
      // keys
      {"model:\n  d_model: 8\n  ffn:\n    kind: swiglu\n    d_hiden: 7\n",
       "x.yaml:5: model.ffn.d_hiden: unknown key; did you mean d_hidden?"},
      {"trian: {steps: 3}\n", "x.yaml:1: trian: unknown key; did you mean train?"},
      {"model:\n  n_heads: 3\n", "x.yaml:2: model.n_heads: unknown key; did you mean model.attention.n_heads?"},
      {"train: {lr: 3e-4}\n", "x.yaml:1: train.lr: unknown key; did you mean train.optimizer.lr?"},
      {"model: {eps: 1e-5}\n", "x.yaml:1: model.eps: unknown key; did you mean model.norm.eps?"},
      {"optimizer: {lr: 3e-4}\n", "x.yaml:1: optimizer: unknown key; did you mean train.optimizer?"},
      {"checkpoint: {banana: 3}\n",
       "x.yaml:1: checkpoint.banana: unknown key; the keys here are every_steps, keep, async"},
      {"train.steps: 3\n", "x.yaml:1: train.steps: unknown key; dotted keys are for --set, in a file keys are nested"},
      {"train:\n  steps: 3\n  steps: 4\n", "x.yaml:3: train.steps: is given twice, first at x.yaml:2; keep one"},
      {"train: {steps: 3}\ntrain: {micro_batch: 4}\n", "x.yaml:2: train: is given twice, first at x.yaml:1; keep one"},
      {"[a, b]: 3\n", "x.yaml:1: a key must be one word"},
      // types
      {"train:\n  steps: abc\n", "x.yaml:2: train.steps: \"abc\" is not an integer"},
      {"train: {steps: 1.5}\n", "x.yaml:1: train.steps: \"1.5\" is not an integer"},
      {"train: {steps: 1e30}\n", "x.yaml:1: train.steps: \"1e30\" is not an integer"},
      {"train: {steps: 12 apples}\n", "x.yaml:1: train.steps: \"12 apples\" is not an integer"},
      {"train: {tokens: lots}\n", "x.yaml:1: train.tokens: \"lots\" is not a number"},
      {"train: {tokens: .inf}\n", "x.yaml:1: train.tokens: \".inf\" is not a number"},
      {"train: {tokens: nan}\n", "x.yaml:1: train.tokens: \"nan\" is not a number"},
      {"model: {tie_embeddings: 1}\n", "x.yaml:1: model.tie_embeddings: \"1\" is not true or false"},
      {"train:\n  steps:\n  micro_batch: 4\n",
       "x.yaml:2: train.steps: has no value; give an integer, or remove the key"},
      {"run: {name: ~}\n", "x.yaml:1: run.name: has no value; give a text, or remove the key"},
      {"run: {name: [a, b]}\n", "x.yaml:1: run.name: is a list, but must be a text"},
      {"train:\n  steps: {a: 3}\n", "x.yaml:2: train.steps: is a map, but must be an integer"},
      {"train:\n  optimizer: adamw\n", "x.yaml:2: train.optimizer: \"adamw\" is not a map of keys"},
      {"train: [1, 2]\n", "x.yaml:1: train: is a list, but must be a map of keys"},
      {"train:\n", "x.yaml:1: train: has no value; it is a map of keys, give one or remove it"},
      {"data: {train: a.jsonl}\n", "x.yaml:1: data.train: \"a.jsonl\" is not a list; write [a.jsonl]"},
      {"data: {train: {a: b}}\n", "x.yaml:1: data.train: is a map, but must be a list"},
      {"data: {train: }\n", "x.yaml:1: data.train: has no value; give a list, which may be empty: []"},
      {"train:\n  optimizer:\n    betas:\n      - 0.9\n      - high\n",
       "x.yaml:5: train.optimizer.betas: \"high\" is not a number"},
      {"data: {train: [[a]]}\n", "x.yaml:1: data.train: is a list, but must be a text"},
      {"train: {schedule: {kind: cosin}}\n",
       "x.yaml:1: train.schedule.kind: \"cosin\" is not one of constant, cosine, linear, wsd; did you mean cosine?"},
      {"train: {schedule: {kind: 7}}\n",
       "x.yaml:1: train.schedule.kind: \"7\" is not one of constant, cosine, linear, wsd"},
      {"metrics: {loggers: [jsnl]}\n",
       "x.yaml:1: metrics.loggers: \"jsnl\" is not one of jsonl, tensorboard, wandb; did you mean jsonl?"},
      // files
      {"train: {steps: 3\nmodel: 4\n",
       "x.yaml:2: not valid YAML: end of map flow not found; a text with special characters needs quotes"},
      {"data:\n  train: [*.jsonl]\n",
       "x.yaml:2: not valid YAML: the referenced anchor is not defined; a text with special characters needs "
       "quotes"},
      {"run: {seed: 1}\n---\nrun: {seed: 2}\n",
       "x.yaml:2: not valid YAML: a stray character or a second document follows; remove it"},
      {", run: {seed: 1}\n", "x.yaml:1: not valid YAML: a stray character or a second document follows; remove it"},
      {"just a text\n", "x.yaml:1: the file must be a map of keys, e.g. train: {steps: 100}"},
      {"extends: nope.yaml\n",
       "x.yaml:1: extends: nope.yaml: no such file; the path is relative to the file that extends it"},
      {"run: {seed: 1}\nextends: x.yaml\n",
       "x.yaml:2: extends: x.yaml: extends this file in turn; a chain of files must end"},
      {"extends: {a: b}\n", "x.yaml:1: extends: must be a file, or a list of files: later ones override earlier ones"},
      {"extends: [[a.yaml]]\n",
       "x.yaml:1: extends: must be a file, or a list of files: later ones override earlier ones"},
      {"extends:\n", "x.yaml:1: extends: must be a file, or a list of files: later ones override earlier ones"},
      {"extends: []\n", "x.yaml:1: extends: names no file; remove it"},
      {"extends: [nope.yaml, x.yaml]\n",
       "x.yaml:1: extends: nope.yaml: no such file; the path is relative to the file that extends it"},
      // combinations
      {"train:\n  tokens: 1e6\n  steps: 3\n",
       "x.yaml:3: train.steps: train.tokens is given too (x.yaml:2); keep one of them"},
      {"train:\n  schedule:\n    kind: constant\n    min_ratio: 0.1\n",
       "x.yaml:4: train.schedule.min_ratio: has no effect with a constant schedule (train.schedule.kind: x.yaml:3); "
       "remove it, or change train.schedule.kind"},
      {"train:\n  schedule: {decay_share: 0.2}\n",
       "x.yaml:2: train.schedule.decay_share: has an effect only with schedule kind wsd (train.schedule.kind: the "
       "default); remove it, or change train.schedule.kind"},
      {"data: {validation: [v.jsonl], holdout: 0.1}\n",
       "x.yaml:1: data.holdout: has no effect where data.validation names shards (data.validation: x.yaml:1); remove "
       "it, "
       "or change data.validation"},
      {"model:\n  norm:\n    alpha: {ffn: 0.3}\n",
       "x.yaml:3: model.norm.alpha.ffn: has an effect only with norm kind dynamic_tanh (model.norm.kind: the default); "
       "remove it, or change model.norm.kind"},
      {"model: {norm: {beta: true}}\n",
       "x.yaml:1: model.norm.beta: has an effect only with norm kind dynamic_tanh (model.norm.kind: the default); "
       "remove it, or change model.norm.kind"},
      {"model:\n  norm:\n    kind: dynamic_tanh\n    final: false\n    alpha: {final: 0.3}\n",
       "x.yaml:5: model.norm.alpha.final: has no effect without the final norm (model.norm.final: x.yaml:4); remove "
       "it, "
       "or change model.norm.final"},
      {"model:\n  norm:\n    kind: dynamic_tanh\n    input: false\n    alpha: {attention: 0.3}\n",
       "x.yaml:5: model.norm.alpha.attention: has no effect where norm.input and norm.output are both false "
       "(model.norm.input: x.yaml:4); remove it, or change model.norm.input"},
      {"model:\n  norm:\n    kind: dynamic_tanh\n    eps: 1e-6\n",
       "x.yaml:4: model.norm.eps: has no effect with dynamic_tanh and without norm.qk (model.norm.kind: x.yaml:3); "
       "remove it, or change model.norm.kind"},
      {"model:\n  norm:\n    output_eps: 1\n",
       "x.yaml:3: model.norm.output_eps: has no effect without the norms after attention and FFN (model.norm.output: "
       "the default); remove it, or change model.norm.output"},
      {"model:\n  norm:\n    kind: dynamic_tanh\n    output: true\n    output_eps: 1\n",
       "x.yaml:5: model.norm.output_eps: has no effect with dynamic_tanh (model.norm.kind: x.yaml:3); remove it, or "
       "change model.norm.kind"},
      {"model: {norm: {input: false, output: true, final: false, output_eps: 1, eps: 1e-6}}\n",
       "x.yaml:1: model.norm.eps: has no effect where every norm is an output norm, which takes norm.output_eps "
       "(model.norm.input: x.yaml:1); remove it, or change model.norm.input"},
      {"model:\n  norm:\n    output: true\n    output_eps: 0\n",
       "x.yaml:4: model.norm.output_eps: 0, must be from 1e-30 to 1e30, which f32 still holds; without it norm.eps is "
       "taken"},
      {"model: {norm: {eps: 1e31}}\n",
       "x.yaml:1: model.norm.eps: 1e+31, must be from 1e-30 to 1e30, which f32 still holds; 1e-5 is usual"},
      {"model: {norm: {input: false, final: false, eps: 1e-6}}\n",
       "x.yaml:1: model.norm.eps: has no effect without a norm: input, output and final are false and qk is none "
       "(model.norm.input: x.yaml:1); remove it, or change model.norm.input"},
      {"model:\n  norm:\n    kind: layernorm\n    input: false\n    final: false\n",
       "x.yaml:3: model.norm.kind: has no effect where norm.input, norm.output and norm.final are all false "
       "(model.norm.input: x.yaml:4); remove it, or change model.norm.input"},
      {"model: {attention: {gate: {granularity: head}}}\n",
       "x.yaml:1: model.attention.gate.granularity: has no effect without a gate (model.attention.gate.source: the "
       "default); remove it, or change model.attention.gate.source"},
      {"model:\n  ffn:\n    kind: linear\n    d_hidden: 64\n",
       "x.yaml:4: model.ffn.d_hidden: has an effect only with ffn kinds swiglu and gelu, which have a hidden layer "
       "(model.ffn.kind: x.yaml:3); remove it, or change model.ffn.kind"},
      {"model: {ffn: {gelu: tanh}}\n",
       "x.yaml:1: model.ffn.gelu: has an effect only with ffn kind gelu (model.ffn.kind: the default); remove it, or "
       "change model.ffn.kind"},
      {"data: {train: [a]}\ntrain: {steps: 3}\nmodel:\n  attention: {d_head: 7}\n",
       "x.yaml:4: model.attention.d_head: 7 is odd, but rotary positions turn pairs of channels; choose an even "
       "d_head"},
      {"data: {train: [a]}\ntrain: {steps: 3}\nmodel:\n  attention: {n_heads: 6, n_kv_heads: 4}\n",
       "x.yaml:4: model.attention.n_kv_heads: 4 does not divide n_heads 6; choose a divisor"},
      {"data: {train: [a]}\ntrain: {steps: 3}\nmodel:\n  norm:\n    kind: dynamic_tanh\n    alpha: {ffn: 0}\n",
       "x.yaml:6: model.norm.alpha.ffn: 0, must be positive, since tanh(0 x) passes nothing on; 0.2 is usual at "
       "d_model 4096"},
      {"data: {train: [a]}\ntrain: {steps: 3, loss_from_position: 9}\nmodel: {context: 8}\n",
       "x.yaml:2: train.loss_from_position: 9, must lie between 1 and model.context 8"},
      // values
      {"data: {train: [a]}\ntrain:\n  steps: 3\n  micro_batch: 0\n",
       "x.yaml:4: train.micro_batch: 0, must be at least 1"},
      {"data: {train: [a]}\ntrain: {steps: 3}\nmodel: {n_layers: 1000000000000}\n",
       "x.yaml:3: model.n_layers: 1000000000000, must be at most 4096"},
      {"data: {train: [a]}\ntrain: {steps: 3, batch_tokens: 1000000000000000000}\n",
       "x.yaml:2: train.batch_tokens: 1000000000000000000, must be at most 68719476736"},
      {"data: {train: [a]}\ntrain: {steps: 9223372036854775807}\n",
       "x.yaml:2: train.steps: 9223372036854775807, must lie between 0 and 1099511627776"},
      {"data: {train: [a]}\ntrain: {steps: 1000000000000, batch_tokens: 2097152}\n",
       "x.yaml:2: train.steps: 1000000000000 steps of 2097152 tokens are more than 1e+18 tokens; lower it or "
       "train.batch_tokens"},
      {"data: {train: [a]}\nmodel: {context: 8}\ntrain: {tokens: 1e17, batch_tokens: 8}\n",
       "x.yaml:3: train.tokens: 12500000000000000 steps of 8 tokens, more than 1099511627776; raise "
       "train.batch_tokens"},
      {"data: {train: [a]}\ntrain: {steps: 3}\ncheckpoint: {every_steps: 9223372036854775807}\n",
       "x.yaml:3: checkpoint.every_steps: 9223372036854775807, must lie between 1 and 1099511627776"},
      {"data: {train: [a]}\ntrain: {steps: 3}\nmetrics: {probe_every_steps: -1}\n",
       "x.yaml:3: metrics.probe_every_steps: -1, must lie between 0 and 1099511627776"},
      {"data: {train: [a]}\ntrain: {steps: 3, schedule: {warmup_steps: 9223372036854775807}}\n",
       "x.yaml:2: train.schedule.warmup_steps: 9223372036854775807, must lie between 0 and 1099511627776"},
      {"data: {train: [a]}\nrun: {name: \"a\\0b\"}\ntrain: {steps: 3}\n",
       "x.yaml:2: run.name: must be one line of UTF-8 without control characters"},
      {"data: {train: [\"a\\nb\"]}\ntrain: {steps: 3}\n",
       "x.yaml:1: data.train: must be one line of UTF-8 without control characters"},
      {"data: {train: [a]}\ntrain: {steps: 3, micro_batch: 9223372036854775807}\n",
       "x.yaml:2: train.micro_batch: 9223372036854775807, must be at most 16777216"},
      {"data: {train: [a]}\ntrain: {steps: 3}\nmetrics: {sequences: 9223372036854775807}\n",
       "x.yaml:3: metrics.sequences: 9223372036854775807, must be at most 16777216"},
      {"data: {train: [a]}\ntrain: {steps: 3, optimizer: {eps: 1e-50}}\n",
       "x.yaml:2: train.optimizer.eps: 1e-50, must be at least 1e-30, which f32 still holds; 1e-8 is usual"},
      {"data: {train: [a]}\ntrain: {steps: 3}\nmodel: {attention: {rope_scaling: {kind: linear, factor: 0}}}\n",
       "x.yaml:3: model.attention.rope_scaling.factor: 0, must be positive; 8 is Llama 3.1's"},
      {"data: {train: [a]}\ntrain: {steps: 3}\nmodel: {attention: {rope_scaling: {kind: llama3, low_freq_factor: "
       "0}}}\n",
       "x.yaml:3: model.attention.rope_scaling.low_freq_factor: 0, must be above 0; 1 is usual"},
      {"data: {train: [a]}\ntrain: {steps: 3}\nmodel: {attention: {rope_scaling: {kind: llama3, high_freq_factor: "
       "1}}}\n",
       "x.yaml:3: model.attention.rope_scaling.high_freq_factor: 1, must be above low_freq_factor, which is 1; 4 and 1 "
       "are usual"},
      {"data: {train: [a]}\ntrain: {steps: 3}\nmodel: {attention: {rope_scaling: {kind: llama3, original_context: "
       "0}}}\n",
       "x.yaml:3: model.attention.rope_scaling.original_context: 0, must be at least 1"},
      {"data: {train: [a]}\ntrain: {steps: 3}\nsystem: {rank_timeout: 0}\n",
       "x.yaml:3: system.rank_timeout: 0, must be at least 1 second"},
      {"data: {train: [a]}\ntrain: {steps: 3}\nmetrics: {loggers: [wandb]}\n",
       "x.yaml:3: metrics.loggers: wandb sends what jsonl writes; name both, [jsonl, wandb]"},
      {"system: {device: gpu}\n", "x.yaml:1: system.device: \"gpu\" is not one of auto, cpu, cuda; did you mean cuda?"},
      {"system: {device: cup}\n", "x.yaml:1: system.device: \"cup\" is not one of auto, cpu, cuda; did you mean cpu?"},
      {"data: {train: [a]}\n",
       "x.yaml: train: neither tokens nor steps is given; give one of them, e.g. train.steps: 1000"},
      {"", "x.yaml: data.train: names no shards; give files or globs, e.g. [data/*.jsonl.zst]"},
      {"run: {name: a/b}\n",
       "x.yaml:1: run.name: \"a/b\" is not the name of one folder; parents of it belong into run.dir"},
  }));
  const test::Folder folder;
  folder.write("x.yaml", yaml);
  CAPTURE(yaml);
  CHECK(folder.refusal("x.yaml") == line);
}

TEST_CASE("a mistake in --set is refused with what was typed", "[configs]") {
  const test::Folder folder;
  folder.write("x.yaml", "data: {train: [a]}\ntrain:\n  steps: 3\n");
  const auto [set, line] = GENERATE(values<Mistake>({
      {"train.stepz=3", "--set train.stepz=3: train.stepz: unknown key; did you mean steps?"},
      {"trian.steps=3", "--set trian.steps=3: trian: unknown key; did you mean train?"},
      {"trian.optimizer.lr=3", "--set trian.optimizer.lr=3: trian: unknown key; did you mean train?"},
      {"train.steps.now=3",
       "--set train.steps.now=3: train.steps.now: unknown key; train.steps is a value and has no keys"},
      {"steps=3", "--set steps=3: steps: unknown key; did you mean train.steps?"},
      {"extends=y.yaml",
       "--set extends=y.yaml: extends: unknown key; the keys here are run, model, data, train, system, checkpoint, "
       "metrics"},
      {"train.steps", "--set train.steps: must be key=value, e.g. train.steps=100"},
      {"=3", "--set =3: must be key=value, e.g. train.steps=100"},
      {"train.steps=many", "--set train.steps=many: train.steps: \"many\" is not an integer"},
      {"train.steps=", "--set train.steps=: train.steps: has no value; give an integer, or remove the key"},
      {"train.steps=-1", "--set train.steps=-1: train.steps: -1, must lie between 0 and 1099511627776"},
      {"data.train=[a",
       "--set data.train=[a: not valid YAML: end of sequence flow not found; a text with special "
       "characters needs quotes"},
      {"train={tokens: 3, steps: 4}",
       "--set train={tokens: 3, steps: 4}: train.steps: train.tokens is given too (--set "
       "train={tokens: 3, steps: 4}); keep one of them"},
      {"train.schedule.decay_share=0.2",
       "--set train.schedule.decay_share=0.2: train.schedule.decay_share: has an effect only with schedule kind wsd "
       "(train.schedule.kind: the default); remove it, or change train.schedule.kind"},
  }));
  CHECK(folder.refusal("x.yaml", {set}) == line);
}

TEST_CASE("a precision that the device of --set does not have is no mistake of the file", "[configs]") {
  const test::Folder folder;
  const auto [precision, device, line] = GENERATE(table<std::string, std::string, std::string>({
      {"f64", "cuda",
       "system.device: cuda, but system.precision f64 is for the CPU only; set system.precision=f32 (or bf16) with it"},
      {"bf16", "cpu", "system.device: cpu, where system.precision bf16 is not; set system.precision=f32 with it"},
  }));
  folder.write("x.yaml", "data: {train: [a]}\ntrain: {steps: 3}\nsystem: {precision: " + precision + "}\n");
  const std::string set = "system.device=" + device;
  CHECK(folder.refusal("x.yaml", {set}) == "--set " + set + ": " + line);
}

TEST_CASE("a mistake in a base is refused with the base's name and line, also where it is overridden", "[configs]") {
  const test::Folder folder;
  folder.write("bases/b.yaml", "# base\ntrain:\n  steps: abc\n");
  folder.write("x.yaml", "extends: bases/b.yaml\ntrain: {steps: 3}\n");
  CHECK(folder.refusal("x.yaml") == "bases/b.yaml:3: train.steps: \"abc\" is not an integer");

  folder.write("bases/b.yaml", "data: {train: [a]}\ntrain:\n  steps: 3\n  micro_batch: 0\n");
  CHECK(folder.refusal("x.yaml") == "bases/b.yaml:4: train.micro_batch: 0, must be at least 1");
}

TEST_CASE("files that extend each other in a circle are refused", "[configs]") {
  const test::Folder folder;
  folder.write("a.yaml", "extends: sub/b.yaml\n");
  folder.write("sub/b.yaml", "# b\nextends: ../a.yaml\n");
  CHECK(folder.refusal("a.yaml") ==
        "sub/b.yaml:2: extends: a.yaml: extends this file in turn; a chain of files must end");
}

TEST_CASE("more than a hundred files for one are refused, a file as often as it is named", "[configs]") {
  const test::Folder folder;
  // Each names the next one twice: 2^30 readings of the last.
  for (int i = 0; i < 30; ++i)
    folder.write(fmt::format("f{}.yaml", i), fmt::format("# f\nextends: [f{0}.yaml, f{0}.yaml]\n", i + 1));
  const std::string end = "data: {train: [a]}\ntrain: {steps: 3}\n";
  folder.write("f30.yaml", end);
  const std::string refusal = "is one file too many: 100 are read already, each as often as it is named; name it once";
  CHECK(folder.refusal("f0.yaml") == "f29.yaml:2: extends: f30.yaml: " + refusal);
  CHECK(folder.refusal("f25.yaml") == "accepted");

  std::string list = "f30.yaml";
  for (int i = 1; i < 99; ++i) list += ", f30.yaml";
  folder.write("x.yaml", "extends: [" + list + "]\n");
  CHECK(folder.refusal("x.yaml") == "accepted");
  folder.write("x.yaml", "extends: [" + list + ", f30.yaml]\n");
  CHECK(folder.refusal("x.yaml") == "x.yaml:1: extends: f30.yaml: " + refusal);
  // Those of another base are of the same hundred; a chain is as long as its files.
  folder.write("y.yaml", "extends: [f25.yaml, x.yaml]\n");
  CHECK(folder.refusal("y.yaml") == "x.yaml:1: extends: f30.yaml: " + refusal);
}

TEST_CASE("a file that is not there, or is a folder, is refused by name", "[configs]") {
  const test::Folder folder;
  CHECK(folder.refusal("nope.yaml") == "nope.yaml: no such file; the path is relative to the current folder");
  folder.write("sub/b.yaml", "");
  CHECK(folder.refusal("sub") == "sub: is a folder, not a config file");
}

TEST_CASE("a message stays one line, whatever was typed", "[configs]") {
  const test::Folder folder;
  folder.write("x.yaml", "train: {steps: \"1\\n2\"}\n");
  CHECK(folder.refusal("x.yaml") == "x.yaml:1: train.steps: \"1\\n2\" is not an integer");
  folder.write("y.yaml", "");
  CHECK(folder.refusal("y.yaml", {"train.steps=a\nb"}).find('\n') == std::string::npos);
  folder.write("z.yaml", "\"a\\nb\": 3\n");
  CHECK(folder.refusal("z.yaml").find('\n') == std::string::npos);
}

}  // namespace
}  // namespace spikesink
