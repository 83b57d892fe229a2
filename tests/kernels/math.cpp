#include "kernels/core/math.h"

#include <algorithm>

#include "tests/kernels/support.h"

using namespace spikesink;
using namespace spikesink::kernels;

namespace {
constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

/// The largest error of math::exp over [from, to], in units of the last place.
template <class T>
double worst_exp_error(double from, double to, int points) {
  double worst = 0;
  for (int i = 0; i <= points; ++i) {
    const T x = static_cast<T>(from + (to - from) * i / points);
    const long double want = std::exp(static_cast<long double>(x));
    const T near = static_cast<T>(want);
    const long double unit = std::nextafter(near, std::numeric_limits<T>::infinity()) - near;
    worst = std::max(worst, static_cast<double>(std::abs(math::exp(x) - want) / unit));
  }
  return worst;
}
}  // namespace

TEST_CASE("exp is right to 1.5 units in the last place over its whole range", "[kernels][math]") {
  CHECK(worst_exp_error<float>(-86.98, 88.72, 2'000'000) <= 1.5);
  CHECK(worst_exp_error<float>(-1, 1, 200'000) <= 1.5);
  CHECK(worst_exp_error<double>(-708, 709.7, 500'000) <= 1.5);
  CHECK(worst_exp_error<double>(-1, 1, 200'000) <= 1.5);
}

TEST_CASE("exp keeps NaN, gives infinity above and exactly 0 below its range", "[kernels][math]") {
  CHECK(std::isnan(math::exp(kNaN)));
  CHECK(math::exp(kInf) == kInf);
  CHECK(math::exp(88.73f) == kInf);
  CHECK(math::exp(1e30f) == kInf);
  CHECK(std::isfinite(math::exp(88.72f)));
  CHECK(math::exp(-kInf) == 0);
  CHECK(math::exp(-1e30f) == 0);
  CHECK(math::exp(-87.5f) == 0);
  CHECK(math::exp(0.0f) == 1);
  CHECK(math::exp(-0.0f) == 1);

  CHECK(std::isnan(math::exp(double{kNaN})));
  CHECK(math::exp(double{kInf}) == double{kInf});
  CHECK(math::exp(709.79) == double{kInf});
  CHECK(math::exp(-double{kInf}) == 0);
  CHECK(math::exp(-708.5) == 0);
  CHECK(math::exp(0.0) == 1);
}

TEST_CASE("exp in a vector loop leaves one NaN among its neighbours where it is", "[kernels][math]") {
  std::vector<float> x(67, -1.5f);
  x[13] = kNaN;
  x[14] = kInf;
  x[15] = -kInf;
  float* const p = x.data();
#pragma omp simd
  for (int i = 0; i < 67; ++i) p[i] = math::exp(p[i]);
  for (std::size_t i = 0; i < x.size(); ++i) {
    CAPTURE(i);
    if (i == 13)
      CHECK(std::isnan(x[i]));
    else if (i == 14 || i == 15)
      CHECK(x[i] == (i == 14 ? kInf : 0.0f));
    else
      CHECK(x[i] == Approx(std::exp(-1.5)).epsilon(1e-6));
  }
}

TEST_CASE("sigmoid and silu follow their formulas and saturate without NaN", "[kernels][math]") {
  for (double x = -30; x <= 30; x += 0.37) {
    CAPTURE(x);
    CHECK(math::sigmoid(x) == Approx(1 / (1 + std::exp(-x))).epsilon(1e-14));
    CHECK(math::silu(x) == Approx(x / (1 + std::exp(-x))).epsilon(1e-14));
    const auto f = static_cast<float>(x);
    CHECK(math::silu(f) == Approx(double{f} / (1 + std::exp(-double{f}))).epsilon(5e-7));
  }
  CHECK(math::sigmoid(-1000.0f) == 0);
  CHECK(math::sigmoid(1000.0f) == 1);
  CHECK(math::silu(-1000.0f) == 0);
  CHECK(math::silu(1000.0f) == 1000);
  CHECK(std::isnan(math::silu(kNaN)));
}
