// read.go: what gVisor makes of a state file: its payload, its metadata, or the
// sort of error it ends with. A refused file is an answer, not a failure.
package main

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"time"

	"gvisor.dev/gvisor/pkg/compressio"
	"gvisor.dev/gvisor/pkg/state/statefile"
)

func cmdRead(fs *flag.FlagSet, args []string) (report, error) {
	keyFile := fs.String("key-file", "", "the key")
	call := fs.Int("call", defaultCall, "bytes asked for with each Read call")
	hash := fs.Bool("hash", true, "take the SHA-256 of the payload")
	outFile := fs.String("out", "", "where the payload goes")
	files, err := parse(fs, args, "IN")
	if err != nil {
		return nil, err
	}
	key, err := readKey(*keyFile)
	if err != nil {
		return nil, err
	}
	in, err := os.Open(files[0])
	if err != nil {
		return nil, err
	}
	defer in.Close()
	var sinks []io.Writer
	digest := sha256.New()
	if *hash {
		sinks = append(sinks, digest)
	}
	if *outFile != "" {
		out, err := os.Create(*outFile)
		if err != nil {
			return nil, err
		}
		defer out.Close()
		sinks = append(sinks, out)
	}

	got := &reading{metadata: map[string]string{}}
	start := time.Now()
	failure := got.all(in, key, *call, sinks)
	rep := report{
		"seconds":  time.Since(start).Seconds(),
		"bytes":    got.bytes,
		"opened":   got.opened,
		"metadata": got.metadata,
		"error":    kind(failure),
		"sha256":   "",
	}
	if *hash {
		rep["sha256"] = hex.EncodeToString(digest.Sum(nil))
	}
	return rep, nil
}

// reading is what came out of a file until it ended.
type reading struct {
	bytes    int64
	opened   bool
	metadata map[string]string
}

// all reads the file to its end. A panic inside the library is an error like any other.
func (got *reading) all(in *os.File, key []byte, call int, sinks []io.Writer) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	opened, metadata, err := statefile.NewReader(in, key)
	if err != nil {
		return err
	}
	got.opened, got.metadata = true, metadata
	var r io.Reader = opened
	buf := make([]byte, call)
	for {
		n, err := r.Read(buf)
		got.bytes += int64(n)
		for _, sink := range sinks {
			if _, err := sink.Write(buf[:n]); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func cmdMetadata(fs *flag.FlagSet, args []string) (report, error) {
	files, err := parse(fs, args, "IN")
	if err != nil {
		return nil, err
	}
	in, err := os.Open(files[0])
	if err != nil {
		return nil, err
	}
	defer in.Close()
	start := time.Now()
	metadata, failure := statefile.MetadataUnsafe(in)
	return report{
		"seconds":  time.Since(start).Seconds(),
		"metadata": metadata,
		"error":    kind(failure),
	}, nil
}

// kind names the sort of an error.
func kind(err error) string {
	for _, known := range []struct {
		err  error
		name string
	}{
		{statefile.ErrBadMagic, "bad-magic"},
		{statefile.ErrInvalidMetadataLength, "metadata-length"},
		{statefile.ErrInvalidFlags, "invalid-flags"},
		{compressio.ErrHashMismatch, "hash-mismatch"},
		{io.ErrNoProgress, "no-progress"},
		{io.ErrUnexpectedEOF, "short"},
		{io.EOF, "end"},
	} {
		if errors.Is(err, known.err) {
			return known.name
		}
	}
	if err != nil {
		return err.Error()
	}
	return ""
}
