//! The gRPC contract between the operator and a broker, as `proto/ottla/admin/v1/admin.proto` states it.
//!
//! Nothing is decided here: the broker serves it (`broker-server`, `admin`), the operator calls it.

/// Version 1: messages, `admin_client`, `admin_server`.
#[allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::pedantic,
    clippy::restriction,
    reason = "made by prost and tonic; the contract has the comments"
)]
pub mod v1 {
    tonic::include_proto!("ottla.admin.v1");
}
