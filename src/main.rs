//! The binary: hands over to [`scanbell::cli`].

fn main() {}
