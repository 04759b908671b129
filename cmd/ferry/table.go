package main

import (
	"io"
	"strings"
	"unicode/utf8"
)

// table is text in columns, for the eye.
type table struct {
	header []string
	right  []bool // columns of numbers, which end at one edge
	rows   [][]string
}

// newTable returns a table without rows. A title that begins with ">" makes its column end at the right edge.
func newTable(titles ...string) *table {
	t := &table{}
	for _, title := range titles {
		bare := strings.TrimPrefix(title, ">")
		t.header = append(t.header, bare)
		t.right = append(t.right, bare != title)
	}
	return t
}

// add appends a row with one cell for each column.
func (t *table) add(cells ...string) {
	row := make([]string, len(cells))
	for i, cell := range cells {
		row[i] = oneLine(cell)
	}
	t.rows = append(t.rows, row)
}

// writeTo writes header and rows, columns two spaces apart.
func (t *table) writeTo(w io.Writer) error {
	lines := append([][]string{t.header}, t.rows...)
	widths := make([]int, len(t.header))
	for _, line := range lines {
		for i, cell := range line {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	var b strings.Builder
	for _, line := range lines {
		var text strings.Builder
		for i, cell := range line {
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			if t.right[i] {
				text.WriteString(pad + cell + "  ")
			} else {
				text.WriteString(cell + pad + "  ")
			}
		}
		b.WriteString(strings.TrimRight(text.String(), " ") + "\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}
