// compress.go: the `compress` subcommand, which writes a zstd:chunked blob with
// the library, as podman and buildah do when they push.
package main

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"flag"
	"hash"
	"io"
	"os"
	"time"

	"go.podman.io/storage/pkg/chunked/compressor"
	"go.podman.io/storage/pkg/chunked/toc"
)

// summing counts and hashes what passes.
type summing struct {
	w   io.Writer
	n   int64
	sum hash.Hash
}

func newSumming(w io.Writer) *summing { return &summing{w: w, sum: sha256.New()} }

func (s *summing) Write(p []byte) (int, error) {
	n, err := s.w.Write(p)
	s.n += int64(n)
	s.sum.Write(p[:n])
	return n, err
}

func (s *summing) digest() string { return "sha256:" + hex.EncodeToString(s.sum.Sum(nil)) }

func cmdCompress(fs *flag.FlagSet, args []string) (report, error) {
	level := fs.Int("level", 0, "level as for the zstd command; 0 leaves the library's default")
	pos, err := parse(fs, args, "IN", "OUT")
	if err != nil {
		return nil, err
	}
	in, err := os.Open(pos[0])
	if err != nil {
		return nil, err
	}
	defer in.Close()
	file, err := os.Create(pos[1])
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if *level == 0 {
		level = nil
	}

	start := time.Now()
	out := newSumming(file)
	annotations := map[string]string{}
	w, err := compressor.ZstdCompressor(out, annotations, level)
	if err != nil {
		return nil, err
	}
	tar := newSumming(w)
	if _, err := io.Copy(tar, in); err != nil {
		// Its goroutine's own error comes with either call.
		return nil, errors.Join(err, w.Close())
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	if err := file.Close(); err != nil {
		return nil, err
	}
	seconds := time.Since(start).Seconds()

	tocDigest, err := toc.GetTOCDigest(annotations)
	if err != nil {
		return nil, err
	}
	if tocDigest == nil {
		return nil, errors.New("the annotations hold no TOC digest")
	}
	return report{
		"seconds":     seconds,
		"diff_id":     tar.digest(),
		"blob_digest": out.digest(),
		"blob_size":   out.n,
		"toc_digest":  tocDigest.String(),
		"annotations": annotations,
	}, nil
}
