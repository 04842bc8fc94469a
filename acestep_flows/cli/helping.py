"""The command `help`; and what the help of every command ends with, an example."""

from __future__ import annotations

from collections.abc import Mapping

import click

SUMMARIES: Mapping[str, str] = {
    "adopt": "Give runs of the time without keys to an API key.",
    "audit": "List who did what on a server, newest first.",
    "bulk": "Make many songs, one for each row of a table.",
    "compare": "Compare two songs, second by second.",
    "encode": "Encode songs for training.",
    "fetch": "Download the published model (8.3 GB) or another one.",
    "fetch-output": "Fetch the songs of a run from a server.",
    "key": "Make an API key.",
    "queue": "Pause and resume the queue of a server, or drain it.",
    "replay": "Make a song again from its recipe, and compare both.",
    "run": "Run a graph on this machine, and write its songs.",
    "stages": "List the stages that graphs are made of.",
    "status": "Show a run on a server, or list the latest ones.",
    "studio": "Make and edit songs in the browser.",
    "submit": "Run a graph on a server, and print the run's id.",
    "train": "Train an adapter, a control branch or a model.",
    "usage": "List what the runs of each API key used.",
    "adapter convert": "Convert an adapter to the published format, or to peft's.",
    "adapter inspect": "Show layers, ranks, scaling and size of an adapter.",
    "adapter list": "List the adapters and control branches there are.",
    "adapter merge": "Write a checkpoint with adapters merged into it.",
    "queue show": "Show the queue, and the servers that compute its runs.",
    "graph plan": "Show what a run would compute, and how long it takes.",
}
"""Short descriptions of commands, for lists, where the first sentence of the help is too long."""

EXAMPLES: Mapping[str, str] = {
    "adapter convert": "adapter convert voice.safetensors --out voice",
    "adapter inspect": "adapter inspect lyric2vocal",
    "adapter list": "adapter list",
    "adapter merge": "adapter merge voice.safetensors=0.8 --checkpoint embedded --out merged",
    "adopt": "adopt alice --home server",
    "audit": "audit --home server",
    "bulk": "bulk songs.csv --graph text2music --out songs --dry-run",
    "cancel": "cancel RUN",
    "compare": "compare songs/song.wav songs/retake.wav",
    "doctor": "doctor",
    "encode": "encode ace-step-encode --set source.path=my-songs --out encoded",
    "fetch": "fetch",
    "fetch-output": "fetch-output RUN --out songs",
    "graph check": "graph check mine.yaml",
    "graph plan": 'graph plan text2music --set tags="lofi, piano"',
    "graph show": "graph show repaint",
    "graphs": "graphs",
    "help": "help run",
    "key": "key alice --file keys.json",
    "keys": "keys --since 2026-03-01",
    "queue": "queue pause --home server",
    "replay": "replay songs/song.wav",
    "run": 'run text2music --set tags="lofi, piano" --set duration=10 --out songs --name night.mp3',
    "serve": "serve --home server",
    "stages": "stages sample",
    "status": "status RUN",
    "studio": "studio",
    "submit": 'submit text2music --set tags="lofi, piano" --set duration=10 --watch',
    "train": "train lora ace-step-lora --set data.encoded=encoded --out runs/voice",
    "usage": "usage --home server",
    "watch": "watch RUN",
}
"""A command line for each command, without the name of the program."""


@click.command("help", short_help="Show the help of a command.")
@click.argument("command", nargs=-1)
@click.pass_context
def help_command(context: click.Context, command: tuple[str, ...]) -> None:
    """Show the help of COMMAND, or list the commands. For the inputs of a graph: `acestep-flows graph show NAME`."""
    shown = context.parent
    assert shown is not None
    for name in command:
        group = shown.command
        if not isinstance(group, click.Group):
            break
        _, found, _ = group.resolve_command(shown, [name])
        assert found is not None
        shown = click.Context(found, info_name=name, parent=shown)
    click.echo(shown.get_help())


def give_examples(group: click.Group, prefix: str = "") -> None:
    """Give every command below `group` its example and its summary, and call folders so."""
    for name, command in group.commands.items():
        path = f"{prefix}{name}"
        command.short_help = SUMMARIES.get(path, command.short_help)
        if path in EXAMPLES:
            example = f"\b\nExample:\n  acestep-flows {EXAMPLES[path]}"
            command.epilog = "\n\n".join(filter(None, [example, command.epilog]))
        for param in command.params:
            if isinstance(param.type, click.Path) and not param.type.file_okay:
                param.metavar = param.metavar or "FOLDER"
        if isinstance(command, click.Group):
            give_examples(command, f"{path} ")
