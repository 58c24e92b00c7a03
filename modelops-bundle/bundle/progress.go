package bundle

// Progress is told how far a push or a pull is, from several goroutines at a time. Bytes
// are those of the files' content, whatever they take on the wire. What was planned is in
// the end done or skipped, unless the operation fails.
type Progress interface {
	// Plan is called once, before anything is moved.
	Plan(files int, bytes int64)
	// Done says that something was moved. A file is counted with its last byte.
	Done(files int, bytes int64)
	// Skip says that something did not have to be moved.
	Skip(files int, bytes int64)
}

// unwatched is the Progress of whoever does not want to know.
type unwatched struct{}

func (unwatched) Plan(int, int64) {}
func (unwatched) Done(int, int64) {}
func (unwatched) Skip(int, int64) {}

func watched(p Progress) Progress {
	if p == nil {
		return unwatched{}
	}
	return p
}
