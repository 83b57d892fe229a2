# cmake -D SOURCE=checkout -D HEADER=file -P Commit.cmake: a header with SPIKESINK_COMMIT, the commit that is built and whether
# tracked files differ from it. Written only where it changed, so that a build without news compiles nothing.
cmake_minimum_required(VERSION 3.25)
set(commit "no commit")
execute_process(COMMAND git -C ${SOURCE} rev-parse --show-toplevel --short=12 HEAD
                OUTPUT_VARIABLE said OUTPUT_STRIP_TRAILING_WHITESPACE RESULT_VARIABLE failed ERROR_QUIET)
string(REPLACE "\n" ";" said "${said}")
file(REAL_PATH ${SOURCE} here)
if(NOT failed AND here IN_LIST said)  # else the sources lie in somebody else's checkout
  list(GET said 1 hash)
  set(commit "commit ${hash}")
  execute_process(COMMAND git -C ${SOURCE} diff --quiet HEAD RESULT_VARIABLE changed ERROR_QUIET)
  if(changed)
    string(APPEND commit " with changes")
  endif()
endif()
file(CONFIGURE OUTPUT ${HEADER} CONTENT "#pragma once\n#define SPIKESINK_COMMIT \"${commit}\"\n")
