// The log-density of eight schools at a point, then the type of each file named on the command line.

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "magika.h"
#include "schools.h"

// As magika wants a file: its first and last 1024 bytes without outer white space, 256 where there is none.
static void add_row(const std::string& bytes, std::vector<int32_t>& rows) {
  constexpr size_t kBlock = 4096, kPart = 1024;
  const char* const white = " \t\n\r\v\f";
  const size_t at = rows.size();
  rows.resize(at + 2 * kPart, 256);
  const std::string head = bytes.substr(0, kBlock);
  const std::string tail = bytes.substr(bytes.size() - std::min(bytes.size(), kBlock));
  const size_t begin = std::min(head.find_first_not_of(white), head.size());
  const size_t end = tail.find_last_not_of(white) + 1;
  for (size_t i = 0; i < kPart && begin + i < head.size(); ++i) {
    rows[at + i] = static_cast<unsigned char>(head[begin + i]);
  }
  for (size_t i = 0; i < kPart && i < end; ++i) {
    rows[at + 2 * kPart - 1 - i] = static_cast<unsigned char>(tail[end - 1 - i]);
  }
}

int main(int argc, char** argv) {
  schools::Model log_density;
  const double eta[8] = {0.1, -0.2, 0.3, -0.4, 0.5, -0.6, 0.7, -0.8};
  const schools::Outputs at = log_density({1.5, 0.5, eta});
  std::printf("logp %.17g\ngrad", at.logp.value());
  for (const double g : at.grad_eta) std::printf(" %.17g", g);
  std::printf("\n");

  std::vector<int32_t> rows;
  for (int i = 1; i < argc; ++i) {
    std::ifstream file(argv[i], std::ios::binary);
    add_row({std::istreambuf_iterator<char>(file), {}}, rows);
  }
  magika::Model type_of;
  const magika::Outputs scores = type_of({rows}, {argc - 1});
  constexpr auto kTypes = scores.target_label.kExtents[1];
  for (int i = 1; i < argc; ++i) {
    const float* row = &scores.target_label[static_cast<size_t>((i - 1) * kTypes)];
    const float* best = std::max_element(row, row + kTypes);
    std::printf("%s: type %d, %.6f\n", argv[i], static_cast<int>(best - row), *best);
  }
}
