// untar.go: the `untar-split` subcommand, which puts the tar together from the
// tar-split data and each file's own frames, found by the TOC's offset and
// endOffset. The library finds a file's end by the next entry instead.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	"github.com/vbatts/tar-split/tar/asm"
	tarsplit "github.com/vbatts/tar-split/tar/storage"
)

// part reads and decompresses a part of the blob, and checks its digest.
func part(f io.ReaderAt, annotation string, want digest.Digest) ([]byte, error) {
	var at, compressed, size int64
	if _, err := fmt.Sscanf(annotation, "%d:%d:%d", &at, &compressed, &size); err != nil {
		return nil, fmt.Errorf("position %q: %w", annotation, err)
	}
	raw := make([]byte, compressed)
	if _, err := f.ReadAt(raw, at); err != nil {
		return nil, err
	}
	if got := digest.FromBytes(raw); got != want {
		return nil, fmt.Errorf("%d bytes at offset %d have digest %s, not %s", compressed, at, got, want)
	}
	d, err := zstd.NewReader(nil)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	data, err := d.DecodeAll(raw, nil)
	if err != nil {
		return nil, err
	}
	if int64(len(data)) != size {
		return nil, fmt.Errorf("%d bytes at offset %d hold %d, not %d", compressed, at, len(data), size)
	}
	return data, nil
}

// frames gives files' contents by name.
type frames struct {
	blob  io.ReaderAt
	files map[string]located
}

type located struct {
	Type      string        `json:"type"`
	Name      string        `json:"name"`
	Size      int64         `json:"size"`
	Digest    digest.Digest `json:"digest"`
	Offset    int64         `json:"offset"`
	EndOffset int64         `json:"endOffset"`
}

func (fr *frames) Get(name string) (io.ReadCloser, error) {
	l, ok := fr.files[name]
	if !ok {
		return nil, fmt.Errorf("%q: in the tar-split data, but not as a file in the TOC", name)
	}
	d, err := zstd.NewReader(io.NewSectionReader(fr.blob, l.Offset, l.EndOffset-l.Offset), zstd.WithDecoderConcurrency(1))
	if err != nil {
		return nil, err
	}
	defer d.Close()
	content, err := io.ReadAll(d)
	if err != nil {
		return nil, fmt.Errorf("%q: %w", name, err)
	}
	if int64(len(content)) != l.Size {
		return nil, fmt.Errorf("%q: frames from %d to %d hold %d bytes, not %d", name, l.Offset, l.EndOffset, len(content), l.Size)
	}
	if got := digest.FromBytes(content); got != l.Digest {
		return nil, fmt.Errorf("%q: digest is %s, not %s", name, got, l.Digest)
	}
	return io.NopCloser(bytes.NewReader(content)), nil
}

func cmdUntarSplit(fs *flag.FlagSet, args []string) (report, error) {
	annotationsFile := fs.String("annotations", "", "file with the annotations")
	splitOut := fs.String("tar-split", "", "also write the tar-split data to this file")
	pos, err := parse(fs, args, "BLOB", "OUT")
	if err != nil {
		return nil, err
	}
	annotations, err := readAnnotations(*annotationsFile)
	if err != nil {
		return nil, err
	}
	f, err := os.Open(pos[0])
	if err != nil {
		return nil, err
	}
	defer f.Close()

	start := time.Now()
	const prefix = "io.github.containers.zstd-chunked."
	manifest, err := part(f, annotations[prefix+"manifest-position"], digest.Digest(annotations[prefix+"manifest-checksum"]))
	if err != nil {
		return nil, fmt.Errorf("TOC: %w", err)
	}
	var toc struct {
		Entries        []located     `json:"entries"`
		TarSplitDigest digest.Digest `json:"tarSplitDigest"`
	}
	if err := json.Unmarshal(manifest, &toc); err != nil {
		return nil, err
	}
	split, err := part(f, annotations[prefix+"tarsplit-position"], toc.TarSplitDigest)
	if err != nil {
		return nil, fmt.Errorf("tar-split data: %w", err)
	}
	if *splitOut != "" {
		if err := os.WriteFile(*splitOut, split, 0o644); err != nil {
			return nil, err
		}
	}
	fr := &frames{blob: f, files: map[string]located{}}
	for _, l := range toc.Entries {
		if l.Type == "reg" {
			fr.files[l.Name] = l
		}
	}
	file, err := os.Create(pos[1])
	if err != nil {
		return nil, err
	}
	out := newSumming(file)
	if err := asm.WriteOutputTarStream(fr, tarsplit.NewJSONUnpacker(bytes.NewReader(split)), out); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	if err := file.Close(); err != nil {
		return nil, err
	}
	return report{
		"seconds":   time.Since(start).Seconds(),
		"diff_id":   out.digest(),
		"size":      out.n,
		"tar_split": len(split),
	}, nil
}
