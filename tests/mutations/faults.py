"""The faults: each replaces one piece of text that occurs once in a file.

After a change of the sources, `python -m tests.mutations --check` says which no longer fit.
"""

from typing import NamedTuple


class Fault(NamedTuple):
    """A fault and the tests that must notice it.

    Attributes:
        name: what is wrong, in words; unique.
        file: the source, relative to the root.
        old, new: the sound text, which occurs once in the file, and the faulty one.
        tests: files (or `file::test`) whose fast tests are run.
    """

    name: str
    file: str
    old: str
    new: str
    tests: tuple


WARP = ("tests/custom_ops/test_sampling.py",)
NATIVE = ("tests/custom_ops/test_presence.py", *WARP)  # a faulty op may fail its own check
LOCAL_NCC = ("tests/custom_ops/test_local_ncc.py",)
NATIVE_NCC = ("tests/custom_ops/test_presence.py", *LOCAL_NCC)
FIELDS = ("tests/test_fields.py",)
ADVECTION = ("tests/fields/test_advection.py",)
KERNELS = ("tests/fields/test_kernels.py",)
AVSM = ("tests/models/test_avsm.py", "tests/networks/test_avsm_networks.py")
AVSM_TERMS = ("tests/losses/test_avsm_terms.py",)
LOSS_FILES = (
    "tests/losses/test_rcn_terms.py",
    "tests/losses/test_similarity.py",
    "tests/losses/test_regularity.py",
    "tests/losses/test_supervision.py",
)
OBJECTIVE = ("tests/losses/test_objective.py",)
OUTPUTS = ("tests/models/test_output.py",)
CASCADE = ("tests/models/test_cascade.py",)
METRICS = (
    "tests/metrics/test_deformation.py",
    "tests/metrics/test_landmarks.py",
    "tests/metrics/test_overlap.py",
    "tests/metrics/test_surface.py",
)
EVALUATION = ("tests/evaluation/test_evaluation.py",)
AUGMENTATION = ("tests/data/test_augmentation.py", "tests/data/test_bspline.py")
OPTIMISATION = (
    "tests/registration/optimisation/test_affine.py",
    "tests/registration/optimisation/test_deformation.py",
    "tests/registration/optimisation/test_levels.py",
)
SPACE = ("tests/volumes/test_grids.py", "tests/volumes/test_warping.py")
DISPLACEMENT = ("tests/volumes/transforms/test_displacement.py",)
ITK = (
    "tests/volumes/transforms/test_itk_maps.py",
    "tests/volumes/transforms/test_itk_transforms.py",
)
LEARN2REG = ("tests/volumes/learn2reg/test_displacement.py",)
PAIR = ("tests/registration/test_pair.py",)
TRAINING = ("tests/training/test_optimizers.py", "tests/training/test_step.py")

PYTHON_WARP = "custom_ops/python_backend.py"
CC = "custom_ops/cc/trilinear.h"
OUTPUT = "rcn_tf/models/output.py"
LOSSES = "rcn_tf/losses"

FAULTS = (
    # The warp
    Fault(
        "warp: flow subtracted",
        PYTHON_WARP,
        "tf.cast(grid + shift, flow.dtype) + flow",
        "tf.cast(grid + shift, flow.dtype) - flow",
        WARP,
    ),
    Fault(
        "warp: no clamp at the border",
        PYTHON_WARP,
        "tf.clip_by_value(tf.cast(grid + shift, flow.dtype) + flow, 0, last)",
        "tf.maximum(tf.cast(grid + shift, flow.dtype) + flow, 0)",
        WARP,
    ),
    Fault(
        "warp: axes D and W exchanged",
        PYTHON_WARP,
        "weight_d, weight_h, weight_w = (weight",
        "weight_w, weight_h, weight_d = (weight",
        WARP,
    ),
    Fault(
        "warp: zeros padded on one side by two",
        PYTHON_WARP,
        "        shift = 1\n",
        "        shift = 2\n",
        WARP,
    ),
    Fault(
        "compose: the two flows exchanged",
        PYTHON_WARP,
        'update + warp(previous, update, "border")',
        'previous + warp(update, previous, "border")',
        WARP,
    ),
    Fault(
        "smoothness: one axis left out",
        "custom_ops/differences.py",
        "for axis in (1, 2, 3):",
        "for axis in (1, 2):",
        ("tests/custom_ops/test_differences.py",),
    ),
    # The local NCC
    Fault(
        "local NCC: the mean stays in the variance",
        PYTHON_WARP,
        "tf.maximum(box_mean(tf.square(image)) - tf.square(centre), 0.0)",
        "box_mean(tf.square(image))",
        LOCAL_NCC,
    ),
    Fault(
        "local NCC: windows count though the mask hides their centre",
        PYTHON_WARP,
        "for x in (weight, weight * image))",
        "for x in (weight, image))",
        LOCAL_NCC,
    ),
    Fault(
        "native local NCC: gradient by the mean left out",
        "custom_ops/cc/local_ncc.h",
        "terms.warped_rest = -(terms.cross * fixed + terms.warped_slope * warped);",
        "terms.warped_rest = 0;",
        NATIVE_NCC,
    ),
    Fault(
        "native local NCC: terms do not leave the window along z",
        "custom_ops/cc/local_ncc_cpu.cc",
        "slide_row(slot(entering) + first, slot(leaving) + first, count, sums);",
        "add_row(slot(entering) + first, count, sums);",
        NATIVE_NCC,
    ),
    Fault(
        "native local NCC: sums along z start anew in the wrong planes",
        "custom_ops/cc/local_ncc_cpu.cc",
        "at_ < 0 ? z / kAnchor * kAnchor : at_ + 1",
        "z",
        NATIVE_NCC,
    ),
    # Fields
    Fault(
        "affine flow: centre at n / 2",
        "rcn_tf/fields/displacements.py",
        "- (n - 1) / 2 for n in shape]",
        "- n / 2 for n in shape]",
        FIELDS,
    ),
    Fault(
        "affine flow: matrix transposed",
        "rcn_tf/fields/displacements.py",
        "tf.reshape(matrix[:, :, k], vector)",
        "tf.reshape(matrix[:, k, :], vector)",
        FIELDS,
    ),
    Fault(
        "invert: sign",
        "rcn_tf/fields/displacements.py",
        "error = -(found + flow_at(found))",
        "error = -(found - flow_at(found))",
        FIELDS,
    ),
    Fault(
        "invert: residual is zero",
        "rcn_tf/fields/displacements.py",
        "    return found, residual\n",
        "    return found, 0 * residual\n",
        FIELDS,
    ),
    Fault(
        "integrate: one squaring too few",
        "rcn_tf/fields/displacements.py",
        "for _ in range(steps):",
        "for _ in range(steps - 1):",
        FIELDS,
    ),
    Fault(
        "resize: off by half a voxel",
        "rcn_tf/fields/displacements.py",
        "lookup = (grid + shift) / scale - shift - grid",
        "lookup = grid / scale - grid",
        FIELDS,
    ),
    Fault(
        "resize: displacements keep the old voxels",
        "rcn_tf/fields/displacements.py",
        "return warp(flow, lookup) * scale",
        "return warp(flow, lookup)",
        FIELDS,
    ),
    Fault(
        "Jacobian: without the identity",
        "rcn_tf/fields/displacements.py",
        "columns.append(difference + tf.eye(rank, dtype=flow.dtype)[axis])",
        "columns.append(difference)",
        FIELDS,
    ),
    Fault(
        "resize: ends counted as faces",
        "rcn_tf/fields/displacements.py",
        "shift, less = (0.0, 1) if ends else (0.5, 0)",
        "shift, less = (0.0, 0) if ends else (0.5, 0)",
        ADVECTION,
    ),
    Fault(
        "advection: against the velocity",
        "rcn_tf/fields/advection.py",
        "term = -length * (velocity + _along(velocity, flow))",
        "term = length * (velocity + _along(velocity, flow))",
        ADVECTION,
    ),
    Fault(
        "advection: of third order",
        "rcn_tf/fields/advection.py",
        "for degree in (2, 3, 4):",
        "for degree in (2, 3):",
        ADVECTION,
    ),
    Fault(
        "advection: gradient by the velocity of the first step alone",
        "rcn_tf/fields/advection.py",
        "return k - 1, by_start, by_velocity + more",
        "return k - 1, by_start, more",
        ADVECTION,
    ),
    Fault(
        "advection: border repeated instead of extrapolated",
        "rcn_tf/fields/advection.py",
        "return tf.concat([part(1, 2) - part(0, 1), inner",
        "return tf.concat([0.5 * (part(1, 2) - part(0, 1)), inner",
        ADVECTION,
    ),
    Fault(
        "advection: no check of stability",
        "rcn_tf/fields/advection.py",
        "stable = tf.reduce_all(ratio < _MOST_OVERSHOOT)",
        "stable = tf.reduce_all(ratio == ratio)",
        ADVECTION,
    ),
    Fault(
        "follow: classic weights in Kutta's rule",
        "rcn_tf/fields/advection.py",
        "flow += step / 8 * (first + 3 * (second + third) + fourth)",
        "flow += step / 6 * (first + 2 * (second + third) + fourth)",
        ADVECTION,
    ),
    Fault(
        "multi-Gaussian: normalised within the volume",
        "rcn_tf/fields/kernels.py",
        "return np.exp(-np.square((index[:, None] - index) / sigma) / 2) / scale",
        "return np.exp(-np.square((index[:, None] - index) / sigma) / 2) / (scale + 0.1)",
        KERNELS,
    ),
    Fault(
        "multi-Gaussian: odd axes centred on their middle",
        "rcn_tf/fields/kernels.py",
        "centre = (size + 1) // 2",
        "centre = size // 2",
        KERNELS,
    ),
    Fault(
        "AVSM: affine steps composed in the cascade's order",
        "rcn_tf/models/avsm.py",
        "return tf.matmul(matrix, before[0]), tf.linalg.matvec(matrix, before[1]) + offset",
        "return tf.matmul(before[0], matrix), tf.linalg.matvec(before[0], offset) + before[1]",
        (*AVSM, *AVSM_TERMS),
    ),
    Fault(
        "AVSM: matrix in units of the other axis",
        "rcn_tf/models/avsm.py",
        "linear = matrix * side[:, None] / side[None, :]",
        "linear = matrix * side[None, :] / side[:, None]",
        (*AVSM, *AVSM_TERMS),
    ),
    Fault(
        "AVSM: unit length of the shortest side",
        "rcn_tf/models/avsm.py",
        "return (sides.max() / sides * steps).astype(np.float32)",
        "return (sides.min() / sides * steps).astype(np.float32)",
        AVSM,
    ),
    Fault(
        "AVSM: slip of the residual block everywhere",
        "rcn_tf/networks/momentum.py",
        "slip = self.original and number == 0 and k == 1",
        "slip = self.original and number == 0 and k == 0",
        AVSM,
    ),
    Fault(
        "AVSM: first moments without their coordinate",
        "rcn_tf/networks/shared_affine.py",
        "tf.reduce_mean(x * tf.reshape(coordinate, shape), axis=axes)",
        "tf.reduce_mean(x + 0 * tf.reshape(coordinate, shape), axis=axes)",
        AVSM,
    ),
    # Losses
    Fault(
        "affine symmetry: offsets not turned",
        f"{LOSSES}/affine.py",
        "missed = shift + back_shift + tf.linalg.matvec(matrix, back_shift)",
        "missed = shift + back_shift",
        AVSM_TERMS,
    ),
    Fault(
        "map symmetry: the reversed map last",
        f"{LOSSES}/consistency.py",
        "trip = compose(forward, backward) / last",
        "trip = compose(backward, forward) / last",
        AVSM_TERMS,
    ),
    Fault(
        "map symmetry: one map clamped",
        f"{LOSSES}/consistency.py",
        "tf.clip_by_value(grid + flow, 0.0, last) - grid for flow in (forward, backward)",
        "tf.clip_by_value(grid + flow, 0.0, last) - grid for flow in (backward, backward)",
        AVSM_TERMS,
    ),
    Fault(
        "momentum energy: never clamped",
        f"{LOSSES}/regularity.py",
        "product = tf.nn.relu(product)",
        "product = tf.identity(product)",
        AVSM_TERMS,
    ),
    Fault(
        "momentum energy: voxels counted whole",
        f"{LOSSES}/regularity.py",
        "cells = math.prod(size - 1 for size in product.shape[1:-1])",
        "cells = math.prod(size for size in product.shape[1:-1])",
        AVSM_TERMS,
    ),
    Fault(
        "objective: a stage's map against the reversed pair's last",
        f"{LOSSES}/objective.py",
        "other = back.flow if stage is None else back.total_flow",
        "other = backward.flow if stage is None else back.flow",
        ("tests/losses/test_avsm_objective.py",),
    ),
    Fault(
        "similarity: not centred",
        f"{LOSSES}/similarity.py",
        "- tf.reduce_mean(flat, axis=-1, keepdims=True)",
        "",
        LOSS_FILES,
    ),
    Fault(
        "smoothness: twice as large",
        f"{LOSSES}/regularity.py",
        "return 0.5 * squared_differences(volume)",
        "return squared_differences(volume)",
        LOSS_FILES,
    ),
    Fault(
        "determinant: of A instead of I + A",
        f"{LOSSES}/affine.py",
        "linear = _plus_identity(tf.cast(matrix, tf.float64))\n    return",
        "linear = tf.cast(matrix, tf.float64)\n    return",
        LOSS_FILES,
    ),
    Fault(
        "orthogonality: the inverse eigenvalues left out",
        f"{LOSSES}/affine.py",
        "inverses = (1 + eps) ** 2 * minors / _determinant(gram)",
        "inverses = (1 + eps) ** 2 * rank",
        LOSS_FILES,
    ),
    Fault(
        "invertibility: one of two round trips",
        f"{LOSSES}/consistency.py",
        "trips = [compose(forward, backward), compose(backward, forward)]",
        "trips = [compose(forward, backward)]",
        LOSS_FILES,
    ),
    Fault(
        "invertibility: the whole volume instead of its centre",
        f"{LOSSES}/consistency.py",
        "along(field, axis, size // 4, size - size // 4)",
        "along(field, axis, 0, size)",
        LOSS_FILES,
    ),
    Fault(
        "endpoint error: mean of squares",
        f"{LOSSES}/supervision.py",
        "tf.where(positive, tf.sqrt(tf.where(positive, squared, 1.0)), 0.0)",
        "tf.where(positive, squared, 0.0)",
        LOSS_FILES,
    ),
    Fault(
        "objective: the total leaves the weights out",
        "rcn_tf/losses/objective.py",
        "sum(factors[name] * term for name, term in terms.items())",
        "sum(term for name, term in terms.items())",
        OBJECTIVE,
    ),
    Fault(
        "objective: similarity of the first stage",
        "rcn_tf/losses/objective.py",
        "return function(fixed, (stage or output).warped, **parameters)",
        "return function(fixed, output.stages[0].warped, **parameters)",
        OBJECTIVE,
    ),
    Fault(
        "objective: smoothness of the total flow",
        "rcn_tf/losses/objective.py",
        "return function((stage or output).flow, **parameters)",
        "return function(total_flow, **parameters)",
        (*OBJECTIVE, *OUTPUTS),
    ),
    # The output of a model and the cascade
    Fault(
        "output: composed the wrong way round",
        OUTPUT,
        "        if matrix is None:\n            return compose(self.flow, flow)",
        "        if matrix is None:\n            return compose(flow, self.flow)",
        OUTPUTS,
    ),
    Fault(
        "output: A instead of I + A before a dense flow",
        OUTPUT,
        "linear = matrix + tf.eye(self.rank, dtype=matrix.dtype)",
        "linear = matrix",
        OUTPUTS,
    ),
    Fault(
        "output: offset of the later affine step not turned",
        OUTPUT,
        "total_offset = tf.linalg.matvec(before, offset) + offset + shift",
        "total_offset = offset + shift",
        OUTPUTS,
    ),
    Fault(
        "output: product of two affine steps left out",
        OUTPUT,
        "return before + matrix + tf.matmul(before, matrix), total_offset",
        "return before + matrix, total_offset",
        OUTPUTS,
    ),
    Fault(
        "output: product of two affine steps the wrong way round",
        OUTPUT,
        "tf.matmul(before, matrix)",
        "tf.matmul(matrix, before)",
        OUTPUTS,
    ),
    Fault(
        "output: warped by the stage's own flow",
        OUTPUT,
        "warped = warp(self.moving, total_flow, self.padding)",
        "warped = warp(self.moving, flow, self.padding)",
        OUTPUTS,
    ),
    Fault(
        "cascade: stages see the image that is not warped",
        "rcn_tf/models/cascade.py",
        "flow = _apply(network, fixed, out.warped, recompute)",
        "flow = _apply(network, fixed, moving, recompute)",
        CASCADE,
    ),
    Fault(
        "cascade: flows without the factor 1 / n_cascades",
        "rcn_tf/models/cascade.py",
        "1 / n_cascades",
        "1.0",
        CASCADE,
    ),
    Fault(
        "VTN: factor of the output",
        "rcn_tf/networks/vtn.py",
        "OUTPUT_FACTOR = 20.0",
        "OUTPUT_FACTOR = 10.0",
        ("tests/networks/test_networks.py", "tests/test_golden.py"),
    ),
    # Metrics and evaluation
    Fault(
        "Dice: without the two",
        "rcn_tf/metrics/overlap.py",
        "return _ratio(2 * shared, size_a + size_b)\n",
        "return _ratio(shared, size_a + size_b)\n",
        METRICS,
    ),
    Fault(
        "landmarks: displacement subtracted",
        "rcn_tf/metrics/landmarks.py",
        "fixed_points + sample_flow(flow, fixed_points)",
        "fixed_points - sample_flow(flow, fixed_points)",
        METRICS,
    ),
    Fault(
        "landmarks: voxels instead of millimetres",
        "rcn_tf/metrics/landmarks.py",
        "error = error * np.asarray(spacing, np.float64)[..., None, :]",
        "pass",
        METRICS,
    ),
    Fault(
        "folding: only where the determinant is below -1",
        "rcn_tf/metrics/deformation.py",
        "return (_determinants(flow) <= 0)",
        "return (_determinants(flow) <= -1)",
        METRICS,
    ),
    Fault(
        "folded volume: corners of one parity",
        "rcn_tf/metrics/deformation.py",
        "sign = (-1) ** sum(corner)",
        "sign = 1",
        METRICS,
    ),
    Fault(
        "surface distance: voxels instead of millimetres",
        "rcn_tf/metrics/surface.py",
        "_surface_points(a) @ to_mm.T, _surface_points(b) @ to_mm.T",
        "_surface_points(a), _surface_points(b)",
        METRICS,
    ),
    Fault(
        "Hausdorff: one direction",
        "rcn_tf/metrics/surface.py",
        "max(np.percentile(to_b, percentile), np.percentile(to_a, percentile))",
        "np.percentile(to_b, percentile)",
        METRICS,
    ),
    Fault(
        "evaluation: spacing in the order x, y, z",
        "rcn_tf/data/packs.py",
        'np.asarray(self.attributes["spacing"], float)[::-1]',
        'np.asarray(self.attributes["spacing"], float)',
        EVALUATION,
    ),
    Fault(
        "evaluation: folding as a share, not in percent",
        "rcn_tf/evaluation/scores.py",
        "100 * metrics.folding_fraction(flow[None])[0]",
        "metrics.folding_fraction(flow[None])[0]",
        EVALUATION,
    ),
    Fault(
        "evaluation: labels not warped",
        "rcn_tf/evaluation/scores.py",
        "moving if flow is None else warp_labels(moving, flow)",
        "moving",
        EVALUATION,
    ),
    # Data
    Fault(
        "label warp: a tie takes the largest id",
        "rcn_tf/volumes/sampling.py",
        "return np.min(\n        [np.where(total >= best, corner, highest)",
        "return np.max(\n        [np.where(total >= best, corner, 0)",
        ("tests/data/test_label_warp.py", "tests/volumes/test_warping.py"),
    ),
    Fault(
        "B-spline: off by half a voxel",
        "rcn_tf/data/bspline.py",
        "position = (np.arange(voxels) + 0.5) * (points - 1) / voxels",
        "position = np.arange(voxels) * (points - 1) / voxels",
        AUGMENTATION,
    ),
    Fault(
        "B-spline: a wrong basis function",
        "rcn_tf/data/bspline.py",
        "3 * t**3 - 6 * t**2 + 4",
        "3 * t**3 - 6 * t**2 + 3",
        AUGMENTATION,
    ),
    Fault(
        "augmentation: uniform instead of cubed",
        "rcn_tf/data/augmentation.py",
        "return uniform**3 * tf.constant(largest, tf.float32)",
        "return uniform * tf.constant(largest, tf.float32)",
        AUGMENTATION,
    ),
    Fault(
        "augmentation: landmarks move with the flow",
        "rcn_tf/data/augmentation.py",
        "fields.invert_points(points, flow)",
        "fields.invert_points(points, -flow)",
        AUGMENTATION,
    ),
    Fault(
        "augmentation: the same field in every step",
        "rcn_tf/data/augmentation.py",
        "tf.cast(step, tf.int64)",
        "0 * tf.cast(step, tf.int64)",
        AUGMENTATION,
    ),
    Fault(
        "pairs: a scan with itself",
        "rcn_tf/data/pairs.py",
        "self._scans[moving + (moving >= fixed)]",
        "self._scans[moving]",
        ("tests/data/test_pairs.py",),
    ),
    Fault(
        "pipeline: images from 0 to 255",
        "rcn_tf/data/grey_values.py",
        "return tf.cast(grey, tf.float32) / GREY_MAX",
        "return tf.cast(grey, tf.float32)",
        ("tests/data/test_pipeline.py",),
    ),
    # Physical space
    Fault(
        "grid: crop box off by half a voxel",
        "rcn_tf/volumes/grids.py",
        "to_index[:3, 3] = box[:, 0] + 0.5 * step - 0.5",
        "to_index[:3, 3] = box[:, 0]",
        SPACE,
    ),
    Fault(
        "grid: direction's rows scaled instead of columns",
        "rcn_tf/volumes/grids.py",
        "reshape(3, 3) * np.asarray(spacing, np.float64)",
        "reshape(3, 3) * np.asarray(spacing, np.float64)[:, None]",
        SPACE,
    ),
    Fault(
        "warping: displacement subtracted",
        "rcn_tf/volumes/warping.py",
        "index += displacement @ to_index[:3, :3].T",
        "index -= displacement @ to_index[:3, :3].T",
        SPACE,
    ),
    Fault(
        "sampling: the outermost half voxel counts as outside",
        "rcn_tf/volumes/sampling.py",
        "return ((index >= -0.5) & (index < np.asarray(shape) - 0.5)).all(axis=-1)",
        "return ((index >= 0) & (index < np.asarray(shape) - 1)).all(axis=-1)",
        SPACE,
    ),
    Fault(
        "grid transform: moving point on the fixed grid",
        "rcn_tf/volumes/transforms/grid_transform.py",
        "return self.moving_grid.index_to_point(index)",
        "return self.fixed_grid.index_to_point(index)",
        (*SPACE, *PAIR),
    ),
    Fault(
        "grid transform: inverse between the wrong grids",
        "rcn_tf/volumes/transforms/grid_transform.py",
        "GridTransform(self.moving_grid, self.fixed_grid,",
        "GridTransform(self.fixed_grid, self.moving_grid,",
        (*SPACE, *PAIR),
    ),
    Fault(
        "displacement field: components reversed",
        "rcn_tf/volumes/transforms/displacement.py",
        "return points + self._vectors.at_index(self.grid.point_to_index(points))",
        "return points + self._vectors.at_index(self.grid.point_to_index(points))[..., ::-1]",
        DISPLACEMENT,
    ),
    Fault(
        "inverse of a field: folds are not said",
        "rcn_tf/volumes/transforms/folded_cells.py",
        "status[part[within.all(axis=-1).any(axis=-1)]] = Status.FOLDED",
        "pass",
        DISPLACEMENT,
    ),
    Fault(
        "ITK maps: offset of a linear transform left out",
        "rcn_tf/volumes/transforms/itk_maps.py",
        "return AffineMap((np.array(ends) - offset).T / _REACH_MM, offset)",
        "return AffineMap((np.array(ends) - offset).T / _REACH_MM, 0 * offset)",
        ITK,
    ),
    Fault(
        "ITK maps: linear transform transposed",
        "rcn_tf/volumes/transforms/itk_maps.py",
        "AffineMap((np.array(ends) - offset).T /",
        "AffineMap((np.array(ends) - offset) /",
        ITK,
    ),
    Fault(
        "points: RAS turns z as well",
        "rcn_tf/volumes/points/points.py",
        "points * (-1, -1, 1)",
        "points * (-1, -1, -1)",
        ("tests/volumes/points/test_points.py", "tests/volumes/points/test_csv.py"),
    ),
    Fault(
        "chain: links in the reverse order",
        "rcn_tf/volumes/transforms/chain.py",
        "for link in self.links:\n            points, error",
        "for link in self.links[::-1]:\n            points, error",
        ("tests/commands/test_apply_chain.py",),
    ),
    # Registration of a pair
    Fault(
        "pair: displacement along the fixed grid's voxels",
        "rcn_tf/registration/pair_metrics.py",
        "transform.flow * transform.moving_grid.spacing",
        "transform.flow",
        PAIR,
    ),
    Fault(
        "refinement: the last update instead of the best",
        "rcn_tf/registration/refinement.py",
        "return updated(best), RefinementGain",
        "return updated(variable), RefinementGain",
        ("tests/registration/test_refinement.py",),
    ),
    Fault(
        "optimisation: against the descent",
        "rcn_tf/registration/optimisation/deformation.py",
        "return -length * mean / size",
        "return length * mean / size",
        OPTIMISATION,
    ),
    Fault(
        "optimisation: the moving image's margin forgotten",
        "rcn_tf/registration/optimisation/deformation.py",
        "lookup = flow + shift",
        "lookup = flow + 0 * shift",
        OPTIMISATION,
    ),
    Fault(
        "optimisation: updates added instead of composed, in the wrong order",
        "rcn_tf/registration/optimisation/deformation.py",
        "compose(flow, adam.update(gradient, length))",
        "compose(adam.update(gradient, length), -flow)",
        OPTIMISATION,
    ),
    Fault(
        "affine search: turned about the origin",
        "rcn_tf/registration/optimisation/affine.py",
        "linear[:3, 3] = centre + shift - matrix @ centre",
        "linear[:3, 3] = shift",
        OPTIMISATION,
    ),
    Fault(
        "levels: voxels of all axes as fine as the finest",
        "rcn_tf/registration/optimisation/levels.py",
        "extent / np.maximum(own_spacing, step)",
        "extent / step",
        OPTIMISATION,
    ),
    Fault(
        "levels: what the moving image does not show counts",
        "rcn_tf/registration/optimisation/levels.py",
        "weight = fixed_shown * moving_shown[inner]",
        "weight = fixed_shown",
        OPTIMISATION,
    ),
    Fault(
        "smoothing: the zeros outside count",
        "custom_ops/smoothing.py",
        "tf.clip_by_value(index, 0, size - 1)",
        "tf.math.floormod(index, size)",
        ("tests/custom_ops/test_smoothing.py",),
    ),
    Fault(
        "linear samples: half a voxel off",
        "rcn_tf/volumes/linear_sampling.py",
        "    flow = flow - low\n",
        "    flow = flow - low - 0.5\n",
        SPACE,
    ),
    Fault(
        "transform: the affine part of the displacement forgotten",
        "rcn_tf/volumes/transforms/grid_transform.py",
        "at_zero_flow = self.moving_grid.affine @ to_index - np.eye(4)",
        "at_zero_flow = 0 * self.moving_grid.affine",
        SPACE,
    ),
    Fault(
        "sample: points numbered across the cube's axes",
        "rcn_tf/fields/displacements.py",
        "lookup = tf.reshape(points, cube) - identity_grid",
        "lookup = tf.reshape(points, cube) - 1 + identity_grid",
        FIELDS,
    ),
    # Training
    Fault(
        "schedule: halved a step late",
        "rcn_tf/training/optimizers.py",
        "tf.cast(step >= boundary, tf.float32)",
        "tf.cast(step > boundary, tf.float32)",
        TRAINING,
    ),
    Fault(
        "step: loss not divided by the global batch",
        "rcn_tf/training/step.py",
        'tf.reduce_sum(terms["total"]) / batch_size',
        'tf.reduce_sum(terms["total"])',
        TRAINING,
    ),
    Fault(
        "step: the reversed pair is the pair itself",
        "rcn_tf/training/step.py",
        "model(moving, fixed, training=True, **options)",
        "model(fixed, moving, training=True, **options) ",
        TRAINING,
    ),
    Fault(
        "checkpoints: the oldest is restored",
        "rcn_tf/training/checkpoints.py",
        "for path in reversed(self._manager.checkpoints):",
        "for path in self._manager.checkpoints:",
        ("tests/training/test_durability.py", "tests/training/test_loop.py"),
    ),
    Fault(
        "memory: the optimiser's moments left out",
        "rcn_tf/training/memory.py",
        "optimizer=SLOTS[config.optimizer.name] * traced.trained,",
        "optimizer=0 * traced.trained,",
        ("tests/training/test_memory.py",),
    ),
    Fault(
        "phases: the second one begins with the first one's rate",
        "rcn_tf/training/phases.py",
        "tf.where(step >= start, own, value)",
        "tf.where(step >= start, value, value)",
        ("tests/training/test_phases.py",),
    ),
    Fault(
        "phases: frozen parts are trained",
        "rcn_tf/training/phases.py",
        'trained -= set(_named(model, self.freeze, "freeze"))',
        '_named(model, self.freeze, "freeze")',
        ("tests/training/test_phases.py",),
    ),
    Fault(
        "planes: displacement along the wrong axis",
        "rcn_tf/registration/plane.py",
        "return np.expand_dims(np.insert(flow, axis, 0, axis=-1), axis)",
        "return np.expand_dims(np.insert(flow[..., ::-1], axis, 0, axis=-1), axis)",
        ("tests/contract/test_files.py",),
    ),
    Fault(
        "Learn2Reg: components in the order of the arrays",
        "rcn_tf/volumes/learn2reg/displacement.py",
        "result[:, :, slab] = moved[..., ::-1].transpose(2, 1, 0, 3)",
        "result[:, :, slab] = moved.transpose(2, 1, 0, 3)",
        LEARN2REG,
    ),
    Fault(
        "Learn2Reg: half resolution begins at the same voxel, but ends elsewhere",
        "rcn_tf/volumes/learn2reg/displacement.py",
        "axes = [np.linspace(0, n - 1, n // 2) for n in shape]",
        "axes = [np.arange(0.0, n, 2) for n in shape]",
        LEARN2REG,
    ),
    Fault(
        "Learn2Reg: logarithm of the determinant without the shift",
        "rcn_tf/evaluation/learn2reg.py",
        "np.log((determinant + _SHIFT).clip(_LEAST, _MOST))",
        "np.log(determinant.clip(_LEAST, _MOST))",
        ("tests/evaluation/test_learn2reg.py",),
    ),
    Fault(
        "Learn2Reg: landmarks measured by the fixed image's spacing",
        "rcn_tf/evaluation/learn2reg.py",
        "np.linalg.norm(error * spacing[1], axis=1)",
        "np.linalg.norm(error * spacing[0], axis=1)",
        ("tests/evaluation/test_learn2reg.py",),
    ),
    Fault(
        "many pairs: a result with a file missing counts as complete",
        "rcn_tf/registration/pair_record.py",
        "return source if all(found.get(name) == n for name, n in files.items()) else None",
        "return source if found else None",
        ("tests/registration/test_pair_runs.py",),
    ),
    Fault(
        "chains: a field covers what it does not reach",
        "rcn_tf/volumes/transforms/chain.py",
        "status[slab][~transform.contains(grid.points(slab))] = Status.OUTSIDE",
        "status[slab] = Status.OK",
        ("tests/commands/test_apply_several.py",),
    ),
    # The native op, which is built anew for each
    Fault(
        "warp in C++: weight of the other neighbour",
        CC,
        "return lower + weight * (upper - lower);",
        "return upper + weight * (lower - upper);",
        NATIVE,
    ),
    Fault(
        "warp in C++: gradient beyond the border",
        CC,
        "coordinate < first || coordinate > last ? Real(0) : Real(1);",
        "coordinate < first ? Real(0) : Real(1);",
        NATIVE,
    ),
)
