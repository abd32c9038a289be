// retar.go: the `retar` subcommand, a tar read and written again header by
// header, which is what the reference's lossy mode makes of headers.
package main

import (
	stdtar "archive/tar"
	"flag"
	"fmt"
	"io"
	"time"

	splittar "github.com/vbatts/tar-split/archive/tar"
)

// headerReader and headerWriter are what the two tar packages have in common,
// over their own header type H.
type headerReader[H any] interface {
	io.Reader
	Next() (H, error)
}

type headerWriter[H any] interface {
	io.Writer
	WriteHeader(H) error
	Flush() error
	Close() error
}

func copyEntries[H any](tw headerWriter[H], tr headerReader[H]) (int, error) {
	for entries := 0; ; entries++ {
		h, err := tr.Next()
		if err == io.EOF {
			return entries, tw.Close()
		}
		if err != nil {
			return entries, fmt.Errorf("entry %d: %w", entries, err)
		}
		if err := tw.WriteHeader(h); err != nil {
			return entries, fmt.Errorf("entry %d: %w", entries, err)
		}
		if _, err := io.Copy(tw, tr); err != nil {
			return entries, fmt.Errorf("entry %d: %w", entries, err)
		}
		if err := tw.Flush(); err != nil {
			return entries, fmt.Errorf("entry %d: %w", entries, err)
		}
	}
}

func cmdRetar(fs *flag.FlagSet, args []string) (report, error) {
	with := fs.String("with-reader", "std", "tar package: std or tar-split")
	pos, err := parse(fs, args, "IN", "OUT")
	if err != nil {
		return nil, err
	}
	in, err := openStream(pos[0])
	if err != nil {
		return nil, err
	}
	defer in.Close()
	src, err := maybeGunzip(in)
	if err != nil {
		return nil, err
	}
	if *with != "std" && *with != "tar-split" {
		return nil, fmt.Errorf("--with-reader=%s: want std or tar-split", *with)
	}
	out, err := createOutput(pos[1], true)
	if err != nil {
		return nil, err
	}

	start := time.Now()
	var entries int
	if *with == "std" {
		entries, err = copyEntries[*stdtar.Header](stdtar.NewWriter(out), stdtar.NewReader(src))
	} else {
		entries, err = copyEntries[*splittar.Header](splittar.NewWriter(out), splittar.NewReader(src))
	}
	if err != nil {
		out.abandon()
		return nil, err
	}
	if err := out.finish(); err != nil {
		return nil, err
	}
	return report{
		"seconds": time.Since(start).Seconds(),
		"entries": entries,
		"size":    out.n,
		"sha256":  out.sha256(),
	}, nil
}
