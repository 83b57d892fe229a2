# Flags that every target of the project shares.
add_library(spikesink_options INTERFACE)
target_include_directories(spikesink_options INTERFACE ${PROJECT_SOURCE_DIR})
set(spikesink_flags
    -Wall -Wextra -Wpedantic -Wshadow -Wnon-virtual-dtor -Woverloaded-virtual $<$<BOOL:${SPIKESINK_WERROR}>:-Werror>
    -Wno-missing-field-initializers  # a designated initialiser that leaves a field at its default is meant so
    $<$<BOOL:${CMAKE_UNITY_BUILD}>:-Wno-subobject-linkage>  # of names without linkage in files that are compiled together
    -Wno-stringop-overflow           # GCC 12 sees overflows in fmt's buffers that are not there
    -march=${SPIKESINK_CPU_ARCH}
    # Vectorise calls that may set errno or trap; NaN and infinity keep their meaning, so that divergence is seen.
    -fno-math-errno -fno-trapping-math)
target_compile_options(spikesink_options INTERFACE "$<$<COMPILE_LANGUAGE:CXX,C>:${spikesink_flags}>"
    "$<$<COMPILE_LANGUAGE:CUDA>:$<$<BOOL:${SPIKESINK_WERROR}>:-Werror=all-warnings>;-Xcompiler=-Wall,-Wextra,-Wno-missing-field-initializers>")
set(CMAKE_CXX_FLAGS_RELEASE "-O3")  # assertions stay on: they are cheap, and a wrong number is not

if(SPIKESINK_SANITIZE)
  target_compile_options(spikesink_options INTERFACE -fsanitize=${SPIKESINK_SANITIZE}
                         -fno-sanitize-recover=all -fno-omit-frame-pointer
                         $<$<COMPILE_LANG_AND_ID:CXX,GNU>:-Wno-maybe-uninitialized>)  # which these flags mislead in std::regex
  target_link_options(spikesink_options INTERFACE -fsanitize=${SPIKESINK_SANITIZE})
endif()
