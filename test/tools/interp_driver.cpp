// Evaluates single ops for tests written in Python (test/interp/test_numpy.py). Reads from standard
// input, one item a line:
//   op NAME
//   in DTYPE EXTENTS HEX [DIMS]   an operand: its value, and its declared extents if not static
//   int KEY N | ints KEY LIST | dims KEY LIST | str KEY TEXT | dtype KEY DTYPE   an attribute
//   run                           evaluates, answers, and forgets
// Lists are separated by commas (extents by ';'), "-" is the empty list (and the empty hex string). Answers "ok COUNT" and
// a line "DTYPE EXTENTS HEX" for each result; "refused MESSAGE" if the graph has a wrong type; "failed
// MESSAGE" if the run fails.

#include <algorithm>
#include <iostream>
#include <sstream>

#include "gcomp/interp/evaluate.h"
#include "gcomp/ir/builder.h"
#include "gcomp/ir/infer.h"
#include "gcomp/support/error.h"

using namespace gcomp;
using interp::Tensor;

namespace {

// Extents contain commas, so lists of them are separated by ';'.
std::vector<std::string> split(const std::string& text, char separator = ',') {
  std::vector<std::string> parts;
  if (text == "-") return parts;
  std::stringstream stream(text);
  for (std::string part; std::getline(stream, part, separator);) parts.push_back(part);
  return parts;
}

std::vector<int64_t> integers(const std::string& text) {
  std::vector<int64_t> values;
  for (const std::string& part : split(text)) values.push_back(std::stoll(part));
  return values;
}

std::vector<std::byte> from_hex(const std::string& text) {
  std::vector<std::byte> bytes;
  if (text == "-") return bytes;
  for (size_t i = 0; i + 1 < text.size(); i += 2) {
    bytes.push_back(static_cast<std::byte>(std::stoi(text.substr(i, 2), nullptr, 16)));
  }
  return bytes;
}

std::string to_hex(const std::vector<std::byte>& bytes) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (std::byte b : bytes) {
    text += kDigits[std::to_integer<int>(b) >> 4];
    text += kDigits[std::to_integer<int>(b) & 15];
  }
  return text.empty() ? "-" : text;
}

struct Case {
  struct Operand {
    Tensor value;
    std::vector<std::string> dims;  // declared extents
  };
  struct Setting {
    std::string kind, key, value;
  };
  std::string op;
  std::vector<Operand> operands;
  std::vector<Setting> settings;
};

std::vector<DimId> parse_dims(Context& context, const std::vector<std::string>& texts) {
  std::vector<DimId> dims;
  for (const std::string& text : texts) dims.push_back(context.dims.parse(text));
  return dims;
}

Attr make_attr(Context& context, const Case::Setting& s) {
  const AttrKey key = parse_attr_key(s.key).value();
  if (s.kind == "int") return {key, static_cast<int64_t>(std::stoll(s.value))};
  if (s.kind == "ints") return {key, integers(s.value)};
  if (s.kind == "dims") return {key, parse_dims(context, split(s.value, ';'))};
  if (s.kind == "dtype") return {key, parse_dtype(s.value).value()};
  return {key, s.value};
}

void answer(const Case& c) {
  Context context;
  GraphBuilder b(context, GraphBuilder::Mode::kRaw);
  std::vector<Tensor> inputs;
  std::unique_ptr<Graph> graph;
  try {
    std::vector<ValueId> operands;
    for (const Case::Operand& operand : c.operands) {
      const Type type{operand.value.dtype, parse_dims(context, operand.dims)};
      operands.push_back(b.input("x" + std::to_string(operands.size()), type));
      inputs.push_back(operand.value);
    }
    std::vector<Attr> attrs;
    for (const Case::Setting& s : c.settings) attrs.push_back(make_attr(context, s));
    Op op;
    if (!parse_op(c.op, &op)) graph_error(Code::kUnknownOp, "no such op: " + c.op);
    const NodeId n = b.node(op, operands, std::move(attrs));
    for (int i = 0; i < b.graph().node(n).num_results; ++i) {
      b.output("y" + std::to_string(i), b.result(n, i));
    }
    graph = b.finish();
  } catch (const UserError& e) {
    std::cout << "refused " << e.what() << std::endl;
    return;
  }
  try {
    const std::vector<Tensor> outputs = interp::evaluate(*graph, inputs);
    std::cout << "ok " << outputs.size() << "\n";
    for (const Tensor& t : outputs) {
      std::cout << name(t.dtype) << ' ';
      for (size_t i = 0; i < t.shape.size(); ++i) std::cout << (i ? "," : "") << t.shape[i];
      std::cout << (t.shape.empty() ? "-" : "") << ' ' << to_hex(t.bytes) << '\n';
    }
    std::cout << std::flush;
  } catch (const UserError& e) {
    std::cout << "failed " << e.what() << std::endl;
  }
}

}  // namespace

int main() {
  Case c;
  for (std::string line; std::getline(std::cin, line);) {
    std::stringstream words(line);
    std::string kind, key, value;
    words >> kind;
    if (kind == "run") {
      answer(c);
      c = Case();
    } else if (kind == "op") {
      words >> c.op;
    } else if (kind == "in") {
      std::string dtype, extents, hex, dims;
      words >> dtype >> extents >> hex;
      if (!(words >> dims))
        std::replace_copy(extents.begin(), extents.end(), std::back_inserter(dims), ',', ';');
      c.operands.push_back(
          {{parse_dtype(dtype).value(), integers(extents), from_hex(hex)}, split(dims, ';')});
    } else {
      words >> key;
      std::getline(words >> std::ws, value);
      c.settings.push_back({kind, key, value});
    }
  }
}
