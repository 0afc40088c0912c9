# The node tests of the onnx package, which the Python tests' environment holds.
add_executable(onnx_nodes conformance/onnx_nodes.cpp conformance/cases.cpp)
target_link_libraries(onnx_nodes PRIVATE gcomp_formats gcomp_interp)
target_include_directories(onnx_nodes PRIVATE ${CMAKE_SOURCE_DIR}/lib/formats)
