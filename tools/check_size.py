#!/usr/bin/python3
"""Fails when functions or files outgrow their budget: function median 12, p90 45, at most 80 lines;
file at most 900; header at most 200. A function over 80 needs a comment 'long: <reason>' in it. The
files of tests have the same budget; their functions, tables and stories mostly, have none."""
import pathlib
import statistics
import subprocess
import sys

MEDIAN, P90, HARD, FILE_MAX, HEADER_MAX = 12, 45, 80, 900, 200


def functions(paths):
    """(lines, file, line, name) of every function, read by Universal Ctags."""
    out = subprocess.run(
        ["ctags", "-x", "--c-kinds=f", "--_xformat=%N %F %n %{end}", *map(str, paths)],
        capture_output=True, text=True, check=True).stdout
    for row in out.splitlines():
        name, path, start, end = row.rsplit(" ", 3)
        if end.isdigit():
            yield int(end) - int(start) + 1, path, int(start), name


def main() -> int:
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "src")
    found = []
    files = [*root.rglob("*.[ch]"), *(p for p in (root.parent / "tests").rglob("*") if p.suffix in (".c", ".h", ".py"))]
    for path in sorted(files):
        n = len(path.read_text().splitlines())
        limit = HEADER_MAX if path.suffix == ".h" else FILE_MAX
        if n > limit:
            found.append(f"{path}: {n} lines, at most {limit}")
    sizes = sorted(functions(sorted(root.rglob("*.c"))))
    for lines, path, start, name in sizes:
        body = pathlib.Path(path).read_text().splitlines()[start - 1:start + lines]
        if lines > HARD and not any("long:" in line for line in body):
            found.append(f"{path}:{start}: {name} has {lines} lines, at most {HARD}")
    if sizes:
        lengths = [s[0] for s in sizes]
        median, p90 = statistics.median(lengths), lengths[int(len(lengths) * 0.9)]
        print(f"{len(lengths)} functions: median {median:g}, p90 {p90}, longest {lengths[-1]} lines")
        if median > MEDIAN or p90 > P90:
            found.append(f"functions grew: median {median:g} (at most {MEDIAN}), p90 {p90} (at most {P90})")
    print("\n".join(found), end="\n" if found else "")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
