#include "analysis/practice/eviction.h"
#include "analysis/practice/interventions.h"
#include "analysis/practice/quantization.h"
#include "tests/analysis/practice.h"

namespace spikesink {

TEST_CASE("the analyses of practice on any device are those of the CPU in double", "[analysis][practice]") {
  const Stream stream = GENERATE(from_range(test::streams()));
  const DType dtype = GENERATE_COPY(from_range(test::dtypes(stream)));
  CAPTURE(name_of(stream.device), name_of(dtype));
  const test::Studied studied(300);
  Decoder model(studied.model.config());
  model.params().allocate(stream, dtype, false);
  test::copy_values(stream, studied.model.params(), model.params());
  const auto found = [&](const Stream& on, const Decoder& decoder) {
    Study study{.stream = on,
                .model = decoder,
                .tokens = studied.tokens,
                .length = 16,
                .end_of_text = 7,  // attention stays inside documents, which this token ends
                .spike = {.abs = 100, .ratio = 20},
                .sink_epsilon = 0.05,  // every head is a sink head, in every dtype
                .micro_batch = 2};
    Results results;
    for (const auto& run : {quantization, eviction, interventions}) {
      Results one;
      run(study, one);
      for (const Results::Array& array : one.arrays())
        if (std::holds_alternative<std::vector<double>>(array.values))
          results.array(std::to_string(results.arrays().size()) + array.name, array.values, array.dims, "1", "");
    }
    return results;
  };
  const Results want = found(studied.stream, studied.model), got = found(stream, model);
  REQUIRE(got.arrays().size() == want.arrays().size());
  // Values that lie between two points of a grid go to either.
  const double tolerance = dtype == DType::kF64 ? 1e-9 : dtype == DType::kF32 ? 2e-3 : 0.1;
  for (const Results::Array& array : want.arrays()) {
    CAPTURE(array.name);
    // By the median of the block that holds the spike, and in bf16 several blocks hold it.
    if (dtype == DType::kBF16 && array.name.ends_with("spike_ratio")) continue;
    const auto &a = test::doubles(want, array.name), &b = test::doubles(got, array.name);
    REQUIRE(a.size() == b.size());
    for (std::size_t i = 0; i < a.size(); ++i) {
      if (std::isnan(a[i]))
        CHECK(std::isnan(b[i]));
      else
        CHECK(b[i] == Approx(a[i]).epsilon(tolerance).margin(tolerance));
    }
  }
}

}  // namespace spikesink
