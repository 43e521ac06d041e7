//! For tests: never returns.

use std::hint::black_box;

holdfast_extension::scorer!(|_vm, _host| loop {
    black_box(());
});
holdfast_extension::filter!(|_vm, _host| loop {
    black_box(());
});
