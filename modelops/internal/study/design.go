package study

import (
	"math/big"
	"math/rand/v2"
	"strconv"

	"github.com/modelops-suite/modelops-go/contracts"
	"gonum.org/v1/gonum/mat"
	"gonum.org/v1/gonum/stat/distmv"
	"gonum.org/v1/gonum/stat/samplemv"
)

// maxSets bounds a design, so that a slip of the finger does not fill the disk.
const maxSets = 10_000_000

// Grid is every combination of the parameters' values; the last parameter changes
// fastest. A range must say its steps, whose values are computed exactly and then
// rounded: 0.1:0.5:5 has 0.3, not 0.30000000000000004.
func Grid(params []Parameter) ([]contracts.ParameterSet, error) {
	if err := check(params); err != nil {
		return nil, err
	}
	axes, total := make([][]contracts.Value, len(params)), 1
	for i, p := range params {
		var err error
		if axes[i], err = p.axis(); err != nil {
			return nil, err
		}
		if total *= len(axes[i]); total > maxSets {
			return nil, usage("the grid has more than %d points", maxSets)
		}
	}
	sets := make([]contracts.ParameterSet, total)
	for i := range sets {
		values, rest := make(contracts.Params, len(params)), i
		for j := len(params) - 1; j >= 0; j-- {
			values[params[j].Name] = axes[j][rest%len(axes[j])]
			rest /= len(axes[j])
		}
		sets[i].Params = values
	}
	return sets, nil
}

// axis is the values of a parameter in a grid.
func (p Parameter) axis() ([]contracts.Value, error) {
	if p.Range == nil {
		return p.Values, nil
	}
	if p.Range.Steps == 0 {
		return nil, usage("parameter %s has no number of steps: a range in a grid is LOW:HIGH:STEPS", contracts.Quote(p.Name))
	}
	values := make([]contracts.Value, p.Range.Steps)
	for i := range values {
		v, err := p.Range.at(big.NewRat(int64(i), int64(p.Range.Steps-1)))
		if err != nil {
			return nil, usage("parameter %s: %v", contracts.Quote(p.Name), err)
		}
		values[i] = v
	}
	return values, nil
}

// The methods of [Random].
const (
	Halton         = "halton"          // scrambled by Owen's randomised van der Corput sequences
	LatinHypercube = "latin-hypercube" // each of n equal slices of each parameter once
)

// maxDimensions bounds a Halton sequence: more primes are not tabulated.
const maxDimensions = 1000

// Random is n parameter sets that fill the space of the parameters evenly. Of a list
// every value is as likely as any other. The same seed gives the same sets.
func Random(params []Parameter, method string, n int, seed uint64) ([]contracts.ParameterSet, error) {
	if err := check(params); err != nil {
		return nil, err
	}
	varying := 0
	for _, p := range params {
		if p.Range != nil && p.Range.Steps != 0 {
			return nil, usage("parameter %s has a number of steps: a range of a random study is LOW:HIGH", contracts.Quote(p.Name))
		}
		if p.Range != nil || len(p.Values) > 1 {
			varying++
		}
	}
	switch {
	case method != Halton && method != LatinHypercube:
		return nil, usage("method %s is neither %s nor %s", contracts.Quote(method), Halton, LatinHypercube)
	case n < 1 || n > maxSets:
		return nil, usage("the number of samples is %d; from 1 to %d", n, maxSets)
	case varying == 0:
		return nil, usage("no parameter varies")
	case varying > maxDimensions:
		return nil, usage("%d parameters vary; at most %d can", varying, maxDimensions)
	}
	points := mat.NewDense(n, varying, nil)
	source := rand.NewPCG(seed, 0x6d6f64656c6f7073)
	cube := distmv.NewUnitUniform(varying, source)
	if method == LatinHypercube {
		samplemv.LatinHypercube{Q: cube, Src: source}.Sample(points)
	} else {
		samplemv.Halton{Kind: samplemv.Owen, Q: cube, Src: source}.Sample(points)
	}
	sets := make([]contracts.ParameterSet, n)
	for i := range sets {
		row, values := points.RawRowView(i), make(contracts.Params, len(params))
		for _, p := range params {
			if p.Range == nil && len(p.Values) == 1 {
				values[p.Name] = p.Values[0]
				continue
			}
			v, err := p.sample(row[0])
			if err != nil {
				return nil, err
			}
			values[p.Name], row = v, row[1:]
		}
		sets[i].Params = values
	}
	return sets, nil
}

// shorten rounds to 12 significant digits: a study is for people to read too, and
// machines that round the last digit differently make the same one.
func shorten(f float64) float64 {
	short, err := strconv.ParseFloat(strconv.FormatFloat(f, 'g', 12, 64), 64)
	if err != nil {
		return f // beyond the largest number, by rounding
	}
	return short
}

// sample is the parameter's value at u, from 0 to below 1.
func (p Parameter) sample(u float64) (contracts.Value, error) {
	if p.Range == nil {
		return p.Values[min(int(u*float64(len(p.Values))), len(p.Values)-1)], nil
	}
	low, _ := p.Range.Low.Float64()
	high, _ := p.Range.High.Float64()
	if !p.Range.Int {
		return contracts.FloatValue(min(max(low, shorten(low+float64(u*(high-low)))), high))
	}
	count := new(big.Int).Sub(p.Range.High.Num(), p.Range.Low.Num())
	count.Add(count, big.NewInt(1))
	scaled := new(big.Float).Mul(big.NewFloat(u), new(big.Float).SetInt(count))
	step, _ := scaled.Int(nil)
	return contracts.NumberValue(step.Add(step, p.Range.Low.Num()).String())
}
