# The node tests of the onnx package, which the Python tests' environment holds.
add_executable(onnx_nodes conformance/onnx_nodes.cpp conformance/cases.cpp)
target_link_libraries(onnx_nodes PRIVATE gcomp_driver gcomp_formats gcomp_interp)
target_include_directories(onnx_nodes PRIVATE ${CMAKE_SOURCE_DIR}/lib/formats)

if(GCOMP_PYTHON)
  execute_process(COMMAND ${GCOMP_PYTHON} -c
      "import importlib.util as u; print(u.find_spec('onnx').submodule_search_locations[0])"
    OUTPUT_VARIABLE onnx_folder OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
  set(node_tests ${onnx_folder}/backend/test/data/node)
  add_test(NAME conformance.interp
           COMMAND onnx_nodes ${node_tests} ${CMAKE_CURRENT_SOURCE_DIR}/conformance/exceptions.txt)
  foreach(kind plan straight)
    add_test(NAME conformance.${kind}
             COMMAND onnx_nodes ${node_tests} ${CMAKE_CURRENT_SOURCE_DIR}/conformance/exceptions.txt
                     --compile=${CMAKE_CURRENT_BINARY_DIR}/conformance-${kind} --code=${kind})
  endforeach()
  gcomp_checked_test(conformance.interp onnx_nodes ${node_tests}
                     ${CMAKE_CURRENT_SOURCE_DIR}/conformance/exceptions.txt)
endif()
