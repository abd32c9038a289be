// apply.go: the subcommands that read a blob the way podman pulls a layer in
// parts. The library finds the TOC by the annotations, checks it against the
// tar-split data, fetches the files and puts the tar together again for its
// digest.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/opencontainers/go-digest"
	"go.podman.io/storage"
	graphdriver "go.podman.io/storage/drivers"
	"go.podman.io/storage/pkg/archive"
	"go.podman.io/storage/pkg/chunked"
)

// emptyStore is the little of a store that reading one layer needs: options
// that allow it, a place for temporary files, and no other layers.
type emptyStore struct {
	storage.Store // not set: any other method would be a change to look at
	dir           string
}

func (s *emptyStore) PullOptions() map[string]string {
	return map[string]string{"enable_partial_images": "true"}
}
func (s *emptyStore) GraphDriver() (graphdriver.Driver, error) { return differDriver{}, nil }
func (s *emptyStore) RunRoot() string                          { return s.dir }
func (s *emptyStore) Layers() ([]storage.Layer, error)         { return nil, nil }

// differDriver says that it can take parts of a layer; it is never called.
type differDriver struct{ graphdriver.DriverWithDiffer }

// blobSource serves ranges of a file, as a registry would of a blob, and counts
// what was asked for.
type blobSource struct {
	file     *os.File
	requests int
	bytes    uint64
}

func (s *blobSource) GetBlobAt(chunks []chunked.ImageSourceChunk) (chan io.ReadCloser, chan error, error) {
	streams := make(chan io.ReadCloser)
	errs := make(chan error)
	s.requests++
	for _, c := range chunks {
		s.bytes += c.Length
	}
	go func() {
		for _, c := range chunks {
			streams <- io.NopCloser(io.NewSectionReader(s.file, int64(c.Offset), int64(c.Length)))
		}
		// Not before all streams were taken: the library reads both channels at
		// once, and takes a closed one of errors for too few streams.
		close(streams)
		close(errs)
	}()
	return streams, errs, nil
}

// readAnnotations reads a JSON object of texts; or the object a `compress`
// printed, which has such an object in it.
func readAnnotations(name string) (map[string]string, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	var printed struct {
		Annotations map[string]string `json:"annotations"`
	}
	if err := json.Unmarshal(text, &printed); err == nil && printed.Annotations != nil {
		return printed.Annotations, nil
	}
	var annotations map[string]string
	if err := json.Unmarshal(text, &annotations); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return annotations, nil
}

// applied is what came of one layer.
type applied struct {
	output  graphdriver.DriverWithDifferOutput
	source  *blobSource
	entries []json.RawMessage
	rep     report
}

// apply reads the blob into dir, which must be empty. In the flat layout files
// are named by their digests and have no attributes, which needs no privileges.
func apply(blob, annotationsFile, dir string, format graphdriver.DifferOutputFormat) (*applied, error) {
	annotations, err := readAnnotations(annotationsFile)
	if err != nil {
		return nil, err
	}
	f, err := os.Open(blob)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	blobDigest, err := digest.FromReader(f)
	if err != nil {
		return nil, err
	}
	tmp, err := os.MkdirTemp("", "storage-peer-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(tmp)
	source := &blobSource{file: f}

	start := time.Now()
	differ, err := chunked.NewDiffer(context.Background(), &emptyStore{dir: tmp}, blobDigest, st.Size(), annotations, source)
	if err != nil {
		return nil, err
	}
	defer differ.Close()
	output, err := differ.ApplyDiff(dir, &archive.TarOptions{}, &graphdriver.DifferOptions{Format: format})
	if err != nil {
		return nil, err
	}
	seconds := time.Since(start).Seconds()
	if output.TarSplit == nil {
		return nil, errors.New("the library read no tar-split data")
	}
	defer output.TarSplit.Close()

	// The TOC's own type is internal to the library; its JSON is not.
	text, err := json.Marshal(output.Artifacts["toc"])
	if err != nil {
		return nil, err
	}
	var parsed struct {
		Version        int               `json:"version"`
		Entries        []json.RawMessage `json:"entries"`
		TarSplitDigest string            `json:"tarSplitDigest"`
	}
	if err := json.Unmarshal(text, &parsed); err != nil {
		return nil, err
	}
	return &applied{
		output:  output,
		source:  source,
		entries: parsed.Entries,
		rep: report{
			"seconds":          seconds,
			"toc_digest":       output.TOCDigest.String(),
			"diff_id":          output.UncompressedDigest.String(),
			"tar_size":         output.Size,
			"version":          parsed.Version,
			"entries":          len(parsed.Entries),
			"tar_split_digest": parsed.TarSplitDigest,
			"requests":         source.requests,
			"bytes":            source.bytes,
		},
	}, nil
}

func cmdReadTOC(fs *flag.FlagSet, args []string) (report, error) {
	annotations := fs.String("annotations", "", "file with the annotations")
	raw := fs.String("raw", "", "also write the TOC's JSON as stored to this file")
	pos, err := parse(fs, args, "BLOB", "OUT.jsonl")
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "storage-peer-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	a, err := apply(pos[0], *annotations, dir, graphdriver.DifferOutputFormatFlat)
	if err != nil {
		return nil, err
	}
	if *raw != "" {
		if err := os.WriteFile(*raw, a.output.BigData["zstd-chunked-manifest"], 0o644); err != nil {
			return nil, err
		}
	}
	var lines bytes.Buffer
	for _, entry := range a.entries {
		lines.Write(entry)
		lines.WriteByte('\n')
	}
	return a.rep, os.WriteFile(pos[1], lines.Bytes(), 0o644)
}

func cmdApply(fs *flag.FlagSet, args []string) (report, error) {
	annotations := fs.String("annotations", "", "file with the annotations")
	layout := fs.String("layout", "dir", "dir (needs root) or flat")
	pos, err := parse(fs, args, "BLOB", "DIR")
	if err != nil {
		return nil, err
	}
	var format graphdriver.DifferOutputFormat = graphdriver.DifferOutputFormatDir
	switch *layout {
	case "dir":
	case "flat":
		format = graphdriver.DifferOutputFormatFlat
	default:
		return nil, fmt.Errorf("--layout=%s: want dir or flat", *layout)
	}
	if err := os.Mkdir(pos[1], 0o755); err != nil {
		return nil, err
	}
	a, err := apply(pos[0], *annotations, pos[1], format)
	if err != nil {
		return nil, err
	}
	return a.rep, nil
}
