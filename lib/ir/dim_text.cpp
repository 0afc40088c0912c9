// Text of extents and its parser. Grammar, by precedence:
//   sum := ["-"] product {("+" | "-") product};  product := atom {("*" | "//" | "%") atom}
//   atom := number | name | "(" sum ")" | ("min" | "max") "(" sum "," sum ")"
#include <charconv>

#include "gcomp/ir/dim.h"
#include "gcomp/support/error.h"

namespace gcomp {
namespace {

// Deeper nesting than this in one extent is refused: nothing legitimate comes near.
constexpr int kMaxNesting = 100;

bool is_name_char(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
         c == '.' || c == ':' || c == '/' || c == '[' || c == ']' || c == '?' || c == '$' ||
         static_cast<unsigned char>(c) >= 0x80;
}

class Parser {
 public:
  Parser(DimTable& dims, std::string_view text) : dims_(dims), text_(text) {}

  DimId parse() {
    const DimId d = sum();
    skip_space();
    if (at_ != text_.size()) fail("unexpected '" + std::string(1, text_[at_]) + "'");
    return d;
  }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    graph_error(Code::kExtents,
                "extent \"" + std::string(text_.substr(0, 80)) + (text_.size() > 80 ? "..." : "") +
                    "\": " + what,
                "", "extents are integers, symbols, + - * // % min(a, b) max(a, b)");
  }
  void skip_space() {
    while (at_ < text_.size() && text_[at_] == ' ') ++at_;
  }
  bool take(std::string_view token) {
    skip_space();
    if (text_.substr(at_, token.size()) != token) return false;
    at_ += token.size();
    return true;
  }
  void expect(std::string_view token) {
    if (!take(token)) fail("expected '" + std::string(token) + "'");
  }

  // Recursive descent, at most kMaxNesting deep.
  // NOLINTBEGIN(misc-no-recursion)
  DimId sum() {
    if (++depth_ > kMaxNesting) fail("nested too deeply");
    DimId d = take("-") ? dims_.sub(dims_.constant(0), product()) : product();
    for (;;) {
      if (take("+")) {
        d = dims_.add(d, product());
      } else if (take("-")) {
        d = dims_.sub(d, product());
      } else {
        --depth_;
        return d;
      }
    }
  }

  DimId product() {
    DimId d = atom();
    for (;;) {
      if (take("*")) {
        d = dims_.mul(d, atom());
      } else if (take("//")) {
        d = dims_.floor_div(d, atom());
      } else if (take("%")) {
        d = dims_.mod(d, atom());
      } else {
        return d;
      }
    }
  }

  DimId atom() {
    if (take("(")) {
      const DimId d = sum();
      expect(")");
      return d;
    }
    skip_space();
    const size_t start = at_;
    while (at_ < text_.size() && is_name_char(text_[at_]) && text_.substr(at_, 2) != "//") ++at_;
    const std::string_view word = text_.substr(start, at_ - start);
    if (word.empty()) fail("expected a number or a symbol");
    if (word[0] >= '0' && word[0] <= '9') return number(word);
    if ((word == "min" || word == "max") && take("(")) {
      const DimId a = sum();
      expect(",");
      const DimId b = sum();
      expect(")");
      return word == "min" ? dims_.min(a, b) : dims_.max(a, b);
    }
    return dims_.symbol(word);
  }

  // NOLINTEND(misc-no-recursion)

  DimId number(std::string_view word) {
    int64_t v = 0;
    const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), v);
    if (error != std::errc() || end != word.data() + word.size()) fail("bad number");
    return dims_.constant(v);
  }

  DimTable& dims_;
  std::string_view text_;
  size_t at_ = 0;
  int depth_ = 0;
};

}  // namespace

std::string DimTable::to_string(DimId root) const {
  std::unordered_map<uint32_t, std::string> text;
  const auto atom = [&](DimId d) {
    const DimKind k = expr(d).kind;
    const bool bare = k == DimKind::kSymbol || k == DimKind::kMin || k == DimKind::kMax ||
                      (k == DimKind::kConst && expr(d).value >= 0);
    return bare ? text.at(d.index) : "(" + text.at(d.index) + ")";
  };
  for (DimId d : postorder(root)) {
    const DimExpr& e = expr(d);
    std::string s;
    switch (e.kind) {
      case DimKind::kConst: s = std::to_string(e.value); break;
      case DimKind::kSymbol: s = symbol_name(e.symbol); break;
      case DimKind::kSum:
        for (size_t i = 0; i < e.operands.size(); ++i) {
          const int64_t c = e.coefficients[i];
          const std::string magnitude = std::to_string(c).substr(c < 0 ? 1 : 0);
          s += c < 0 ? (i == 0 ? "-" : " - ") : (i == 0 ? "" : " + ");
          if (magnitude != "1") s += magnitude + "*";
          const bool product = expr(e.operands[i]).kind == DimKind::kProduct;
          s += product ? text.at(e.operands[i].index) : atom(e.operands[i]);
        }
        if (e.value > 0) s += " + " + std::to_string(e.value);
        if (e.value < 0) s += " - " + std::to_string(e.value).substr(1);
        break;
      case DimKind::kProduct:
        for (size_t i = 0; i < e.operands.size(); ++i) s += (i ? "*" : "") + atom(e.operands[i]);
        break;
      case DimKind::kFloorDiv: s = atom(e.operands[0]) + " // " + atom(e.operands[1]); break;
      case DimKind::kMod: s = atom(e.operands[0]) + " % " + atom(e.operands[1]); break;
      case DimKind::kMin:
      case DimKind::kMax:
        s = std::string(e.kind == DimKind::kMin ? "min(" : "max(") + text.at(e.operands[0].index) +
            ", " + text.at(e.operands[1].index) + ")";
        break;
    }
    text[d.index] = std::move(s);
  }
  return text.at(root.index);
}

DimId DimTable::parse(std::string_view text) { return Parser(*this, text).parse(); }

}  // namespace gcomp
