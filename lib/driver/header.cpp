#include "header.h"

#include <algorithm>
#include <unordered_map>

#include "gcomp/ir/states.h"
#include "identifiers.h"

namespace gcomp::driver {
namespace {

const char* cpp_type(DType t) {
  switch (t) {
    case DType::kBool: return "bool";
    case DType::kInt8: return "int8_t";
    case DType::kInt16: return "int16_t";
    case DType::kInt32: return "int32_t";
    case DType::kInt64: return "int64_t";
    case DType::kUInt8: return "uint8_t";
    case DType::kUInt16: return "uint16_t";
    case DType::kUInt32: return "uint32_t";
    case DType::kUInt64: return "uint64_t";
    case DType::kFloat16: return "gcomp::float16";
    case DType::kBFloat16: return "gcomp::bfloat16";
    case DType::kFloat32: return "float";
    case DType::kFloat64: return "double";
  }
  return "";
}

// The inside of a string literal; in a comment too, where a name must not end it.
std::string escaped(std::string_view text) {
  std::string result;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\' || c == '?' || byte < 0x20 || byte >= 0x7f) {
      result += '\\';
      for (const int shift : {6, 3, 0}) result += static_cast<char>('0' + ((byte >> shift) & 7));
    } else {
      result += c;
    }
  }
  return result;
}

// Inputs, outputs or states: each once, with its name in C++.
struct Member {
  std::string name;        // of the graph
  std::string identifier;  // in C++
  const Type* type;
  bool donated;
};

class Header {
 public:
  Header(const Graph& graph, const std::string& name)
      : dims_(graph.context().dims), name_(name), namespace_(identifier(name)) {
    const CallPorts call(graph);
    const auto add = [&](std::vector<Member>& list, Identifiers& names, const Port& port,
                         const char* kind) {
      const std::string fallback = std::string(kind) + "_" + std::to_string(list.size());
      list.push_back({port.name, names.add(port.name.empty() ? fallback : port.name),
                      &graph.type(port.value), port.donate});
    };
    Identifiers inputs, outputs, states;
    for (const uint32_t i : call.inputs) add(inputs_, inputs, graph.inputs()[i], "input");
    for (const uint32_t o : call.outputs) add(outputs_, outputs, graph.outputs()[o], "output");
    for (const State& s : graph.states()) add(states_, states, graph.inputs()[s.input], "state");
    name_symbols();
  }

  std::string write() {
    const std::string guard = "GCOMP_HEADER_" + name_ + "_H_";
    line("// The interface of the compiled graph " + name_ + ", written by gcomp --header.");
    line("// How inputs and outputs are used: gcomp/runtime/model.hpp.");
    line("#ifndef " + guard + "\n#define " + guard + "\n");
    line("#include \"gcomp/runtime.h\"\n");
    write_c();
    line("#include \"gcomp/runtime/model.hpp\"\n\nnamespace " + namespace_ + " {\n");
    write_structs();
    write_signature();
    write_model();
    line("}  // namespace " + namespace_ + "\n#endif\n#endif");
    return std::move(text_);
  }

 private:
  void line(const std::string& text) { text_ += text + "\n"; }

  void name_symbols() {
    Identifiers names;
    for (const Member& m : inputs_) {
      for (const DimId d : m.type->dims) {
        std::vector<SymbolId> found;
        dims_.collect_symbols(d, &found);
        for (const SymbolId s : found) {
          if (symbol_names_.contains(s.index)) continue;
          symbols_.push_back(s);
          symbol_names_[s.index] = names.add(dims_.symbol_name(s));
        }
      }
    }
  }

  // Linked functions, and the places of inputs and outputs by name.
  void write_c() {
    line("#ifdef __cplusplus\nextern \"C\" {\n#endif");
    line("GCOMP_DECLARE(" + name_ + ");");
    const auto places = [&](const char* kind, const std::vector<Member>& members) {
      line("enum {");
      for (size_t i = 0; i < members.size(); ++i) {
        line("  " + name_ + "_" + kind + "_" + members[i].identifier + " = " + std::to_string(i) +
             ",");
      }
      line("  " + name_ + "_num_" + kind + "s = " + std::to_string(members.size()) + "\n};");
    };
    places("input", inputs_);
    places("output", outputs_);
    if (!states_.empty()) places("state", states_);
    line("#ifdef __cplusplus\n}\n");
  }

  std::string shape(const Type& type) const {
    std::string text = "[";
    for (size_t d = 0; d < type.dims.size(); ++d) {
      text += (d == 0 ? "" : ", ") + dims_.to_string(type.dims[d]);
    }
    return text + "]";
  }

  std::string view(const char* kind, const Member& m, bool is_const) const {
    std::string text =
        std::string("gcomp::") + kind + "<" + (is_const ? "const " : "") + cpp_type(m.type->dtype);
    for (const DimId d : m.type->dims) {
      text += ", " + std::to_string(dims_.constant_value(d).value_or(-1));
    }
    return text + ">";
  }

  void write_structs() {
    if (!symbols_.empty()) {
      line("// The extents of inputs that differ from call to call.\nstruct Dims {");
      for (const SymbolId s : symbols_) line("  int64_t " + symbol_names_[s.index] + " = 0;");
      line("};\n");
    }
    const auto write = [&](const char* title, const char* kind, const std::vector<Member>& members,
                           bool is_const) {
      line(std::string("struct ") + title + " {");
      for (const Member& m : members) {
        std::string text = "  " + view(kind, m, is_const && !m.donated && !m.type->dims.empty()) +
                           " " + m.identifier + ";  // ";
        if (m.name != m.identifier) text += "\"" + escaped(m.name) + "\" ";
        line(text + escaped(shape(*m.type)) + (m.donated ? ", may be overwritten" : ""));
      }
      line("};\n");
    };
    write("Inputs", "In", inputs_, true);
    write("Outputs", "Out", outputs_, false);
  }

  // As gcomp::describe tells it of an artifact.
  void write_signature() {
    line("inline constexpr char kSignature[] =");
    const auto write = [&](const char* kind, const std::vector<Member>& members) {
      for (const Member& m : members) {
        line(std::string("    \"") + kind + " " + escaped(m.name) + ": " +
             std::string(gcomp::name(m.type->dtype)) + escaped(shape(*m.type)) +
             (m.donated ? " donated" : "") + "\\n\"");
      }
    };
    write("input", inputs_);
    write("output", outputs_);
    write("state", states_);
    line("    \"\";\n");
  }

  // The value of an extent, from `dims`. Operands come first, without recursion.
  std::string value(DimId root) const {
    std::unordered_map<uint32_t, std::string> texts;
    std::vector<DimId> stack = {root};
    while (!stack.empty()) {
      const DimId d = stack.back();
      const DimExpr& e = dims_.expr(d);
      const size_t before = stack.size();
      for (const DimId o : e.operands) {
        if (!texts.contains(o.index)) stack.push_back(o);
      }
      if (stack.size() != before) continue;
      stack.pop_back();
      if (!texts.contains(d.index)) texts[d.index] = value(e, texts);
    }
    return texts.at(root.index);
  }

  std::string value(const DimExpr& e,
                    const std::unordered_map<uint32_t, std::string>& texts) const {
    const auto operand = [&](size_t i) { return texts.at(e.operands[i].index); };
    const auto number = [](int64_t n) { return "int64_t{" + std::to_string(n) + "}"; };
    const auto call = [&](const char* function) {
      return std::string(function) + "(" + operand(0) + ", " + operand(1) + ")";
    };
    std::string text;
    switch (e.kind) {
      case DimKind::kConst: return number(e.value);
      case DimKind::kSymbol: return "dims." + symbol_names_.at(e.symbol.index);
      case DimKind::kSum:
        for (size_t i = 0; i < e.operands.size(); ++i) {
          text += number(e.coefficients[i]) + " * " + operand(i) + " + ";
        }
        return "(" + text + number(e.value) + ")";
      case DimKind::kProduct:
        for (size_t i = 0; i < e.operands.size(); ++i) text += (i == 0 ? "" : " * ") + operand(i);
        return "(" + text + ")";
      case DimKind::kFloorDiv: return call("gcomp::floor_div");
      case DimKind::kMod: return call("gcomp::floor_mod");
      case DimKind::kMin: return call("(std::min)");
      case DimKind::kMax: return call("(std::max)");
    }
    return text;
  }

  void write_model() {
    const std::string base = "gcomp::BasicModel(";
    line("class Model : public gcomp::BasicModel {\n public:");
    line("#ifdef GCOMP_FILE_" + name_ + "  // the artifact to load, where the build says so");
    line("  explicit Model(const gcomp_options& options = {})");
    line("      : Model(std::string(GCOMP_FILE_" + name_ + "), options) {}");
    line("#else  // the linked one");
    line("  explicit Model(const gcomp_options& options = {})");
    line("      : " + base + name_ + "_descriptor_v1, kSignature, options) {}");
    line("#endif");
    line("  explicit Model(const std::string& path, const gcomp_options& options = {})");
    line("      : " + base + "path, \"" + name_ + "\", kSignature, options) {}\n");
    write_calls();
    for (size_t i = 0; i < states_.size(); ++i) write_state(i);
    if (!states_.empty()) line("  void reset_states() { context_.reset_states(); }");
    line("};\n");
  }

  void write_calls() {
    const std::string in = inputs_.empty() ? "const Inputs& in = {}" : "const Inputs& in";
    const std::string dims = symbols_.empty() ? "" : ", const Dims& dims";
    line("  Outputs operator()(" + in + dims + ") {");
    line(std::string("    Outputs out;\n    run(in, ") + (symbols_.empty() ? "" : "dims, ") +
         "out);\n    return out;\n  }");
    line("  void run(const Inputs& in" + dims + ", Outputs& out) {");
    const std::string num_in = std::to_string(inputs_.size());
    const std::string num_out = std::to_string(outputs_.size());
    line("    gcomp::Tensors<" + num_in + "> inputs;\n    gcomp::Tensors<" + num_out +
         "> outputs;");
    if (inputs_.empty()) line("    (void)in;");
    for (size_t i = 0; i < inputs_.size(); ++i) {
      const Member& m = inputs_[i];
      const std::string n = std::to_string(i);
      line("    std::array<int64_t, " + std::to_string(m.type->dims.size()) + "> e" + n + " = {" +
           values(*m.type) + "};");
      line("    inputs[" + n + "] = in." + m.identifier + ".tensor(\"" + escaped(m.name) + "\", e" +
           n + ");");
    }
    for (size_t i = 0; i < outputs_.size(); ++i) {
      line("    outputs[" + std::to_string(i) + "] = out." + outputs_[i].identifier + ".tensor();");
    }
    line("    context_.run(inputs.data(), " + num_in + ", outputs.data(), " + num_out + ");");
    for (size_t i = 0; i < outputs_.size(); ++i) {
      line("    out." + outputs_[i].identifier + ".take(outputs[" + std::to_string(i) + "]);");
    }
    line("  }");
  }

  std::string values(const Type& type) const {
    std::string text;
    for (const DimId d : type.dims) text += (text.empty() ? "" : ", ") + value(d);
    return text;
  }

  // Lent until the next call, or set; extents that are not numbers come with the value.
  void write_state(size_t i) {
    const Member& m = states_[i];
    const std::string number = std::to_string(i), rank = std::to_string(m.type->dims.size());
    const std::string out = view("Out", m, false);
    const std::string in = view("In", m, !m.type->dims.empty());
    const bool fixed = std::ranges::all_of(
        m.type->dims, [&](DimId d) { return dims_.constant_value(d).has_value(); });
    line("\n  // State \"" + escaped(m.name) + "\" " + escaped(shape(*m.type)));
    line("  " + out + " state_" + m.identifier + "() {\n    " + out + " value;");
    line("    gcomp_tensor t = value.tensor();\n    context_.get_state(" + number + ", t);");
    line("    value.take(t);\n    return value;\n  }");
    const std::string extents = "std::array<int64_t, " + rank + "> extents";
    line("  void set_state_" + m.identifier + "(" + in + " value" + (fixed ? "" : ", " + extents) +
         ") {");
    if (fixed) line("    " + extents + " = {" + values(*m.type) + "};");
    line("    context_.set_state(" + number + ", value.tensor(\"" + escaped(m.name) +
         "\", extents));\n  }");
  }

  const DimTable& dims_;
  std::string name_, namespace_;
  std::vector<Member> inputs_, outputs_, states_;
  std::vector<SymbolId> symbols_;  // of inputs, in order
  std::unordered_map<uint32_t, std::string> symbol_names_;
  std::string text_;
};

}  // namespace

std::string interface_header(const Graph& graph, const std::string& name) {
  return Header(graph, name).write();
}

}  // namespace gcomp::driver
