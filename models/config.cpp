#include "models/config.h"

#include <cmath>
#include <sstream>

#include "kernels/attention/attention.h"

namespace spikesink {

std::string problem_of(const ModelConfig& c) {
  std::ostringstream out;
  // The upper bound is far above any model: it catches slips before they are taken for sizes of memory.
  const auto positive = [&](std::string_view key, std::int64_t value, std::int64_t largest = 1 << 24,
                            std::int64_t least = 1) {
    if ((value < least || value > largest) && out.str().empty())
      out << "model." << key << ": " << value << (value < least ? ", must be at least " : ", must be at most ")
          << (value < least ? least : largest);
  };
  positive("d_model", c.d_model);
  positive("n_layers", c.n_layers, 1 << 12);
  positive("context", c.context, 1 << 24, 2);  // the only token of one has no choice of what to attend to
  positive("vocab_size", c.vocab_size);
  positive("attention.n_heads", c.attention.n_heads, 1 << 16);
  positive("attention.n_kv_heads", c.attention.kv_heads());
  positive("attention.d_head", c.attention.d_head, 1 << 12);
  if (out.str().empty()) positive("ffn.d_hidden", c.ffn.hidden(c.d_model));  // of a d_model that is one
  const auto starts_at = [&](std::string_view place, double alpha, double usual) {
    if (!(alpha > 0 && std::isfinite(alpha)) && out.str().empty())
      out << "model.norm.alpha." << place << ": " << alpha << ", must be positive, since tanh(0 x) passes nothing on; "
          << usual << " is usual at d_model 4096";
  };
  if (c.norm.kind == NormKind::kDynamicTanh) {
    const AlphaConfig usual;
    starts_at("attention", c.norm.alpha.attention, usual.attention);
    starts_at("ffn", c.norm.alpha.ffn, usual.ffn);
    starts_at("final", c.norm.alpha.final, usual.final);
  }
  const auto in_f32 = [](double eps) { return eps >= 1e-30 && eps <= 1e30; };
  if (!out.str().empty()) return out.str();
  if (c.attention.d_head % 2)
    out << "model.attention.d_head: " << c.attention.d_head
        << " is odd, but rotary positions turn pairs of channels; choose an even d_head";
  else if (c.attention.n_heads % c.attention.kv_heads())
    out << "model.attention.n_kv_heads: " << c.attention.kv_heads() << " does not divide n_heads "
        << c.attention.n_heads << "; choose a divisor";
  else if (!(c.init_std > 0))
    out << "model.init_std: " << c.init_std << ", must be positive; 0.02 is usual";
  else if (!in_f32(c.norm.eps))
    out << "model.norm.eps: " << c.norm.eps << ", must be from 1e-30 to 1e30, which f32 still holds; 1e-5 is usual";
  else if (c.norm.output_eps && !in_f32(*c.norm.output_eps))
    out << "model.norm.output_eps: " << *c.norm.output_eps
        << ", must be from 1e-30 to 1e30, which f32 still holds; without it norm.eps is taken";
  else if (!(c.attention.rope_theta > 1))
    out << "model.attention.rope_theta: " << c.attention.rope_theta << ", must be above 1; 10000 is usual";
  else if (const RopeScalingConfig& s = c.attention.rope_scaling; s.kind != RopeScalingKind::kNone && !(s.factor > 0))
    out << "model.attention.rope_scaling.factor: " << s.factor << ", must be positive; 8 is Llama 3.1's";
  else if (s.kind == RopeScalingKind::kLlama3 && !(s.low_freq_factor > 0))
    out << "model.attention.rope_scaling.low_freq_factor: " << s.low_freq_factor << ", must be above 0; 1 is usual";
  else if (s.kind == RopeScalingKind::kLlama3 && !(s.high_freq_factor > s.low_freq_factor))
    out << "model.attention.rope_scaling.high_freq_factor: " << s.high_freq_factor
        << ", must be above low_freq_factor, which is " << s.low_freq_factor << "; 4 and 1 are usual";
  else if (s.kind == RopeScalingKind::kLlama3 && s.original_context < 1)
    out << "model.attention.rope_scaling.original_context: " << s.original_context << ", must be at least 1";
  return out.str();
}

std::string problem_on(Device device, const ModelConfig& c) {
  if (device == Device::kCpu || c.attention.d_head <= kernels::kMaxCudaHead) return {};
  return "model.attention.d_head: " + std::to_string(c.attention.d_head) + ", on cuda at most " +
         std::to_string(kernels::kMaxCudaHead) + "; lower it, or set system.device=cpu";
}

}  // namespace spikesink
