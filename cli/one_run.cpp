#include "cli/one_run.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <filesystem>
#include <string>

#include "configs/reader.h"
#include "configs/writer.h"
#include "io/atomic_file.h"
#include "io/failure.h"
#include "io/file_descriptor.h"
#include "io/listing.h"
#include "trainer/dist/agree.h"

namespace spikesink::cli {

void require_same_config_on_all_ranks(const Config& config, Communicator& ranks) {
  const Config first = read_config_text(text_from_rank_0(ranks, write_config(config)), "rank 0's config");
  std::string problem;
  if (const auto differences = config_difference(first, config); !differences.empty())
    problem = fmt::format("rank {} of {} was started with another config than rank 0: {}; start all with the same",
                          ranks.rank(), ranks.world(), fmt::join(differences, ", "));
  throw_problem<UsageError>(ranks, problem);
}

void require_one_folder(const RunFolder& folder, Communicator& ranks) {
  if (ranks.world() == 1) return;
  std::string mark;
  rank_0_does(ranks, [&] {
    mark = unfinished_beside(folder.checkpoints() + "/latest");
    FileDescriptor::open(mark, O_WRONLY | O_CREAT | O_EXCL);
    mark = std::filesystem::path(mark).filename().string();
  });
  const std::string path = folder.checkpoints() + "/" + text_from_rank_0(ranks, mark);
  const std::string problem =
      is_there(path) ? ""
                     : fmt::format(
                           "{}: not the same folder on rank {} of {} as on rank 0; set run.dir to one that all "
                           "ranks see, on a disk that they share",
                           folder.checkpoints(), ranks.rank(), ranks.world());
  ranks.barrier();  // all have looked
  std::error_code error;
  if (ranks.rank() == 0) std::filesystem::remove(path, error);
  throw_problem<UsageError>(ranks, problem);
}

}  // namespace spikesink::cli
