#!/bin/sh
# Grades a student's copy so that nothing in it can change the result. Needs root, Linux, and the program compiled here:
#
#   cargo build && sudo env "PATH=$PATH" tools/grade.sh ../students/ada results/ada
#
# What the student wrote is built and run as a user of its own. That user can write neither the program that examines it
# nor the result, which is handed over only when every process of that user has ended.
set -eu
copy=$(realpath "$1")
program=$(realpath "$(dirname "$0")/../target/debug/tcp-pitfalls")
mkdir -p "$2"
results=$(realpath "$2")

user=pitfalls-student
id "$user" >/dev/null 2>&1 || useradd --create-home "$user"
home=$(getent passwd "$user" | cut -d: -f6)
# rustup's own cargo looks for its toolchains in the home folder, which is another one there.
tools=$(dirname "$(rustup which cargo 2>/dev/null || command -v cargo)")
as_student="setpriv --reuid=$user --regid=$user --clear-groups --no-new-privs"
as_student="$as_student env HOME=$home"

work=$(mktemp -d)
hidden=$(mktemp -d)
end() { $as_student sh -c 'kill -KILL -1' || true; }
trap 'end; rm -rf "$work" "$hidden"' EXIT

tar -C "$copy" --exclude=./target --exclude=./.tcp-pitfalls-progress.json -cf - . | tar -C "$work" --no-same-owner -xf -
# Read by root, a link would show what only root may read.
find "$work" -type l -delete
chown -R --no-dereference "$user" "$work"

cd "$work"
status=0
env -i "PATH=$tools:$PATH" "$program" check --all --under "$as_student" --json "$hidden/grades.json" --junit "$hidden/grades.xml" || status=$?
end
cp "$hidden"/grades.* "$results/"
exit "$status"
