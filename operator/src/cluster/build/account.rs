//! Who the pods of a cluster are to the API server: nobody with any right.

use k8s_openapi::api::core::v1::ServiceAccount;

use super::meta;
use crate::cluster::validate::Valid;
use crate::names::Component;

/// Makes the account of the brokers.
pub fn service_account(valid: &Valid) -> ServiceAccount {
    ServiceAccount {
        metadata: meta(valid, valid.names.brokers(), Component::Broker),
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
    }
}
