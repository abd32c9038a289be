// write.go: a state file from a payload, with Write calls of chosen sizes.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"gvisor.dev/gvisor/pkg/state/statefile"
)

// defaultCall is how much is handed over at once if nothing else is asked for.
const defaultCall = 1 << 20

func cmdWrite(fs *flag.FlagSet, args []string) (report, error) {
	keyFile := fs.String("key-file", "", "the key")
	compression := fs.String("compression", "", "value of `compression` in the metadata; none if empty")
	callList := fs.String("calls", "", "bytes of each Write call, as a list that starts over")
	metadataFile := fs.String("metadata", "", "a JSON object of texts")
	files, err := parse(fs, args, "IN", "OUT")
	if err != nil {
		return nil, err
	}
	key, err := readKey(*keyFile)
	if err != nil {
		return nil, err
	}
	calls, err := parseCalls(*callList)
	if err != nil {
		return nil, err
	}
	metadata, err := readMetadata(*metadataFile)
	if err != nil {
		return nil, err
	}
	if *compression != "" {
		metadata["compression"] = *compression
	}
	in, err := os.Open(files[0])
	if err != nil {
		return nil, err
	}
	defer in.Close()
	out, err := os.Create(files[1])
	if err != nil {
		return nil, err
	}
	defer out.Close()

	start := time.Now()
	w, err := statefile.NewWriter(out, key, metadata)
	if err != nil {
		return nil, err
	}
	written, err := pass(w, in, calls)
	if err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	seconds := time.Since(start).Seconds()
	info, err := os.Stat(files[1])
	if err != nil {
		return nil, err
	}
	return report{"seconds": seconds, "bytes": written, "size": info.Size()}, nil
}

// pass hands the payload over in calls of the given sizes.
func pass(w io.Writer, in io.Reader, calls []int) (int64, error) {
	largest := 0
	for _, n := range calls {
		largest = max(largest, n)
	}
	buf := make([]byte, largest)
	var total int64
	for i := 0; ; i++ {
		n, err := io.ReadFull(in, buf[:calls[i%len(calls)]])
		if n > 0 {
			if _, err := w.Write(buf[:n]); err != nil {
				return total, err
			}
			total += int64(n)
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return total, nil
		}
		if err != nil {
			return total, err
		}
	}
}

func parseCalls(list string) ([]int, error) {
	if list == "" {
		return []int{defaultCall}, nil
	}
	var calls []int
	for _, text := range strings.Split(list, ",") {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			return nil, fmt.Errorf("want sizes above 0, got %q", text)
		}
		calls = append(calls, n)
	}
	return calls, nil
}

func readMetadata(path string) (map[string]string, error) {
	metadata := map[string]string{}
	if path == "" {
		return metadata, nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return metadata, json.Unmarshal(text, &metadata)
}
