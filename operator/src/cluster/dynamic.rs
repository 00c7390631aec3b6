//! Settings that need no restart: what is to be set at brokers so that they are as the spec says. Pure.
//!
//! The spec is the whole truth: what somebody else has set without a restart is taken away again, but for throttles,
//! which come and go with moves, and for what brokers do not know by that name, such as settings of one listener.

use std::collections::{BTreeMap, HashMap};

use broker_admin::v1::DescribeClusterResponse;

use super::settings::Settings;
use crate::admin::schema::{Change, Schema};

/// Settings that come and go with moves.
pub const THROTTLES: [&str; 3] = [
    "leader.replication.throttled.rate",
    "follower.replication.throttled.rate",
    "replica.alter.log.dirs.io.max.bytes.per.second",
];

/// What is changed of the settings of all brokers, or of one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Difference {
    /// What is set.
    pub set: BTreeMap<String, String>,
    /// What has its default again.
    pub reset: Vec<String>,
}

impl Difference {
    /// Whether nothing is changed.
    pub fn is_empty(&self) -> bool {
        self.set.is_empty() && self.reset.is_empty()
    }

    /// Names what is changed.
    pub fn names(&self) -> Vec<&str> {
        self.set.keys().chain(&self.reset).map(String::as_str).collect()
    }
}

/// What is to be changed: of all brokers, and of each of `brokers`, in the order in which it is done.
pub fn differences(
    wanted: &Settings,
    schema: &Schema,
    said: &DescribeClusterResponse,
    brokers: &[i32],
) -> Vec<(Option<i32>, Difference)> {
    let of_all = difference(&wanted.cluster, schema, &said.dynamic_settings);
    let mut all = vec![(None, of_all)];
    let described = said.brokers.iter().filter(|one| brokers.contains(&one.broker_id));
    all.extend(described.map(|one| {
        let difference = difference(&wanted.per_broker, schema, &one.dynamic_settings);
        (Some(one.broker_id), difference)
    }));
    all.retain(|(_, difference)| !difference.is_empty());
    all
}

fn difference(
    wanted: &BTreeMap<String, String>,
    schema: &Schema,
    there: &HashMap<String, String>,
) -> Difference {
    let is_there = |name: &String, value: &String| {
        // Of a password only the name is told.
        there.get(name).is_some_and(|there| there == value || schema.is_password(name))
    };
    let set = wanted.iter().filter(|(name, value)| !is_there(name, value));
    let is_known = |name: &str| {
        matches!(schema.change(name), Some(Change::Cluster | Change::PerBroker))
            && !THROTTLES.contains(&name)
    };
    let mut reset: Vec<String> = there
        .keys()
        .filter(|name| !wanted.contains_key(*name) && is_known(name))
        .cloned()
        .collect();
    reset.sort();
    Difference { set: set.map(|(name, value)| (name.clone(), value.clone())).collect(), reset }
}

#[cfg(test)]
mod tests {
    use broker_admin::v1::BrokerDescription;

    use super::*;
    use crate::admin::schema::Setting;

    fn map<M: FromIterator<(String, String)>>(pairs: &[(&str, &str)]) -> M {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn schema() -> Schema {
        let all = [
            ("all", Change::Cluster),
            ("one", Change::PerBroker),
            ("other", Change::Cluster),
            (THROTTLES[0], Change::PerBroker),
            ("file", Change::Restart),
        ];
        all.into()
    }

    fn said(all: &[(&str, &str)], one: &[(&str, &str)]) -> DescribeClusterResponse {
        let broker = |broker_id, settings: &[(&str, &str)]| BrokerDescription {
            broker_id,
            dynamic_settings: map(settings),
            ..BrokerDescription::default()
        };
        DescribeClusterResponse {
            dynamic_settings: map(all),
            brokers: vec![broker(0, one), broker(7, &[("one", "x")])],
            ..DescribeClusterResponse::default()
        }
    }

    fn wanted() -> Settings {
        Settings {
            cluster: map(&[("all", "1")]),
            per_broker: map(&[("one", "2")]),
            ..Settings::default()
        }
    }

    #[test]
    fn what_differs_is_set_and_what_nobody_asks_for_is_taken_away() {
        let said =
            said(&[("other", "3"), ("nobody.knows", "4")], &[("one", "1"), (THROTTLES[0], "5")]);
        let expected = [
            (None, Difference { set: map(&[("all", "1")]), reset: vec!["other".to_owned()] }),
            (Some(0), Difference { set: map(&[("one", "2")]), reset: Vec::new() }),
        ];
        assert_eq!(differences(&wanted(), &schema(), &said, &[0, 1]), expected);
    }

    #[test]
    fn what_is_as_the_spec_says_is_left_alone() {
        let same = said(&[("all", "1")], &[("one", "2")]);
        assert_eq!(differences(&wanted(), &schema(), &same, &[0]), []);
        // Of passwords the name alone is told; what is set to nothing is not what is wanted.
        let empty = said(&[("all", "")], &[("one", "2")]);
        assert_eq!(differences(&wanted(), &schema(), &empty, &[0]).len(), 1);
        let change = Change::Cluster;
        let secret = [("all".to_owned(), Setting { change, is_password: true })];
        let secret: Schema = secret.into_iter().collect();
        let one_less = Settings { per_broker: BTreeMap::new(), ..wanted() };
        assert_eq!(differences(&one_less, &secret, &empty, &[0]), []);
    }
}
