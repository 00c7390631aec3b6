//! Every setting that this release knows, from the table of `broker-config`.

use broker_admin::v1::{Change, DescribeSettingsResponse, Setting};
use broker_config::key::{self, Key, Kind, Scope, Status};

/// The release that all settings of now came with: a later one gets a column in the table.
const FIRST_RELEASE: &str = "0.1.0";

/// Lists the settings of brokers and of topics.
pub(super) fn describe() -> DescribeSettingsResponse {
    DescribeSettingsResponse {
        broker: key::broker_keys().map(setting).collect(),
        topic: key::topic_keys().map(setting).collect(),
    }
}

fn setting(key: &Key) -> Setting {
    Setting {
        name: key.name.to_owned(),
        r#type: kind(key.kind).to_owned(),
        accepts: key.expectation(),
        default: key.default.map(str::to_owned),
        change: change(key.scope).into(),
        refused_because: match key.status {
            Status::Honoured | Status::NoEffect(_) => String::new(),
            Status::NotServedYet(reason) | Status::NeverServed(reason) => reason.to_owned(),
        },
        documentation: key.doc.to_owned(),
        since: FIRST_RELEASE.to_owned(),
    }
}

fn change(scope: Scope) -> Change {
    match scope {
        Scope::ReadOnly => Change::Restart,
        Scope::PerBroker => Change::DynamicPerBroker,
        Scope::ClusterWide => Change::DynamicCluster,
        Scope::Topic => Change::DynamicTopic,
    }
}

fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Boolean => "BOOLEAN",
        Kind::String => "STRING",
        Kind::Int => "INT",
        Kind::Short => "SHORT",
        Kind::Long => "LONG",
        Kind::Double => "DOUBLE",
        Kind::List => "LIST",
        Kind::Class => "CLASS",
        Kind::Password => "PASSWORD",
    }
}
