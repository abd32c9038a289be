// gentar.go: the `gen-tar` subcommand, a deterministic tar holding every kind
// of entry and the awkward values each of a header's fields can take.
package main

import (
	"archive/tar"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"strings"
	"time"
)

var (
	genSizes  = []int64{0, 1, 511, 512, 513, 4095, 4096, 4097}
	genUsers  = []string{"", "root", "daemon", "alice", "bob", "a-user-name-of-exactly-32-bytes-"}
	genGroups = []string{"", "root", "wheel", "staff", "users"}
	genIDs    = []int{0, 0, 1, 42, 1000, 1000, 65534, 2097151}
	genBigIDs = []int{2097152, 2147483646}
	genModes  = []int64{0o644, 0o600, 0o755, 0o4755, 0o2755, 0o1777, 0o6711, 0, 0o444}
	genTimes  = []time.Time{
		time.Unix(0, 0), time.Unix(1, 0), time.Unix(1500000000, 0), time.Unix(8589934591, 0),
	}
	genOddTimes = []time.Time{
		time.Unix(-1, 0), time.Unix(-86400*365, 0), time.Unix(8589934592, 0),
		time.Unix(1500000000, 499999999), time.Unix(1500000000, 500000000), time.Unix(1500000000, 123456789),
		time.Unix(0, 1), time.Unix(0, 500000000), time.Unix(-1, 500000000), time.Unix(-2, 250000000),
	}
	genPlainStems = []string{"file", "lib", "README", "data.bin", "a"}
	genOddStems   = []string{
		"html<>&\"\\", "sep\u2028and\u2029", "caf\u00e9", "cafe\u0301", "\u65e5\u672c\u8a9e", "\U0001F980",
		"tab\tnew\nline", "ctl\x01\x1f\x7f", " space ", "-dash", "not-utf8-\xff\xc3", "~tilde*?[]",
		"\ufeffbom", "replacement\ufffd", "'quote'", "b\bf\f",
	}
)

// The kinds of entry. Every tar starts with one of each, in this order.
const (
	kindDir = iota
	kindReg
	kindHardlink
	kindSymlink
	kindChar
	kindBlock
	kindFifo
	kindImplicit // a regular file below directories that have no entry
	kindLongName
	kindLongLink
	kindDuplicate
	kindChunky // a regular file of the greatest size
	kinds
)

type generator struct {
	rng        *rand.Rand
	seed       uint64
	format     string
	odd        bool
	utf8       bool // of the odd names, only those that are UTF-8
	xattrs     bool
	duplicates bool
	prefix     string
	maxSize    int64

	tw   *tar.Writer
	n    int
	dirs []string // with prefix and trailing slash
	regs []string // with prefix
}

func cmdGenTar(fs *flag.FlagSet, args []string) (report, error) {
	seed := fs.Uint64("seed", 0, "seed")
	entries := fs.Int("entries", 100, "number of entries")
	maxSize := fs.Int64("max-size", 65536, "greatest size of a regular file")
	format := fs.String("format", "mixed", "ustar, pax, gnu or mixed")
	naming := fs.String("names", "plain", "plain, odd, or odd-utf8")
	xattrs := fs.Bool("xattrs", false, "give entries extended attributes")
	duplicates := fs.Bool("duplicates", true, "repeat some names")
	prefix := fs.String("prefix", "", "what every name starts with")
	pos, err := parse(fs, args, "OUT")
	if err != nil {
		return nil, err
	}
	switch *format {
	case "ustar", "pax", "gnu", "mixed":
	default:
		return nil, fmt.Errorf("--format=%s: want ustar, pax, gnu or mixed", *format)
	}
	switch *naming {
	case "plain", "odd", "odd-utf8":
	default:
		return nil, fmt.Errorf("--names=%s: want plain, odd or odd-utf8", *naming)
	}
	if *entries < 0 || *maxSize < 0 {
		return nil, errors.New("--entries and --max-size may not be negative")
	}
	out, err := createOutput(pos[0], true)
	if err != nil {
		return nil, err
	}

	start := time.Now()
	g := &generator{
		rng: rand.New(rand.NewPCG(*seed, 0)), seed: *seed, format: *format,
		odd: *naming != "plain", utf8: *naming == "odd-utf8",
		xattrs: *xattrs, duplicates: *duplicates, prefix: *prefix, maxSize: *maxSize,
		tw: tar.NewWriter(out), dirs: []string{*prefix},
	}
	if err := g.run(*entries); err != nil {
		out.abandon()
		return nil, err
	}
	if err := out.finish(); err != nil {
		return nil, err
	}
	return report{
		"seconds": time.Since(start).Seconds(),
		"entries": g.n,
		"bytes":   out.n,
		"sha256":  out.sha256(),
	}, nil
}

func (g *generator) run(entries int) error {
	if strings.HasSuffix(g.prefix, "/") && entries > 0 {
		// The directory the prefix names; for "./" or "/" the root itself.
		if err := g.emit(&tar.Header{Typeflag: tar.TypeDir, Name: g.prefix, Mode: 0o755}); err != nil {
			return err
		}
	}
	for k := 0; g.n < entries; k++ {
		kind := k
		if k >= kinds {
			kind = g.draw()
		}
		if err := g.entry(kind); err != nil {
			return fmt.Errorf("entry %d: %w", g.n, err)
		}
	}
	return g.tw.Close()
}

// draw picks a kind: mostly regular files.
func (g *generator) draw() int {
	switch p := g.rng.IntN(100); {
	case p < 55:
		return kindReg
	case p < 65:
		return kindDir
	case p < 72:
		return kindHardlink
	case p < 80:
		return kindSymlink
	case p < 82:
		return kindChar
	case p < 84:
		return kindBlock
	case p < 86:
		return kindFifo
	case p < 89:
		return kindImplicit
	case p < 93:
		return kindLongName
	case p < 95:
		return kindLongLink
	case p < 98:
		return kindDuplicate
	default:
		return kindReg
	}
}

func (g *generator) entry(kind int) error {
	h := &tar.Header{Typeflag: tar.TypeReg}
	g.attributes(h)
	switch kind {
	case kindDir:
		h.Typeflag, h.Name = tar.TypeDir, g.name("")+"/"
		h.Mode = g.mode(0o040000)
	case kindHardlink:
		h.Typeflag, h.Name = tar.TypeLink, g.name("")
		h.Linkname = g.regs[g.rng.IntN(len(g.regs))]
		h.Mode = g.mode(0o100000)
	case kindSymlink:
		h.Typeflag, h.Name = tar.TypeSymlink, g.name("")
		h.Linkname = pick(g, "../"+g.stem(), "/"+g.stem(), g.stem(), "dangling/"+g.stem(), "..", "./.")
		h.Mode = g.mode(0o120000)
	case kindChar, kindBlock:
		h.Typeflag, h.Name = tar.TypeChar, g.name("")
		if kind == kindBlock {
			h.Typeflag = tar.TypeBlock
		}
		h.Devmajor = pick[int64](g, 0, 1, 8, 259, 2097151)
		h.Devminor = pick[int64](g, 0, 3, 255, 65536, 2097151)
		h.Mode = g.mode(0o020000)
	case kindFifo:
		h.Typeflag, h.Name = tar.TypeFifo, g.name("")
		h.Mode = g.mode(0o010000)
	case kindImplicit:
		h.Name = g.name(fmt.Sprintf("implicit%d/%s/", g.n, g.stem()))
		h.Size = g.size()
	case kindLongName:
		// Within and beyond what ustar's 100 bytes and 155 of prefix can split.
		parts := pick(g, []int{101}, []int{60, 70}, []int{100, 99}, []int{155, 40}, []int{156}, []int{90, 90, 90}, []int{255, 255, 10})
		var dir strings.Builder
		for _, n := range parts {
			dir.WriteString(strings.Repeat("l", n) + "/")
		}
		h.Name = g.name(dir.String())
		h.Size = g.size()
	case kindLongLink:
		h.Typeflag, h.Name = tar.TypeSymlink, g.name("")
		h.Linkname = strings.Repeat("t/", pick(g, 50, 51, 80, 200)) + g.stem()
		h.Mode = g.mode(0o120000)
	case kindDuplicate:
		if !g.duplicates {
			h.Name, h.Size = g.name(""), g.size()
			break
		}
		if len(g.dirs) > 1 && g.rng.IntN(4) == 0 {
			h.Typeflag, h.Name = tar.TypeDir, g.dirs[1+g.rng.IntN(len(g.dirs)-1)]
			h.Mode = g.mode(0o040000)
			return g.emit(h)
		}
		h.Name, h.Size = g.regs[g.rng.IntN(len(g.regs))], g.size()
		return g.emit(h)
	case kindChunky:
		h.Name, h.Size = g.name(""), g.maxSize
	default:
		h.Name, h.Size = g.name(""), g.size()
	}
	if h.Typeflag == tar.TypeReg {
		h.Mode = g.mode(0o100000)
	}
	return g.emit(h)
}

// pick returns one of several values.
func pick[T any](g *generator, of ...T) T { return of[g.rng.IntN(len(of))] }

// stem is the variable part of a name.
func (g *generator) stem() string {
	if g.odd && g.rng.IntN(3) > 0 {
		stem := pick(g, genOddStems...)
		if g.utf8 {
			stem = strings.ToValidUTF8(stem, "valid")
		}
		return stem
	}
	return pick(g, genPlainStems...)
}

// name makes a name not used before, below an existing directory and then
// below the path given. It holds the entry's number, so it is unique.
func (g *generator) name(below string) string {
	dir := g.dirs[g.rng.IntN(len(g.dirs))]
	if len(dir) > 400 {
		dir = g.prefix
	}
	if g.odd {
		switch g.rng.IntN(24) {
		case 0:
			below = "./" + below
		case 1:
			below = "/" + below
		case 2:
			below = "gone/../" + below
		}
	}
	return fmt.Sprintf("%s%s%s.%d", dir, below, g.stem(), g.n)
}

func (g *generator) size() int64 {
	if g.rng.IntN(10) < 4 && g.maxSize > 0 {
		return g.rng.Int64N(g.maxSize + 1)
	}
	return min(pick(g, genSizes...), g.maxSize)
}

// mode is a permission number, sometimes with the file type bits of a stat.
func (g *generator) mode(kind int64) int64 {
	m := pick(g, genModes...)
	if g.rng.IntN(4) == 0 {
		m |= kind
	}
	return m
}

// attributes fills in what any kind of entry can have.
func (g *generator) attributes(h *tar.Header) {
	h.Uid, h.Gid = pick(g, genIDs...), pick(g, genIDs...)
	if g.rng.IntN(12) == 0 {
		h.Uid = pick(g, genBigIDs...)
	}
	if g.rng.IntN(12) == 0 {
		h.Gid = pick(g, genBigIDs...)
	}
	h.Uname, h.Gname = pick(g, genUsers...), pick(g, genGroups...)
	if g.odd && g.rng.IntN(8) == 0 {
		h.Uname = pick(g, "us\u00e9r", "<&>", "a-user-name-which-is-longer-than-32-bytes")
	}
	switch g.rng.IntN(4) {
	case 0:
		h.ModTime = pick(g, genTimes...)
	case 1:
		h.ModTime = pick(g, genOddTimes...)
	default:
		h.ModTime = time.Unix(g.rng.Int64N(1<<31), 0)
	}
	if g.rng.IntN(16) == 0 {
		h.AccessTime = time.Unix(1600000000, 0)
		h.ChangeTime = pick(g, genOddTimes...)
	}
	switch g.format {
	case "ustar":
		h.Format = tar.FormatUSTAR
	case "pax":
		h.Format = tar.FormatPAX
	case "gnu":
		h.Format = tar.FormatGNU
	default:
		h.Format = pick(g, tar.FormatUnknown, tar.FormatUSTAR, tar.FormatPAX, tar.FormatGNU)
	}
	if h.Format == tar.FormatPAX || h.Format == tar.FormatUnknown {
		if g.xattrs && g.rng.IntN(3) == 0 {
			h.PAXRecords = g.someXattrs()
		} else if g.rng.IntN(16) == 0 {
			h.PAXRecords = map[string]string{"VENDOR.key": "some value"}
		}
	}
}

func (g *generator) someXattrs() map[string]string {
	values := map[string]string{
		"user.text":           "plain",
		"user.nul":            "a\x00b\x00",
		"user.binary":         "\xff\xfe\x00\x80\n=",
		"user.html<>&\"\\":    "<>&\"\\",
		"user.\u00e9\u2028":   "\u2028",
		"security.capability": "\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00",
		"user.long":           strings.Repeat("0123456789", 100),
		"trusted.overlay":     "y",
	}
	keys := []string{"user.text", "user.nul", "user.binary", "user.html<>&\"\\", "user.\u00e9\u2028",
		"security.capability", "user.long", "trusted.overlay"}
	rec := map[string]string{}
	for range 1 + g.rng.IntN(4) {
		k := pick(g, keys...)
		rec["SCHILY.xattr."+k] = values[k]
	}
	return rec
}

// fit makes a header its format can hold, giving up in turn what might not be
// representable. Whether it is, only a writer can tell.
func (g *generator) fit(h *tar.Header) error {
	var err error
	for step := 0; ; step++ {
		trial := *h
		trial.PAXRecords = maps.Clone(h.PAXRecords)
		if err = tar.NewWriter(io.Discard).WriteHeader(&trial); err == nil {
			return nil
		}
		switch step {
		case 0:
			if h.Format == tar.FormatUnknown || h.Format == tar.FormatUSTAR {
				h.AccessTime, h.ChangeTime = time.Time{}, time.Time{}
			}
		case 1:
			h.ModTime = h.ModTime.Truncate(time.Second)
			h.ChangeTime = time.Time{}
		case 2:
			h.PAXRecords = nil
		case 3:
			if h.Format != tar.FormatUSTAR {
				continue
			}
			if s := h.ModTime.Unix(); s < 0 || s > 8589934591 {
				h.ModTime = time.Unix(7, 0)
			}
		case 4:
			h.Uid, h.Gid = h.Uid&0o7777777, h.Gid&0o7777777
		case 5:
			h.Uname, h.Gname = "user", "group"
		case 6:
			if g.format == "mixed" {
				h.Format = tar.FormatUnknown
			}
		case 7:
			// Only the name or the link is left.
			slash := strings.HasSuffix(h.Name, "/")
			h.Name = fmt.Sprintf("%srenamed.%d", g.prefix, g.n)
			if slash {
				h.Name += "/"
			}
			if h.Typeflag == tar.TypeSymlink {
				h.Linkname = "short"
			}
		case 8:
			if h.Typeflag == tar.TypeLink {
				h.Linkname = g.regs[0]
			}
		default:
			return err
		}
	}
}

// emit writes one entry and remembers the names later ones build upon.
func (g *generator) emit(h *tar.Header) error {
	if err := g.fit(h); err != nil {
		return err
	}
	if err := g.tw.WriteHeader(h); err != nil {
		return err
	}
	if h.Typeflag == tar.TypeReg {
		if err := g.content(h.Size); err != nil {
			return err
		}
	}
	switch h.Typeflag {
	case tar.TypeReg:
		g.regs = append(g.regs, h.Name)
	case tar.TypeDir:
		if g.n > 0 || g.prefix == "" {
			g.dirs = append(g.dirs, h.Name)
		}
	}
	g.n++
	return nil
}

// content writes a payload of runs of random bytes and of repetitive text. It
// draws from a source of its own, so that sizes do not disturb the headers.
func (g *generator) content(size int64) error {
	src := rand.NewPCG(g.seed, uint64(g.n)+1)
	rng := rand.New(src)
	buf := make([]byte, 0, 32<<10)
	for size > 0 {
		run := int(min(size, 1+rng.Int64N(32<<10)))
		buf = buf[:0]
		if rng.IntN(2) == 0 {
			for len(buf) < run {
				buf = binary.LittleEndian.AppendUint64(buf, src.Uint64())
			}
		} else {
			word := fmt.Sprintf("entry %d says %x; ", g.n, rng.Uint32())
			for len(buf) < run {
				buf = append(buf, word...)
			}
		}
		if _, err := g.tw.Write(buf[:run]); err != nil {
			return err
		}
		size -= int64(run)
	}
	return nil
}
