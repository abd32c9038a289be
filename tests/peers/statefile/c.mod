module dunnage.example/peers/statefile

go 1.26

require gvisor.dev/gvisor v0.0.0-20260224225140-573d5e7127a8
