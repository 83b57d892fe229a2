#include "analysis/practice/round_to_grid.h"

#include <catch2/catch.hpp>
#include <limits>
#include <vector>

#include "kernels/core/random.h"

namespace spikesink {
namespace {

/// The number that the 8 bits of an E4M3 stand for, from the format's definition (arXiv:2209.05433, table 1).
double decoded(int code) {
  const int exponent = code >> 3 & 15, mantissa = code & 7;
  if (exponent == 15 && mantissa == 7) return std::numeric_limits<double>::quiet_NaN();
  const double size = exponent == 0 ? std::ldexp(mantissa, -9) : std::ldexp(1 + mantissa / 8.0, exponent - 7);
  return code & 128 ? -size : size;
}

/// The nearest of them, the even code of two that are as near.
double nearest(double x) {
  int best = 0;
  for (int code = 0; code < 256; ++code) {
    if (std::isnan(decoded(code)) || (std::signbit(x) != (code >= 128))) continue;
    const double apart = std::abs(decoded(code) - x), least = std::abs(decoded(best) - x);
    if (std::signbit(x) != (best >= 128) || apart < least || (apart == least && code % 2 == 0)) best = code;
  }
  return decoded(best);
}

/// The distance of x to the nearest of the points.
double least_distance(double x, const std::vector<double>& points) {
  double least = std::numeric_limits<double>::infinity();
  for (const double point : points) least = std::min(least, std::abs(x - point));
  return least;
}

std::vector<double> some_values(std::uint64_t seed, double shift) {
  std::vector<double> x;
  for (std::uint64_t i = 0; i < 200; ++i) x.push_back(Random{.seed = seed}.normal(i) + shift);
  return x;
}

}  // namespace

TEMPLATE_TEST_CASE("every number of E4M3 is its own nearest, and ties go to the even one", "[analysis][quantize]",
                   float, double) {
  for (int code = 0; code < 256; ++code) {
    const double value = decoded(code);
    CAPTURE(code, value);
    if (std::isnan(value)) continue;
    const double got = nearest_e4m3(static_cast<TestType>(value));
    CHECK(got == value);
    CHECK(std::signbit(got) == std::signbit(value));
    const int next = code + 1;
    if (next % 128 == 0 || std::isnan(decoded(next))) continue;
    const double middle = (value + decoded(next)) / 2;  // exact in f32 too
    for (const double x : {middle, middle * (1 + 1e-6), middle * (1 - 1e-6)})
      CHECK(double{nearest_e4m3(static_cast<TestType>(x))} == nearest(static_cast<double>(static_cast<TestType>(x))));
  }
  CHECK(nearest_e4m3(TestType(448.1)) == 448);
  CHECK(nearest_e4m3(TestType(-1e30)) == -448);
  CHECK(nearest_e4m3(std::numeric_limits<TestType>::infinity()) == 448);
  CHECK(nearest_e4m3(TestType(0x1p-10)) == 0);  // half of the smallest: to the even one
  CHECK(nearest_e4m3(TestType(0x1.8p-10)) == TestType(0x1p-9));
  CHECK(std::isnan(nearest_e4m3(std::numeric_limits<TestType>::quiet_NaN())));
}

TEST_CASE("random numbers go to the nearest E4M3", "[analysis][quantize]") {
  for (std::uint64_t i = 0; i < 2000; ++i) {
    const double x = Random{.seed = 8}.normal(i) * std::exp2(static_cast<double>(i % 24) - 14);
    CAPTURE(x);
    CHECK(nearest_e4m3(x) == nearest(x));
  }
}

TEST_CASE("int8 goes to the nearest of 255 points and keeps the largest value", "[analysis][quantize]") {
  const auto x = some_values(1, GENERATE(0.0, 3.0));
  double top = 0;
  for (const double value : x) top = std::max(top, std::abs(value));
  std::vector<double> points, y = x;
  for (int i = -127; i <= 127; ++i) points.push_back(top * i / 127);
  round_to_int8(std::span(y));
  for (std::size_t i = 0; i < x.size(); ++i) {
    CHECK(least_distance(y[i], points) < 1e-12);
    CHECK(std::abs(y[i] - x[i]) <= least_distance(x[i], points) + 1e-12);
    if (std::abs(x[i]) == top) CHECK(y[i] == Approx(x[i]).epsilon(1e-14));
  }
}

TEST_CASE("int4 goes to the nearest of 16 points, of which 0 is one", "[analysis][quantize]") {
  const double shift = GENERATE(0.0, 1.0, 20.0, -20.0);  // far from 0 on one side only: the points reach to 0
  const auto x = some_values(2, shift);
  const double low = std::min(0.0, *std::ranges::min_element(x)), high = std::max(0.0, *std::ranges::max_element(x));
  const double scale = (high - low) / 15;
  std::vector<double> points, y = x;
  for (int i = 0; i < 16; ++i) points.push_back(scale * (i - std::round(-low / scale)));
  CHECK(least_distance(0, points) == 0);
  round_to_int4(std::span(y));
  for (std::size_t i = 0; i < x.size(); ++i) {
    CHECK(least_distance(y[i], points) < 1e-12);
    CHECK(std::abs(y[i] - x[i]) <= least_distance(x[i], points) + 1e-12);
  }
}

TEST_CASE("E4M3 is scaled so that the largest value is 448", "[analysis][quantize]") {
  const auto x = some_values(3, 0);
  double top = 0;
  for (const double value : x) top = std::max(top, std::abs(value));
  auto y = x;
  round_to_e4m3(std::span(y));
  for (std::size_t i = 0; i < x.size(); ++i) CHECK(y[i] == Approx(top / 448 * nearest(x[i] * 448 / top)));
}

TEST_CASE("a group of zeros stays one on every grid", "[analysis][quantize]") {
  std::vector<double> x(5);
  round_to_int8(std::span(x));
  round_to_int4(std::span(x));
  round_to_e4m3(std::span(x));
  CHECK(x == std::vector<double>(5));
}

}  // namespace spikesink
