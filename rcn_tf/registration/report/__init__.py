"""Pictures and the HTML page that show whether a registration worked."""

from rcn_tf.registration.report.html import render_report, write_report

__all__ = ["render_report", "write_report"]
