"""`rcn prepare check`: what of a dataset config is there."""

import pathlib

INCOMPLETE = 1
_SHOWN = 10  # missing or damaged scans named per subset


def add_commands(commands):
    """Declares the subcommand."""
    text = "count a dataset config's scans and name what is missing"
    parser = commands.add_parser(
        "check", help=text, description=f"{text}; exit code {INCOMPLETE} if something is"
    )
    parser.set_defaults(run_source=run)
    parser.add_argument("config", type=pathlib.Path, help="dataset config (JSON)")
    parser.add_argument(
        "--checksums", action="store_true", help="also read all scans and compare checksums"
    )


def run(args):
    """Prints the tables; returns 0 if all is there, else INCOMPLETE."""
    from rich.console import Console
    from rich.table import Table

    from data_prep.checking import check_config

    report = check_config(args.config, checksums=args.checksums)
    packs = Table("pack", "scans")
    for alias, found in report.packs.items():
        packs.add_row(alias, str(found))
    columns = ("listed", "excluded", "expected", "present", "segmentations", "landmarks")
    subsets = Table("subset", *columns)
    for one in report.subsets:
        numbers = [getattr(one, name) for name in columns]
        subsets.add_row(one.name, *("-" if n is None else str(n) for n in numbers))
    console = Console(width=None if Console().is_terminal else 160, markup=False)
    console.print(packs)
    console.print(subsets)
    for one in report.subsets:
        if one.problem:
            print(f"{one.name}: {one.problem}")
        _print_some(f"missing from {one.name}", one.missing)
        _print_some(f"damaged in {one.name}", [f"{k} ({v})" for k, v in one.damaged.items()])
    if report.excluded:
        _print_some("excluded", report.excluded)
    if report.atlas is not None:
        print(f"atlas: {report.atlas}")
    print("complete" if report.complete else "not complete")
    return 0 if report.complete else INCOMPLETE


def _print_some(title, names):
    if names:
        rest = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        print(f"{title}: {', '.join(names[:_SHOWN])}{rest}")
