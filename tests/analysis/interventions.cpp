#include "analysis/practice/interventions.h"

#include "analysis/practice/cache_attention.h"
#include "analysis/practice/removals.h"
#include "tests/analysis/practice.h"

namespace spikesink {
namespace {

using test::doubles;
using test::Studied;

/// Sets the spike channel of the residual stream after every block, where `is_set(value)`.
template <class F>
struct ChannelSet final : Intervention {
  ChannelSet(std::map<std::string, double> values, F where) : to(std::move(values)), is_set(where) {}
  Tensor activation(std::string_view path, const Tensor& value) override {
    if (!path.ends_with(".residual")) return value;
    const Tensor y = test::copy(value);
    const std::int64_t C = matrix_dims(y).cols;
    for (std::int64_t i = Studied::kSpikeChannel; i < y.numel(); i += C)
      if (is_set(y.data<double>()[i])) y.data<double>()[i] = to.at(std::string(path));
    return y;
  }
  std::map<std::string, double> to;
  F is_set;
};

/// Means of the spike channel after every block, over tokens for which `counts(value)`.
template <class F>
std::map<std::string, double> means_of(const Studied& studied, F counts) {
  struct Sum final : Observer {
    explicit Sum(F f) : counts(f) {}
    void activation(std::string_view path, const Tensor& value) override {
      if (!path.ends_with(".residual")) return;
      auto& [sum, count] = sums[std::string(path)];
      const auto x = test::values(value);
      for (std::size_t i = Studied::kSpikeChannel; i < x.size(); i += static_cast<std::size_t>(matrix_dims(value).cols))
        if (counts(x[i])) sum += x[i], count += 1;
    }
    F counts;
    std::map<std::string, std::pair<double, double>> sums;
  } seen(counts);
  const std::int64_t T = studied.model.config().context;
  Pass pass(studied.stream, {std::ssize(studied.tokens) / T, T}, Pass::Mode::kForwardOnly, &seen);
  studied.model.hidden(pass, upload_ids(studied.stream, studied.tokens));
  std::map<std::string, double> means;
  for (const auto& [path, sum] : seen.sums) means[path] = sum.first / sum.second;
  return means;
}

double row(const Results& results, const std::string& name, const std::string& figure = "added_loss") {
  return results.summary.at("rows").at(name).at(figure);
}

}  // namespace

TEST_CASE("spike channels are set to zero and to their means, everywhere and where massive",
          "[analysis][intervention]") {
  const Studied studied(1000);
  Results results;
  interventions(studied.study(GENERATE(1, 3)), results);
  const auto check = [&](const std::string& name, auto values, auto where) {
    CAPTURE(name);
    ChannelSet set(values, where);
    CHECK(row(results, name) == Approx(studied.loss(&set) - studied.loss()).margin(1e-10));
  };
  const auto all = [](double) { return true; };
  const auto massive = [](double h) { return std::abs(h) > 500; };
  auto zeros = means_of(studied, all);
  for (auto& [path, value] : zeros) value = 0;
  CHECK(results.summary.at("channels") == std::vector<std::int64_t>{Studied::kSpikeChannel});
  check("spike_channels_zero", zeros, all);
  check("spike_channels_mean", means_of(studied, all), all);
  check("spikes_zero", zeros, massive);
  check("spikes_mean", means_of(studied, massive), massive);
  CHECK(row(results, "as_it_is", "spike_max") > 900);
  CHECK(row(results, "spikes_zero", "spike_max") < 100);
  CHECK(row(results, "random_channels_zero_1", "spike_max") > 900);  // of another channel
  CHECK(doubles(results, "loss").size() == results.summary.at("rows").size());
}

TEST_CASE("heads at zero are those without their columns of o_proj", "[analysis][intervention]") {
  const Studied studied(0), without(0);
  const auto D = static_cast<std::size_t>(studied.model.config().attention.d_head);
  for (const auto& [name, head] :
       {std::pair{"model.layers.0.self_attn.o_proj.weight", 1}, {"model.layers.1.self_attn.o_proj.weight", 3}})
    for (const Param& p : without.model.params().all()) {
      if (p.name() != name) continue;
      const auto o = p.value.span<double>();
      for (std::size_t i = 0; i < o.size(); ++i)
        if (i % static_cast<std::size_t>(p.shape[1]) / D == static_cast<std::size_t>(head)) o[i] = 0;
    }
  const Study study = studied.study();
  HeadsZeroed zeroed(study, {1, 4 + 3});
  CHECK(studied.loss(&zeroed) == Approx(without.loss(nullptr)).epsilon(1e-12));
  CHECK(studied.loss(&zeroed) != Approx(studied.loss()).epsilon(1e-6));
}

TEST_CASE("sink heads are zeroed beside as many others, and the first token is removed beside another",
          "[analysis][intervention]") {
  const Studied studied(0);
  for (const Param& p : studied.model.params().all())  // heads of random weights of this size differ in what they see
    if (p.name().ends_with("q_proj.weight"))
      for (double& w : split_parts(p, p.value)[0].tensor.span<double>()) w *= 8;
  Study study = studied.study();
  study.sink_epsilon = 0.26;
  Results results;
  interventions(study, results);
  const auto heads = results.summary.at("sink_heads").get<std::set<std::int64_t>>();
  REQUIRE(!heads.empty());
  REQUIRE(heads.size() < 8);
  HeadsZeroed zeroed(study, heads);
  CHECK(row(results, "sink_heads_zero") == Approx(studied.loss(&zeroed) - studied.loss()).margin(1e-10));
  const auto drawn = drawn_others(8, std::ssize(heads), heads, 2);
  HeadsZeroed others(study, {drawn.begin(), drawn.end()});
  CHECK(row(results, "random_heads_zero_2") == Approx(studied.loss(&others) - studied.loss()).margin(1e-10));

  std::vector<std::int32_t> starts(16, 1);
  starts[0] = 0;
  CHECK(row(results, "no_first_token") == Approx(studied.loss(nullptr, starts) - studied.loss()).margin(1e-10));
  CacheAttention without(studied.stream, studied.model.config().attention, {.size = 16, .without = 4});
  CHECK(row(results, "no_other_token") == Approx(studied.loss(&without) - studied.loss()).margin(1e-10));
  CHECK(std::isnan(doubles(results, "sink_ratio").back()));
  CHECK(results.summary.at("left_out").contains("spikes"));
}

TEST_CASE("draws are different numbers outside of those that are not to be drawn", "[analysis][intervention]") {
  const std::set<std::int64_t> but{0, 3, 9};
  std::set<std::vector<std::int64_t>> seen;
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    const auto drawn = drawn_others(10, 4, but, seed);
    const std::set<std::int64_t> unique(drawn.begin(), drawn.end());
    CHECK(unique.size() == 4);
    for (const std::int64_t i : drawn) CHECK((0 <= i && i < 10 && !but.contains(i)));
    seen.insert(drawn);
  }
  CHECK(seen.size() > 15);  // of 35
  CHECK(drawn_others(10, 7, but, 1) == std::vector<std::int64_t>{1, 2, 4, 5, 6, 7, 8});
}

TEST_CASE("heads have no random control where more than half of them are sink heads", "[analysis][intervention]") {
  const Studied studied(0);
  Study study = studied.study();
  study.sink_epsilon = 0;  // all are
  Results results;
  interventions(study, results);
  REQUIRE(results.summary.at("sink_heads").size() == 8);
  CHECK(results.summary.at("rows").contains("sink_heads_zero"));
  CHECK(!results.summary.at("rows").contains("random_heads_zero_1"));
  CHECK(results.summary.at("rows").contains("random_channels_zero_3"));
  CHECK(results.summary.at("left_out").at("random_heads").get<std::string>().starts_with("8 of 8 heads"));
}

}  // namespace spikesink
