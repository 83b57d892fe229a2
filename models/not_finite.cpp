#include "models/not_finite.h"

#include <cmath>

#include "kernels/optim/sum_of_squares.h"

namespace spikesink {

/// A sum of squares in double is finite if and only if all elements of bf16 or f32 are.
bool all_finite(const Stream& stream, const Tensor& t) {
  const Tensor total = stream.empty({1}, DType::kF64);
  kernels::sum_of_squares(stream, {.total = total, .tensors = {&t, 1}});
  return std::isfinite(stream.on_host(total).data<double>()[0]);
}

namespace {

class FirstNotFinite final : public Observer {
 public:
  explicit FirstNotFinite(const Stream& stream) : stream_(stream) {}
  void activation(std::string_view path, const Tensor& value) override {
    if (path_.empty() && !all_finite(stream_, value)) path_ = path;
  }
  const std::string& path() const { return path_; }

 private:
  const Stream& stream_;
  std::string path_;
};

}  // namespace

std::string first_not_finite_activation(const Stream& stream, const Decoder& model,
                                        std::span<const std::int32_t> samples, const SampleShape& shape) {
  FirstNotFinite observer(stream);
  const double loss = mean_loss(stream, model, samples, shape, &observer);
  return observer.path().empty() && !std::isfinite(loss) ? kNoModule : observer.path();
}

}  // namespace spikesink
