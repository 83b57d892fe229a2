#pragma once
#include <memory>
#include <string>

#include "io/failure.h"
#include "trainer/dist/communicator.h"

namespace spikesink {

class HostCommunicator;
class NcclCommunicator;
class Transport;
class Watch;

/// The processes that a launcher has started as one run, or this one alone (launch.h says how that is told). Made once,
/// at the program's start; rank 0 alone prints to stdout from then on.
///
/// No rank waits for another for ever. One that throws is heard by those that wait for it, as RankFailure. One that
/// says nothing for the timeout ends the run, with a line that names it; one that is killed ends it by its launcher.
class Ranks {
 public:
  /// UsageError where the launcher and this build do not go together.
  Ranks();
  ~Ranks();
  Ranks(const Ranks&) = delete;
  Ranks& operator=(const Ranks&) = delete;

  int rank() const;
  int world() const;
  int local_rank() const;   ///< among the ranks of this node
  int local_world() const;  ///< ranks of this node
  /// On host memory.
  const std::shared_ptr<Communicator>& communicator() const { return communicator_; }
  /// On the memory of the stream's device, for the run's one stream, which does not end before conclude(). All ranks
  /// call. UsageError where GPUs have no way to communicate.
  std::shared_ptr<Communicator> communicator(const Stream& stream);
  /// system.rank_timeout
  void set_timeout(double seconds);

  /// The end of main, where nothing that was lent to the communicator is needed any more. `message`: the error that
  /// this rank ends with, or empty. Waits for the other ranks' ends; rank 0 prints each error once, with its rank.
  /// Returns the exit code of all: that of the lowest rank with an error of its own. Where a rank stays silent, does
  /// not return but ends all of them. The process ends soon after: where something failed, MPI is left as it is.
  ExitCode conclude(ExitCode code, const std::string& message);

 private:
  std::unique_ptr<Transport> transport_;  ///< null: alone
  std::unique_ptr<Watch> watch_;
  std::shared_ptr<HostCommunicator> host_;
  std::shared_ptr<Communicator> communicator_;
  std::shared_ptr<NcclCommunicator> nccl_;
};

}  // namespace spikesink
