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
			readSection(c, l, member, keys)
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

func readSection(c *Config, l *problems, section contracts.Member, keys []Key) {
	names := make([]string, len(keys))
	for i, key := range keys {
		names[i] = key.Name()
	}
	for _, member := range section.Value.Members() {
		i := slices.Index(names, member.Key)
		if i < 0 {
			l.add(section.Key+"."+contracts.FieldKey(member.Key), "is not a key of the configuration", hintFor(member.Key, names))
			continue
		}
		keys[i].read(c, l, member.Value)
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
func (k Key) Set(c *Config, v contracts.Value) *contracts.Problem {
	l := &problems{}
	if k.read(c, l, v); len(l.list) > 0 {
		return &l.list[0]
	}
	return nil
}

// read sets the key to a value of the document; null is the same as absent.
func (k Key) read(c *Config, l *problems, v contracts.Value) {
	if v.Kind() == contracts.KindNull {
		return
	}
	if v.Kind() != k.Kind {
		l.add(k.Path, "is "+v.Kind().String()+", not "+k.Kind.String(), map[contracts.Kind]string{
			contracts.KindString: "put it in quotes", contracts.KindBool: "write true or false, without quotes", contracts.KindInt: "write a whole number without quotes",
		}[k.Kind])
		return
	}
	switch p := k.at(c).(type) {
	case *string:
		k.readText(p, l, v.Text())
	case *bool:
		*p, _ = v.Bool()
	case *int64:
		days, fits := v.Int64()
		if !fits || days < 0 || days > MaxScratchDays {
			l.add(k.Path, "is "+v.Text(), "it is 0 to "+strconv.Itoa(MaxScratchDays))
			return
		}
		*p = days
	}
}

func (k Key) readText(p *string, l *problems, written string) {
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
	var members []contracts.Member
	keys := Keys()
	for i, key := range keys {
		if text := key.Text(c); text != key.Default {
			members = append(members, contracts.Member{Key: key.Name(), Value: key.value(c)})
		}
		if last := i == len(keys)-1 || keys[i+1].Section() != key.Section(); last && len(members) > 0 {
			top = append(top, contracts.Member{Key: key.Section(), Value: contracts.MapValue(members...)})
			members = nil
		}
	}
	data := append([]byte(header), contracts.MarshalYAML(contracts.MapValue(top...))...)
	if _, err := Parse("", data); err != nil {
		return nil, err
	}
	return data, nil
}

func (k Key) value(c *Config) contracts.Value {
	switch p := k.at(c).(type) {
	case *bool:
		return contracts.BoolValue(*p)
	case *int64:
		return contracts.IntValue(*p)
	default:
		return contracts.StringValue(k.Text(c))
	}
}

// Reference is the table of all keys in Markdown.
func Reference() string {
	var b strings.Builder
	b.WriteString("| key | type | default | means |\n|---|---|---|---|\n")
	for _, key := range Keys() {
		kind := strings.TrimPrefix(strings.TrimPrefix(key.Kind.String(), "a "), "an ")
		if key.Words != nil {
			kind = "`" + strings.Join(key.Words, "`, `") + "`"
		}
		value := key.Default
		if value != "" {
			value = "`" + value + "`"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", key.Path, kind, value, key.Doc)
	}
	return b.String()
}
