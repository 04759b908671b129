// Command parts runs one part of ferry's compact bundles alone, so that bench can measure it as a process of its own. It
// prints what it found as JSON.
//
//	parts parse BLOB                     take a gzip blob apart into its tokens, and no more
//	parts find [-plain P -recipe R] BLOB prove which encoder made a gzip blob
//	parts recreate P R                   make the blob again, from its plain bytes and the recipe
//	parts compress -o FILE PLAIN...      write files into long frames
//	parts recipes BUNDLE                 count what the recipes of a compact bundle are for
//	parts radius BUNDLE                  tell how many images a bad byte in a long frame hits
//	parts sparse [-size N] BUNDLE        write a plain bundle that takes no room on the disk
package main

import (
	"bufio"
	stdgzip "compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"

	"github.com/ferry-oci/ferry/compress/deflate"
	"github.com/ferry-oci/ferry/compress/gzip"
)

func main() {
	if err := run(context.Background(), os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "parts:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	commands := map[string]func(context.Context, *flag.FlagSet, []string) (any, error){
		"parse": parse, "find": find, "recreate": recreate, "compress": compressFiles, "recipes": recipes, "radius": radius,
		"sparse": sparse,
	}
	if len(args) == 0 || commands[args[0]] == nil {
		return errors.New("no such part")
	}
	result, err := commands[args[0]](ctx, flag.NewFlagSet(args[0], flag.ContinueOnError), args[1:])
	if err != nil {
		return fmt.Errorf("%s: %w", args[0], err)
	}
	return json.NewEncoder(os.Stdout).Encode(result)
}

// parse reads a blob of one member.
func parse(_ context.Context, flags *flag.FlagSet, args []string) (any, error) {
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	f, err := os.Open(flags.Arg(0))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	in := bufio.NewReaderSize(f, 1<<20)
	if _, err := stdgzip.NewReader(in); err != nil { // reads the header, and no byte behind it
		return nil, err
	}
	var plain int64
	for r := deflate.NewReader(in); ; {
		if _, err := r.Next(); err == io.EOF {
			return map[string]int64{"plain": plain}, nil
		} else if err != nil {
			return nil, err
		}
		plain += int64(len(r.Plain()))
	}
}

// found is what there is to say of a blob that has a recipe.
type found struct {
	Engine string `json:"engine"` // of the first member
	Blob   int64  `json:"blob"`   // bytes
	Plain  int64  `json:"plain"`
	Recipe int    `json:"recipe"`
}

// find writes plain bytes and recipe where that is wanted.
func find(ctx context.Context, flags *flag.FlagSet, args []string) (_ any, err error) {
	plainFile := flags.String("plain", os.DevNull, "write the plain bytes to this `file`")
	recipeFile := flags.String("recipe", os.DevNull, "write the recipe to this `file`")
	parallel := flags.Int("j", 1, "run `N` encoders at once")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	blob, err := os.Open(flags.Arg(0))
	if err != nil {
		return nil, err
	}
	defer blob.Close()
	plain, err := os.Create(*plainFile)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, plain.Close()) }()
	r, err := gzip.Find(ctx, blob, plain, gzip.FindOptions{Parallel: *parallel})
	if err != nil {
		return nil, err
	}
	encoded := r.Encode()
	result := found{Engine: r.Engines[r.Members[0].Engine].String(), Blob: r.Size, Plain: r.PlainSize, Recipe: len(encoded)}
	return result, os.WriteFile(*recipeFile, encoded, 0o644)
}

// recreate makes a blob and drops it: what it is was proven on the way.
func recreate(ctx context.Context, flags *flag.FlagSet, args []string) (any, error) {
	parallel := flags.Int("j", 1, "run `N` encoders at once")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	plain, err := os.Open(flags.Arg(0))
	if err != nil {
		return nil, err
	}
	defer plain.Close()
	encoded, err := os.ReadFile(flags.Arg(1))
	if err != nil {
		return nil, err
	}
	r, err := gzip.Decode(encoded)
	if err != nil {
		return nil, err
	}
	return map[string]int64{"plain": r.PlainSize},
		gzip.Recreate(ctx, r, plain, io.Discard, gzip.RecreateOptions{Parallel: *parallel})
}
