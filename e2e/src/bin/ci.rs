//! `cargo ci`.

fn main() {}
