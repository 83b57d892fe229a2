#include "trainer/checkpoint.h"

#include <fmt/format.h>

#include <chrono>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <vector>

#include "io/atomic_file.h"
#include "io/checksum.h"
#include "io/failure.h"
#include "io/h5.h"
#include "trainer/run_folder.h"

namespace spikesink {
namespace fs = std::filesystem;
namespace {
constexpr int kFormat = 1;
const std::string kUnfinished = ".unfinished";
const std::string kTensorFile = "rank_0000.h5", kStateFile = "state.json", kLatest = "latest";

/// Calls f(group, whole tensor, param) for the tensors of every parameter that a checkpoint holds. Where a weight has a
/// master, that is what is held.
void for_each_tensor(const ParamSet& params, const Optimizer* optimizer, auto&& f) {
  for (std::size_t i = 0; i < params.all().size(); ++i) {
    const Param& param = params.all()[i];
    if (!optimizer) {
      f("weights/", param.value, param);
      continue;
    }
    const auto& [m, v, master] = optimizer->state(i);
    f("weights/", master ? master : param.value, param);
    f("m/", m, param);
    f("v/", v, param);
  }
}

/// Writes `values` into `to`, rounded to its dtype.
template <class T>
void upload_as(const Stream& stream, const Tensor& to, const std::vector<T>& values) {
  with_stored_dtype(to.dtype(), [&]<class Stored>() {
    if constexpr (std::is_same_v<Stored, T>) return stream.upload(to, values.data());
    std::vector<Stored> stored;
    stored.reserve(values.size());
    for (const T x : values) stored.push_back(static_cast<Stored>(x));
    stream.upload(to, stored.data());
  });
}

/// The whole checkpoints of a folder by step.
std::map<std::int64_t, fs::path> whole_checkpoints(const std::string& folder) {
  std::map<std::int64_t, fs::path> found;
  std::error_code error;
  for (fs::directory_iterator at(folder, error), end; !error && at != end; at.increment(error))
    if (const auto step = RunFolder::step_of(at->path().filename().string()))
      if (std::error_code missing; fs::exists(at->path() / kStateFile, missing)) found[*step] = at->path();
  return found;
}

/// What a tensor takes in the copy.
std::size_t padded(const Tensor& t) { return (static_cast<std::size_t>(t.bytes()) + 63) / 64 * 64; }

std::vector<std::int64_t> dims_of(const Shape& shape) { return {shape.begin(), shape.end()}; }
}  // namespace

std::int64_t checkpoint_bytes(const Optimizer& optimizer) {
  std::size_t sum = 0;
  for (const StateSlice& slice : optimizer.slices()) sum += padded(slice.values);
  return static_cast<std::int64_t>(sum);
}

struct CheckpointWriter::Snapshot {
  struct Entry {
    std::string name;
    Shape shape;
    DType dtype;
    std::size_t offset;
  };
  std::vector<Entry> entries;
  std::vector<std::byte> bytes;
  TrainingState state;

  void take(const Stream& stream, const ParamSet& params, const Optimizer& optimizer, const TrainingState& of) {
    entries.clear();
    state = of;
    bytes.resize(static_cast<std::size_t>(checkpoint_bytes(optimizer)));
    std::size_t offset = 0;
    for_each_tensor(params, &optimizer, [&](const char* group, const Tensor& whole, const Param& param) {
      for (const auto& [part, tensor] : split_parts(param, whole)) {
        entries.push_back({group + part->name, part->shape, tensor.dtype(), offset});
        stream.download(bytes.data() + offset, tensor);
        offset += padded(tensor);
      }
    });
  }
};

CheckpointWriter::CheckpointWriter(std::string folder, const CheckpointConfig& config)
    : folder_(std::move(folder)), config_(config), snapshot_(std::make_shared<Snapshot>()) {}

CheckpointWriter::~CheckpointWriter() {
  if (writing_.valid()) writing_.wait();
}

void CheckpointWriter::wait() {
  if (writing_.valid()) writing_.get();
}

std::optional<std::string> CheckpointWriter::problem() {
  if (!writing_.valid() || writing_.wait_for(std::chrono::seconds(0)) != std::future_status::ready) return std::nullopt;
  try {
    writing_.get();
    return std::nullopt;
  } catch (const Failure& failure) {
    return failure.what();
  }
}

void CheckpointWriter::save(const Stream& stream, const ParamSet& params, const Optimizer& optimizer,
                            const TrainingState& state) {
  wait();
  snapshot_->take(stream, params, optimizer, state);
  const auto policy = config_.async ? std::launch::async : std::launch::deferred;
  writing_ = std::async(policy, [this] { write(*snapshot_); });
  if (!config_.async) wait();
}

void CheckpointWriter::write(const Snapshot& snapshot) const {
  const std::string name = RunFolder::step_name(snapshot.state.step), folder = folder_ + "/" + name;
  const std::string unfinished = folder + kUnfinished;
  std::error_code error;
  fs::remove_all(unfinished, error);
  if (fs::create_directories(unfinished, error); error)
    throw DataError(unfinished + ": cannot be made: " + error.message());
  try {
    {
      H5File file = H5File::create(unfinished + "/" + kTensorFile);
      for (const auto& entry : snapshot.entries)
        with_stored_dtype(entry.dtype, [&]<class T>() {
          const auto* data = reinterpret_cast<const T*>(snapshot.bytes.data() + entry.offset);
          file.write<T>(entry.name, {data, static_cast<std::size_t>(entry.shape.numel())}, dims_of(entry.shape));
        });
      file.close();
    }
    nlohmann::ordered_json state;
    state["format"] = kFormat;
    state["program"] = "spikesink " SPIKESINK_VERSION;
    state["step"] = snapshot.state.step;
    state["tokens"] = snapshot.state.tokens;
    state["world"] = 1;
    state["threads"] = snapshot.state.threads;
    state["config"] = snapshot.state.config;
    state["data"] = nlohmann::ordered_json::parse(snapshot.state.position);
    state["crc32c"][kTensorFile] = fmt::format("{:08x}", crc32c_of_file(unfinished + "/" + kTensorFile));
    write_atomically(unfinished + "/" + kStateFile, state.dump(1) + "\n");
    fs::remove_all(folder, error);  // of the same step, by a run that was cut back
    commit_folder(unfinished, folder);
    replace_link(folder_ + "/" + kLatest, name);
  } catch (...) {
    fs::remove_all(unfinished, error);
    throw;
  }
  std::map<std::int64_t, fs::path> older = whole_checkpoints(folder_);
  older.erase(snapshot.state.step);  // `latest` points to it
  while (config_.keep > 0 && static_cast<std::int64_t>(older.size()) >= config_.keep) {
    fs::remove_all(older.begin()->second, error);
    older.erase(older.begin());
  }
}

std::optional<std::string> latest_checkpoint(const std::string& folder) {
  std::error_code error;
  const fs::path latest = fs::path(folder) / kLatest;
  if (!fs::is_symlink(latest, error)) {  // a copy may have lost the link
    const auto found = whole_checkpoints(folder);
    return found.empty() ? std::nullopt : std::optional(found.rbegin()->second.string());
  }
  const std::string target = (fs::path(folder) / fs::read_symlink(latest)).string();
  if (!fs::exists(target + "/" + kStateFile, error))
    throw DataError(latest.string() + ": points to " + target +
                    ", which is no checkpoint; point it to another step_ folder beside it");
  return target;
}

void remove_checkpoints_after(const std::string& folder, std::int64_t step) {
  std::error_code error;
  for (const auto& [at, path] : whole_checkpoints(folder))
    if (at > step) fs::remove_all(path, error);
}

std::string find_checkpoint(const std::string& path) {
  std::error_code error;
  if (fs::exists(path + "/" + kStateFile, error)) return path;
  for (const std::string& folder : {path, path + "/checkpoints"})
    if (const auto latest = latest_checkpoint(folder)) return *latest;
  throw DataError(path + ": no checkpoint here; name a step_ folder, or a run's folder that has checkpoints/latest");
}

TrainingState read_state(const std::string& checkpoint) {
  const std::string file = checkpoint + "/" + kStateFile;
  try {
    const auto json = nlohmann::json::parse(read_file(file));
    if (const int format = json.at("format"); format != kFormat)
      throw DataError(
          fmt::format("{}: format {}, this program reads {}; use the version that wrote it", file, format, kFormat));
    for (const auto& [name, sum] : json.at("crc32c").items())
      if (fmt::format("{:08x}", crc32c_of_file(checkpoint + "/" + name)) != sum.get<std::string>())
        throw DataError(checkpoint + "/" + name +
                        ": checksum differs from state.json; the file is damaged, use an older "
                        "checkpoint");
    return {.step = json.at("step"),
            .tokens = json.at("tokens"),
            .threads = json.at("threads"),
            .config = json.at("config"),
            .position = json.at("data").dump()};
  } catch (const nlohmann::json::exception& error) {
    throw DataError(file + ": not a checkpoint's state: " + error.what() + "; use an older checkpoint");
  }
}

void load_tensors(const Stream& stream, const std::string& checkpoint, ParamSet& params, Optimizer* optimizer) {
  const std::string path = checkpoint + "/" + kTensorFile;
  H5File file = H5File::open(path);
  for_each_tensor(params, optimizer, [&](const std::string& group, const Tensor& whole, const Param& param) {
    const bool master = group == "weights/" && whole.raw() != param.value.raw();
    const auto parts = split_parts(param, whole), rounded = split_parts(param, param.value);
    for (std::size_t i = 0; i < parts.size(); ++i) {
      const auto& [part, tensor] = parts[i];
      const std::string name = group + part->name;
      if (!file.exists(name)) throw DataError(path + ": of another model: it has no " + name);
      if (const auto dims = file.dims(name); dims != dims_of(part->shape))
        throw DataError(fmt::format("{}: of another model: {} is ({}), this model needs ({})", path, name,
                                    fmt::join(dims, ", "), fmt::join(dims_of(part->shape), ", ")));
      with_dtype(acc_dtype(tensor.dtype()), [&, &to = tensor]<class T>() {
        const std::vector<T> values = file.read<T>(name);
        upload_as(stream, to, values);
        if (master) upload_as(stream, rounded[i].tensor, values);
      });
    }
  });
}

}  // namespace spikesink
