//! Consumer groups: who is in one, which generation it is in, which offsets it has committed.
//!
//! Reading path: `state` (the rules, pure: an event in, effects out), `record` (what they are
//! kept as in `__consumer_offsets`), `partition_for` (which partition keeps a group), `seams` (what
//! the groups stand on), `shard` (the loop that owns a part of the groups), `listing` (what is told of
//! all of them), `gone` (topics that went unseen), `coordinator` (the handle that handlers call).

pub mod coordinator;
pub(crate) mod gone;
pub mod listing;
pub mod partition_for;
pub mod record;
pub mod seams;
pub(crate) mod shard;
pub mod state;
pub(crate) mod storage;
