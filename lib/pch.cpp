// Holds the precompiled header that all targets share (see the top CMakeLists.txt).
