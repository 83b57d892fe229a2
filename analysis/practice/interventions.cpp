#include "analysis/practice/interventions.h"

#include <fmt/format.h>

#include <cmath>
#include <limits>
#include <memory>

#include "analysis/observers.h"
#include "analysis/practice/cache_attention.h"
#include "analysis/practice/removals.h"
#include "analysis/practice/text.h"
#include "analysis/sinks.h"
#include "analysis/spikes.h"
#include "analysis/study/passes.h"
#include "analysis/study/spike_places.h"

namespace spikesink {
namespace {

constexpr std::int64_t kDraws = 3;      // of random channels and heads
constexpr std::int64_t kMostRuns = 17;  // of the text, with every row

/// Means of the residual stream after every block: of each channel over all tokens, and over its massive values.
class ChannelMeans final : public Observer {
 public:
  explicit ChannelMeans(const Study& study) : study_(study), blocks_(study.model.blocks().size()) {
    for (std::size_t b = 0; b < blocks_.size(); ++b) index_[study.model.blocks()[b].residual] = b;
  }
  void activation(std::string_view path, const Tensor& value) override {
    const auto at = index_.find(path);
    if (at == index_.end()) return;
    const auto C = static_cast<std::size_t>(study_.model.config().d_model);
    const auto bounds = massive_bounds(study_, value), x = host_values(study_.stream, value);
    Sums& sums = blocks_[at->second];
    sums.all.resize(C), sums.massive.resize(C), sums.count.resize(C);
    for (std::size_t i = 0; i < x.size(); ++i) {
      sums.all[i % C] += x[i];
      if (!(std::abs(x[i]) > bounds[i / C / static_cast<std::size_t>(study_.length)])) continue;
      sums.massive[i % C] += x[i];
      sums.count[i % C] += 1;
    }
  }
  /// (2 L, channels) over all tokens.
  std::vector<double> of(const std::vector<std::int64_t>& channels) const {
    return each(channels, [this](const Sums& sums, std::size_t c) {
      return sums.all[c] / static_cast<double>(study_.tokens.size());
    });
  }
  /// (2 L, channels) over massive values; 0 where there is none.
  std::vector<double> of_massive(const std::vector<std::int64_t>& channels) const {
    return each(channels, [](const Sums& sums, std::size_t c) {
      return sums.count[c] > 0 ? sums.massive[c] / sums.count[c] : 0;
    });
  }

 private:
  struct Sums {
    std::vector<double> all, massive, count;  // (C)
  };
  template <class F>
  std::vector<double> each(const std::vector<std::int64_t>& channels, F&& f) const {
    std::vector<double> means;
    for (const Sums& sums : blocks_)
      for (const std::int64_t c : channels) means.push_back(f(sums, static_cast<std::size_t>(c)));
    return means;
  }

  const Study& study_;
  std::map<std::string, std::size_t, std::less<>> index_;
  std::vector<Sums> blocks_;
};

/// Runs of the text, each a row of the results.
class Rows {
 public:
  Rows(const Study& study, const StudyText& text) : study_(study), text_(text) {}

  SinkFigures sinks;  ///< of the last run
  SpikeFigures spikes;

  void add(const std::string& name, StudyText::Changes changes, Observer* beside = nullptr, bool sinks_hold = true) {
    SinkObserver sink_observer(study_.stream, study_.sink_epsilon);
    SpikeObserver spike_observer(study_.stream, study_.model.blocks(), study_.length, study_.spike);
    std::vector<Observer*> all{&sink_observer, &spike_observer};
    if (beside) all.push_back(beside);
    Observers observers(std::move(all));
    changes.observer = &observers;
    loss_.push_back(text_.loss(changes));
    sinks = sink_observer.figures();
    spikes = spike_observer.figures();
    double spike_tokens = 0;
    for (const BlockSpikes& block : spikes.blocks) spike_tokens = std::max(spike_tokens, block.spike_tokens);
    const double nan = std::numeric_limits<double>::quiet_NaN();
    names_.push_back(name);
    sink_ratio_.push_back(sinks_hold ? sinks.sink_ratio : nan);
    first_token_mass_.push_back(sinks_hold ? sinks.first_token_mass : nan);
    spike_max_.push_back(spikes.spike_max);
    spike_ratio_.push_back(spikes.spike_ratio);
    spike_tokens_.push_back(spike_tokens);
  }

  void write(Results& results) const {
    const auto n = std::ssize(names_);
    std::string list;
    for (const std::string& name : names_) list += (list.empty() ? "" : ", ") + name;
    std::vector<double> perplexity;
    for (const double value : loss_) perplexity.push_back(std::exp(value));
    const auto array = [&](const char* name, const std::vector<double>& values, const char* unit, const char* meaning) {
      results.array(name, values, {n}, unit, std::string("(row): ") + meaning);
    };
    array("loss", loss_, "nats", ("mean loss a token; rows: " + list).c_str());
    array("perplexity", perplexity, "1", "exp of it");
    array("sink_ratio", sink_ratio_, "1", "as in the group sinks; NaN where attention's weights cannot be seen");
    array("first_token_mass", first_token_mass_, "1",
          "as in the group sinks; NaN where attention's weights cannot be seen");
    array("spike_max", spike_max_, "activation", "largest |h| after any block");
    array("spike_ratio", spike_ratio_, "1", "spike_max over the median |h| after its block");
    array("spike_tokens", spike_tokens_, "tokens",
          "positions of a sequence that hold a massive activation, mean over sequences; of the block with most");
    for (std::size_t i = 0; i < names_.size(); ++i)
      results.summary["rows"][names_[i]] = {{"perplexity", perplexity[i]},
                                            {"added_loss", loss_[i] - loss_[0]},
                                            {"sink_ratio", sink_ratio_[i]},
                                            {"spike_max", spike_max_[i]}};
  }

 private:
  const Study& study_;
  const StudyText& text_;
  std::vector<std::string> names_;
  std::vector<double> loss_, sink_ratio_, first_token_mass_, spike_max_, spike_ratio_, spike_tokens_;
};

/// Spike channels; of a model without massive activations the one that holds the largest value.
std::vector<std::int64_t> channels_to_set(const SpikePlaces& places, const SpikeFigures& spikes) {
  if (!places.channels.empty()) return places.channels;
  const auto largest = std::ranges::max_element(spikes.blocks, {}, &BlockSpikes::max);
  return {largest->top[0].channel};
}

/// Are there as many others to draw as are removed?
bool has_control(std::int64_t removed, std::int64_t of) { return 2 * removed <= of; }

void add_channel_rows(const Study& study, Rows& rows, const ChannelMeans& means, const SpikePlaces& places,
                      const std::vector<std::int64_t>& channels) {
  using Where = ChannelsSet::Where;
  const auto set = [&](const std::string& name, const std::vector<std::int64_t>& which, std::vector<double> to,
                       Where where) {
    ChannelsSet setter(study, which, std::move(to), where);
    rows.add(name, {.intervention = &setter});
  };
  const auto zeros = [&](const auto& which) { return std::vector<double>(study.model.blocks().size() * which.size()); };
  set("spike_channels_zero", channels, zeros(channels), Where::kEverywhere);
  set("spike_channels_mean", channels, means.of(channels), Where::kEverywhere);
  if (!places.channels.empty()) {
    set("spikes_zero", channels, zeros(channels), Where::kMassive);
    set("spikes_mean", channels, means.of_massive(channels), Where::kMassive);
  }
  if (!has_control(std::ssize(channels), study.model.config().d_model)) return;
  const std::set<std::int64_t> but(channels.begin(), channels.end());
  for (std::int64_t draw = 1; draw <= kDraws; ++draw) {
    const auto others =
        drawn_others(study.model.config().d_model, std::ssize(channels), but, static_cast<std::uint64_t>(draw));
    set(fmt::format("random_channels_zero_{}", draw), others, zeros(others), Where::kEverywhere);
    set(fmt::format("random_channels_mean_{}", draw), others, means.of(others), Where::kEverywhere);
  }
}

void add_head_rows(const Study& study, Rows& rows, const std::set<std::int64_t>& heads, std::int64_t num_heads) {
  const auto zero = [&](const std::string& name, const std::set<std::int64_t>& which) {
    HeadsZeroed zeroed(study, which);
    rows.add(name, {.intervention = &zeroed});
  };
  zero("sink_heads_zero", heads);
  if (!has_control(std::ssize(heads), num_heads)) return;
  for (std::int64_t draw = 1; draw <= kDraws; ++draw) {
    const auto others = drawn_others(num_heads, std::ssize(heads), heads, static_cast<std::uint64_t>(draw));
    zero(fmt::format("random_heads_zero_{}", draw), {others.begin(), others.end()});
  }
}

}  // namespace

void interventions(const Study& study, Results& results) {
  const SpikePlaces& places = spike_places(study);
  StudyText text(study, kMostRuns);
  ChannelMeans means(study);
  {
    HeadsZeroed typical(study, {0});
    SinkObserver observer(study.stream, study.sink_epsilon);
    text.foretell("interventions", {.intervention = &typical, .observer = &observer});
  }
  Rows rows(study, text);
  rows.add("as_it_is", {}, &means);
  const std::vector<std::int64_t> channels = channels_to_set(places, rows.spikes);
  std::set<std::int64_t> heads;
  for (std::size_t h = 0; h < rows.sinks.heads.size(); ++h)
    if (is_sink_head(rows.sinks.heads[h].sink_share)) heads.insert(static_cast<std::int64_t>(h));
  const auto num_heads = std::ssize(rows.sinks.heads);
  const std::int64_t d_model = study.model.config().d_model;
  const bool channel_control = has_control(std::ssize(channels), d_model),
             head_control = has_control(std::ssize(heads), num_heads);
  text.expect(kMostRuns - (places.channels.empty() ? 2 : 0) - (channel_control ? 0 : 2 * kDraws) -
              (heads.empty()  ? 1 + kDraws
               : head_control ? 0
                              : kDraws));

  add_channel_rows(study, rows, means, places, channels);
  if (!heads.empty()) add_head_rows(study, rows, heads, num_heads);
  rows.add("no_first_token", {.without_first_token = true});
  const std::int64_t other = std::max<std::int64_t>(study.length / 4, 1);
  CacheAttention without(study.stream, study.model.config().attention, {.size = study.length, .without = other});
  rows.add("no_other_token", {.intervention = &without}, nullptr, /*sinks_hold=*/false);

  rows.write(results);
  results.summary["channels"] = channels;
  results.summary["sink_heads"] = heads;
  results.summary["heads"] = num_heads;
  auto& left_out = results.summary["left_out"] = nlohmann::ordered_json::object();
  if (places.channels.empty())
    left_out["spikes"] = "no massive activation; the channel of the largest value is taken as the spike channel";
  const auto no_control = [](std::int64_t removed, std::int64_t of, const char* what) {
    return fmt::format("{} of {} {} are removed: there are not as many others to compare with", removed, of, what);
  };
  if (!channel_control) left_out["random_channels"] = no_control(std::ssize(channels), d_model, "channels");
  if (!head_control) left_out["random_heads"] = no_control(std::ssize(heads), num_heads, "heads");
  if (heads.empty()) left_out["sink_heads"] = "no head is a sink head in half of the sequences";
}

}  // namespace spikesink
