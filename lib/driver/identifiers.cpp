#include "identifiers.h"

#include <algorithm>
#include <iterator>

namespace gcomp::driver {
namespace {

// Keywords of C and C++, the words that are operators in C++, names of our own in generated headers, and macros of
// the standard headers (and of GCC: linux, unix) that graphs might use as names. Sorted.
constexpr std::string_view kReserved[] = {
    "Dims",
    "EOF",
    "HUGE_VAL",
    "I",
    "INFINITY",
    "Inputs",
    "NAN",
    "NDEBUG",
    "NULL",
    "Outputs",
    "alignas",
    "alignof",
    "and",
    "and_eq",
    "asm",
    "assert",
    "auto",
    "bitand",
    "bitor",
    "bool",
    "break",
    "case",
    "catch",
    "char",
    "char16_t",
    "char32_t",
    "char8_t",
    "class",
    "co_await",
    "co_return",
    "co_yield",
    "compl",
    "complex",
    "concept",
    "const",
    "const_cast",
    "consteval",
    "constexpr",
    "constinit",
    "continue",
    "decltype",
    "default",
    "delete",
    "do",
    "double",
    "dynamic_cast",
    "else",
    "enum",
    "errno",
    "explicit",
    "export",
    "extern",
    "false",
    "float",
    "for",
    "friend",
    "gcomp",
    "goto",
    "if",
    "imaginary",
    "inline",
    "int",
    "linux",
    "long",
    "mutable",
    "namespace",
    "new",
    "noexcept",
    "not",
    "not_eq",
    "nullptr",
    "operator",
    "or",
    "or_eq",
    "private",
    "protected",
    "public",
    "register",
    "reinterpret_cast",
    "requires",
    "restrict",
    "return",
    "short",
    "signed",
    "sizeof",
    "static",
    "static_assert",
    "static_cast",
    "std",
    "stderr",
    "stdin",
    "stdout",
    "struct",
    "switch",
    "template",
    "this",
    "thread_local",
    "throw",
    "true",
    "try",
    "typedef",
    "typeid",
    "typename",
    "typeof",
    "union",
    "unix",
    "unsigned",
    "using",
    "virtual",
    "void",
    "volatile",
    "wchar_t",
    "while",
    "xor",
    "xor_eq",
};
static_assert(std::ranges::is_sorted(kReserved));

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

}  // namespace

std::string identifier(std::string_view name) {
  std::string text;
  for (const char c : name) text += is_letter(c) || is_digit(c) ? c : '_';
  if (text.empty() || is_digit(text[0])) text.insert(text.begin(), '_');
  if (std::ranges::binary_search(kReserved, text)) text += '_';
  return text;
}

std::string Identifiers::add(std::string_view name) {
  const std::string stem = identifier(name);
  std::string text = stem;
  for (size_t n = 2; !taken_.insert(text).second; ++n) text = stem + "_" + std::to_string(n);
  return text;
}

}  // namespace gcomp::driver
