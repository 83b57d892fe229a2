#include "kernels/core/shared_library.h"

#include <catch2/catch.hpp>

#include "io/failure.h"

using namespace spikesink;
using Catch::Contains;
using Catch::Equals;

TEST_CASE("a shared library gives its functions, and says in one line what is missing or too old", "[kernels]") {
  const SharedLibrary math("libm 6", "libm.so.6", "install a C library");
  double (*const down)(double) = math["floor"];
  CHECK(down(2.5) == 2);
  CHECK_THROWS_AS(math["cublasLtCreate"], UsageError);
  CHECK_THROWS_WITH(math["cublasLtCreate"], Contains("libm 6 is too old: /") &&
                                                Contains("libm.so.6: undefined symbol: cublasLtCreate; install"));
  CHECK_NOTHROW(math.require_version(90800, 90800));
  CHECK_THROWS_WITH(math.require_version(90799, 90800),
                    Contains("libm 6 is too old: /") &&
                        Contains("libm.so.6 is version 9.7.99, this build needs 9.8.0 or newer; install a C library"));

  const auto open = [] { SharedLibrary("cuNone 7", "libcunone.so.7", "install it, or set system.device=cpu"); };
  CHECK_THROWS_AS(open(), UsageError);
  CHECK_THROWS_WITH(open(), Contains("cuNone 7 is missing: libcunone.so.7: cannot open shared object file") &&
                                Contains("LD_LIBRARY_PATH (") && Contains("; install it, or set system.device=cpu") &&
                                !Contains("\n"));
}

TEST_CASE("versions read as their makers write them", "[kernels]") {
  CHECK_THAT(version_text(91900), Equals("9.19.0"));
  CHECK_THAT(version_text(130103), Equals("13.1.3"));
}
