package workspace

import (
	"context"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops/internal/certificate"
	"github.com/modelops-suite/modelops-go/modelops/internal/kube"
)

// Certificate is the Secret with what scheduler, workers and drivers know each other by. Its
// keys are those that every maker of certificates uses, so that it may be another's.
const Certificate = "modelops-tls"

const (
	certificateDir = "/etc/modelops/tls" // in pods
	authorityKey   = "ca.crt"            // beside corev1.TLSCertKey and TLSPrivateKeyKey
)

// What reads a certificate reads it once, when it starts: a new one ends what talks by the
// old one. So there is rarely one.
const (
	certifiedFor = 5 * 365 * 24 * time.Hour
	renewBefore  = 365 * 24 * time.Hour // the end of that
	endsSoon     = 30 * 24 * time.Hour  // for somebody else's, who may renew theirs as late
)

// Held is the certificate that a workspace in a cluster has.
type Held struct {
	Until  time.Time `json:"until"`  // its end; zero where there is none, or a damaged one
	Good   bool      `json:"good"`   // pods can talk by it now
	Theirs bool      `json:"theirs"` // somebody else made it, and renews it
	Users  []string  `json:"users"`  // pods that talk by it and that "up" does not make anew, such as drivers of jobs

	namespace string
	there     bool     // the Secret
	due       bool     // it is to be renewed
	renewed   bool     // it is one that is to be put there
	drivers   []string // those of the users that read the Secret again when they reach nobody
	earlier   []string // pods that have the one before it for as long as they run
}

// Certify gives the spec the certificate that the workspace in the cluster has, or a new one
// where it has none. One that somebody else put there is left to them: the spec then has
// none.
func (s *Spec) Certify(ctx context.Context, c *kube.Cluster, now time.Time) (*Held, error) {
	held := &Held{Users: []string{}, namespace: s.Namespace()}
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: Certificate, Namespace: s.Namespace()}}
	err := c.Get(ctx, secret)
	if e := contracts.AsError(err); e != nil && e.Code == contracts.CodeNotFound {
		if s.Certificate, err = issue(now); err != nil {
			return nil, err
		}
		return held, s.findUsers(ctx, c, held, now)
	}
	if err != nil {
		return nil, err
	}
	_, ours := secret.Labels[workspaceLabel]
	has := &certificate.Shared{Key: secret.Data[corev1.TLSPrivateKeyKey], Certificate: secret.Data[corev1.TLSCertKey], Authority: secret.Data[authorityKey]}
	made, until, err := certificate.Term(has.Certificate, has.Key)
	held.there, held.Theirs, held.Until = true, !ours, until
	held.Good = err == nil && len(has.Authority) > 0 && now.Before(until) && !now.Before(made)
	if s.Certificate = nil; ours {
		s.Certificate = has
		held.due = !now.Before(until.Add(-renewBefore))
		made = made.Add(certificate.ClockSlack)
	} else {
		held.due = !now.Before(until.Add(-endsSoon))
	}
	return held, s.findUsers(ctx, c, held, made)
}

// findUsers fills in the pods that talk by a certificate, which was made at this time.
func (s *Spec) findUsers(ctx context.Context, c *kube.Cluster, held *Held, made time.Time) error {
	var pods corev1.PodList
	if err := c.List(ctx, &pods, kube.Selection{Labels: metav1.FormatLabelSelector(s.own())}); err != nil {
		return err
	}
	for i := range pods.Items {
		p := &pods.Items[i]
		component := p.Labels[ComponentLabel]
		ofDeployment := component == "scheduler" || component == "worker"
		if isGoing(p) || ofDeployment && !held.Theirs {
			continue
		}
		if !ofDeployment {
			held.Users = append(held.Users, p.Name)
		}
		if component == "driver" {
			held.drivers = append(held.drivers, p.Name)
		} else if p.CreationTimestamp.Time.Before(made.Truncate(time.Second)) {
			held.earlier = append(held.earlier, p.Name)
		}
	}
	return nil
}

// Renew gives the spec a new certificate when what is held can be used no more, when it is
// due and has no users, or when somebody asks for it. Scheduler and workers are then made
// anew, and what tasks run is lost: workers cannot hand it on. Drivers go on, since they read
// the Secret again; other users have to be made anew.
func (s *Spec) Renew(held *Held, now time.Time, asked bool) (err error) {
	switch {
	case held.Theirs:
		return held.usable(asked)
	case held.Good && !asked && (!held.due || len(held.Users) > 0):
		return nil
	case held.there:
		s.Certificate, err = issue(now)
	}
	held.Until, held.Good, held.due, held.renewed = now.Add(certifiedFor), true, false, true
	held.earlier = slices.DeleteFunc(slices.Clone(held.Users), func(pod string) bool { return slices.Contains(held.drivers, pod) })
	return err
}

// usable is an error where somebody else's certificate is to be renewed, or is no good.
func (h *Held) usable(asked bool) error {
	e := &contracts.Error{Code: contracts.CodeConflict, Stage: contracts.StageProvision,
		Hint: "mend it where it is made, or remove it and have mops workspace up make one: kubectl delete secret " + Certificate + " --namespace " + h.namespace}
	switch what := "Secret " + Certificate + " is not of this program's making, and "; {
	case asked:
		e.Message = what + "is renewed by who made it"
	case !h.Good:
		e.Message = what + "has no certificate with key and authority that is good now"
	default:
		return nil
	}
	return e
}

// Words say what is to be known of the certificate, and to be done.
func (h *Held) Words() (words []string) {
	the, end := "the certificate in Secret "+Certificate, h.Until.Format(time.DateOnly)
	renew := ": mops workspace up makes another"
	if h.Theirs {
		renew = ": it is renewed by who made it"
	}
	switch {
	case !h.there || h.renewed:
	case !h.Good:
		words = append(words, the+" is damaged, or has ended"+renew)
	case h.due && !h.Theirs && len(h.Users) > 0:
		words = append(words, the+" ends on "+end+", and is not renewed while these use it: Pod "+strings.Join(h.Users, ", Pod ")+
			". mops workspace up renews it when they have ended, and with --renew-certificate at once")
	case h.due:
		words = append(words, the+" ends on "+end+renew)
	}
	if h.renewed && len(h.drivers) > 0 {
		words = append(words, the+" is another now: what these jobs run begins again, and they go on within minutes, or are to be resumed: Pod "+strings.Join(h.drivers, ", Pod "))
	}
	for _, pod := range h.earlier {
		words = append(words, "Pod "+pod+" has an earlier certificate than Secret "+Certificate+", and has to begin anew: kubectl delete pod "+pod+" --namespace "+h.namespace)
	}
	return words
}

func issue(now time.Time) (*certificate.Shared, error) {
	return certificate.Issue("modelops workspace", now, certifiedFor)
}

// NewCertificate is the Secret with a new certificate, for those who apply the manifests
// otherwise. It is theirs: "up" leaves it alone.
func NewCertificate(s Spec, now time.Time) (kube.Object, error) {
	shared, err := issue(now)
	if err != nil {
		return nil, err
	}
	secret := s.certificate(shared)
	delete(secret.Labels, workspaceLabel)
	secret.GetObjectKind().SetGroupVersionKind(kube.Kind(secret))
	return secret, nil
}

func (s Spec) certificate(shared *certificate.Shared) *corev1.Secret {
	return &corev1.Secret{ObjectMeta: s.meta(Certificate, "workspace"), Type: corev1.SecretTypeTLS, Data: map[string][]byte{
		corev1.TLSPrivateKeyKey: shared.Key, corev1.TLSCertKey: shared.Certificate, authorityKey: shared.Authority,
	}}
}

// withCertificate mounts the certificate into a pod and its containers. The pod changes when
// this program changes the certificate.
func (s Spec) withCertificate(template *corev1.PodTemplateSpec) {
	if s.Certificate != nil {
		template.Annotations["modelops.io/certificate"] = digestOf(map[string][]byte{corev1.TLSCertKey: s.Certificate.Certificate})
	}
	template.Spec.Volumes = append(template.Spec.Volumes, secretVolume(certificateVolume, Certificate))
	for i := range template.Spec.Containers {
		c := &template.Spec.Containers[i]
		c.VolumeMounts = append(c.VolumeMounts, corev1.VolumeMount{Name: certificateVolume, MountPath: certificateDir, ReadOnly: true})
	}
}

// tlsFiles is where pods have the certificate.
func tlsFiles() *contracts.ComputeTLS {
	return &contracts.ComputeTLS{
		CAFile: certificateDir + "/" + authorityKey, CertFile: certificateDir + "/" + corev1.TLSCertKey, KeyFile: certificateDir + "/" + corev1.TLSPrivateKeyKey,
	}
}

// tlsArgs have one of Dask's programs talk TLS, and nothing else.
func tlsArgs() []string {
	files := tlsFiles()
	return []string{"--protocol", "tls", "--tls-ca-file", files.CAFile, "--tls-cert", files.CertFile, "--tls-key", files.KeyFile}
}

// encrypted has Dask refuse whatever else somebody may tell it.
func encrypted() corev1.EnvVar {
	return corev1.EnvVar{Name: "DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION", Value: "True"}
}

func secretVolume(name, secret string) corev1.Volume {
	return corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: secret, DefaultMode: new(int32(0o440))}}}
}
