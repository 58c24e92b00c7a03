package contracts

// EnvironmentRecord is the Python environment that a task really had.
type EnvironmentRecord struct {
	Python   string            `json:"python"`   // version, as in 3.12.1; empty for a command in another language
	Platform string            `json:"platform"` // as in linux-x86_64
	Packages map[string]string `json:"packages"` // distribution to version
}

// recordDomain separates this hash from every other. It is the Python suite's.
const recordDomain = "contracts:env:v1|"

// Digest is the Python suite's EnvironmentDigest with its default generator and one
// thread: 64 hexadecimal digits of BLAKE2b-256.
func (r EnvironmentRecord) Digest() string {
	names := make(Params, len(r.Packages))
	for name, version := range r.Packages {
		names[name] = StringValue(version)
	}
	packages := make([]Value, 0, len(names))
	for _, name := range names.Names() {
		packages = append(packages, listValue([]Value{StringValue(name), names[name]}))
	}
	return blake2b256(appendCanonical([]byte(recordDomain), mapValue([]Member{
		{"container", Value{}},
		{"cuda", Value{}},
		{"deps", listValue(packages)},
		{"platform", StringValue(r.Platform)},
		{"python", StringValue(r.Python)},
		{"rng", StringValue("PCG64")},
		{"threads", IntValue(1)},
	})))
}

func readRecord(m *mapping) *EnvironmentRecord {
	r := &EnvironmentRecord{Python: m.rawText("python"), Platform: m.rawText("platform"), Packages: map[string]string{}}
	if packages := m.sub("packages"); packages != nil {
		for _, member := range packages.members {
			r.Packages[member.Key] = packages.rawText(member.Key)
		}
	}
	return r
}
