"""One table of a class, as CSV: a line for each student, with the points and the language of every exercise.

    python3 tools/class_table.py results/*/grades.json > class.csv

Each file is what `check --all --json` wrote. A student is called like the folder of the file, or like the file itself.
"""

import csv
import json
import pathlib
import sys



def all_points(result):
    return result["of"] + result["not_judged"]


def points(result):
    """A number, or `7 of 7` where not all could be judged: then look, or grade again."""
    return f"{result['points']} of {result['of']}" if result["not_judged"] else result["points"]


table = csv.writer(sys.stdout)
header = None
for path in map(pathlib.Path, sys.argv[1:]):
    report = json.loads(path.read_text())
    exercises = report["exercises"]
    if header is None:
        header = [f"{exercise['id']} (of {all_points(exercise)})" for exercise in exercises]
        table.writerow(["student", *(cell for name in header for cell in (name, "language")), f"of {all_points(report)}"])
    cells = (cell for exercise in exercises for cell in (points(exercise), exercise["language"]))
    student = path.parent.name if path.stem == "grades" else path.stem
    table.writerow([student, *cells, points(report)])
