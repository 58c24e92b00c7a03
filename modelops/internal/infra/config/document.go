package config

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/modelops-suite/modelops-go/contracts"
)

// Parse reads the file strictly. The error is an envelope with
// [contracts.CodeInvalidConfig] and every problem, each with field, message and hint.
// file only names the document in messages.
func Parse(file string, data []byte) (*Config, error) {
	document, faults := contracts.ParseYAML(data)
	if len(faults) > 0 {
		return nil, (&problems{faults}).err(file)
	}
	l, c := &problems{}, Default()
	if !checkVersion(document, l) {
		return nil, l.err(file)
	}
	sections := sections()
	for _, member := range document.Members() {
		keys, known := sections[member.Key]
		switch {
		case member.Key == "schema_version":
		case !known:
			l.add(contracts.FieldKey(member.Key), "is not a key of the configuration", hintFor(member.Key, slices.Sorted(maps.Keys(sections))))
		case member.Value.Kind() == contracts.KindMap:
			c.Cluster.Wanted = c.Cluster.Wanted || member.Key == clusterSection
			readMembers(c, l, member.Key, member.Value, keys)
		case member.Value.Kind() != contracts.KindNull:
			l.add(member.Key, "is "+member.Value.Kind().String()+", not a mapping", "write it as key: value")
		}
	}
	c.check(l)
	if err := l.err(file); err != nil {
		return nil, err
	}
	return c, nil
}

// checkVersion is false when the document is of another schema: no other problem of it
// would say anything.
func checkVersion(document contracts.Value, l *problems) bool {
	const field = "schema_version"
	for _, member := range document.Members() {
		if member.Key != field {
			continue
		}
		version, isInt := member.Value.Int64()
		switch {
		case version == Schema:
			return true
		case isInt && version < Schema:
			l.add(field, "is "+member.Value.Text()+", the Python suite's", "mops init --migrate takes over what it says")
		default:
			l.add(field, "is "+contracts.Quote(member.Value.Text()), fmt.Sprintf("this version of mops reads schema_version: %d", Schema))
		}
		return false
	}
	l.add(field, "is missing", fmt.Sprintf("the first line is schema_version: %d; a file of the Python suite: mops init --migrate", Schema))
	return false
}

// sections are the keys by the mapping that they lie in.
func sections() map[string][]Key {
	sections := map[string][]Key{}
	for _, key := range Keys() {
		sections[key.Section()] = append(sections[key.Section()], key)
	}
	return sections
}

// readMembers reads the mapping of a section, or of a part of one.
func readMembers[T any](c *T, l *problems, path string, v contracts.Value, keys []KeyOf[T]) {
	names := make([]string, len(keys))
	for i, key := range keys {
		names[i] = key.Name()
	}
	for _, member := range v.Members() {
		i := slices.Index(names, member.Key)
		if i < 0 {
			l.add(path+"."+contracts.FieldKey(member.Key), "is not a key of the configuration", hintFor(member.Key, names))
			continue
		}
		key := keys[i]
		key.Path = path + "." + key.Name()
		key.read(c, l, member.Value)
	}
}

// hintFor says which known key an unknown one was probably meant to be.
func hintFor(key string, names []string) string {
	if nearest := contracts.Nearest(key, names); nearest != "" {
		return "did you mean " + nearest + "?"
	}
	for _, known := range Keys() {
		if known.Name() == key {
			return "did you mean " + key + " under " + known.Section() + "?"
		}
	}
	return "it is one of " + strings.Join(slices.Sorted(slices.Values(names)), ", ")
}

// Set sets the key to a value, as [Parse] does; the problem is nil when it can have it.
func (k KeyOf[T]) Set(c *T, v contracts.Value) *contracts.Problem {
	l := &problems{}
	if k.read(c, l, v); len(l.list) > 0 {
		return &l.list[0]
	}
	return nil
}

// read sets the key to a value of the document; null is the same as absent.
func (k KeyOf[T]) read(c *T, l *problems, v contracts.Value) {
	if v.Kind() == contracts.KindNull {
		return
	}
	if v.Kind() != k.Kind {
		l.add(k.Path, "is "+v.Kind().String()+", not "+k.Kind.String(), map[contracts.Kind]string{
			contracts.KindString: "put it in quotes", contracts.KindBool: "write true or false, without quotes", contracts.KindInt: "write a whole number without quotes",
			contracts.KindList: "write it as [ … ], or one a line after a dash", contracts.KindMap: "write it as key: value",
		}[k.Kind])
		return
	}
	switch p := k.at(c).(type) {
	case *string:
		k.readText(p, l, v.Text())
	case *bool:
		*p, _ = v.Bool()
	case *int64:
		n, fits := v.Int64()
		if !fits || n < 0 || n > k.Max {
			l.add(k.Path, "is "+v.Text(), "it is 0 to "+strconv.FormatInt(k.Max, 10))
			return
		}
		*p = n
	default:
		nestedIn(p).read(k.Path, v, l)
	}
}

func (k KeyOf[T]) readText(p *string, l *problems, written string) {
	value := written
	if k.tidy != nil {
		value = k.tidy(written)
	}
	switch control := contracts.ControlCharacter(value); {
	case control != "":
		l.add(k.Path, control, "remove it")
		return
	case strings.TrimSpace(value) == "":
		l.add(k.Path, "is blank", "give it a value, or leave the key out")
		return
	case k.Words != nil && !slices.Contains(k.Words, value):
		l.add(k.Path, "is "+contracts.Quote(written), "it is one of "+strings.Join(k.Words, ", "))
		return
	}
	if k.rule != nil {
		if problem, hint := k.rule(value); problem != "" {
			l.add(k.Path, "is "+contracts.Quote(written)+" and "+problem, hint)
			return
		}
	}
	*p = value
}

// header is the first lines of a file that is written.
const header = `# The configuration of mops. Every key is in docs/configuration.md, and in the JSON
# Schema that "mops init --schema" prints. A key that is not known is an error.
`

// Marshal writes the file: what differs from its default, in the order of [Keys]. What
// [Parse] would refuse is refused.
func (c *Config) Marshal() ([]byte, error) {
	top := []contracts.Member{{Key: "schema_version", Value: contracts.IntValue(Schema)}}
	sections := sections()
	for _, key := range Keys() {
		section := key.Section()
		if written := writeMembers(c, sections[section]); len(written) > 0 || section == clusterSection && c.Cluster.Wanted && sections[section] != nil {
			top = append(top, contracts.Member{Key: section, Value: contracts.MapValue(written...)})
		}
		delete(sections, section) // once
	}
	data := append([]byte(header), contracts.MarshalYAML(contracts.MapValue(top...))...)
	if _, err := Parse("", data); err != nil {
		return nil, err
	}
	return data, nil
}

// writeMembers is what differs from its default.
func writeMembers[T any](c *T, keys []KeyOf[T]) []contracts.Member {
	var members []contracts.Member
	for _, key := range keys {
		if key.Text(c) != key.Default {
			members = append(members, contracts.Member{Key: key.Name(), Value: key.value(c)})
		}
	}
	return members
}

func (k KeyOf[T]) value(c *T) contracts.Value {
	switch p := k.at(c).(type) {
	case *bool:
		return contracts.BoolValue(*p)
	case *int64:
		return contracts.IntValue(*p)
	case *string:
		return contracts.StringValue(*p)
	default:
		return nestedIn(p).value()
	}
}

// Reference is the table of all keys in Markdown.
func Reference() string {
	var b strings.Builder
	b.WriteString("| key | type | default | means |\n|---|---|---|---|\n")
	for _, key := range Keys() {
		key.row(&b)
	}
	for _, key := range PoolKeys() {
		key.row(&b)
	}
	return b.String()
}

func (k KeyOf[T]) row(b *strings.Builder) {
	kind := strings.TrimPrefix(strings.TrimPrefix(k.Kind.String(), "a "), "an ")
	if k.Words != nil {
		kind = "`" + strings.Join(k.Words, "`, `") + "`"
	}
	value := k.Default
	if value != "" {
		value = "`" + value + "`"
	}
	fmt.Fprintf(b, "| `%s` | %s | %s | %s |\n", k.Path, kind, value, k.Doc)
}
