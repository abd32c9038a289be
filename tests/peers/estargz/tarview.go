// tarview.go: the `tar-view` subcommand, a tar's headers and contents as JSON
// lines, read with the standard library and so independent of eStargz.
package main

import (
	"archive/tar"
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"flag"
	"io"
	"time"
	"unicode/utf8"
)

// tarLine is one header, in archive order. The names JSON cannot carry, not
// being UTF-8, come again as base64.
type tarLine struct {
	Name       string            `json:"name"`
	NameRaw    []byte            `json:"name_base64,omitempty"`
	Typeflag   string            `json:"typeflag"`
	Size       int64             `json:"size"`
	Mode       int64             `json:"mode"`
	UID        int               `json:"uid"`
	GID        int               `json:"gid"`
	Uname      string            `json:"uname"`
	Gname      string            `json:"gname"`
	MTimeUnix  int64             `json:"mtime_unix"`
	MTimeNanos int               `json:"mtime_nanos"`
	Linkname   string            `json:"linkname"`
	LinkRaw    []byte            `json:"linkname_base64,omitempty"`
	Devmajor   int64             `json:"devmajor"`
	Devminor   int64             `json:"devminor"`
	PAX        map[string][]byte `json:"pax"` // values become base64
	Format     string            `json:"format"`
	SHA256     string            `json:"sha256"`
}

func cmdTarView(fs *flag.FlagSet, args []string) (report, error) {
	pos, err := parse(fs, args, "IN", "OUT.jsonl")
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
	entries, err := viewTar(in, out)
	if err != nil {
		out.abandon()
		return nil, err
	}
	if err := out.finish(); err != nil {
		return nil, err
	}
	return report{"seconds": time.Since(start).Seconds(), "entries": entries}, nil
}

func viewTar(in io.Reader, out io.Writer) (int, error) {
	src, err := maybeGunzip(in)
	if err != nil {
		return 0, err
	}
	bw := bufio.NewWriter(out)
	enc := json.NewEncoder(bw)
	enc.SetEscapeHTML(false)
	tr := tar.NewReader(src)
	for entries := 0; ; entries++ {
		h, err := tr.Next()
		if err == io.EOF {
			return entries, bw.Flush()
		}
		if err != nil {
			return entries, err
		}
		line := tarLine{
			Name: h.Name, Typeflag: string(rune(h.Typeflag)), Size: h.Size, Mode: h.Mode,
			UID: h.Uid, GID: h.Gid, Uname: h.Uname, Gname: h.Gname,
			MTimeUnix: h.ModTime.Unix(), MTimeNanos: h.ModTime.Nanosecond(),
			Linkname: h.Linkname, Devmajor: h.Devmajor, Devminor: h.Devminor,
			PAX: map[string][]byte{}, Format: h.Format.String(),
		}
		if !utf8.ValidString(h.Name) {
			line.NameRaw = []byte(h.Name)
		}
		if !utf8.ValidString(h.Linkname) {
			line.LinkRaw = []byte(h.Linkname)
		}
		for k, v := range h.PAXRecords {
			line.PAX[k] = []byte(v)
		}
		switch h.Typeflag {
		case tar.TypeReg, tar.TypeCont, tar.TypeGNUSparse:
			sum := sha256.New()
			if _, err := io.Copy(sum, tr); err != nil {
				return entries, err
			}
			line.SHA256 = hex.EncodeToString(sum.Sum(nil))
		}
		if err := enc.Encode(line); err != nil {
			return entries, err
		}
	}
}
