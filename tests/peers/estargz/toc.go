// toc.go: the subcommands about the table of contents alone: `toc` takes it
// out of a blob, `encode-toc` passes a JSON one through the reference's types.
package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"flag"
	"io"
	"os"
	"time"

	"github.com/containerd/stargz-snapshotter/estargz"
)

// tocParser is what the current and the legacy gzip decompressor share beyond
// the library's Decompressor interface.
type tocParser interface {
	estargz.Decompressor
	DecompressTOC(io.Reader) (io.ReadCloser, error)
}

// locateTOC finds the section of the blob that holds the TOC, and the
// decompressor that goes with the footer found.
func locateTOC(sr *io.SectionReader) (*io.SectionReader, tocParser, error) {
	off, footer, err := estargz.OpenFooter(sr)
	if err != nil {
		return nil, nil, err
	}
	var d tocParser = new(estargz.GzipDecompressor)
	if footer != estargz.FooterSize {
		d = new(estargz.LegacyGzipDecompressor)
	}
	return io.NewSectionReader(sr, off, sr.Size()-footer-off), d, nil
}

// encodeTOC serialises a TOC the way the reference's writer does.
func encodeTOC(toc *estargz.JTOC) ([]byte, error) {
	return json.MarshalIndent(toc, "", "\t")
}

func cmdTOC(fs *flag.FlagSet, args []string) (report, error) {
	raw := fs.Bool("raw", false, "write the JSON exactly as stored")
	pos, err := parse(fs, args, "BLOB", "OUT")
	if err != nil {
		return nil, err
	}
	f, sr, err := openSection(pos[0])
	if err != nil {
		return nil, err
	}
	defer f.Close()

	start := time.Now()
	section, d, err := locateTOC(sr)
	if err != nil {
		return nil, err
	}
	var (
		text   []byte
		toc    *estargz.JTOC
		digest string
	)
	if *raw {
		rc, err := d.DecompressTOC(section)
		if err != nil {
			return nil, err
		}
		if text, err = io.ReadAll(rc); err != nil {
			return nil, err
		}
		if err := rc.Close(); err != nil {
			return nil, err
		}
		sum := sha256.Sum256(text)
		digest = "sha256:" + hex.EncodeToString(sum[:])
		if err := os.WriteFile(pos[1], text, 0o644); err != nil {
			return nil, err
		}
		// Like the library, take the first JSON value and ignore what follows.
		if err := json.NewDecoder(bytes.NewReader(text)).Decode(&toc); err != nil {
			return nil, err
		}
	} else {
		parsed, dgst, err := d.ParseTOC(section)
		if err != nil {
			return nil, err
		}
		toc, digest = parsed, dgst.String()
		if text, err = encodeTOC(toc); err != nil {
			return nil, err
		}
		if err := os.WriteFile(pos[1], text, 0o644); err != nil {
			return nil, err
		}
	}
	return report{
		"seconds":    time.Since(start).Seconds(),
		"toc_digest": digest,
		"entries":    len(toc.Entries),
		"version":    toc.Version,
	}, nil
}

func cmdEncodeTOC(fs *flag.FlagSet, args []string) (report, error) {
	pos, err := parse(fs, args, "IN.json", "OUT")
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(pos[0])
	if err != nil {
		return nil, err
	}
	start := time.Now()
	var toc estargz.JTOC
	if err := json.Unmarshal(text, &toc); err != nil {
		return nil, err
	}
	encoded, err := encodeTOC(&toc)
	if err != nil {
		return nil, err
	}
	seconds := time.Since(start).Seconds()
	if err := os.WriteFile(pos[1], encoded, 0o644); err != nil {
		return nil, err
	}
	sum := sha256.Sum256(encoded)
	return report{
		"seconds":    seconds,
		"toc_digest": "sha256:" + hex.EncodeToString(sum[:]),
		"entries":    len(toc.Entries),
		"version":    toc.Version,
	}, nil
}
