package jobscript

import (
	"crypto/tls"
	"encoding/json"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// compute is what the environment file says of the local cluster.
type compute struct {
	Scheduler, Dashboard string
	TLS                  *struct {
		CA   string `json:"ca_file"`
		Cert string `json:"cert_file"`
		Key  string `json:"key_file"`
	}
}

func (p *person) compute() (c compute) {
	p.t.Helper()
	var env struct{ Compute *compute }
	if err := json.Unmarshal([]byte(p.must("env", "show", "local", "--json")), &env); err != nil || env.Compute == nil || env.Compute.TLS == nil {
		p.t.Fatalf("no compute with TLS: %v %+v", err, env)
	}
	return *env.Compute
}

// Other people of the machine reach the local cluster's ports, and can do nothing there:
// nothing that listens speaks with who has not the certificate, and the dashboard only shows.
func TestLocalDaskKeepsOthersOut(t *testing.T) {
	p := newPerson(t)
	p.must("infra", "up", "--with-dask", "--workers", "1")
	c := p.compute()
	if info, err := os.Stat(c.TLS.Key); err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("%v %v", info, err)
	}
	own, err := tls.LoadX509KeyPair(c.TLS.Cert, c.TLS.Key)
	if err != nil {
		t.Fatal(err)
	}
	other := newPerson(t)
	other.must("infra", "up", "--with-dask", "--workers", "1")
	theirs, err := tls.LoadX509KeyPair(other.compute().TLS.Cert, other.compute().TLS.Key)
	if err != nil {
		t.Fatal(err)
	}
	addresses := []string{strings.TrimPrefix(c.Scheduler, "tls://")}
	for _, worker := range p.workers(c) {
		if !strings.HasPrefix(worker.ID, "tls://") || !strings.HasPrefix(worker.Nanny, "tls://") {
			t.Errorf("%+v speaks no TLS", worker)
		}
		addresses = append(addresses, strings.TrimPrefix(worker.ID, "tls://"), strings.TrimPrefix(worker.Nanny, "tls://"))
	}
	for _, address := range addresses {
		if err := greeted(address, &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{own}}); err != nil {
			t.Errorf("%s refuses its owner: %v", address, err)
		}
		for who, config := range map[string]*tls.Config{
			"somebody without TLS": nil, "somebody without a certificate": {InsecureSkipVerify: true},
			"somebody with another's certificate": {InsecureSkipVerify: true, Certificates: []tls.Certificate{theirs}},
		} {
			if err := greeted(address, config); err == nil {
				t.Errorf("%s speaks with %s", address, who)
			}
		}
	}
	base := strings.TrimSuffix(c.Dashboard, "/info")
	for path, want := range map[string]int{"/info/main/workers.html": 200, "/api/v1/retire_workers": 404, "/proxy/1/127.0.0.1/": 404} {
		response, err := http.Get(base + path)
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		if response.StatusCode != want {
			t.Errorf("%s: %s", path, response.Status)
		}
	}
	for _, path := range []string{"/info/main/workers.html", "/json/identity.json", "/api/v1/retire_workers", "/health"} {
		response, err := http.Post(base+path, "application/json", strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		if response.StatusCode < 400 {
			t.Errorf("POST %s: %s", path, response.Status)
		}
	}
}

// greeted waits for the words with which a server of Dask begins; config is nil for no TLS.
func greeted(address string, config *tls.Config) error {
	conn, err := net.DialTimeout("tcp", address, 10*time.Second)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return err
	}
	if config != nil {
		conn = tls.Client(conn, config)
	}
	if config == nil { // a server of Dask without TLS would speak first as well
		_, err = conn.Write([]byte("\x08\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"))
		if err != nil {
			return err
		}
	}
	_, err = conn.Read(make([]byte, 1))
	return err
}

// worker is one as the scheduler's page has it.
type daskWorker struct{ ID, Nanny string }

// workers are those of the local cluster, once there are some.
func (p *person) workers(c compute) (found []daskWorker) {
	p.t.Helper()
	eventually(p.t, "the cluster has workers", func() bool {
		response, err := http.Get(strings.TrimSuffix(c.Dashboard, "/info") + "/json/identity.json")
		if err != nil {
			p.t.Fatal(err)
		}
		var identity struct{ Workers map[string]daskWorker }
		err = json.NewDecoder(response.Body).Decode(&identity)
		_ = response.Body.Close()
		if err != nil {
			p.t.Fatal(err)
		}
		for address, worker := range identity.Workers {
			worker.ID = address
			found = append(found, worker)
		}
		return len(found) > 0
	})
	return found
}

// What an earlier mops left without TLS is moved over by infra up, on the same port.
func TestLocalDaskMovesToTLS(t *testing.T) {
	p := newPerson(t)
	p.must("infra", "up", "--with-dask", "--workers", "1")
	now := p.compute().Scheduler
	record := filepath.Join(p.work, "home", ".modelops", "local", "dask", "cluster.json")
	data, err := os.ReadFile(record)
	if err != nil {
		t.Fatal(err)
	}
	p.write(record, strings.Replace(string(data), `"tls": true`, `"tls": false`, 1))
	if out := p.must("infra", "refresh"); !strings.Contains(out, strings.Replace(now, "tls:", "tcp:", 1)) {
		t.Fatalf("no cluster as of an earlier mops:\n%s", out)
	}
	p.must("infra", "up")
	if after := p.compute().Scheduler; after != now {
		t.Errorf("%s, and was %s", after, now)
	}
	p.study(5, quick)
	p.must("jobs", "submit", "study.json", "--wait")
}
