package report

import (
	"math"
	"slices"

	"gonum.org/v1/gonum/stat"
)

// quantile is a quantile of sorted values, as R and NumPy compute it by default.
func quantile(sorted []float64, p float64) float64 {
	if len(sorted) == 0 {
		return math.NaN()
	}
	at := p * float64(len(sorted)-1)
	below := int(at)
	if below+1 >= len(sorted) {
		return sorted[len(sorted)-1]
	}
	return sorted[below] + (at-float64(below))*(sorted[below+1]-sorted[below])
}

// spread says whether values lie over orders of magnitude, with many at both ends.
func spread(least, median, most float64) bool {
	return least > 0 && median/least > 5 && most/median > 5 && most/least >= 200
}

// finite are the values that are numbers, sorted.
func finite(values []float64) []float64 {
	kept := make([]float64, 0, len(values))
	for _, v := range values {
		if isFinite(v) {
			kept = append(kept, v)
		}
	}
	slices.Sort(kept)
	return kept
}

func isFinite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }

// spearman is the rank correlation of two columns; NaN when there is none to be had.
func spearman(x, y []float64) float64 {
	var xs, ys []float64
	for i := range x {
		if isFinite(x[i]) && isFinite(y[i]) {
			xs, ys = append(xs, x[i]), append(ys, y[i])
		}
	}
	if len(xs) < 5 {
		return math.NaN()
	}
	return stat.Correlation(ranks(xs), ranks(ys), nil)
}

// ranks are the places of values in their order, those of equal values being their mean.
func ranks(values []float64) []float64 {
	order := make([]int, len(values))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(i, j int) int { return compare(values[i], values[j]) })
	ranks := make([]float64, len(values))
	for from := 0; from < len(order); {
		to := from
		for to < len(order) && values[order[to]] == values[order[from]] {
			to++
		}
		for _, i := range order[from:to] {
			ranks[i] = float64(from+to-1) / 2
		}
		from = to
	}
	return ranks
}

// hash spreads a row's number over all 64 bits, the same way every time (SplitMix64).
func hash(n int) uint64 {
	z := uint64(n)*0x9e3779b97f4a7c15 + 0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// draw decides which of total things are kept when about limit of them shall be: by a
// hash of their number, so that the choice is the same every time and needs no memory.
type draw struct{ total, limit int }

func (d draw) all() bool { return d.total <= d.limit }

func (d draw) keeps(n int) bool {
	return d.all() || float64(hash(n)>>11)/(1<<53) < float64(d.limit)/float64(d.total)
}

// moments are the mean and the standard deviation of a sample.
func moments(values []float64) (mean, deviation float64) {
	if len(values) == 0 {
		return math.NaN(), math.NaN()
	}
	for i, v := range values {
		mean += (v - mean) / float64(i+1)
	}
	sum := 0.0
	for _, v := range values {
		sum += (v - mean) * (v - mean)
	}
	if len(values) < 2 {
		return mean, math.NaN()
	}
	return mean, math.Sqrt(sum / float64(len(values)-1))
}
