package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"regexp"

	"go.yaml.in/yaml/v3"
)

// maxFile bounds the file with the settings, in bytes; the example has 2 KiB.
const maxFile = 1 << 20

// readFile reads the settings in the YAML file at path: texts just as they are
// written there, whatever type YAML would see in them, and lists of such texts.
// What is null is not set. Its errors name file and line, and never repeat a
// value, which may be secret, nor what the YAML library says of it.
func readFile(path string, known func(name string) bool) (map[string]any, error) {
	text, err := readText(path)
	if err != nil {
		return nil, err
	}
	bad := func(line int, format string, args ...any) error {
		return fmt.Errorf("config file %s, line %d: %s", path, line, fmt.Sprintf(format, args...))
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil {
		where := ""
		if m := errorLine.FindString(err.Error()); m != "" {
			where = ", " + m
		}
		return nil, fmt.Errorf("config file %s%s: this is not YAML: write name: value, with values that hold special characters in quotes", path, where)
	}
	if doc.Kind == 0 { // nothing but comments
		return nil, nil
	}
	top := doc.Content[0]
	if top.Kind == yaml.ScalarNode && top.ShortTag() == "!!null" {
		return nil, nil
	}
	if top.Kind != yaml.MappingNode {
		return nil, bad(top.Line, "settings are lines of the form name: value")
	}
	settings := make(map[string]any)
	seen := make(map[string]bool)
	for i := 0; i+1 < len(top.Content); i += 2 {
		key, value := top.Content[i], top.Content[i+1]
		name := key.Value
		switch {
		case key.Kind != yaml.ScalarNode || !settingName.MatchString(name):
			// A forgotten space makes the value a part of the name.
			return nil, bad(key.Line, "this is no setting: write name: value, with a space after the colon")
		case !known(name):
			return nil, bad(key.Line, "there is no setting %q", name)
		case seen[name]:
			return nil, bad(key.Line, "%s is set twice", name)
		}
		seen[name] = true
		if value.Kind == yaml.AliasNode {
			value = value.Alias
		}
		if value.Kind == yaml.SequenceNode {
			list := make([]string, 0, len(value.Content))
			for _, item := range value.Content {
				text, set, ok := written(item)
				if !ok || !set {
					return nil, bad(item.Line, "%s: an entry of the list can't be taken as it is written: put it in quotes", name)
				}
				list = append(list, text)
			}
			settings[name] = list
			continue
		}
		text, set, ok := written(value)
		if !ok {
			return nil, bad(value.Line, "%s: the value can't be taken as it is written: put it in quotes", name)
		}
		if set {
			settings[name] = text
		}
	}
	return settings, nil
}

// errorLine is the only part of the YAML library's errors that is passed on,
// settingName what may be repeated of a name.
var (
	errorLine   = regexp.MustCompile(`\bline [0-9]+`)
	settingName = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,64}$`)
)

// written returns the text of a scalar as it stands in the file. Null is not
// set; what is no scalar, or has a tag that gives its text another meaning, is
// not ok.
func written(n *yaml.Node) (text string, set, ok bool) {
	switch {
	case n.Kind != yaml.ScalarNode:
		return "", false, false
	case n.Style&yaml.TaggedStyle != 0:
		return n.Value, true, n.ShortTag() == "!!str"
	case n.ShortTag() == "!!null":
		return "", false, true
	}
	return n.Value, true, true
}

// readText reads the file at path as long as it is no larger than maxFile.
func readText(path string) (_ []byte, err error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("config file %s does not exist", path)
	}
	if err != nil {
		return nil, fmt.Errorf("config file: %w", err) // names the path
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("config file: %w", err)
	}
	if len(text) > maxFile {
		return nil, fmt.Errorf("config file %s is larger than %d bytes: it is not one of civgate", path, maxFile)
	}
	return text, nil
}
