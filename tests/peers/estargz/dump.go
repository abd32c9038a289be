// dump.go: the `dump` subcommand, the reference reader's view of a blob's whole
// tree as JSON lines sorted by path.
package main

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"sort"
	"time"

	"github.com/containerd/stargz-snapshotter/estargz"
)

// dumpLine is one name in the tree. For a hard link it is the entry the library
// resolves the link to, under the link's own path.
type dumpLine struct {
	Path     string            `json:"path"`
	Type     string            `json:"type"`
	Mode     int64             `json:"mode"`
	UID      int               `json:"uid"`
	GID      int               `json:"gid"`
	User     string            `json:"user"`
	Group    string            `json:"group"`
	MTime    string            `json:"mtime"`
	Link     string            `json:"link"`
	DevMajor int               `json:"dev_major"`
	DevMinor int               `json:"dev_minor"`
	Size     int64             `json:"size"`
	Xattrs   map[string][]byte `json:"xattrs"` // values become base64
	NumLink  int               `json:"num_link"`
	SHA256   string            `json:"sha256"`
	Error    string            `json:"error,omitempty"` // only with --keep-going
}

type named struct {
	path string
	ent  *estargz.TOCEntry
}

// collect lists the tree below an entry. A hard link to a directory is listed
// but not entered, since it could lead back to where it is.
func collect(path string, ent *estargz.TOCEntry, into *[]named) {
	*into = append(*into, named{path, ent})
	if ent.Name != path {
		return
	}
	ent.ForeachChild(func(base string, child *estargz.TOCEntry) bool {
		below := base
		if path != "" {
			below = path + "/" + base
		}
		collect(below, child, into)
		return true
	})
}

// contentSum hashes a regular file read through OpenFile, one read a chunk: the
// library decompresses a chunk from its start for every read.
func contentSum(r *estargz.Reader, ent *estargz.TOCEntry, buf *[]byte) (string, error) {
	sr, err := r.OpenFile(ent.Name)
	if err != nil {
		return "", err
	}
	h := sha256.New()
	for off := int64(0); off < ent.Size; {
		n := min(ent.Size-off, 4<<20)
		if ce, ok := r.ChunkEntryForOffset(ent.Name, off); ok {
			if end := ce.ChunkOffset + ce.ChunkSize; ce.ChunkOffset <= off && off < end {
				n = min(end, ent.Size) - off
			}
		}
		if int64(cap(*buf)) < n {
			*buf = make([]byte, n)
		}
		p := (*buf)[:n]
		if got, err := sr.ReadAt(p, off); got != len(p) {
			return "", fmt.Errorf("at offset %d: read %d of %d bytes: %w", off, got, n, err)
		}
		h.Write(p)
		off += n
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

func cmdDump(fs *flag.FlagSet, args []string) (report, error) {
	comp := addReadCompression(fs)
	keepGoing := fs.Bool("keep-going", false, `tell of unreadable files in their line's "error" instead of failing`)
	pos, err := parse(fs, args, "BLOB", "OUT.jsonl")
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
	root, ok := r.Lookup("")
	if !ok {
		return nil, errors.New("no root directory")
	}
	var all []named
	collect("", root, &all)
	sort.Slice(all, func(i, j int) bool { return all[i].path < all[j].path })

	out, err := createOutput(pos[1], false)
	if err != nil {
		return nil, err
	}
	bw := bufio.NewWriter(out)
	enc := json.NewEncoder(bw)
	enc.SetEscapeHTML(false)
	var (
		buf    []byte
		failed int
		sums   = map[*estargz.TOCEntry]string{}
	)
	for _, n := range all {
		e := n.ent
		line := dumpLine{
			Path: n.path, Type: e.Type, Mode: e.Mode, UID: e.UID, GID: e.GID,
			User: e.Uname, Group: e.Gname, MTime: e.ModTime3339, Link: e.LinkName,
			DevMajor: e.DevMajor, DevMinor: e.DevMinor, Size: e.Size,
			Xattrs: map[string][]byte{}, NumLink: e.NumLink,
		}
		for k, v := range e.Xattrs {
			if v == nil {
				v = []byte{}
			}
			line.Xattrs[k] = v
		}
		if e.Type == "reg" {
			sum, ok := sums[e]
			if !ok {
				if sum, err = contentSum(r, e, &buf); err != nil {
					if !*keepGoing {
						out.abandon()
						return nil, fmt.Errorf("%q: %w", n.path, err)
					}
					failed++
					line.Error = err.Error()
				} else {
					sums[e] = sum
				}
			}
			line.SHA256 = sum
		}
		if err := enc.Encode(line); err != nil {
			out.abandon()
			return nil, err
		}
	}
	if err := bw.Flush(); err != nil {
		out.abandon()
		return nil, err
	}
	if err := out.finish(); err != nil {
		return nil, err
	}
	return report{
		"seconds":    time.Since(start).Seconds(),
		"toc_digest": r.TOCDigest().String(),
		"entries":    len(all),
		"errors":     failed,
	}, nil
}
