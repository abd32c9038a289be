// random.go: the subcommands that read parts of files: `read-random`, many
// small reads against the clock, and `pre-read`, which tells what else a read
// came by in the same stream.
package main

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"sort"
	"time"

	"github.com/containerd/stargz-snapshotter/estargz"
)

// request is one read: a line of the lists these subcommands take and write.
type request struct {
	Path   string `json:"path"`
	Offset int64  `json:"offset"`
	Length int64  `json:"length"` // pre-read: 0 is to the end of the chunk
}

func readRequests(name string) ([]request, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var all []request
	for dec := json.NewDecoder(bufio.NewReader(f)); ; {
		var r request
		if err := dec.Decode(&r); err == io.EOF {
			return all, nil
		} else if err != nil {
			return nil, err
		}
		all = append(all, r)
	}
}

func writeLines[T any](name string, lines []T) error {
	out, err := createOutput(name, false)
	if err != nil {
		return err
	}
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	for _, line := range lines {
		if err := enc.Encode(line); err != nil {
			out.abandon()
			return err
		}
	}
	return out.finish()
}

// choose picks files with content and a place in each, by the seed alone.
func choose(r *estargz.Reader, seed uint64, files int, size int64) ([]request, error) {
	root, ok := r.Lookup("")
	if !ok {
		return nil, errors.New("no root directory")
	}
	var all []named
	collect("", root, &all)
	var usable []named
	for _, n := range all {
		if n.ent.Type == "reg" && n.ent.Size > 0 {
			usable = append(usable, n)
		}
	}
	if len(usable) == 0 {
		return nil, errors.New("no file has content")
	}
	sort.Slice(usable, func(i, j int) bool { return usable[i].path < usable[j].path })
	rnd := rand.New(rand.NewPCG(seed, 0))
	order := rnd.Perm(len(usable))
	chosen := make([]request, files)
	for i := range chosen {
		n := usable[order[i%len(order)]]
		length := min(size, n.ent.Size)
		chosen[i] = request{Path: n.path, Offset: rnd.Int64N(n.ent.Size - length + 1), Length: length}
	}
	return chosen, nil
}

func cmdReadRandom(fs *flag.FlagSet, args []string) (report, error) {
	comp := addReadCompression(fs)
	seed := fs.Uint64("seed", 0, "seed of the choice")
	files := fs.Int("files", 1000, "number of reads, each in another file while there are enough")
	size := fs.Int64("size", 4096, "bytes a read")
	list := fs.String("list", "", "do the reads of this file instead of choosing")
	listOut := fs.String("list-out", "", "write the reads to this file")
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
	openSeconds := time.Since(start).Seconds()
	var reads []request
	if *list != "" {
		reads, err = readRequests(*list)
	} else {
		reads, err = choose(r, *seed, *files, *size)
	}
	if err != nil {
		return nil, err
	}
	if *listOut != "" {
		if err := writeLines(*listOut, reads); err != nil {
			return nil, err
		}
	}
	total := int64(0)
	for _, read := range reads {
		total += read.Length
	}
	all := make([]byte, 0, total)

	start = time.Now()
	for _, read := range reads {
		file, err := r.OpenFile(read.Path)
		if err != nil {
			return nil, fmt.Errorf("%q: %w", read.Path, err)
		}
		at := len(all)
		all = all[:at+int(read.Length)]
		if n, err := file.ReadAt(all[at:], read.Offset); int64(n) != read.Length {
			return nil, fmt.Errorf("%q: at offset %d: read %d of %d bytes: %w", read.Path, read.Offset, n, read.Length, err)
		}
	}
	seconds := time.Since(start).Seconds()
	sum := sha256.Sum256(all)
	return report{
		"seconds":      seconds,
		"open_seconds": openSeconds,
		"reads":        len(reads),
		"bytes":        len(all),
		"sha256":       hex.EncodeToString(sum[:]),
	}, nil
}

// visit is one entry that was passed on the way to the one read.
type visit struct {
	Name        string `json:"name"`
	ChunkOffset int64  `json:"chunk_offset"`
	Size        int64  `json:"size"`
	SHA256      string `json:"sha256"`
}

// preReadLine is one read with what it passed, in order.
type preReadLine struct {
	request
	SHA256  string  `json:"sha256"`
	Visited []visit `json:"visited"`
	Error   string  `json:"error,omitempty"`
}

func preRead(r *estargz.Reader, read request) preReadLine {
	line := preReadLine{request: read, Visited: []visit{}}
	fail := func(err error) preReadLine {
		line.Error = err.Error()
		return line
	}
	file, err := r.OpenFileWithPreReader(read.Path, func(e *estargz.TOCEntry, content io.Reader) error {
		h := sha256.New()
		n, err := io.Copy(h, content)
		line.Visited = append(line.Visited, visit{e.Name, e.ChunkOffset, n, hex.EncodeToString(h.Sum(nil))})
		return err
	})
	if err != nil {
		return fail(err)
	}
	if line.Length == 0 {
		ce, ok := r.ChunkEntryForOffset(read.Path, read.Offset)
		if !ok {
			return fail(fmt.Errorf("no chunk at offset %d", read.Offset))
		}
		line.Length = ce.ChunkOffset + ce.ChunkSize - read.Offset
	}
	buf := make([]byte, line.Length)
	if n, err := file.ReadAt(buf, read.Offset); int64(n) != line.Length {
		return fail(fmt.Errorf("read %d of %d bytes: %w", n, line.Length, err))
	}
	sum := sha256.Sum256(buf)
	line.SHA256 = hex.EncodeToString(sum[:])
	return line
}

func cmdPreRead(fs *flag.FlagSet, args []string) (report, error) {
	comp := addReadCompression(fs)
	pos, err := parse(fs, args, "BLOB", "LIST.jsonl", "OUT.jsonl")
	if err != nil {
		return nil, err
	}
	f, sr, err := openSection(pos[0])
	if err != nil {
		return nil, err
	}
	defer f.Close()
	reads, err := readRequests(pos[1])
	if err != nil {
		return nil, err
	}

	start := time.Now()
	r, err := comp.open(sr)
	if err != nil {
		return nil, err
	}
	lines := make([]preReadLine, 0, len(reads))
	visited, failed := 0, 0
	for _, read := range reads {
		line := preRead(r, read)
		visited += len(line.Visited)
		if line.Error != "" {
			failed++
		}
		lines = append(lines, line)
	}
	seconds := time.Since(start).Seconds()
	if err := writeLines(pos[2], lines); err != nil {
		return nil, err
	}
	return report{"seconds": seconds, "reads": len(lines), "visited": visited, "errors": failed}, nil
}
