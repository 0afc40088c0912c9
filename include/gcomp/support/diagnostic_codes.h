#pragma once
// Stable codes of what gcomp tells its user: GC1006 and its like. The one table; DIAGNOSTICS.md in lib/support
// is made from it. A code keeps its number and its meaning for ever: add rows, never reuse one. The
// thousands are the exit code; 8 is for what does not end the command. A number that ends in 00 is for all
// that has no code of its own.

#include <span>
#include <string>
#include <string_view>

// ROW(number, enumerator, what it means, what to do)
#define GCOMP_DIAGNOSTIC_CODES(ROW)                                                             \
  ROW(1000, kGraph, "the graph is wrong", "see the message")                                    \
  ROW(1001, kNoGraph, "the file holds no graph in a known format",                              \
      "give a JSON (`.json`), binary (`.gcb`) or ONNX (`.onnx`) graph")                         \
  ROW(1002, kMalformedJson, "the file is not valid JSON", "mend it at the byte that is named")  \
  ROW(1003, kMalformedBinary, "the binary graph is cut short or corrupt", "write it again")     \
  ROW(1004, kMalformedOnnx, "the ONNX file is cut short or corrupt", "export it again")         \
  ROW(1005, kMalformedWeights, "a weights file is corrupt, or lacks a tensor",                  \
      "write it again from the model that the graph came from")                                 \
  ROW(1006, kField, "a field of a graph file is missing, misplaced or has a wrong value",       \
      "`lib/formats/README.md` describes all fields")                                           \
  ROW(1007, kUnknownOp, "the graph uses an op that gcomp does not have",                        \
      "`gcomp list ops` shows all; others must be written as those")                            \
  ROW(1008, kTypes, "operands or attributes do not fit the op",                                 \
      "`lib/ir/OPS.md` says what each op takes")                                                \
  ROW(1009, kExtents, "extents contradict each other or are malformed",                         \
      "make them equal, or fix them with `--dim`")                                              \
  ROW(1010, kUnsupported, "a form of an operator that gcomp does not compile",                  \
      "write it with other operators, as the hint says")                                        \
  ROW(1011, kOpset, "the model's version of the ONNX operators is absent, too old or too new",  \
      "convert it with onnx.version_converter")                                                 \
  ROW(1012, kTensor, "a tensor stored in an ONNX model is wrong", "export the model again")     \
  ROW(1013, kWeightsPath, "a weights file lies outside the folder of the graph",                \
      "move it there; links, `..` and absolute paths are refused")                              \
  ROW(1014, kTooLarge, "the graph is larger than gcomp can number or write out",                \
      "split it; bodies that share bodies multiply")                                            \
  ROW(1015, kFunction, "a function of an ONNX model is called wrongly or defined twice",        \
      "inline it before exporting")                                                             \
  ROW(1016, kFreeSymbol, "an extent cannot be learned from any input", "give it with `--dim`")  \
  ROW(1017, kState, "a state's input, output and initial value do not fit together",            \
      "they must have the same dtype and shape")                                                \
  ROW(1018, kNotStraight, "`--code=straight` is impossible for the graph",                      \
      "fix extents with `--dim`, or use `--code=plan`")                                         \
  ROW(1019, kManifest, "a line of a batch's manifest is wrong",                                 \
      "`lib/driver/README.md` shows what it may hold")                                          \
  ROW(2000, kUsage, "the command line is wrong", "`gcomp COMMAND --help` shows what there is")  \
  ROW(2001, kUnknownOption, "there is no such option, or an argument too many",                 \
      "`gcomp COMMAND --help` shows all")                                                       \
  ROW(2002, kOptionValue, "an option has a value that it cannot have", "see the hint")          \
  ROW(2003, kUnknownName, "no level, pass, rule, tag, list or CPU is called so",                \
      "`gcomp list levels|passes|rules|tags` shows all")                                        \
  ROW(2004, kUnknownExtent,                                                                     \
      "`--dim` names a symbol that the graph has not, or a value that it cannot have",          \
      "`gcomp inspect` shows the symbols")                                                      \
  ROW(2005, kUnknownNode, "`--explain` names a node that the compilation has not",              \
      "`--dump-after` shows nodes and places")                                                  \
  ROW(2006, kOutputName, "the name of the output does not fit what is to be written",           \
      "give the extension that the hint names")                                                 \
  ROW(2007, kEqualNames, "two graphs of a batch would become one file",                         \
      "give their common folder, or names in a manifest")                                       \
  ROW(3000, kFile, "a file cannot be used", "see the system's reason in the message")           \
  ROW(3001, kCannotRead, "a file cannot be opened or read", "check its path and permissions")   \
  ROW(3002, kCannotWrite, "a file cannot be created, written or replaced",                      \
      "check its folder, permissions and the space left")                                       \
  ROW(3003, kNotAFile, "a folder, pipe or device where a file is needed", "give a file")        \
  ROW(3004, kNotAnArtifact, "the file is no artifact of gcomp, or corrupt", "compile it again") \
  ROW(3005, kIsAnArtifact, "a compiled artifact was given for a graph",                         \
      "give the graph that it was compiled from")                                               \
  ROW(3006, kCannotLoad, "an artifact cannot be loaded here", "compile it with this gcomp")     \
  ROW(3007, kNotNpz, "the arrays cannot be read", "write them with numpy.savez")                \
  ROW(3008, kBatchRuns, "another batch is writing these results",                               \
      "wait for it, or give `--results` another file")                                          \
  ROW(3009, kNoWorker, "a process to compile a graph in cannot be started",                     \
      "give `-j` a smaller number")                                                             \
  ROW(4000, kInternal, "a bug in gcomp", "report it with the reproducer that was written")      \
  ROW(4001, kCrash, "gcomp crashed", "report it with the reproducer that was written")          \
  ROW(4002, kWorkerEnded, "a worker of a batch was ended by the system",                        \
      "give `--max-memory`, or `-j` a smaller number")                                          \
  ROW(5000, kLimit, "a limit was reached", "see the message")                                   \
  ROW(5001, kTimeLimit, "the time limit is reached", "give more with `--time-limit`")           \
  ROW(5002, kMemory, "memory has run out, or its limit is reached",                             \
      "give more with `--max-memory`")                                                          \
  ROW(5003, kHang, "a worker of a batch did not end at its time limit and was killed",          \
      "report it with the reproducer that was written")                                         \
  ROW(6000, kRun, "the compiled graph failed when it ran", "see the message")                   \
  ROW(6001, kInput, "an input or state is missing, or has another dtype or shape",              \
      "`gcomp inspect` shows what the graph takes")                                             \
  ROW(6002, kCheck, "a check in the graph failed, or a node met values it cannot take",         \
      "look at the values that reach the node that is named")                                   \
  ROW(7000, kDiffers, "`gcomp bisect` found a difference", "the small graph it wrote shows it") \
  ROW(8000, kNote, "a remark", "nothing")                                                       \
  ROW(8001, kCacheHit, "the artifact was taken from the cache", "nothing")                      \
  ROW(8002, kCacheMiss, "the artifact was not in the cache, and is now", "nothing")             \
  ROW(8003, kCacheBypassed,                                                                     \
      "the cache was not asked, since an option needs the compilation itself",                  \
      "leave that option out")                                                                  \
  ROW(8004, kCacheUnusable, "the cache cannot be read or written; gcomp went on without it",    \
      "check its folder, permissions and the space left")                                       \
  ROW(8005, kCacheCorrupt, "a damaged entry of the cache was found and removed",                \
      "look for faults of the disk if it comes again")                                          \
  ROW(9000, kBatch, "graphs of `gcomp batch` failed", "the results tell which, and why")

namespace gcomp {

enum class Code : int {
  kNone = 0,  // the exit code's general one
#define GCOMP_ROW(number, enumerator, means, cure) enumerator = (number),
  GCOMP_DIAGNOSTIC_CODES(GCOMP_ROW)
#undef GCOMP_ROW
};

struct CodeInfo {
  Code code;
  std::string_view means;
  std::string_view cure;
};

std::span<const CodeInfo> all_codes();  // by number
const CodeInfo& info(Code code);        // InternalError for kNone
std::string to_string(Code code);       // "GC1006"

// lib/support/DIAGNOSTICS.md
std::string code_document();

}  // namespace gcomp
