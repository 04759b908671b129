package compress

import "fmt"

// Level is how hard a compressor tries. It changes the size of the file and nothing else.
type Level uint8

// The levels. The zero value is the default.
const (
	Default Level = iota
	Fastest
	Better
	Best
	// Max is what the zstd program reaches in long frames, see WriterOptions.ZstdProgram. All else is as Best.
	Max
)

var levelNames = [...]string{Default: "default", Fastest: "fastest", Better: "better", Best: "best", Max: "max"}

// String returns the name that [ParseLevel] takes.
func (l Level) String() string {
	if !l.valid() {
		return fmt.Sprintf("level %d", uint8(l))
	}
	return levelNames[l]
}

func (l Level) valid() bool { return int(l) < len(levelNames) }

// library returns the level that the libraries know for l.
func (l Level) library() Level { return min(l, Best) }

// ParseLevel returns the level of that name: fastest, default, better, best or max.
func ParseLevel(name string) (Level, error) {
	for l, n := range levelNames {
		if n == name {
			return Level(l), nil
		}
	}
	return Default, fmt.Errorf("level %q: must be fastest, default, better, best or max", name)
}
