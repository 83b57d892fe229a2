#include "trainer/resume_point.h"

#include "io/failure.h"
#include "trainer/dist/agree.h"

namespace spikesink {

std::optional<ResumePoint> newest_resume_point(const RunFolder& folder, Communicator& ranks) {
  std::string checkpoint;
  rank_0_does(ranks, [&] { checkpoint = latest_checkpoint(folder.checkpoints()).value_or(""); });
  const auto heard = ranks.from_rank_0(std::as_bytes(std::span(checkpoint)));
  checkpoint.assign(reinterpret_cast<const char*>(heard.data()), heard.size());
  if (checkpoint.empty()) return std::nullopt;
  ResumePoint point{.checkpoint = checkpoint, .state = {}, .changes = {}};
  std::string problem;
  try {
    point.state = read_state(checkpoint, ranks.rank(), ranks.world());
  } catch (const DataError& error) {
    problem = error.what();
  }
  for (const std::string& text : gather_texts(ranks, problem))
    if (!text.empty()) throw DataError(text);
  return point;
}

}  // namespace spikesink
