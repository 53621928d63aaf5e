"""`dicom2clip shards`: the commands that look into a dataset, each in a file named for it."""

from __future__ import annotations

import typer

from shards import (
    cli_export,
    cli_find,
    cli_hlip,
    cli_look,
    cli_preview,
    cli_repair,
    cli_stats,
    cli_verify,
)

app = typer.Typer(
    help="Look into a dataset: what is in it, does it look right, is it intact.",
    no_args_is_help=True,
)
app.command("ls")(cli_look.list_studies)
app.command()(cli_look.info)
app.command()(cli_look.show)
app.command("find")(cli_find.find_studies)
app.command("preview")(cli_preview.make_preview)
app.command("verify")(cli_verify.verify_dataset)
app.command("repair")(cli_repair.repair_dataset)
app.command("stats")(cli_stats.show_stats)
app.command("export")(cli_export.export_studies)
app.command("import-hlip")(cli_hlip.import_dataset)
