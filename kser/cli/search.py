"""Searches for the largest network that fits a board's memory and time; prints it as flags for bin/train."""

from __future__ import annotations

import dataclasses
import os

from absl import flags

from kser.boards.catalog import BOARDS, KIB
from kser.cli import command, settings
from kser.cli.columns import table_text
from kser.config import FeatureConfig, ModelConfig, SmoothingConfig
from kser.errors import ConfigError
from kser.progress import counting

FLAGS = flags.FLAGS
# The search varies the sizes; these settings are fixed by the user.
MODEL_SETTINGS = ("activation", "norm", "pooling")
ROWS = 4


def define_flags() -> None:
    flags.DEFINE_enum("board", None, list(BOARDS), "The board; required.")
    flags.DEFINE_float("ram_kb", None, "RAM for arena, ring, front end and stack in KiB. Default: 85 % of the free RAM.")
    flags.DEFINE_float(
        "latency_ms", None, "Most milliseconds per inference. Default: 80 % of --decision_ms less the front end."
    )
    flags.DEFINE_float("decision_ms", 500.0, "Milliseconds between two decisions.")
    flags.DEFINE_list("backbone", None, "Backbones to try, in order of preference, as conformer,speechformer. Default: all.")
    flags.DEFINE_integer("num_classes", 8, "Number of classes.", 2, 1000)
    flags.DEFINE_string("flagfile_out", "", "File to write the flags to, for bin/train --flagfile.")
    flags.DEFINE_string("plot", "", "PNG file to plot the frontier to: parameters over milliseconds.")
    flags.DEFINE_integer("jobs", 0, "Number of processes; 0: one per core.", 0, 1024)
    settings.define(FeatureConfig)
    settings.define(ModelConfig, names=MODEL_SETTINGS, default="the preset's")


def main(_) -> None:
    if not FLAGS.board:
        raise ConfigError(f"bin/search needs --board; boards: {', '.join(BOARDS)}.")
    if FLAGS.plot and not FLAGS.plot.endswith(".png"):
        raise ConfigError(f"--plot must name a file that ends in .png, not {FLAGS.plot}.")
    features = settings.feature_config()

    from kser.boards.search import search
    from kser.files import temporary_beside, write_text

    for path in filter(None, (FLAGS.flagfile_out, FLAGS.plot)):
        with temporary_beside(path):  # fails before the search, not after it
            pass
    found = _search(features)
    lines = flag_lines(found.best, SmoothingConfig().changed(decision_ms=FLAGS.decision_ms))
    trainer = command.as_called("bin/train")
    print(f"{frontier_text(found)}\nchosen: {search.describe(found.best)}; for {trainer}:\n{' '.join(lines)}")
    if FLAGS.flagfile_out:
        write_text(FLAGS.flagfile_out, "\n".join(lines) + "\n")
        print(f"written to {FLAGS.flagfile_out}")
    if FLAGS.plot:
        from kser import plots

        plots.save_frontier(FLAGS.plot, found)
        print(f"plot written to {FLAGS.plot}")


def _search(features: FeatureConfig):
    from kser.boards.search import search
    from kser.models.presets import BACKBONES

    budget = search.make_budget(FLAGS.board, FLAGS.ram_kb, FLAGS.latency_ms, FLAGS.decision_ms)
    with counting("searching", "families of networks") as counter:
        return search.search(
            budget,
            backbones=tuple(FLAGS.backbone or BACKBONES),
            features=features,
            hops_ms=search.HOPS_MS if FLAGS.hop_ms is None else (features.hop_ms,),
            model_settings=settings.given(ModelConfig, names=MODEL_SETTINGS),
            num_classes=FLAGS.num_classes,
            jobs=FLAGS.jobs or len(os.sched_getaffinity(0)),
            progress=lambda done, total: counter.advance(1, total),
        )


def flag_lines(candidate, smoothing: SmoothingConfig) -> list[str]:
    """Flags with which bin/train trains this network: a preset, and what differs from it and from the defaults."""
    from kser.boards.search.grid import BASE_PRESET
    from kser.models.presets import preset

    model, name = candidate.model, candidate.preset or BASE_PRESET
    lines = [f"--backbone={model.backbone}", f"--preset={name}"]
    sizes = preset(model.backbone, name)
    # Dropout does not change the network's cost; the preset sets it.
    lines += settings.flags_for(dataclasses.replace(model, dropout=sizes.dropout), sizes)
    lines += settings.flags_for(candidate.features, FeatureConfig())
    return lines + settings.flags_for(smoothing, SmoothingConfig())


# --- The table --------------------------------------------------------------------------------------------------------


def frontier_text(found) -> str:
    """The budget, some networks on the frontier for each backbone and hop, largest first, and the choice."""
    budget, rows = found.budget, {}
    # The chosen network, which has a preset's depth, need not lie on the frontier.
    chosen = () if found.best in found.frontier else (found.best,)
    for candidate in sorted((*found.frontier, *chosen), key=lambda c: -c.capacity):
        rows.setdefault((candidate.model.backbone, candidate.features.hop_ms), []).append(candidate)
    limits = f"{budget.ram_bytes / KIB:.1f} kB of RAM and {budget.latency_ms:.0f} ms an inference"
    board = f"{budget.board.title} ({budget.board.core}, kernels {budget.board.library.kernels.name})"
    head = f"{board}: {found.tried} networks tried for {limits}"
    shown = [c for _, candidates in sorted(rows.items()) for c in _spread(candidates, found.best)]
    left = [name for name, begins in _COLUMNS.items() if begins]
    return f"{head}\n" + table_text(tuple(_COLUMNS), [_row(c, c == found.best) for c in shown], left)


def _spread(candidates: list, best) -> list:
    """ROWS of them, evenly from the first to the last, and the best."""
    if len(candidates) <= ROWS:
        return candidates
    shown = {round(i * (len(candidates) - 1) / (ROWS - 1)) for i in range(ROWS)}
    return [c for i, c in enumerate(candidates) if i in shown or c == best]


_COLUMNS = {  # by name, whether it begins alike in every row
    **{"": True, "backbone": True, "preset": True, "hop": False, "frames": False, "width": False, "layers": True},
    **{"ffn": False, "front": True, "params": False, "MACs": False, "arena": False, "RAM": False, "flash": False},
    "inference ms": False,
}


def _row(candidate, best: bool) -> tuple:
    model, features, figures = candidate.model, candidate.features, candidate.figures
    own = model.backbone == "speechformer"
    layers, front = (model.stage_layers, model.stage_widening) if own else ((model.num_layers,), model.stem_channels)
    band = figures.inference_ms
    return (
        *("*" if best else "", model.backbone, candidate.preset, f"{features.hop_ms:g}", features.num_frames),
        *(model.hidden_dim, _list(layers), model.ffn_dim, _list(front), candidate.parameters),
        *(figures.multiply_accumulates, figures.arena_bytes, f"{figures.ram_bytes / figures.free_ram_bytes:.0%}"),
        f"{figures.flash_bytes / figures.free_flash_bytes:.0%}",
        f"{band.middle:.0f} ({band.low:.0f} to {band.high:.0f})",
    )


def _list(values) -> str:
    return ",".join(map(str, values))


def run() -> None:
    define_flags()
    command.run(main)


if __name__ == "__main__":
    run()
