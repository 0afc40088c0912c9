#include "entry_object.h"

#include <cctype>
#include <cstddef>
#include <cstring>

#include "elf_writer.h"
#include "gcomp/runtime.h"
#include "gcomp/runtime/artifact_data.h"
#include "gcomp/runtime/cpu.h"
#include "gcomp/support/error.h"

namespace gcomp::artifact {
namespace {

using Section = ElfWriter::Section;

constexpr uint64_t kCode = SHF_ALLOC | SHF_EXECINSTR;
constexpr uint64_t kData = SHF_ALLOC | SHF_WRITE;

void check_name(const std::string& name) {
  bool good = !name.empty() && name.size() < rt::kNameBytes - 32 &&
              std::isdigit(static_cast<unsigned char>(name[0])) == 0;
  for (const char c : name)
    good = good && (std::isalnum(static_cast<unsigned char>(c)) || c == '_');
  if (good) return;
  usage_error(Code::kOptionValue, "'" + name + "' is no C identifier", "--name",
              "use letters, digits and underscores, up to 220 of them");
}

uint64_t feature_bits(const std::vector<std::string>& features) {
  // What every x86-64 has, by LLVM's names; not worth a test at run time.
  static constexpr std::string_view kBaseline[] = {"64bit", "cmov", "cx8", "fxsr",  "mmx",
                                                   "sse",   "sse2", "x87", "crc32", "xsave"};
#define GCOMP_CPU_NAME(id, text) text,
  static constexpr std::string_view kNames[] = {GCOMP_CPU_FEATURES(GCOMP_CPU_NAME)};
#undef GCOMP_CPU_NAME
  uint64_t bits = 0;
  for (std::string_view feature : features) {
    if (feature.starts_with('-')) continue;
    if (feature.starts_with('+')) feature.remove_prefix(1);
    bool known = false;
    for (const std::string_view name : kBaseline) known = known || name == feature;
    for (size_t i = 0; i < std::size(kNames); ++i) {
      if (kNames[i] != feature) continue;
      known = true;
      bits |= uint64_t{1} << i;
    }
    GCOMP_CHECK(known, "CPU feature not listed in gcomp/runtime/cpu.h: " + std::string(feature));
  }
  return bits;
}

rt::ArtifactInfo info_of(const LinkInput& input) {
  rt::ArtifactInfo info{};
  info.magic = rt::kInfoMagic;
  info.bytes = sizeof info;
  info.cpu_features = feature_bits(input.cpu_features);
  info.weights_bytes = plan_with_constants(input).appended_bytes;
  std::memcpy(info.name, input.name.data(), input.name.size());
  return info;
}

gcomp_dtype dlpack(rt::PlanDType t) {
  constexpr struct {
    uint8_t code, bits;
  } kRows[] = {{GCOMP_BOOL, 8},  {GCOMP_INT, 8},    {GCOMP_INT, 16},    {GCOMP_INT, 32},
               {GCOMP_INT, 64},  {GCOMP_UINT, 8},   {GCOMP_UINT, 16},   {GCOMP_UINT, 32},
               {GCOMP_UINT, 64}, {GCOMP_FLOAT, 16}, {GCOMP_BFLOAT, 16}, {GCOMP_FLOAT, 32},
               {GCOMP_FLOAT, 64}};
  const auto row = kRows[static_cast<size_t>(t)];
  return {row.code, row.bits, 1};
}

class Entry {
 public:
  explicit Entry(const LinkInput& input)
      : input_(input), plan_(input.plan->plan()), constants_(plan_with_constants(input)) {}

  std::vector<std::byte> build() {
    write_constants();
    write_kernels();
    write_signature();
    write_descriptor();
    write_functions();
    if (constants_.appended_bytes != 0) write_constructor();
    elf_.section(".note.GNU-stack", SHT_PROGBITS, 0, 1);
    return elf_.finish();
  }

 private:
  // Appends a struct to the writable tables; its pointers are filled by point().
  template <class T>
  uint64_t table(const T& value) {
    return elf_.append_value(tables_, value);
  }
  void point(uint64_t at, Section to, uint64_t offset) { elf_.point_to(tables_, at, to, offset); }
  void point(uint64_t at, const std::string& symbol) {
    elf_.relocate(tables_, at, R_X86_64_64, elf_.undefined(symbol), 0);
  }
  uint64_t text(std::string_view s) {
    const uint64_t at = elf_.append(strings_, s);
    elf_.append(strings_, std::string_view("\0", 1));
    return at;
  }

  void write_constants() {
    plan_at_ = elf_.append(plan_data_, input_.plan->block, rt::kBufferAlignment);
    constants_at_ = elf_.append(data_, {}, rt::kBufferAlignment);
    for (const PlanConstant& constant : constants_.constants) {
      if (constant.appended) continue;
      const uint64_t at = elf_.append(data_, constant.data, rt::kBufferAlignment);
      GCOMP_CHECK(at == constants_at_ + constant.offset, "constants are not laid out in order");
    }
    elf_.append_value(info_, info_of(input_));
    elf_.append(json_, input_.json);
    elf_.append(json_, std::string_view("\0", 1));
  }

  void write_kernels() {
    kernels_at_ = write_kernels(*input_.plan);
    if (input_.device != nullptr) write_device(*input_.device);
  }

  uint64_t write_kernels(const PlanImage& plan) {
    const uint64_t at = elf_.append(tables_, {}, 8);
    for (const std::string& kernel : plan.kernels) point(table(uint64_t{0}), kernel);
    return at;
  }

  void write_device(const DeviceInput& device) {
    const uint64_t plan_at = elf_.append(plan_data_, device.plan->block, rt::kBufferAlignment);
    const uint64_t host_kernels = write_kernels(*device.plan);
    const uint64_t kernels = write_device_kernels(device);
    const uint64_t images = write_images(device);
    rt::DeviceData data{};
    data.num_device_kernels = static_cast<uint32_t>(device.kernels.size());
    data.num_images = static_cast<uint32_t>(device.images.size());
    data.num_modules = device.num_modules;
    data.num_host_kernels = static_cast<uint32_t>(device.plan->kernels.size());
    device_at_ = table(data);
    point(device_at_ + offsetof(rt::DeviceData, plan), plan_data_, plan_at);
    point(device_at_ + offsetof(rt::DeviceData, kernels), tables_, host_kernels);
    point(device_at_ + offsetof(rt::DeviceData, functions), "gcomp_rt_cuda");
    point(device_at_ + offsetof(rt::DeviceData, device_kernels), tables_, kernels);
    point(device_at_ + offsetof(rt::DeviceData, images), tables_, images);
    const Section state = elf_.section(".bss.device", SHT_NOBITS, kData, 64);
    elf_.reserve(state, sizeof(rt::DeviceState));
    point(device_at_ + offsetof(rt::DeviceData, state), state, 0);
  }

  uint64_t write_device_kernels(const DeviceInput& device) {
    GCOMP_CHECK(device.kernels.size() == device.plan->device_kernels.size(),
                "kernels of the device that its plan does not know");
    const uint64_t at = elf_.append(tables_, {}, 8);
    for (const DeviceKernelInfo& k : device.kernels) {
      rt::DeviceKernel row{};
      row.module = k.module;
      row.threads = k.threads;
      row.iterations = k.iterations;
      row.shared_bytes = k.shared_bytes;
      row.words = k.words;
      table(row);
    }
    for (size_t i = 0; i < device.kernels.size(); ++i) {
      const uint64_t row = at + i * sizeof(rt::DeviceKernel);
      point(row + offsetof(rt::DeviceKernel, name), strings_, text(device.kernels[i].name));
      point(row + offsetof(rt::DeviceKernel, nodes), strings_, text(device.kernels[i].nodes));
    }
    return at;
  }

  uint64_t write_images(const DeviceInput& device) {
    const Section section = elf_.section(kCudaSection, SHT_PROGBITS, SHF_ALLOC, 64);
    const uint64_t at = elf_.append(tables_, {}, 8);
    for (const DeviceImageInfo& image : device.images) {
      table(rt::DeviceImage{nullptr, image.bytes.size(), image.module, image.arch,
                            image.ptx ? 1u : 0u, 0});
    }
    for (size_t i = 0; i < device.images.size(); ++i) {
      const uint64_t begin = elf_.append(section, device.images[i].bytes, 64);
      elf_.append(section, std::string_view("\0", 1));  // the driver takes PTX as a C string
      point(at + i * sizeof(rt::DeviceImage) + offsetof(rt::DeviceImage, data), section, begin);
    }
    return at;
  }

  // gcomp_value_info of each tensor, with its extents (or -1) and dims as text.
  uint64_t write_tensors(const std::vector<rt::PlanTensor>& list) {
    const uint64_t at = elf_.append(tables_, {}, 8);
    for (const rt::PlanTensor& t : list) {
      gcomp_value_info info{};
      info.dtype = dlpack(t.dtype);
      info.rank = t.rank;
      info.flags = t.donated != 0 ? GCOMP_DONATED : 0;
      table(info);
    }
    for (uint64_t i = 0; i < list.size(); ++i) {
      const uint64_t row = at + i * sizeof(gcomp_value_info);
      point(row + offsetof(gcomp_value_info, name), strings_,
            text(rt::plan_string(plan_, list[i].name)));
      if (list[i].rank != 0) write_extents(row, list[i]);
    }
    return at;
  }

  std::vector<rt::PlanTensor> tensors(const rt::PlanTable& list) const {
    const auto* const first = rt::table<rt::PlanTensor>(plan_, list);
    return {first, first + list.count};
  }
  std::vector<rt::PlanTensor> states() const {
    const auto* const first = rt::table<rt::PlanState>(plan_, plan_.states);
    std::vector<rt::PlanTensor> list;
    for (uint64_t s = 0; s < plan_.states.count; ++s) list.push_back(first[s].tensor);
    return list;
  }

  void write_extents(uint64_t row, const rt::PlanTensor& tensor) {
    const auto* const dims = rt::table<rt::PlanDim>(plan_, plan_.dims) + tensor.first_dim;
    const auto* const constants = rt::table<int64_t>(plan_, plan_.constants);
    const uint64_t extents = elf_.append(data_, {}, 8);
    for (uint32_t d = 0; d < tensor.rank; ++d) {
      const uint32_t constant = dims[d].value - plan_.num_symbols;  // wraps for symbols
      elf_.append_value(data_, constant < plan_.num_constants ? constants[constant] : int64_t{-1});
    }
    const uint64_t texts = elf_.append(tables_, {}, 8);
    for (uint32_t d = 0; d < tensor.rank; ++d) {
      point(table(uint64_t{0}), strings_, text(rt::plan_string(plan_, dims[d].text)));
    }
    point(row + offsetof(gcomp_value_info, extents), data_, extents);
    point(row + offsetof(gcomp_value_info, dims), tables_, texts);
  }

  void write_signature() {
    const uint64_t inputs = write_tensors(tensors(plan_.inputs));
    const uint64_t outputs = write_tensors(tensors(plan_.outputs));
    const uint64_t states = write_tensors(this->states());
    gcomp_signature signature{};
    signature.struct_size = sizeof signature;
    signature.num_inputs = static_cast<uint32_t>(plan_.inputs.count);
    signature.num_outputs = static_cast<uint32_t>(plan_.outputs.count);
    signature.num_states = static_cast<uint32_t>(plan_.states.count);
    signature.value_info_size = sizeof(gcomp_value_info);
    signature_at_ = table(signature);
    point(signature_at_ + offsetof(gcomp_signature, name), strings_, text(input_.name));
    point(signature_at_ + offsetof(gcomp_signature, inputs), tables_, inputs);
    point(signature_at_ + offsetof(gcomp_signature, outputs), tables_, outputs);
    point(signature_at_ + offsetof(gcomp_signature, states), tables_, states);
  }

  void write_descriptor() {
    const uint64_t internal = table(rt::ArtifactData{});
    point(internal + offsetof(rt::ArtifactData, plan), plan_data_, plan_at_);
    point(internal + offsetof(rt::ArtifactData, kernels), tables_, kernels_at_);
    point(internal + offsetof(rt::ArtifactData, constants), data_, constants_at_);
    point(internal + offsetof(rt::ArtifactData, signature), tables_, signature_at_);
    point(internal + offsetof(rt::ArtifactData, info), info_, 0);
    if (input_.device != nullptr) {
      point(internal + offsetof(rt::ArtifactData, device), tables_, device_at_);
    }
    if (constants_.appended_bytes != 0) {
      state_ = elf_.section(".bss", SHT_NOBITS, kData, 64);
      elf_.reserve(state_, sizeof(rt::WeightsState));
      point(internal + offsetof(rt::ArtifactData, weights), state_, 0);
    }
    gcomp_descriptor descriptor{};
    descriptor.struct_size = sizeof descriptor;
    descriptor.magic = GCOMP_MAGIC;
    descriptor.abi_version = GCOMP_ABI_VERSION;
    descriptor.json_bytes = input_.json.size();
    const uint64_t at = table(descriptor);
    point(at + offsetof(gcomp_descriptor, functions), "gcomp_rt_functions");
    point(at + offsetof(gcomp_descriptor, json), json_, 0);
    point(at + offsetof(gcomp_descriptor, internal), tables_, internal);
    descriptor_ = elf_.define(input_.name + "_descriptor_v1", tables_, at, sizeof descriptor,
                              STT_OBJECT, STB_GLOBAL);
  }

  // NAME_suffix: `code`, then where asked lea rdi, [rip + descriptor], then jmp `target`.
  void write_function(const char* suffix, std::string_view code, bool pass_descriptor,
                      const char* target) {
    const uint64_t begin = elf_.append(text_, std::as_bytes(std::span(code)), 16);
    if (pass_descriptor) {
      elf_.append(text_, std::string_view("\x48\x8d\x3d\0\0\0\0", 7));
      elf_.relocate(text_, elf_.size(text_) - 4, R_X86_64_PC32, descriptor_, -4);
    }
    elf_.append(text_, std::string_view("\xe9\0\0\0\0", 5));
    elf_.relocate(text_, elf_.size(text_) - 4, R_X86_64_PLT32, elf_.undefined(target), -4);
    elf_.define(input_.name + suffix, text_, begin, elf_.size(text_) - begin, STT_FUNC, STB_GLOBAL);
  }

  void write_functions() {
    write_function("_describe", "", true, "gcomp_rt_describe");
    // mov rdx, rsi; mov rsi, rdi: the descriptor goes in front of the arguments
    write_function("_create", "\x48\x89\xf2\x48\x89\xfe", true, "gcomp_rt_create");
    write_function("_destroy", "", false, "gcomp_rt_destroy");
    write_function("_run", "", false, "gcomp_rt_run");
    write_function("_last_error", "", false, "gcomp_rt_last_error");
    write_function("_get_state", "", false, "gcomp_rt_get_state");
    write_function("_set_state", "", false, "gcomp_rt_set_state");
    write_function("_reset_states", "", false, "gcomp_rt_reset_states");
  }

  // On load: gcomp_rt_remember_path(&state).
  void write_constructor() {
    const uint64_t begin = elf_.append(text_, std::span<const std::byte>{}, 16);
    elf_.append(text_, std::string_view("\x48\x8d\x3d\0\0\0\0", 7));
    const ElfWriter::Symbol state = elf_.define("gcomp_weights_state", state_, 0,
                                                sizeof(rt::WeightsState), STT_OBJECT, STB_LOCAL);
    elf_.relocate(text_, elf_.size(text_) - 4, R_X86_64_PC32, state, -4);
    elf_.append(text_, std::string_view("\xe9\0\0\0\0", 5));
    elf_.relocate(text_, elf_.size(text_) - 4, R_X86_64_PLT32,
                  elf_.undefined("gcomp_rt_remember_path"), -4);
    const Section init = elf_.section(".init_array", SHT_INIT_ARRAY, kData, 8);
    elf_.append_value(init, uint64_t{0});
    elf_.point_to(init, 0, text_, begin);
  }

  const LinkInput& input_;
  const rt::Plan& plan_;
  const PlanImage& constants_;
  ElfWriter elf_;
  const Section text_ = elf_.section(".text", SHT_PROGBITS, kCode, 16);
  const Section data_ = elf_.section(".rodata", SHT_PROGBITS, SHF_ALLOC, rt::kBufferAlignment);
  const Section plan_data_ =
      elf_.section(kPlanSection, SHT_PROGBITS, SHF_ALLOC, rt::kBufferAlignment);
  const Section strings_ = elf_.section(".rodata.str", SHT_PROGBITS, SHF_ALLOC, 1);
  const Section tables_ = elf_.section(".data.rel.ro", SHT_PROGBITS, kData, 16);
  const Section info_ = elf_.section(kInfoSection, SHT_PROGBITS, SHF_ALLOC, 8);
  const Section json_ = elf_.section(kJsonSection, SHT_PROGBITS, SHF_ALLOC, 1);
  Section state_ = 0;
  ElfWriter::Symbol descriptor_ = 0;
  uint64_t plan_at_ = 0, constants_at_ = 0, kernels_at_ = 0, signature_at_ = 0, device_at_ = 0;
};

}  // namespace

std::vector<std::string> exported_symbols(const std::string& name) {
  std::vector<std::string> symbols;
  for (const char* suffix : {"_descriptor_v1", "_describe", "_create", "_destroy", "_run",
                             "_last_error", "_get_state", "_set_state", "_reset_states"}) {
    symbols.push_back(name + suffix);
  }
  return symbols;
}

const PlanImage& plan_with_constants(const LinkInput& input) {
  return input.device == nullptr ? *input.plan : *input.device->plan;
}

std::vector<std::byte> entry_object(const LinkInput& input) {
  check_name(input.name);
  return Entry(input).build();
}

}  // namespace gcomp::artifact
