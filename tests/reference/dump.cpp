// A training step of a config for tests/reference/compare.py to hold against PyTorch:
//
//     reference_dump CONFIG.yaml OUT.h5|OUT.safetensors [--f64 | --cuda [--bf16]]
//
// OUT has weights/NAME and grads/NAME (Hugging Face's names), tokens i32 (S, T + 1), logits (S, T, V) and loss (1),
// and the attributes config (the resolved YAML) and end_of_text (the token that ends documents). What is bf16 on CUDA
// is written as f32. A .safetensors file can be read without a library, where there is no h5py.
#include <algorithm>
#include <cstdio>
#include <exception>
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "configs/reader.h"
#include "configs/writer.h"
#include "io/failure.h"
#include "io/h5.h"
#include "kernels/core/random.h"
#include "models/decoder.h"
#include "models/sample_loss.h"
#include "tests/reference/logits_of.h"

namespace spikesink {
namespace {

constexpr std::int32_t kEndOfText = 0;

/// rows of T + 1 tokens, drawn evenly; about every fifth ends a document.
std::vector<std::int32_t> draw_samples(const Config& config, std::int64_t rows) {
  const Random token{.seed = 1, .stream = name_hash("reference tokens")};
  const Random ends{.seed = 1, .stream = name_hash("reference ends of text")};
  std::vector<std::int32_t> samples(static_cast<std::size_t>(rows * (config.model.context + 1)));
  for (std::size_t i = 0; i < samples.size(); ++i)
    samples[i] = ends.below(i, 5) == 0
                     ? kEndOfText
                     : static_cast<std::int32_t>(token.below(i, static_cast<std::uint64_t>(config.model.vocab_size)));
  return samples;
}

/// Scales start at one and biases at zero, where a mistake in them can hide: moves every value of every parameter.
void perturb(ParamSet& params) {
  for (const Param& param : params.all())
    with_dtype(param.value.dtype(), [&]<class T>() {
      const Random random{.seed = 99, .stream = name_hash(param.name())};
      const auto values = param.value.span<T>();
      for (std::size_t i = 0; i < values.size(); ++i) values[i] += static_cast<T>(0.1 * random.normal(i));
    });
}

/// The first T tokens of each row of T + 1.
std::vector<std::int32_t> inputs_of(std::span<const std::int32_t> samples, std::int64_t T) {
  std::vector<std::int32_t> tokens;
  for (std::size_t at = 0; at < samples.size(); at += static_cast<std::size_t>(T + 1)) {
    const auto row = samples.subspan(at, static_cast<std::size_t>(T));
    tokens.insert(tokens.end(), row.begin(), row.end());
  }
  return tokens;
}

/// `t` on the host, bf16 as f32.
Tensor read(const Stream& stream, const Tensor& t) {
  const Tensor host = stream.on_host(t);
  if (host.dtype() != DType::kBF16) return host;
  const Tensor wide = Stream::cpu(1).empty(host.shape(), DType::kF32);
  std::ranges::copy(host.span<bf16>(), wide.data<float>());
  return wide;
}

/// Draws all values, perturbed, on the CPU, and puts them, in the dtype that they have there, on the stream's device.
void set_values(const Stream& stream, const Config& config, ParamSet& params) {
  const auto draw = [&](ParamSet& on_cpu) {
    on_cpu.init(static_cast<std::uint64_t>(config.run.seed));
    perturb(on_cpu);
  };
  if (stream.device == Device::kCpu) return draw(params);
  Decoder twin(config.model);
  twin.params().allocate(Stream::cpu(), DType::kF32, false);
  draw(twin.params());
  for (std::size_t i = 0; i < params.all().size(); ++i) {
    const Tensor &to = params.all()[i].value, from = twin.params().all()[i].value;
    if (to.dtype() != DType::kBF16) {
      stream.copy(to, from);
      continue;
    }
    std::vector<bf16> rounded;
    for (const float value : from.span<float>()) rounded.push_back(static_cast<bf16>(value));
    stream.upload(to, rounded.data());
  }
}

/// An HDF5 or a safetensors file, by its name.
class Output {
 public:
  explicit Output(const std::string& path) : path_(path) {
    if (path.ends_with(".safetensors"))
      header_ = nlohmann::ordered_json{{"__metadata__", nlohmann::ordered_json::object()}};
    else
      h5_ = H5File::create(path);
  }
  void attribute(const std::string& name, const std::string& value) {
    h5_ ? h5_->attribute("", name, value) : set_metadata(name, value);
  }
  void attribute(const std::string& name, std::int64_t value) {
    h5_ ? h5_->attribute("", name, value) : set_metadata(name, std::to_string(value));
  }
  template <class T>
  void write(const std::string& name, std::span<const T> values, const std::vector<std::int64_t>& dims) {
    if (h5_) return h5_->write<T>(name, values, dims);
    const auto bytes = std::as_bytes(values);
    const char* dtype = std::is_same_v<T, std::int32_t> ? "I32" : std::is_same_v<T, float> ? "F32" : "F64";
    header_[name] = {{"dtype", dtype}, {"shape", dims}, {"data_offsets", {data_.size(), data_.size() + bytes.size()}}};
    data_.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  }
  void close() {
    if (h5_) return h5_->close();
    std::string header = header_.dump();
    header.resize((header.size() + 7) / 8 * 8, ' ');
    const auto length = static_cast<std::uint64_t>(header.size());
    std::ofstream file(path_, std::ios::binary);
    file.write(reinterpret_cast<const char*>(&length), sizeof(length)) << header << data_;
    if (!file.flush()) throw DataError(path_ + ": cannot be written");
  }

 private:
  void set_metadata(const std::string& name, const std::string& value) { header_["__metadata__"][name] = value; }
  std::string path_, data_;
  std::optional<H5File> h5_;
  nlohmann::ordered_json header_;
};

template <class T>
void write_parts(Output& file, const std::string& group, const Param& param, const Tensor& whole) {
  for (const NamedTensor& named : split_parts(param, whole)) {
    const Shape& shape = named.part->shape;
    std::vector<std::int64_t> dims;
    for (int d = 0; d < shape.rank(); ++d) dims.push_back(shape[d]);
    file.write<T>(group + "/" + named.part->name, named.tensor.span<T>(), dims);
  }
}

template <class Number>
void dump(const Stream& stream, const Config& config, const std::string& path, DType dtype) {
  Decoder model(config.model);
  ParamSet& params = model.params();
  params.allocate(stream, dtype, true);
  set_values(stream, config, params);

  const std::int64_t T = config.model.context, S = config.train.sequences(T);
  const auto samples = draw_samples(config, S);
  SampleShape shape{T, config.train.micro_batch, config.train.loss_from_position};
  if (config.data.document_mask) shape.end_of_text = kEndOfText;
  const double loss = accumulate_gradients(stream, model, samples, shape);
  const Tensor logits = read(stream, logits_of(stream, model, inputs_of(samples, T), T, shape.end_of_text));

  Output file(path);
  file.attribute("config", write_config(config));
  file.attribute("end_of_text", std::int64_t{kEndOfText});
  file.write<std::int32_t>("tokens", samples, {S, T + 1});
  file.write<Number>("logits", logits.span<Number>(), {S, T, config.model.vocab_size});
  file.write<double>("loss", std::span<const double>(&loss, 1), {1});
  for (const Param& param : params.all()) {
    write_parts<Number>(file, "weights", param, read(stream, param.value));
    write_parts<Number>(file, "grads", param, read(stream, param.grad));
  }
  file.close();
}

int run(const std::vector<std::string>& arguments) {
  const std::vector<std::string> flags(arguments.begin() + std::min<std::ptrdiff_t>(2, std::ssize(arguments)),
                                       arguments.end());
  const std::vector<std::vector<std::string>> kFlags{{}, {"--f64"}, {"--cuda"}, {"--cuda", "--bf16"}};
  if (arguments.size() < 2 || std::ranges::find(kFlags, flags) == kFlags.end())
    throw UsageError("usage: reference_dump CONFIG.yaml OUT.h5|OUT.safetensors [--f64 | --cuda [--bf16]]");
  const Config config = read_config(arguments[0]);
  if (flags.empty())
    dump<float>(Stream::cpu(), config, arguments[1], DType::kF32);
  else if (flags[0] == "--f64")
    dump<double>(Stream::cpu(), config, arguments[1], DType::kF64);
  else
    dump<float>(Stream::cuda(), config, arguments[1], flags.size() == 1 ? DType::kF32 : DType::kBF16);
  return 0;
}

}  // namespace
}  // namespace spikesink

int main(int argc, char** argv) {
  try {
    return spikesink::run({argv + 1, argv + argc});
  } catch (const spikesink::Failure& failure) {
    std::fprintf(stderr, "%s\n", failure.what());
    return static_cast<int>(failure.code);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "reference_dump: %s\n", error.what());
    return 1;
  }
}
