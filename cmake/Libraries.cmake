# spikesink_library(NAME part [ALONE] [COLD] [LINK public libraries...]): all .cpp files of the current folder and below, and
# .cu files where CUDA is on, as one library. ALONE: each file is compiled by itself, also where CMAKE_UNITY_BUILD is on.
# COLD: nothing in it takes time, so little is spent on optimising it (spikesink_cold()).
function(spikesink_library name)
  cmake_parse_arguments(arg "ALONE;COLD" "" "LINK" ${ARGN})
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.cpp)
  spikesink_cuda_sources(cuda_sources)
  if(sources)
    add_library(${name} STATIC ${sources} ${cuda_sources})
    target_link_libraries(${name} PUBLIC spikesink_options ${arg_LINK})
    if(arg_ALONE)
      set_target_properties(${name} PROPERTIES UNITY_BUILD OFF)
    endif()
    if(arg_COLD)
      spikesink_cold(${name})
    endif()
  else()  # headers only
    add_library(${name} INTERFACE)
    target_link_libraries(${name} INTERFACE spikesink_options ${arg_LINK})
  endif()
endfunction()

# spikesink_cold(target): optimised little, and not at all under sanitizers, whose checks are what takes long to optimise. Not for
# what shares inline functions that take time with other libraries: the linker keeps one copy of each.
function(spikesink_cold target)
  if(SPIKESINK_SANITIZE)
    set(level -O0)
  else()
    set(level -O1)
  endif()
  target_compile_options(${target} PRIVATE $<$<COMPILE_LANGUAGE:CXX>:${level}>)
endfunction()

# spikesink_test(part [COMPUTES] [ALONE] [LINK libraries...]): tests/<part>/*.cpp, and *.cu where CUDA is on, as one Catch2
# program test_<part>, and a ctest of that name. Catch2's macros take long to optimise and are soon run, so only tests
# that compute, themselves or in inline functions of the project, are optimised, and little.
function(spikesink_test part)
  cmake_parse_arguments(arg "COMPUTES;ALONE" "" "LINK" ${ARGN})
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/tests/${part}/*.cpp)
  spikesink_cuda_sources(cuda_sources ${PROJECT_SOURCE_DIR}/tests/${part})
  add_executable(test_${part} ${sources} ${cuda_sources} $<TARGET_OBJECTS:catch_main>)
  target_link_libraries(test_${part} PRIVATE spikesink_options ${arg_LINK})
  if(arg_ALONE)
    set_target_properties(test_${part} PROPERTIES UNITY_BUILD OFF)
  endif()
  target_compile_options(test_${part} PRIVATE $<$<COMPILE_LANGUAGE:CXX>:$<IF:$<BOOL:${arg_COMPUTES}>,-O1,-O0>>)
  add_test(NAME ${part} COMMAND test_${part} WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
  if(SPIKESINK_SANITIZE MATCHES address)  # which ends the program where new would throw
    set_tests_properties(${part} PROPERTIES ENVIRONMENT "ASAN_OPTIONS=allocator_may_return_null=1;\
LSAN_OPTIONS=suppressions=${PROJECT_SOURCE_DIR}/tests/lsan.supp:print_suppressions=0")
  endif()
endfunction()
