//! The binary: hands over to [`scanbell::cli`].

use std::process::ExitCode;

/// Many small allocations on several threads: glibc's allocator took a fifth of the time of a load run.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    scanbell::cli::main()
}
