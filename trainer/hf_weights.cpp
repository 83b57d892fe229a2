#include "trainer/hf_weights.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <vector>

#include "io/checksum.h"
#include "io/f16.h"
#include "io/failure.h"
#include "io/file_descriptor.h"
#include "io/h5.h"
#include "io/safetensors_header.h"
#include "kernels/core/stream.h"

namespace spikesink {
namespace {
constexpr std::int64_t kHeldElements = 4 << 20;  // elements held at a time

/// f(part) for every tensor that files have.
void for_parts(const ParamSet& params, auto&& f) {
  for (const Param& param : params.all())
    for (const ParamPart& part : param.parts) f(part);
}

bool is_float(const SafeDType& dtype) {
  return dtype == kSafeF64 || dtype == kSafeF32 || dtype == kSafeF16 || dtype == kSafeBF16;
}

SafeDType safe_dtype(DType dtype) {
  return dtype == DType::kF64 ? kSafeF64 : dtype == DType::kBF16 ? kSafeBF16 : kSafeF32;
}

/// Tells progress by elements.
class Progress {
 public:
  Progress(const ParamSet& params, const TransferProgress& tell) : all_(params.num_elements()), tell_(tell) {}
  void add(std::int64_t elements) {
    done_ += elements;
    tell_(static_cast<double>(done_) / static_cast<double>(all_));
  }

 private:
  std::int64_t all_, done_ = 0;
  const TransferProgress& tell_;
};

/// Copies a tensor, stored as Stored, into `to`'s dataset of To.
template <class Stored, class To>
void import_tensor(const Safetensors& from, const SafeTensor& tensor, H5File& to, const std::string& name,
                   Progress& progress) {
  to.make<To>(name, tensor.shape);
  const std::int64_t count = tensor.bytes / static_cast<std::int64_t>(sizeof(Stored));
  std::vector<Stored> piece(static_cast<std::size_t>(std::min(kHeldElements, count)));
  std::vector<To> converted;
  for (std::int64_t done = 0; done < count; done += kHeldElements) {
    const std::int64_t n = std::min(kHeldElements, count - done);
    const std::span<Stored> values(piece.data(), static_cast<std::size_t>(n));
    from.read(tensor, done * static_cast<std::int64_t>(sizeof(Stored)), std::as_writable_bytes(values));
    if constexpr (std::is_same_v<Stored, To>) {
      to.write_stretch<To>(name, done, values);
    } else {
      converted.assign(values.begin(), values.end());
      to.write_stretch<To>(name, done, converted);
    }
    progress.add(n);
  }
}

}  // namespace

void require_same_parameters(const ParamSet& params, bool tied, const Safetensors& from) {
  std::set<std::string> known;
  for_parts(params, [&](const ParamPart& part) {
    known.insert(part.name);
    const auto found = from.tensors().find(part.name);
    if (found == from.tensors().end())
      throw DataError(
          fmt::format("{}: no tensor {}, which the model of config.json has; bring all of the model's files",
                      from.path(), part.name));
    const SafeTensor& tensor = found->second;
    if (!is_float(tensor.dtype))
      throw DataError(fmt::format("{}: tensor {} is of dtype {}; bring the model with BF16, F16 or F32 weights",
                                  from.path_of(tensor), part.name, tensor.dtype.name));
    if (tensor.shape != part.shape.dims())
      throw DataError(fmt::format(
          "{}: tensor {} is ({}), the model of config.json needs ({}); bring files that belong together",
          from.path_of(tensor), part.name, fmt::join(tensor.shape, ", "), fmt::join(part.shape.dims(), ", ")));
  });
  for (const auto& [name, tensor] : from.tensors())
    if (!known.contains(name) && !name.ends_with(".rotary_emb.inv_freq") && !(tied && name == "lm_head.weight"))
      throw DataError(fmt::format("{}: tensor {} is none of the model of config.json; bring files that belong together",
                                  from.path_of(tensor), shown_name(name)));
}

std::uint32_t import_weights(const ParamSet& params, const Safetensors& from, const std::string& path,
                             const TransferProgress& tell) {
  H5File file = H5File::create(path);
  Progress progress(params, tell);
  for_parts(params, [&](const ParamPart& part) {
    const SafeTensor& tensor = from.tensors().at(part.name);
    const std::string name = kWeights + part.name;
    if (tensor.dtype == kSafeF64)
      import_tensor<double, double>(from, tensor, file, name, progress);
    else if (tensor.dtype == kSafeF32)
      import_tensor<float, float>(from, tensor, file, name, progress);
    else if (tensor.dtype == kSafeBF16)
      import_tensor<bf16, bf16>(from, tensor, file, name, progress);
    else
      import_tensor<f16, float>(from, tensor, file, name, progress);
  });
  file.close();
  FileDescriptor::open(path, O_RDONLY).sync();
  return crc32c_of_file(path);
}

DType stored_dtype(const std::string& checkpoint, const std::string& name) {
  for (const std::string& path : rank_files(checkpoint)) {
    const H5File file = H5File::open(path);
    if (!file.exists(kWeights + name)) continue;
    return file.stores<bf16>(kWeights + name)     ? DType::kBF16
           : file.stores<double>(kWeights + name) ? DType::kF64
                                                  : DType::kF32;
  }
  throw DataError(fmt::format("{}: of another model: no {}{}", checkpoint, kWeights, name));
}

std::size_t export_weights(const ParamSet& params, const std::string& checkpoint, const std::string& folder,
                           std::optional<DType> dtype, std::int64_t shard_bytes, const TransferProgress& tell) {
  std::vector<SafeEntry> entries;
  std::vector<DType> dtypes;
  for_parts(params, [&](const ParamPart& part) {
    dtypes.push_back(dtype ? *dtype : stored_dtype(checkpoint, part.name));
    entries.push_back({part.name, safe_dtype(dtypes.back()), part.shape.dims()});
  });
  SafetensorsWriter writer(folder, entries, shard_bytes);
  Progress progress(params, tell);
  const Stream stream = Stream::cpu(1);
  std::size_t next = 0;
  for_parts(params, [&](const ParamPart& part) {
    const DType to = dtypes[next++];
    for (std::int64_t done = 0; done < part.shape.numel(); done += kHeldElements) {
      const std::int64_t n = std::min(kHeldElements, part.shape.numel() - done);
      const StateSlice slice{kWeights, part.name, part.shape, done, stream.empty({n}, to)};
      load_slices(stream, checkpoint, std::span(&slice, 1));
      with_stored_dtype(to,
                        [&]<class T>() { writer.write(std::as_bytes(std::span<const T>(slice.values.span<T>()))); });
      progress.add(n);
    }
  });
  writer.close();
  return writer.num_files();
}

}  // namespace spikesink
