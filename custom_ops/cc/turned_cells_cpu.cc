// A row of cells lies between four rows of voxels, which are first written component by
// component, so that the loop over the cells vectorises.

#include "turned_cells_cpu.h"

#include <algorithm>
#include <vector>

namespace rcn {
namespace {

// The four rows of voxels around a row of cells: flow in voxels, [row 2 d + h][component].
struct Rows {
  std::vector<float> flow[4][3];

  explicit Rows(int64_t width) {
    for (auto& row : flow) {
      for (auto& component : row) component.resize(width);
    }
  }

  void read(int corner, const Affine& to_index, const float* vectors) {
    for (int k = 0; k < 3; ++k) {
      const double* to = to_index.at[k];
      float* target = flow[corner][k].data();
      const int64_t width = static_cast<int64_t>(flow[corner][k].size());
      for (int64_t w = 0; w < width; ++w) {
        const float* u = vectors + 3 * w;
        target[w] = static_cast<float>(to[0] * u[0] + to[1] * u[1] + to[2] * u[2]);
      }
    }
  }
};

// Marks the cells whose edges at the corner (d, h, c) are turned. The edges start at the lower
// end of their own axis, whatever the corner.
void mark(const Rows& rows, int d, int h, int c, int64_t cells, uint8_t* marks) {
  const float *at[3], *ahead[3][3];
  for (int k = 0; k < 3; ++k) {
    at[k] = rows.flow[2 * d + h][k].data();
    ahead[0][k] = rows.flow[2 + h][k].data();
    ahead[1][k] = rows.flow[2 * d + 1][k].data();
    ahead[2][k] = at[k];
  }
  const float *below_d[3], *below_h[3];
  for (int k = 0; k < 3; ++k) {
    below_d[k] = rows.flow[h][k].data();
    below_h[k] = rows.flow[2 * d][k].data();
  }
  for (int64_t w = 0; w < cells; ++w) {
    float u[3], v[3], x[3];
    for (int k = 0; k < 3; ++k) {
      u[k] = ahead[0][k][w + c] - below_d[k][w + c] + (k == 0 ? 1.0f : 0.0f);
      v[k] = ahead[1][k][w + c] - below_h[k][w + c] + (k == 1 ? 1.0f : 0.0f);
      x[k] = ahead[2][k][w + 1] - at[k][w] + (k == 2 ? 1.0f : 0.0f);
    }
    const float determinant = u[0] * (v[1] * x[2] - v[2] * x[1]) +
                              u[1] * (v[2] * x[0] - v[0] * x[2]) +
                              u[2] * (v[0] * x[1] - v[1] * x[0]);
    marks[w] |= determinant <= 0 ? 1 : 0;
  }
}

}  // namespace

void turned_cells(const Volume& field, const Affine& to_index, const float* vectors,
                  bool* turned, const Workers& workers) {
  const int64_t depth = field.size[0] - 1, height = field.size[1] - 1, width = field.size[2];
  const int64_t cells = width - 1;
  if (depth <= 0 || height <= 0 || cells <= 0) return;
  workers.parallel_for(depth * height, 40 * width, [&](int64_t begin, int64_t end) {
    Rows rows(width);
    std::vector<uint8_t> marks(cells);
    for (int64_t row = begin; row < end; ++row) {
      const int64_t d = row / height, h = row % height;
      for (int corner = 0; corner < 4; ++corner) {
        const int64_t voxels = (d + corner / 2) * field.size[1] + h + corner % 2;
        rows.read(corner, to_index, vectors + 3 * width * voxels);
      }
      std::fill(marks.begin(), marks.end(), 0);
      for (int corner = 0; corner < 8; ++corner) {
        mark(rows, corner >> 2, corner >> 1 & 1, corner & 1, cells, marks.data());
      }
      for (int64_t w = 0; w < cells; ++w) turned[row * cells + w] = marks[w] != 0;
    }
  });
}

}  // namespace rcn
