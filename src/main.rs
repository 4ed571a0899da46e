//! The binary: hands over to [`scanbell::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    scanbell::cli::main()
}
