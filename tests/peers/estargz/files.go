// files.go: the small input and output helpers the subcommands share: opening
// a file as a section, buffered outputs that count, and gzip detection.
package main

import (
	"bufio"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"os"
)

// openSection opens a regular file for random access.
func openSection(name string) (*os.File, *io.SectionReader, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, nil, err
	}
	st, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	if !st.Mode().IsRegular() {
		f.Close()
		return nil, nil, fmt.Errorf("%s is not a regular file", name)
	}
	return f, io.NewSectionReader(f, 0, st.Size()), nil
}

// openStream opens a file for one pass; "-" is standard input.
func openStream(name string) (io.ReadCloser, error) {
	if name == "-" {
		return io.NopCloser(os.Stdin), nil
	}
	return os.Open(name)
}

// output is a buffered file that counts, and if asked hashes, what it is given.
type output struct {
	f   *os.File
	bw  *bufio.Writer
	n   int64
	sum hash.Hash
}

func createOutput(name string, hashed bool) (*output, error) {
	f, err := os.Create(name)
	if err != nil {
		return nil, err
	}
	o := &output{f: f, bw: bufio.NewWriterSize(f, 1<<20)}
	if hashed {
		o.sum = sha256.New()
	}
	return o, nil
}

func (o *output) Write(p []byte) (int, error) {
	n, err := o.bw.Write(p)
	o.n += int64(n)
	if o.sum != nil {
		o.sum.Write(p[:n])
	}
	return n, err
}

// finish flushes and closes; abandon is for the paths that already failed.
func (o *output) finish() error {
	if err := o.bw.Flush(); err != nil {
		o.f.Close()
		return err
	}
	return o.f.Close()
}

func (o *output) abandon() { o.f.Close() }

func (o *output) sha256() string { return hex.EncodeToString(o.sum.Sum(nil)) }

// maybeGunzip returns the stream itself or, if it starts like gzip, what it
// decompresses to.
func maybeGunzip(r io.Reader) (io.Reader, error) {
	br := bufio.NewReaderSize(r, 1<<20)
	if head, _ := br.Peek(3); len(head) == 3 && head[0] == 0x1f && head[1] == 0x8b && head[2] == 8 {
		return gzip.NewReader(br)
	}
	return br, nil
}
