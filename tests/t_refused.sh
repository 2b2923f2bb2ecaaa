#!/usr/bin/env bash
# timeout: 240
# alone: overcommit is everybody's
# What happens when the system says no: seccomp filters, limits of a process, a memory cgroup, no
# overcommit. NULL and ENOMEM or less memory kept, never a crash, contents as they were. Needs
# root for the last two; vm.overcommit_memory is 2 for about a second.
# shellcheck source=tests/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=tests/helpers/modes.sh
. "$ROOT/tests/helpers/modes.sh"

need_lib
for program in refused old_mremap; do
	build_modes "$program"
	in_modes "$program"
done

# What t_faults refuses is all there is: what else the library takes from libc makes no system call
# that can fail. msync asks about a move that was refused (helpers/old_mremap.c), write tells of
# misuse.
pure='mem(cpy|move|set|cmp)|bcmp|abort|secure_getenv|getauxval|getpid|getpagesize|sched_yield|dlsym'
pure+='|f(printf|write|put[sc]|error)|__errno_location|__popcountdi2|msync|_GLOBAL_OFFSET_TABLE_|_Z.*|__cxa_.*'
nm -u "$BUILD/libhakmem.a" | awk 'NF == 2 { print $2 }' | grep -Evx "$pure" | sort -u >"$TMP/asked"
nm "$BUILD/tests/t_faults" | sed -n 's/.* T __wrap_//p' | sort >"$TMP/wrapped"
same "t_faults refuses every call the library makes" "$TMP/asked" "$TMP/wrapped"

# A program that starts with little: address space (-v) or data (-d), in KiB.
# shellcheck disable=SC2317 # called by check
starts() { # PROGRAM... ; the limit is the program's alone
	# shellcheck disable=SC2016 # the inner shell's words
	[[ $(HAKMEM_SECURE=$secure timeout 20 bash -c 'ulimit "$1" "$2" && shift 2 && exec "$@"' - "$@" start) == works ]]
}
for secure in 0 1; do
	for mode in $MODES; do
		command_of "$mode" refused
		name=$mode$( ((secure)) && echo /secure)
		check "$name: works with 24 MB of address space" starts -v 24000 "${command[@]}"
		check "$name: works with 16 MB of data" starts -d 16000 "${command[@]}"
	done
done

[[ $(id -u) -eq 0 ]] || { skip "overcommit and cgroups" "needs root"; finish; }

# Whatever ends this test, the setting is put back: by the shell beside it, which sees it go.
commit_limit() { awk '$1 == "CommitLimit:" { printf "%.0f\n", $2 * 1024 }' /proc/meminfo; }
# shellcheck disable=SC2317 # called by check
without_overcommit() { # COMMAND...
	local was keeper status

	# one at a time on this machine; the keeper has the lock, too, until it is done
	exec 9</proc/sys/vm/overcommit_memory
	flock -w 60 9 || return 1
	was=$(cat /proc/sys/vm/overcommit_memory)
	: >"$TMP/keeper"
	# shellcheck disable=SC2016 # the inner shell's words
	setsid bash -c 'while [[ -e $3 ]] && grep -q "^State:.[^Z]" "/proc/$1/status" 2>/dev/null; do
			sleep 0.1
		done
		echo "$2" >/proc/sys/vm/overcommit_memory' - $$ "$was" "$TMP/keeper" &
	keeper=$!
	[[ -d /proc/$keeper ]] || return 1
	echo 2 >/proc/sys/vm/overcommit_memory
	timeout 20 "$@" 9<&-
	status=$?
	echo "$was" >/proc/sys/vm/overcommit_memory
	rm -f "$TMP/keeper"
	wait "$keeper"
	exec 9<&-
	[[ $(cat /proc/sys/vm/overcommit_memory) == "$was" ]] && return "$status"
}
# More than the system may promise, less than the machine has: only a strict system refuses it.
too_much=$(($(commit_limit) + (64 << 20)))
for secure in 0 1; do
	for mode in preload static-pie; do
		command_of $mode refused
		check "no overcommit, $mode$( ((secure)) && echo /secure): $too_much bytes are refused, the rest works" \
			without_overcommit env "HAKMEM_SECURE=$secure" "${command[@]}" commit "$too_much"
	done
done

# A memory cgroup of 64 MiB below our own, so that what holds for us holds there too; of version 1
# or, where that is how memory is limited, version 2.
group=
# shellcheck disable=SC2317 # called at exit
remove_group() { [[ -z $group ]] || wait_for 40 rmdir "$group"; }
trap 'remove_group; leave' EXIT
make_group() {
	local own

	own=$(sed -n 's/^[0-9]*:memory://p' /proc/self/cgroup)
	if [[ -n $own && -w /sys/fs/cgroup/memory$own ]]; then
		group=/sys/fs/cgroup/memory$own/hakmem-test.$$ limit=memory.limit_in_bytes
		kills=memory.oom_control
	elif grep -qw memory /sys/fs/cgroup/cgroup.subtree_control 2>/dev/null; then
		group=/sys/fs/cgroup/hakmem-test.$$ limit=memory.max kills=memory.events
	else
		return 1
	fi
	mkdir "$group" || { group=; return 1; }
	echo $((64 << 20)) >"$group/$limit"
	[[ ! -e $group/memory.swap.max ]] || echo 0 >"$group/memory.swap.max"
}
# shellcheck disable=SC2317 # called by check
in_group() { # COMMAND...; a shell of its own keeps the report of the signal away
	# shellcheck disable=SC2016 # the inner shell's words
	bash -c 'timeout 30 bash -c "echo \$\$ >\"\$0/cgroup.procs\" && exec \"\$@\"" "$@"; exit $?' - "$group" "$@" 2>/dev/null
}
killed() { awk '$1 == "oom_kill" { print $2 }' "$group/$kills"; }

if ! make_group; then
	skip "memory cgroups" "none can be made here"
	finish
fi
for secure in 0 1; do
	for mode in preload static-pie; do
		command_of $mode refused
		name="cgroup of 64 MiB, $mode$( ((secure)) && echo /secure)"
		check "$name: 16 MiB alive in blocks of one size after the other" \
			in_group env "HAKMEM_SECURE=$secure" "${command[@]}" phases $((16 << 20))
		before=$(killed)
		in_group env "HAKMEM_SECURE=$secure" "${command[@]}" eat $((200 << 20))
		check "$name: 200 MiB and the kernel ends it" [ "$? $(killed)" = "137 $((before + 1))" ]
	done
done
wait_for 10 test ! -s "$group/cgroup.procs"
check "the cgroup is empty again" [ -z "$(cat "$group/cgroup.procs")" ]
finish
