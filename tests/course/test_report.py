"""The report of a run has each number in its place."""

import re

import pytest

from course.report import arms_tables, write_report
from helpers import files
from helpers.arms import ARMS, IN_NOTEBOOK


def test_the_report_prints_what_metrics_hold(smoke, metrics):
    html = (smoke[0] / "report.html").read_text().replace("\N{NO-BREAK SPACE}", " ")
    for arm in (*metrics["arms"].values(), *metrics["bundled"].values()):
        for key in ("accuracy", "sensitivity", "specificity", "fresh_accuracy"):
            assert f"{100 * arm[key]:.1f} %" in html
    for name, found in metrics["audit"].items():
        assert f"{name}: {found['warning']}" in html
    assert metrics["verdict"]["text"].split(".")[0] in html
    assert metrics["data"]["fingerprint"] in html
    assert html.count("data:image/png;base64,") >= 8
    assert not re.search(r'(src|href)="(?!data:)', html), "the report must open offline"


@pytest.mark.parametrize("protocol", ["steps", "paper"])
@pytest.mark.parametrize("balanced", [False, True])
def test_the_report_has_each_score_in_its_arms_row_and_column(
    metrics, tmp_path, protocol, balanced
):
    """Scores all different, so that no two can change places unseen."""
    keys = ("accuracy", "sensitivity", "specificity", "fresh_accuracy", "auc")

    def invent(names, base, *, last):
        arms = {}
        for k, name in enumerate(names):
            scores = {key: 0.1 * n + base + 0.01 * k for n, key in enumerate(keys, start=3)}
            intervals = {f"{key}_ci": [scores[key] - 0.05, scores[key] + 0.04] for key in keys[:3]}
            intervals |= {"balanced_accuracy": base + 0.11 + 0.01 * k}
            intervals |= {"balanced_accuracy_ci": [base, base + 0.22]}
            right = k if balanced else 4
            arms[name] = scores | intervals | {"confusion": [[right, 1], [2, 3]]}
            arms[name] |= {"last_epoch_accuracy": 0.8 + 0.01 * k} if last else {}
        return arms

    assert set(metrics["arms"]) < set(metrics["bundled"]) == set(IN_NOTEBOOK)
    arms = invent(metrics["arms"], 0, last=protocol == "paper")
    beside = invent(metrics["bundled"], 0.005, last=False)
    changed = {"arms": arms, "bundled": beside, "protocol": protocol}
    files.write_json(tmp_path / "metrics.json", metrics | changed)
    html = write_report(tmp_path).read_text().replace("\N{NO-BREAK SPACE}", " ")
    tables = html[html.index("<h2>Arms</h2>") :].split("<table>")[1:3]
    for table, scores in zip(tables, (arms, beside), strict=True):
        table = table.split("</table>")[0]
        assert ("EfficientNet" in table) == (scores is beside)
        head, *rows = [
            re.findall("<t[dh]>(.*?)</t[dh]>", row, re.DOTALL) for row in table.split("<tr>")[1:]
        ]
        if balanced:
            assert head.pop(1) == "balanced accuracy" and "balanced accuracy decides" in table
        names = ["arm", "accuracy", "sensitivity", "specificity", "AUC", "tn fp / fn tp"]
        assert head[:6] == names and head[6].startswith("on 64 fresh")
        for (title, *cells), (name, arm) in zip(rows, scores.items(), strict=True):
            assert title == ARMS[name].title
            for key in ("balanced_accuracy", *keys[:3])[not balanced :]:
                low, high = (f"{100 * end:.0f}" for end in arm[f"{key}_ci"])
                share, ends = cells.pop(0).split("<br>")
                assert share == f"{100 * arm[key]:.1f} %"
                assert re.findall(r"\d+", ends) == [low, high]
            right = arm["confusion"][0][0]
            assert cells[:3] == [
                f"{arm['auc']:.2f}", f"{right} 1 / 2 3", f"{100 * arm['fresh_accuracy']:.1f} %",
            ]  # fmt: skip
            last = arm.get("last_epoch_accuracy")
            assert cells[3:] == ([] if last is None else [f"{100 * last:.1f} %"])
    said = arms_tables(metrics | changed)
    assert ("balanced accuracy" in said) == balanced and said.count("AUC") == 2
    for scores in (arms, beside):
        for arm in scores.values():
            assert f"{100 * arm['specificity']:.1f} %" in said


def test_bundled_alone_has_one_table(metrics):
    alone = {"arms": metrics["bundled"], "classifier": metrics["classifier"] | {"name": "bundled"}}
    said = arms_tables(metrics | alone)
    assert said.count("AUC") == 1 and said.count("classic + GAN") == 1


def test_the_report_has_each_measure_under_its_class(metrics, tmp_path):
    """Those of one class measured, the other's refused."""
    of_classes = ("precision", "recall", "density", "coverage")
    measured = {name: k / 10 for k, name in enumerate(of_classes, start=1)} | {
        "kid": 0.52, "kid_ci": [0.18, 0.87], "kid_floor": 0.03, "realism": {"accuracy": 0.66},
    }  # fmt: skip
    measured |= {f"{name}_expected": 0.97 for name in of_classes}
    by_judge = measured | {"kid": 0.11, "realism": {"accuracy": 0.55}}
    by_judge |= {name: k / 20 for k, name in enumerate(of_classes, start=1)}
    measured = measured | {
        "spaces": {"imagenet": measured, "judge": by_judge}, "judge_agreement": 0.84, "refused": [],
        "verdict": ["They do not resemble the real ones."],
        "copying": {
            "share": 0.12, "ci": [0.08, 0.17], "flagged": True, "repeats": True, "repeats_p": 0.001,
        },
    }  # fmt: skip
    audits = {"haemorrhage": measured, "clear": {"refused": ["Copying needs more."]}}
    files.write_json(tmp_path / "metrics.json", metrics | {"audit": audits})
    html = write_report(tmp_path).read_text().replace("\N{NO-BREAK SPACE}", " ")
    rows = [re.findall(r"<t[dh]>(.*?)</t[dh]>", row) for row in html.split("<tr>")]
    shown = {cells[0]: cells[1:] for cells in rows if len(cells) == 3}
    assert shown["measure"] == ["haemorrhage", "clear"]
    for space, value in (("ImageNet", 0.52), ("judge", 0.11)):
        cell = f"{value:.2f} (under 0.03)<br><small>0.18 to 0.87</small>"
        assert shown[f"KID, {space}"] == [cell, "not measured"]
    for k, name in enumerate(of_classes, start=1):
        assert shown[f"{name}, ImageNet"] == [f"0.{k}0 (0.97)", "not measured"]
        assert shown[f"{name}, judge"] == [f"{k / 20:.2f} (0.97)", "not measured"]
    assert shown["told apart from real slices, ImageNet"] == ["66.0 % (50 %)", "not measured"]
    assert shown["told apart from real slices, judge"] == ["55.0 % (50 %)", "not measured"]
    copies = "12.0 %<br><small>8.0 % to 17.0 %</small>"
    assert shown["copies of training images"] == [copies, "not measured"]
    assert "haemorrhage: They do not resemble the real ones." in html
    assert shown["the label agrees"] == ["84.0 %", "unknown"]
    assert "clear: Copying needs more." in html
