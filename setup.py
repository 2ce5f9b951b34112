"""Installs rcn_tf, custom_ops and data_prep, and the `rcn` command.

Environment markers choose one of two stacks (Keras 2 API in both):
Python 3.9-3.11 -> TensorFlow 2.15.1 + tensorflow-addons; Python 3.12+ -> TensorFlow
2.18-2.21 + tf_keras.
"""

import pathlib
import re

from setuptools import find_packages, setup

HERE = pathlib.Path(__file__).parent
VERSION = re.search(r'__version__ = "(.+)"', (HERE / "rcn_tf/__init__.py").read_text())[1]
REFERENCE = 'python_version < "3.12"'
CURRENT = 'python_version >= "3.12"'
DICOM = "pydicom>=2.4"
SERVE = ["fastapi>=0.110", "uvicorn>=0.23", "python-multipart>=0.0.9"]
DOCS = ["mkdocs>=1.6,<2", "mkdocstrings-python>=1.10"]
ANTS, ELASTIX = "antspyx>=0.5", "itk-elastix>=0.20"  # what `python -m eval` compares with
CONVEXADAM = "convexAdam>=0.2"  # with PyTorch
OPTICAL_FLOW = "scikit-image>=0.19"  # and TV-L1
TEST = [  # what the tests import without asking whether it is there
    f"tensorflow-addons==0.23.0; {REFERENCE}",
    DICOM,
    "nibabel>=4",
    "pytest>=7",
    "pytest-xdist>=3.8",
    "setuptools>=64",
    "wheel",
]

setup(
    name="rcn-tf",
    version=VERSION,
    description="Recursive cascaded networks for 3D medical image registration in TensorFlow 2",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="MIT",
    python_requires=">=3.9,<3.14",
    packages=find_packages(include=["rcn_tf*", "custom_ops*", "data_prep*"]),
    package_data={
        "rcn_tf": [
            "py.typed",
            "presets/papers.yaml",
            "default_model/config.json",
            "default_model/weights.h5",
        ],
        "custom_ops": ["py.typed", "cc/*"],  # cc is compiled on the machine that uses it
    },
    install_requires=[
        f"tensorflow==2.15.1; {REFERENCE}",
        f"numpy>=1.23,<2; {REFERENCE}",
        f"tensorflow>=2.18,<2.22; {CURRENT}",
        f"tf_keras>=2.18,<2.22; {CURRENT}",
        f"numpy>=1.26; {CURRENT}",
        "h5py>=3.9",
        "PyYAML>=6",
        "SimpleITK>=2.2",
        "isal>=1.6",
        "scipy>=1.9",
        "matplotlib>=3.6",
        "pandas>=1.5",
        "rich>=13",
        "tensorboard>=2.15",
    ],
    extras_require={
        "addons": [f"tensorflow-addons==0.23.0; {REFERENCE}"],
        "ants": [ANTS],
        "elastix": [ELASTIX],
        "convexadam": [CONVEXADAM],
        "baselines": [ANTS, ELASTIX, OPTICAL_FLOW],
        "dicom": [DICOM],
        "docs": DOCS,
        "demo": ["nilearn>=0.10"],
        "freesurfer": ["nibabel>=4"],
        "optical-flow": [OPTICAL_FLOW],
        "serve": SERVE,
        "test": TEST,
        "dev": [
            *TEST,
            ANTS,
            "clang-format==23.1.5",
            ELASTIX,
            *DOCS,
            "nilearn>=0.10",
            OPTICAL_FLOW,
            *SERVE,
            "coverage>=7",
            "httpx>=0.25",
            "mypy>=1.10",
            "ruff>=0.5",
        ],
    },
    entry_points={"console_scripts": ["rcn=rcn_tf.commands.main:main"]},
)
