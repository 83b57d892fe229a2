#include "kernels/core/tensor.h"

#include "tests/kernels/support.h"

using namespace spikesink;
using Catch::Contains;

TEST_CASE("a shape knows its extents and refuses what is none", "[kernels][tensor]") {
  const Shape shape{3, 5, 7};
  CHECK(shape.rank() == 3);
  CHECK(shape.numel() == 105);
  CHECK((shape == Shape{3, 5, 7}));
  CHECK_FALSE((shape == Shape{3, 5, 7, 1}));
  CHECK(Shape{}.numel() == 1);
  std::ostringstream text;
  text << shape;
  CHECK(text.str() == "(3, 5, 7)");
  CHECK_THROWS_AS((Shape{1, 2, 3, 4, 5}), ContractError);
  CHECK_THROWS_AS(Shape{-1}, ContractError);
}

TEST_CASE("copies, views and slices share memory, and the sole owner is known", "[kernels][tensor]") {
  Tensor t = test::from_values({2, 3}, DType::kF32, {0, 1, 2, 3, 4, 5});
  CHECK(t.sole_owner());
  const Tensor flat = t.view({6}), row = t.slice(3, {3});
  CHECK_FALSE(t.sole_owner());
  row.data<float>()[0] = 9;
  CHECK(flat.data<float>()[3] == 9);
  CHECK(test::values(row) == std::vector<double>{9, 4, 5});
  t = {};
  CHECK_FALSE(static_cast<bool>(t));
  CHECK(row.data<float>()[2] == 5);
}

TEST_CASE("a view of another size, a slice past the end and a wrong dtype are refused", "[kernels][tensor]") {
  const Tensor t = test::empty({2, 3}, DType::kF32);
  CHECK_THROWS_AS(t.view({5}), ContractError);
  CHECK_THROWS_AS(t.slice(4, {3}), ContractError);
  CHECK_THROWS_AS(t.slice(-1, {3}), ContractError);
  CHECK_THROWS_WITH(t.data<double>(), Contains("f32") && Contains("f64"));
  CHECK_THROWS_AS(with_dtype(DType::kI32, []<class T>() {}), ContractError);
}

TEST_CASE("matrix_dims folds the leading dimensions", "[kernels][tensor]") {
  const auto dims = matrix_dims(test::empty({2, 3, 4}, DType::kF64));
  CHECK(dims.rows == 6);
  CHECK(dims.cols == 4);
  const auto vector = matrix_dims(test::empty({5}, DType::kF64));
  CHECK(vector.rows == 1);
  CHECK(vector.cols == 5);
}

TEST_CASE("require_tensor names the field, what came and what was expected", "[kernels][tensor]") {
  const Tensor t = test::empty({2, 3}, DType::kF32);
  CHECK_NOTHROW(require_tensor(t, "x", {2, 3}, DType::kF32, Device::kCpu));
  CHECK_THROWS_WITH(require_tensor(t, "x", {3, 2}, DType::kF32, Device::kCpu), "x: (2, 3) f32, expected (3, 2) f32");
  CHECK_THROWS_WITH(require_tensor(t, "x", {2, 3}, DType::kF64, Device::kCpu), "x: (2, 3) f32, expected (2, 3) f64");
  CHECK_THROWS_WITH(require_tensor({}, "x", {2, 3}, DType::kF64, Device::kCpu), "x: no tensor, expected (2, 3) f64");
}
