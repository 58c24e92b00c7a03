package contracts

import (
	"strconv"
	"unicode/utf8"
)

// maxQuoted bounds what a message repeats of something from outside, in bytes.
const maxQuoted = 200

func quoteASCII(s string) string { return strconv.QuoteToASCII(s) }

func isPrintable(r rune) bool { return r != utf8.RuneError && strconv.IsPrint(r) }

func shorten(s string) string {
	if len(s) <= maxQuoted {
		return s
	}
	cut := maxQuoted
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "…"
}

// Count is a number of things in words: "1 file", "2 files".
func Count[N ~int | ~int32 | ~int64](n N, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.FormatInt(int64(n), 10) + " " + many
}
