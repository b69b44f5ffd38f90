"""Tables and the figure of a comparison that `compare_healing.py` made.

usage: healing_report.py OUT_DIR      draws and writes comparison.md and comparison.svg anew, from comparison.json
"""

import json
import math
import pathlib
import statistics
import sys

# The two-sided 95 % points of Student's t, by degrees of freedom.
STUDENT = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262}
# Okabe and Ito's colours.
COLOURS = {"patch": "#009e73", "lora": "#d55e00", "distill": "#0072b2", "last-layers": "#b84a8c"}


def main():
    out = pathlib.Path(sys.argv[1])
    write_report(out, json.loads((out / "comparison.json").read_text()))


def write_report(out, results):
    write(out / "comparison.json", json.dumps(results, indent=1) + "\n")
    write(out / "comparison.md", tables(results))
    write(out / "comparison.svg", figure(results))


def write(path, text):
    part = path.with_name(path.name + ".part")
    part.write_text(text, encoding="utf8")
    part.rename(path)


def tables(results):
    """A table for each share of layers dropped and each text."""
    lines = [f"# {results['model']}: what healing brings back", ""]
    lines += [f"Nats a token on held-out text (at most {results['settings']['windows']} windows of 128 predictions, each after the begin token alone), in f32 and"]
    lines += ["as a 4-bit pack. Gap closed: 1 where the loss is the full model's again, 0 where it is the cut's; several seeds: mean and 95 % interval"]
    lines += ["(Student's t). To control: the same share of the gap to the whole model that learned the same text by the same method, in f32, which takes out"]
    lines += ["what more training on the text gives any model. The random block is another for each seed.", ""]
    for drop in sorted({run["drop"] for run in results["runs"]}):
        for text in results["texts"]:
            full = results["full"]
            what = f"{drop} % of the layers dropped" if drop else "The whole model, trained on the text"
            lines += [f"## {what}, {text}", ""]
            lines += [f"Full model: {full['f32'][text]:.4f}, in 4 bits {full['q4'][text]:.4f}.", ""]
            lines += ["| plan | method | loss, f32 | gap closed | to control | loss, 4 bits | gap closed | tokens | seconds |", "|---|---|---|---|---|---|---|---|---|"]
            for (plan, method), runs in groups(results["runs"], drop).items():
                cells = [plan, method]
                for kind in ("f32", "q4"):
                    cells.append(estimate([run["loss"][kind][text] for run in runs], 3))
                    gaps = [run["gap_closed"][kind].get(text) for run in runs if run.get("gap_closed")]
                    cells.append("" if method == "none" or None in gaps or not gaps else estimate(gaps, 2))
                    if kind == "f32":
                        shares = [share for share in (share_of_control(results["runs"], run, text) for run in runs) if share is not None]
                        cells.append(estimate(shares, 2) if shares else "")
                tokens = [run["tokens"] for run in runs if run.get("tokens")]
                cells.append(f"{statistics.mean(tokens) / 1e6:.2f} M" if tokens else "")
                seconds = [run["seconds"] for run in runs if run.get("seconds")]
                cells.append(f"{statistics.mean(seconds):.0f}" if seconds else "")
                lines.append("| " + " | ".join(cells) + " |")
            lines.append("")
    return "\n".join(lines)


def share_of_control(runs, run, text):
    """Share of the gap to the whole model trained equally that a run closed, in f32; None where there is no such control."""
    if run["drop"] == 0:
        return None
    cuts = [other["loss"]["f32"][text] for other in runs if is_cut_of(other, run)]
    controls = [other["loss"]["f32"][text] for other in runs if other["drop"] == 0 and other["method"] == run["method"]]
    if not cuts or not controls:
        return None
    return (cuts[0] - run["loss"]["f32"][text]) / (cuts[0] - statistics.mean(controls))


def is_cut_of(other, row):
    """Whether a run is the same cut, not healed."""
    same = all(other[key] == row[key] for key in ("plan", "drop"))
    return same and other["method"] == "none" and (row["plan"] != "random" or other["seed"] == row["seed"])


def groups(runs, drop):
    """Runs that differ in their seed alone, in the order they were made."""
    found = {}
    for run in runs:
        if run["drop"] == drop:
            found.setdefault((run["plan"], run["method"]), []).append(run)
    return dict(sorted(found.items(), key=lambda group: list(dict.fromkeys(run["plan"] for run in runs)).index(group[0][0])))


def estimate(values, digits):
    mean = statistics.mean(values)
    if len(values) < 2:
        return f"{mean:.{digits}f}"
    half = STUDENT.get(len(values) - 1, 1.96) * statistics.stdev(values) / math.sqrt(len(values))
    return f"{mean:.{digits}f} ({mean - half:.{digits}f} to {mean + half:.{digits}f})"


PLOT, LEFT, TOP, BOTTOM, RIGHT = (300, 200), 60, 78, 50, 20


def figure(results):
    """Held-out loss while healing: a panel for each plan and share dropped, a line for each seed."""
    panels = list(dict.fromkeys((run["drop"], run["plan"]) for run in results["runs"] if run["curve"]))
    # A row for each share dropped, the control of nothing dropped last.
    drops = sorted({drop for drop, _ in panels}, key=lambda drop: (drop == 0, drop))
    rows = [[panel for panel in panels if panel[0] == drop] for drop in drops]
    if all(len(row) == 1 for row in rows):
        # One plan: the shares stand side by side.
        rows = [[panel for row in rows for panel in row]]
    across, down = LEFT + PLOT[0] + RIGHT, PLOT[1] + BOTTOM + 34
    width, height = across * max([2, *map(len, rows)]), TOP + down * len(rows)
    shapes = [f'<rect width="{width}" height="{height}" fill="#ffffff"/>', text(16, 26, f"{results['model']}: held-out loss while healing", 15)]
    for at, (method, colour) in enumerate((method, colour) for method, colour in COLOURS.items() if method != "patch"):
        shapes += [line([(16 + 130 * at, 48), (40 + 130 * at, 48)], colour, 2), text(46 + 130 * at, 52, method, 12)]
    shapes += [text(16 + 130 * 3, 52, "grey: as cut", 12, "#777777")]
    for row, shown in enumerate(rows):
        for column, (drop, plan) in enumerate(shown):
            corner = (LEFT + across * column, TOP + 24 + down * row)
            title = f"{plan}, {drop} % dropped" if drop else "the whole model, trained on"
            shapes += panel(corner, title, [run for run in results["runs"] if (run["drop"], run["plan"]) == (drop, plan)])
    body = "\n".join(shapes)
    return f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" font-family="Roboto, Helvetica, Arial, sans-serif">\n{body}\n</svg>\n'


def panel(corner, title, runs):
    runs = [run for run in runs if run["curve"]]
    points = [point for run in runs for point in run["curve"]]
    most_step = max(step for step, _ in points) or 1
    step = nice((max(loss for _, loss in points) - min(loss for _, loss in points)) / 4 or 0.01)
    low = math.floor(min(loss for _, loss in points) / step) * step
    high = math.ceil(max(loss for _, loss in points) / step) * step

    def place(at, loss):
        return corner[0] + PLOT[0] * at / most_step, corner[1] + PLOT[1] * (high - loss) / (high - low)

    shapes = [text(corner[0], corner[1] - 10, title, 13)]
    for tick in range(round((high - low) / step) + 1):
        loss = low + tick * step
        x, y = place(0, loss)
        shapes += [line([(x, y), (x + PLOT[0], y)], "#e6e6e6", 0.7), text(x - 8, y + 4, f"{loss:.{max(0, -math.floor(math.log10(step)))}f}", 10.5, anchor="end")]
    for share in (0, 0.5, 1):
        x, y = place(share * most_step, low)
        shapes += [line([(x, y), (x, y + 4)], "#222222", 1), text(x, y + 16, f"{share * most_step:.0f}", 10.5, anchor="middle")]
    shapes += [text(corner[0] + PLOT[0] / 2, corner[1] + PLOT[1] + 32, "step", 11.5, anchor="middle")]
    cut = statistics.mean(run["curve"][0][1] for run in runs)
    shapes += [line([place(0, cut), place(most_step, cut)], "#777777", 1, "2 2.5")]
    for run in runs:
        shapes.append(line([place(*point) for point in run["curve"]], COLOURS.get(run["method"], "#222222"), 1.4))
    frame = [(corner[0], corner[1]), (corner[0], corner[1] + PLOT[1]), (corner[0] + PLOT[0], corner[1] + PLOT[1])]
    return [*shapes, line(frame, "#222222", 1)]


def nice(least):
    """The next of 1, 2 and 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(times * power for times in (1, 2, 5, 10) if times * power >= least * 0.999)


def line(points, colour, width, dash=None):
    places = " ".join(f"{x:.2f},{y:.2f}" for x, y in points)
    dash = f' stroke-dasharray="{dash}"' if dash else ""
    return f'<polyline points="{places}" fill="none" stroke="{colour}" stroke-width="{width}"{dash}/>'


def text(x, y, words, size, colour="#222222", anchor="start"):
    words = words.replace("&", "&amp;").replace("<", "&lt;")
    return f'<text x="{x:.2f}" y="{y:.2f}" font-size="{size}" text-anchor="{anchor}" fill="{colour}">{words}</text>'


if __name__ == "__main__":
    main()
