#include <algorithm>

#include "data/tokenizer.h"
#include "tests/analysis/study/support.h"

namespace spikesink {

TEST_CASE("an analysis on any device, in any precision, is that of the CPU in double", "[analysis][study]") {
  const Stream stream = GENERATE(from_range(test::streams()));
  const DType dtype = GENERATE_COPY(from_range(test::dtypes(stream)));
  const std::string name = GENERATE("sinks", "trajectory", "silu", "norm", "distance", "quadratic", "vocabulary",
                                    "first_position", "delimiters", "keys");
  CAPTURE(name_of(stream.device), name_of(dtype), name);
  const auto row = std::ranges::find(analyses(), name, &AnalysisRow::name);
  REQUIRE(row != analyses().end());
  ModelConfig config = test::study_config();
  config.attention.d_head = 8;  // which CUDA's attention takes
  const auto run = [&](const Stream& on, DType in) {
    test::SmallStudy small(config, 12, in, on);
    const auto tokenizer = make_tokenizer("bytes");
    small.study.tokenizer = tokenizer.get();
    Results results;
    row->run(small.study, results);
    return results;
  };
  const Results want = run(Stream::cpu(1), DType::kF64), got = run(stream, dtype);
  REQUIRE(got.arrays().size() == want.arrays().size());
  for (const Results::Array& array : want.arrays()) {
    CAPTURE(array.name);
    if (array.name == "error" && name == "first_position") continue;  // what rounding leaves
    const bool by_class = name == "silu" || name == "norm" || name == "keys",
               shares = array.name.find("sink_") != std::string::npos;
    const bool directions = name == "quadratic" || name == "first_position";
    if (dtype == DType::kBF16 && (by_class || directions || array.name == "is_spike" || array.name == "block" ||
                                  shares || array.name.starts_with("spikes") || array.name.starts_with("steps") ||
                                  array.name.find("channel") != std::string::npos))
      continue;  // a token, channel or head near a threshold may fall on its other side, and eigenvectors turn
    const Results::Array& other = got.at(array.name);
    CHECK(other.dims == array.dims);
    const auto* numbers = std::get_if<std::vector<double>>(&array.values);
    if (!numbers) {
      CHECK(other.values == array.values);
      continue;
    }
    double scale = 0;
    for (const double value : *numbers) scale = std::max(scale, std::isnan(value) ? 0 : std::abs(value));
    const double tolerance = dtype == DType::kBF16 ? 0.05 : dtype == DType::kF32 ? 1e-4 : 1e-12;
    for (std::size_t i = 0; i < numbers->size(); ++i) {
      const double value = test::doubles(got, array.name)[i];
      CHECK((std::isnan(value) ? std::isnan((*numbers)[i]) : std::abs(value - (*numbers)[i]) <= tolerance * scale));
    }
  }
}

}  // namespace spikesink
