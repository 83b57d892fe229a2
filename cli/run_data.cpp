#include "cli/run_data.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <span>

#include "data/sources.h"
#include "data/train_data.h"
#include "io/failure.h"
#include "io/json_text.h"
#include "io/readable.h"
#include "trainer/dist/agree.h"

namespace spikesink::cli {
namespace {
using Json = nlohmann::ordered_json;

std::string line_of(const DataSource& s, bool of_several, std::int64_t steps) {
  std::string line = "data:  " + s.path + ": ";
  switch (s.kind) {
    case DataSource::Kind::kStore:
      line += fmt::format("{} tokens of {} documents in {}, made with the tokenizer {}",
                          count_text(static_cast<double>(*s.tokens)), count_text(static_cast<double>(*s.documents)),
                          counted(s.files, "file"), s.tokenizer);
      break;
    case DataSource::Kind::kShards:
      line += fmt::format("{} of {:.1f} MB, tokenised as they are read by {}", counted(s.files, "shard"),
                          static_cast<double>(s.bytes) / 1e6, s.tokenizer);
      break;
    case DataSource::Kind::kToy:
      return line + "text that is made as it is needed, in bytes";
  }
  if (of_several)
    line +=
        fmt::format("; {}{:.1f} % of the samples", s.kind == DataSource::Kind::kShards ? "about " : "", 100 * s.share);
  if (s.epochs) line += fmt::format("; {:.3g} epochs in {}", *s.epochs, counted(steps, "step"));
  return line;
}

Json source_json(const DataSource& s) {
  Json json{{"path", s.path}, {"tokenizer", s.tokenizer}, {"share", s.share}};
  if (s.kind != DataSource::Kind::kToy) json["files"] = s.files;
  if (s.kind == DataSource::Kind::kShards) json["bytes"] = s.bytes;
  if (s.tokens) json["tokens"] = *s.tokens;
  if (s.documents) json["documents"] = *s.documents;
  if (s.epochs) json["epochs"] = *s.epochs;
  return json;
}

}  // namespace

RunData describe_data(const Config& config, const Tokenizer& tokenizer, std::int64_t held_out,
                      const DocumentCounts& counts) {
  const std::int64_t context = config.model.context, steps = config.train.total_steps(context);
  const auto sources = data_sources(config.data, tokenizer, context, steps * config.train.sequences(context));
  RunData out;
  Json list = Json::array();
  for (const DataSource& source : sources) {
    out.notes.push_back(line_of(source, sources.size() > 1, steps));
    list.push_back(source_json(source));
  }
  const bool own = !config.data.validation.empty();
  const std::string validation = own ? fmt::format("{}", fmt::join(config.data.validation, ", ")) : "held out";
  const std::int64_t asked = config.metrics.probe.sequences;
  out.notes.push_back(fmt::format("data:  probes measure {} of {}{}", counted(held_out, "sequence"),
                                  own ? validation : "what data.train holds out",
                                  held_out < asked ? fmt::format(" (of {}: it has no more)", asked) : ""));
  if (counts.num_broken() > 0)
    out.notes.push_back(fmt::format("held-out data: {} of {} lines left out: {}", counts.num_broken(), counts.lines(),
                                    counts.broken_text()));
  if (const std::int64_t unused = config.model.vocab_size - tokenizer.vocab_size(); unused > 0)
    out.notes.push_back(
        fmt::format("data:  the tokenizer {} has {} tokens and model.vocab_size is {}: the embedding and the head have "
                    "{} for tokens that never come",
                    tokenizer.name(), tokenizer.vocab_size(), config.model.vocab_size, counted(unused, "row")));
  for (const std::string& note : notes_on_data(config.data)) out.notes.push_back(note);
  for (const std::string& doubt : doubts_about_data(config.data)) out.notes.push_back("warning: " + doubt);
  out.json = json_text(Json{{"sources", list}, {"validation", validation}, {"validation_sequences", held_out}});
  return out;
}

void require_same_on_all_ranks(const DataRecord& mine, Communicator& ranks) {
  const auto first = DataRecord::from_json(text_from_rank_0(ranks, ranks.rank() == 0 ? mine.to_json() : ""));
  std::string problem;
  if (const auto other = difference(first, mine))
    problem = fmt::format(
        "{} is {} on rank {} of {}, but {} on rank 0; let all ranks see the same files, by a path that leads to them "
        "from every rank's node and folder",
        other->what, other->now, ranks.rank(), ranks.world(), other->then);
  throw_problem<DataError>(ranks, problem);
}

}  // namespace spikesink::cli
