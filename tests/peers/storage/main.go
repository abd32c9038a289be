// main.go: entry point of the `storage` peer, the helper through which xtask
// drives the zstd:chunked code of containers/storage. It dispatches to one
// function per subcommand and prints that function's result as one JSON object.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"sort"
	"strings"
	"time"

	"github.com/sirupsen/logrus"
)

// report is what a subcommand prints on standard output.
type report map[string]any

// command takes the arguments after the subcommand's name.
type command func(fs *flag.FlagSet, args []string) (report, error)

var commands = map[string]command{
	"compress":    cmdCompress,
	"read-toc":    cmdReadTOC,
	"apply":       cmdApply,
	"untar-split": cmdUntarSplit,
}

func main() {
	// The library writes times in the zone of the machine.
	time.Local = time.UTC
	logrus.SetOutput(io.Discard)
	if err := run(os.Args[1:]); err != nil {
		msg := strings.Join(strings.Fields(strings.ReplaceAll(err.Error(), "\n", " ; ")), " ")
		fmt.Fprintln(os.Stderr, "storage: "+msg)
		os.Exit(1)
	}
}

func run(args []string) (err error) {
	if len(args) == 0 {
		return fmt.Errorf("usage: storage SUBCOMMAND [flags] ARGS; subcommands: %s", names())
	}
	cmd, ok := commands[args[0]]
	if !ok {
		return fmt.Errorf("unknown subcommand %q; want one of: %s", args[0], names())
	}
	// A malformed input may panic inside the library. That is a failure of this
	// operation, told like any other.
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%s: panic: %v", args[0], p)
		}
	}()
	fs := flag.NewFlagSet(args[0], flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	rep, err := cmd(fs, args[1:])
	if err != nil {
		return fmt.Errorf("%s: %w", args[0], err)
	}
	return json.NewEncoder(os.Stdout).Encode(rep)
}

func names() string {
	var all []string
	for n := range commands {
		all = append(all, n)
	}
	sort.Strings(all)
	return strings.Join(all, " ")
}

// parse reads the flags and demands exactly the named positional arguments.
func parse(fs *flag.FlagSet, args []string, positional ...string) ([]string, error) {
	if err := fs.Parse(args); err != nil {
		return nil, err
	}
	if fs.NArg() != len(positional) {
		return nil, fmt.Errorf("want arguments %s, got %d", strings.Join(positional, " "), fs.NArg())
	}
	return fs.Args(), nil
}
