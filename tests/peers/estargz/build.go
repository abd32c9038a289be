// build.go: the subcommands that write eStargz blobs with the reference:
// `build` (estargz.Build) and `append` (estargz.Writer).
package main

import (
	"bufio"
	"compress/gzip"
	"flag"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/containerd/stargz-snapshotter/estargz"
)

// writeFlags are the settings both ways of writing share.
type writeFlags struct {
	level, chunkSize, minChunkSize *int
}

func addWriteFlags(fs *flag.FlagSet) writeFlags {
	return writeFlags{
		level:        fs.Int("level", gzip.BestCompression, "gzip level"),
		chunkSize:    fs.Int("chunk-size", 0, "chunk size; 0 is the library's default"),
		minChunkSize: fs.Int("min-chunk-size", 0, "least bytes in one gzip stream"),
	}
}

// check rejects a level the library would only trip over later.
func (w writeFlags) check() error {
	if *w.level < gzip.HuffmanOnly || *w.level > gzip.BestCompression {
		return fmt.Errorf("gzip level %d is out of range", *w.level)
	}
	return nil
}

func cmdBuild(fs *flag.FlagSet, args []string) (report, error) {
	wf := addWriteFlags(fs)
	prioritized := fs.String("prioritized", "", "file of prioritized paths, one a line")
	allowMissing := fs.Bool("allow-missing", false, "report prioritized paths not in the tar instead of failing")
	parallelism := fs.Int("parallelism", 0, "number of workers; 0 leaves the library's default")
	pos, err := parse(fs, args, "IN", "OUT")
	if err != nil {
		return nil, err
	}
	if err := wf.check(); err != nil {
		return nil, err
	}
	opts := []estargz.Option{
		estargz.WithCompressionLevel(*wf.level),
		estargz.WithChunkSize(*wf.chunkSize),
		estargz.WithMinChunkSize(*wf.minChunkSize),
	}
	missed := []string{}
	if *prioritized != "" {
		list, err := readLines(*prioritized)
		if err != nil {
			return nil, err
		}
		opts = append(opts, estargz.WithPrioritizedFiles(list))
	}
	if *allowMissing {
		opts = append(opts, estargz.WithAllowPrioritizeNotFound(&missed))
	}
	if *parallelism > 0 {
		opts = append(opts, estargz.WithParallelism(*parallelism))
	}

	f, in, err := openSection(pos[0])
	if err != nil {
		return nil, err
	}
	defer f.Close()
	out, err := createOutput(pos[1], false)
	if err != nil {
		return nil, err
	}

	start := time.Now()
	blob, err := estargz.Build(in, opts...)
	if err != nil {
		out.abandon()
		return nil, err
	}
	if _, err := io.Copy(out, blob); err != nil {
		blob.Close()
		out.abandon()
		return nil, err
	}
	if err := blob.Close(); err != nil {
		out.abandon()
		return nil, err
	}
	if err := out.finish(); err != nil {
		return nil, err
	}
	seconds := time.Since(start).Seconds()

	size, err := blob.UncompressedSize()
	if err != nil {
		return nil, err
	}
	return report{
		"seconds":           seconds,
		"diff_id":           blob.DiffID().String(),
		"toc_digest":        blob.TOCDigest().String(),
		"uncompressed_size": size,
		"blob_size":         out.n,
		"missed":            missed,
	}, nil
}

func cmdAppend(fs *flag.FlagSet, args []string) (report, error) {
	wf := addWriteFlags(fs)
	lossless := fs.Bool("lossless", false, "keep the tar's bytes as they are")
	pos, err := parse(fs, args, "IN", "OUT")
	if err != nil {
		return nil, err
	}
	if err := wf.check(); err != nil {
		return nil, err
	}
	in, err := openStream(pos[0])
	if err != nil {
		return nil, err
	}
	defer in.Close()
	out, err := createOutput(pos[1], false)
	if err != nil {
		return nil, err
	}

	start := time.Now()
	w := estargz.NewWriterLevel(out, *wf.level)
	w.ChunkSize = *wf.chunkSize
	w.MinChunkSize = *wf.minChunkSize
	if *lossless {
		err = w.AppendTarLossLess(in)
	} else {
		err = w.AppendTar(in)
	}
	if err != nil {
		out.abandon()
		return nil, err
	}
	tocDigest, err := w.Close()
	if err != nil {
		out.abandon()
		return nil, err
	}
	if err := out.finish(); err != nil {
		return nil, err
	}
	seconds := time.Since(start).Seconds()

	return report{
		"seconds":    seconds,
		"diff_id":    w.DiffID(),
		"toc_digest": tocDigest.String(),
		"blob_size":  out.n,
	}, nil
}

// readLines returns a file's lines, leaving out empty ones.
func readLines(name string) ([]string, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var lines []string
	sc := bufio.NewScanner(f)
	sc.Buffer(nil, 1<<20)
	for sc.Scan() {
		if sc.Text() != "" {
			lines = append(lines, sc.Text())
		}
	}
	return lines, sc.Err()
}
