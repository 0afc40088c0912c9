# Checks of the source itself. All run from a plain Python 3; each prints what is wrong and how to mend it.
find_program(GCOMP_PLAIN_PYTHON NAMES python3 REQUIRED)
foreach(check layers readmes format tidy)
  set(folder ${CMAKE_BINARY_DIR})
  if(check STREQUAL tidy AND GCOMP_CHECKED_DIR)
    set(folder ${GCOMP_CHECKED_DIR})  # built by clang: faster
  endif()
  add_test(NAME check.${check} COMMAND ${GCOMP_PLAIN_PYTHON} ${CMAKE_SOURCE_DIR}/scripts/check_${check}.py
                                       --build ${folder})
  set_tests_properties(check.${check} PROPERTIES LABELS check)
endforeach()
# The slow one: it takes both cores for itself.
set_tests_properties(check.tidy PROPERTIES PROCESSORS 2 COST 1000)
