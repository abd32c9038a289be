// main.go: the `ggcr` peer. It checks images in an OCI layout or in an archive
// for Docker with the validators of go-containerregistry, which know nothing of
// this project: every blob is read, decompressed and hashed, and compared with
// what the manifests and the configurations say. It also writes such archives.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

const refName = "org.opencontainers.image.ref.name"

// report is printed on standard output, as JSON.
type report struct {
	Images    int     `json:"images"`
	Layers    int     `json:"layers"`
	MediaType string  `json:"media_type"`
	Config    string  `json:"config"`
	Seconds   float64 `json:"seconds"`
}

func main() {
	rep, err := command(os.Args[1:])
	if err != nil {
		// The validators report several lines; the contract is one.
		msg := strings.Join(strings.Fields(strings.ReplaceAll(err.Error(), "\n", " ; ")), " ")
		fmt.Fprintln(os.Stderr, "ggcr: "+msg)
		os.Exit(1)
	}
	if err := json.NewEncoder(os.Stdout).Encode(rep); err != nil {
		os.Exit(1)
	}
}

func command(args []string) (*report, error) {
	switch {
	case len(args) == 3 && args[0] == "validate":
		return run(args[1], args[2])
	case len(args) == 5 && args[0] == "save":
		return save(args[1], args[2], args[3], args[4])
	case len(args) == 3 && args[0] == "load":
		return load(args[1], args[2])
	}
	return nil, fmt.Errorf("usage: ggcr validate LAYOUT TAG | save LAYOUT TAG FILE NAME | load FILE NAME")
}

// save writes an image of a layout into a new archive for Docker, under a name.
func save(dir, tag, file, as string) (*report, error) {
	start := time.Now()
	root, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		return nil, fmt.Errorf("cannot open the layout: %w", err)
	}
	entry, err := find(root, tag)
	if err != nil {
		return nil, err
	}
	img, err := root.Image(entry.Digest)
	if err != nil {
		return nil, err
	}
	ref, err := name.NewTag(as)
	if err != nil {
		return nil, err
	}
	if err := tarball.WriteToFile(file, ref, img); err != nil {
		return nil, err
	}
	config, err := img.ConfigName()
	if err != nil {
		return nil, err
	}
	rep := &report{Images: 1, Config: config.String(), MediaType: string(entry.MediaType)}
	rep.Seconds = time.Since(start).Seconds()
	return rep, nil
}

// load validates an image of an archive for Docker.
func load(file, as string) (*report, error) {
	start := time.Now()
	ref, err := name.NewTag(as)
	if err != nil {
		return nil, err
	}
	img, err := tarball.ImageFromPath(file, &ref)
	if err != nil {
		return nil, err
	}
	layers, err := img.Layers()
	if err != nil {
		return nil, err
	}
	if err := validate.Image(img, options(layers)...); err != nil {
		return nil, err
	}
	if err := diffIDs(img, layers); err != nil {
		return nil, err
	}
	config, err := img.ConfigName()
	if err != nil {
		return nil, err
	}
	rep := &report{Images: 1, Layers: len(layers), Config: config.String()}
	rep.Seconds = time.Since(start).Seconds()
	return rep, nil
}

func run(dir, tag string) (*report, error) {
	start := time.Now()
	root, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		return nil, fmt.Errorf("cannot open the layout: %w", err)
	}
	entry, err := find(root, tag)
	if err != nil {
		return nil, err
	}
	rep := &report{MediaType: string(entry.MediaType)}
	if entry.MediaType.IsIndex() {
		err = index(root, entry.Digest, rep)
	} else {
		err = image(root, entry.Digest, rep)
	}
	rep.Seconds = time.Since(start).Seconds()
	return rep, err
}

func find(root v1.ImageIndex, tag string) (*v1.Descriptor, error) {
	manifest, err := root.IndexManifest()
	if err != nil {
		return nil, err
	}
	for _, entry := range manifest.Manifests {
		if entry.Annotations[refName] == tag {
			return &entry, nil
		}
	}
	return nil, fmt.Errorf("no tag %q", tag)
}

// index validates an index, and each image in it by itself, so that they are
// counted.
func index(parent v1.ImageIndex, digest v1.Hash, rep *report) error {
	idx, err := parent.ImageIndex(digest)
	if err != nil {
		return err
	}
	// The images in it follow one by one.
	if err := validate.Index(idx, validate.Fast); err != nil {
		return fmt.Errorf("index %s: %w", digest, err)
	}
	manifest, err := idx.IndexManifest()
	if err != nil {
		return err
	}
	for _, child := range manifest.Manifests {
		if child.MediaType.IsIndex() {
			err = index(idx, child.Digest, rep)
		} else {
			err = image(idx, child.Digest, rep)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func image(parent v1.ImageIndex, digest v1.Hash, rep *report) error {
	img, err := parent.Image(digest)
	if err != nil {
		return err
	}
	layers, err := img.Layers()
	if err != nil {
		return err
	}
	// The validator of layers reads gzip only; others are hashed here, with
	// what the library decompresses.
	if err := validate.Image(img, options(layers)...); err != nil {
		return fmt.Errorf("image %s: %w", digest, err)
	}
	if err := diffIDs(img, layers); err != nil {
		return fmt.Errorf("image %s: %w", digest, err)
	}
	rep.Images++
	rep.Layers += len(layers)
	return nil
}

func options(layers []v1.Layer) []validate.Option {
	for _, layer := range layers {
		kind, err := layer.MediaType()
		if err != nil || !strings.HasSuffix(string(kind), "gzip") {
			return []validate.Option{validate.Fast}
		}
	}
	return nil
}

func diffIDs(img v1.Image, layers []v1.Layer) error {
	config, err := img.ConfigFile()
	if err != nil {
		return err
	}
	if len(config.RootFS.DiffIDs) != len(layers) {
		return fmt.Errorf("%d diff IDs for %d layers", len(config.RootFS.DiffIDs), len(layers))
	}
	for i, layer := range layers {
		want, err := layer.Digest()
		if err != nil {
			return err
		}
		if err := hashed(layer.Compressed, want); err != nil {
			return fmt.Errorf("layer %d: %w", i, err)
		}
		if err := hashed(layer.Uncompressed, config.RootFS.DiffIDs[i]); err != nil {
			return fmt.Errorf("layer %d, uncompressed: %w", i, err)
		}
	}
	return nil
}

func hashed(open func() (io.ReadCloser, error), want v1.Hash) error {
	stream, err := open()
	if err != nil {
		return err
	}
	defer stream.Close()
	got, _, err := v1.SHA256(stream)
	if err != nil {
		return err
	}
	if got != want {
		return fmt.Errorf("want %s, got %s", want, got)
	}
	return nil
}
