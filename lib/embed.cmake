# A file as a C++ array: cmake -DINPUT=file -DOUTPUT=file.cpp -DNAME=identifier -P embed.cmake
# Defines extern "C" const unsigned char NAME[] and const size_t NAME_size.
file(READ ${INPUT} hex HEX)
string(LENGTH "${hex}" digits)
math(EXPR size "${digits} / 2")
string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${hex}")
string(REGEX REPLACE "(................................................................................)"
       "\\1\n" bytes "${bytes}")
file(WRITE ${OUTPUT} "#include <cstddef>
extern \"C\" {
extern const unsigned char ${NAME}[];
extern const size_t ${NAME}_size;
alignas(16) const unsigned char ${NAME}[] = {\n${bytes}0};
const size_t ${NAME}_size = ${size};
}
")
