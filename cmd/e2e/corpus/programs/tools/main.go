// Command tools lies in the base layer of the images and knows a few things that a shell would.
package main

import (
	"archive/tar"
	"compress/gzip"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "tools:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 1 {
		return errors.New("usage: tools cat|sha256|gunzip|list")
	}
	switch args[0] {
	case "cat":
		_, err := io.Copy(os.Stdout, os.Stdin)
		return err
	case "sha256":
		h := sha256.New()
		_, err := io.Copy(h, os.Stdin)
		fmt.Printf("%x\n", h.Sum(nil))
		return err
	case "gunzip":
		r, err := gzip.NewReader(os.Stdin)
		if err != nil {
			return err
		}
		_, err = io.Copy(os.Stdout, r)
		return err
	case "list":
		return list(tar.NewReader(os.Stdin))
	}
	return fmt.Errorf("unknown tool %q", args[0])
}

func list(r *tar.Reader) error {
	for {
		header, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		fmt.Println(header.Name)
	}
}
