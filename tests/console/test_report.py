"""The report tells what it is given, all of it, and nothing that it is not given."""

import copy
import math
import re
import stat
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from console import charts
from console.report import opening, render, write_report

SVG = "{http://www.w3.org/2000/svg}"
WHY = "fewer than 300 hold-out people: told together with the others"
SIZES = {"eu": 20_000, "us": 12_000, "sea": 1_400}


def one_region(auc, *, told=True):
    width = 0.018 if told else 0.0
    return {
        "auc": auc if told else None,
        "ci": [auc - width, auc + width] if told else None,
        "auc_exact": auc + 0.0037,
        "local_only_auc_exact": auc - (0.0124 if told else 0.0471),
        "why": None if told else WHY,
    }


def one_task(auc, oracle):
    return {
        "auc": auc,
        "ci": [auc - 0.0121, auc + 0.0119],
        "auc_exact": auc + 0.0021,
        "auc_oracle": oracle,
        "by_region": {
            "eu": one_region(auc + 0.0093),
            "us": one_region(auc - 0.0148),
            "sea": one_region(auc - 0.0372, told=False),
        },
    }


def one_population(spent, limit):
    return {
        "spent": spent,
        "reserved": spent * 1.07,
        "limit": limit,
        "period": ["2025-03-15", "2026-03-14"],
        "lifetime": spent * 1.31,
        "delta": 1.25e-06,
        "n_max": 80_000,
        "unit": "data subject",
        "relation": "add or remove one",
        "charged_as": "masks broken",
        "if": {
            "all_honest": spent * 0.61,
            "one_colludes": spent * 0.76,
            "masks_broken": spent,
            "in_two_regions": spent * 1.93,
        },
    }


def one_round(number, **figures):
    return {
        "round": number,
        "attempt": 2 if number == 7 else 1,
        "seconds": 1.31 + 0.013 * number,
        "update_norm": 1.9 * math.exp(-number / 6) + 0.31,
        "share_clipped": 0.34 + 0.4 * math.exp(-number / 4),
        "mean_norm": 0.71 + 0.5 * math.exp(-number / 5),
        "signal_to_noise": 0.4 + 3.1 * math.exp(-number / 5),
        "loss": 0.47 + 0.22 * math.exp(-number / 5),
    } | figures


def bins(bend):
    scores = [0.03, 0.09, 0.18, 0.29, 0.41, 0.55, 0.68, 0.79, 0.9]
    counts = [1210.4, 1533.9, 1107.2, 816.6, 702.3, 511.8, 344.1, 201.7, -3.2]
    return [
        {"score": score, "rate": score + bend * math.sin(9 * score), "count": count}
        for score, count in zip(scores, counts, strict=True)
    ]


@pytest.fixture
def result():
    return {
        "run": "20260314-synthetic-7c1e",
        "seconds": 48.72,
        "regions": ["eu", "us", "sea"],
        "rounds": 20,
        "tasks": {"churn": one_task(0.8142, 0.8561), "repurchase": one_task(0.7719, 0.8034)},
        "epsilon": {
            "eu": {"train": one_population(1.8713, 3.0), "holdout": one_population(0.6121, 1.0)},
            "us": {"train": one_population(1.9341, 3.5), "holdout": one_population(0.6342, 1.2)},
            "sea": {"holdout": one_population(0.6419, 1.1)},
        },
        "upstream_bytes": {"eu": 1_204_331, "us": 1_204_902, "sea": 1_187_214},
        "model": "runs/synthetic/models/7c1e.safetensors",
        "report": "runs/synthetic/report.html",
    }


@pytest.fixture
def details():
    return {
        "plan": {
            "name": "synthetic-churn",
            "purpose": "retention",
            "controller": "aurora-retail",
            "digest": "5b1f" * 16,
            "tasks": {
                "churn": "no purchase in the 90 days after 1 December 2025",
                "repurchase": "a purchase in the 30 days after 1 December 2025",
            },
            "words": [
                "24 features of the last year, scaled by noised histograms of 16 bins",
                "a logistic model with a head for each task",
                "20 rounds of 20 local steps; each person's gradient is clipped to norm 1",
                "at least 3 regions, or the attempt is given up; 2 spare attempts",
            ],
        },
        "created": "2026-03-14T09:26:53+00:00",
        "simulation": True,
        "versions": {"fedprofile": "0.1.0", "torch": "2.13.0", "flwr": "1.41.0", "dp-accounting": "0.6.1"},
        "regions": {
            name: {
                "public_size": people,
                "weight": weight,
                "contributes": name != "sea",
                "answered": 24,
                "missing": int(name == "us"),
                "log_head": f"{name}:{digit * 32}",
                "isolation": "network namespace",
            }
            for (name, people), weight, digit in zip(SIZES.items(), (0.6, 0.4, 0.04), "ab", strict=False)
        }
        | {
            "sea": {
                "public_size": SIZES["sea"],
                "weight": 0.04,
                "contributes": False,
                "answered": 25,
                "missing": 0,
                "log_head": "sea:" + "c4" * 30,
                "isolation": "in process",
            }
        },
        "curve": [one_round(number) for number in range(1, 21)],
        "reliability": {"churn": bins(0.03), "repurchase": bins(-0.05)},
        "calibration_error": {"churn": 0.0213, "repurchase": 0.0371},
        "left": {
            name: {
                "hello": {"messages": 1, "bytes": 1_144 + place},
                "analyse": {"messages": 1, "bytes": 6_420 + place},
                "train": {"messages": 21 + place, "bytes": 1_180_310 + 1_000 * place},
                "evaluate": {"messages": 1, "bytes": 4_470 + place},
            }
            for place, name in enumerate(SIZES)
        },
        "stages": [
            {"name": "read and check the data", "seconds": 6.43},
            {"name": "handshake", "seconds": 0.38},
            {"name": "scale of the inputs", "seconds": 3.12},
            {"name": "training", "seconds": 29.54},
            {"name": "evaluation", "seconds": 4.87},
            {"name": "this report", "seconds": 1.41},
        ],
        "epsilon_decided_by": {
            "eu": {"train": "PLD", "holdout": "PLD"},
            "us": {"train": "RDP filter", "holdout": "PLD"},
            "sea": {"holdout": "PLD"},
        },
    }


class Words(HTMLParser):
    """Collects what a reader sees, the elements used, and every attribute."""

    def __init__(self):
        super().__init__()
        self.seen, self.tags, self.attributes = [], [], []
        self.inside = []

    def handle_starttag(self, tag, attrs):
        """Notes the element and waits for its end."""
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in {"meta", "br", "link", "img"}:
            self.inside.append(tag)

    def handle_startendtag(self, tag, attrs):
        """Notes an element that ends where it starts."""
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        """Requires that elements end in the order in which they nest."""
        assert self.inside.pop() == tag

    def handle_data(self, data):
        """Keeps what is not style."""
        if "style" not in self.inside:
            self.seen.append(data)


def read(page):
    words = Words()
    words.feed(page)
    words.close()
    assert words.inside == []
    return words


def text(page):
    return " ".join(" ".join(read(page).seen).split())


def drawings(page):
    return [ET.fromstring(svg) for svg in re.findall(r"<svg.*?</svg>", page, re.DOTALL)]  # noqa: S314


def leaves(tree, path=()):
    if isinstance(tree, dict | list):
        steps = tree.items() if isinstance(tree, dict) else enumerate(tree)
        for step, branch in steps:
            yield from leaves(branch, (*path, step))
    elif tree is not None and not isinstance(tree, bool):
        yield path, tree


def changed(tree, path):
    fresh = copy.deepcopy(tree)
    *way, last = path
    branch = fresh
    for step in way:
        branch = branch[step]
    value = branch[last]
    match value:
        case str():
            branch[last] = f"{value}-else"
        case int():
            branch[last] = value + 1 + value // 9
        case _:
            branch[last] = value * 1.11 + 0.0137
    return fresh


def test_the_page_refers_to_nothing_outside_itself(result, details):
    page = render(result, details)
    rest = page.replace('xmlns="http://www.w3.org/2000/svg"', "")
    assert "http://" not in rest
    assert "https://" not in rest
    words = read(page)
    assert not {"script", "link", "img", "iframe", "object", "form"} & set(words.tags)
    assert "url(" not in page
    assert "@import" not in page
    assert all(value.startswith("#") for name, value in words.attributes if name in {"href", "src"})
    assert not [name for name, _ in words.attributes if name.startswith("on")]


def test_every_figure_and_name_of_the_result_is_on_the_page(result, details):
    whole = text(render(result, details))
    for path, _ in leaves(result):
        if path != ("regions", 0):
            assert text(render(changed(result, path), details)) != whole, path


def test_every_figure_and_name_of_the_details_is_on_the_page(result, details):
    details["curve"] = details["curve"][:2]
    details["reliability"] = {task: rows[:2] for task, rows in details["reliability"].items()}
    whole = text(render(result, details))
    for path, _ in leaves(details):
        assert text(render(result, changed(details, path))) != whole, path


def test_all_epsilons_of_all_populations_are_told(result, details):
    tables = text(render(result, details))
    for populations in result["epsilon"].values():
        for figures in populations.values():
            for value in (figures["spent"], figures["reserved"], figures["limit"], figures["lifetime"]):
                assert f" {value:.2f} " in tables
            for value in figures["if"].values():
                assert f" {value:.2f} " in tables
    assert "RDP filter" in tables
    assert "1.25e-6" in tables


def test_the_opening_says_what_was_asked_what_came_out_and_what_it_cost(result, details):
    asked, came_out, cost = opening(result, details)
    assert "The controller aurora-retail asked 3 regions (eu, us and sea)" in asked
    assert "1 region received the model without contributing to it" in asked
    assert "for churn, 81.4 times in 100 (AUC 0.814, 95% interval 0.802 to 0.826)" in came_out
    assert "epsilon 1.93 of the 3.50 allowed (us, training people)" in cost
    assert "by a factor of 6.9 at most, save for a chance of 1 in 800,000" in cost
    assert "in two regions epsilon is 3.73" in cost


def test_a_useless_epsilon_is_called_no_protection(result, details):
    result["epsilon"]["eu"]["train"]["spent"] = 40.0
    assert "no protection" in opening(result, details)[2]


def test_hostile_names_stay_text(result, details):
    hostile = '<script>alert("1")</script>&\x00'
    for tree in (
        result["tasks"]["churn"]["by_region"],
        result["epsilon"],
        details["left"],
        details["regions"],
    ):
        tree[hostile] = tree.pop("eu")
    result["regions"][0] = hostile
    result["upstream_bytes"][hostile] = result["upstream_bytes"].pop("eu")
    result["tasks"][hostile] = result["tasks"].pop("repurchase")
    details["plan"]["words"].append(hostile)
    details["stages"][0]["name"] = hostile
    page = render(result, details)
    assert "<script" not in page
    assert "script" not in read(page).tags
    assert len(drawings(page)) > 10


def test_each_drawing_is_valid_and_says_what_it_shows(result, details):
    found = drawings(render(result, details))
    # An overview; a plot, bars and reliability for each task; five curves; the budget; the stages.
    assert len(found) == 1 + 2 * 3 + 5 + 2
    names = [drawing.get("aria-labelledby") for drawing in found]
    assert len(set(names)) == len(names)
    for drawing in found:
        assert drawing.get("role") == "img"
        title, description = drawing.find(f"{SVG}title"), drawing.find(f"{SVG}desc")
        assert drawing.get("aria-labelledby") == f"{title.get('id')} {description.get('id')}"
        assert title.text
        assert description.text


def test_every_table_has_a_caption_and_scoped_headings(result, details):
    words = read(render(result, details))
    assert words.tags.count("table") == words.tags.count("caption")
    assert sum(name == "scope" for name, _ in words.attributes) == words.tags.count("th")


def test_a_figure_that_is_not_told_is_shown_with_its_reason(result, details):
    page = render(result, details)
    assert WHY in text(page)
    assert any(WHY in "".join(drawing.itertext()) for drawing in drawings(page))


def test_nothing_told_at_all_still_gives_a_page(result, details):
    for task in result["tasks"].values():
        task |= {"auc": None, "ci": None, "auc_exact": None, "auc_oracle": None, "by_region": {}}
    result["epsilon"] = {}
    details |= {"curve": [], "reliability": {}, "calibration_error": {}, "left": {}, "stages": []}
    details["epsilon_decided_by"] = {}
    page = text(render(result, details))
    assert "no figure could be told" in page
    assert "No privacy budget was charged" in page
    assert "No figures per round were recorded" in page


def test_missing_figures_break_a_curve_and_do_not_stop_the_page(result, details):
    details["curve"] = [one_round(1), one_round(2, loss=None), one_round(3, loss=math.nan), one_round(4)]
    for entry in details["curve"]:
        entry["mean_norm"] = None
    page = text(render(result, details))
    assert "Not recorded: mean norm before clipping" in page


def test_without_simulation_no_figure_of_a_simulation_is_shown(result, details):
    details["simulation"] = False
    details["curve"] = []
    for task in result["tasks"].values():
        for told in (task, *task["by_region"].values()):
            for key in ("auc_exact", "auc_oracle", "local_only_auc_exact"):
                told.pop(key, None)
    page = text(render(result, details))
    assert "This was a simulation" not in page
    assert "Better together" not in page


def test_one_round_and_infinite_limits_are_drawn(result, details):
    details["curve"] = [one_round(1)]
    result["epsilon"]["eu"]["train"]["limit"] = math.inf
    page = render(result, details)
    assert "∞" in page
    assert drawings(page)


@pytest.mark.parametrize(("regions", "tasks"), [(2, 1), (30, 1), (30, 6)])
def test_two_or_thirty_regions_and_one_or_many_tasks_fit(result, details, regions, tasks):
    names = [f"region-{number:02d}-of-a-long-name" for number in range(regions)]
    like = {
        "told": result["tasks"]["churn"]["by_region"]["eu"],
        "cost": result["epsilon"]["eu"],
        "left": details["left"]["eu"],
        "region": details["regions"]["eu"],
    }
    task = result["tasks"]["churn"] | {"by_region": dict.fromkeys(names, like["told"])}
    result |= {
        "regions": names,
        "tasks": {f"task-{number}": task for number in range(tasks)},
        "epsilon": dict.fromkeys(names, like["cost"]),
        "upstream_bytes": dict.fromkeys(names, 1_000),
    }
    details["left"] = dict.fromkeys(names, like["left"])
    details["regions"] = dict.fromkeys(names, like["region"])
    page = render(result, details)
    assert all(name in text(page) for name in names)
    assert drawings(page)


def test_the_file_is_readable_by_all_and_equals_the_page(result, details, tmp_path):
    path = tmp_path / "report.html"
    write_report(path, result, details)
    assert path.read_text(encoding="utf-8") == render(result, details)
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert list(tmp_path.iterdir()) == [path]


def test_the_report_needs_no_training_stack():
    lines = "import sys, console.report; sys.exit(bool({'torch', 'flwr', 'opacus'} & set(sys.modules)))"
    folder = Path(__file__).parents[2]
    assert subprocess.run([sys.executable, "-c", lines], cwd=folder, check=False).returncode == 0


NUMBERS = st.floats(-1e12, 1e12) | st.sampled_from([math.nan, math.inf, -math.inf])


@settings(max_examples=60, deadline=None)
@given(
    names=st.lists(st.text(max_size=40), min_size=1, max_size=5),
    numbers=st.lists(NUMBERS, min_size=4, max_size=4),
    curve=st.lists(st.tuples(st.floats(0, 1e6), st.none() | NUMBERS), max_size=8),
)
def test_any_names_and_numbers_make_a_valid_drawing(names, numbers, curve):
    first, second, third, fourth = numbers
    about = {"title": names[0], "description": names[-1]}
    intervals = [
        charts.IntervalRow(
            name, first, (second, third), name, (("diamond", fourth), ("triangle", None)), name
        )
        for name in names
    ]
    pairs = [charts.PairRow(name, first, second, name) for name in names]
    budgets = [charts.BudgetRow(name, first, second, third, fourth, name) for name in names]
    stages = [charts.StageRow(name, 0.0, name) for name in names]
    for drawing in (
        charts.interval_plot(intervals, legend={"dot": names[0]}, **about),
        charts.auc_bars(pairs, **about),
        charts.budget_bars(budgets, **about),
        charts.line_chart(curve, across=names[0], **about),
        charts.reliability_plot([(first, second, third)], **about),
        charts.stage_timeline(stages, **about),
    ):
        assert ET.fromstring(drawing).get("role") == "img"  # noqa: S314
        assert "nan" not in re.sub(r">[^<]*<", "", drawing)
