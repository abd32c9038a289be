// main.go: entry point of the `statefile` peer, through which xtask drives gVisor's
// pkg/state/statefile. The same source is built once for each dialect of the
// format, against the revision of gVisor that wrote it: see the .mod files.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"sort"
	"strings"
)

// report is what a subcommand prints on standard output.
type report map[string]any

// command takes the arguments after the subcommand's name.
type command func(fs *flag.FlagSet, args []string) (report, error)

var commands = map[string]command{
	"write":    cmdWrite,
	"read":     cmdRead,
	"metadata": cmdMetadata,
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		msg := strings.Join(strings.Fields(strings.ReplaceAll(err.Error(), "\n", " ; ")), " ")
		fmt.Fprintln(os.Stderr, "statefile: "+msg)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) == 0 {
		return fmt.Errorf("usage: statefile SUBCOMMAND [flags] ARGS; subcommands: %s", names())
	}
	cmd, ok := commands[args[0]]
	if !ok {
		return fmt.Errorf("unknown subcommand %q; want one of: %s", args[0], names())
	}
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

// readKey returns the bytes of a key file, and nil, which is no key, if there is none.
func readKey(path string) ([]byte, error) {
	if path == "" {
		return nil, nil
	}
	return os.ReadFile(path)
}
