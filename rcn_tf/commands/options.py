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


def add_precision(parser):
    """`--precision`, in which a trained model computes (`rcn_tf.precision`)."""
    parser.add_argument(
        "--precision",
        choices=("float32", "bfloat16", "float16"),
        help="of the convolutions; by default as trained",
    )
