#include "trainer/dist/ranks.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <thread>

#include "trainer/dist/host_communicator.h"
#include "trainer/dist/launch.h"
#include "trainer/dist/mpi_transport.h"
#include "trainer/dist/nccl_communicator.h"
#include "trainer/dist/watch.h"

namespace spikesink {
namespace {

void print(const std::string& message) {
  std::fprintf(stderr, "spikesink: %s\n", message.c_str());
  std::fflush(stderr);
}

std::string of_rank(int rank, int world, const std::string& message) {
  return "rank " + std::to_string(rank) + " of " + std::to_string(world) + ": " + message;
}

/// Processes that do not make a run. One of them says so; the others end well, or the launcher might end that one
/// first.
[[noreturn]] void refuse(const Launch& launch, const std::string& problem) {
  if (launch.rank != 0) std::exit(static_cast<int>(ExitCode::kOk));
  throw UsageError(launch.launcher + " started " + (launch.world == 0 ? "several" : std::to_string(launch.world)) +
                   " processes, " + problem);
}

std::unique_ptr<Transport> open(const Launch& launch) {
  if (launch.world == 1) return nullptr;
  if (!launch.problem.empty()) refuse(launch, launch.problem);
  if constexpr (kHasMpi) {
    auto transport = open_mpi();
    if (launch.world != 0 && transport->world() != launch.world)
      refuse(launch, "of which MPI sees " + std::to_string(transport->world()) +
                         "; start them by the mpirun of the library that the program was built with, or by srun "
                         "--mpi=pmix");
    return transport;
  } else {
    refuse(launch, "but this build has no MPI; build it with cmake -DSPIKESINK_MPI=ON, or start one");
  }
}

}  // namespace

Ranks::Ranks() : transport_(open(find_launch([](const char* name) { return std::getenv(name); }))) {
  if (!transport_) {
    communicator_ = alone();
    return;
  }
  watch_ = std::make_unique<Watch>(*transport_);
  host_ = std::make_shared<HostCommunicator>(*transport_, *watch_);
  communicator_ = host_;
  if (rank() != 0 && std::freopen("/dev/null", "w", stdout) == nullptr) throw DataError("/dev/null: cannot be opened");
}
Ranks::~Ranks() = default;

int Ranks::rank() const { return communicator_->rank(); }
int Ranks::world() const { return communicator_->world(); }
int Ranks::local_rank() const { return transport_ ? transport_->local_rank() : 0; }
int Ranks::local_world() const { return transport_ ? transport_->local_world() : 1; }
std::shared_ptr<Communicator> Ranks::communicator([[maybe_unused]] const Stream& stream) {
  if (stream.device == Device::kCpu || world() == 1) return communicator_;
  if constexpr (kHasNccl) {
    if (!nccl_) {
      require_nccl();
      nccl_ = std::make_shared<NcclCommunicator>(stream, *host_, *watch_);
    }
    return nccl_;
  } else {
    throw UsageError(
        "system.device: cuda on " + std::to_string(world()) +
        " ranks needs NCCL, which this build lacks; build it where cmake finds nccl.h (libnccl-dev), start "
        "one process, or set system.device=cpu");
  }
}
void Ranks::set_timeout(double seconds) {
  if (watch_) watch_->set_timeout(seconds);
}

ExitCode Ranks::conclude(ExitCode code, const std::string& message) {
  if (!transport_) {
    if (!message.empty()) print(message);
    return code;
  }
  bool printed = false;
  // Rank 0's line comes first, where it can. What another rank has failed with comes before what this one met then.
  const auto end_all = [&](const std::string& why) {
    std::this_thread::sleep_for(std::chrono::milliseconds(500) * std::min(rank() * 4, 20));
    const auto first = watch_->failure();
    const bool is_new = first && !printed && why.find(first->what()) == std::string::npos;
    print(of_rank(rank(), world(), (is_new ? first->what() + std::string("; ") : "") + why));
    const ExitCode all = first ? first->code : code;
    transport_->abort(static_cast<int>(all == ExitCode::kOk ? ExitCode::kInternal : all));
  };
  std::string last = message;
  try {
    if constexpr (kHasNccl)
      if (code == ExitCode::kOk && nccl_) nccl_->finish();
    if (code == ExitCode::kOk) host_->finish();
  } catch (const Failure& failure) {
    code = failure.code;
    last = failure.what();
  } catch (const std::exception& error) {
    code = ExitCode::kInternal;
    last = error.what();
  }
  if (watch_->silence()) end_all(last);
  host_->stop();
  std::fflush(nullptr);  // the launcher may kill this process when another has ended
  const auto heard = watch_->failure();
  const bool own = code != ExitCode::kOk && !(heard && last == heard->what());
  try {
    code = watch_->end(code, own, last, [&](int failed, const std::string& text) {
      printed = true;
      print(failed == 0 ? text : of_rank(failed, world(), text));
    });
  } catch (const Failure& failure) {
    end_all((own && !printed ? last + "; " : "") + failure.what());
  }
  if (code == ExitCode::kOk)
    transport_->close();
  else if (rank() == 0)
    transport_->send_off();  // the exit code: MPI cannot be closed, since messages may be under way
  return code;
}

}  // namespace spikesink
