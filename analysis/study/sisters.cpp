#include "analysis/study/sisters.h"

#include <string>

#include "analysis/sinks.h"
#include "analysis/spikes.h"
#include "analysis/study/distribution.h"
#include "analysis/study/passes.h"

namespace spikesink {
namespace {

class Both final : public StudyObserver {
 public:
  Both(const Study& study, std::int64_t length)
      : sinks(study.stream, study.sink_epsilon), spikes(study.stream, study.model.blocks(), length, study.spike) {}
  void activation(std::string_view path, const Tensor& value) override { spikes.activation(path, value); }
  void attention(std::string_view path, const AttentionTap& tap) override { sinks.attention(path, tap); }

  SinkObserver sinks;
  SpikeObserver spikes;
};

void add(Results& results, const std::string& group, const Both& seen) {
  const SinkFigures sinks = seen.sinks.figures();
  const SpikeFigures spikes = seen.spikes.figures();
  const auto S = static_cast<std::int64_t>(sinks.sequences.size());
  nlohmann::ordered_json& summary = results.summary[group];
  summary = {{"tokens", sinks.length}, {"sequences", S}};
  const auto column = [&](const std::string& name, const auto& items, auto member, const std::string& unit,
                          const std::string& meaning) {
    std::vector<double> values;
    for (const auto& item : items) values.push_back(item.*member);
    summary[name] = distribution(values);
    results.array(group + "/" + name, std::move(values), {S}, unit, "(sequence): " + meaning);
  };
  column("sink_ratio", sinks.sequences, &SequenceSinks::sink_ratio, "1",
         "share of heads with a position in the first half that gets more than sink_epsilon of the head's attention");
  column("sink_first", sinks.sequences, &SequenceSinks::sink_first, "1",
         "share of heads that give position 1 more than sink_epsilon");
  column("first_token_mass", sinks.sequences, &SequenceSinks::first_token_mass, "1",
         "mean attention on position 1 over layers, heads and queries from position 2 on");
  column("spike_max", spikes.sequences, &SequenceSpikes::max, "activation",
         "largest |h| in the residual stream after any block");
  column("spike_ratio", spikes.sequences, &SequenceSpikes::ratio, "1",
         "spike_max over the median |h| of the sequence after the block that holds it");
  // As a probe has them: not a mean over sequences, but of the largest and the block that holds it.
  summary["probe"] = {
      {"spike_max", spikes.spike_max}, {"spike_mean", spikes.spike_mean}, {"spike_ratio", spikes.spike_ratio}};
}

}  // namespace

void sisters(const Study& study, Results& results) {
  const bool twice = study.context > 0 && study.context != study.length;
  const auto short_share = static_cast<double>(study.tokens.size()) /
                           static_cast<double>(study.tokens.size() + (twice ? study.context_tokens.size() : 0));
  Both at_length(study, study.length);
  run_passes(study, at_length, 0, short_share);
  add(results, "length", at_length);
  if (!twice) {
    if (study.context == study.length) add(results, "context", at_length);
    return;
  }
  Both at_context(study, study.context);
  run_passes(study, study.context_tokens, study.context, at_context, short_share, 1);
  add(results, "context", at_context);
}

}  // namespace spikesink
