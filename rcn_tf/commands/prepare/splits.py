"""`--hold-out`: scans that are kept for validation, and a word where there are none."""

from rcn_tf.errors import one_line, warn

_SHOWN = 6  # held-out scans named


def add_hold_out(parser):
    """Declares the option."""
    parser.add_argument(
        "--hold-out",
        metavar="N|FRACTION|IDS",
        help="keep N subjects, a fraction of them, or those of IDS (scans or subjects, joined by "
        "commas) out of training: a subset of their own, scheme 2; all scans of a subject stay "
        "together",
    )


def parsed_hold_out(args):
    """What was asked for, or None. Raises: ValueError: it cannot be."""
    from data_prep.splits import parse_hold_out

    return None if args.hold_out is None else parse_hold_out(args.hold_out)


def report_split(path):
    """Says what is held out; warns where scheme 2 has scans of scheme 1."""
    from rcn_tf.data.dataset_config import load_dataset_config
    from rcn_tf.data.overlap import scheme_scans, shared_scans
    from rcn_tf.wording import counted

    try:
        config = load_dataset_config(path)
        train, held = (scheme_scans(config, name) for name in ("1", "2"))
    except (KeyError, ValueError, OSError) as error:
        warn(f"the config cannot be used as it is: {one_line(error).rstrip('.')}")
        return
    shared = shared_scans(config)
    if shared:
        which = (
            "the same scans as"
            if len(shared) == len(held)
            else (f"{counted(len(shared), 'scan')} of")
        )
        warn(
            f"{path}: scheme 2 (validation) has {which} scheme 1 (training), so that scores on it "
            "say nothing about scans that were not trained on; hold some out with --hold-out"
        )
    elif held:
        names = ", ".join(held[:_SHOWN]) + (" ..." if len(held) > _SHOWN else "")
        print(
            f"trained on (scheme 1): {counted(len(train), 'scan')}; "
            f"held out (scheme 2): {len(held)}: {names}"
        )
