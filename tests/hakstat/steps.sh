# shellcheck shell=bash
# Programs that do what a test says, and are at rest otherwise (steps.c). Several at a time: each
# has a number, and its pid is in steps_pid[NUMBER].

CC=${CC:-gcc}
"$CC" -std=gnu11 -D_GNU_SOURCE -O1 -fno-builtin "$ROOT/tests/hakstat/steps.c" -o "$TMP/steps" ||
	{ echo "hakstat/steps.c does not compile"; exit 1; }
steps_pid=()

# start_steps NUMBER [WRAPPER...]: under preload of $STEPS_LIB, by default the library.
start_steps() {
	local i=$1 in out

	shift
	mkfifo "$TMP/in.$i" "$TMP/out.$i"
	"$@" env LD_PRELOAD="${STEPS_LIB:-$LIB}" "${STEPS_PROGRAM:-$TMP/steps}" <"$TMP/in.$i" >"$TMP/out.$i" &
	end_at_exit $!
	exec {in}>"$TMP/in.$i" {out}<"$TMP/out.$i"
	steps_in[i]=$in steps_out[i]=$out
	steps_pid[i]=$!
	step "$i" "hold 0" || { not_ok "steps $i starts"; exit 1; }
}

# step NUMBER LINE: when it returns it has been done
step() {
	local answer

	echo "$2" >&"${steps_in[$1]}"
	read -r -t 30 -u "${steps_out[$1]}" answer && [[ $answer == done ]]
}

end_steps() {
	echo quit >&"${steps_in[$1]}"
	wait_for 10 gone "${steps_pid[$1]}"
}
