# SPIKESINK_CUDA: where the .cu files go. Sets SPIKESINK_CUDA_SOURCES for spikesink_library() and the target spikesink_cuda.
set(SPIKESINK_CUDA "OFF" CACHE STRING "OFF: no CUDA; ON: nvcc compiles the .cu files, less those that only call a library; EMULATED: the host compiler does, to test them without a GPU")
set_property(CACHE SPIKESINK_CUDA PROPERTY STRINGS OFF ON EMULATED)
add_library(spikesink_cuda INTERFACE)

if(SPIKESINK_CUDA STREQUAL "EMULATED")
  target_compile_definitions(spikesink_options INTERFACE SPIKESINK_HAS_CUDA SPIKESINK_CUDA_EMULATED)
  add_subdirectory(${PROJECT_SOURCE_DIR}/tests/cuda_emulation)
  target_link_libraries(spikesink_cuda INTERFACE cuda_emulation)
  set(SPIKESINK_HAS_NCCL ON)  # its twin
elseif(SPIKESINK_CUDA)
  find_program(SPIKESINK_NVCC nvcc HINTS ENV CUDA_PATH ENV CUDA_HOME PATHS /usr/local/cuda PATH_SUFFIXES bin REQUIRED)
  if(NOT CMAKE_CUDA_COMPILER)
    set(CMAKE_CUDA_COMPILER ${SPIKESINK_NVCC})
  endif()
  if(NOT CMAKE_CUDA_ARCHITECTURES)
    set(CMAKE_CUDA_ARCHITECTURES 90)
  endif()
  enable_language(CUDA)
  if(NOT CMAKE_CUDA20_STANDARD_COMPILE_OPTION)
    set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION "-std=c++20")  # which CMake 3.25 does not know yet
  endif()
  set(CMAKE_CUDA_FLAGS_RELEASE "-O3")
  find_package(CUDAToolkit REQUIRED)
  target_compile_definitions(spikesink_options INTERFACE SPIKESINK_HAS_CUDA)
  target_link_libraries(spikesink_cuda INTERFACE CUDA::cudart_static)
  target_include_directories(spikesink_cuda SYSTEM INTERFACE ${CUDAToolkit_INCLUDE_DIRS})  # cuBLASLt, nvtx3

  # Attention by cuDNN, where its headers and those of cudnn-frontend are found; without, the project's own kernel serves
  # all of it. scripts/setup.sh --cuda puts the frontend's into .venv.
  file(GLOB spikesink_venv ${PROJECT_SOURCE_DIR}/.venv/lib/python3*/site-packages)
  find_path(SPIKESINK_CUDNN_FRONTEND cudnn_frontend.h HINTS ENV CUDNN_FRONTEND_PATH ${spikesink_venv} PATH_SUFFIXES include
            DOC "The folder of cudnn_frontend.h")
  find_path(SPIKESINK_CUDNN_INCLUDE cudnn.h HINTS ENV CUDNN_PATH ${CUDAToolkit_INCLUDE_DIRS} PATH_SUFFIXES include)
  if(SPIKESINK_CUDNN_FRONTEND AND SPIKESINK_CUDNN_INCLUDE)
    set(SPIKESINK_HAS_CUDNN ON)
    target_compile_definitions(spikesink_cuda INTERFACE SPIKESINK_HAS_CUDNN CUDNN_FRONTEND_SKIP_JSON_LIB)
    target_include_directories(spikesink_cuda SYSTEM INTERFACE ${SPIKESINK_CUDNN_FRONTEND} ${SPIKESINK_CUDNN_INCLUDE})
  else()
    message(STATUS "No cuDNN: attention runs on the project's own kernel. Looked for cudnn.h (${SPIKESINK_CUDNN_INCLUDE}), "
                   "cudnn_frontend.h (${SPIKESINK_CUDNN_FRONTEND}; scripts/setup.sh --cuda)")
  endif()

  # Several ranks, a GPU each.
  find_path(SPIKESINK_NCCL_INCLUDE nccl.h HINTS ENV NCCL_PATH ${CUDAToolkit_INCLUDE_DIRS} PATH_SUFFIXES include)
  if(SPIKESINK_NCCL_INCLUDE)
    set(SPIKESINK_HAS_NCCL ON)
  else()
    message(STATUS "No NCCL: a run on GPUs is one process. Looked for nccl.h (libnccl-dev)")
  endif()

  # cuBLASLt, cuDNN and NCCL are not linked but opened by those who need them (kernels/core/shared_library.h), so that those of a
  # PyTorch install serve too. A program in the build tree finds the toolkit's by its run path; an installed one has only
  # what lies beside it, LD_LIBRARY_PATH and the system's.
  find_library(SPIKESINK_CUDNN cudnn HINTS ENV CUDNN_PATH ${CUDAToolkit_LIBRARY_DIR} PATH_SUFFIXES lib lib64)
  find_library(SPIKESINK_NCCL nccl HINTS ENV NCCL_PATH ${CUDAToolkit_LIBRARY_DIR} PATH_SUFFIXES lib lib64)
  set(CMAKE_BUILD_RPATH ${CUDAToolkit_LIBRARY_DIR})
  foreach(library ${SPIKESINK_CUDNN} ${SPIKESINK_NCCL})
    if(library)
      cmake_path(GET library PARENT_PATH folder)
      list(APPEND CMAKE_BUILD_RPATH ${folder})
    endif()
  endforeach()
  list(REMOVE_DUPLICATES CMAKE_BUILD_RPATH)
  list(REMOVE_ITEM CMAKE_BUILD_RPATH ${CMAKE_CXX_IMPLICIT_LINK_DIRECTORIES})  # the system's are looked in last, not first
  set(CMAKE_INSTALL_RPATH "$ORIGIN/../lib")
endif()

# spikesink_cuda_sources(variable [folder]): the .cu files of a folder, the current one by default, and below, ready for a
# target of the current folder.
function(spikesink_cuda_sources variable)
  set(sources)
  set(folder ${CMAKE_CURRENT_SOURCE_DIR} ${ARGN})
  list(GET folder -1 folder)
  if(SPIKESINK_CUDA)
    file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${folder}/*.cu)
    foreach(source ${sources})  # files that only call a library have a twin that stands in for it, and must hold no kernels
      cmake_path(GET source STEM name)
      set(twin ${PROJECT_SOURCE_DIR}/tests/cuda_emulation/twins/${name}.cpp)
      if(EXISTS ${twin})
        if(SPIKESINK_CUDA STREQUAL "EMULATED")
          list(REMOVE_ITEM sources ${source})
          list(APPEND sources ${twin})
        else()  # nvcc takes twice as long for the host's code
          set_source_files_properties(${source} PROPERTIES LANGUAGE CXX SKIP_UNITY_BUILD_INCLUSION ON)
        endif()
      endif()
    endforeach()
    if(SPIKESINK_CUDA STREQUAL "EMULATED")
      set_source_files_properties(${sources} PROPERTIES LANGUAGE CXX SKIP_UNITY_BUILD_INCLUSION ON COMPILE_OPTIONS -Wno-unknown-pragmas)
    endif()
  endif()
  set(${variable} ${sources} PARENT_SCOPE)
endfunction()
