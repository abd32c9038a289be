// read.go: the subcommands that read blobs with the reference: `unpack`,
// `open` and `verify`.
package main

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"time"

	"github.com/containerd/stargz-snapshotter/estargz"
	"github.com/opencontainers/go-digest"
)

func cmdUnpack(fs *flag.FlagSet, args []string) (report, error) {
	comp := addReadCompression(fs)
	hashed := fs.Bool("hash", true, "also report the tar's SHA-256 (a second, untimed pass)")
	pos, err := parse(fs, args, "BLOB", "OUT")
	if err != nil {
		return nil, err
	}
	f, sr, err := openSection(pos[0])
	if err != nil {
		return nil, err
	}
	defer f.Close()
	out, err := createOutput(pos[1], false)
	if err != nil {
		return nil, err
	}

	start := time.Now()
	rc, err := comp.unpack(sr)
	if err != nil {
		out.abandon()
		return nil, err
	}
	if _, err := io.Copy(out, rc); err != nil {
		out.abandon()
		return nil, err
	}
	if err := rc.Close(); err != nil {
		out.abandon()
		return nil, err
	}
	if err := out.finish(); err != nil {
		return nil, err
	}
	seconds := time.Since(start).Seconds()

	sum := ""
	if *hashed {
		rc, err := comp.unpack(io.NewSectionReader(f, 0, sr.Size()))
		if err != nil {
			return nil, err
		}
		h := sha256.New()
		if _, err := io.Copy(h, rc); err != nil {
			return nil, err
		}
		sum = hex.EncodeToString(h.Sum(nil))
	}
	return report{"seconds": seconds, "size": out.n, "sha256": sum}, nil
}

func cmdOpen(fs *flag.FlagSet, args []string) (report, error) {
	comp := addReadCompression(fs)
	count := fs.Bool("count", false, "parse the TOC again, untimed, to count its entries")
	pos, err := parse(fs, args, "BLOB")
	if err != nil {
		return nil, err
	}
	f, sr, err := openSection(pos[0])
	if err != nil {
		return nil, err
	}
	defer f.Close()

	start := time.Now()
	r, err := comp.open(sr)
	if err != nil {
		return nil, err
	}
	seconds := time.Since(start).Seconds()

	rep := report{"seconds": seconds, "toc_digest": r.TOCDigest().String(), "entries": nil}
	if *count {
		section, d, err := comp.locateTOC(sr)
		if err != nil {
			return nil, err
		}
		toc, _, err := d.ParseTOC(section)
		if err != nil {
			return nil, err
		}
		rep["entries"] = len(toc.Entries)
	}
	return rep, nil
}

// verification is one walk over a blob's files.
type verification struct {
	r        *estargz.Reader
	verifier estargz.TOCEntryVerifier // nil: use each entry's own ChunkDigest
	buf      []byte
	seenDir  map[*estargz.TOCEntry]struct{}
	seenLink map[*estargz.TOCEntry]struct{}

	files, chunks, bytes int64
}

// walk visits a directory's children. The root may list itself, and a hard link
// may name a directory, so no directory is entered twice.
func (v *verification) walk(dir *estargz.TOCEntry) error {
	if _, ok := v.seenDir[dir]; ok {
		return nil
	}
	v.seenDir[dir] = struct{}{}
	var err error
	dir.ForeachChild(func(_ string, ent *estargz.TOCEntry) bool {
		switch ent.Type {
		case "dir":
			err = v.walk(ent)
		case "reg":
			v.files++
			// The library counts one link per name, so only an entry with more
			// can come round again.
			if ent.NumLink > 1 {
				if _, ok := v.seenLink[ent]; ok {
					return true
				}
				v.seenLink[ent] = struct{}{}
			}
			err = v.file(ent)
		}
		return err == nil
	})
	return err
}

// file checks every chunk of one regular file, each with one read.
func (v *verification) file(ent *estargz.TOCEntry) error {
	if ent.Size == 0 {
		return nil
	}
	sr, err := v.r.OpenFile(ent.Name)
	if err != nil {
		return fmt.Errorf("%q: %w", ent.Name, err)
	}
	for off := int64(0); off < ent.Size; {
		ce, ok := v.r.ChunkEntryForOffset(ent.Name, off)
		if !ok {
			return fmt.Errorf("%q: chunk at offset %d: not in the TOC", ent.Name, off)
		}
		if ce.ChunkOffset != off || ce.ChunkSize <= 0 || ce.ChunkSize > ent.Size-off {
			return fmt.Errorf("%q: chunk at offset %d: TOC gives chunkOffset=%d chunkSize=%d for a file of %d bytes",
				ent.Name, off, ce.ChunkOffset, ce.ChunkSize, ent.Size)
		}
		if int64(cap(v.buf)) < ce.ChunkSize {
			v.buf = make([]byte, ce.ChunkSize)
		}
		p := v.buf[:ce.ChunkSize]
		if n, err := sr.ReadAt(p, off); n != len(p) {
			return fmt.Errorf("%q: chunk at offset %d: read %d of %d bytes: %w", ent.Name, off, n, len(p), err)
		}
		dv, err := v.digestVerifier(ce)
		if err != nil {
			return fmt.Errorf("%q: chunk at offset %d: %w", ent.Name, off, err)
		}
		if _, err := dv.Write(p); err != nil {
			return fmt.Errorf("%q: chunk at offset %d: %w", ent.Name, off, err)
		}
		if !dv.Verified() {
			return fmt.Errorf("%q: chunk at offset %d: digest mismatch", ent.Name, off)
		}
		v.chunks++
		v.bytes += ce.ChunkSize
		off += ce.ChunkSize
	}
	return nil
}

func (v *verification) digestVerifier(ce *estargz.TOCEntry) (digest.Verifier, error) {
	if v.verifier != nil {
		return v.verifier.Verifier(ce)
	}
	d, err := digest.Parse(ce.ChunkDigest)
	if err != nil {
		return nil, fmt.Errorf("chunk digest %q: %w", ce.ChunkDigest, err)
	}
	return d.Verifier(), nil
}

func cmdVerify(fs *flag.FlagSet, args []string) (report, error) {
	comp := addReadCompression(fs)
	want := fs.String("toc-digest", "", "TOC digest to demand; by default the blob's own")
	minChunk := fs.Bool("min-chunk", false, "the blob was made with a least chunk size: check chunks without VerifyTOC")
	pos, err := parse(fs, args, "BLOB")
	if err != nil {
		return nil, err
	}
	f, sr, err := openSection(pos[0])
	if err != nil {
		return nil, err
	}
	defer f.Close()

	start := time.Now()
	r, err := comp.open(sr)
	if err != nil {
		return nil, err
	}
	tocDigest := r.TOCDigest()
	if *want != "" {
		tocDigest = digest.Digest(*want)
	}
	v := &verification{
		r:        r,
		seenDir:  map[*estargz.TOCEntry]struct{}{},
		seenLink: map[*estargz.TOCEntry]struct{}{},
	}
	if *minChunk {
		if r.TOCDigest() != tocDigest {
			return nil, fmt.Errorf("TOC digest is %s, not %s", r.TOCDigest(), tocDigest)
		}
	} else if v.verifier, err = r.VerifyTOC(tocDigest); err != nil {
		return nil, err
	}
	root, ok := r.Lookup("")
	if !ok {
		return nil, errors.New("no root directory")
	}
	if err := v.walk(root); err != nil {
		return nil, err
	}
	return report{
		"seconds":    time.Since(start).Seconds(),
		"toc_digest": r.TOCDigest().String(),
		"files":      v.files,
		"chunks":     v.chunks,
		"bytes":      v.bytes,
	}, nil
}
