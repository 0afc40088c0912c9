#include "memory_map.h"

#include <algorithm>
#include <cstdio>

#include "gcomp/runtime/pack.h"

namespace gcomp::driver {
namespace {

using artifact::PlannedBuffer;

constexpr double kWidth = 1400, kHeight = 640, kCurve = 140, kLeft = 90, kTop = 70, kGap = 40;
constexpr size_t kColumns = 700;      // of the curve, and of what is drawn as one
constexpr size_t kMostTooltip = 160;  // characters of node names

std::string escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&': out += "&amp;"; break;
      case '<': out += "&lt;"; break;
      case '>': out += "&gt;"; break;
      case '"': out += "&quot;"; break;
      default: out += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
    }
  }
  return out;
}

// At most `most` bytes, never in the middle of a UTF-8 character.
std::string cut(const std::string& text, size_t most) {
  if (text.size() <= most) return text;
  size_t end = most;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) --end;
  return text.substr(0, end) + "...";
}

std::string format(const char* f, auto... args) {
  char text[512];
  std::snprintf(text, sizeof text, f, args...);
  return text;
}

std::string size_text(uint64_t bytes) {
  const auto b = static_cast<double>(bytes);
  if (bytes < 1u << 10) return format("%.0f B", b);
  if (bytes < 1u << 20) return format("%.1f KiB", b / (1 << 10));
  if (bytes < 1u << 30) return format("%.1f MiB", b / (1 << 20));
  return format("%.2f GiB", b / (1u << 30));
}

const char* colour(DType t) {
  switch (t) {
    case DType::kFloat64: return "#4878a8";
    case DType::kFloat32: return "#6aa84f";
    case DType::kFloat16:
    case DType::kBFloat16: return "#b4a032";
    case DType::kBool: return "#999999";
    default: return is_int(t) ? "#c27ba0" : "#999999";
  }
}

class Map {
 public:
  Map(const std::string& title, const MemoryReport& report)
      : title_(title),
        r_(report),
        steps_(std::max<double>(1, report.num_steps)),
        bytes_(std::max<double>(1, static_cast<double>(report.plan.arena_bytes))) {}

  std::string draw() {
    choose();
    begin();
    axes();
    if (!culled_.empty()) draw_culled();
    for (const PlannedBuffer* b : drawn_) rectangle(*b);
    curve();
    return std::move(out_) + "</svg>\n";
  }

 private:
  // The most important buffers, in the order of the plan.
  void choose() {
    const std::vector<PlannedBuffer>& all = r_.plan.buffers;
    std::vector<uint32_t> order;
    for (uint32_t i = 0; i < all.size(); ++i) {
      if (all[i].bytes != 0) order.push_back(i);
    }
    const auto area = [&](uint32_t i) {
      return static_cast<double>(all[i].bytes) * (double(all[i].last) - all[i].first + 1);
    };
    std::ranges::sort(order, [&](uint32_t a, uint32_t b) {
      return area(a) != area(b) ? area(a) > area(b) : a < b;
    });
    const size_t most = std::min(order.size(), kMostRectangles);
    std::sort(order.begin(), order.begin() + static_cast<ptrdiff_t>(most));
    for (size_t i = 0; i < order.size(); ++i) {
      (i < most ? drawn_ : culled_).push_back(&all[order[i]]);
    }
  }

  double x(double step) const { return kLeft + step / steps_ * kWidth; }
  double y(double offset) const { return kTop + kHeight - offset / bytes_ * kHeight; }

  void begin() {
    out_ = format(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %.0f %.0f\" "
        "font-family=\"sans-serif\" "
        "font-size=\"13\">\n<title>",
        kLeft + kWidth + 20, kTop + kHeight + kGap + kCurve + 30);
    out_ += "Memory of " + escaped(title_) + "</title>\n";
    out_ += "<style>.b{stroke:#fff;stroke-width:.3}.b:hover{fill:#e06000}</style>\n";
    out_ += "<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n";
    text(kLeft, 22, "start",
         cut(title_, 100) + ": " + size_text(r_.plan.arena_bytes) + " planned, " +
             size_text(r_.plan.max_live_bytes) + " live at once at most (" +
             format("%.3f", r_.ratio()) + " of it), " + std::to_string(r_.plan.buffers.size()) +
             " buffers, " + std::to_string(r_.num_steps) + " steps");
    std::string note;
    if (!r_.symbols.empty()) {
      note = "Extents " + cut(joined(r_.symbols), 80) + " are taken as 64: pass --dim to choose. ";
    }
    if (r_.plan.undecided != 0) {
      note +=
          std::to_string(r_.plan.undecided) + " more buffers have sizes that only a run decides. ";
    }
    if (!culled_.empty()) {
      note +=
          "The " + std::to_string(culled_.size()) + " least buffers are drawn as one grey shape.";
    }
    text(kLeft, 44, "start", note);
  }

  static std::string joined(const std::vector<std::string>& names) {
    std::string all;
    for (const std::string& n : names) all += (all.empty() ? "" : ", ") + n;
    return all;
  }

  void text(double at_x, double at_y, const char* anchor, const std::string& s) {
    if (s.empty()) return;
    out_ += format("<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\">", at_x, at_y, anchor) +
            escaped(s) + "</text>\n";
  }

  void axes() {
    for (int i = 0; i <= 4; ++i) {
      const double share = i / 4.0;
      const double at = y(share * bytes_);
      out_ += format("<path d=\"M%.1f %.1fH%.1f\" stroke=\"#ddd\"/>\n", kLeft, at, kLeft + kWidth);
      text(kLeft - 6, at + 4, "end",
           size_text(static_cast<uint64_t>(share * static_cast<double>(r_.plan.arena_bytes))));
      text(x(share * steps_), kTop + kHeight + 18, i == 4 ? "end" : "middle",
           format("step %.0f", share * static_cast<double>(r_.num_steps)));
    }
    const std::pair<DType, const char*> kLegend[] = {{DType::kFloat64, "float64"},
                                                     {DType::kFloat32, "float32"},
                                                     {DType::kFloat16, "float16, bfloat16"},
                                                     {DType::kInt64, "integers"},
                                                     {DType::kBool, "bool, workspace"}};
    double at = kLeft;
    for (const auto& [dtype, name] : kLegend) {
      out_ += format("<path d=\"M%.1f 52h11v11h-11z\" fill=\"%s\"/>\n", at, colour(dtype));
      text(at + 16, 62, "start", name);
      at += 150;
    }
  }

  void rectangle(const PlannedBuffer& b) {
    const double left = x(b.first), right = x(double(b.last) + 1);
    const double top = y(static_cast<double>(b.offset + b.bytes));
    const double bottom = y(static_cast<double>(b.offset));
    const DType t = b.buffer < r_.dtypes.size() ? r_.dtypes[b.buffer] : DType::kUInt8;
    out_ += format(
        "<rect class=\"b\" x=\"%.3f\" y=\"%.3f\" width=\"%.3f\" height=\"%.3f\" fill=\"%s\" "
        "data-b=\"%u,%llu,%llu,%u,%u\"><title>",
        left, top, right - left, bottom - top, colour(t), b.buffer,
        static_cast<unsigned long long>(b.offset), static_cast<unsigned long long>(b.bytes),
        b.first, b.last);
    const std::string maker = b.buffer < r_.makers.size() ? r_.makers[b.buffer] : "";
    out_ += escaped(cut(maker, kMostTooltip)) + "\n" + std::string(name(t)) + ", " +
            size_text(b.bytes) + " at " + size_text(b.offset) + ", steps " +
            std::to_string(b.first) + " to " + std::to_string(b.last) + "</title></rect>\n";
  }

  // What is not drawn, column by column from the lowest offset to the highest.
  void draw_culled() {
    std::vector<double> low(kColumns, -1), high(kColumns, 0);
    for (const PlannedBuffer* b : culled_) {
      const auto column = [&](double step) {
        return std::min(kColumns - 1, static_cast<size_t>(step / steps_ * kColumns));
      };
      // Short lifetimes: a few columns each.
      for (size_t c = column(b->first); c <= column(b->last); ++c) {
        const auto offset = static_cast<double>(b->offset);
        low[c] = low[c] < 0 ? offset : std::min(low[c], offset);
        high[c] = std::max(high[c], offset + static_cast<double>(b->bytes));
      }
    }
    out_ += "<path class=\"rest\" fill=\"#ddd\" d=\"";
    const double width = kWidth / kColumns;
    for (size_t c = 0; c < kColumns; ++c) {
      if (low[c] < 0) continue;
      out_ += format("M%.1f %.1fh%.1fV%.1fh%.1fz", kLeft + static_cast<double>(c) * width,
                     y(high[c]), width, y(low[c]), -width);
    }
    out_ += "\"/>\n";
  }

  // The most that is live in each column of steps, above the axis of the curve.
  void curve() {
    const size_t columns = std::min<size_t>(kColumns, std::max<uint32_t>(1, r_.num_steps));
    std::vector<int64_t> change(static_cast<size_t>(steps_) + 1);
    for (const PlannedBuffer& b : r_.plan.buffers) {
      if (b.first >= change.size()) continue;
      const auto bytes = static_cast<int64_t>(rt::pack_round(b.bytes));
      change[b.first] += bytes;
      if (size_t{b.last} + 1 < change.size()) change[b.last + 1] -= bytes;
    }
    std::vector<int64_t> most(columns);
    int64_t live = 0;
    for (size_t step = 0; step + 1 < change.size(); ++step) {
      live += change[step];
      const size_t c = std::min(columns - 1, step * columns / (change.size() - 1));
      most[c] = std::max(most[c], live);
    }
    const double base = kTop + kHeight + kGap + kCurve;
    out_ += format("<path class=\"live\" fill=\"#f4d6b0\" stroke=\"#c06000\" d=\"M%.1f %.1f", kLeft,
                   base);
    for (size_t c = 0; c < columns; ++c) {
      const double at = base - static_cast<double>(most[c]) / bytes_ * kCurve;
      out_ += format("V%.1fH%.1f", at,
                     kLeft + static_cast<double>(c + 1) / static_cast<double>(columns) * kWidth);
    }
    out_ += format("V%.1fz\"/>\n", base);
    text(kLeft - 6, base - kCurve + 12, "end", "live");
  }

  const std::string& title_;
  const MemoryReport& r_;
  double steps_, bytes_;
  std::vector<const PlannedBuffer*> drawn_, culled_;
  std::string out_;
};

}  // namespace

std::string memory_map(const std::string& title, const MemoryReport& report) {
  return Map(title, report).draw();
}

}  // namespace gcomp::driver
