#include "trainer/dist/nccl.h"

#include <nccl.h>

#include <cstring>

#include "kernels/core/gpu.h"
#include "kernels/core/shared_library.h"

namespace spikesink {
namespace {

constexpr std::size_t kOldest = 21800;

SharedLibrary open_nccl() {
  const std::string major = std::to_string(NCCL_MAJOR);
  const SharedLibrary library("NCCL " + major, "libnccl.so." + major,
                              "install NCCL (libnccl2, or pip install nvidia-nccl-cu" +
                                  std::to_string(CUDART_VERSION / 1000) +
                                  ") and put its folder first into LD_LIBRARY_PATH, or start one process");
  const decltype(&ncclGetVersion) version = library["ncclGetVersion"];
  int found = 0;
  if (version(&found) != ncclSuccess) found = 0;
  library.require_version(static_cast<std::size_t>(found), kOldest);
  return library;
}

/// What is called of NCCL.
struct NcclFunctions {
  SharedLibrary library = open_nccl();
  SPIKESINK_FUNCTION(ncclGetUniqueId);
  SPIKESINK_FUNCTION(ncclCommInitRankConfig);
  SPIKESINK_FUNCTION(ncclCommFinalize);
  SPIKESINK_FUNCTION(ncclCommDestroy);
  SPIKESINK_FUNCTION(ncclCommAbort);
  SPIKESINK_FUNCTION(ncclCommGetAsyncError);
  SPIKESINK_FUNCTION(ncclGetErrorString);
  SPIKESINK_FUNCTION(ncclGetLastError);
  SPIKESINK_FUNCTION(ncclReduceScatter);
  SPIKESINK_FUNCTION(ncclAllGather);
  SPIKESINK_FUNCTION(ncclSend);
  SPIKESINK_FUNCTION(ncclRecv);
  SPIKESINK_FUNCTION(ncclGroupStart);
  SPIKESINK_FUNCTION(ncclGroupEnd);
};

/// Opens it when it is first needed.
const NcclFunctions& nccl() {
  static const NcclFunctions functions;
  return functions;
}

void check_status(ncclResult_t status, const char* call, ncclComm_t comm = nullptr) {
  if (status == ncclSuccess || status == ncclInProgress) [[likely]]
    return;
  std::string message = std::string("NCCL: ") + call + ": " + nccl().ncclGetErrorString(status);
  if (const char* const detail = nccl().ncclGetLastError(comm); detail && *detail)
    message += ": " + std::string(detail);
  throw CudaError(message);
}

cudaStream_t native(const Stream& stream) { return static_cast<cudaStream_t>(stream.native.get()); }
std::size_t size(std::int64_t count) { return static_cast<std::size_t>(count); }

}  // namespace

void require_nccl() { (void)nccl(); }

/// A communicator that does not block: its calls return at once, and are asked about until they are through.
struct Nccl::State {
  State(int rank_, int world_, Wait wait_) : rank(rank_), world(world_), wait(std::move(wait_)) {}
  ~State() { abandon(); }

  void abandon() noexcept {
    if (comm) (void)nccl().ncclCommAbort(std::exchange(comm, nullptr));
  }

  ncclResult_t status(const char* call) const {
    ncclResult_t now = ncclSuccess;
    check_status(nccl().ncclCommGetAsyncError(comm, &now), "ncclCommGetAsyncError", comm);
    check_status(now, call, comm);
    return now;
  }
  void settle(ncclResult_t result, const char* call) const {
    check_status(result, call, comm);
    if (result == ncclInProgress && status(call) == ncclInProgress)
      wait([&] { return status(call) != ncclInProgress; });
  }

  const int rank, world;
  const Wait wait;
  ncclComm_t comm = nullptr;
};

Nccl::Nccl(Communicator& host, Wait wait)
    : state_(std::make_shared<State>(host.rank(), host.world(), std::move(wait))) {
  ncclUniqueId id{};
  if (host.rank() == 0) check_status(nccl().ncclGetUniqueId(&id), "ncclGetUniqueId");
  const auto bytes = host.from_rank_0(std::as_bytes(std::span(&id, 1)));
  std::memcpy(&id, bytes.data(), sizeof id);
  ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
  config.blocking = 0;
  state_->settle(nccl().ncclCommInitRankConfig(&state_->comm, state_->world, id, state_->rank, &config),
                 "ncclCommInitRankConfig");
}

Nccl::~Nccl() = default;

void Nccl::reduce_scatter(const Stream& stream, const Tensor& to, const Tensor& from) {
  const ncclDataType_t type = to.dtype() == DType::kF64 ? ncclFloat64 : ncclFloat32;
  state_->settle(
      nccl().ncclReduceScatter(from.raw(), to.raw(), size(to.numel()), type, ncclSum, state_->comm, native(stream)),
      "ncclReduceScatter");
}

void Nccl::all_gather(const Stream& stream, const Tensor& to, const Tensor& from) {
  state_->settle(
      nccl().ncclAllGather(from.raw(), to.raw(), size(from.bytes()), ncclUint8, state_->comm, native(stream)),
      "ncclAllGather");
}

void Nccl::all_to_all(const Stream& stream, const Tensor& to, const Tensor& from) {
  const ncclComm_t comm = state_->comm;
  const std::int64_t row = from.bytes() / state_->world;
  check_status(nccl().ncclGroupStart(), "ncclGroupStart", comm);
  ncclResult_t sent = ncclSuccess, received = ncclSuccess;  // a group that was begun is ended, whatever comes of it
  const auto failed = [](ncclResult_t result) { return result != ncclSuccess && result != ncclInProgress; };
  for (int r = 0; r < state_->world && !failed(sent) && !failed(received); ++r) {
    sent = nccl().ncclSend(from.raw() + r * row, size(row), ncclUint8, r, comm, native(stream));
    received = nccl().ncclRecv(to.raw() + r * row, size(row), ncclUint8, r, comm, native(stream));
  }
  const ncclResult_t ended = nccl().ncclGroupEnd();
  check_status(sent, "ncclSend", comm);
  check_status(received, "ncclRecv", comm);
  state_->settle(ended, "ncclGroupEnd");
}

void Nccl::check() { (void)state_->status("an operation"); }

void Nccl::finish() {
  state_->settle(nccl().ncclCommFinalize(state_->comm), "ncclCommFinalize");
  check_status(nccl().ncclCommDestroy(std::exchange(state_->comm, nullptr)), "ncclCommDestroy");
}

void Nccl::abandon() noexcept { state_->abandon(); }

}  // namespace spikesink
