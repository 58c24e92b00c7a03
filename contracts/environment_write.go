package contracts

import (
	"slices"
	"time"
)

// Marshal writes the file, secrets and all: in the contract's order of keys, every
// string in quotes, unknown keys last in their mapping, the timestamp in UTC, and the
// version that this module writes. What [ParseEnvironment] would refuse is refused.
//
// The result of [BundleEnvironment.Redacted] is written for people to read, and says
// so in its first line.
func (e *BundleEnvironment) Marshal() ([]byte, error) {
	problems := &problemList{}
	e.check(problems)
	if err := problems.err(CodeInvalidEnvironment, StageEnvironment, "environment "+Quote(e.Environment), ""); err != nil {
		return nil, err
	}
	var out []byte
	if e.redacted {
		out = append(out, "# A listing with its secrets left out: not an environment file.\n"...)
	}
	out = appendYAML(out, e.document())
	if !e.redacted {
		back, _, err := ParseEnvironment("", out)
		if err != nil {
			return nil, err
		}
		if !back.document().Equal(e.document()) {
			problems.add("", "has a value that is not valid UTF-8", "write text")
			return nil, problems.err(CodeInvalidEnvironment, StageEnvironment, "environment "+Quote(e.Environment), "")
		}
	}
	return out, nil
}

// document is the file as a mapping.
func (e *BundleEnvironment) document() Value {
	top := fields{}
	top.text("environment", e.Environment)
	top.members = append(top.members, Member{"registry", e.registryDocument()})
	if e.Storage != nil {
		top.members = append(top.members, Member{"storage", e.storageDocument()})
	}
	if e.Compute != nil {
		top.members = append(top.members, Member{"compute", e.computeDocument()})
	}
	if t, ok := parseTimestamp(e.Timestamp); ok {
		top.text("timestamp", t.Format(time.RFC3339Nano))
	} else {
		top.text("timestamp", e.Timestamp)
	}
	version := ContractVersion
	if isNewerMinor(e.Version) {
		version = e.Version
	}
	top.text("version", version)
	return top.with(e.unknown[""])
}

func isNewerMinor(version string) bool {
	warnings := &problemList{}
	checkVersion(version, &problemList{}, warnings)
	return len(warnings.list) > 0
}

func (e *BundleEnvironment) registryDocument() Value {
	r, f := e.Registry, fields{}
	f.text("provider", r.Provider)
	f.text("login_server", r.LoginServer)
	f.members = append(f.members, Member{"requires_auth", BoolValue(r.RequiresAuth)})
	f.text("username", r.Username)
	f.text("password", r.Password.Reveal())
	f.text("ca_file", r.CAFile)
	if r.Insecure {
		f.members = append(f.members, Member{"insecure", BoolValue(true)})
	}
	return f.with(e.unknown["registry"])
}

func (e *BundleEnvironment) storageDocument() Value {
	s, f := e.Storage, fields{}
	f.text("provider", s.Provider)
	f.text("container", s.Container)
	f.text("connection_string", s.ConnectionString.Reveal())
	f.text("endpoint", s.Endpoint)
	f.text("access_key", s.AccessKey)
	f.text("secret_key", s.SecretKey.Reveal())
	f.text("region", s.Region)
	f.text("prefix", s.Prefix)
	return f.with(e.unknown["storage"])
}

func (e *BundleEnvironment) computeDocument() Value {
	c, f := e.Compute, fields{}
	f.text("provider", c.Provider)
	f.text("scheduler", c.Scheduler)
	f.text("dashboard", c.Dashboard)
	if c.TLS != nil {
		tls := fields{}
		tls.text("ca_file", c.TLS.CAFile)
		tls.text("cert_file", c.TLS.CertFile)
		tls.text("key_file", c.TLS.KeyFile)
		f.members = append(f.members, Member{"tls", tls.with(e.unknown["compute.tls"])})
	}
	if c.Kubernetes != nil {
		kubernetes := fields{}
		kubernetes.text("context", c.Kubernetes.Context)
		kubernetes.text("namespace", c.Kubernetes.Namespace)
		f.members = append(f.members, Member{"kubernetes", kubernetes.with(e.unknown["compute.kubernetes"])})
	}
	return f.with(e.unknown["compute"])
}

// fields collects the keys of a mapping in the order that they are written.
type fields struct{ members []Member }

// text adds a string; an empty one is left out.
func (f *fields) text(key, value string) {
	if value != "" {
		f.members = append(f.members, Member{key, StringValue(value)})
	}
}

func (f *fields) with(unknown []Member) Value { return mapValue(append(f.members, unknown...)) }

// Redacted is a copy for people to look at: every secret, and every value of an
// unknown key, which could be one, is replaced by "[redacted]".
func (e *BundleEnvironment) Redacted() *BundleEnvironment {
	c := *e
	c.redacted = true
	c.Registry.Password = c.Registry.Password.hidden()
	if e.Storage != nil {
		storage := *e.Storage
		storage.ConnectionString = storage.ConnectionString.hidden()
		storage.SecretKey = storage.SecretKey.hidden()
		c.Storage = &storage
	}
	c.unknown = map[string][]Member{}
	for field, members := range e.unknown {
		hidden := slices.Clone(members)
		for i := range hidden {
			hidden[i].Value = StringValue(redacted)
		}
		c.unknown[field] = hidden
	}
	return &c
}

func (s Secret) hidden() Secret { return Secret(s.String()) }
