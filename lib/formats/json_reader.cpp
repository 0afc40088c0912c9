#include <nlohmann/json.hpp>

#include "gcomp/formats/json.h"
#include "graph_reader.h"

namespace gcomp::formats {
namespace {

using nlohmann::json;

// The top-level keys, in their fixed order.
enum Key {
  kVersion,
  kName,
  kSymbols,
  kInputs,
  kConstants,
  kNodes,
  kOutputs,
  kUpdates,
  kStates,
  kNumKeys
};
constexpr const char* kKeyNames[] = {"version", "name",    "symbols", "inputs", "constants",
                                     "nodes",   "outputs", "updates", "states"};
constexpr bool kRequired[] = {true, false, false, true, true, true, true, false, false};

// Parser events in; one complete element of a top-level list at a time out, to the GraphReader.
class StreamingHandler : public nlohmann::json_sax<json> {
 public:
  explicit StreamingHandler(JsonSource& source) : source_(source), reader_(source) {}

  bool null() override { return value(nullptr); }
  bool boolean(bool v) override { return value(v); }
  bool number_integer(number_integer_t v) override { return value(v); }
  bool number_unsigned(number_unsigned_t v) override { return value(v); }
  bool number_float(number_float_t v, const string_t&) override { return value(v); }
  bool string(string_t& v) override { return value(std::move(v)); }
  bool binary(binary_t&) override { return false; }
  bool start_object(std::size_t) override {
    if (depth_ == 0) {
      ++depth_;
      return true;
    }
    return open(json::object());
  }
  bool start_array(std::size_t) override {
    if (depth_ == 0) fail("the file is not a JSON object");
    if (depth_ == 1 && key_ >= kSymbols) {
      ++depth_;
      index_ = 0;
      return true;
    }
    return open(json::array());
  }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }
  bool key(string_t& k) override {
    if (depth_ == 1) {
      next_key(k);
    } else {
      keys_.back() = std::move(k);
    }
    return true;
  }
  bool parse_error(std::size_t position, const std::string& token,
                   const nlohmann::detail::exception& e) override {
    (void)token;
    graph_error({std::string("not valid JSON: ") + e.what(), "byte " + std::to_string(position), "",
                 Code::kMalformedJson, source_.file_name});
  }

  std::unique_ptr<Graph> finish() {
    for (int k = 0; k < kNumKeys; ++k) {
      if (kRequired[k] && !seen_[k]) fail(std::string("lacks \"") + kKeyNames[k] + "\"");
    }
    return reader_.finish();
  }

 private:
  [[noreturn]] void fail(const std::string& message) const {
    graph_error({message, "",
                 "keys come in this order: version, name, symbols, inputs, constants, nodes, "
                 "outputs, updates, states",
                 Code::kField, source_.file_name});
  }

  void next_key(const std::string& k) {
    int found = 0;
    while (found < kNumKeys && k != kKeyNames[found]) ++found;
    if (found == kNumKeys) fail("unknown key \"" + k + "\"");
    if (found <= key_) fail("key \"" + k + "\" comes too late or twice");
    if (found > kVersion && !seen_[kVersion]) fail("\"version\" must come first");
    key_ = found;
    seen_[found] = true;
  }

  // A complete scalar, at any depth.
  bool value(json v) {
    if (depth_ == 0) fail("the file is not a JSON object");
    if (open_.empty()) {
      element(std::move(v));
    } else {
      attach(std::move(v));
    }
    return true;
  }

  bool open(json container) {
    open_.push_back(std::move(container));
    keys_.emplace_back();
    ++depth_;
    return true;
  }

  bool close() {
    --depth_;
    if (open_.empty()) return true;  // a top-level list or the file
    json done = std::move(open_.back());
    open_.pop_back();
    keys_.pop_back();
    if (open_.empty()) {
      element(std::move(done));
    } else {
      attach(std::move(done));
    }
    return true;
  }

  void attach(json v) {
    json& parent = open_.back();
    if (parent.is_array()) {
      parent.push_back(std::move(v));
    } else {
      parent[keys_.back()] = std::move(v);
    }
  }

  void element(json v) {
    if (depth_ == 1) {  // not a list: version or name
      if (key_ == kVersion && v != 1) {
        fail("format version " + v.dump() + " is not known to this gcomp (it reads 1)");
      }
      if (key_ > kName) fail(std::string("\"") + kKeyNames[key_] + "\" must be a list");
      return;
    }
    switch (key_) {
      case kSymbols: reader_.symbol(v); break;
      case kInputs: reader_.input(v, index_); break;
      case kConstants: reader_.constant(v, index_); break;
      case kNodes: reader_.node_tree(v, index_); break;
      case kOutputs: reader_.output(v, index_); break;
      case kUpdates: reader_.update(v, index_); break;
      case kStates: reader_.state(v, index_); break;
      default: fail(std::string("\"") + kKeyNames[key_] + "\" must not be a list");
    }
    ++index_;
  }

  JsonSource& source_;
  GraphReader reader_;
  int key_ = -1;
  bool seen_[kNumKeys] = {};
  size_t depth_ = 0;        // open objects and lists, the file's own object included
  size_t index_ = 0;        // of the next element in the current top-level list
  std::vector<json> open_;  // containers of the element being read
  std::vector<std::string> keys_;
};

}  // namespace

std::unique_ptr<Graph> read_json(Context& context, std::string_view text,
                                 const std::filesystem::path& folder,
                                 const std::string& file_name) {
  JsonSource source{context, folder, file_name, {}, {}};
  StreamingHandler handler(source);
  json::sax_parse(text.begin(), text.end(), &handler);
  return handler.finish();
}

}  // namespace gcomp::formats
