package config

import (
	"reflect"
	"strings"
	"testing"
)

// Each key has a field of its own, of its name, and no field is without a key.
func TestKeysAreFields(t *testing.T) {
	c := &Config{}
	fields := map[any]string{}
	sections := reflect.ValueOf(c).Elem()
	for i := range sections.NumField() {
		section := sections.Field(i)
		for j := range section.NumField() {
			path := sections.Type().Field(i).Name + "." + section.Type().Field(j).Name
			fields[section.Field(j).Addr().Interface()] = strings.ToLower(path)
		}
	}
	for _, key := range Keys() {
		field, there := fields[key.at(c)]
		if want := strings.ReplaceAll(key.Path, "_", ""); !there || field != want {
			t.Errorf("%s is the field %s", key.Path, field)
		}
		delete(fields, key.at(c))
	}
	delete(fields, &c.Cluster.Wanted) // the section itself says it
	if len(fields) > 0 {
		t.Errorf("no key for %v", fields)
	}
}
