#include <cstdio>
#include <filesystem>

#include "analysis/probe.h"
#include "io/atomic_file.h"
#include "io/h5.h"

namespace spikesink {
namespace {

/// `value(item)` of every item, as the dataset `name` of the given shape, with what it means.
template <class Item>
void write_column(H5File& file, const std::string& name, const std::vector<Item>& items,
                  const std::vector<std::int64_t>& dims, const char* meaning, auto value) {
  std::vector<decltype(value(items.front()))> column;
  column.reserve(items.size());
  for (const Item& item : items) column.push_back(value(item));
  file.write<typename decltype(column)::value_type>(name, column, dims);
  file.attribute(name, "meaning", std::string(meaning));
}

void write_sinks(H5File& file, const std::string& group, const SinkFigures& sinks) {
  const auto heads = static_cast<std::int64_t>(sinks.heads.size()), H = sinks.n_heads, L = heads / H;
  const std::vector<std::int64_t> by_head{L, H};
  std::vector<double> alpha;
  for (const HeadSinks& head : sinks.heads) alpha.insert(alpha.end(), head.alpha.begin(), head.alpha.end());
  file.write<double>(group + "/alpha", alpha, {L, H, sinks.length});
  file.attribute(group + "/alpha", "meaning",
                 std::string("(layer, head, position): share of a head's attention that a position gets over all "
                             "queries, mean over sequences"));
  write_column(file, group + "/sink_share", sinks.heads, by_head, "share of sequences in which the head is a sink head",
               [](const HeadSinks& h) { return h.sink_share; });
  write_column(file, group + "/sink_token", sinks.heads, by_head,
               "1-based position that is the head's sink most often, 0 if it is never a sink head",
               [](const HeadSinks& h) { return h.sink_token; });
  write_column(file, group + "/first_token_mass", sinks.heads, by_head,
               "mean attention on position 1 of queries from position 2 on",
               [](const HeadSinks& h) { return h.first_token_mass; });
}

void write_spikes(H5File& file, const SpikeFigures& spikes) {
  const auto blocks = static_cast<std::int64_t>(spikes.blocks.size());
  const auto column = [&](const char* name, const char* meaning, auto value) {
    write_column(file, std::string("spike/") + name, spikes.blocks, {blocks}, meaning, value);
  };
  column("max", "max |h| after the block", [](const BlockSpikes& b) { return b.max; });
  column("mean", "mean over sequences of each one's max |h|", [](const BlockSpikes& b) { return b.mean; });
  column("median", "median |h| over tokens and channels, mean over sequences",
         [](const BlockSpikes& b) { return b.median; });
  column("ratio", "max / median", [](const BlockSpikes& b) { return b.ratio; });
  column("position", "1-based position of the max in most sequences",
         [](const BlockSpikes& b) { return b.spike_position; });
  column("spike_tokens", "positions with a massive activation, mean over sequences",
         [](const BlockSpikes& b) { return b.spike_tokens; });
  column("spike_channels", "channels with a massive activation, mean over sequences",
         [](const BlockSpikes& b) { return b.spike_channels; });

  std::vector<BlockSpikes::Channel> top;
  for (const BlockSpikes& block : spikes.blocks) top.insert(top.end(), block.top.begin(), block.top.end());
  const std::vector<std::int64_t> by_rank{blocks, 3};
  write_column(file, "spike/top_channels", top, by_rank, "0-based channels with the largest top_values, falling",
               [](const BlockSpikes::Channel& c) { return c.channel; });
  write_column(file, "spike/top_values", top, by_rank, "max |h| over tokens of that channel, mean over sequences",
               [](const BlockSpikes::Channel& c) { return c.magnitude; });
}

void write_gates(H5File& file, const GateFigures& gates) {
  const auto heads = static_cast<std::int64_t>(gates.heads.size()), H = gates.n_heads, L = heads / H;
  const auto column = [&](const char* name, const char* meaning, auto value) {
    write_column(file, std::string("gate/") + name, gates.heads, {L, H}, meaning, value);
  };
  column("mean", "mean of the head's gate values s = sigmoid(logit); a gate of all heads counts as one head",
         [](const HeadGates& h) { return h.mean; });
  column("deviation", "standard deviation of the head's gate values", [](const HeadGates& h) { return h.deviation; });
  column("closed", "share of gate values with s < 0.1", [](const HeadGates& h) { return h.closed; });
  column("open", "share of gate values with s >= 0.9", [](const HeadGates& h) { return h.open; });
  column("first_position_mean", "mean of the head's gate values at position 1 of the sequences",
         [](const HeadGates& h) { return h.first_position_mean; });

  std::vector<double> shares;
  for (const auto& histogram : gates.histograms) shares.insert(shares.end(), histogram.begin(), histogram.end());
  file.write<double>("gate/histogram", shares, {L, kernels::kGateBins});
  file.attribute("gate/histogram", "meaning",
                 std::string("(layer, part): share of the layer's gate values in each of 20 equal parts of [0, 1]"));
}

}  // namespace

void write_probe_file(const std::string& path, std::int64_t step, const Measurement& m) {
  const std::string unfinished = path + ".unfinished";
  {
    H5File file = H5File::create(unfinished);
    file.attribute("/", "step", step);
    for (const auto& [name, value] : scalars_of(m)) file.attribute("/", name, value);
    write_sinks(file, "sink", m.sinks);
    write_sinks(file, "sink_context", m.sinks_context);
    write_spikes(file, m.spikes);
    if (m.gates) write_gates(file, *m.gates);
    file.close();
  }
  commit_file(unfinished, path);
}

}  // namespace spikesink
