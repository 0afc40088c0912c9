# gcomp_add_graph(<target> GRAPH <file> [NAME <identifier>] [LOADED] [OPTIONS <option>...] [DEPENDS <file>...])
#
# A library target of the graph, compiled when the project is built, and again when the graph, a file of weights
# that it names, gcomp or the options change. If that gives the same bytes, what uses the target is not made again.
#
#   GRAPH    an ONNX, JSON or binary graph, relative to the current source folder
#   NAME     prefix of the symbols and namespace of the header: a C identifier. Default: the target's name, with _
#            for what cannot stand in one
#   LOADED   a shared object that the program loads when it runs. Default: code linked into the program
#   OPTIONS  of `gcomp`, as on its command line
#   DEPENDS  further files whose change compiles the graph again
#
# Whoever links with <target> can #include "<target>.h" (see `gcomp --header`) and make a NAME::Model, which is the
# linked code or, with LOADED, the file where the build put it. The target's properties GCOMP_ARTIFACT and
# GCOMP_HEADER name the two files, for installing them.
#
# gcomp uses one thread, and more only where make's or ninja's jobserver has tokens for them.
function(gcomp_add_graph target)
  cmake_parse_arguments(PARSE_ARGV 1 ARG "LOADED" "GRAPH;NAME" "OPTIONS;DEPENDS")
  if(NOT ARG_GRAPH)
    message(FATAL_ERROR "gcomp_add_graph(${target}): GRAPH <file> is missing")
  endif()
  if(ARG_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "gcomp_add_graph(${target}): unknown: ${ARG_UNPARSED_ARGUMENTS}")
  endif()
  get_filename_component(graph "${ARG_GRAPH}" ABSOLUTE)
  if(NOT ARG_NAME)
    string(MAKE_C_IDENTIFIER "${target}" ARG_NAME)
  endif()
  # A folder of its own, so that whoever includes the header sees nothing else.
  set(folder "${CMAKE_CURRENT_BINARY_DIR}/${target}.gcomp")
  file(MAKE_DIRECTORY "${folder}")
  if(ARG_LOADED)
    set(artifact "${folder}/${target}.so")
    set(emit so)
  else()
    set(artifact "${folder}/${target}.o")
    set(emit obj)
  endif()
  set(header "${folder}/${target}.h")
  set(command gcomp::gcomp "${graph}" -o "${artifact}" --header "${header}" --emit=${emit} --name ${ARG_NAME}
              --if-changed --depfile "${folder}/${target}.d" ${ARG_OPTIONS})
  _gcomp_add_command("${target}" "${artifact}" "${header}" "${folder}/${target}.d"
                     COMMAND ${command} DEPENDS "${graph}" ${ARG_DEPENDS})

  if(ARG_LOADED)
    add_custom_target(${target}_artifact ALL DEPENDS "${artifact}" "${header}")
    add_library(${target} INTERFACE)
    add_dependencies(${target} ${target}_artifact)
    target_compile_definitions(${target} INTERFACE "GCOMP_FILE_${ARG_NAME}=\"${artifact}\"")
  else()
    set_source_files_properties("${artifact}" PROPERTIES EXTERNAL_OBJECT TRUE GENERATED TRUE)
    add_library(${target} STATIC "${artifact}" "${header}")
    set_target_properties(${target} PROPERTIES LINKER_LANGUAGE C)
    target_link_libraries(${target} INTERFACE m)
  endif()
  target_include_directories(${target} INTERFACE "$<BUILD_INTERFACE:${folder}>")
  target_link_libraries(${target} INTERFACE gcomp::runtime)
  set_target_properties(${target} PROPERTIES GCOMP_ARTIFACT "${artifact}" GCOMP_HEADER "${header}")
endfunction()

# The rule that makes the artifact and the header. Ninja looks whether an output changed. Make compares times only:
# there a stamp tells when gcomp last ran, and the files follow it by rules that leave them as they are.
function(_gcomp_add_command target artifact header depfile)
  cmake_parse_arguments(PARSE_ARGV 4 ARG "" "" "COMMAND;DEPENDS")
  set(common DEPENDS gcomp::gcomp ${ARG_DEPENDS} DEPFILE "${depfile}" COMMENT "Compiling graph ${target}"
             VERBATIM COMMAND_EXPAND_LISTS)
  if(CMAKE_VERSION VERSION_GREATER_EQUAL 3.28)
    list(APPEND common JOB_SERVER_AWARE TRUE)
  endif()
  if(CMAKE_GENERATOR MATCHES "Ninja")
    add_custom_command(OUTPUT "${artifact}" "${header}" COMMAND ${ARG_COMMAND} ${common})
    return()
  endif()
  set(stamp "${depfile}.stamp")
  add_custom_command(OUTPUT "${stamp}" COMMAND ${ARG_COMMAND} --depfile-target "${stamp}"
                     COMMAND "${CMAKE_COMMAND}" -E touch "${stamp}" ${common})
  foreach(file "${artifact}" "${header}")
    # One that somebody removed stops the build, and the next makes it again.
    add_custom_command(OUTPUT "${file}" DEPENDS "${stamp}" VERBATIM COMMENT ""
      COMMAND test -f "${file}" || "${CMAKE_COMMAND}" -E rm -f "${stamp}" && test -f "${file}")
  endforeach()
endfunction()
