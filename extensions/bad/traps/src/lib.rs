//! For tests: panics in every call, and says so in its log before the trap.

holdfast_extension::scorer!(|vm, host| panic!("no number for {} on {}", vm.name, host.host));
holdfast_extension::filter!(|vm, host| panic!("no verdict for {} on {}", vm.name, host.host));
