"""Build a pack of scans (HDF5) and its dataset config from image files."""

import pathlib


def add_arguments(parser):
    sources = parser.add_subparsers(dest="source", metavar="SOURCE", required=True)
    text = "image files that SimpleITK reads: NIfTI, MetaImage, NRRD, ..."
    _add_images(sources.add_parser("images", help=text, description=f"A pack from {text}"))


def run(args):
    return {"images": _run_images}[args.source](args)


def _add_images(parser):
    path = {"type": pathlib.Path, "metavar": "FILE"}
    parser.add_argument("--images", nargs="+", required=True, **path)
    parser.add_argument(
        "--labels", nargs="+", **path, help="label maps: one for each image, or none at all"
    )
    parser.add_argument(
        "--landmarks",
        nargs="+",
        **path,
        help="CSV of each image: header line, columns x, y, z (LPS, mm), same order in all",
    )
    parser.add_argument(
        "--masks", nargs="+", **path, help="foreground of each image, to crop to; else found"
    )
    parser.add_argument("--ids", nargs="+", metavar="ID", help="names; else the files' names")
    parser.add_argument(
        "--shape", type=int, nargs=3, required=True, metavar=("D", "H", "W"), help="grid (z y x)"
    )
    parser.add_argument(
        "--out", required=True, **path, help="pack to write (.h5); an older one is replaced"
    )
    parser.add_argument(
        "--config",
        required=True,
        **path,
        help="dataset config to write (.json); an older one is replaced",
    )
    parser.add_argument("--subset", default="all", metavar="NAME", help="name of the subset")
    parser.add_argument("--atlas", metavar="ID", help="pair every scan with this one only")


def _run_images(args):
    from rich.console import Console
    from rich.progress import Progress

    from data_prep.generic import build_pack

    if min(args.shape) < 1:
        raise ValueError(f"--shape must be three positive sizes; got {args.shape}.")
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("preparing", total=len(args.images))
        build_pack(
            args.images,
            args.out,
            args.config,
            shape=tuple(args.shape),
            labels=args.labels,
            landmarks=args.landmarks,
            masks=args.masks,
            ids=args.ids,
            subset=args.subset,
            atlas=args.atlas,
            progress=lambda scan_id: progress.update(task, advance=1, description=scan_id),
        )
    print(f"{len(args.images)} scans in {args.out}; dataset config {args.config}")
