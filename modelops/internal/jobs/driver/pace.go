package driver

import "time"

// The rate is that of the last paceTime, or of as long as it took to run the last
// paceTasks when that is longer: recent, and no accident.
const (
	paceTime  = 30 * time.Second
	paceTasks = 20
)

// pace measures how many tasks run per second.
type pace struct{ marks []mark }

// mark is how many tasks had run at a moment.
type mark struct {
	at  time.Time
	ran int
}

// rate takes in how many tasks have run by now, and is how many run per second.
func (p *pace) rate(now time.Time, ran int) float64 {
	if ran == 0 { // a cluster is connected to, or an environment made: that says nothing of tasks
		p.marks = nil
	}
	p.marks = append(p.marks, mark{now, ran})
	enough := func(m mark) bool { return now.Sub(m.at) >= paceTime && ran-m.ran >= paceTasks }
	for len(p.marks) > 1 && enough(p.marks[1]) {
		p.marks = p.marks[1:]
	}
	from := p.marks[0]
	if elapsed := now.Sub(from.at).Seconds(); elapsed > 0 {
		return float64(ran-from.ran) / elapsed
	}
	return 0
}
