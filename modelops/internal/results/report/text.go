package report

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/modelops-suite/modelops-go/contracts"
)

// number is a number for people: four significant digits.
func number(f float64) string {
	switch size := math.Abs(f); {
	case math.IsNaN(f):
		return "–"
	case math.IsInf(f, 0):
		return strings.Replace(strconv.FormatFloat(f, 'g', -1, 64), "Inf", "∞", 1)
	case f == 0:
		return "0"
	case size >= 1e7 || size < 1e-4:
		return scientific(strconv.FormatFloat(f, 'e', 3, 64))
	case size >= 1000:
		if f == math.Trunc(f) {
			return grouped(strconv.FormatFloat(f, 'f', 0, 64))
		}
		return grouped(strconv.FormatFloat(f, 'f', max(0, 3-int(math.Log10(size))), 64))
	}
	text := strconv.FormatFloat(f, 'f', max(0, 3-int(math.Floor(math.Log10(math.Abs(f))))), 64)
	if strings.Contains(text, ".") {
		text = strings.TrimRight(strings.TrimRight(text, "0"), ".")
	}
	return strings.Replace(text, "-", "−", 1)
}

// scientific turns 1.200e+07 into 1.2×10⁷.
func scientific(text string) string {
	mantissa, exponent, _ := strings.Cut(text, "e")
	if strings.Contains(mantissa, ".") {
		mantissa = strings.TrimRight(strings.TrimRight(mantissa, "0"), ".")
	}
	power, _ := strconv.Atoi(exponent)
	raised := strings.NewReplacer("-", "⁻", "0", "⁰", "1", "¹", "2", "²", "3", "³", "4", "⁴", "5", "⁵", "6", "⁶", "7", "⁷", "8", "⁸", "9", "⁹").Replace(strconv.Itoa(power))
	return strings.Replace(mantissa, "-", "−", 1) + "×10" + raised
}

// grouped sets commas between thousands.
func grouped(text string) string {
	sign := ""
	if strings.HasPrefix(text, "-") {
		sign, text = "−", text[1:]
	}
	whole, fraction, _ := strings.Cut(text, ".")
	for i := len(whole) - 3; i > 0; i -= 3 {
		whole = whole[:i] + "," + whole[i:]
	}
	if fraction != "" {
		whole += "." + fraction
	}
	return sign + whole
}

func count(n int) string { return grouped(strconv.Itoa(n)) }

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return count(n) + " " + many
}

func percent(part, whole int) string {
	if whole == 0 {
		return "–"
	}
	return number(math.Round(1000*float64(part)/float64(whole))/10) + " %"
}

// join is a list in words.
func join(list []string) string { return strings.Join(list, ", ") }

func joinAnd(list []string) string {
	if len(list) < 2 {
		return join(list)
	}
	return join(list[:len(list)-1]) + " and " + list[len(list)-1]
}

// size is a number of bytes for people.
func size(n int64) string {
	switch f := float64(n); {
	case n < 1000:
		return plural(int(n), "byte", "bytes")
	case n < 1_000_000:
		return number(f/1e3) + " kB"
	case n < 1_000_000_000:
		return number(f/1e6) + " MB"
	default:
		return number(f/1e9) + " GB"
	}
}

// duration is seconds for people.
func duration(seconds float64) string {
	switch whole := int(math.Round(seconds)); {
	case math.IsNaN(seconds):
		return "–"
	case seconds < 0.001 && seconds > 0:
		return number(seconds*1e6) + " µs"
	case seconds < 1 && seconds > 0:
		return number(seconds*1e3) + " ms"
	case seconds < 60:
		return number(seconds) + " s"
	case whole < 3600:
		return fmt.Sprintf("%d min %d s", whole/60, whole%60)
	case whole < 48*3600:
		return fmt.Sprintf("%d h %d min", whole/3600, whole%3600/60)
	default:
		return fmt.Sprintf("%s h", count(whole/3600))
	}
}

// instant is a document's time; ok is false for one that is none.
func instant(stamp string) (time.Time, bool) {
	t, err := time.Parse(time.RFC3339, stamp)
	return t.UTC(), err == nil
}

// utc is a document's time for people.
func utc(stamp string) string {
	t, ok := instant(stamp)
	if !ok {
		return stamp
	}
	return t.Format("2006-01-02 15:04:05 UTC")
}

// between is the seconds from one time to another, NaN when one of them is none.
func between(from, to string) float64 {
	x, ok := instant(from)
	y, fine := instant(to)
	if !ok || !fine {
		return math.NaN()
	}
	return y.Sub(x).Seconds()
}

func parse(text string) float64 {
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return math.NaN()
	}
	return f
}

const maxText = 6 << 10

// clip bounds a text from outside, keeping its end, where the error is, and makes its
// control characters visible.
func clip(text string) string {
	text = strings.TrimRight(text, "\n")
	if len(text) > maxText {
		text = "…" + text[len(text)-maxText:]
	}
	return contracts.Lines(strings.ToValidUTF8(text, "\uFFFD"))
}

// label is a name as a figure has it: names from outside may be long or hold anything.
func label(name string, most int) string {
	name = contracts.Lines(strings.NewReplacer("\n", " ", "\t", " ").Replace(strings.ToValidUTF8(name, "\uFFFD")))
	if runes := []rune(name); len(runes) > most {
		return string(runes[:most-1]) + "…"
	}
	return name
}
