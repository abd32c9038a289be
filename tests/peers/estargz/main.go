// main.go: entry point of the `estargz` peer, the helper through which xtask
// drives the reference eStargz implementation. It dispatches to one function
// per subcommand and prints that function's result as one JSON object.
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
	"build":       cmdBuild,
	"append":      cmdAppend,
	"unpack":      cmdUnpack,
	"toc":         cmdTOC,
	"encode-toc":  cmdEncodeTOC,
	"open":        cmdOpen,
	"verify":      cmdVerify,
	"dump":        cmdDump,
	"tar-view":    cmdTarView,
	"retar":       cmdRetar,
	"gen-tar":     cmdGenTar,
	"read-random": cmdReadRandom,
	"pre-read":    cmdPreRead,
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		// errors.Join and some wrapped messages span lines; the contract is one.
		msg := strings.Join(strings.Fields(strings.ReplaceAll(err.Error(), "\n", " ; ")), " ")
		fmt.Fprintln(os.Stderr, "estargz: "+msg)
		os.Exit(1)
	}
}

func run(args []string) (err error) {
	if len(args) == 0 {
		return fmt.Errorf("usage: estargz SUBCOMMAND [flags] ARGS; subcommands: %s", names())
	}
	cmd, ok := commands[args[0]]
	if !ok {
		return fmt.Errorf("unknown subcommand %q; want one of: %s", args[0], names())
	}
	// A malformed input may panic inside the reference. That is a failure of
	// this operation, told like any other. (A panic on one of the library's own
	// goroutines cannot be caught here and ends the process with status 2.)
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
