# `cmake --install` and `cpack`: the program, the headers that users of artifacts include, find_package(gcomp), and
# the Python package as it is (without its extension, which pip builds: scripts/python).
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)
set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/gcomp)

add_library(gcomp_interface INTERFACE)
set_target_properties(gcomp_interface PROPERTIES EXPORT_NAME runtime)
target_include_directories(gcomp_interface INTERFACE $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
target_link_libraries(gcomp_interface INTERFACE ${CMAKE_DL_LIBS})

install(TARGETS gcomp gcomp_interface EXPORT gcompTargets RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(FILES include/gcomp/runtime.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/gcomp)
install(FILES include/gcomp/runtime/loader.hpp include/gcomp/runtime/model.hpp
        DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/gcomp/runtime)
install(EXPORT gcompTargets NAMESPACE gcomp:: DESTINATION ${package_dir})
configure_package_config_file(tools/cmake/gcompConfig.cmake.in ${CMAKE_BINARY_DIR}/gcompConfig.cmake
                              INSTALL_DESTINATION ${package_dir})
write_basic_package_version_file(${CMAKE_BINARY_DIR}/gcompConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/gcompConfig.cmake ${CMAKE_BINARY_DIR}/gcompConfigVersion.cmake
              tools/cmake/gcompAddGraph.cmake DESTINATION ${package_dir})
install(DIRECTORY scripts/python/gcomp DESTINATION lib/python3/dist-packages FILES_MATCHING PATTERN "*.py")

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME gcomp)
set(CPACK_PACKAGE_CONTACT "The gcomp maintainers <gcomp@localhost>")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "Ahead-of-time compiler of tensor graphs")
set(CPACK_PACKAGE_DESCRIPTION "Compiles ONNX networks and exported PyTensor and PyMC graphs to one loadable
file that needs only libc and libm. With headers for C and C++, a CMake package and a Python package.")
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES TRUE)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION devel)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS TRUE)
set(CPACK_DEBIAN_PACKAGE_SUGGESTS "cmake (>= 3.21), python3-numpy")
include(CPack)
