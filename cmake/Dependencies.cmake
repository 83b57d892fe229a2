# Libraries that are found on the system; scripts/setup.sh installs them. Where a package has no CMake config of its own,
# a target is made here, so that the rest of the build knows names only.
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)
find_package(OpenMP REQUIRED COMPONENTS CXX)
find_package(ZLIB REQUIRED)
find_package(yaml-cpp REQUIRED)
if(NOT TARGET yaml-cpp::yaml-cpp)  # before 0.8
  add_library(yaml-cpp::yaml-cpp INTERFACE IMPORTED)
  target_link_libraries(yaml-cpp::yaml-cpp INTERFACE yaml-cpp)
endif()
find_package(simdjson REQUIRED)
find_package(fmt REQUIRED)
find_package(spdlog REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(CLI11 REQUIRED)
pkg_check_modules(zstd REQUIRED IMPORTED_TARGET libzstd)
pkg_check_modules(xxhash REQUIRED IMPORTED_TARGET libxxhash)
pkg_check_modules(sentencepiece REQUIRED IMPORTED_TARGET sentencepiece)
pkg_check_modules(pcre2 REQUIRED IMPORTED_TARGET libpcre2-8)
pkg_check_modules(hdf5 REQUIRED IMPORTED_TARGET hdf5-serial)

# Runs of several processes. The program starts without MPI's runtime too, as long as it is alone.
set(SPIKESINK_MPI "AUTO" CACHE STRING "Runs on several processes: ON, OFF, or AUTO: where MPI is found")
set_property(CACHE SPIKESINK_MPI PROPERTY STRINGS AUTO ON OFF)
set(SPIKESINK_HAS_MPI OFF)
if(SPIKESINK_MPI)
  if(SPIKESINK_MPI STREQUAL "AUTO")
    find_package(MPI QUIET COMPONENTS C)
  else()
    find_package(MPI REQUIRED COMPONENTS C)
  endif()
  if(MPI_C_FOUND)
    set(SPIKESINK_HAS_MPI ON)
  else()
    message(STATUS "No MPI: a run is one process (scripts/setup.sh installs Open MPI)")
  endif()
endif()

# Double precision only (single precision runs on oneDNN). The OpenMP build of OpenBLAS shares its threads with ours.
find_library(SPIKESINK_OPENBLAS openblas REQUIRED
             PATHS /usr/lib/${CMAKE_LIBRARY_ARCHITECTURE}/openblas-openmp NO_DEFAULT_PATH)
find_path(SPIKESINK_OPENBLAS_INCLUDE cblas.h REQUIRED
          PATHS /usr/include/${CMAKE_LIBRARY_ARCHITECTURE}/openblas-openmp NO_DEFAULT_PATH)
add_library(openblas_openmp INTERFACE)
target_link_libraries(openblas_openmp INTERFACE ${SPIKESINK_OPENBLAS})
target_include_directories(openblas_openmp SYSTEM INTERFACE ${SPIKESINK_OPENBLAS_INCLUDE})

# Single precision. Found by name, since Debian's CMake config of oneDNN also asks for OpenCL's headers.
find_library(SPIKESINK_DNNL dnnl REQUIRED)
find_path(SPIKESINK_DNNL_INCLUDE oneapi/dnnl/dnnl.h REQUIRED)
add_library(onednn INTERFACE)
target_link_libraries(onednn INTERFACE ${SPIKESINK_DNNL})
target_include_directories(onednn SYSTEM INTERFACE ${SPIKESINK_DNNL_INCLUDE})
