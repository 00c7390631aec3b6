//! What is done about one `Topic`. Pure so far: `facts` is what was read, `decide` what follows from it.
//!
//! The object is the truth: what others change of its topic is put back. Nothing is done to a topic that was not made
//! for this object, or taken over as its spec allows: topics are known by their ids, not by their names.

pub mod decide;
pub mod facts;
mod plan;
#[cfg(test)]
mod tests;
