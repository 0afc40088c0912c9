#include "last_words.h"

#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <string>

#include "gcomp/driver/crash.h"

namespace gcomp::driver {
namespace {

// What a document is around the words, made beforehand by who knows its form. Global, since a signal handler has
// no other way to know.
constexpr size_t kMostForms = 4, kFormBytes = 2048;
struct Form {
  int code = 0;  // 0: free
  char text[kFormBytes];
};
Form forms[kMostForms];  // NOLINT(readability-identifier-naming)

void write_all(const char* text, size_t size) {
  while (size > 0) {
    const ssize_t n = ::write(STDERR_FILENO, text, size);
    if (n <= 0) return;
    text += n;
    size -= static_cast<size_t>(n);
  }
}

void say(const char* text) { write_all(text, std::strlen(text)); }

void say_in_json(const char* text) {
  constexpr char kDigits[] = "0123456789abcdef";
  for (; *text != '\0'; ++text) {
    const auto c = static_cast<unsigned char>(*text);
    if (c >= 0x20 && c != '"' && c != '\\') {
      write_all(text, 1);
    } else {
      const char escaped[] = {'\\', 'u', '0', '0', kDigits[c >> 4], kDigits[c & 15]};
      write_all(escaped, sizeof escaped);
    }
  }
}

// "\u0001" and its like, as JSON shows the marks, become the words.
void say_form(const char* form, const char* const (&words)[3]) {
  const char* from = form;
  for (const char* at = form; (at = std::strstr(at, "\\u000")) != nullptr; from = at) {
    write_all(from, static_cast<size_t>(at - from));
    at += 6;
    const int mark = at[-1] - '1';
    if (mark >= 0 && mark < 3) say_in_json(words[mark]);
  }
  say(from);
}

}  // namespace

void say_last_words(int code, const char* message, const char* hint) {
  for (const Form& form : forms) {
    if (form.code == code) return say_form(form.text, {message, crash_stage(), hint});
  }
  say("gcomp: ");
  say(message);
  say(" while: ");
  say(crash_stage());
  if (*hint != '\0') {
    say(" (");
    say(hint);
    say(")");
  }
  say("\n");
}

bool set_last_words(int code, const std::string& form) {
  for (Form& f : forms) {
    if (f.code != 0 && f.code != code) continue;
    if (form.size() >= kFormBytes) return false;
    std::memcpy(f.text, form.c_str(), form.size() + 1);
    f.code = code;
    return true;
  }
  return false;
}

}  // namespace gcomp::driver
