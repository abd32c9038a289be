module dunnage.example/peers/statefile

go 1.26

require gvisor.dev/gvisor v0.0.0-20240916094835-a174eb65023f

require (
	golang.org/x/sys v0.17.0 // indirect
	golang.org/x/time v0.5.0 // indirect
)
