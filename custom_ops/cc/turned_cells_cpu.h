// Cells of a displacement field that it turns inside out, on the CPU. Includes nothing of
// TensorFlow.

#ifndef CUSTOM_OPS_CC_TURNED_CELLS_CPU_H_
#define CUSTOM_OPS_CC_TURNED_CELLS_CPU_H_

#include "affine_rows.h"
#include "warp_cpu.h"

namespace rcn {

// turned [D - 1, H - 1, W - 1]: cells between eight voxels at one of whose corners the edges
// are no right-handed frame. `vectors` [D, H, W, 3] are in mm; `to_index`: mm -> voxels.
void turned_cells(const Volume& field, const Affine& to_index, const float* vectors,
                  bool* turned, const Workers& workers);

}  // namespace rcn

#endif  // CUSTOM_OPS_CC_TURNED_CELLS_CPU_H_
