//! For tests: takes memory without bound, a MiB at a time.

use std::hint::black_box;

fn grow() -> ! {
    let mut kept = Vec::new();
    loop {
        kept.push(vec![1_u8; 1 << 20]);
        black_box(&kept);
    }
}

holdfast_extension::scorer!(|_vm, _host| grow());
holdfast_extension::filter!(|_vm, _host| grow());
