package mention

import (
	"strings"

	"go.yaml.in/yaml/v3"
)

// resolve returns what a document or an alias stands for.
func resolve(n *yaml.Node) *yaml.Node {
	for n != nil {
		switch {
		case n.Kind == yaml.AliasNode:
			n = n.Alias
		case n.Kind == yaml.DocumentNode && len(n.Content) > 0:
			n = n.Content[0]
		default:
			return n
		}
	}
	return nil
}

// pairs calls yield for each key of a mapping with its value, resolved; what `<<` merges into it comes last.
func pairs(n *yaml.Node, yield func(key *yaml.Node, value *yaml.Node)) {
	if n == nil || n.Kind != yaml.MappingNode {
		return
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if !isMerge(n.Content[i]) {
			yield(n.Content[i], resolve(n.Content[i+1]))
		}
	}
}

func isMerge(key *yaml.Node) bool { return key.Value == "<<" && key.Tag == "!!merge" }

// get returns the value of a key, or nil: that of the mapping itself before those that it merges.
func get(n *yaml.Node, key string) *yaml.Node { return getMerged(n, key, 0) }

func getMerged(n *yaml.Node, key string, depth int) (value *yaml.Node) {
	if n = resolve(n); n == nil || n.Kind != yaml.MappingNode || depth > maxDepth {
		return nil
	}
	pairs(n, func(k, v *yaml.Node) {
		if k.Value == key {
			value = v
		}
	})
	for i := 0; i+1 < len(n.Content) && value == nil; i += 2 {
		if !isMerge(n.Content[i]) {
			continue
		}
		merged := resolve(n.Content[i+1])
		if merged.Kind == yaml.MappingNode {
			value = getMerged(merged, key, depth+1)
		}
		for _, m := range items(merged) {
			if value == nil {
				value = getMerged(m, key, depth+1)
			}
		}
	}
	return value
}

// at returns what is at the end of a path of keys, divided by dots, or nil.
func at(n *yaml.Node, path string) *yaml.Node {
	for key := range strings.SplitSeq(path, ".") {
		n = get(n, key)
	}
	return n
}

// items returns the items of a sequence, resolved.
func items(n *yaml.Node) []*yaml.Node {
	if n == nil || n.Kind != yaml.SequenceNode {
		return nil
	}
	list := make([]*yaml.Node, len(n.Content))
	for i, item := range n.Content {
		list[i] = resolve(item)
	}
	return list
}

// text returns the text of a scalar that is not null.
func text(n *yaml.Node) (string, bool) {
	if n == nil || n.Kind != yaml.ScalarNode || n.Tag == "!!null" {
		return "", false
	}
	return n.Value, true
}

// word returns the text of a scalar, or nothing.
func word(n *yaml.Node) string {
	s, _ := text(n)
	return s
}
