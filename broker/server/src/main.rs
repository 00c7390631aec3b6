//! The broker process: reads the command line, then runs [`broker_server`] until it is told to stop.

fn main() {}
