#!/usr/bin/env bash
# timeout: 240
# hakstat top on a real terminal of 80 by 24: what is on the screen after which key. Needs root.
# shellcheck source=tests/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

need tmux
need_lib
export TERM=xterm-256color TMUX_TMPDIR=$TMP
unset NO_COLOR TMUX
LD_PRELOAD=$LIB "$BUILD/bench/workload" 2 100 20000 20000 >/dev/null 2>&1 &
target=$!
end_at_exit $target
wait_for 10 maps_lib $target

on() { tmux -L hakmem -f /dev/null "$@"; }
screen() { on capture-pane -p -t top; }
keys() { on send-keys -t top "$@"; }
shows() { screen | grep -qE -- "$1"; }
hides() { ! shows "$1"; }
line() { screen | sed -n "$1p"; }
items() { screen | head -n 5 | sed 's/   /\n/g'; }
whole_items() { hides CACHED && [[ $(items | wc -l) -ge 8 && -z $(items | grep -vxFf "$TMP/items") ]]; }
appears() { check "$1" wait_for 8 shows "$2"; } # NAME PATTERN

on new-session -d -s top -x 80 -y 24 "'$HAKSTAT' top -p $target -d 0.5; echo ended with \$?; sleep 60"
end_at_exit "$(on display -p '#{pid}')"
appears "the classes come by themselves" '^ *SIZE +ALLOC/s'
check "the narrow table keeps what matters" grep -q 'HELD' <(line 7)
appears "how many rows there are, and which of them these" '^rows 1-15 of [2-9][0-9]$'

# the same numbers, on fewer columns: an item is there as it is, or not at all
keys ' '
appears "pause" 'PAUSED'
on resize-window -t top -x 150 -y 40
wait_for 5 shows CACHED
items >"$TMP/items"
for width in 80 72 64 56 48; do
	on resize-window -t top -x $width -y 24
	check "$width columns: no item of the header is cut" wait_for 4 whole_items
done
on resize-window -t top -x 80 -y 24
keys -
appears "all keys are named in 80 columns" '^PAUSED .* 0.25s .*quit$'
keys + ' '
wait_for 5 hides PAUSED

keys '?'
appears "help" '^Keys'
appears "help says how to go on" 'down and up scroll'
for _ in 1 2 3; do keys Down Down Down Down Down Down Down Down Down Down; done
appears "help scrolls to the last column" '^  CACHED '
keys Up
check "and back at once" wait_for 5 hides '^  CACHED '
keys x
appears "any other key closes it" '^ *SIZE +ALLOC/s'

first=$(line 8 | cut -c 1-6)
for _ in 1 2 3 4 5 6 7 8; do keys Down Down Down Down Down Down Down Down Down Down; done
check "with the cursor at the end the first class is gone" wait_for 5 hides "^$first "
appears "the last rows are told to be the last" '^rows [0-9]+-([0-9]+) of \1$'
keys PPage
check "a screen of rows up" wait_for 5 hides '^rows [0-9]+-([0-9]+) of \1$'
for _ in 1 2 3 4 5 6; do keys Up Up Up Up Up Up Up Up Up Up; done
check "60 times Up brings it back, though Down was pressed 80 times" wait_for 5 shows "^$first "

keys / 1 6 3 Enter
appears "the bottom line shows the filter" 'filter: 163 \(Esc clears\)'
check "it keeps the row" shows '^ 16384 '
check "it hides the others" hides '^ *64 '
keys Escape / k Enter
sleep 1
check "rates do not match it" shows 'no row matches'
keys Escape
appears "Esc brings all rows back" '^ *64 '

keys Tab
appears "Tab: the next view, which is contention" 'LOCK +OWNER'
appears "whose futex waits: a note in two lines" '^wait_bitset \(conditions, semaphores, idle\)|in wait_bitset'
keys 3
appears "system calls" 'CALL +REASON'
keys 4
appears "threads" '^workload +[0-9]+ '
keys 5
appears "routes" 'FROM +TO +REQ/s'
keys 6
appears "remote frees" '^workload +[0-9]* *workload '
keys 7
appears "memory adds up" '^metadata +[1-9][0-9]+ '
appears "to the sum below it" '^together [1-9][0-9]+ bytes'
keys 8
appears "memory by class" 'SIZE +PAGES'
keys 0
appears "live memory as a tree" '^CALL +LIVE B +LIVE%'
appears "functions below those that call them" '^ +- one_request '
appears "the tree tells which rows these are" '^rows 1-15 of '
check "what was there before is in it" wait_for 8 shows '\[before attach\] '
keys c
appears "c turns it round: what allocates comes first" '^[-+] (make_value|set|get|one_request) '
keys / m a k e _ v Enter
appears "a search hides what does not match" 'filter: make_v'
check "and what calls it" hides '\[class'
keys Escape c
appears "and back" '^ +- one_request '
keys Enter
appears "Enter closes the first row" '^\+ '
keys Right
appears "the right arrow opens it" '^- '
# shellcheck disable=SC2317 # called by wait_for
rows_have_histories() { # below the header, which has some of its own
	[[ $(screen | sed -n '8,20p' | grep -cE '[_.:=+*#-]{3}$|(▁|▂|▃|▄|▅|▆|▇|█){3}$') -ge 5 ]]
}
keys 1
appears "classes once more" '^ *SIZE +ALLOC/s'
check "no histories unless asked for" eval '! rows_have_histories'
keys g
check "history of the sort column, row by row" wait_for 8 rows_have_histories
check "no line is wider than the screen" eval '[[ $(screen | LC_ALL=C.UTF-8 wc -L) -le 80 ]]'
keys g
on resize-window -t top -x 150 -y 40
for view in 1 2 3 4 5 6 7 8 9 0; do
	keys $view '?'
	appears "help of view $view" '^Columns of'
	check "it fits in 80 columns" test -z "$(screen | awk 'length > 80')"
	keys x
	wait_for 5 hides '^Columns of'
done
keys 1
appears "classes again" '^ *SIZE +ALLOC/s'
keys / 4 0 9 6 0 Enter
appears "one class" 'filter: 40960'
keys Enter
appears "Enter: the stacks that refill it" '^ *EVENTS .*CALLERS'
appears "they come by and by" '^refill, class 40960, for [0-9]+ s: [1-9]'
appears "the stack under the cursor, line by line" '^  (one_request|get|set|make_value) .*workload'
appears "to the start of its thread" '^  start_thread'
appears "how they were taken and unwound" '^unwound by CFI [0-9]+, by frame pointers'
appears "what was left out, or that it is all" '^[0-9]+ events( \(exact\))?, (stacks of )?[0-9]+ '
appears "how to leave" 'Esc back'
keys Escape
appears "Esc goes back to the classes" '^ *SIZE +ALLOC/s'
keys 2
appears "contention again" '^LOCK '
keys / s e g m e n t s Enter
appears "one lock" 'filter: segments \('
appears "and its row" '^arena '
keys Enter
appears "Enter on a lock: stacks of its waits" '^lock_wait_done, arena, for'
keys Escape
appears "Esc goes back to the locks" '^LOCK '
keys 5
appears "routes again" '^ *!? *FROM '
keys Enter
appears "Enter on a size: stacks of its refills" '^refill, class [0-9]+, for'
keys Escape
appears "Esc goes back to the routes" '^ *!? *FROM '
keys 4
appears "threads again" '^ *THREAD '
keys Enter
appears "Enter where there are no stacks says so" 'rows of this view have no stacks'
keys 1
on resize-window -t top -x 40 -y 10
appears "a small terminal" '^ *SIZE +ALLOC/s'
appears "with more of its lines for rows than for the header" '^rows 1-5 of '
appears "and a way out" 'help q quit$'
check "nothing is wider than it" eval '[[ $(screen | LC_ALL=C.UTF-8 wc -L) -le 40 ]]'
on resize-window -t top -x 150 -y 40
appears "a large one shows every column" 'CACHED'
keys q
appears "q ends it with 0" 'ended with 0'
on kill-session -t top
wait_for 5 eval '! on list-sessions' # the server goes with its last session

on new-session -d -s top -x 80 -y 24 "'$HAKSTAT' top -p $target -d 0.5 --view threads; sleep 60"
appears "--view: the one to begin with" '^THREAD +TID'
on kill-session -t top
wait_for 5 eval '! on list-sessions' # the server goes with its last session
for view in memory 5 locks; do
	"$HAKSTAT" top -b -p $target -d 0.2 -n 1 --view $view >"$TMP/$view" 2>"$TMP/err" </dev/null
done
check "top -b --view memory: with its sum" grep -q '^ together [1-9][0-9]* bytes' "$TMP/memory"
check "top -b --view 5: by its key" grep -q '^  *FROM  *TO  *REQ/s' "$TMP/5"
check "top -b --view locks: with its split" grep -q '^ asleep in futex(2): allocator' "$TMP/locks"
"$HAKSTAT" top -b -p $target --view nosuch >"$TMP/out" 2>"$TMP/err"
status=$?
check "an unknown view: 2, and what there is" eval '[ $status -eq 2 ] && grep -q "there are classes locks" "$TMP/err"'

on new-session -d -s top -x 80 -y 24 "TERM=nosuch '$HAKSTAT' top -p $target -n 2 -d 0.2; echo ended with \$?; sleep 60"
appears "a terminal nobody knows gets plain frames" 'ended with 0'
on kill-session -t top
wait_for 5 eval '! on list-sessions' # the server goes with its last session

on new-session -d -s top -x 80 -y 24 "trap '' HUP; sh -c 'echo \$\$ >$TMP/pid; exec \"$HAKSTAT\" top -p $target'"
appears "the screen once more" '^ *SIZE +ALLOC/s'
end_at_exit "$(cat "$TMP/pid")"
on kill-server
check "it ends with its terminal" wait_for 5 gone "$(cat "$TMP/pid")"

# make is on the same terminal: it must not take Ctrl-C for its own
on new-session -d -s top -x 80 -y 24 -c "$ROOT" "HAK_DEMO_LOAD=workload make -s demo NO_DEPS=1; echo ended with \$?; sleep 60"
check "make demo comes to a screen" wait_for 60 shows '^ *SIZE +ALLOC/s'
keys C-c
appears "Ctrl-C ends make demo with 0" 'ended with 0'
check "and its server" shows 'demo: ended'
on kill-server

# Bars of the histories by the locale; colours unless NO_COLOR says none.
in_terminal() { # VARIABLE=VALUE...: what top writes in three frames
	python3 - "$target" "$@" <<'END'
import os, pty, sys
os.environ.update({"TERM": "xterm-256color", "LC_ALL": "C"}, **dict(a.split("=") for a in sys.argv[2:]))
pty.spawn([os.environ["HAKSTAT"], "top", "-p", sys.argv[1], "-d", "0.2", "-n", "3"], stdin_read=lambda fd: b"")
END
}
in_terminal LC_ALL=C >"$TMP/ascii" </dev/null
in_terminal LC_ALL=C.UTF-8 >"$TMP/utf8" </dev/null
in_terminal LC_ALL=C NO_COLOR=1 >"$TMP/plain" </dev/null
check "top by LC_ALL=C: nothing but ASCII" eval 'grep -qa "SIZE" "$TMP/ascii" && ! LC_ALL=C grep -qaP "[\x80-\xff]" "$TMP/ascii"'
check "top by a locale of UTF-8: bars" grep -qaE '▁|▂|▃|▄|▅|▆|▇|█' "$TMP/utf8"
colour=$'\033\\[([0-9;]*;)?3[0-7](;[0-9]*)?m'
check "top has colours" grep -qaE "$colour" "$TMP/ascii"
check "top by NO_COLOR has none" eval 'grep -qa "SIZE" "$TMP/plain" && ! grep -qaE "$colour" "$TMP/plain"'

# A reader that goes away is no failure; a full disk is.
for command in "top -b" stat; do
	# shellcheck disable=SC2086
	"$HAKSTAT" $command -p $target -d 0.2 2>"$TMP/err" | head -n 1 >/dev/null
	check "$command | head ends with 0" [ "${PIPESTATUS[0]}" -eq 0 ]
	check "$command | head says nothing" test ! -s "$TMP/err"
done
"$HAKSTAT" top -b -p $target -d 0.2 -n 1 2>/dev/null >/dev/full
check "a full disk is a failure" [ $? -eq 1 ]
finish
