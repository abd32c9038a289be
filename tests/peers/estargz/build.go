// build.go: the subcommands that write eStargz blobs with the reference:
// `build` (estargz.Build) and `append` (estargz.Writer).
package main

import (
	"bufio"
	"errors"
	"flag"
	"io"
	"os"
	"time"

	"github.com/containerd/stargz-snapshotter/estargz"
)

// writeFlags are the settings both ways of writing share.
type writeFlags struct {
	compression                    compression
	level, chunkSize, minChunkSize *int
	tocOut                         *string
}

func addWriteFlags(fs *flag.FlagSet) writeFlags {
	return writeFlags{
		compression:  addCompression(fs),
		level:        fs.Int("level", noLevel, "level as for the gzip or zstd command; by default 9 and 3"),
		chunkSize:    fs.Int("chunk-size", 0, "chunk size; 0 is the library's default"),
		minChunkSize: fs.Int("min-chunk-size", 0, "least bytes in one compressed stream"),
		tocOut:       fs.String("toc-out", "", "file for the TOC, with --compression=external"),
	}
}

// compressor makes the compressor; it rejects what the library would only trip
// over later.
func (w writeFlags) compressor() (*compressor, error) {
	if (*w.tocOut != "") != (*w.compression.name == "external") {
		return nil, errors.New("--toc-out goes with --compression=external, and only with that")
	}
	return w.compression.compressor(*w.level)
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
	comp, err := wf.compressor()
	if err != nil {
		return nil, err
	}
	opts := []estargz.Option{
		estargz.WithCompression(comp),
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
	tocSize, err := comp.writeTOC(*wf.tocOut)
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
		"annotations":       comp.annotations(),
		"toc_size":          tocSize,
	}, nil
}

func cmdAppend(fs *flag.FlagSet, args []string) (report, error) {
	wf := addWriteFlags(fs)
	lossless := fs.Bool("lossless", false, "keep the tar's bytes as they are")
	pos, err := parse(fs, args, "IN", "OUT")
	if err != nil {
		return nil, err
	}
	comp, err := wf.compressor()
	if err != nil {
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
	w := estargz.NewWriterWithCompressor(out, comp)
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

	tocSize, err := comp.writeTOC(*wf.tocOut)
	if err != nil {
		return nil, err
	}
	return report{
		"seconds":     seconds,
		"diff_id":     w.DiffID(),
		"toc_digest":  tocDigest.String(),
		"blob_size":   out.n,
		"annotations": comp.annotations(),
		"toc_size":    tocSize,
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
