package config

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/modelops-suite/modelops-go/contracts"
)

// nested is a value that is a list or a mapping.
type nested interface {
	read(path string, v contracts.Value, l *problems)
	value() contracts.Value // null when there is nothing in it
	schema() map[string]any // its type, and what may be in it
}

// nestedIn is the list or the mapping that a pointer to a field is one of.
func nestedIn(p any) nested {
	switch p := p.(type) {
	case *[]string:
		return list[string]{p, readRange, contracts.StringValue, map[string]any{"type": "string"}}
	case *[]int64:
		return list[int64]{p, readZone, contracts.IntValue, map[string]any{"enum": []any{1, 2, 3}}}
	case *[]Taint:
		return list[Taint]{p, readTaint, func(t Taint) contracts.Value { return contracts.StringValue(t.String()) },
			map[string]any{"type": []string{"string", "object"}}}
	case *[]NodePool:
		write := func(pool NodePool) contracts.Value { return contracts.MapValue(writeMembers(&pool, PoolKeys())...) }
		schema := mapping(PoolKeys(), "object")
		schema["required"] = []string{"name", "vm_size"}
		return list[NodePool]{p, readPool, write, schema}
	case *[]Toleration:
		return list[Toleration]{p, readToleration, func(t Toleration) contracts.Value { return contracts.StringValue(Taint(t).String()) },
			map[string]any{"type": []string{"string", "object"}}}
	case *map[string]string:
		return labels{p, labelKey}
	case *Selector:
		return labels{(*map[string]string)(p), selectorKey}
	}
	panic("a field of a kind that no key has") // TestKeysAreFields
}

// list is a list of T.
type list[T any] struct {
	items *[]T
	item  func(path string, v contracts.Value, l *problems) (T, bool)
	write func(T) contracts.Value
	form  map[string]any // of an item, in JSON Schema
}

func (n list[T]) read(path string, v contracts.Value, l *problems) {
	for i, item := range v.Items() {
		if read, ok := n.item(path+"["+strconv.Itoa(i)+"]", item, l); ok {
			*n.items = append(*n.items, read)
		}
	}
}

func (n list[T]) value() contracts.Value {
	if len(*n.items) == 0 {
		return contracts.Value{}
	}
	written := make([]contracts.Value, len(*n.items))
	for i, item := range *n.items {
		written[i] = n.write(item)
	}
	return contracts.ListValue(written...)
}

func (n list[T]) schema() map[string]any {
	return map[string]any{"type": []string{"array", "null"}, "items": n.form}
}

func readRange(path string, v contracts.Value, l *problems) (string, bool) {
	if v.Kind() != contracts.KindString {
		l.add(path, "is "+v.Kind().String()+", not a string", "write a network as in 203.0.113.0/24")
		return "", false
	}
	problem, hint := cidr(v.Text())
	if problem != "" {
		l.add(path, "is "+contracts.Quote(v.Text())+" and "+problem, hint)
	}
	return v.Text(), problem == ""
}

func readZone(path string, v contracts.Value, l *problems) (int64, bool) {
	zone, ok := v.Int64()
	if !ok || zone < 1 || zone > 3 {
		l.add(path, "is "+contracts.Quote(v.Text()), "a zone is 1, 2 or 3, without quotes")
		return 0, false
	}
	return zone, true
}

func readPool(path string, v contracts.Value, l *problems) (pool NodePool, ok bool) {
	if v.Kind() != contracts.KindMap {
		l.add(path, "is "+v.Kind().String()+", not a mapping", "write it as {name: workers, vm_size: Standard_D8s_v5}")
		return pool, false
	}
	keys := PoolKeys()
	for _, key := range keys {
		key.reset(&pool)
	}
	readMembers(&pool, l, path, v, keys)
	given := func(keys ...string) bool {
		return slices.ContainsFunc(v.Members(), func(m contracts.Member) bool {
			return slices.Contains(keys, m.Key) && m.Value.Kind() != contracts.KindNull
		})
	}
	if given("count") && given("min", "max") {
		l.add(path+".count", "is there beside min and max", "count is for a pool of one size; min and max let it grow and shrink")
	}
	return pool, true
}

// readTaint reads a taint that nodes are to have.
func readTaint(path string, v contracts.Value, l *problems) (t Taint, ok bool) {
	return taintWith(labelKey, path, v, l)
}

// readToleration reads a taint that nodes may have, the cluster's own among them.
func readToleration(path string, v contracts.Value, l *problems) (Toleration, bool) {
	t, ok := taintWith(selectorKey, path, v, l)
	return Toleration(t), ok
}

// taintWith reads a taint in any of its three forms, whose key keeps to a rule.
func taintWith(rule func(string) (string, string), path string, v contracts.Value, l *problems) (t Taint, ok bool) {
	switch v.Kind() {
	case contracts.KindString:
		var rest string
		rest, t.Effect, _ = strings.Cut(v.Text(), ":")
		t.Key, t.Value, _ = strings.Cut(rest, "=")
	case contracts.KindMap:
		keys := []KeyOf[Taint]{
			{Path: "key", Kind: contracts.KindString, at: func(t *Taint) any { return &t.Key }},
			{Path: "value", Kind: contracts.KindString, at: func(t *Taint) any { return &t.Value }},
			{Path: "effect", Kind: contracts.KindString, at: func(t *Taint) any { return &t.Effect }},
		}
		before := len(l.list)
		if readMembers(&t, l, path, v, keys); len(l.list) > before {
			return t, false
		}
	default:
		l.add(path, "is "+v.Kind().String(), "write it as key=value:NoSchedule")
		return t, false
	}
	return t, checkTaint(rule, path, t, l)
}

func checkTaint(rule func(string) (string, string), path string, t Taint, l *problems) bool {
	effects := []string{"NoExecute", "NoSchedule", "PreferNoSchedule"}
	if !slices.Contains(effects, t.Effect) {
		l.add(path, "has the effect "+contracts.Quote(t.Effect), "write it as key=value:NoSchedule; the effect is one of "+strings.Join(effects, ", "))
		return false
	}
	problem, hint := rule(t.Key)
	part := t.Key
	if problem == "" {
		part = t.Value
		problem, hint = labelValue(t.Value)
	}
	if problem != "" {
		l.add(path, "has "+contracts.Quote(part)+", which "+problem, hint)
	}
	return problem == ""
}

// labels is a mapping of labels, whose keys keep to a rule.
type labels struct {
	of  *map[string]string
	key func(string) (problem, hint string)
}

func (n labels) read(path string, v contracts.Value, l *problems) {
	found := map[string]string{}
	for _, member := range v.Members() {
		field := path + "." + contracts.FieldKey(member.Key)
		if member.Value.Kind() != contracts.KindString {
			l.add(field, "is "+member.Value.Kind().String()+", not a string", "put it in quotes")
			continue
		}
		if problem, hint := n.key(member.Key); problem != "" {
			l.add(field, problem, hint)
			continue
		}
		if problem, hint := labelValue(member.Value.Text()); problem != "" {
			l.add(field, "is "+contracts.Quote(member.Value.Text())+", which "+problem, hint)
			continue
		}
		found[member.Key] = member.Value.Text()
	}
	if len(found) > 0 {
		*n.of = found
	}
}

func (n labels) value() contracts.Value {
	if len(*n.of) == 0 {
		return contracts.Value{}
	}
	var members []contracts.Member
	for _, key := range slices.Sorted(maps.Keys(*n.of)) {
		members = append(members, contracts.Member{Key: key, Value: contracts.StringValue((*n.of)[key])})
	}
	return contracts.MapValue(members...)
}

func (n labels) schema() map[string]any {
	return map[string]any{"type": []string{"object", "null"}, "additionalProperties": map[string]any{"type": "string"}}
}
