"""Options that several commands share."""


def add_settings(parser, help_text):
    """`--set KEY=VALUE`, repeatable, of a training config; collected as `settings`."""
    parser.add_argument(
        "--set",
        dest="settings",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help=help_text,
    )


def add_repeats(parser):
    """`--repeats`, shared-weight cascading (RCN, section 3.3)."""
    parser.add_argument(
        "--repeats",
        type=int,
        default=1,
        metavar="R",
        help="apply each dense stage R times (shared-weight cascading; default 1)",
    )


def add_quality(parser):
    """`--diffeomorphic` and `--refine`, which cost time for a better flow."""
    parser.add_argument(
        "--diffeomorphic",
        action="store_true",
        help="integrate each dense stage's flow as a velocity, so that it hardly folds",
    )
    parser.add_argument(
        "--refine",
        type=int,
        metavar="N",
        help="optimise the flow of a pair with N gradient steps (50 to 100 do)",
    )


def check_positive(args, names):
    """Raises: ValueError: a number that was given is below 1."""
    for name in names:
        value = getattr(args, name)
        if value is not None and value < 1:
            raise ValueError(f"--{name} must be at least 1; got {value}")


def add_precision(parser):
    """`--precision`, in which a trained model computes (`rcn_tf.precision`)."""
    parser.add_argument(
        "--precision",
        choices=("float32", "bfloat16", "float16"),
        help="of the convolutions; by default as trained",
    )


def add_trust(parser):
    """`--trust-code`, for a network that is code of somebody's own (`rcn_tf.trust`)."""
    parser.add_argument(
        "--trust-code",
        action="store_true",
        help="import and run the module that the model folder names as its network; needed where "
        "you did not save the folder yourself",
    )
