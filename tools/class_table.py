"""One table of a class, as CSV: a line for each student, with the points and the language of every exercise.

    python3 tools/class_table.py results/*/grades.json > class.csv

Each file is what `check --all --json` wrote. A student is called like the folder of the file, or like the file itself.
"""

import csv
import json
import pathlib
import sys

table = csv.writer(sys.stdout)
header = None
for path in map(pathlib.Path, sys.argv[1:]):
    report = json.loads(path.read_text())
    exercises = report["exercises"]
    if header is None:
        header = [f"{exercise['id']} (of {exercise['of']})" for exercise in exercises]
        table.writerow(["student", *(cell for name in header for cell in (name, "language")), f"of {report['of']}"])
    cells = (cell for exercise in exercises for cell in (exercise["points"], exercise["language"]))
    student = path.parent.name if path.stem == "grades" else path.stem
    table.writerow([student, *cells, report["points"]])
