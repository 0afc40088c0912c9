#pragma once
// A diagnostic from where nothing can be allocated: a signal handler, or a heap that is exhausted or broken.

namespace gcomp::driver {

// To stderr: as text, or as set_last_words() of gcomp/driver/crash.h said. `hint` may be empty.
void say_last_words(int code, const char* message, const char* hint);

}  // namespace gcomp::driver
