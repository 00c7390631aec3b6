//! The controller against a naive model: a tree with versions, brokers that apply directives in
//! order, records that are acknowledged. Every write is audited, every election is checked against
//! what was acknowledged, and what is left when all is quiet must be the same everywhere.

mod brokers;
mod deposed;
mod doubts;
mod invariants;
mod million;
mod order;
mod permits;
mod random;
mod records;
mod scenarios;
mod story;
mod tree;
mod world;
