// compression.go: the compressions the subcommands know, and what the library
// needs for each: gzip, zstd (zstd:chunked) and external (gzip, TOC apart).
package main

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"os"

	"github.com/containerd/stargz-snapshotter/estargz"
	"github.com/containerd/stargz-snapshotter/estargz/externaltoc"
	"github.com/containerd/stargz-snapshotter/estargz/zstdchunked"
	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
)

// noLevel stands for the compression's own default level.
const noLevel = math.MinInt

// compression is what the flags say about a blob's compression.
type compression struct {
	name *string
	toc  *string // of a blob that is read: the file with its external TOC
}

func addCompression(fs *flag.FlagSet) compression {
	return compression{name: fs.String("compression", "gzip", "gzip, zstd or external")}
}

// addReadCompression is addCompression with --toc, for subcommands that read.
func addReadCompression(fs *flag.FlagSet) compression {
	c := addCompression(fs)
	c.toc = fs.String("toc", "", "file with the TOC of a blob whose compression is external")
	return c
}

// compressor is the library's compressor of one layer, and what it leaves
// behind besides the blob.
type compressor struct {
	estargz.Compression
	metadata map[string]string            // zstd: annotations, filled when the blob is closed
	external *externaltoc.GzipCompression // external: holds the TOC then
}

// compressor makes the library's compressor for a level in the numbers of the
// gzip or zstd command.
func (c compression) compressor(level int) (*compressor, error) {
	switch *c.name {
	case "gzip", "external":
		if level == noLevel {
			level = gzip.BestCompression
		}
		if level < gzip.HuffmanOnly || level > gzip.BestCompression {
			return nil, fmt.Errorf("gzip level %d is out of range", level)
		}
		if *c.name == "external" {
			ext := externaltoc.NewGzipCompressionWithLevel(nil, level).(*externaltoc.GzipCompression)
			return &compressor{Compression: ext, external: ext}, nil
		}
		return &compressor{Compression: gzipCompression{estargz.NewGzipCompressorWithLevel(level), new(estargz.GzipDecompressor)}}, nil
	case "zstd":
		if level == noLevel {
			level = 3
		}
		metadata := map[string]string{}
		return &compressor{
			Compression: zstdCompression{
				&zstdchunked.Compressor{CompressionLevel: zstd.EncoderLevelFromZstd(level), Metadata: metadata},
				new(zstdchunked.Decompressor),
			},
			metadata: metadata,
		}, nil
	}
	return nil, c.unknown()
}

type gzipCompression struct {
	*estargz.GzipCompressor
	*estargz.GzipDecompressor
}

type zstdCompression struct {
	*zstdchunked.Compressor
	*zstdchunked.Decompressor
}

// annotations is the metadata the compressor left; never nil.
func (c *compressor) annotations() map[string]string {
	if c.metadata == nil {
		return map[string]string{}
	}
	return c.metadata
}

// writeTOC writes the external TOC to a file and returns its size; nil for the
// other compressions.
func (c *compressor) writeTOC(name string) (any, error) {
	if c.external == nil {
		return nil, nil
	}
	var toc bytes.Buffer
	if _, err := c.external.WriteTOCTo(&toc); err != nil {
		return nil, err
	}
	return toc.Len(), os.WriteFile(name, toc.Bytes(), 0o644)
}

// tocParser is what the decompressors share beyond the library's Decompressor
// interface.
type tocParser interface {
	estargz.Decompressor
	DecompressTOC(io.Reader) (io.ReadCloser, error)
}

// decompressors lists the decompressors to try, in order.
func (c compression) decompressors() ([]tocParser, error) {
	if *c.toc != "" && *c.name != "external" {
		return nil, fmt.Errorf("--toc goes with --compression=external, not %s", *c.name)
	}
	switch *c.name {
	case "gzip":
		return []tocParser{new(estargz.GzipDecompressor), new(estargz.LegacyGzipDecompressor)}, nil
	case "zstd":
		return []tocParser{new(zstdchunked.Decompressor)}, nil
	case "external":
		return []tocParser{externaltoc.NewGzipDecompressor(func() ([]byte, error) { return os.ReadFile(*c.toc) })}, nil
	}
	return nil, c.unknown()
}

// open is estargz.Open; the library tries the gzip forms by itself.
func (c compression) open(sr *io.SectionReader) (*estargz.Reader, error) {
	ds, err := c.decompressors()
	if err != nil {
		return nil, err
	}
	if *c.name == "gzip" {
		return estargz.Open(sr)
	}
	return estargz.Open(sr, estargz.WithDecompressors(ds[0]))
}

// unpack opens a blob's tar.
func (c compression) unpack(sr *io.SectionReader) (io.ReadCloser, error) {
	ds, err := c.decompressors()
	if err != nil {
		return nil, err
	}
	var failed []error
	for _, d := range ds {
		rc, err := estargz.Unpack(sr, d)
		if err == nil {
			return rc, nil
		}
		failed = append(failed, err)
	}
	return nil, errors.Join(failed...)
}

// locateTOC finds the part of the blob that holds the TOC, and the
// decompressor that goes with the footer found. The reader is nil for an
// external TOC.
func (c compression) locateTOC(sr *io.SectionReader) (io.Reader, tocParser, error) {
	ds, err := c.decompressors()
	if err != nil {
		return nil, nil, err
	}
	var failed []error
	for _, d := range ds {
		at := sr.Size() - d.FooterSize()
		if at < 0 {
			failed = append(failed, fmt.Errorf("a blob of %d bytes cannot end in a footer of %d", sr.Size(), d.FooterSize()))
			continue
		}
		footer := make([]byte, d.FooterSize())
		if _, err := sr.ReadAt(footer, at); err != nil {
			return nil, nil, err
		}
		_, off, size, err := d.ParseFooter(footer)
		if err != nil {
			failed = append(failed, err)
			continue
		}
		if off < 0 {
			return nil, d, nil
		}
		if size <= 0 {
			size = at - off
		}
		return io.NewSectionReader(sr, off, size), d, nil
	}
	return nil, nil, errors.Join(failed...)
}

// footerDigest has the compression's own code write the TOC, and returns the
// digest it gives.
func (c compression) footerDigest(toc *estargz.JTOC) (digest.Digest, error) {
	comp, err := c.compressor(noLevel)
	if err != nil {
		return "", err
	}
	return comp.WriteTOCAndFooter(io.Discard, 0, toc, sha256.New())
}

func (c compression) unknown() error {
	return fmt.Errorf("--compression=%s: want gzip, zstd or external", *c.name)
}
