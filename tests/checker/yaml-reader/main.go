// yaml-reader answers what Kubernetes reads in a YAML file.
//
// In: one JSON object per line with a text, the number of a document in it and a path of keys and indexes. Out: one
// JSON object per line, in the same order, with the value sigs.k8s.io/yaml reads there, or why it reads none. kubectl,
// the API server, Kustomize, Helm, Flux and Argo CD read with this package; tars shares no code with it.
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"sigs.k8s.io/yaml"
)

type question struct {
	Text     string `json:"text"`
	Document int    `json:"document"`
	Path     []any  `json:"path"`
}

type answer struct {
	Value any    `json:"value"`
	Error string `json:"error,omitempty"`
}

func main() {
	if err := serve(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "yaml-reader:", err)
		os.Exit(1)
	}
}

func serve(in io.Reader, out io.Writer) error {
	questions := json.NewDecoder(bufio.NewReader(in))
	questions.UseNumber()
	buffered := bufio.NewWriter(out)
	answers := json.NewEncoder(buffered)
	for {
		var asked question
		if err := questions.Decode(&asked); errors.Is(err, io.EOF) {
			return buffered.Flush()
		} else if err != nil {
			return err
		}
		var told answer
		if value, err := read(asked); err != nil {
			told.Error = err.Error()
		} else {
			told.Value = value
		}
		if err := answers.Encode(told); err != nil {
			return err
		}
	}
}

func read(asked question) (any, error) {
	documents := split(asked.Text)
	if asked.Document >= len(documents) {
		return nil, fmt.Errorf("%d documents, none with number %d", len(documents), asked.Document)
	}
	text, err := yaml.YAMLToJSON([]byte(documents[asked.Document]))
	if err != nil {
		return nil, err
	}
	var value any
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	if err := decoder.Decode(&value); err != nil {
		return nil, err
	}
	for _, step := range asked.Path {
		if value, err = child(value, step); err != nil {
			return nil, err
		}
	}
	return value, nil
}

func child(value any, step any) (any, error) {
	switch holder := value.(type) {
	case map[string]any:
		if found, there := holder[fmt.Sprint(step)]; there {
			return found, nil
		}
	case []any:
		if number, ok := step.(json.Number); ok {
			if at, err := number.Int64(); err == nil && at >= 0 && at < int64(len(holder)) {
				return holder[at], nil
			}
		}
	}
	return nil, fmt.Errorf("nothing at %v", step)
}

// split cuts a stream at its document markers, as Kubernetes does before it reads: `---` and `...` at the start of a
// line mean nothing else anywhere. What stands before the first marker is a document only if it says something.
func split(text string) []string {
	var documents []string
	var current strings.Builder
	started, said := false, false
	end := func() {
		if started || said {
			documents = append(documents, current.String())
		}
		current.Reset()
		started, said = false, false
	}
	for line := range strings.SplitAfterSeq(strings.TrimPrefix(text, "\ufeff"), "\n") {
		switch {
		case marks(line, "---"):
			end()
			started = true
			line = "   " + line[3:]
		case marks(line, "..."):
			end()
			continue
		}
		content := strings.TrimSpace(line)
		directive := !started && strings.HasPrefix(line, "%")
		said = said || content != "" && !strings.HasPrefix(content, "#") && !directive
		if !directive {
			current.WriteString(line)
		}
	}
	end()
	return documents
}

func marks(line, marker string) bool {
	rest, found := strings.CutPrefix(line, marker)
	return found && (rest == "" || strings.ContainsAny(rest[:1], " \t\r\n"))
}
