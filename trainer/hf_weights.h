#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "io/safetensors.h"
#include "models/param.h"
#include "trainer/checkpoint.h"

// Weights on their way between a checkpoint and Hugging Face's safetensors: tensor by tensor in small pieces, so that
// memory does not grow with the model.
namespace spikesink {

/// Told the share that is done, 0 to 1.
using TransferProgress = std::function<void(double)>;

/// DataError unless `from` has exactly the parameters of a model, in its shapes and as floating-point numbers; names
/// file and tensor. What carries no weights is let pass: rotary tables of old models, and the head of tied ones.
void require_same_parameters(const ParamSet& params, bool tied, const Safetensors& from);

/// Writes the parameters into `path`, a rank's file of a checkpoint. bf16, f32 and f64 stay what they are, f16 becomes
/// f32. Returns the file's CRC-32C.
std::uint32_t import_weights(const ParamSet& params, const Safetensors& from, const std::string& path,
                             const TransferProgress& progress);

/// Writes a checkpoint's weights into `folder`. `dtype`: what all become, or empty: each as the checkpoint has it.
/// Returns the number of files.
std::size_t export_weights(const ParamSet& params, const std::string& checkpoint, const std::string& folder,
                           std::optional<DType> dtype, std::int64_t shard_bytes, const TransferProgress& progress);

/// The dtype in which a checkpoint has a weight. DataError if it has none of that name.
DType stored_dtype(const std::string& checkpoint, const std::string& name);

}  // namespace spikesink
