"""What nnU-Net and MONAI need for the jobs of ../segmentation.py, which runs this file in their own environment.

    python peers/segmentation.py JOB REPEATS      prints wall and processor seconds per repeat and peak memory as JSON
    python peers/segmentation.py preprocess DATA  prints the seconds of nnU-Net's plan_and_preprocess

Needs nnunetv2 and monai. The networks, losses, optimiser and the order of a step are what nnU-Net 2.8 uses for the
hippocampus by its own plan: patch 40x56x40, batch 7, four stages of 32 to 256 filters, deep supervision; float32 on a
CPU, float16 with loss scaling and `torch.compile` on a GPU.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

PATCH, BATCH, CLASSES = (40, 56, 40), 7, 3
WIDTHS, STRIDES = (32, 64, 128, 256), (1, 2, 2, 2)
VOLUME = (80, 112, 80)


def nnunet():
    from dynamic_network_architectures.architectures.unet import PlainConvUNet
    from torch import nn

    return PlainConvUNet(
        1, 4, WIDTHS, nn.Conv3d, 3, STRIDES, 2, CLASSES, 2,
        conv_bias=True, norm_op=nn.InstanceNorm3d, norm_op_kwargs={"eps": 1e-5, "affine": True},
        nonlin=nn.LeakyReLU, nonlin_kwargs={"inplace": True}, deep_supervision=True,
    )  # fmt: skip


def monai():
    from monai.networks.nets import DynUNet

    return DynUNet(
        3, 1, CLASSES, [3] * 4, list(STRIDES), list(STRIDES[1:]), filters=list(WIDTHS),
        norm_name=("instance", {"affine": True}), deep_supervision=True, deep_supr_num=1,
    )  # fmt: skip


def nnunet_loss():
    from nnunetv2.training.loss.compound_losses import DC_and_CE_loss
    from nnunetv2.training.loss.deep_supervision import DeepSupervisionWrapper
    from nnunetv2.training.loss.dice import MemoryEfficientSoftDiceLoss

    loss = DC_and_CE_loss(
        {"batch_dice": False, "smooth": 1e-5, "do_bg": False, "ddp": False},
        {}, dice_class=MemoryEfficientSoftDiceLoss,
    )  # fmt: skip
    return DeepSupervisionWrapper(loss, [4 / 7, 2 / 7, 1 / 7])


def training(name: str):
    """One step as in nnUNetTrainer.train_step; for MONAI with its DiceCELoss on the same outputs."""
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.backends.cudnn.benchmark = True
    network = {"nnunet": nnunet, "monai": monai}[name]().train().to(device)
    images = torch.randn(BATCH, 1, *PATCH, device=device)
    labels = torch.randint(0, CLASSES, (BATCH, 1, *PATCH), device=device).float()
    optimizer = torch.optim.SGD(network.parameters(), 1e-2, momentum=0.99, nesterov=True, weight_decay=3e-5)
    if name == "nnunet":
        whole = nnunet_loss()
        targets = [labels[:, :, ::step, ::step, ::step] for step in (1, 2, 4)]

        def loss(outputs):
            return whole(outputs, targets)
    else:
        from monai.losses import DiceCELoss

        part = DiceCELoss(to_onehot_y=True, softmax=True, include_background=False)

        def loss(outputs):  # (batch, level, class, ...), every level at full resolution
            levels = torch.unbind(outputs, 1)
            return sum(0.5**level * part(output, labels) for level, output in enumerate(levels))

    half = device == "cuda"
    scaler = torch.amp.GradScaler(device, enabled=half)
    learning = network
    if half and name == "nnunet":
        network = torch.compile(network)

    def step():
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device, enabled=half):
            total = loss(network(images))
        scaler.scale(total).backward()
        scaler.unscale_(optimizer)
        torch.nn.utils.clip_grad_norm_(learning.parameters(), 12)
        scaler.step(optimizer)
        scaler.update()
        return total.item()

    return step


def prediction(name: str):
    """A whole volume by overlapping windows, Gaussian weights, no mirroring, with the peer's own code for windows."""
    import torch

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network = nnunet().eval().to(device)
    network.decoder.deep_supervision = False
    if name == "monai":
        from monai.inferers import sliding_window_inference

        image = torch.randn(1, 1, *VOLUME, device=device)

        def run():
            with torch.inference_mode():
                return sliding_window_inference(image, PATCH, 4, network, overlap=0.5, mode="gaussian")
    else:
        from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

        predictor = nnUNetPredictor(
            tile_step_size=0.5,
            use_gaussian=True,
            use_mirroring=False,
            device=device,
            allow_tqdm=False,
        )
        predictor.network = network
        predictor.configuration_manager = SimpleNamespace(patch_size=list(PATCH))
        predictor.label_manager = SimpleNamespace(num_segmentation_heads=CLASSES)
        predictor.allowed_mirroring_axes = None
        image = torch.randn(1, *VOLUME)

        def run():
            with torch.inference_mode():
                return predictor.predict_sliding_window_return_logits(image)

    return run


def preprocess(data: Path) -> float:
    """Seconds of `nnUNetv2_plan_and_preprocess -c 3d_fullres` on this data set, its start included."""
    with tempfile.TemporaryDirectory() as folder:
        raw = Path(folder) / "raw" / "Dataset004_Hippocampus"
        for part in ("imagesTr", "labelsTr"):
            (raw / part).mkdir(parents=True)
        cases = sorted(path.name for path in (data / "labelsTr").glob("*.nii.gz"))
        for name in cases:
            (raw / "labelsTr" / name).symlink_to((data / "labelsTr" / name).resolve())
            image = raw / "imagesTr" / name.replace(".nii.gz", "_0000.nii.gz")
            image.symlink_to((data / "imagesTr" / name).resolve())
        (raw / "dataset.json").write_text(
            json.dumps(
                {
                    "channel_names": {"0": "MRI"},
                    "labels": {"background": 0, "anterior": 1, "posterior": 2},
                    "numTraining": len(cases),
                    "file_ending": ".nii.gz",
                }
            )
        )
        places = {
            "nnUNet_raw": f"{folder}/raw",
            "nnUNet_preprocessed": f"{folder}/preprocessed",
            "nnUNet_results": f"{folder}/results",
        }
        tool = Path(sys.executable).parent / "nnUNetv2_plan_and_preprocess"
        began = time.perf_counter()
        subprocess.run(
            [sys.executable, tool, "-d", "4", "-c", "3d_fullres", "-npfp", "2", "-np", "2"],
            env=os.environ | places, check=True, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        return time.perf_counter() - began


def main() -> None:
    job, argument = sys.argv[1:]
    if job == "preprocess":
        print(json.dumps({"seconds": [preprocess(Path(argument))]}))
        return
    kind, name = job.split("-")
    call = {"training": training, "prediction": prediction}[kind](name)
    call()
    seconds, processor = [], []
    for _ in range(int(argument)):
        began, used = time.perf_counter(), time.process_time()
        call()
        seconds.append(time.perf_counter() - began)
        processor.append(time.process_time() - used)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(json.dumps({"seconds": seconds, "processor": processor, "peak_gib": peak}))


if __name__ == "__main__":
    main()
