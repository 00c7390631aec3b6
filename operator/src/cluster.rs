//! What is done about one `Cluster`. So far: `roll`, which says which broker may restart now.

pub mod roll;
