// Command attacher reads requests for volumes as lines of JSON and grants them all.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"io"
	"log"
	"os"
	"time"
)

type request struct {
	Volume string `json:"volume"`
	Node   string `json:"node"`
}

type grant struct {
	request
	Since time.Time `json:"since"`
}

func main() {
	driver := flag.String("driver", "csi.example.org", "name of the storage driver")
	flag.Parse()
	log.SetPrefix(*driver + ": ")
	in, out := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	for {
		var r request
		err := in.Decode(&r)
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			log.Fatal(err)
		}
		if err := out.Encode(grant{request: r, Since: time.Now()}); err != nil {
			log.Fatal(err)
		}
	}
}
