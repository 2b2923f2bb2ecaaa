#!/usr/bin/env bash
# git on a generated repository: clone, gc, fsck, log, diff, blame; output must equal a plain run.
# shellcheck source=tests/lib.sh
. "$(dirname "$0")/../lib.sh"
need git
need_lib

export GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=/dev/null HOME=$TMP GIT_TERMINAL_PROMPT=0
export GIT_AUTHOR_NAME=t GIT_AUTHOR_EMAIL=t@example.org GIT_COMMITTER_NAME=t
export GIT_COMMITTER_EMAIL=t@example.org GIT_AUTHOR_DATE='1700000000 +0000'
export GIT_COMMITTER_DATE='1700000000 +0000'

# Sources of this project as they are in the work tree, then 150 changes to them.
make_source() {
	local i f files

	git init -q -b main "$TMP/source"
	cd "$TMP/source" || exit 1
	cp -r "$ROOT/lib" "$ROOT/bench" "$ROOT/tests" .
	git add -A
	git commit -qm 'All files'
	mapfile -t files < <(git ls-files | LC_ALL=C sort)
	for ((i = 0; i < 150; i++)); do
		f=${files[i % ${#files[@]}]}
		sed -i "$((i % 20 + 1))s/\$/ change $i/" "$f"
		seq "$i" $((i + i * 20)) >"data$((i % 10))"
		git add -A
		git commit -qm "Change $i"
	done
	cd "$TMP" || exit 1
}

# Everything with a deterministic output, in one go.
work() {
	local dir=$TMP/$1

	export LD_PRELOAD=$2
	git clone -q --no-local "$TMP/source" "$dir" || return 1
	git -C "$dir" gc -q --aggressive --prune=now || return 1
	git -C "$dir" fsck --full --strict || return 1
	git -C "$dir" log --stat -p --find-renames
	git -C "$dir" log --graph --oneline --all
	git -C "$dir" diff --patience HEAD~100 HEAD
	git -C "$dir" blame --line-porcelain lib/hakmem.h
	git -C "$dir" grep -n -E 'change 1?[0-9]' HEAD~50
	git -C "$dir" rev-list --objects --all | LC_ALL=C sort
	git -C "$dir" archive HEAD | sha256sum
	unset LD_PRELOAD
}

make_source
uses_lib "git takes its malloc from the library" git -C "$TMP/source" log -p -n 20
work plain "" >"$TMP/plain.out" 2>&1
check "a plain run succeeds" test $? -eq 0
work hakmem "$LIB" >"$TMP/hakmem.out" 2>&1
check "a run under preload succeeds" test $? -eq 0
check "there is output" test "$(wc -l <"$TMP/plain.out")" -gt 5000
same "the output equals a plain run's" "$TMP/plain.out" "$TMP/hakmem.out"
finish
