//! What `cargo ci` runs: the stages in order, each a list of commands.
