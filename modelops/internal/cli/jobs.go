package cli

import (
	"cmp"
	"errors"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops-bundle/command"
	"github.com/modelops-suite/modelops-go/modelops-bundle/environment"
	"github.com/modelops-suite/modelops-go/modelops/internal/jobs"
)

func jobsCommand() *cli.Command {
	return &cli.Command{
		Name:  "jobs",
		Usage: "submit studies, follow them, and fetch their results",
		Subcommands: []*cli.Command{
			submitCommand(), jobsListCommand(), jobsStatusCommand(), jobsLogsCommand(), jobsReplayCommand(), jobsCancelCommand(),
			jobsResumeCommand(), resultsCommand(), jobsReportCommand(), jobsRemoveCommand(), driveCommand(),
		},
	}
}

// located is a job that was found, and where.
type located struct {
	job         *jobs.Job
	catalog     *jobs.Catalog
	local       jobs.Local
	home        string
	environment *environment.Chosen
	mounted     bool     // the environment is a pod's
	lookout     *lookout // on drivers in a cluster; nil for a command that has no business with them
}

const jobHelp = "JOB is a job's identifier, the beginning of one, or latest: the newest, of whichever project."

// locate finds the job that the command's first argument means, and says which is the
// latest.
func locate(c *cli.Context) (*located, error) { return locateIn(c, &located{}) }

// locateDriven is locate for a command that has to do with the job's driver, wherever that
// is.
func locateDriven(c *cli.Context) (*located, error) {
	return locateIn(c, &located{lookout: &lookout{}})
}

func locateIn(c *cli.Context, l *located) (*located, error) {
	err := l.find(c)
	if err != nil {
		return nil, err
	}
	if c.Args().First() == "latest" {
		command.Note(c, "latest job %s: %s of project %s", l.job.ID, contracts.Quote(l.job.Study.File), l.job.Bundle.Repository)
	}
	return l, nil
}

// find finds a job by what this machine remembers, which says the environment too, else in
// the environment in force.
func (l *located) find(c *cli.Context) error {
	word := c.Args().First()
	home, err := homeOf(c)
	if err != nil {
		return err
	}
	l.home, l.local = home, jobs.LocalIn(home)
	records, err := l.local.Records()
	if err != nil {
		return err
	}
	flag := contracts.NormalizeEnvironmentName(c.String("env"))
	records = slices.DeleteFunc(records, func(r jobs.Record) bool { return flag != "" && r.Environment != flag })
	slices.SortFunc(records, func(x, y jobs.Record) int { return cmp.Compare(y.Created, x.Created) })
	ids := make([]string, len(records))
	for i, r := range records {
		ids[i] = r.ID
	}
	id, err := match(word, ids)
	if err != nil {
		return err
	}
	if id != "" {
		return l.open(c, records[slices.Index(ids, id)].Environment, id)
	}
	if err := l.choose(c, ""); err != nil {
		return err
	}
	list, err := l.catalog.List(c.Context)
	if err != nil {
		return err
	}
	ids = ids[:0]
	for _, job := range list {
		ids = append(ids, job.ID)
	}
	if id, err = match(word, ids); err != nil {
		return err
	}
	if id == "" {
		return jobs.NotFound(word)
	}
	l.job, err = l.catalog.Load(c.Context, id)
	return err
}

// match is the identifier that a word means, the newest of them being the first; "" for
// none.
func match(word string, ids []string) (string, error) {
	if word == "latest" && len(ids) > 0 {
		return ids[0], nil
	}
	begin := jobs.IDPrefix + strings.TrimPrefix(word, jobs.IDPrefix)
	var found []string
	for _, id := range ids {
		if id == begin {
			return id, nil
		}
		if strings.HasPrefix(id, begin) && begin != jobs.IDPrefix {
			found = append(found, id)
		}
	}
	switch len(found) {
	case 0:
		return "", nil
	case 1:
		return found[0], nil
	}
	return "", command.Usage("one of them: "+strings.Join(found[:min(5, len(found))], ", "), "%s begins %d jobs", contracts.Quote(word), len(found))
}

// open loads a job of a known environment.
func (l *located) open(c *cli.Context, name, id string) error {
	if err := l.choose(c, name); err != nil {
		return err
	}
	var err error
	l.job, err = l.catalog.Load(c.Context, id)
	return err
}

// choose finds the environment, name being the job's own or "", and opens its storage.
func (l *located) choose(c *cli.Context, name string) error {
	var err error
	if name == "" {
		l.environment, err = chooseNamed(c, c.String("env"), false)
	} else {
		l.environment, err = loadNamed(c, l.home, name)
	}
	if err != nil {
		return err
	}
	if l.lookout != nil {
		if l.lookout, err = useDrivers(c, l.environment.Loaded); err != nil {
			return err
		}
	}
	if name == "" {
		announce(c, l.environment)
	} else {
		command.Note(c, "%s", l.environment)
	}
	store, err := jobs.Storage(l.environment.Env, l.home)
	if err != nil {
		return err
	}
	l.catalog = jobs.Open(store, nil)
	return nil
}

// loadNamed loads the environment that a job says it is in.
func loadNamed(c *cli.Context, home, name string) (*environment.Chosen, error) {
	loaded, err := environment.Open(home).Load(name)
	if err != nil {
		return nil, err
	}
	return &environment.Chosen{Name: name, Why: "the job's", Loaded: loaded}, loaded.ApplyVariables(command.EnvOf(c).Getenv)
}

func (l *located) status(c *cli.Context) (*jobs.Status, error) {
	return l.judge(c.Context, l.job, l.job.ID)
}

// missing says whether err is that a job is not there.
func missing(err error) bool {
	e, ok := errors.AsType[*contracts.Error](err)
	return ok && e.Code == contracts.CodeNotFound
}
