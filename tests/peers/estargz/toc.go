// toc.go: the subcommands about the table of contents alone: `toc` takes it
// out of a blob, `encode-toc` passes a JSON one through the reference's types.
package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/containerd/stargz-snapshotter/estargz"
	"github.com/opencontainers/go-digest"
)

// encodeTOC serialises a TOC the way the reference's writer does.
func encodeTOC(toc *estargz.JTOC) ([]byte, error) {
	return json.MarshalIndent(toc, "", "\t")
}

func cmdTOC(fs *flag.FlagSet, args []string) (report, error) {
	comp := addReadCompression(fs)
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
	section, d, err := comp.locateTOC(sr)
	if err != nil {
		return nil, err
	}
	var (
		text []byte
		toc  *estargz.JTOC
		dgst digest.Digest
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
		dgst = digest.FromBytes(text)
		if err := os.WriteFile(pos[1], text, 0o644); err != nil {
			return nil, err
		}
		// Like the library, take the first JSON value and ignore what follows.
		if err := json.NewDecoder(bytes.NewReader(text)).Decode(&toc); err != nil {
			return nil, err
		}
	} else {
		if toc, dgst, err = d.ParseTOC(section); err != nil {
			return nil, err
		}
		if text, err = encodeTOC(toc); err != nil {
			return nil, err
		}
		if err := os.WriteFile(pos[1], text, 0o644); err != nil {
			return nil, err
		}
	}
	return report{
		"seconds":    time.Since(start).Seconds(),
		"toc_digest": dgst.String(),
		"entries":    len(toc.Entries),
		"version":    toc.Version,
	}, nil
}

func cmdEncodeTOC(fs *flag.FlagSet, args []string) (report, error) {
	comp := addCompression(fs)
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
	tocDigest := digest.FromBytes(encoded)
	if *comp.name != "gzip" {
		// The other compressions serialise by themselves.
		own, err := comp.footerDigest(&toc)
		if err != nil {
			return nil, err
		}
		if own != tocDigest {
			return nil, fmt.Errorf("the TOC digest is %s as %s writes it, but %s as gzip does", own, *comp.name, tocDigest)
		}
	}
	return report{
		"seconds":    seconds,
		"toc_digest": tocDigest.String(),
		"entries":    len(toc.Entries),
		"version":    toc.Version,
	}, nil
}
