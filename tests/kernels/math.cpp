#include "kernels/core/math.h"

#include <algorithm>

#include "tests/kernels/support.h"

using namespace spikesink;
using namespace spikesink::kernels;

namespace {
constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

/// The largest of |got(x) - want(x)| over [from, to], in units of the last place of the result times allowed(x).
template <class T>
double worst_error(auto got, auto want, auto allowed, double from, double to, int points) {
  double worst = 0;
  for (int i = 0; i <= points; ++i) {
    const T x = static_cast<T>(from + (to - from) * i / points);
    const long double exact = want(static_cast<long double>(x));
    const T near = static_cast<T>(std::abs(exact));
    const long double unit = std::nextafter(near, std::numeric_limits<T>::infinity()) - near;
    const auto error = static_cast<double>(std::abs(got(x) - exact) / unit) / allowed(static_cast<double>(x));
    worst = std::isnan(error) ? std::numeric_limits<double>::infinity() : std::max(worst, error);
  }
  return worst;
}

template <class T>
double worst_exp_error(double from, double to, int points) {
  return worst_error<T>([](T x) { return math::exp(x); }, [](long double x) { return std::exp(x); },
                        [](double) { return 1; }, from, to, points);
}
template <class T>
double worst_tanh_error(double to, int points) {
  return worst_error<T>([](T x) { return math::tanh(x); }, [](long double x) { return std::tanh(x); },
                        [](double) { return 1; }, -to, to, points);
}
/// In units of 5 + x^2 / 2 below 0, where the square's last bit goes through the exponential, and of 5 above.
template <class T>
double worst_cdf_error(double from, double to, int points) {
  return worst_error<T>([](T x) { return math::normal(x).cdf; },
                        [](long double x) { return std::erfc(-x / std::sqrt(2.0L)) / 2; },
                        [](double x) { return 5 + (x < 0 ? x * x / 2 : 0); }, from, to, points);
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

TEST_CASE("tanh is right to 3.5 units in the last place at every size of x, tiny ones too", "[kernels][math]") {
  for (const double to : {1e-30, 1e-7, 1e-3, 0.02, 0.1, 1.0, 10.0, 40.0}) {
    CAPTURE(to);
    CHECK(worst_tanh_error<float>(to, 100'001) <= 3.5);  // an odd number: no point at 0
    CHECK(worst_tanh_error<double>(to, 100'001) <= 3.5);
  }
}

TEST_CASE("tanh keeps 0 and NaN and saturates at exactly 1", "[kernels][math]") {
  CHECK(math::tanh(0.0f) == 0);
  CHECK(math::tanh(0.0) == 0);
  for (const double x : {20.0, 400.0, 1e38, double{kInf}}) {
    CHECK(math::tanh(x) == 1);
    CHECK(math::tanh(-x) == -1);
    CHECK(math::tanh(static_cast<float>(x)) == 1);
    CHECK(math::tanh(static_cast<float>(-x)) == -1);
  }
  CHECK(std::isnan(math::tanh(kNaN)));
  CHECK(std::isnan(math::tanh(double{kNaN})));
}

TEST_CASE("the normal distribution keeps its digits in the lower tail", "[kernels][math]") {
  CHECK(worst_cdf_error<float>(0, 15, 200'000) <= 1);
  CHECK(worst_cdf_error<float>(-2, 0, 200'000) <= 1);
  CHECK(worst_cdf_error<float>(-12.5, -2, 200'000) <= 1);
  CHECK(worst_cdf_error<double>(0, 40, 200'000) <= 1);
  CHECK(worst_cdf_error<double>(-2, 0, 200'000) <= 1);
  CHECK(worst_cdf_error<double>(-37, -2, 200'000) <= 1);
  for (double x = -6; x <= 6; x += 0.093) {
    CAPTURE(x);
    CHECK(math::normal(x).cdf == Approx(0.5 * (1 + std::erf(x / std::sqrt(2.0)))).margin(1e-15).epsilon(0));
    CHECK(math::normal(x).density == Approx(std::exp(-x * x / 2) / std::sqrt(2 * std::acos(-1.0))).epsilon(1e-14));
  }
}

TEST_CASE("the normal distribution is 0 and 1 far out, however large x is", "[kernels][math]") {
  for (const float x : {14.0f, 1e5f, 1e30f, kInf}) {
    CAPTURE(x);
    CHECK(math::normal(x).cdf == 1);
    CHECK(math::normal(-x).cdf == 0);
    CHECK(math::normal(-x).density == 0);
    CHECK(math::normal(-3 * double{x}).cdf == 0);
    CHECK(math::normal(3 * double{x}).cdf == 1);
  }
  CHECK(math::normal(0.0f).cdf == 0.5f);
  CHECK(math::normal(0.0).cdf == 0.5);
  CHECK(std::isnan(math::normal(kNaN).cdf));
  CHECK(std::isnan(math::normal(double{kNaN}).density));
}
