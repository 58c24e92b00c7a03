package contracts

import (
	"net/url"
	"strings"
)

var (
	namespacePattern = pattern(`\A[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\z`)
)

func (c *Compute) check(problems, warnings *problemList) {
	scheduler := c.checkScheduler(problems)
	if c.Dashboard != "" {
		if _, problem := parseURL(c.Dashboard, "https", "http"); problem != "" {
			problems.add("compute.dashboard", problem, "write https://host:port, without user, query or fragment")
		}
	}
	switch {
	case c.TLS == nil && scheduler != nil && scheduler.Scheme == "tls":
		warnings.add("compute.tls", "is missing", "a scheduler at tls:// wants ca_file, cert_file and key_file")
	case c.TLS != nil && scheduler != nil && scheduler.Scheme != "tls":
		problems.add("compute.tls", "would have no effect: the scheduler is not at tls://", "write scheduler: tls://…, or leave tls out")
	}
	if c.TLS != nil {
		for _, file := range []struct{ key, name string }{{"ca_file", c.TLS.CAFile}, {"cert_file", c.TLS.CertFile}, {"key_file", c.TLS.KeyFile}} {
			if file.name != "" {
				checkFile("compute.tls."+file.key, file.name, problems)
			}
		}
	}
	if k := c.Kubernetes; k != nil && k.Namespace != "" && !namespacePattern().MatchString(k.Namespace) {
		problems.add("compute.kubernetes.namespace", "is "+Quote(k.Namespace), "a namespace is at most 63 lower-case letters, digits and '-'")
	}
	if k := c.Kubernetes; k != nil && strings.HasPrefix(k.Context, "-") {
		problems.add("compute.kubernetes.context", "begins with '-'", "give the name of a context of the kubeconfig")
	}
}

func (c *Compute) checkScheduler(problems *problemList) *url.URL {
	const field = "compute.scheduler"
	if c.Scheduler == "" || problems.has(field) {
		return nil
	}
	u, problem := parseURL(c.Scheduler, "tls", "tcp")
	switch {
	case problem != "":
	case u.Port() == "":
		problem = "has no port"
	case u.Path != "":
		problem = "has a path"
	default:
		return u
	}
	problems.add(field, problem, "write tls://host:8786 or tcp://host:8786")
	return nil
}
