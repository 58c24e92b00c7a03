#!/bin/sh
# One task: its parameters come as JSON on standard input, and each file written to
# $MODELOPS_OUTPUT_DIR is an output. Any program can stand here: name it in
# .modelops/manifest.json, as in {"command": ["Rscript", "run.R"]}.
set -eu

task=$(cat)

# value NAME DEFAULT: a number of the task. A real program would use its JSON library.
value() {
    found=$(printf '%s' "$task" | sed -n "s/.*\"$1\": *\(-\{0,1\}[0-9][0-9.eE+-]*\).*/\1/p")
    printf '%s' "${found:-$2}"
}

beta=$(value beta 0.3)
gamma=$(value gamma 0.1)
seed=$(value seed 1)

# A deterministic SIR epidemic in steps of a tenth of a day, with a noise in the
# transmission rate that the seed decides.
awk -v beta="$beta" -v gamma="$gamma" -v seed="$seed" '
function noise() { state = (state * 16807) % 2147483647; return state / 2147483647 }
BEGIN {
    state = seed % 2147483646 + 1; noise(); noise()
    s = 995; i = 5; n = 1000; dt = 0.1; peak = i; peak_day = 0
    for (t = 0; i > 0.5 && t < 1000; t += dt) {
        infections = beta * (0.9 + 0.2 * noise()) * s * i / n * dt
        recoveries = gamma * i * dt
        s -= infections; i += infections - recoveries
        if (i > peak) { peak = i; peak_day = t }
    }
    printf "infected,attack_rate\n%.3f,%.6f\n", n - s, (n - s) / n > (ENVIRON["MODELOPS_OUTPUT_DIR"] "/final_size")
    printf "peak_day,peak_infectious\n%.1f,%.3f\n", peak_day, peak > (ENVIRON["MODELOPS_OUTPUT_DIR"] "/peak")
}'
