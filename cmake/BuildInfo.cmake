# spikesink_build_info(target): io/build_info.cpp, of which the target has to be made, is told version, commit and build; it alone
# sees what changes with every commit.
add_custom_target(spikesink_commit BYPRODUCTS ${PROJECT_BINARY_DIR}/made/commit.h COMMENT ""
                  COMMAND ${CMAKE_COMMAND} -D SOURCE=${PROJECT_SOURCE_DIR} -D HEADER=${PROJECT_BINARY_DIR}/made/commit.h
                          -P ${PROJECT_SOURCE_DIR}/cmake/Commit.cmake)

function(spikesink_build_info target)
  if(SPIKESINK_CUDA STREQUAL "EMULATED")
    set(cuda "CUDA emulated")
  elseif(SPIKESINK_CUDA)
    set(cuda "CUDA ${CMAKE_CUDA_COMPILER_VERSION}")
  else()
    set(cuda "no CUDA")
  endif()
  set(build "${CMAKE_BUILD_TYPE}, ${CMAKE_CXX_COMPILER_ID} ${CMAKE_CXX_COMPILER_VERSION}, ${cuda}")
  set_source_files_properties(${PROJECT_SOURCE_DIR}/io/build_info.cpp PROPERTIES SKIP_UNITY_BUILD_INCLUSION ON
      INCLUDE_DIRECTORIES ${PROJECT_BINARY_DIR}/made
      COMPILE_DEFINITIONS "SPIKESINK_VERSION=\"${PROJECT_VERSION}\";SPIKESINK_BUILD=\"${build}\"")
  add_dependencies(${target} spikesink_commit)
endfunction()
