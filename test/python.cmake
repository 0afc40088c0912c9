# Tests written in Python: every test/<folder>/test_<what>.py is one ctest test, py.<folder>.<what>. They see
# the built tree through GCOMP_BUILD_DIR, and the Python package as scripts/python holds it.
if(NOT GCOMP_PYTHON)
  return()
endif()
file(GLOB suites CONFIGURE_DEPENDS RELATIVE ${CMAKE_CURRENT_SOURCE_DIR} */test_*.py)
foreach(suite ${suites})
  string(REGEX REPLACE "^([^/]+)/test_(.+)\\.py$" "py.\\1.\\2" test ${suite})
  add_test(NAME ${test} WORKING_DIRECTORY ${CMAKE_SOURCE_DIR}
           COMMAND ${GCOMP_PYTHON} -m pytest -q -rs -p no:cacheprovider test/${suite})
  set_tests_properties(${test} PROPERTIES LABELS python ENVIRONMENT
    "GCOMP_BUILD_DIR=${CMAKE_BINARY_DIR};PYTHONPATH=${CMAKE_SOURCE_DIR}/scripts/python:${CMAKE_SOURCE_DIR}/scripts:${CMAKE_SOURCE_DIR}/test;PYTHONDONTWRITEBYTECODE=1")
endforeach()
# The longest of them, two minutes and one: they begin first.
set_tests_properties(py.cuda.sample_graphs py.cli.large PROPERTIES COST 900)
